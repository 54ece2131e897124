"""The task "segment" end to end: training plans to model folders, jobs, the command line, the benchmark."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from meddiff import bench_segment
from meddiff.card import Card
from meddiff.errors import BadInput, Notice
from meddiff.job import Job, run
from meddiff.models import load
from meddiff.networks import build
from meddiff.places import WEIGHTS
from meddiff.prior import Condition
from meddiff.registry import find_recipe
from meddiff.training.case_plans import AugmentCrop, SegmentPlan
from meddiff.training.cases import CaseCache
from meddiff.training.crops import place, recolour, window
from meddiff.training.export import CARDS, export
from meddiff.training.fit import fit
from meddiff.training.kinds import lesson, prepare
from meddiff.training.plan import PLANS, SEGMENTERS, read_plan
from meddiff.training.segment import SegmenterLesson, one_hot, soft_dice_loss
from meddiff.volume import Volume, read, same_grid, write

Cli = Callable[..., tuple[int, str, str]]
SHAPE = (12, 14, 13)
LPS = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)
SHIPPED = {
    name: read_plan(name)
    for name in ("hippocampus-start", "hippocampus-seg", "hippocampus-unet", "hippocampus-medsegdiff")
}


def crop(number: int) -> tuple[Volume, Volume]:
    """A ball whose halves are brighter than the rest, one more than the other, and the labels of both."""
    random = np.random.default_rng(number)
    z, y, x = np.ogrid[-1 : 1 : SHAPE[0] * 1j, -1 : 1 : SHAPE[1] * 1j, -1 : 1 : SHAPE[2] * 1j]
    centre = random.uniform(-0.2, 0.2, 3)
    inside = (z - centre[0]) ** 2 + (y - centre[1]) ** 2 + (x - centre[2]) ** 2 < 0.35
    labels = inside * np.where(y > centre[1], 1, 2)
    image = np.array([100, 500, 900])[labels] + 30 * random.standard_normal(SHAPE)
    grid = Volume(labels.astype(np.uint8), (1.0, 1.0, 1.0), (0.0, 0.0, 0.0), LPS)
    return grid.with_array(image.astype(np.float32)), grid


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six crops to learn from, three to be tested on."""
    folder = tmp_path_factory.mktemp("data")
    rows = ["file,split"]
    for part in ("images", "labels"):
        (folder / "hippocampus" / part).mkdir(parents=True)
    for number in range(9):
        for part, volume in zip(("images", "labels"), crop(number), strict=True):
            write(volume, folder / "hippocampus" / part / f"crop_{number}.nii.gz")
            rows.append(f"hippocampus/{part}/crop_{number}.nii.gz,{'train' if number < 6 else 'test'}")
    (folder / "manifest.csv").write_text("\n".join(rows) + "\n")
    return folder


def small(name: str) -> SegmentPlan:
    """A plan of the package, its network made small."""
    plan = json.loads((PLANS / f"{name}.json").read_text())
    plan["network"]["arguments"] |= {"widths": [8, 16], "groups": 4}
    if "head_channels" in plan["network"]["arguments"]:
        plan["network"]["arguments"]["head_channels"] = 8
    plan["training"] |= {"crop": [12, 12, 12], "batch": 1, "steps": 20, "warmup": 5, "learning_rate": 0.01, "ema": 0.9}
    return SegmentPlan.model_validate(plan)


@pytest.fixture(scope="module")
def models(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The three models of the hippocampus, small and trained for a moment."""
    folder, losses = tmp_path_factory.mktemp("trained"), dict[str, list[float]]()
    monkeypatch = pytest.MonkeyPatch()
    monkeypatch.setenv("MEDDIFF_MODELS", str(folder / "models"))
    for name in SHIPPED:
        cache = folder / f"{name}.safetensors"
        assert prepare(small(name), data, cache, lambda _: None) == "6 cases"
        reports = list(fit(lesson(cache), folder / name / "checkpoint.pt"))
        losses[name] = [r.loss for r in reports]
        export(folder / name / "checkpoint.pt", folder / "models" / name, device="CPU", command="meddiff train fit")
    monkeypatch.undo()
    for name in ("hippocampus-start", "hippocampus-medsegdiff"):  # the others know it already
        assert losses[name][-1] < losses[name][0]
    return folder / "models"


@pytest.fixture
def job(models: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Job]:
    monkeypatch.setenv("MEDDIFF_MODELS", str(models))

    def made(method: str = "implicit-ensemble", inputs: Mapping[str, str] = {}, **options: Any) -> Job:
        files = {"volume": str(data / "hippocampus" / "images" / "crop_7.nii.gz"), **inputs}
        return Job(method, "hippocampus-seg", files, str(tmp_path / "out"), options)

    return made


# --- training ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SHIPPED)
def test_plans_and_cards_agree(name: str) -> None:
    plan, about = SHIPPED[name], json.loads((CARDS / f"{name}.json").read_text())
    assert isinstance(plan, SegmentPlan) and plan.kind in SEGMENTERS
    assert tuple(segment["name"] for segment in about["segments"]) == plan.segments
    assert about["window"] == list(plan.training.crop)
    assert plan.network["arguments"]["classes"] == len(plan.segments) + 1
    network = build(plan.network["name"], plan.network["arguments"])
    assert 2 * sum(p.numel() for p in network.parameters()) < 8e6  # bytes, as they are shipped
    assert (plan.schedule is None) == (plan.predicts == "label")
    for method in about["recipes"]:
        part = find_recipe(method, "segment").part
        assert not part or part in plan.companions


def test_the_baseline_learns_from_what_the_denoiser_learns_from() -> None:
    ours, baseline = (SHIPPED[name].model_dump() for name in ("hippocampus-seg", "hippocampus-unet"))
    for plan in (ours, baseline):
        del plan["training"]["dice_weight"]
    for key in ("images", "training", "intensity", "segments", "seed", "start_from"):
        assert ours[key] == baseline[key]
    widths = [plan["network"]["arguments"]["widths"] for plan in (ours, baseline)]
    assert widths[0] == widths[1]


def test_the_models_are_folders_as_any(models: Path) -> None:
    for name in SHIPPED:
        loaded = load(models / name, "cpu", "fp32")
        assert isinstance(loaded.card, Card) and loaded.card.licence == "CC-BY-SA-4.0"
        assert loaded.card.segments[1].name == "Posterior hippocampus" and loaded.card.spacing_mm == (1.0, 1.0, 1.0)
        assert (models / name / WEIGHTS).is_file()


def test_recycled_masks_are_what_the_network_answers_to_noise(data: Path, tmp_path: Path) -> None:
    told = small("hippocampus-seg").model_dump() | {"start_from": ""}
    for share, rows in ((0.0, 0), (0.5, 10), (1.0, 20)):
        plan = SegmentPlan.model_validate({**told, "training": {**told["training"], "recycled": share}})
        prepare(plan, data, tmp_path / "cache.safetensors", lambda _: None)
        learnt = lesson(tmp_path / "cache.safetensors")
        assert isinstance(learnt, SegmenterLesson)
        network, images = learnt.build(), torch.zeros(20, 1, 12, 12, 12)
        truth = torch.full((20, 3, 12, 12, 12), 9.0)  # no answer is ever this
        found = learnt.recycled(network, truth, Condition(concat=images), step=0)
        changed = (found != truth).flatten(1).all(1)
        assert abs(int(changed.sum()) - rows) <= 4 and found[~changed].equal(truth[~changed])
        torch.testing.assert_close(found[changed].sum(1), torch.full_like(found[changed][:, 0], -1.0))  # 2 p - 1 each
        assert found.equal(learnt.recycled(network, truth, Condition(concat=images), step=0))


def test_batches_repeat_and_labels_follow_the_image(data: Path, tmp_path: Path) -> None:
    plan = small("hippocampus-seg")
    prepare(plan, data, tmp_path / "cache.safetensors", lambda _: None)
    cache = CaseCache(tmp_path / "cache.safetensors")
    first, again, other = cache.batch(3, 2), cache.batch(3, 2), cache.batch(4, 2)
    assert torch.equal(first.images, again.images) and torch.equal(first.labels, again.labels)
    assert not torch.equal(first.images, other.images)
    assert first.images.shape == (2, 1, 12, 12, 12) and first.labels.shape == (2, 12, 12, 12)
    many = cache.batch(0, 24)
    bright = [float(many.images[:, 0][many.labels == k].mean()) for k in range(3)]
    assert bright[0] < bright[1] < bright[2]
    assert sorted((many.uniform * 24).long().tolist()) == list(range(24))
    assert len(CaseCache(tmp_path / "cache.safetensors", slice(0, 2)).rows) == 2


def test_a_window_may_lie_half_outside() -> None:
    x = torch.arange(24.0).reshape(1, 2, 3, 4)
    out = window(x, (4, 3, 2), (-1, 1, 3), fill=-5)
    assert out.shape == (1, 4, 3, 2)
    assert torch.equal(out[0, 1:3, :2, 0], x[0, :, 1:, 3]) and (out[0, 0] == -5).all() and (out[..., 1] == -5).all()
    assert (window(x, (2, 2, 2), (9, 9, 9)) == 0).all()


def test_without_change_a_crop_is_a_crop() -> None:
    still = AugmentCrop(flip=(0, 0, 0), affine=0, gamma=0, gain=0, offset=0, noise=0)
    image, labels = torch.randn(2, *SHAPE), torch.randint(3, SHAPE)
    g = torch.Generator().manual_seed(0)
    x, y = place(image, labels, SHAPE, still, g)
    assert torch.equal(x, image) and torch.equal(y, labels)
    torch.testing.assert_close(recolour(x, still, g), image, rtol=1e-5, atol=1e-5)
    mirrored, _ = place(image, labels, SHAPE, still.model_copy(update={"flip": (0, 0, 1)}), g)
    assert torch.equal(mirrored, image.flip(-1))
    resampled = still.model_copy(
        update={"affine": 1, "rotate_degrees": 0, "scale": 0, "shear": 0, "shift": 0, "elastic": 0}
    )
    x, y = place(image, labels, SHAPE, resampled, g)
    torch.testing.assert_close(x, image, rtol=1e-4, atol=1e-4)
    assert torch.equal(y, labels)


def test_soft_dice_of_a_certain_answer_is_dice() -> None:
    labels = torch.randint(3, (2, 6, 7, 8), generator=torch.Generator().manual_seed(0))
    guess = torch.randint(3, (2, 6, 7, 8), generator=torch.Generator().manual_seed(1))
    found = float(soft_dice_loss(100 * one_hot(guess, 3), labels))
    each = [
        (2 * ((a == k) & (b == k)).sum() + 1) / ((a == k).sum() + (b == k).sum() + 1)
        for a, b in zip(guess, labels, strict=True)
        for k in (1, 2)
    ]
    assert found == pytest.approx(1 - float(torch.stack(each).mean()), abs=1e-5)
    assert float(soft_dice_loss(100 * one_hot(labels, 3), labels)) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"spacing_mm": [2.0, 1.0, 1.0]}, "spacing .* mm, the plan wants"),
        ({"segments": ["one"]}, r"labels \[0, 1, 2\]; the plan has 0 and 1 to 1"),
        ({"images": [{"files": "nowhere/*", "labels": "{name}"}]}, "no file of the split 'train'"),
    ],
)
def test_data_that_do_not_fit_the_plan(data: Path, tmp_path: Path, change: dict[str, Any], sentence: str) -> None:
    plan = SegmentPlan.model_validate({**small("hippocampus-seg").model_dump(), **change})
    with pytest.raises(BadInput, match=sentence):
        prepare(plan, data, tmp_path / "cache.safetensors", lambda _: None)


# --- jobs -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["implicit-ensemble", "pd-ddpm", "medsegdiff", "unet"])
def test_every_method_makes_its_files(job: Callable[..., Job], method: str) -> None:
    result = run(job(method, samples=3))
    image = read(job().inputs["volume"])
    for name in ("labels", "probability", "uncertainty", "probability-1", "probability-2"):
        assert same_grid(read(result.outputs[name]), image, 1e-4)
    labels = read(result.outputs["labels"]).array
    assert set(np.unique(labels)) <= {0, 1, 2} and result.provenance["settings"]["samples"] == 3
    with result.outputs["segments"].open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["segment"] for row in rows] == ["Anterior hippocampus", "Posterior hippocampus"]
    assert float(rows[1]["volume_mm3"]) == (labels == 2).sum()
    again = run(Job.from_json(json.dumps({**result.provenance["job"], "output": job().output + "-again"})))
    assert np.array_equal(read(again.outputs["probability"]).array, read(result.outputs["probability"]).array)


def test_a_reference_is_compared_with(job: Callable[..., Job], data: Path, tmp_path: Path) -> None:
    truth = data / "hippocampus" / "labels" / "crop_7.nii.gz"
    result = run(job("unet", {"reference": str(truth)}, samples=2))
    assert 0 < result.figures["dice"] <= 1
    kept = result.outputs["labels"].rename(tmp_path / "kept.nrrd")
    itself = run(job("unet", {"reference": str(kept)}, samples=2))
    assert itself.figures["dice"] == 1 and itself.figures["hd95_mm"] == 0
    wrong, computed = read(truth), []
    write(wrong.with_array(wrong.array * 3), tmp_path / "wrong.nrrd")
    with pytest.raises(BadInput, match=r"has the labels \[3, 6\], which the model does not know; expected 1 Anterior"):
        run(job("unet", {"reference": str(tmp_path / "wrong.nrrd")}, samples=2), on_progress=computed.append)
    assert not computed, "what cannot be compared with is refused first"
    far = Volume(wrong.array, wrong.spacing, (500.0, 0.0, 0.0), wrong.direction)
    write(far, tmp_path / "far.nrrd")
    with pytest.warns(Notice, match="another grid"), pytest.raises(BadInput, match="no label inside of the volume"):
        run(job("unet", {"reference": str(tmp_path / "far.nrrd")}, samples=2))


def test_the_command_line(job: Callable[..., Job], data: Path, tmp_path: Path, cli: Cli) -> None:
    volume, truth = job().inputs["volume"], data / "hippocampus" / "labels" / "crop_7.nii.gz"
    code, out, _ = cli(
        "segment", volume, "-o", tmp_path / "cli", "--samples", 2, "--preset", "fast", "--reference", truth
    )
    assert code == 0 and "Anterior hippocampus" in out and "HD95" in out and "network calls" in out
    code, out, _ = cli(
        "segment", volume, "-o", tmp_path / "first", "--method", "pd-ddpm", "--first", truth, "--json", "--samples", 2
    )
    assert code == 0 and json.loads(out)["provenance"]["settings"]["first"] == "given"
    code, _, err = cli("segment", volume, "-o", tmp_path / "bad", "--first", truth)
    assert code == 2 and "choose pd-ddpm" in err and not (tmp_path / "bad").exists()
    assert cli("methods", "pd-ddpm")[0] == 0


def test_the_benchmark(models: Path, data: Path, cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEDDIFF_MODELS", str(models))
    monkeypatch.setattr(bench_segment, "MANY", 12)
    ways = tuple(
        bench_segment.Entry(e.recipe, e.preset, e.samples, {**e.parameters, "steps": 3}) for e in bench_segment.WAYS
    )
    monkeypatch.setattr(bench_segment, "WAYS", ways)
    monkeypatch.setattr(bench_segment, "MAIN", bench_segment.MAIN[1:5])
    code, _, err = cli("bench", "segment", "--data", data, "--json", tmp_path / "segment.json")
    assert code == 0, err
    told = json.loads((tmp_path / "segment.json").read_text())
    assert [row["recipe"] for row in told["rows"]][:2] == ["unet", "implicit-ensemble"]
    assert all("3 test crops" in row["case"] for row in told["rows"])
    row = told["rows"][0]
    assert (
        row["dice"] == pytest.approx((row["dice_1"] + row["dice_2"]) / 2)
        and 0 <= row["ece"] <= 1
        and row["seconds"] > 0
    )
    assert len(told["bars"]) >= 5 and all(set(b) == {"name", "value", "target", "met"} for b in told["bars"])
    assert cli("train", "quality", models / "hippocampus-seg", tmp_path / "segment.json")[0] == 0
