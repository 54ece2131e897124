"""The tab Translate with the real worker and tiny models: the contrast that is wanted, where the volume lies."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import anomalies
import makings
import mrml
import numpy as np
import panels
import pytest
from panels import find, voxels

SHAPE = (3, 48, 40)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return makings.models(tmp_path_factory.mktemp("models"))


def phantom(contrast: str, name: str) -> Any:
    from MedDiffusionLib.nodes import node_from_volume
    from MedDiffusionLib.phantom import TILT
    from MedDiffusionLib.phantom import phantom as made

    return node_from_volume(made(contrast, SHAPE, spacing=(1.2, 1.2, 3.0), tilt=TILT), name)


@pytest.fixture
def tab(host: Any, tiny: Path, monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """The tab, opened on a scene with one volume."""
    monkeypatch.setenv("MEDDIFF_MODELS", str(tiny))
    volume = phantom("T1", "Anna T1w")
    opened = makings.open_tab(host, "Translate")
    makings.set_up(opened, model="tiny-contrasts", samples=2)
    opened.volume = volume
    return opened


def engine(tiny: Path, *volumes: Any, **asked: Any) -> Any:
    """What the engine makes of the same request."""
    from meddiff.models import load
    from meddiff.sampling import drain
    from meddiff.translation import translate

    first, *others = volumes
    model = load(tiny / "tiny-contrasts", "cpu")
    return drain(translate(first, model, preset="fast", seed=5, samples=2, others=others, **asked))


def test_the_name_of_a_volume_says_what_it_shows(tab: Any) -> None:
    parameters = tab.parameters
    assert parameters.inputVolume is tab.volume  # the only one
    assert (parameters.contrast, parameters.target) == ("T1", "T2") and panels.tooltip(tab) == ""
    makings.set_up(tab, inputVolume=phantom("T2", "Anna T2 axial"))
    assert (parameters.contrast, parameters.target) == ("T2", "T1")
    makings.set_up(tab, inputVolume=phantom("T1", "Anna"))
    assert parameters.contrast == "" and "Say what “Volume” shows" in panels.tooltip(tab)


@pytest.mark.parametrize(
    ("name", "contrast"),
    [
        ("patient_T1", "T1"),
        ("t2_flair_sag", "FLAIR"),
        ("sub-01_T2w", "T2"),
        ("T1ce", ""),
        ("T1-Gd", ""),
        ("T1POST", ""),
        ("T1 post contrast", ""),
        ("T10", ""),
        ("MRHead", ""),
        ("DST1X", ""),
    ],
)
def test_names_are_not_read_wrongly(host: Any, name: str, contrast: str) -> None:
    from MedDiffusionLib.hub.painting import guess

    assert guess(name, makings.CONTRASTS) == contrast


def test_the_result_is_that_of_the_engine_and_lies_where_the_volume_does(tab: Any, tiny: Path) -> None:
    """Under an oblique transform, to 1e-6 mm."""
    from MedDiffusionLib.nodes import volume_from_node

    transform = anomalies.oblique(tab.volume)
    makings.set_up(tab, wanted="uncertainty,sample,figures", target="FLAIR")
    makings.apply(tab)
    parameters, truth = tab.parameters, engine(tiny, volume_from_node(tab.volume), contrast="T1", target="FLAIR")
    for node, volume in (
        (parameters.outputVolume, truth.mean),
        (parameters.outputUncertainty, truth.spread),
        (parameters.outputSample, truth.sample),
    ):
        assert np.allclose(voxels(node), volume.array, rtol=1e-4, atol=1e-3)
        assert node.GetTransformNodeID() == transform.GetID()
        assert np.abs(mrml.corners(node) - mrml.corners(tab.volume)).max() < 1e-6
    assert parameters.outputVolume.GetName() == "Anna T1w as FLAIR"
    assert parameters.outputFigures is None  # without a reference


def test_a_second_contrast_under_another_transform_is_brought_there(tab: Any, tiny: Path) -> None:
    from MedDiffusionLib.labels import image_beside
    from MedDiffusionLib.nodes import volume_from_node

    other, shift = phantom("T2", "T2"), np.eye(4)
    shift[:3, 3] = 4.0, -3.0, 1.0
    anomalies.oblique(other).SetMatrixTransformToParent(mrml.matrix(shift))
    makings.set_up(tab, inputVolume2=other)
    assert (tab.parameters.contrast2, tab.parameters.target) == ("T2", "FLAIR")
    makings.apply(tab)
    asked = {"contrast": "T1", "contrast2": "T2", "target": "FLAIR"}
    truth = engine(tiny, volume_from_node(tab.volume), image_beside(other, tab.volume), **asked)
    assert np.allclose(voxels(tab.parameters.outputVolume), truth.mean.array, rtol=1e-4, atol=1e-3)
    alone = engine(tiny, volume_from_node(tab.volume), contrast="T1", target="FLAIR")
    assert np.abs(alone.mean.array - truth.mean.array).max() > 1e-2  # the other one counts


def test_a_reference_gives_figures(tab: Any) -> None:
    makings.set_up(tab, reference=phantom("T2", "true T2"), target="T2")
    makings.apply(tab)
    table = tab.parameters.outputFigures
    rows = {table.GetCellText(row, 0): table.GetCellText(row, 1) for row in range(table.GetNumberOfRows())}
    assert {"PSNR (dB)", "SSIM"} <= {*rows} and float(rows["PSNR (dB)"]) < 60
    assert "Against the reference: PSNR" in find(tab.widget, "statusText").text


def test_one_pass_is_cheaper_and_has_no_spread(tab: Any) -> None:
    steps = tab.widget.logic.cost(tab.widget.arguments()).network_calls
    makings.set_up(tab, method="regression")
    assert tab.widget.logic.cost(tab.widget.arguments()).network_calls == 1 < steps
    makings.apply(tab)
    assert not voxels(tab.parameters.outputUncertainty).any()


def test_the_console_and_the_command_line_give_the_same_voxels(tab: Any, tiny: Path, tmp_path: Path) -> None:
    import slicer

    from meddiff.volume import read

    makings.apply(tab)
    made = voxels(tab.parameters.outputVolume).copy()
    asked = {**panels.copied_call(tab.widget), "outputVolume": None, "outputUncertainty": None}
    assert np.array_equal(voxels(type(tab.widget.logic)().process(**asked)["translated"]), made)
    assert slicer.util.saveNode(tab.volume, str(tmp_path / "Anna-T1w.nrrd"))
    makings.run_as_command(tab, tiny, tmp_path)
    (file,) = tmp_path.rglob("translated.nrrd")
    assert np.array_equal(read(file).array, made)


def test_a_run_can_be_repeated_from_its_record(tab: Any) -> None:
    from MedDiffusionLib.hub import jobs

    makings.apply(tab)
    (record,) = jobs.records()
    assert record.module == "MedDiffusionTranslate" and jobs.hindrance(record) == ""
    logic = jobs.logic_of(record)
    again = logic.run(jobs.arguments_again(record, logic))["translated"]
    assert np.array_equal(voxels(again), voxels(tab.parameters.outputVolume))


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"inputVolume": None}, "Choose the input “Volume”"),
        ({"target": ""}, "Choose the contrast that is wanted"),
        ({"target": "T1"}, "choose each contrast once"),
        ({"target": "PD"}, "does not know “PD”"),
        ({"contrast": "PD"}, "does not know “PD”"),
    ],
)
def test_what_cannot_be_translated_is_said_and_apply_is_grey(tab: Any, values: dict[str, Any], sentence: str) -> None:
    for name, value in values.items():
        setattr(tab.parameters, name, value)
    tab.widget.refresh()
    assert sentence in panels.tooltip(tab)


def test_one_volume_is_not_two_contrasts(tab: Any) -> None:
    makings.set_up(tab, inputVolume2=tab.volume, contrast2="T2")
    assert "chosen twice" in panels.tooltip(tab)


def test_only_as_many_volumes_as_the_model_can_take(tab: Any) -> None:
    """Of three contrasts one is made: the third volume has no row, and what a script left there does not count."""
    hidden = {name: find(tab.widget, name).parentWidget().isHidden() for name in ("inputVolume2", "inputVolume3")}
    assert hidden == {"inputVolume2": False, "inputVolume3": True}
    tab.parameters.inputVolume3 = phantom("T2", "T2")
    assert tab.widget.arguments()["inputVolume3"] is None


def test_cancel_leaves_the_scene_as_it_was(tab: Any) -> None:
    panels.cancel(tab)


def test_use_opens_the_tab_with_the_model(tab: Any) -> None:
    hub = tab.hub
    for model, title in (("tiny-classes", "Synthesise"), ("tiny-contrasts", "Translate")):
        hub.tabs.setCurrentWidget(hub.models.widget)
        hub.models.choose(model)
        hub.models.useButton.click()
        assert hub.tabs.tabText(hub.tabs.currentIndex) == title
        assert hub._open().panel._parameterNode.model == model
