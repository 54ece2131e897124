"""A model is used whole and unaltered or not at all, wherever it came from."""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import stat
import zipfile
from contextlib import AbstractContextManager
from email.message import Message
from pathlib import Path
from typing import IO
from urllib.request import Request

import pytest
import torch

from meddiff import places, store
from meddiff.card import CARD, Card, read_card, write_card
from meddiff.errors import BadInput, BadModel
from meddiff.store import (
    WEIGHTS,
    check_state,
    export,
    find,
    fingerprint,
    install,
    load_weights,
    models,
    remove,
    verify,
)

URL = "https://models.example.org/toy-brain.zip"


def zipped(folder: Path, *, top: str = "") -> Path:
    """A zip of the files of `folder`, inside a folder `top`."""
    archive = folder.with_suffix(".zip")
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as out:
        for path in folder.iterdir():
            out.write(path, top + path.name)
    return archive


def put(folder: Path, root: Path, *, name: str, **changes: object) -> Path:
    """A copy of a model as `root/name`, with changes to its card."""
    target = shutil.copytree(folder, root / name)
    write_card(read_card(target).model_copy(update=changes), target)
    return target


def nothing_installed() -> bool:
    """Not a model, and not a trace of the attempt."""
    return not store.installed().exists() or not list(store.installed().iterdir())


# --- where ------------------------------------------------------------------------------------------------------------


def test_first_folder_on_the_path_wins(model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    put(model_folder, first, name="toy-brain", summary="mine")
    put(model_folder, second, name="toy-brain", summary="theirs")
    put(model_folder, second, name="other", id="other-brain")
    put(model_folder, store.installed(), name="toy-brain", summary="installed")
    monkeypatch.setenv("MEDDIFF_MODELS", os.pathsep.join([str(first), str(second), str(tmp_path / "absent")]))
    assert find("toy-brain").card.summary == "mine"
    assert find("other-brain").folder == second / "other"
    assert {"toy-brain", "other-brain"} <= {model.card.id for model in models()}
    monkeypatch.delenv("MEDDIFF_MODELS")
    assert find("toy-brain").card.summary == "installed"


def test_a_model_folder_can_stand_on_the_path_itself(model_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEDDIFF_MODELS", str(model_folder))
    assert find("toy-brain").folder == model_folder


def test_a_path_names_a_model_anywhere(model_folder: Path) -> None:
    assert find(model_folder) == find(str(model_folder)) == (read_card(model_folder), model_folder)


def test_shipped_models_are_looked_for_beside_the_engine() -> None:
    package = Path(store.__file__).parents[1]
    assert places.search_path()[-2:] == [package / "Resources" / "Models", package / "meddiff_models"]


def test_an_unknown_model_is_answered_with_its_neighbour(model_folder: Path) -> None:
    install(model_folder)
    with pytest.raises(BadInput, match="unknown model 'toy-brian'; did you mean toy-brain"):
        find("toy-brian")


def test_a_broken_model_hides_no_other_but_its_namesake(
    model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(model_folder)
    (put(model_folder, tmp_path / "more", name="toy-brain") / CARD).write_text("{", encoding="utf-8")
    put(model_folder, tmp_path / "more", name="fine", id="fine")
    monkeypatch.setenv("MEDDIFF_MODELS", str(tmp_path / "more"))
    known = {model.card.id for model in models()}
    assert "fine" in known and "toy-brain" not in known
    assert [str(tmp_path / "more" / "toy-brain") in str(error) for error in store.broken()] == [True]
    with pytest.raises(BadModel, match="is not JSON"):
        find("toy-brain")


@pytest.mark.parametrize(
    ("platform", "variables", "tail"),
    [
        ("linux", {"XDG_DATA_HOME": "/data"}, "/data/meddiffusion/models"),
        ("linux", {"HOME": "/home/ada"}, "/home/ada/.local/share/meddiffusion/models"),
        ("darwin", {"HOME": "/Users/ada"}, "/Users/ada/Library/Application Support/MedDiffusion/models"),
        ("win32", {"LOCALAPPDATA": "/ada/Local"}, "/ada/Local/MedDiffusion/models"),
        ("win32", {"MEDDIFF_HOME": "/anywhere"}, "/anywhere/models"),
    ],
)
def test_models_live_where_the_platform_keeps_data(
    platform: str, variables: dict[str, str], tail: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("MEDDIFF_HOME", "XDG_DATA_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("sys.platform", platform)
    assert store.installed() == Path(tail)


# --- verify and load --------------------------------------------------------------------------------------------------


def test_a_sealed_model_is_whole_and_loads(model_folder: Path) -> None:
    card = verify(model_folder)
    assert set(card.files) == {WEIGHTS, "README.md", "LICENSE"}
    assert card.files["README.md"].sha256 == hashlib.sha256(b"# Toy\n").hexdigest()
    assert card.files["README.md"].bytes == 6
    state = load_weights(model_folder)
    assert torch.equal(state["weight"], torch.arange(6.0).reshape(2, 3))


def test_the_sha256_of_a_model_changes_with_its_weights(model_folder: Path) -> None:
    before = find(model_folder).sha256
    assert before == hashlib.sha256((model_folder / CARD).read_bytes()).hexdigest()
    weights = model_folder / WEIGHTS
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x01")
    assert find(model_folder).sha256 == before
    store.seal(read_card(model_folder), model_folder)
    assert find(model_folder).sha256 != before


def test_every_single_byte_counts(model_folder: Path) -> None:
    weights = model_folder / WEIGHTS
    whole = weights.read_bytes()
    expected = verify(model_folder).files[WEIGHTS].sha256
    for at in (0, len(whole) // 2, len(whole) - 1):
        altered = whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :]
        weights.write_bytes(altered)
        with pytest.raises(BadModel, match="was altered") as caught:
            load_weights(model_folder)
        assert expected in str(caught.value) and hashlib.sha256(altered).hexdigest() in str(caught.value)


@pytest.mark.parametrize("cut", [0, 1, 100])
def test_a_truncated_file_is_told_with_both_sizes(cut: int, model_folder: Path) -> None:
    weights = model_folder / WEIGHTS
    whole = weights.read_bytes()
    weights.write_bytes(whole[:cut])
    with pytest.raises(BadModel, match=rf"has {cut} bytes, expected {len(whole)}"):
        verify(model_folder)


def test_a_missing_file_is_named(model_folder: Path) -> None:
    (model_folder / WEIGHTS).unlink()
    with pytest.raises(BadModel, match=r"weights\.safetensors is missing"):
        verify(model_folder)


@pytest.mark.parametrize("name", ["extra.safetensors", "weights.pt", "run.py", "archive.pkl"])
def test_what_the_card_does_not_list_is_flagged(name: str, model_folder: Path) -> None:
    (model_folder / name).write_bytes(b"")
    with pytest.raises(BadModel, match=f"{name} is not listed in the card of 'toy-brain'"):
        verify(model_folder)


def test_notes_and_hidden_files_do_no_harm(model_folder: Path) -> None:
    (model_folder / "notes.txt").write_text("mine", encoding="utf-8")
    (model_folder / ".DS_Store").write_bytes(b"\x00")
    assert verify(model_folder).id == "toy-brain"


def test_a_file_that_is_no_safetensors_is_refused(model_folder: Path) -> None:
    (model_folder / WEIGHTS).write_bytes(b"\x80\x04K\x01.")
    store.seal(read_card(model_folder), model_folder)
    with pytest.raises(BadModel, match="is not a safetensors file"):
        load_weights(model_folder)


def test_a_weight_file_that_is_not_listed_is_not_loaded(model_folder: Path) -> None:
    with pytest.raises(BadModel, match=r"lists no ema\.safetensors; its files are .*weights"):
        load_weights(model_folder, "ema.safetensors")


def test_the_first_tensor_that_does_not_fit_is_named() -> None:
    state = {"a": torch.zeros(2, 3), "b": torch.zeros(4)}
    check_state(state, {"a": (2, 3), "b": [4]})
    with pytest.raises(BadModel, match=r"a has shape \(2, 3\); .* expects \(3, 2\)"):
        check_state(state, {"a": (3, 2), "b": (5,)})
    with pytest.raises(BadModel, match=r"lack c; .* shape \(1,\)"):
        check_state(state, {"a": (2, 3), "b": (4,), "c": (1,)})
    with pytest.raises(BadModel, match="hold b, which"):
        check_state(state, {"a": (2, 3)})


# --- install ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["folder", "zip", "zipped folder"])
def test_install_find_load_remove(form: str, model_folder: Path) -> None:
    (model_folder / ".DS_Store").write_bytes(b"\x00")
    source = model_folder if form == "folder" else zipped(model_folder, top="toy/" if form == "zipped folder" else "")
    model = install(source)
    assert model.folder == store.installed() / "toy-brain"
    assert find("toy-brain") == model
    assert set(load_weights(model.folder)) == {"weight", "bias"}
    assert sorted(p.name for p in model.folder.iterdir()) == sorted([CARD, WEIGHTS, "LICENSE", "README.md"])
    assert [p.name for p in store.installed().iterdir()] == ["toy-brain"]
    assert remove("toy-brain") == model.folder
    assert nothing_installed()


def test_an_installed_model_is_not_replaced_in_silence(model_folder: Path) -> None:
    model = install(model_folder)
    put(model_folder, model_folder.parent, name="newer", version="2")
    with pytest.raises(BadInput, match="is installed already"):
        install(model_folder.parent / "newer")
    assert find("toy-brain") == model
    assert len(list(store.installed().iterdir())) == 1


def test_a_damaged_model_is_not_installed(model_folder: Path) -> None:
    (model_folder / WEIGHTS).write_bytes(b"short")
    with pytest.raises(BadModel, match="has 5 bytes, expected") as caught:
        install(model_folder)
    assert str(model_folder) in str(caught.value) and ".install" not in str(caught.value)
    assert nothing_installed()


def test_a_zip_of_something_else_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as out:
        out.writestr("README.md", "hello")
    with pytest.raises(BadModel, match=r"a\.zip has no model\.json"):
        install(tmp_path / "a.zip")
    (tmp_path / "b.zip").write_bytes(b"PK\x03\x04 no zip")
    with pytest.raises(BadModel, match="is not a zip file that can be read"):
        install(tmp_path / "b.zip")
    with pytest.raises(BadInput, match="there is no model at"):
        install(tmp_path / "c.zip")
    assert nothing_installed()


def test_a_broken_zip_is_refused(model_folder: Path) -> None:
    archive = zipped(model_folder)
    with zipfile.ZipFile(archive) as file:
        info = file.getinfo(WEIGHTS)
    data = bytearray(archive.read_bytes())
    data[info.header_offset + 30 + len(WEIGHTS) + info.compress_size // 2] ^= 0xFF
    archive.write_bytes(data)
    with pytest.raises(BadModel, match="is not a zip file that can be read"):
        install(archive)
    assert nothing_installed()


@pytest.mark.parametrize(
    "name",
    [
        *("../evil.json", "/tmp/evil.json", "..\\evil.json", "C:\\evil.json", "sub/evil.json", "../.evil"),
        *(".hidden/evil.json", "run.py", "weights.pt", "README.MD", "readme.md"),
    ],
)
def test_a_zip_that_reaches_out_is_refused(name: str, model_folder: Path) -> None:
    archive = zipped(model_folder)
    with zipfile.ZipFile(archive, "a") as out:
        out.writestr(name, "{}")
    with pytest.raises(BadModel, match="does not belong in a model|is there twice"):
        install(archive)
    assert nothing_installed()
    assert not list(model_folder.parents[1].rglob("*evil*"))


def test_a_link_in_a_zip_is_refused(model_folder: Path) -> None:
    archive = zipped(model_folder)
    link = zipfile.ZipInfo("notes.txt")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(archive, "a") as out:
        out.writestr(link, "/etc/passwd")
    with pytest.raises(BadModel, match=r"'notes\.txt' does not belong"):
        install(archive)
    assert nothing_installed()


@pytest.mark.skipif(os.name == "nt", reason="links need a privilege on Windows")
def test_a_link_in_a_folder_is_refused(model_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "secret.txt").write_text("secret", encoding="utf-8")
    (model_folder / "notes.txt").symlink_to(tmp_path / "secret.txt")
    with pytest.raises(BadModel, match=r"'notes\.txt' does not belong"):
        install(model_folder)
    assert nothing_installed()


def test_a_zip_bomb_stops_at_the_limit(model_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "MAX_BYTES", 100_000)
    archive = zipped(model_folder)
    with zipfile.ZipFile(archive, "a", zipfile.ZIP_DEFLATED) as out:
        out.writestr("bomb.txt", bytes(2_000_000))
    assert archive.stat().st_size < 20_000
    with pytest.raises(BadModel, match=r"bomb\.txt is too large"):
        install(archive)
    assert nothing_installed()


def test_too_many_files_are_refused(model_folder: Path) -> None:
    for i in range(store.MAX_FILES):
        (model_folder / f"note{i}.txt").write_bytes(b"")
    with pytest.raises(BadModel, match=f"more than {store.MAX_FILES} files"):
        install(model_folder)
    assert nothing_installed()


def test_an_interrupted_install_leaves_nothing(model_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*_: object) -> Card:
        raise KeyboardInterrupt

    monkeypatch.setattr(store, "verify", stop)
    with pytest.raises(KeyboardInterrupt):
        install(model_folder)
    assert nothing_installed()


def test_a_model_that_is_being_installed_is_not_seen(model_folder: Path) -> None:
    put(model_folder, store.installed(), name=".install-x")
    assert "toy-brain" not in {model.card.id for model in models()}


def test_a_folder_that_cannot_be_written_is_named(
    model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setenv("MEDDIFF_HOME", str(tmp_path / "file"))
    with pytest.raises(BadInput, match="cannot change the models in .*MEDDIFF_HOME"):
        install(model_folder)


# --- download ---------------------------------------------------------------------------------------------------------


class Server:
    """Answers every address with the same bytes, and remembers what was asked and what lay on disk meanwhile."""

    def __init__(self, content: bytes, error: Exception | None = None) -> None:
        self.content, self.error = content, error
        self.asked: list[str] = []

    def __call__(self, url: str) -> AbstractContextManager[IO[bytes]]:
        self.asked.append(url)
        if self.error:
            raise self.error
        return io.BytesIO(self.content)


def test_download_verify_install(model_folder: Path) -> None:
    content = zipped(model_folder).read_bytes()
    server = Server(content)
    model = install(URL, hashlib.sha256(content).hexdigest().upper(), opener=server)
    assert server.asked == [URL]
    assert find("toy-brain") == model
    assert [p.name for p in store.installed().iterdir()] == ["toy-brain"]


@pytest.mark.parametrize("change", ["cut", "altered", "empty"])
def test_a_download_that_is_not_what_was_published_is_refused(change: str, model_folder: Path) -> None:
    content = zipped(model_folder).read_bytes()
    came = {"cut": content[:-10], "altered": content[:-1] + b"x", "empty": b""}[change]
    expected = hashlib.sha256(content).hexdigest()
    with pytest.raises(BadModel, match=f"{URL} has sha256 {hashlib.sha256(came).hexdigest()}, expected {expected}"):
        install(URL, expected, opener=Server(came))
    assert nothing_installed()


def test_an_endless_download_stops_at_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "MAX_BYTES", 1000)
    with pytest.raises(BadModel, match=r"toy-brain\.zip is too large"):
        install(URL, "0" * 64, opener=Server(bytes(2000)))
    assert nothing_installed()


@pytest.mark.parametrize("error", [OSError("no route to host"), TimeoutError("timed out")])
def test_a_failed_download_says_why(error: Exception) -> None:
    with pytest.raises(BadInput, match=f"could not download {URL}: {error}"):
        install(URL, "0" * 64, opener=Server(b"", error))
    assert nothing_installed()


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:9/toy.zip", "HTTP://127.0.0.1:9/toy.zip", "ftp://127.0.0.1/t.zip", "file:///etc/passwd"]
)
def test_only_https_is_spoken(url: str) -> None:
    server = Server(b"")
    with pytest.raises(BadInput, match="by https only"):
        install(url, "0" * 64, opener=server)
    with pytest.raises(BadInput, match="by https only"):
        install(url, "0" * 64)
    assert server.asked == [] and nothing_installed()


@pytest.mark.parametrize("sha256", [None, "", "abc", "g" * 64])
def test_a_download_needs_a_sha256(sha256: str | None) -> None:
    server = Server(b"")
    with pytest.raises(BadInput, match="a sha256 .* is needed"):
        install(URL, sha256, opener=server)
    assert server.asked == []


def test_a_redirect_must_stay_on_https() -> None:
    handler, request = store.HttpsOnly(), Request(URL)
    with pytest.raises(BadInput, match=r"sends on to http://127\.0\.0\.1/toy\.zip"):
        handler.redirect_request(request, io.BytesIO(), 302, "Found", Message(), "http://127.0.0.1/toy.zip")
    onward = handler.redirect_request(request, io.BytesIO(), 302, "Found", Message(), "https://cdn.example.org/t.zip")
    assert onward is not None and onward.full_url == "https://cdn.example.org/t.zip"


def test_a_sha256_also_guards_a_local_zip(model_folder: Path) -> None:
    archive = zipped(model_folder)
    with pytest.raises(BadModel, match="expected 0000"):
        install(archive, "0" * 64)
    with pytest.raises(BadInput, match="is a folder; a sha256 belongs to a zip"):
        install(model_folder, "0" * 64)
    assert nothing_installed()
    assert install(archive, hashlib.sha256(archive.read_bytes()).hexdigest()).card.id == "toy-brain"


# --- remove -----------------------------------------------------------------------------------------------------------


def test_only_installed_models_are_removed(model_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEDDIFF_MODELS", str(model_folder.parent))
    with pytest.raises(BadInput, match="only installed models"):
        remove("toy-brain")
    with pytest.raises(BadInput, match="only installed models"):
        remove(str(model_folder))
    assert verify(model_folder)
    for name in ("no-such-model", "..", "."):
        with pytest.raises(BadInput, match="unknown model"):
            remove(name)


def test_a_broken_model_can_be_removed(model_folder: Path) -> None:
    folder = install(model_folder).folder
    (folder / CARD).write_text("{", encoding="utf-8")
    remove("toy-brain")
    assert nothing_installed()


def test_an_exported_model_installs_again(model_folder: Path, tmp_path: Path) -> None:
    entry = export(model_folder, tmp_path / "out" / "model.zip")
    assert entry == fingerprint(tmp_path / "out" / "model.zip")
    found = install(tmp_path / "out" / "model.zip", entry.sha256)
    names = {CARD, *found.card.files}
    assert {path.name for path in found.folder.iterdir()} == names
    assert all((found.folder / name).read_bytes() == (model_folder / name).read_bytes() for name in names)
    os.utime(model_folder / CARD)
    assert export(found.folder, tmp_path / "again.zip") == entry  # whenever it is made, and from wherever


def test_only_a_whole_model_is_exported(model_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"ends with \.zip"):
        export(model_folder, tmp_path / "model.tar")
    (model_folder / WEIGHTS).write_bytes(b"short")
    with pytest.raises(BadModel, match="cut short"):
        export(model_folder, tmp_path / "model.zip")
    assert not (tmp_path / "model.zip").exists()


def test_a_download_tells_how_far_it_is(model_folder: Path) -> None:
    content = zipped(model_folder).read_bytes()
    heard: list[int] = []
    install(URL, hashlib.sha256(content).hexdigest(), opener=Server(content), on_bytes=heard.append)
    assert heard and heard == sorted(heard) and heard[-1] == len(content)
