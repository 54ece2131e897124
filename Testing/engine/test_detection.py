"""Detection: the same lesions whichever way the patient lies, in their place, and one sentence for what is no brain."""

from __future__ import annotations

import csv
import inspect
import json
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, get_type_hints

import numpy as np
import pytest
import torch

from meddiff import models
from meddiff.brain_view import MARGIN, View
from meddiff.card import Card
from meddiff.commands.anomaly import anomaly
from meddiff.detection import Detection, detect, find_contrast, gather
from meddiff.errors import BadInput, Cancelled, Notice
from meddiff.job import Job, run
from meddiff.models import Model
from meddiff.prior import Condition
from meddiff.registry import find_recipe, recipes
from meddiff.sampling import Progress, drain
from meddiff.volume import Restore, Volume, read, write

Run = Callable[..., tuple[int, str, str]]
FILES = ["anomaly.nrrd", "healthy.nrrd", "lesions.nrrd", "provenance.json", "table.csv", "uncertainty.nrrd"]
SIMPLE = {"method": "intensity-threshold", "threshold": "fixed", "level": 0.3, "smoothing": 0.0, "contrast": "T1"}
STATES = ("healthy", "diseased", "simplex", "restored")
BLOB = (slice(1, 3), slice(9, 12), slice(8, 10))


@pytest.fixture
def model(tiny_card: Card, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Model:
    """`tiny-anomaly`: random weights, four states beside each contrast."""
    changes = {"id": "tiny-anomaly", "task": "anomaly", "companions": {}, "healthy": {}}
    arguments = {**tiny_card.network.arguments, "labels": 3 + 2 * len(STATES)}
    changes["network"] = {"name": tiny_card.network.name, "arguments": arguments}
    changes["labels"] = {"names": ["FLAIR", "T1"], "states": list(STATES), "null": 2 * (1 + len(STATES))}
    card = Card.model_validate({**tiny_card.model_dump(), **changes})
    random = torch.Generator().manual_seed(0)
    state = models.build(card.network.name, dict(card.network.arguments)).state_dict()
    weights = {name: 0.2 * torch.randn(value.shape, generator=random) for name, value in sorted(state.items())}
    monkeypatch.setenv("MEDDIFF_MODELS", str(tmp_path / "models"))
    models.save(card, weights, tmp_path / "models" / "tiny-anomaly")
    return models.load("tiny-anomaly", precision="fp32")


@pytest.fixture
def brain(small_volume: Volume) -> Volume:
    """A brain of four slices on an oblique, left-handed, anisotropic grid, with one bright lesion in it."""
    array = 400 + 0.2 * small_volume.array
    array[small_volume.array == 0] = 0
    array[BLOB] = 1000
    return small_volume.with_array(array)


def found(volume: Volume, model: Model, **options: Any) -> Detection:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Notice)
        return drain(detect(volume, model, **{**SIMPLE, **options}))


def stand_in(model: Model, network: Callable[..., torch.Tensor], **card: Any) -> Model:
    """The model with another network."""
    return replace(model, network=network, card=model.card.model_copy(update=card))


# --- what is found ----------------------------------------------------------------------------------------------------


def test_a_planted_lesion_is_found_whole_and_in_its_place(brain: Volume, model: Model) -> None:
    result = found(brain, model)
    planted = np.zeros(brain.shape, bool)
    planted[BLOB] = True
    assert np.array_equal(result.lesions.array > 0, planted)
    (lesion,) = result.table
    assert lesion.volume_mm3 == pytest.approx(12 * np.prod(brain.spacing)) and lesion.slices == 2
    left, posterior, superior = (brain.affine @ np.array([8.5, 10, 1.5, 1]))[:3]
    assert (lesion.r_mm, lesion.a_mm, lesion.s_mm) == pytest.approx((-left, -posterior, superior), abs=1e-4)


@pytest.mark.parametrize("method", ["intensity-threshold", "anoddpm", "counterfactual"])
@pytest.mark.parametrize("axes, flips", [((1, 0, 2), (True, False, True)), ((2, 1, 0), (False, True, True))])
def test_the_patient_may_lie_any_way_round(
    brain: Volume, model: Model, method: str, axes: tuple[int, ...], flips: tuple[bool, ...]
) -> None:
    options = {"method": method, "preset": "fast", "threshold": "otsu", "level": None, "minimum_volume": 0.0}
    turn = Restore(axes, flips)
    straight, turned = found(brain, model, **options), found(turn.volume(brain), model, **options)
    for name in ("healthy", "anomaly", "lesions", "spread", "brain"):
        assert np.array_equal(turn.array(getattr(straight, name).array), getattr(turned, name).array), name
    assert straight.table and np.allclose([a.row() for a in straight.table], [b.row() for b in turned.table])


@pytest.mark.parametrize("method", [r.name for r in recipes("anomaly") if not r.part])
def test_the_batch_does_not_matter_and_the_seed_does(brain: Volume, model: Model, method: str) -> None:
    options = {"method": method, "preset": "fast", "threshold": "otsu", "level": None}
    one, three = (found(brain, model, batch=size, **options) for size in (1, 3))
    other = found(brain, model, seed=1, **options)
    for name in ("healthy", "spread"):
        a, b = getattr(one, name).array, getattr(three, name).array
        assert np.abs(a - b).max() <= 1e-4 * np.abs(a).max() + 1e-5, name
    if method != "intensity-threshold":
        assert not np.array_equal(one.healthy.array, other.healthy.array)
        assert one.spread.array.any()


@pytest.mark.parametrize("plane", ["coronal", "sagittal"])
def test_other_planes(brain: Volume, model: Model, plane: str) -> None:
    cube = Volume(np.repeat(brain.array, 5, axis=0), (1, 1, 1), (0, 0, 0), brain.direction)
    (lesion,) = found(cube, model, plane=plane, parameters={"quantile": 0.9}).table
    assert lesion.slices == {"coronal": 3, "sagittal": 2}[plane] and lesion.volume_mm3 == pytest.approx(60)


def test_one_slice_is_enough(brain: Volume, model: Model) -> None:
    one = Volume(brain.array[1:2], brain.spacing, brain.origin, brain.direction)
    (lesion,) = found(one, model).table
    assert lesion.slices == 1


def test_nothing_is_changed_outside_of_the_brain(brain: Volume, model: Model) -> None:
    mask = np.zeros(brain.shape, bool)
    mask[:, 8:16, 6:14] = True
    result = found(brain, model, mask=brain.with_array(mask), method="anoddpm", preset="fast")
    assert np.array_equal(result.brain.array, mask)
    assert np.array_equal(result.healthy.array[~mask], brain.array[~mask])
    assert not np.array_equal(result.healthy.array[mask], brain.array[mask])
    for name in ("anomaly", "spread", "lesions"):
        assert not getattr(result, name).array[~mask].any()


def test_the_network_sees_the_brain_and_no_more(brain: Volume, model: Model) -> None:
    wide = Volume(np.pad(brain.array, ((2, 1), (30, 40), (25, 35))), brain.spacing, brain.origin, brain.direction)
    view = View.of(wide, model, "axial", None)
    assert view.kept.tolist() == [2, 3, 4, 5]
    image, inside = view.part(view.kept, torch.device("cpu"))
    tight = np.argwhere(brain.array.any(0))
    rows, columns = np.ptp(tight, axis=0) + 1 + 2 * MARGIN
    assert image.shape == (4, 1, rows, columns)
    assert inside.sum() == view.brain.sum() and not image[~inside].any()


def test_the_counts_of_calls_and_progress(brain: Volume, model: Model) -> None:
    seen: list[Progress] = []
    options = {**SIMPLE, "method": "anoddpm", "preset": "fast", "contrast": None}
    with pytest.warns(Notice, match="the contrast was not told"):
        result = drain(detect(brain, model, samples=3, batch=2, **options), seen.append)
    steps = find_recipe("anoddpm").calls(find_recipe("anoddpm").settings({}, "fast"))
    assert result.calls == 3 * steps
    assert [p.step for p in seen] == list(range(1, seen[-1].of + 1))
    assert len({p.of for p in seen}) == 1 and seen[-1].of == 2 * 2 + 2 * 3 * steps  # two labels at two levels


# --- thresholds -------------------------------------------------------------------------------------------------------


def knowing(model: Model, recipe: str, **known: Any) -> Model:
    about = {"dataset": "d", "command": "c", "code_version": "1", "quantile": 0.99, "smoothing_mm": 0.5, **known}
    card = Card.model_validate({**model.card.model_dump(), "healthy": {recipe: about}})
    return replace(model, card=card)


def test_the_healthy_level_is_that_of_the_card(brain: Volume, model: Model) -> None:
    clever = knowing(model, "intensity-threshold", levels={"T1": 0.123})
    result = found(brain, clever, threshold="healthy", level=None, smoothing=None)
    assert result.threshold == 0.123 and result.settings["smoothing"] == 0.5
    with pytest.warns(Notice, match=r"smoothed by 0.5 mm, and this one is by 0.1 mm"):
        drain(detect(brain, clever, **{**SIMPLE, "threshold": "healthy", "level": None, "smoothing": 0.1}))


@pytest.mark.parametrize("levels", [{}, {"FLAIR": 0.1}])
def test_without_a_healthy_level_it_is_otsus(brain: Volume, model: Model, levels: dict[str, float]) -> None:
    options = {"threshold": "otsu", "level": None}
    with pytest.warns(Notice, match="knows no healthy level of intensity-threshold on T1; Otsu"):
        known = knowing(model, "intensity-threshold", levels=levels)
        result = drain(detect(brain, known, **{**SIMPLE, "threshold": "healthy", "level": None}))
    assert result.threshold == found(brain, model, **options).threshold


def test_limits_of_healthy_images_reach_the_recipe(brain: Volume, model: Model) -> None:
    limits = {"T1": {"low": 0.0, "high": 0.5}}
    result = found(brain, knowing(model, "intensity-threshold", levels={}, limits=limits))
    inside = result.brain.array
    view = View.of(brain, model, "axial", None)
    assert np.allclose(
        result.healthy.array[inside], np.minimum(brain.array[inside], view.scaling.inverse(0.5)), rtol=1e-4
    )


# --- what the network is told -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("truth", ["FLAIR", "T1"])
def test_the_contrast_is_found_by_the_prior(brain: Volume, model: Model, truth: str) -> None:
    labels = model.card.labels
    assert labels is not None
    seen = View.of(brain, model, "axial", None)

    def network(x: torch.Tensor, time: float, cond: Condition | None) -> torch.Tensor:
        """A denoiser that is right about the images that it is told of, and wrong about others."""
        assert cond is not None and cond.label is not None
        told = int(cond.label[0]) == labels.index(truth)
        return torch.zeros_like(x) if not told else seen.part(seen.kept, x.device)[0].mean(0, keepdim=True).expand_as(x)

    knowing = stand_in(model, network, predicts="x0")
    with pytest.warns(Notice, match=f"takes the image for {truth}"):
        assert drain(find_contrast(seen, knowing, 0, 4)) == truth


def test_every_state_of_the_contrast_is_told(brain: Volume, model: Model) -> None:
    view = View.of(brain, model, "axial", None)
    prior, subject = gather(view, view.kept, model, find_recipe("anoddpm"), "T1")
    told = {name: int(cond.label[0]) for name, cond in subject.told.items() if cond and cond.label is not None}
    assert told == {"null": 1, "healthy": 3, "diseased": 5, "simplex": 7, "restored": 9}
    assert prior is model.prior and subject.log_prob is None and subject.denoise is None and subject.space is None


def test_companions_play_their_parts(brain: Volume, model: Model) -> None:
    card = model.card.model_copy(update={"companions": {"classifier": "a", "denoiser": "b"}})
    odds = stand_in(
        model, lambda x, time, cond: torch.stack([x.mean((1, 2, 3)), 0 * x[:, 0, 0, 0]], 1), predicts="label"
    )
    half = stand_in(model, lambda x, time, cond: x / 2, predicts="image", schedule=None)
    whole = replace(model, card=card, companions={"classifier": odds, "denoiser": half})
    view = View.of(brain, whole, "axial", None)
    _, subject = gather(view, view.kept, whole, find_recipe("classifier-guided"), "T1")
    assert subject.denoise is not None and subject.log_prob is not None
    assert torch.equal(subject.denoise(subject.image), subject.image / 2)
    level = model.prior.schedule.levels[300]
    sides = [subject.log_prob(subject.image, level, state) for state in ("healthy", "diseased")]
    assert torch.allclose(sides[0].exp() + sides[1].exp(), torch.ones(4))
    assert torch.allclose(sides[0] - sides[1], subject.image.mean((1, 2, 3)), atol=1e-6)  # healthy comes first
    result = found(brain, whole, method="denoising-autoencoder")
    inside, first = result.brain.array, View.of(brain, whole, "axial", None)
    assert np.allclose(result.healthy.array[inside] / brain.array[inside], 0.5, atol=0.1) and first.kept.numel() == 4


def test_a_classifier_of_another_schedule_is_told_the_same_noise(brain: Volume, model: Model) -> None:
    told: list[tuple[float, float]] = []

    def network(x: torch.Tensor, time: float, cond: Condition | None) -> torch.Tensor:
        told.append((time, float(x.max())))
        return torch.zeros(len(x), 2)

    exploding = {"name": "ve", "arguments": {"steps": 500}}
    other = Card.model_validate({**model.card.model_dump(), "schedule": exploding, "predicts": "label"})
    card = model.card.model_copy(update={"companions": {"classifier": "a"}})
    whole = replace(model, card=card, companions={"classifier": replace(model, network=network, card=other)})
    view = View.of(brain, whole, "axial", None)
    _, subject = gather(view, view.kept, whole, find_recipe("classifier-guided"), "T1")
    level = model.prior.schedule.levels[500]
    assert subject.log_prob is not None
    subject.log_prob(level.alpha * subject.image, level, "healthy")
    (time, highest), levels = told[0], replace(model, card=other).prior.schedule.levels
    assert levels[int(time)].ratio == pytest.approx(level.ratio, rel=0.02)
    assert highest == pytest.approx(float(subject.image.max()), rel=1e-5)  # an exploding schedule keeps alpha at 1


def test_a_missing_part_is_told_with_what_there_is(brain: Volume, model: Model) -> None:
    with pytest.raises(BadInput, match=r"classifier-guided needs a classifier.*it can do: .*anoddpm") as error:
        found(brain, model, method="classifier-guided")
    assert "denoising-autoencoder" not in str(error.value)


def test_a_part_that_is_not_installed_is_told_by_its_name_before_the_computing(brain: Volume, model: Model) -> None:
    whole = replace(model, card=model.card.model_copy(update={"companions": {"classifier": "tiny-judge"}}))
    told = r"needs the classifier of tiny-anomaly, the model 'tiny-judge', which is not installed"
    with pytest.raises(BadInput, match=told):
        next(detect(brain, whole, method="classifier-guided"))


def test_a_setting_of_the_method_is_kept_beside_an_option_of_the_same_name(brain: Volume, model: Model) -> None:
    options = {"method": "restoration", "parameters": {"levels": 1, "draws": 1, "contrast": False}}
    settings = found(brain, model, **options).settings
    assert (settings["contrast"], settings["restoration.contrast"]) == ("T1", False)


# --- bad input --------------------------------------------------------------------------------------------------------


def wide(brain: Volume, spacing: tuple[float, float, float]) -> Volume:
    return Volume(brain.array, spacing, brain.origin, brain.direction)


@pytest.mark.parametrize(
    ("spoil", "options", "sentence"),
    [
        (lambda v: v.with_array(3 * v.array - 1024), {}, "as CT in Hounsfield units"),
        (lambda v: v.with_array(v.array - 400), {}, "of the voxels are below 0"),
        (lambda v: v.with_array((v.array > 0).astype(np.uint8)), {}, "as a label map does"),
        (lambda v: v.with_array(0 * v.array), {}, "0.0 in every voxel"),
        (lambda v: wide(v, (2.0, 2.0, 3.0)), {}, "model 'tiny-anomaly' was trained at 1 x 1 mm"),
        (lambda v: v.with_array(np.pad(v.array[:, 8:13, 8:13], ((0, 0), (8, 11), (8, 7)))), {}, "no brain is in view"),
        (lambda v: v, {"mask": "zeros"}, "mask is 0 everywhere"),
        (lambda v: v, {"mask": "elsewhere"}, "mask lies elsewhere"),
        (lambda v: v, {"mask": "background"}, "no voxel above 0 within the brain mask"),
        (lambda v: v, {"contrast": "T3"}, "unknown label 'T3'"),
        (lambda v: v, {"method": "anodpm"}, "did you mean anoddpm"),
        (lambda v: v, {"method": "pnp"}, "unknown anomaly method"),
        (lambda v: v, {"threshold": "outsu"}, "did you mean otsu"),
        (lambda v: v, {"level": None}, "'fixed' came without a level"),
        (lambda v: v, {"threshold": "otsu"}, "'otsu' came with the level 0.3"),
        (lambda v: v, {"polarity": "dark"}, "did you mean darker"),
        (lambda v: v, {"samples": 0}, "samples must be between 1 and 64"),
        (lambda v: v, {"batch": 0}, "batch size is 0"),
        (lambda v: v, {"plane": "axal"}, "did you mean axial"),
    ],
)
def test_bad_input(
    brain: Volume, model: Model, spoil: Callable[[Volume], Volume], options: dict[str, Any], sentence: str
) -> None:
    far = Volume(np.ones((2, 2, 2)), (1, 1, 1), (900, 900, 9000), (1, 0, 0, 0, 1, 0, 0, 0, 1))
    masks = {
        "zeros": brain.with_array(0 * brain.array),
        "background": brain.with_array(brain.array == 0),
        "elsewhere": far,
    }
    given = {name: masks[value] if name == "mask" else value for name, value in options.items()}
    with pytest.raises(BadInput, match=sentence):
        found(spoil(brain), model, **given)


def test_what_is_odd_is_told(brain: Volume, model: Model) -> None:
    with pytest.warns(Notice, match="slices are 7 mm apart"):
        drain(detect(wide(brain, (1.0, 1.1, 7.0)), model, **SIMPLE))
    with pytest.warns(Notice, match="one sample has no spread"):
        drain(detect(brain, model, samples=1, **SIMPLE))
    coarse = Volume(np.ones((4, 12, 10)), (2.0, 2.2, 3.0), brain.origin, brain.direction)
    with pytest.warns(Notice, match="of another grid"):
        result = drain(detect(brain, model, mask=coarse, **SIMPLE))
    assert result.brain.array.mean() > 0.9


def test_a_skull_in_view_is_told(model: Model) -> None:
    y, x = np.mgrid[-55:55, -50:50]
    radius = np.hypot(y / 50, x / 44)
    image = np.select([radius < 0.72, radius < 0.88, radius < 1], [600.0, 60.0, 1000.0], 0.0) + 5 * np.sin(x + y * y)
    head = Volume(np.float32([image]).clip(0), (1, 1, 1), (0, 0, 0), (1, 0, 0, 0, 1, 0, 0, 0, 1))
    with pytest.warns(Notice, match="the skull seems to be in view.*give a mask"):
        drain(detect(head, model, **SIMPLE))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        drain(detect(head, model, mask=head.with_array(radius[None] < 0.72), **SIMPLE))


# --- jobs -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def job(brain: Volume, model: Model, tmp_path: Path) -> Job:
    write(brain, tmp_path / "brain.nrrd")
    options = {name: value for name, value in SIMPLE.items() if name != "method"}
    inputs = {"volume": str(tmp_path / "brain.nrrd")}
    return Job("intensity-threshold", "tiny-anomaly", inputs, str(tmp_path / "out"), options)


def test_a_job_writes_volumes_and_a_table(job: Job, brain: Volume, tmp_path: Path) -> None:
    result = run(job)
    assert sorted(path.name for path in Path(job.output).iterdir()) == FILES
    assert {name: path.name for name, path in result.outputs.items()} == {name.split(".")[0]: name for name in FILES}
    for name in ("healthy", "anomaly", "lesions", "uncertainty"):
        made = read(result.outputs[name])
        assert made.shape == brain.shape and np.abs(made.affine - brain.affine).max() < 1e-6
    with result.outputs["table"].open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert [float(row["volume_mm3"]), result.figures["lesion_volume_mm3"]] == pytest.approx([39.6, 39.6])
    assert result.figures["lesions"] == 1 and result.figures["threshold"] == 0.3
    told = json.loads((tmp_path / "out" / "provenance.json").read_text())
    assert told["settings"]["polarity"] == "any" and told["settings"]["mask"] == "found"


def test_figures_against_a_reference(job: Job, brain: Volume, tmp_path: Path) -> None:
    truth = np.zeros(brain.shape, np.uint8)
    truth[BLOB] = 1
    write(brain.with_array(truth), tmp_path / "truth.nrrd")
    inputs = {**job.inputs, "reference": str(tmp_path / "truth.nrrd")}
    figures = run(replace(job, inputs=inputs)).figures
    assert {name: figures[name] for name in ("dice", "auprc", "auroc", "lesion_recall")} == pytest.approx(
        {"dice": 1.0, "auprc": 1.0, "auroc": 1.0, "lesion_recall": 1.0}
    )
    assert figures["false_positives"] == 0
    write(brain.with_array(0 * truth), tmp_path / "truth.nrrd")
    with pytest.warns(Notice, match="marks nothing"):
        assert run(replace(job, inputs=inputs)).figures["false_positives"] == 1
    write(brain.with_array(0 * truth + 1), tmp_path / "truth.nrrd")
    with pytest.warns(Notice, match="marks the whole brain"):
        assert "auroc" not in run(replace(job, inputs=inputs)).figures
    far = Volume(np.ones((2, 2, 2)), (1, 1, 1), (900, 900, 9000), (1, 0, 0, 0, 1, 0, 0, 0, 1))
    write(far, tmp_path / "truth.nrrd")
    with pytest.warns(Notice, match="another grid"), pytest.raises(BadInput, match="reference lies elsewhere"):
        run(replace(job, inputs=inputs, output=str(tmp_path / "other")))
    assert not (tmp_path / "other").exists()


def test_a_cancelled_job_leaves_nothing(job: Job, tmp_path: Path) -> None:
    deep = replace(job, recipe="anoddpm", output=str(tmp_path / "new" / "out"))
    steps: list[Progress] = []
    with pytest.raises(Cancelled):
        run(deep, steps.append, lambda: len(steps) == 3)
    assert len(steps) == 3 and not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"inputs": {}}, "no input 'volume'"),
        ({"inputs": {"volum": "x"}}, "did you mean volume"),
        ({"options": {"sample": 2}}, "did you mean samples"),
        ({"options": {"minimum_volume": "10"}}, "minimum_volume must be a number"),
        ({"options": {"acceleration": 4}}, "unknown option 'acceleration'"),
    ],
)
def test_jobs_that_cannot_be_run(job: Job, changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(BadInput, match=sentence):
        run(replace(job, **changes))
    assert not Path(job.output).exists()


# --- the command line -------------------------------------------------------------------------------------------------


def test_the_command_line_gives_the_voxels_of_a_job(cli: Run, job: Job, tmp_path: Path) -> None:
    image, here = job.inputs["volume"], run(job)
    truth = str(here.outputs["lesions"])
    call = ("anomaly", image, "-o", tmp_path / "cli", "--model", "tiny-anomaly", "--method", job.recipe)
    more = ("--threshold", 0.3, "--smoothing", 0, "--contrast", "T1", "--reference", truth)
    code, out, err = cli(*call, *more)
    assert (code, err) == (0, "")
    for name in ("healthy", "anomaly", "lesions"):
        assert np.array_equal(read(tmp_path / "cli" / f"{name}.nrrd").array, read(here.outputs[name]).array)
    assert "1 lesion of 0.04 cm3 above 0.300" in out and "Dice 1.000" in out and "lesions found 100%" in out
    code, out, _ = cli("run", job_file(job, tmp_path), "--json")
    assert code == 0 and json.loads(out)["figures"]["lesions"] == 1
    assert "1 lesion of" in cli("run", job_file(job, tmp_path))[1]


def job_file(job: Job, tmp_path: Path) -> Path:
    (tmp_path / "job.json").write_text(replace(job, output=str(tmp_path / "again")).to_json())
    return tmp_path / "job.json"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--threshold", "outsu"), "did you mean otsu"),
        (("--threshold", "-1"), "level must be between 0 and 10, got -1"),
        (("--minimum-volume", "-1"), "minimum_volume must be between"),
        (("--method", "classifier-guided"), "it can do: "),
        (("--method", "ddnm"), "unknown anomaly method 'ddnm'"),
        (("--mask", "absent.nrrd"), "does not exist"),
        (("--model", "tiny-anomyl"), "did you mean tiny-anomaly"),
    ],
)
def test_the_command_line_refuses(
    cli: Run, job: Job, tmp_path: Path, arguments: tuple[str, ...], sentence: str
) -> None:
    image = job.inputs["volume"]
    code, out, err = cli(
        "anomaly", image, "-o", tmp_path / "cli", "--model", "tiny-anomaly", "--contrast", "T1", *arguments
    )
    assert (code, out) == (2, "") and err.startswith("Error: ") and sentence in err and err.count("\n") == 1
    assert not (tmp_path / "cli").exists()


def test_help_names_the_defaults_of_the_engine() -> None:
    engine = {name: p.default for name, p in inspect.signature(detect).parameters.items()}
    hints = get_type_hints(anomaly, include_extras=True)
    for name in ("preset", "plane", "samples", "batch", "threshold", "polarity", "minimum_volume", "structural"):
        assert f"default: {engine[name]}]" in hints[name].__metadata__[0].help, name
    signature = inspect.signature(anomaly).parameters
    assert signature["method"].default == engine["method"] and signature["seed"].default == engine["seed"]
