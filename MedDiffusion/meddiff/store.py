"""Where models live on disk: find, verify, load, install and remove them. Weights are data, never code."""

from __future__ import annotations

import hashlib
import os
import re
import stat
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from http.client import HTTPException
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

from .card import DATA_FILE, DATA_FILE_WORDS, Card, FileEntry, read_card, write_card
from .errors import BadInput, BadModel, choose
from .files import whole
from .places import CARD, WEIGHTS, installed, model_folders

if TYPE_CHECKING:
    import torch

MAX_BYTES = 8 * 2**30
MAX_FILES = 64
_BLOCK = 2**20


Opener = Callable[[str], AbstractContextManager[IO[bytes]]]
Member = tuple[str, bool, Callable[[], IO[bytes]]]  # name, is a regular file, open


class ModelFolder(NamedTuple):
    """A model on disk: its card and the folder that it was read from."""

    card: Card
    folder: Path

    @property
    def sha256(self) -> str:
        """The sha256 of the card, which holds that of every other file: it names these exact weights."""
        return fingerprint(self.folder / CARD).sha256


def models() -> list[ModelFolder]:
    """Every model whose card can be read; `broken` tells of the others."""
    return [found for found in _index().values() if isinstance(found, ModelFolder)]


def broken() -> list[BadModel]:
    """What is wrong with each model folder whose card cannot be read."""
    return [found for found in _index().values() if isinstance(found, BadModel)]


def find(model: str | os.PathLike[str]) -> ModelFolder:
    """The model of that id, or the one in that folder when `model` is a path."""
    if isinstance(model, os.PathLike) or {"/", os.sep} & set(model):
        return ModelFolder(read_card(model), Path(model))
    index = _index()
    found = index[choose(model, index, "model")]
    if isinstance(found, BadModel):
        raise found
    return found


def _index() -> dict[str, ModelFolder | BadModel]:
    """All model folders by id. One with a bad card keeps its place: its namesake further on is another model."""
    index: dict[str, ModelFolder | BadModel] = {}
    for folder in model_folders():
        try:
            card = read_card(folder)
            index.setdefault(card.id, ModelFolder(card, folder))
        except BadModel as error:
            index.setdefault(folder.name, error)
    return index


def fingerprint(path: Path) -> FileEntry:
    """The sha256 and size of a file."""
    digest, size = hashlib.sha256(), 0
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
            size += len(block)
    return FileEntry(sha256=digest.hexdigest(), bytes=size)


def verify(folder: str | os.PathLike[str]) -> Card:
    """The card of `folder`, once each file that it lists is whole and unaltered and no other weights lie there."""
    folder, card = Path(folder), read_card(folder)
    again = f"install {card.id!r} again, or restore the file"
    for name, expected in card.files.items():
        path = folder / name
        if not path.is_file():
            raise BadModel(f"{path} is missing, and the card lists it with {expected.bytes} bytes; {again}.")
        size = path.stat().st_size
        if size != expected.bytes:
            raise BadModel(f"{path} has {size} bytes, expected {expected.bytes}: cut short or replaced; {again}.")
        found = fingerprint(path).sha256
        if found != expected.sha256:
            raise BadModel(f"{path} was altered: its sha256 is {found}, expected {expected.sha256}; {again}.")
    for path in folder.iterdir():
        unlisted = path.name not in card.files and not path.name.startswith(".")
        if unlisted and (path.suffix == ".safetensors" or not path.is_file() or not re.fullmatch(DATA_FILE, path.name)):
            raise BadModel(f"{path} is not listed in the card of {card.id!r}; a model holds only its own weights.")
    return card


def seal(card: Card, folder: str | os.PathLike[str]) -> Card:
    """`card` with the size and sha256 of every file in `folder`, written there: the last step of making a model."""
    paths = (path for path in sorted(Path(folder).iterdir()) if re.fullmatch(DATA_FILE, path.name))
    files = {path.name: fingerprint(path) for path in paths if path.name != CARD}
    sealed = card.model_copy(update={"files": files})
    write_card(sealed, folder)
    return verify(folder)


def load_weights(folder: str | os.PathLike[str], name: str = WEIGHTS) -> dict[str, torch.Tensor]:
    """The tensors of one weight file, once the whole folder is verified."""
    import safetensors.torch  # lazy: listing and installing models needs no torch
    from safetensors import SafetensorError

    card = verify(folder)
    if name not in card.files:
        raise BadModel(f"the card of {card.id!r} lists no {name}; its files are {', '.join(card.files) or 'none'}.")
    try:
        # From bytes: a mapped file could not be removed or replaced on Windows while the tensors live.
        return safetensors.torch.load(Path(folder, name).read_bytes())
    except SafetensorError as error:
        raise BadModel(f"{Path(folder, name)} is not a safetensors file: {error}.") from error


def check_state(state: Mapping[str, torch.Tensor], expected: Mapping[str, Sequence[int]]) -> None:
    """Raises `BadModel` on the first tensor that is missing, of another shape or unknown to the network."""
    for name, shape in expected.items():
        if name not in state:
            raise BadModel(f"the weights lack {name}; the network expects it with shape {tuple(shape)}.")
        if tuple(state[name].shape) != tuple(shape):
            got = tuple(state[name].shape)
            raise BadModel(f"{name} has shape {got}; the network of the card expects {tuple(shape)}.")
    if extra := [name for name in state if name not in expected]:
        raise BadModel(f"the weights hold {extra[0]}, which the network of the card does not have.")


class HttpsOnly(HTTPRedirectHandler):
    """Follows redirects to https alone."""

    def redirect_request(self, req: Request, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Request | None:
        if urlsplit(newurl).scheme != "https":
            raise BadInput(f"{req.full_url} sends on to {newurl}; models are downloaded by https only.")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _open(url: str) -> AbstractContextManager[IO[bytes]]:
    return build_opener(HttpsOnly).open(url, timeout=60)


def install(
    source: str | os.PathLike[str],
    sha256: str | None = None,
    *,
    opener: Opener = _open,
    on_bytes: Callable[[int], None] = lambda _: None,
) -> ModelFolder:
    """Installs a model from a folder, a zip file or an https address of one (with its sha256), whole or not at all.

    `on_bytes` is told how much has been downloaded.
    """
    source, root = os.fspath(source), installed()
    remote = "://" in source
    if remote and urlsplit(source).scheme != "https":
        raise BadInput(f"{source} is not an https address; models are downloaded by https only.")
    if remote and not re.fullmatch(r"[0-9a-fA-F]{64}", sha256 or ""):
        raise BadInput(f"a sha256 (64 hexadecimal digits) is needed with {source}: it tells if the right file came.")
    with _writing(root), tempfile.TemporaryDirectory(prefix=f".install-{os.getpid()}-", dir=root) as temporary:
        archive, stage = Path(temporary, "model.zip"), Path(temporary, "model")
        stage.mkdir()
        if remote:
            _download(source, archive, opener, on_bytes)
        _unpack(archive if remote else Path(source), sha256, stage, source)
        try:
            card = verify(stage)
        except BadModel as error:  # name what the user gave, not the folder that is about to vanish
            raise BadModel(str(error).replace(str(stage), source)) from None
        target = root / card.id
        if target.exists():
            raise BadInput(f"model {card.id!r} is installed already, in {target}; remove it first.")
        os.rename(stage, target)
    return ModelFolder(card, target)


def export(folder: str | os.PathLike[str], target: str | os.PathLike[str]) -> FileEntry:
    """Writes a verified model to a zip file that `install` takes; the same model gives the same sha256, returned."""
    folder, target = Path(folder), Path(target)
    if target.suffix.lower() != ".zip":
        raise BadInput(f"{target} is no name for an exported model; it ends with .zip.")
    card = verify(folder)
    with whole(target) as part, zipfile.ZipFile(part, "w") as archive:
        for name in sorted((CARD, *card.files)):
            info = zipfile.ZipInfo(f"{card.id}/{name}")  # of 1980: the time of the export is no part of the model
            info.external_attr = 0o644 << 16
            info.compress_type = zipfile.ZIP_STORED if name.endswith(".safetensors") else zipfile.ZIP_DEFLATED
            with (folder / name).open("rb") as file, archive.open(info, "w", force_zip64=True) as out:
                _copy(file, out, MAX_BYTES, name)
    return fingerprint(target)


def remove(model: str) -> Path:
    """Removes an installed model, and no other; returns where it was."""
    root = installed()
    names = {path.name for path in root.iterdir() if not path.name.startswith(".")} if root.is_dir() else set()
    folder = root / model if model in names else find(model).folder  # by name first: its card may be broken
    if folder.parent != root:
        raise BadInput(f"model {model!r} lies in {folder}; only installed models, in {root}, can be removed.")
    with _writing(root), tempfile.TemporaryDirectory(prefix=".remove-", dir=root) as temporary:
        os.rename(folder, Path(temporary, "model"))  # gone at once: a deletion can stop half-way
    return folder


@contextmanager
def _writing(root: Path) -> Iterator[None]:
    """Makes `root`, and tells in words when it cannot be written."""
    try:
        root.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        raise BadInput(f"cannot change the models in {root}: {error}; MEDDIFF_HOME names another folder.") from error


def _download(url: str, archive: Path, opener: Opener, on_bytes: Callable[[int], None]) -> None:
    part = archive.with_name(f"{archive.name}.part")
    try:
        with opener(url) as response, part.open("wb") as out:
            _copy(response, out, MAX_BYTES, url, on_bytes)
    except (OSError, HTTPException) as error:
        raise BadInput(f"could not download {url}: {error}.") from error
    os.rename(part, archive)


def _unpack(path: Path, sha256: str | None, stage: Path, source: str) -> None:
    """Copies the files of a folder or a zip into `stage`; errors name `source`."""
    if path.is_dir():
        if sha256:
            raise BadInput(f"{source} is a folder; a sha256 belongs to a zip file.")
        files = ((p.name, p.is_file() and not p.is_symlink(), partial(p.open, "rb")) for p in path.iterdir())
        return _place(files, stage)
    if not path.is_file():
        raise BadInput(f"there is no model at {source}; give a folder, a zip file or an https address.")
    if sha256 and (found := fingerprint(path).sha256) != sha256.lower():
        raise BadModel(f"{source} has sha256 {found}, expected {sha256.lower()}; it is cut short or another file.")
    try:
        with zipfile.ZipFile(path) as archive:
            _place(_entries(archive), stage)
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError) as error:
        raise BadModel(f"{source} is not a zip file that can be read: {error}.") from error


def _entries(archive: zipfile.ZipFile) -> Iterator[Member]:
    """The files of a zip, named from where its card lies: most people zip the folder, not what is in it."""
    infos = [info for info in archive.infolist() if not info.is_dir() and not info.filename.startswith("__MACOSX/")]
    cards = [info.filename for info in infos if info.filename.rpartition("/")[2] == CARD]
    top = min(cards, key=len, default=CARD).removesuffix(CARD)
    for info in infos:
        link = stat.S_ISLNK(info.external_attr >> 16)
        yield info.filename.removeprefix(top), not link, partial(archive.open, info)


def _place(members: Iterator[Member], stage: Path) -> None:
    """Copies members that are plainly data into `stage`; a name with a folder in it never reaches the disk."""
    room, seen = MAX_BYTES, set[str]()
    for name, regular, open_member in members:
        if re.fullmatch(r"\.[^/\\]*", name):
            continue  # .DS_Store and the like
        if not regular or not re.fullmatch(DATA_FILE, name):
            raise BadModel(f"{name!r} does not belong in a model; expected {DATA_FILE_WORDS}.")
        if name.lower() in seen or len(seen) == MAX_FILES:
            raise BadModel(f"{name!r} is there twice, or the model has more than {MAX_FILES} files.")
        seen.add(name.lower())
        with open_member() as file, (stage / name).open("xb") as out:
            room -= _copy(file, out, room, name)


def _copy(
    file: IO[bytes], out: IO[bytes], limit: int, what: str, on_bytes: Callable[[int], None] = lambda _: None
) -> int:
    """Copies at most `limit` bytes, whatever size was announced; returns how many."""
    size = 0
    while block := file.read(_BLOCK):
        size += len(block)
        if size > limit:
            raise BadModel(f"{what} is too large: a model has at most {MAX_BYTES} bytes.")
        out.write(block)
        on_bytes(size)
    return size
