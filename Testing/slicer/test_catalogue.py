"""The catalogue says what the engine says, without loading it, and warns and counts before a run starts."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from meddiff.errors import BadInput
from MedDiffusionLib import catalogue

ROOT = Path(__file__).parents[2] / "MedDiffusion"
SHIPPED = ROOT / "Resources" / "Models" / "brain-mr"
OBLIQUE = (0.0, 0.0, 1.0, 1.0, 0.0, 0.0, 0.0, 1.0, 0.0)  # the axes of the volume run to posterior, superior, left


@pytest.fixture(autouse=True)
def _own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEDDIFF_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("MEDDIFF_MODELS", raising=False)


@pytest.fixture
def brain() -> catalogue.ModelInfo:
    return catalogue.model("brain-mr")


def cost(model: catalogue.ModelInfo, method: str = "pnp", **changes: Any) -> catalogue.Cost:
    given = {"settings": {"steps": 10}, "samples": 4, "shape": (60, 192, 160), "plane": "axial", "device": "cpu"}
    return catalogue.estimate(model, catalogue.recipe(method), **{**given, **changes})


# --- methods ----------------------------------------------------------------------------------------------------------


def test_the_file_is_what_the_engine_says() -> None:
    from meddiff.tasks import catalogue as engine

    made = json.loads((ROOT / "Resources" / "recipes.json").read_text(encoding="utf-8"))
    assert made == json.loads(json.dumps(engine())), "run: meddiff methods --json > MedDiffusion/Resources/recipes.json"


def test_methods_are_those_of_the_registry() -> None:
    from meddiff.registry import PRESETS, recipes
    from meddiff.tasks import TASKS

    assert catalogue.tasks() == tuple(TASKS) and catalogue.PRESETS == PRESETS
    assert [r.name for r in catalogue.recipes()] == [r.name for r in recipes()]
    for ours, theirs in zip(catalogue.recipes(), recipes(), strict=True):
        assert set(ours.presets) == set(PRESETS) and ours.title
        for preset in PRESETS:
            settings = theirs.settings({}, preset)
            assert ours.presets[preset] == settings
            assert ours.calls(settings) == theirs.calls(settings)
        for parameter in ours.parameters:
            known = theirs.parameters[parameter.name]
            told = "choice" if known.kind is str else known.kind.__name__
            assert (parameter.kind, parameter.default) == (told, known.default)
            assert (parameter.low, parameter.high, parameter.about) == (known.low, known.high, known.about)


def test_calls_take_what_is_left_out_from_the_preset() -> None:
    assert catalogue.recipe("pnp").calls({}) == catalogue.recipe("pnp").presets["balanced"]["steps"]
    assert catalogue.recipe("score-mri").calls({"steps": 10, "corrections": 2}) == 10 + 9 * 2


def test_a_task_tells_its_options_with_defaults_and_choices() -> None:
    found = {option.name: option for option in catalogue.task("reconstruct").options}
    assert found["pattern"].kind == "choice" and "radial" in found["pattern"].choices
    assert found["plane"].choices == ("axial", "coronal", "sagittal")
    assert found["preset"].choices == catalogue.PRESETS
    assert (found["acceleration"].kind, found["acceleration"].default) == ("float", 4.0)
    assert found["contrast"].choices == () and found["contrast"].default is None
    assert found["mask_seed"].title == "Mask seed"
    assert all(option.about for option in found.values())


def test_what_is_unknown_gets_a_sentence() -> None:
    assert catalogue.recipes("knitting") == ()
    with pytest.raises(BadInput, match="did you mean pnp"):
        catalogue.recipe("pmp")
    with pytest.raises(BadInput, match="did you mean brain-mr"):
        catalogue.model("brain-mri")
    with pytest.raises(BadInput, match="unknown task"):
        catalogue.task("reconstrct")


def test_neither_torch_nor_pydantic_is_loaded() -> None:
    heavy = {"torch", "monai", "pydantic", "scipy", "rich", "typer", "SimpleITK"}
    code = (
        "import sys, time; began = time.perf_counter()\nfrom MedDiffusionLib import catalogue as c\n"
        "c.models(); c.recipes(); c.task('reconstruct')\n"
        f"print(sorted({heavy!r} & set(sys.modules)), time.perf_counter() - began)"
    )
    # the package itself imports nothing here: its parts may want Slicer, which this process has not
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("[] ")


# --- models -----------------------------------------------------------------------------------------------------------


def test_a_model_is_what_its_card_says(brain: catalogue.ModelInfo) -> None:
    from meddiff.store import find, load_weights

    card, folder = find("brain-mr")
    assert (brain.folder, brain.id, brain.version, brain.licence) == (folder, card.id, card.version, card.licence)
    assert brain.spacing_mm == card.spacing_mm and brain.labels == (card.labels.names if card.labels else ())
    assert brain.recipes == tuple(card.recipes) and brain.bytes == sum(f.bytes for f in card.files.values())
    assert brain.parameters_count == sum(value.numel() for value in load_weights(folder).values())
    assert [row["metric"] for row in brain.quality] == [row.metric for row in card.quality]
    assert brain.plane == "axial"
    assert catalogue.model(str(folder)) == brain
    assert brain in catalogue.models("reconstruct") and brain not in catalogue.models("segment")


def test_the_same_folders_as_the_engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from meddiff import store

    mine = tmp_path / "models"
    shutil.copytree(SHIPPED, mine / "first")
    for name, change in {"other": {"id": "other-brain", "labels": None}, "again": {"summary": "second"}}.items():
        shutil.copytree(SHIPPED, mine / name)
        card = json.loads((SHIPPED / "model.json").read_text(encoding="utf-8"))
        (mine / name / "model.json").write_text(json.dumps({**card, **change}), encoding="utf-8")
    (mine / "bad").mkdir()
    (mine / "bad" / "model.json").write_text("{", encoding="utf-8")
    (mine / "half").mkdir()
    (mine / "half" / "model.json").write_text('{"id": "half", "files": {}}', encoding="utf-8")
    monkeypatch.setenv("MEDDIFF_MODELS", str(mine))
    assert {m.id: m.folder for m in catalogue.models()} == {m.card.id: m.folder for m in store.models()}
    assert catalogue.model("other-brain").labels == ()
    problems = dict(catalogue.broken_models())
    assert set(problems) == {mine / "bad", mine / "half"} and "no model card" in problems[mine / "bad"]
    with pytest.raises(BadInput, match="no model card"):
        catalogue.model(str(mine / "half"))
    (mine / "bad" / "model.json").write_bytes((SHIPPED / "model.json").read_bytes())  # read again, and whole now
    assert {path for path, _ in catalogue.broken_models()} == {mine / "half"}
    assert catalogue.model(str(mine / "bad")).parameters_count is None  # its weights are not there


# --- the domain -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, None),
        ({"spacing": (1.3, 0.8, 6.0)}, None),
        ({"spacing": (2.0, 2.0, 1.0)}, "spacing of 2 x 2 mm; model 'brain-mr' was trained at 1 x 1 mm"),
        ({"plane": "coronal", "spacing": (1.0, 1.0, 3.0)}, "spacing of 1 x 3 mm"),
        ({"plane": "coronal"}, "trained on axial slices, not on coronal ones"),
        ({"direction": OBLIQUE, "spacing": (1.0, 3.0, 1.0)}, None),  # thick along y, which runs to superior
        ({"direction": OBLIQUE, "spacing": (3.0, 1.0, 1.0)}, "spacing of 1 x 3 mm"),
        ({"shape": (60, 192, 20)}, "fewer than 32 voxels"),
        ({"values": np.array([0.0, 500.0])}, None),
        ({"values": np.array([-3.0, 500.0])}, None),  # what resampling leaves
        ({"values": np.array([-1024, 1500])}, "is it CT, in HU"),
        ({"values": np.array([-2.0, 2.0])}, "MR images have none below 0"),
        ({"values": np.array([-2 + 1j, 2.0])}, None),
        ({"values": np.array([7.0, 7.0])}, "7 in every voxel"),
        ({"values": np.array([7.0, np.nan])}, "not finite"),
    ],
)
def test_domain_warning(brain: catalogue.ModelInfo, changes: dict[str, Any], words: str | None) -> None:
    given = {"spacing": (1.0, 1.0, 1.0), "shape": (60, 192, 160), "plane": "axial", **changes}
    found = catalogue.domain_warning(brain, **given)
    assert found is None if words is None else words in str(found)


# --- the cost ---------------------------------------------------------------------------------------------------------


def test_cost_grows_with_what_is_asked_for(brain: catalogue.ModelInfo) -> None:
    one = cost(brain)
    assert one.network_calls == 40 and one.seconds
    assert "40 network calls for each of 60 slices" in one.sentence and one.sentence.startswith("Roughly")
    assert cost(brain, samples=8).seconds == pytest.approx(2 * one.seconds, rel=0.03)
    assert cost(brain, channels=2).seconds == pytest.approx(2 * one.seconds)
    assert cost(brain, "dps").seconds > 1.5 * one.seconds and cost(brain, "dps").memory_bytes > one.memory_bytes
    assert cost(brain, batch=16).memory_bytes > one.memory_bytes > cost(brain, batch=1).memory_bytes
    assert cost(brain, coils=32).memory_bytes > one.memory_bytes
    assert cost(brain, device="cuda:0").seconds < one.seconds
    turned = cost(brain, shape=(160, 60, 192), direction=OBLIQUE)
    assert (turned.seconds, turned.sentence) == (one.seconds, one.sentence)


def test_windows_cost_what_the_network_sees_of_them(brain: catalogue.ModelInfo) -> None:
    """A whole head, cut into windows that overlap: more voxels than it has, and not all of them at a time."""
    from meddiff.cuts import cut, seen

    crop, head = (40, 56, 40), (144, 184, 152)
    model = replace(brain, spacing_mm=(1.0, 1.0, 1.0), window=crop, shape_multiple=8)
    small, large = (cost(model, samples=1, shape=shape) for shape in (crop, head))
    assert large.seconds / small.seconds == pytest.approx(seen(head, crop, 8) / seen(crop, crop, 8))
    assert seen(head, crop, 8) > 4 * np.prod(head) and len(cut(head, crop)) > 200
    assert large.memory_bytes < cost(replace(model, window=()), samples=1, shape=head).memory_bytes


def test_a_measured_speed_takes_the_place_of_the_typical_one(brain: catalogue.ModelInfo) -> None:
    told = {"model": {"id": "brain-mr"}, "job": {"device": "auto", "recipe": "pnp"}}
    guess = cost(brain)
    catalogue.remember_speed({**told, "speed": {"device": "cpu", "seconds": 0.1, "megapixels": 1.0}})
    catalogue.remember_speed({**told, "job": {"recipe": "gone"}, "speed": {"seconds": 9.0, "megapixels": 1.0}})
    catalogue.remember_speed({})
    assert cost(brain) == guess
    catalogue.remember_speed({**told, "speed": {"device": "cpu", "seconds": 30.0, "megapixels": 60.0}})
    for device in ("cpu", "auto"):
        megapixels = (40 * 60 + 48) * 192 * 160 / 1e6
        assert cost(brain, device=device).seconds == pytest.approx(0.5 * megapixels)
        assert cost(brain, device=device).sentence.startswith("About 38 s")
    catalogue.remember_speed(
        {
            **told,
            "job": {"device": "cpu", "recipe": "dps"},
            "speed": {"device": "cpu", "seconds": 60.0, "megapixels": 30.0},
        }
    )
    assert cost(brain).seconds == pytest.approx(megapixels)
    (Path(os.environ["MEDDIFF_HOME"]) / "speed.json").write_text("[1]")
    assert cost(brain) == guess


def test_a_companion_has_a_speed_of_its_own(brain: catalogue.ModelInfo) -> None:
    """One pass of a small companion says nothing about the steps of the model itself."""
    steps, passes = (
        next(recipe for recipe in catalogue.recipes("anomaly") if bool(recipe.part) == companion and recipe.terms)
        for companion in (False, True)
    )
    told = {"model": {"id": "brain-mr"}, "job": {"device": "cpu", "recipe": passes.name}}
    before = cost(brain, steps.name, settings={})
    catalogue.remember_speed({**told, "speed": {"device": "cpu", "seconds": 90.0, "megapixels": 1.0}})
    assert cost(brain, steps.name, settings={}) == before
    assert cost(brain, passes.name, settings={}).sentence.startswith("About")


def test_a_home_that_cannot_be_written_is_no_matter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("MEDDIFF_HOME", str(tmp_path / "file"))
    told = {"model": {"id": "brain-mr"}, "job": {"device": "auto", "recipe": "pnp"}}
    catalogue.remember_speed({**told, "speed": {"device": "cpu", "seconds": 30.0, "megapixels": 60.0}})
