"""The hub as a person uses it: models come and go, the computer is looked at, and what was run is run again."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mrml
import numpy as np
import panels
import pytest
from panels import ROOT, find, press

STARTER = ROOT / "MedDiffusion" / "Resources" / "Models" / "brain-mr"
FIRST = STARTER.parent / "brain-translate"  # by its name, which the shelf is sorted by
STARTERS = {folder.name for folder in STARTER.parent.iterdir() if folder.is_dir()}


@pytest.fixture
def hub(host: Any) -> Any:
    """The panel of the hub, shown."""
    return host.load_module(ROOT / "MedDiffusion" / "MedDiffusion.py").enter()


def show(hub: Any, tab: str) -> Any:
    """Click on a tab."""
    hub.tabs.setCurrentWidget(getattr(hub, tab).widget)
    return getattr(hub, tab)


def is_open(hub: Any, tab: str) -> bool:
    return hub.tabs.currentWidget() is getattr(hub, tab).widget


def idle(hub: Any) -> Callable[[], bool]:
    return lambda: not hub.models.errand.busy


def said(hub: Any, name: str) -> str:
    """The sentence of a notice; empty when it is hidden."""
    return "" if find(hub, name).isHidden() else find(hub, f"{name}Text").text


def rows(table: Any) -> list[tuple[str, ...]]:
    """What a table shows."""
    lines, columns = range(table.rowCount), range(table.columnCount)
    return [tuple(table.item(line, column).text() for column in columns) for line in lines]


def toy(folder: Path, name: str = "toy") -> Path:
    """A model of its own: the starter model under another name."""
    shutil.copytree(STARTER, folder)
    card = json.loads((folder / "model.json").read_text(encoding="utf-8"))
    card |= {"id": name, "name": f"The model {name}"}
    (folder / "model.json").write_text(json.dumps(card), encoding="utf-8")
    return folder


def zipped(folder: Path) -> Path:
    archive = folder.with_suffix(".zip")
    with zipfile.ZipFile(archive, "w") as out:
        for path in folder.iterdir():
            out.write(path, f"{folder.name}/{path.name}")
    return archive


def install(host: Any, hub: Any, source: Path) -> None:
    """Type a source and press Install, as a person would, and wait."""
    find(hub, "modelSource").text = str(source)
    press(hub, "installModel")
    host.wait(idle(hub), 60)


# --- models -----------------------------------------------------------------------------------------------------------


def test_the_starter_model_is_on_the_shelf(hub: Any) -> None:
    assert rows(find(hub, "models"))[0][:2] == ("Brain MR contrasts (axial, 1 mm)", "translate")
    text = find(hub, "modelDetails").plainText
    for part in (
        "CC-BY-4.0",
        "Not for diagnosis",
        "Lesjak",
        "regression",
        "Measured quality" if quality() else "Limitations",
    ):
        assert part in text
    assert not find(hub, "removeModel").enabled and "came with the extension" in find(hub, "removeModel").toolTip


def quality() -> list[Any]:
    return json.loads((FIRST / "model.json").read_text(encoding="utf-8"))["quality"]


def test_a_model_is_installed_verified_and_removed(host: Any, hub: Any, tmp_path: Path) -> None:
    archive = zipped(toy(tmp_path / "toy"))
    assert not find(hub, "installModel").enabled and "zip file" in find(hub, "installModel").toolTip
    install(host, hub, archive)
    assert "toy 1" in said(hub, "modelDone") and said(hub, "modelFailed") == ""
    assert find(hub, "modelSource").text == ""
    assert hub.models.chosen.id == "toy"
    assert ("The model toy", "installed") in {row[::3] for row in rows(find(hub, "models"))}
    press(hub, "verifyModel")
    assert not find(hub, "verifyModel").enabled and "Wait" in find(hub, "verifyModel").toolTip
    host.wait(idle(hub), 60)
    assert "whole and unaltered" in said(hub, "modelDone")
    press_and_answer(host, hub, "removeModel", "Cancel")
    assert hub.models.chosen.id == "toy" and idle(hub)()
    press_and_answer(host, hub, "removeModel", "Ok")
    host.wait(idle(hub), 60)
    assert "was removed" in said(hub, "modelDone")
    assert {entry.id for entry in hub.models.entries} == STARTERS
    assert not home("models", "toy").exists()
    assert "The model toy" in host.dialogs[-1].text and str(home()) in host.dialogs[-1].text


def press_and_answer(host: Any, hub: Any, name: str, button: str) -> None:
    """Press a button from the event loop, as a click comes, and answer the question that follows by another."""
    import qt

    before = len(host.dialogs)
    host.answer(getattr(qt.QMessageBox, button))
    qt.QTimer.singleShot(0, lambda: press(hub, name))
    host.wait(lambda: len(host.dialogs) > before)


def home(*parts: str) -> Path:
    return Path(os.environ["MEDDIFF_HOME"], *parts)


def test_a_model_is_installed_from_a_folder_and_its_id_is_taken(host: Any, hub: Any, tmp_path: Path) -> None:
    folder = toy(tmp_path / "toy")
    host.answer(str(folder))
    press(hub, "browseFolder")
    assert find(hub, "modelSource").text == str(folder)
    press(hub, "installModel")
    host.wait(idle(hub), 60)
    assert hub.models.chosen.id == "toy"
    install(host, hub, folder)
    assert "installed already" in said(hub, "modelFailed") and said(hub, "modelDone") == ""


def test_a_model_that_was_tampered_with_is_found_out(
    host: Any, hub: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = toy(tmp_path / "models" / "toy")
    monkeypatch.setenv("MEDDIFF_MODELS", str(tmp_path / "models"))
    with (folder / "weights.safetensors").open("r+b") as file:
        file.seek(100_000)
        file.write(b"\0\1\2\3")
    hub.models.refresh()
    hub.models.choose("toy")
    assert hub.models.chosen.place == "MEDDIFF_MODELS"
    press(hub, "verifyModel")
    host.wait(idle(hub), 60)
    assert "weights.safetensors was altered" in said(hub, "modelFailed")
    archive = zipped(folder)
    install(host, hub, archive)
    assert "was altered" in said(hub, "modelFailed") and not list(home("models").glob("*"))
    press(hub, "exportModel")  # the dialog is closed without a name
    assert idle(hub)()
    host.answer(str(tmp_path / "out"))
    press(hub, "exportModel")
    host.wait(idle(hub), 60)
    assert "was altered" in said(hub, "modelFailed") and not (tmp_path / "out.zip").exists()


def test_an_exported_model_is_what_its_sha256_says(host: Any, hub: Any, tmp_path: Path) -> None:
    host.answer(str(tmp_path / "copy"))
    press(hub, "exportModel")
    host.wait(idle(hub), 60)
    sha256 = hashlib.sha256((tmp_path / "copy.zip").read_bytes()).hexdigest()
    assert sha256 in said(hub, "modelDone")
    find(hub, "modelSha256").text = sha256[::-1]
    install(host, hub, tmp_path / "copy.zip")
    assert "expected" in said(hub, "modelFailed")
    find(hub, "modelSha256").text = sha256
    install(host, hub, tmp_path / "copy.zip")
    assert home("models", FIRST.name).is_dir() and find(hub, "modelSha256").text == ""
    assert hub.models.chosen.removable


@pytest.mark.parametrize(
    ("source", "sha256", "lacks"),
    [
        ("", "", "Give a zip file"),
        ("/nowhere/at/all.zip", "", "There is nothing at"),
        ("https://example.org/m.zip", "", "64 hexadecimal digits"),
        ("https://example.org/m.zip", "abc", "64 hexadecimal digits"),
        ("http://example.org/m.zip", "0" * 64, "must begin with https://"),
        (str(STARTER), "abc", "leave it empty"),
    ],
)
def test_install_says_what_it_lacks(hub: Any, source: str, sha256: str, lacks: str) -> None:
    find(hub, "modelSource").text, find(hub, "modelSha256").text = source, sha256
    button = find(hub, "installModel")
    assert not button.enabled and lacks in button.toolTip
    find(hub, "modelSource").text, find(hub, "modelSha256").text = "https://example.org/m.zip", "0" * 64
    assert button.enabled


def test_a_download_that_fails_is_told_in_words(host: Any, hub: Any) -> None:
    find(hub, "modelSource").text = "https://127.0.0.1:9/toy.zip"  # nobody listens there
    find(hub, "modelSha256").text = "0" * 64
    press(hub, "installModel")
    host.wait(idle(hub), 60)
    assert "could not download https://127.0.0.1:9/toy.zip" in said(hub, "modelFailed")
    assert find(hub, "modelSource").text and not list(home("models").glob("*"))


def test_an_installation_is_cancelled_without_a_trace(
    host: Any, hub: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The child is caught in the middle of its copy, which is slowed down by a pipe that nobody fills."""
    from MedDiffusionLib.hub import commands

    slow = tmp_path / "slow.py"
    slow.write_text(
        "import json, os, time\n"
        "from pathlib import Path\n"
        "folder = Path(os.environ['MEDDIFF_HOME'], 'models', f'.install-{os.getpid()}-x'); folder.mkdir(parents=True)\n"
        "print(json.dumps({'event': 'ready', 'pid': os.getpid()}), flush=True)\n"
        "print(json.dumps({'event': 'progress', 'step': 12_345_678}), flush=True)\n"
        "time.sleep(60)\n"
    )
    monkeypatch.setattr(commands, "python_command", lambda *words: [sys.executable, str(slow)])
    before = panels.children()
    find(hub, "modelSource").text = str(STARTER)
    press(hub, "installModel")
    host.wait(lambda: "12 MB" in find(hub, "modelProgress").format, 20)
    assert list(home("models").glob(".install-*"))
    began = time.monotonic()
    press(hub, "modelCancel")
    assert time.monotonic() - began < 0.5
    assert said(hub, "modelDone") == "Cancelled." and find(hub, "modelProgress").parentWidget().isHidden()
    assert not list(home("models").glob(".install-*"))
    host.wait(lambda: panels.children() <= before, 5)


def test_a_command_that_dies_says_its_last_words(host: Any, hub: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from MedDiffusionLib.hub import commands

    command = [sys.executable, "-c", "import no_such_package"]
    monkeypatch.setattr(commands, "python_command", lambda *words: command)
    press(hub, "verifyModel")
    host.wait(idle(hub), 20)
    assert "no_such_package" in said(hub, "modelFailed")


def test_a_card_that_cannot_be_read_is_on_the_shelf_too(
    hub: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "model.json").write_text("{}")
    monkeypatch.setenv("MEDDIFF_MODELS", str(tmp_path))
    hub.models.refresh()
    assert ("broken", "cannot be read") in {row[:2] for row in rows(find(hub, "models"))}
    hub.models.choose("broken")
    assert "no model card" in find(hub, "modelDetails").plainText
    assert not find(hub, "useModel").enabled and not find(hub, "exportModel").enabled
    assert find(hub, "verifyModel").enabled


def test_use_opens_the_panel_with_the_model(host: Any, hub: Any, tmp_path: Path) -> None:
    panels.load(host)
    install(host, hub, toy(tmp_path / "toy"))
    press(hub, "useModel")
    from DiffusionRecon import DiffusionReconLogic

    assert DiffusionReconLogic().getParameterNode().model == "toy"


def test_before_the_set_up_nothing_is_promised(host: Any, hub: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from MedDiffusionLib import install as setup

    monkeypatch.setattr(setup, "status", lambda: setup.Status(False, "PyTorch must be installed.", ("torch",)))
    hub.enter()
    assert said(hub, "setUp") == "PyTorch must be installed."
    for name in ("verifyModel", "exportModel", "installModel"):
        find(hub, "modelSource").text = str(STARTER)
        assert not find(hub, name).enabled and "set-up" in find(hub, name).toolTip
    press(hub, "goToSetUp")
    assert is_open(hub, "system") and find(hub, "setUpStatus").text == "PyTorch must be installed."


def test_a_bundle_of_others_is_imported_once_it_is_told_what_it_leaves_out(
    host: Any, hub: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import qt

    monkeypatch.syspath_prepend(str(ROOT / "Testing" / "engine"))
    from bundles_of_others import BRATS_2D, write_bundle

    folder = write_bundle(BRATS_2D, tmp_path / "slices")
    seen: dict[str, str] = {}

    def fill(dialog: Any) -> None:
        for name, text in BRATS_2D.answers.items():
            field = dialog.findChild(qt.QLineEdit, f"bundle_{name}")
            seen[name] = field.text
            field.setText(text)
        dialog.accept()

    host.answer(str(folder), qt.QDialog.Rejected)
    press(hub, "importBundle")
    host.wait(lambda: len(host.dialogs) == 2 and idle(hub)(), 60)
    assert not home("models").exists()
    host.answer(str(folder), fill)
    press(hub, "importBundle")
    host.wait(lambda: len(host.dialogs) == 4 and idle(hub)(), 90)
    assert seen["spacing"] == "1,1" and seen["scale"] == ""
    assert said(hub, "modelFailed") == "" and "slices 1.0.0 is installed" in said(hub, "modelDone")
    assert hub.models.chosen.id == "slices" and (home("models", "slices") / "autoencoder.safetensors").is_file()


# --- system -----------------------------------------------------------------------------------------------------------


def test_the_computer_is_described_by_the_worker(host: Any, hub: Any) -> None:
    system = show(hub, "system")
    press(hub, "checkButton")
    assert not find(hub, "checkButton").enabled
    host.wait(lambda: not system.asking, 90)
    table = dict(rows(find(hub, "computer")))
    assert table["MedDiffusion"] and table["PyTorch"][0].isdigit()
    assert any(title.startswith("CPU") and found.startswith("works") for title, found in table.items())
    assert "Jobs run on" in find(hub, "advice").text and find(hub, "checkButton").enabled


@pytest.mark.parametrize(
    ("script", "sentence"),
    [("pass", "gave no answer"), ("import time; time.sleep(60)", "gave no answer")],
    ids=["dies", "is silent"],
)
def test_a_worker_that_does_not_answer(
    host: Any, hub: Any, monkeypatch: pytest.MonkeyPatch, script: str, sentence: str
) -> None:
    from MedDiffusionLib.hub import system
    from MedDiffusionLib.process import Worker

    monkeypatch.setattr(system, "Worker", lambda: Worker([sys.executable, "-c", script]))
    monkeypatch.setattr(system, "PATIENCE", 0.5)
    tab = show(hub, "system")
    press(hub, "checkButton")
    host.wait(lambda: not tab.asking, 10)
    assert sentence in find(hub, "advice").text


def test_the_set_up_is_pressed(host: Any, hub: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from meddiff.errors import BadInput
    from MedDiffusionLib import install as setup

    ready = False
    asked: list[Any] = []

    def status() -> Any:
        return setup.Status(ready, "All is there." if ready else "PyTorch is missing.")

    def fake(confirm: bool, progress: Callable[[str], None], folder: Path | None) -> Any:
        nonlocal ready
        asked.append((confirm, folder))
        progress("Installing PyTorch.")
        if len(asked) == 1:
            raise BadInput("There is no internet.")
        ready = len(asked) > 2
        return status() if ready else setup.Status(False, "It was declined.")

    monkeypatch.setattr(setup, "status", status)
    monkeypatch.setattr(setup, "install", fake)
    tab = show(hub, "system")
    press(hub, "setUpButton")
    assert said(hub, "setUpProblem") == "There is no internet." and said(hub, "setUp") == "PyTorch is missing."
    find(hub, "wheelsFolder").currentPath = str(tmp_path)
    press(hub, "setUpButton")
    assert said(hub, "setUpProblem") == "" and find(hub, "setUpStatus").text == "It was declined."
    press(hub, "setUpButton")
    assert find(hub, "setUpStatus").text == "All is there." and said(hub, "setUp") == ""
    assert asked == [(True, None), (True, tmp_path), (True, tmp_path)]
    assert not find(hub, "setUpButton").enabled
    host.wait(lambda: not tab.asking, 90)  # it checks at once
    assert "Jobs run on" in find(hub, "advice").text


def test_what_interrupted_jobs_left_is_cleaned_up(host: Any, hub: Any) -> None:
    import slicer

    temporary = Path(slicer.app.temporaryPath)
    for folder in temporary.glob("MedDiffusion-*"):  # of other tests
        shutil.rmtree(folder)
    old, young, other = (temporary / name for name in ("MedDiffusion-old", "MedDiffusion-young", "Another"))
    half = home("models", ".install-1-x")
    for folder in (old, young, other, half):
        folder.mkdir(parents=True)
        (folder / "volume.nrrd").write_bytes(bytes(1_500_000))
    long_ago = time.time() - 2 * 24 * 3600
    for folder in (old, other, half):
        for path in (folder / "volume.nrrd", folder):
            os.utime(path, (long_ago, long_ago))
    show(hub, "system")
    table = {row[0]: row[1] for row in rows(find(hub, "disk"))}
    assert table["Installed models"] == "1.5 MB" and table["Files of jobs, while they run"] == "3.0 MB"
    assert "2 folders, 3.0 MB" in find(hub, "cleanButton").toolTip
    press_and_answer(host, hub, "cleanButton", "Cancel")
    assert old.exists()
    press_and_answer(host, hub, "cleanButton", "Ok")
    assert not old.exists() and not half.exists() and young.exists() and other.exists()
    assert "3.0 MB are free again" in find(hub, "cleaned").text and not find(hub, "cleanButton").enabled
    assert {entry.id for entry in hub.models.entries} == STARTERS


# --- jobs -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def ran(host: Any, hub: Any) -> dict[str, Any]:
    """The results of a job of Diffusion Recon that a fake worker ran."""
    panels.load(host)
    from DiffusionRecon import DiffusionReconLogic

    logic = DiffusionReconLogic()
    panels.use_fake(logic)
    source = panels.brain()
    return logic.process(source, seed=7, contrast="T1", samples=2, parameters={"steps": 3})


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch, ran: dict[str, Any]) -> Callable[..., None]:
    """Has the jobs tab run on a fake worker, too."""
    from DiffusionRecon import DiffusionReconLogic

    def use(mode: str = "ok", seconds: float = 0.2) -> None:
        def make(self: Any, keepWarm: bool) -> Any:
            panels.use_fake(self, mode, seconds)
            return self.makeWorker(keepWarm)

        monkeypatch.setattr(DiffusionReconLogic, "makeWorker", make)

    use()
    return use


def over(hub: Any) -> Callable[[], bool]:
    return lambda: hub.jobs.job is None


def test_an_empty_scene_has_no_jobs(hub: Any) -> None:
    show(hub, "jobs")
    assert rows(find(hub, "jobs")) == [] and "Nothing was run" in find(hub, "jobDetails").plainText
    assert not any(find(hub, name).enabled for name in ("runAgain", "showResults", "copyProvenance"))


def test_a_job_is_listed_with_its_provenance(host: Any, hub: Any, ran: dict[str, Any]) -> None:
    import slicer

    show(hub, "jobs")
    ((_when, module, method, names),) = rows(find(hub, "jobs"))
    assert (module, method) == ("DiffusionRecon", "pnp")
    assert all(node.GetName() in names for node in ran.values())
    text = find(hub, "jobDetails").plainText
    for part in ("Brain", "Seed 7", "contrast T1"):
        assert part in " ".join(text.split())
    press(hub, "copyProvenance")
    copied = json.loads(slicer.app.clipboard().text())
    assert copied["job"]["seed"] == 7 and copied["slicer"]["module"] == "DiffusionRecon"
    press(hub, "showResults")  # without views, nothing happens


def test_the_list_follows_the_scene(host: Any, hub: Any, ran: dict[str, Any]) -> None:
    import slicer

    show(hub, "jobs")
    for node in ran.values():
        slicer.mrmlScene.RemoveNode(node)
    host.wait(lambda: not rows(find(hub, "jobs")), 5)
    node = panels.brain("Other")
    node.SetAttribute("MedDiffusion.provenance", "this is no JSON")
    host.process_events(0.4)
    assert rows(find(hub, "jobs")) == []
    node.SetAttribute("MedDiffusion.provenance", json.dumps({"job": {"recipe": "ccdf"}}))
    panels.brain("Third")
    host.wait(lambda: rows(find(hub, "jobs")), 5)
    assert "DiffusionRecon" not in rows(find(hub, "jobs"))[0]
    assert "not here" in find(hub, "runAgain").toolTip and not find(hub, "runAgain").enabled


@pytest.mark.parametrize(
    "told",
    [
        {"slicer": {"module": "SampleData"}},
        {"slicer": {"module": "os"}},
        {"slicer": "nothing"},
        {"slicer": {"module": "DiffusionRecon"}},
        {"slicer": {"module": "DiffusionRecon", "arguments": {"inputVolume": 7, "samples": [], "plane": {}}}},
        {"slicer": {"module": "DiffusionRecon", "arguments": []}, "job": [], "finished": 3, "seconds": "long"},
        {"model": "x", "settings": 1, "versions": None, "figures": {"a": None, "b": float("nan")}},
    ],
)
def test_a_record_of_anybodys_scene_does_no_harm(host: Any, hub: Any, told: dict[str, Any]) -> None:
    panels.load(host)
    panels.brain().SetAttribute("MedDiffusion.provenance", json.dumps(told))
    show(hub, "jobs")
    assert len(rows(find(hub, "jobs"))) == 1
    assert not find(hub, "runAgain").enabled and find(hub, "runAgain").toolTip


def test_run_again_gives_the_same_voxels_in_new_nodes(
    host: Any, hub: Any, ran: dict[str, Any], fake: Callable[..., None]
) -> None:
    import slicer

    show(hub, "jobs")
    before = {name: panels.voxels(node).copy() for name, node in ran.items() if node.IsA("vtkMRMLVolumeNode")}
    press(hub, "runAgain")
    assert find(hub, "runAgain").text == "Cancel" and not find(hub, "againProgress").isHidden()
    host.wait(over(hub), 30)
    assert "the same as before, voxel for voxel" in said(hub, "againDone")
    assert len(hub.jobs.records) == 2
    again = hub.jobs.records[0] if hub.jobs.records[1].nodes[0] in ran.values() else hub.jobs.records[1]
    assert not set(again.nodes) & set(ran.values())
    for name, node in ran.items():
        if name in before:
            np.testing.assert_array_equal(panels.voxels(node), before[name])
    told = [record.provenance["job"] for record in hub.jobs.records]
    for job in told:
        del job["output"], job["inputs"]
    assert told[0] == told[1] and told[0]["parameters"] == {"steps": 3}
    assert slicer.mrmlScene.GetFirstNodeByName("Brain") is not None


def test_run_again_by_the_real_worker_gives_the_same_voxels(host: Any, hub: Any) -> None:
    panels.load(host)
    from DiffusionRecon import DiffusionReconLogic

    made = DiffusionReconLogic().process(panels.brain(), samples=2, parameters={"steps": 2}, contrast="T1", seed=3)
    spread = panels.voxels(made["uncertainty"])
    assert spread.max() > 0  # not the same because nothing is random
    show(hub, "jobs")
    press(hub, "runAgain")
    host.wait(over(hub), 120)
    assert "all 3 volumes are the same as before, voxel for voxel" in said(hub, "againDone")


def test_run_again_tells_when_the_voxels_differ(
    host: Any, hub: Any, ran: dict[str, Any], fake: Callable[..., None]
) -> None:
    import slicer

    source = slicer.mrmlScene.GetFirstNodeByName("Brain")
    slicer.util.arrayFromVolume(source)[:] += 1
    show(hub, "jobs")
    press(hub, "runAgain")
    host.wait(over(hub), 30)
    assert "0 of" in said(hub, "againDone")


@pytest.mark.parametrize("mode", ["bad-input", "crash"])
def test_run_again_that_fails_says_why(
    host: Any, hub: Any, ran: dict[str, Any], fake: Callable[..., None], mode: str
) -> None:
    fake(mode)
    show(hub, "jobs")
    before = panels.scene_text()
    press(hub, "runAgain")
    host.wait(over(hub), 30)
    assert ("of no use" if mode == "bad-input" else "crashed") in said(hub, "againFailed")
    assert panels.scene_text() == before and find(hub, "runAgain").text == "Run again"


def test_run_again_is_cancelled(host: Any, hub: Any, ran: dict[str, Any], fake: Callable[..., None]) -> None:
    fake("ok", 20.0)
    show(hub, "jobs")
    before, children = panels.scene_text(), panels.children()
    press(hub, "runAgain")
    host.wait(lambda: find(hub, "againProgress").maximum > 0, 20)
    press(hub, "runAgain")
    host.wait(over(hub), 5)
    assert said(hub, "againDone") == "Cancelled." and panels.scene_text() == before
    host.wait(lambda: panels.children() <= children, 5)


@pytest.mark.parametrize("how", ["scene", "reload", "unload"])
def test_what_runs_ends_with_its_scene_or_panel(
    host: Any, hub: Any, ran: dict[str, Any], fake: Callable[..., None], how: str
) -> None:
    fake("ok", 20.0)
    show(hub, "jobs")
    children = panels.children()
    press(hub, "runAgain")
    host.wait(lambda: find(hub, "againProgress").maximum > 0, 20)
    if how == "scene":
        host.clear_scene()
        host.wait(lambda: not rows(find(hub, "jobs")), 5)
        assert find(hub, "againProgress").isHidden() and find(hub, "runAgain").text == "Run again"
    elif how == "reload":
        hub.onReload()
    else:
        host.unload("MedDiffusion")
    host.wait(lambda: panels.children() <= children, 5)


def test_jobs_are_found_in_a_scene_that_was_saved(
    host: Any, hub: Any, ran: dict[str, Any], fake: Callable[..., None], tmp_path: Path
) -> None:
    import slicer

    before = {node.GetName(): panels.voxels(node).copy() for node in ran.values() if node.IsA("vtkMRMLVolumeNode")}
    slicer.util.saveScene(str(tmp_path / "scene.mrb"))
    host.clear_scene()
    mrml.give_cache(slicer.mrmlScene, tmp_path)
    panels.brain("Not this one")  # so that the nodes come back under other ids
    slicer.util.loadScene(str(tmp_path / "scene.mrb"))
    show(hub, "jobs")
    assert len(hub.jobs.records) == 1
    record = hub.jobs.chosen
    assert set(before) <= {node.GetName() for node in record.nodes}
    press(hub, "runAgain")
    host.wait(over(hub), 30)
    assert "voxel for voxel" in said(hub, "againDone")


def test_an_input_that_is_gone_is_named(host: Any, hub: Any, ran: dict[str, Any]) -> None:
    import slicer

    slicer.mrmlScene.RemoveNode(slicer.mrmlScene.GetFirstNodeByName("Brain"))
    show(hub, "jobs")
    assert not find(hub, "runAgain").enabled and "“Brain” is no longer in the scene" in find(hub, "runAgain").toolTip


def test_what_has_changed_since_is_told(host: Any, hub: Any, ran: dict[str, Any]) -> None:
    for node in ran.values():
        told = json.loads(node.GetAttribute("MedDiffusion.provenance"))
        told |= {"model": {"id": "brain-mr", "sha256": "0" * 64}, "versions": {"meddiff": "0.0.1"}}
        node.SetAttribute("MedDiffusion.provenance", json.dumps(told))
    show(hub, "jobs")
    text = find(hub, "jobDetails").plainText
    assert "another version than the one that was used" in text and "version 0.0.1 of MedDiffusion" in text


# --- the module -------------------------------------------------------------------------------------------------------


def test_logic_without_a_window(host: Any, ran: dict[str, Any], fake: Callable[..., None], tmp_path: Path) -> None:
    from meddiff.errors import BadInput
    from MedDiffusion import MedDiffusionLogic

    logic = MedDiffusionLogic()
    assert [model.id for model in logic.models("reconstruct")] == ["brain-mr"] and logic.models("causal") == ()
    assert "Not for diagnosis" in logic.modelDetails("brain-mr")["Intended use"]
    logic.verifyModel("brain-mr")
    sha256 = logic.exportModel("brain-mr", tmp_path / "m.zip")
    assert logic.installModel(tmp_path / "m.zip", sha256) == "brain-mr"
    with pytest.raises(BadInput, match="installed already"):
        logic.installModel(tmp_path / "m.zip")
    assert logic.removeModel("brain-mr") == home("models", "brain-mr")
    with pytest.raises(BadInput, match="only installed models"):
        logic.removeModel("brain-mr")
    assert logic.leftovers() == [] and logic.cleanUp() == 0
    assert {place.title for place in logic.diskUse()} >= {"Installed models"}
    (record,) = logic.jobs()
    made = logic.runAgain(record)
    assert set(made) == set(ran) and len(logic.jobs()) == 2
    assert logic.system()["torch"]
    assert host.dialogs == []  # a logic never asks


def test_the_modules_own_test_passes(host: Any, hub: Any) -> None:
    from MedDiffusion import MedDiffusionTest

    MedDiffusionTest().runTest()


def test_sample_data_is_registered_when_slicer_has_started(host: Any, hub: Any) -> None:
    import SampleData

    host.startup_completed()
    import slicer

    assert "MedDiffusion" in slicer.modules.sampleDataSources
    assert SampleData is not None


def test_the_panel_is_reloaded(host: Any, hub: Any) -> None:
    hub.onReload()
    import slicer

    again = slicer.modules.MedDiffusionWidget
    assert again is not hub and again.models.entries


def test_folders_are_opened(host: Any, hub: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import qt

    opened: list[str] = []
    monkeypatch.setattr(qt.QDesktopServices, "openUrl", staticmethod(lambda url: opened.append(url.toLocalFile())))
    press(hub, "openModelFolder")
    show(hub, "system")
    press(hub, "openHome")  # there is no folder of installed models yet
    assert opened == [str(FIRST), str(home())]


def test_everything_has_a_tooltip(hub: Any) -> None:
    import qt

    for kind in (qt.QPushButton, qt.QTableWidget, qt.QTextBrowser, qt.QLineEdit):
        for widget in hub.parent.findChildren(kind):
            if widget.name and not widget.name.startswith("qt_"):
                assert widget.toolTip, widget.name


def test_the_window_is_never_held_up(host: Any, hub: Any, tmp_path: Path) -> None:
    """While a model is checked and installed, no turn of the event loop takes 100 ms, nor does the press."""
    find(hub, "modelSource").text = str(zipped(toy(tmp_path / "toy")))
    host.process_events(0.3)  # the panel is laid out and painted for the first time
    turns: list[float] = []

    def measure(step: Callable[[], Any]) -> None:
        began = time.thread_time()
        step()
        turns.append(time.thread_time() - began)

    measure(lambda: press(hub, "installModel"))
    while hub.models.errand.busy:
        measure(host.process_events)
        time.sleep(0.005)
    assert hub.models.chosen.id == "toy"
    assert max(turns) < 0.1
