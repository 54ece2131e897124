"""Training: every lesson learns, a run that was interrupted ends where the whole one does, the test split is unseen."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from meddiff import models
from meddiff.card import Card
from meddiff.errors import BadInput
from meddiff.levels import make_schedule
from meddiff.networks import build
from meddiff.prior import Condition
from meddiff.training.export import CARDS, export
from meddiff.training.fit import averaged_weights, fit
from meddiff.training.kinds import LESSONS, lesson
from meddiff.training.lessons import PriorLesson, coarse_noise
from meddiff.training.plan import PLANS, Plan, read_plan
from meddiff.training.prepare import prepare
from meddiff.training.slices import DISEASED, HEALTHY, RESTORED, SliceCache
from meddiff.volume import Volume, write

UNET = {"widths": [8, 8], "blocks": 1, "groups": 4, "head_channels": 8, "patch": 2}
SHAPES = "masks/*_lesions.nii.gz"
KINDS = ("prior", "classifier", "denoiser")  # the plans of other kinds have tests of their own
OF_SLICES = [p for p in sorted(PLANS.glob("*.json")) if json.loads(p.read_text()).get("kind", "prior") in KINDS]


def volume(array: np.ndarray) -> Volume:
    return Volume(array.astype(np.float32), (1.0, 1.0, 1.0), (0.0, 0.0, 0.0), (1, 0, 0, 0, 1, 0, 0, 0, 1))


def head(brightness: float, lesion: bool) -> np.ndarray:
    y, x = np.ogrid[-24:24, -24:24]
    disc = np.where(y**2 + x**2 < 21**2, brightness, 0.0)
    out = np.repeat(disc[None], 6, 0) + np.random.default_rng(0).normal(0, 2, (6, 48, 48)) * (disc > 0)
    if lesion:
        out[2:5, 14:20, 28:34] *= 1.5
    return out


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Two people, one of them of the test split, with lesions, and a third one's lesion mask."""
    folder = tmp_path / "data"
    rows = ["file,split"]
    mask = np.zeros((6, 48, 48))
    mask[2:5, 14:20, 28:34] = 1
    for person, split in {"a": "train", "b": "test"}.items():
        for name, image in {"FLAIR": head(600, True), "T1": head(800, False), "lesions": mask}.items():
            path = folder / "people" / f"{person}_{name}.nii.gz"
            path.parent.mkdir(parents=True, exist_ok=True)
            write(volume(image), path)
            rows.append(f"people/{path.name},{split}")
    (folder / "masks").mkdir()
    write(volume(mask), folder / "masks" / "c_lesions.nii.gz")
    rows.append("masks/c_lesions.nii.gz,train")
    (folder / "manifest.csv").write_text("\n".join(rows))
    return folder


def plan(kind: str = "prior", **changes: Any) -> Plan:
    lesions = "people/{stem}_lesions.nii.gz"
    images = [{"files": f"people/*_{c}.nii.gz", "label": c, "lesions": lesions} for c in ("FLAIR", "T1")]
    networks = {"classifier": ("noised-classifier", {"widths": [8, 8], "groups": 4, "labels": 3})}
    name, arguments = networks.get(kind, ("diffusion-unet", {**UNET, "labels": 3}))
    predicts = {"classifier": "label", "denoiser": "image"}.get(kind, "v")
    training = {"crop": [32, 32], "batch": 4, "steps": 6, "learning_rate": 2e-3, "warmup": 2, "drop_label": 0.0}
    about: dict[str, Any] = {
        "id": "toy",
        "kind": kind,
        "spacing_mm": [1, 1],
        "intensity": {"kind": "percentile", "upper": 99.9, "target": [0, 2], "foreground": True, "linear": True},
        "labels": ["FLAIR", "T1", "null"],
        "images": images,
        "shapes": SHAPES,
        "network": {"name": name, "arguments": arguments},
        "schedule": {"name": "vp-cosine", "arguments": {"steps": 100, "shift": 0.5}},
        "predicts": predicts,
        "training": training,
    }
    changes["training"] = {**training, "unknown_label": 0.0, **changes.get("training", {})}
    return Plan.model_validate({**about, **changes})


def cached(plan: Plan, data: Path) -> Path:
    path = data.parent / "cache.safetensors"
    prepare(plan, data, path, lambda _: None)
    return path


def states(**more: Any) -> dict[str, Any]:
    network = {"name": "diffusion-unet", "arguments": {**UNET, "labels": 7}}
    return {"states": {HEALTHY: 0.5, DISEASED: 0.5}, "network": network, **more}


@pytest.mark.parametrize("kind", ["prior", "classifier", "denoiser"])
def test_every_lesson_learns(kind: str, data: Path) -> None:
    assert {"prior", "classifier", "denoiser"} <= set(LESSONS)
    learnt = lesson(cached(plan(kind, training={"steps": 120, "batch": 8}), data))
    torch.manual_seed(0)
    before = learnt.build()
    list(fit(learnt, data / "run" / "checkpoint.pt"))
    after = learnt.build()
    after.load_state_dict(averaged_weights(data / "run" / "checkpoint.pt")[0])
    with torch.no_grad():
        first, last = (
            sum(float(learnt.loss(n.eval(), 1000 + k, torch.device("cpu"))) for k in range(8)) for n in (before, after)
        )
    assert last < 0.8 * first


def test_a_run_that_was_interrupted_ends_where_the_whole_one_does(data: Path) -> None:
    learnt = lesson(cached(plan(**states()), data))
    whole, broken = data / "whole" / "checkpoint.pt", data / "broken" / "checkpoint.pt"
    list(fit(learnt, whole))
    stops = iter([False] * 3 + [True])
    assert len(list(fit(learnt, broken, should_stop=lambda: next(stops)))) == 3
    assert len(list(fit(learnt, broken))) == 3
    a, b = averaged_weights(whole), averaged_weights(broken)
    assert a[1]["step"] == b[1]["step"] == 6
    assert all(value.equal(b[0][name]) for name, value in a[0].items())
    other = lesson(cached(plan(id="other", **states()), data))
    with pytest.raises(BadInput, match="another plan"):
        list(fit(other, broken))


def test_only_the_train_split_is_seen_and_its_lesions_are_filled(data: Path) -> None:
    cache = SliceCache(cached(plan(), data))
    assert [image["file"] for image in cache.images] == ["people/a_FLAIR.nii.gz", "people/a_T1.nii.gz"]
    batch = cache.batch(0, 64, {HEALTHY: 1.0})
    assert batch.masks.sum() == 0 and batch.images.amax() < 2.7
    again = cache.batch(0, 64, {HEALTHY: 1.0})
    assert batch.images.equal(again.images) and batch.labels.equal(again.labels)
    ill = cache.batch(0, 64, {DISEASED: 1.0})
    inside = (ill.masks > 0) & (ill.images > 0)
    around = (ill.masks == 0) & (ill.images > 0.5)
    flair = ill.labels == 0
    assert ill.images[flair][inside[flair]].mean() > 1.15 * ill.images[flair][around[flair]].mean()


def test_to_restore_is_to_say_what_was_there_without_the_lesions(data: Path) -> None:
    learnt = PriorLesson(SliceCache(cached(plan(**states()), data)))
    batch = learnt.cache.batch(0, 32, {RESTORED: 1.0})
    changed = ((batch.images - batch.targets).abs() > 0.05) & (batch.images > 0)
    lesions = torch.nn.functional.max_pool2d(batch.masks, 13, 1, 6) > 0  # their edges are soft
    assert changed[batch.masks > 0].float().mean() > 0.8 and changed[~lesions].float().mean() < 1e-3
    x, times, v = learnt.noised(batch, 0)
    levels = learnt.schedule.levels
    for k in range(len(x)):
        level = levels[int(times[k])]
        assert level.ratio >= 0.19
        torch.testing.assert_close(level.alpha * x[k] - level.sigma * v[k], batch.targets[k], atol=1e-4, rtol=0)
    ill = learnt.cache.batch(0, 32, {DISEASED: 1.0})
    assert ill.targets.equal(ill.images)


def test_images_can_be_brought_to_the_voxel_size_of_the_plan(data: Path) -> None:
    """Half as many voxels along each axis of a slice, as bright; without being asked to, it refuses."""
    coarse: dict[str, Any] = {"spacing_mm": [2, 2], "shapes": "", "training": {"crop": [16, 16]}}
    still = {"flip": 0.0, "affine": 0.0, "gamma": 0.0, "gain": 0.0}
    small = SliceCache(
        cached(plan(**{**coarse, "training": {"crop": [24, 24], "augment": still}}, resample=True), data)
    )
    large = SliceCache(cached(plan(training={"crop": [48, 48], "augment": still}), data))
    one, two = (each.batch(0, 16).images for each in (small, large))
    assert one.shape[2:] == (24, 24) and two.shape[2:] == (48, 48)
    assert float(one[..., 10:14, 10:14].mean()) == pytest.approx(float(two[..., 20:28, 20:28].mean()), rel=0.03)
    assert float((one > 0.5).float().mean()) == pytest.approx(
        float((two > 0.5).float().mean()), abs=0.03
    )  # whole heads
    with pytest.raises(BadInput, match="in-plane spacing"):
        cached(plan(**coarse), data)
    with pytest.raises(ValueError, match="leave out resample, or shapes"):
        plan(resample=True)


def test_the_network_is_told_contrast_and_state(data: Path) -> None:
    cache = SliceCache(cached(plan(**states(training={"drop_label": 0.2, "drop_state": 0.3})), data))
    batches = [cache.batch(k, 64) for k in range(10)]
    labels = torch.cat([b.labels for b in batches]).tolist()
    shown = [state for b in batches for state in b.states]
    assert set(labels) == set(range(7))  # two contrasts without a state, healthy, diseased; and nothing told
    assert abs(labels.count(6) / 640 - 0.2) < 0.05
    told = [(label, state) for label, state in zip(labels, shown, strict=True) if label != 6]
    assert all((label // 2, state) != (1, DISEASED) and (label // 2, state) != (2, HEALTHY) for label, state in told)
    assert abs(sum(label < 2 for label, _ in told) / len(told) - 0.3) < 0.06


def test_starting_from_another_model(data: Path, tiny_model: Path) -> None:
    learnt = lesson(cached(plan(**states(start_from="tiny-brain")), data))
    network, first = learnt.build(), models.load("tiny-brain", "cpu", "fp32").network
    x, cond = torch.randn(2, 1, 32, 32), [Condition(label=torch.tensor([k, k])) for k in range(7)]
    with torch.no_grad():
        for mine, its in {0: 0, 1: 1, 6: 2}.items():
            torch.testing.assert_close(network.eval()(x, 5.0, cond[mine]), first(x, 5.0, cond[its]), atol=2e-3, rtol=0)
        assert not network(x, 5.0, cond[2]).allclose(network(x, 5.0, cond[4]), atol=1e-3)  # states start apart
    wrong = {
        **states(start_from="tiny-brain"),
        "network": {"name": "diffusion-unet", "arguments": {**UNET, "groups": 8}},
    }
    wrong["network"]["arguments"] = {**UNET, "widths": [8, 16], "labels": 7}
    with pytest.raises(BadInput, match="expected"):
        lesson(cached(plan(**wrong), data)).build()


def test_an_exported_model_says_what_it_was_told(data: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    about = json.loads((CARDS / "brain-anomaly.json").read_text())
    cards = tmp_path / "cards"
    cards.mkdir()
    (cards / "toy.json").write_text(json.dumps(about))
    (cards / "toy.md").write_text("# toy\n")
    monkeypatch.setattr("meddiff.training.export.CARDS", cards)
    learnt = lesson(cached(plan(companions={"classifier": "toy-classifier"}, **states()), data))
    list(fit(learnt, data / "run" / "checkpoint.pt"))
    found = export(data / "run" / "checkpoint.pt", tmp_path / "toy", device="CPU", command="meddiff train fit")
    labels = found.card.labels
    assert labels is not None and (labels.names, labels.states, labels.null) == (
        ("FLAIR", "T1"),
        (HEALTHY, DISEASED),
        6,
    )
    model = models.load(tmp_path / "toy", "cpu")
    cond = model.condition("T1", 2, DISEASED)
    assert cond is not None and cond.label is not None and cond.label.tolist() == [5, 5]
    with pytest.raises(BadInput, match="denoiser"):
        model.companion("denoiser")


def test_coarse_noise_is_as_coarse_as_it_says() -> None:
    noise = coarse_noise(torch.zeros(64, 1, 128, 128), 0, cells=16, size=0.4)
    assert float(noise.mean()) == pytest.approx(0, abs=0.02)
    near = (noise[..., 1:] * noise[..., :-1]).mean() / noise.square().mean()
    far = (noise[..., 40:] * noise[..., :-40]).mean() / noise.square().mean()
    assert near > 0.95 and abs(far) < 0.05 and 0.2 < float(noise.std()) < 0.4


@pytest.mark.parametrize("path", OF_SLICES, ids=lambda path: path.stem)
def test_every_plan_of_slices_can_be_built(path: Path) -> None:
    found = read_plan(path.stem)
    network = build(found.network["name"], found.network["arguments"])
    assert sum(p.numel() for p in network.parameters()) * 2 < 8e6  # a starter model, in half precision
    if found.schedule is not None:
        make_schedule(found.schedule["name"], **found.schedule["arguments"])
    told = found.network["arguments"]["labels"]
    assert told == found.classes if not found.labels or "unknown" not in found.labels else told == len(found.labels)
    assert (CARDS / f"{path.stem}.json").is_file() and (CARDS / f"{path.stem}.md").is_file()
    card = {**json.loads((CARDS / f"{path.stem}.json").read_text())}
    assert set(card) < set(Card.model_fields)
