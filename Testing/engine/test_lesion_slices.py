"""Lesions segmented in slices of several contrasts: painting, training, jobs, and the benchmark of one patient."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from meddiff import bench_lesions
from meddiff.errors import BadInput, Notice
from meddiff.job import Job, run
from meddiff.models import load
from meddiff.networks import build
from meddiff.registry import find_recipe
from meddiff.training.case_plans import AugmentCrop, SegmentPlan
from meddiff.training.cases import CaseCache
from meddiff.training.crops import place
from meddiff.training.export import CARDS, export
from meddiff.training.fit import fit
from meddiff.training.kinds import lesson, prepare
from meddiff.training.plan import PLANS, read_plan
from meddiff.volume import IDENTITY, Volume, read, resample_like, same_grid, write

Cli = Callable[..., tuple[int, str, str]]
NAMES = ("ms-lesion-start", "ms-lesion-unet", "ms-lesion-seg")
SHAPE = (9, 48, 44)
WHITE = {"FLAIR": 600.0, "T1": 800.0, "T2": 300.0}
TIMES = {"FLAIR": 1.5, "T1": 0.7, "T2": 1.9}  # a lesion, of white matter
STILL = AugmentCrop(flip=(0, 0, 0), affine=0, gamma=0, gain=0, offset=0, noise=0)


def lesions(number: int) -> np.ndarray:
    """Two balls in the brain, elsewhere in everybody."""
    random = np.random.default_rng(number)
    z, y, x = np.indices(SHAPE)
    near = [
        (2 * (z - 4)) ** 2 + (y - b) ** 2 + (x - c) ** 2 < 10
        for b, c in np.array([[18, 15], [28, 29]]) + random.integers(-3, 4, (2, 2))
    ]
    return near[0] | near[1]


def brain(contrast: str, number: int) -> Volume:
    """An oval of white matter with the lesions of somebody, air around it, and slices of air above and below."""
    random = np.random.default_rng(number + 100)
    z, y, x = np.indices(SHAPE)
    oval = ((y - 24) / 21) ** 2 + ((x - 22) / 18) ** 2 < 1
    array = np.where(lesions(number), TIMES[contrast], 1.0) * WHITE[contrast] + 15 * random.standard_normal(SHAPE)
    array = np.where(oval & (z > 0) & (z < 8), array, 0)
    return Volume(array.clip(0).astype(np.float32), (1.0, 1.0, 3.0), (-20.0, -20.0, 0.0), IDENTITY)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A patient with drawn lesions and one without to learn from, shapes of others, and a patient to be tested on."""
    folder = tmp_path_factory.mktemp("data")
    files: dict[str, tuple[str, Volume]] = {}
    for split, number in (("train", 19), ("test", 7)):
        here = f"brain_ms_mni/patient{number:02d}"
        files |= {f"{here}_{contrast}": (split, brain(contrast, number)) for contrast in WHITE}
        files[f"{here}_lesions"] = split, brain("T1", number).with_array(lesions(number).astype(np.uint8))
    for contrast in WHITE:
        name = contrast if contrast == "FLAIR" else f"{contrast}W"
        files[f"brain_ms_longitudinal/patient01_study1_{name}"] = "train", brain(contrast, 1)
        files[f"brain_ms_longitudinal/patient03_study2_{name}"] = "train", brain(contrast, 3)
    for number in (8, 9):
        shape = brain("T1", number).with_array(lesions(number).astype(np.uint8))
        files[f"brain_ms_lesion_masks/patient{number:02d}_lesions"] = "train", shape
    rows = ["file,split"]
    for name, (split, volume) in files.items():
        path = folder / f"{name}.nii.gz"
        path.parent.mkdir(exist_ok=True)
        write(volume, path)
        rows.append(f"{name}.nii.gz,{split}")
    (folder / "manifest.csv").write_text("\n".join(rows) + "\n")
    return folder


def small(name: str, **training: Any) -> SegmentPlan:
    """A plan of the package, its network made small."""
    plan = json.loads((PLANS / f"{name}.json").read_text())
    plan["network"]["arguments"] |= {"widths": [8, 16], "groups": 4, "head_channels": 8}
    plan["training"] |= {"crop": [40, 40], "batch": 4, "steps": 20, "warmup": 5, "learning_rate": 0.01, "ema": 0.9}
    plan["training"] |= {"painted": 0.5, "faintest": 0.0} | training
    return SegmentPlan.model_validate(plan)


def cache_of(plan: SegmentPlan, data: Path, folder: Path) -> CaseCache:
    prepare(plan, data, folder / f"{plan.id}.safetensors", lambda _: None)
    return CaseCache(folder / f"{plan.id}.safetensors")


@pytest.fixture(scope="module")
def models(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The models, small and trained for a moment, each from the first."""
    folder = tmp_path_factory.mktemp("models")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MEDDIFF_MODELS", str(folder))
        for name in NAMES:
            prepare(small(name), data, folder / "cache.safetensors", lambda _: None)
            checkpoint = folder / f"{name}.pt"
            losses = [report.loss for report in fit(lesson(folder / "cache.safetensors"), checkpoint)]
            assert len(losses) == 20 and np.isfinite(losses).all()
            export(checkpoint, folder / name, device="CPU", command="meddiff train fit")
    return folder


# --- plans and slices -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_plans_and_cards_agree(name: str) -> None:
    """Small, and a demonstration by its own words."""
    plan, about = read_plan(name), json.loads((CARDS / f"{name}.json").read_text())
    assert isinstance(plan, SegmentPlan) and plan.planar
    assert tuple(segment["name"] for segment in about["segments"]) == plan.segments
    assert tuple(channel["name"] for channel in about["channels"]) == plan.contrasts
    assert about["window"] == list(plan.training.crop) and (plan.schedule is None) == (plan.predicts == "label")
    assert 2 * sum(p.numel() for p in build(plan.network["name"], plan.network["arguments"]).parameters()) < 2e6
    assert all(
        not find_recipe(m, "segment").part or find_recipe(m, "segment").part in plan.companions
        for m in about["recipes"]
    )
    readme = (CARDS / f"{name}.md").read_text()
    assert "demonstration" in about["limitations"].lower() and "not for clinical use" in readme.lower()
    assert "one" in about["limitations"] and about["licence"] == "CC-BY-4.0"


def test_the_baseline_learns_from_what_the_denoiser_learns_from() -> None:
    start, baseline, ours = (read_plan(name).model_dump() for name in NAMES)
    for plan in (baseline, ours):
        del plan["training"]["dice_weight"]
    assert all(ours[key] == baseline[key] for key in ("images", "shapes", "training", "intensity", "start_from"))
    assert ours["start_from"] == start["id"] and start["images"] == ours["images"]
    assert len({tuple(plan["network"]["arguments"]["widths"]) for plan in (start, baseline, ours)}) == 1


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"shapes": ""}, "shapes, where lesions are to be painted"),
        ({"contrasts": ["T1"]}, "contrasts that begin with FLAIR"),
        ({"spacing_mm": [1.0, 1.0, 1.0]}, "crop and spacing of 2 numbers each"),
    ],
)
def test_a_plan_that_does_not_fit_itself(change: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        SegmentPlan.model_validate({**small("ms-lesion-seg").model_dump(), **change})


def test_painted_lesions_are_where_the_labels_say(data: Path, tmp_path: Path) -> None:
    """Brighter on FLAIR and T2, darker on T1; nothing else changes, and nobody's own lesions are left."""
    cache = cache_of(small("ms-lesion-unet", painted=1.0, augment=STILL.model_dump()), data, tmp_path)
    assert cache.painter is not None
    ratios = []
    for step in range(12):
        g = torch.Generator().manual_seed(step)
        case = step % 3
        image, labels = cache.painter.draw(case, g)
        assert image.shape == (3, 1, *SHAPE[1:]) and labels.shape == (1, *SHAPE[1:])
        inside, brain = labels > 0, image[0] > 0
        white = torch.tensor([float(image[c][brain & ~inside].median()) for c in range(3)])
        if inside.sum() > 8:
            ratios.append([float(image[c][inside].median()) / float(white[c]) for c in range(3)])
        far = brain & (torch.nn.functional.max_pool2d(inside.float(), 9, 1, 4) == 0)
        healthy = [(each[0][far] / white[0] - 1).abs().max() for each in [image]]
        assert max(healthy) < 0.3, "neither painted nor own lesions away from the labels"
    flair, t1, t2 = np.mean(ratios, 0)
    assert len(ratios) > 3 and flair > 1.15 and t1 < 0.95 and t2 > 1.15


def test_own_lesions_are_learnt_where_they_were_drawn_alone(data: Path, tmp_path: Path) -> None:
    cache = cache_of(small("ms-lesion-unet", painted=0.0, augment=STILL.model_dump()), data, tmp_path)
    batch, drawn = cache.batch(0, 40), 0
    assert batch.images.shape == (40, 3, 40, 40) and batch.labels.shape == (40, 40, 40)
    for image, labels in zip(batch.images, batch.labels, strict=True):
        bright = image[0] > 1.3 * image[0][image[0] > 0].median()
        assert float((bright != (labels > 0)).float().mean()) < 0.01
        drawn += int(labels.any())
    assert 5 < drawn < 40
    again = cache.batch(0, 40)
    assert torch.equal(batch.images, again.images) and torch.equal(batch.labels, again.labels)


def test_a_slice_is_turned_in_its_plane() -> None:
    """As a volume that is the same in every slice would be, whichever way it turns."""
    g = torch.Generator().manual_seed(0)
    image, labels = torch.randn(2, 1, 32, 32, generator=g), torch.randint(2, (1, 32, 32), generator=g)
    change = AugmentCrop(flip=(0, 0, 0), affine=1, rotate_degrees=15, elastic=1.5)
    flat = place(image, labels, (1, 24, 24), change, torch.Generator().manual_seed(1))
    thick = place(
        image.expand(2, 61, 32, 32), labels.expand(61, 32, 32), (1, 24, 24), change, torch.Generator().manual_seed(1)
    )
    torch.testing.assert_close(flat[0], thick[0], atol=1e-4, rtol=1e-4)
    assert (flat[1] != thick[1]).float().mean() < 0.01


# --- jobs -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def job(models: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Job]:
    """Jobs on the patient of the test split."""
    monkeypatch.setenv("MEDDIFF_MODELS", str(models))
    files = {
        name: str(data / f"brain_ms_mni/patient07_{c}.nii.gz")
        for name, c in zip(("volume", "volume2", "volume3"), WHITE, strict=True)
    }

    def made(method: str = "implicit-ensemble", inputs: dict[str, str] | None = None, **options: Any) -> Job:
        return Job(method, "ms-lesion-seg", files | (inputs or {}), str(tmp_path / "out"), options)

    return made


@pytest.mark.parametrize("method", ["implicit-ensemble", "pd-ddpm", "unet"])
def test_every_method_segments_slice_by_slice(job: Callable[..., Job], method: str) -> None:
    made = run(job(method, samples=2))
    labels, p = (read(made.outputs[name]) for name in ("labels", "probability"))
    assert same_grid(labels, read(job().inputs["volume"]), 1e-4) and set(np.unique(labels.array)) <= {0, 1}
    for empty in (0, 8):  # air, at which no network looks
        assert not p.array[empty].any() and not labels.array[empty].any()
    truth = lesions(7)
    assert p.array[truth].mean() > p.array[1:8][~truth[1:8]].mean(), "it was trained for a moment"


def test_the_channels_count_and_all_are_wanted(job: Callable[..., Job], tmp_path: Path) -> None:
    alone = Job("unet", "ms-lesion-seg", {"volume": job().inputs["volume"]}, str(tmp_path / "alone"))
    with pytest.raises(BadInput, match="1 volume came; ms-lesion-unet wants 3, in this order: FLAIR, T1, T2"):
        run(alone)
    first = read(run(job("unet", samples=1)).outputs["probability"]).array
    swapped = {"volume2": job().inputs["volume3"], "volume3": job().inputs["volume2"]}
    assert np.abs(read(run(job("unet", swapped, samples=1)).outputs["probability"]).array - first).max() > 0.01


def test_a_contrast_on_another_grid_is_resampled_and_told(job: Callable[..., Job], tmp_path: Path) -> None:
    flair, t2 = (read(job().inputs[name]) for name in ("volume", "volume3"))
    here = run(job("unet", samples=1))
    p = read(here.outputs["probability"]).array
    finer = Volume(np.zeros((15, 90, 80), np.float32), (0.6, 0.6, 2.0), (-21.0, -21.5, -1.0), IDENTITY)
    write(resample_like(t2, finer), tmp_path / "t2.nrrd")
    with pytest.warns(Notice, match="contrasts lie on different grids; the others were resampled"):
        other = run(job("unet", {"volume3": str(tmp_path / "t2.nrrd")}, samples=1))
    found = read(other.outputs["probability"])
    assert same_grid(found, flair, 1e-4) and np.abs(found.array - p).mean() < 0.05


# --- the benchmark ----------------------------------------------------------------------------------------------------


def test_lesions_are_counted_whole() -> None:
    """Of two lesions one is touched, by one of the two that were found."""
    array = np.zeros((3, 10, 10), np.uint8)
    array[1, 1:3, 1:3] = array[1, 7:9, 7:9] = 1
    truth = Volume(array, (1.0, 1.0, 2.0), (0.0, 0.0, 0.0), IDENTITY)
    found = np.zeros(array.shape, bool)
    found[1, 2:4, 2:4] = found[0, 5, 0] = True
    row = bench_lesions._lesion_wise(truth, found)
    assert (row["recall"], row["precision"], row["f1"]) == (0.5, 0.5, 0.5) and row["volume_ml"] == 0.01
    nothing = bench_lesions._lesion_wise(truth, np.zeros_like(found))
    assert (nothing["recall"], nothing["f1"], "hd95_mm" in nothing) == (0, 0, False)


def test_the_benchmark(models: Path, data: Path, cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEDDIFF_MODELS", str(models))
    monkeypatch.setattr(bench_lesions, "QUICK", slice(2, 7))
    report = tmp_path / "ms-lesion.json"
    code, _, err = cli("bench", "segment", "--model", "ms-lesion-seg", "--data", data, "--json", report, "--quick")
    assert code == 0, err
    told = json.loads(report.read_text())
    names = [row["recipe"] for row in told["rows"]]
    assert names[0] == "flair-threshold" and set(names[1:]) == {"unet", "implicit-ensemble", "pd-ddpm"}
    assert all(row["case"] == "patient07 (test split), some slices" for row in told["rows"])
    assert told["rows"][0]["dice"] > 0.8, "of phantoms, a threshold is enough"
    assert all({"dice", "ece", "recall", "precision", "f1", "seconds"} <= set(row) for row in told["rows"][1:])
    assert [bar["target"] for bar in told["bars"]] == [">= 0", "< 1"]
    assert cli("train", "quality", models / "ms-lesion-seg", report)[0] == 0
    assert load(models / "ms-lesion-seg", "cpu").card.quality[0].dataset.startswith("test split, patient07")
