"""The benchmark of synthesis: its figures on images whose likeness is known; and the models that it is about."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from test_segment_task import data as crops  # noqa: F401 - a fixture
from test_segment_task import small as small_crops

from meddiff import bench_synthesise
from meddiff.asking import beside_image
from meddiff.bench_synthesise import accuracy, bars, classifier, nearest, variety
from meddiff.card import Card
from meddiff.models import load
from meddiff.networks import build
from meddiff.sampling import drain
from meddiff.splits import MANIFEST
from meddiff.synthesis import synthesise
from meddiff.training.case_plans import SegmentPlan
from meddiff.training.export import CARDS, export
from meddiff.training.fit import fit
from meddiff.training.kinds import lesson, prepare
from meddiff.training.plan import PLANS, Plan, read_plan
from meddiff.volume import IDENTITY, Volume, read, write

NAMES = ("AbdomenCT", "Hand")
SIZE = 64


def pictures(seed: int, count: int, bright: bool) -> np.ndarray:
    """Blobs at random places, on the left or on the right."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[-1 : 1 : SIZE * 1j, -1 : 1 : SIZE * 1j]
    where = random.uniform(-0.3, 0.3, (count, 2)) + np.array([0, 0.5 if bright else -0.5])
    far = (y - where[:, :1, None]) ** 2 + (x - where[:, 1:, None]) ** 2
    return np.clip(255 * np.exp(-6 * far) + 4 * random.standard_normal(far.shape), 0, 255).astype(np.uint8)


def images(seed: int, count: int = 12) -> dict[str, torch.Tensor]:
    return {name: torch.from_numpy(pictures(seed + k, count, bool(k)) / 255).float() for k, name in enumerate(NAMES)}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    (tmp_path / "mednist").mkdir()
    rows = ["file,split"]
    for split, seed in (("train", 0), ("test", 10)):
        for k, name in enumerate(NAMES):
            volume = Volume(pictures(seed + k, 12, bool(k)), (1.0, 1.0, 1.0), (0, 0, 0), IDENTITY)
            write(volume, tmp_path / f"mednist/{name}_{split}.nrrd")
            rows.append(f"mednist/{name}_{split}.nrrd,{split}")
    (tmp_path / MANIFEST).write_text("\n".join(rows) + "\n")
    return tmp_path


def test_a_classifier_learns_what_can_be_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"WIDTHS": (4, 8), "BATCH": 20}.items():
        monkeypatch.setattr(bench_synthesise, name, value)
    judge = classifier(images(0), epochs=1)
    assert accuracy(judge, images(20)) > 0.9
    swapped = dict(zip(NAMES, reversed([*images(20).values()]), strict=True))
    assert accuracy(judge, swapped) == pytest.approx(1 - accuracy(judge, images(20)))


def test_copies_are_near_and_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench_synthesise, "PAIRS", 12)
    real, copies = images(0), {name: stack[:1].expand(6, -1, -1) for name, stack in images(0).items()}
    assert variety(copies) == pytest.approx(1, abs=1e-4) and variety(real) < 0.95
    assert nearest(copies, real).max() < 1e-3 < nearest(images(20), real).min()
    moved = {name: stack + 0.25 for name, stack in real.items()}
    assert float(nearest(moved, real).max()) == pytest.approx(0.25, rel=1e-2)


def test_bars_are_of_the_rows() -> None:
    row: dict[str, Any] = {"recipe": "synthesise", "case": "x", "calls": 25, "called": 0.96, "learnt": 0.9}
    row |= {"learnt_real": 1.0, "ms_ssim": 0.5, "ms_ssim_real": 0.4, "nearest_low": 1.2}
    long = {"recipe": "synthesise", "case": "x, same noise", "calls": 500, "called": 0.97}
    short = {**long, "calls": 25, "called": 0.965, "change": 0.02}
    met = {bar["name"].split(",")[0]: bar["met"] for bar in bars([row, long, short])}
    assert list(met.values()) == [True, False, False, True, True, False]


@pytest.mark.parametrize("name", ["mednist-64", "hippocampus-3d"])
def test_plans_and_cards_agree(name: str) -> None:
    plan, about = read_plan(name), json.loads((CARDS / f"{name}.json").read_text())
    assert isinstance(plan, Plan | SegmentPlan)
    assert about["window"] == list(plan.training.crop) and about["task"] == "synthesise"
    network = build(plan.network["name"], plan.network["arguments"])
    assert 2 * sum(p.numel() for p in network.parameters()) < 8e6  # bytes, as they are shipped
    if isinstance(plan, SegmentPlan):
        assert tuple(segment["name"] for segment in about["segments"]) == plan.segments
        assert plan.network["arguments"]["concat_channels"] == len(plan.segments) + 1


def test_an_image_is_learnt_from_its_label_map(crops: Path, tmp_path: Path) -> None:  # noqa: F811
    plan = small_crops("hippocampus-3d")
    assert prepare(plan, crops, tmp_path / "cache.safetensors", lambda _: None) == "6 cases"
    reports = list(fit(lesson(tmp_path / "cache.safetensors"), tmp_path / "checkpoint.pt"))
    assert np.isfinite([report.loss for report in reports]).all()
    export(tmp_path / "checkpoint.pt", tmp_path / "model", device="CPU", command="meddiff train fit")
    model = load(tmp_path / "model", "cpu", "fp32")
    assert beside_image(model.card) == (3, 0)
    labels = read(crops / "hippocampus" / "labels" / "crop_7.nii.gz")
    turned = labels.with_array(labels.array[:, ::-1].copy())
    made = [drain(synthesise(model, labels=each, samples=1, parameters={"steps": 2})) for each in (labels, turned)]
    assert np.abs(made[0].images[0].array - made[1].images[0].array).max() > 1e-3


def test_the_benchmark(
    data: Path, tmp_path: Path, cli: Callable[..., tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = json.loads((PLANS / "mednist-64.json").read_text())
    plan["network"]["arguments"] |= {"widths": [8, 8], "blocks": 1, "groups": 4, "labels": 3}
    plan["network"]["arguments"] |= {"attention": [False, False], "head_channels": 8}
    plan["images"] = [image for image in plan["images"] if image["label"] in NAMES]
    plan |= {"labels": [*NAMES, "null"]}
    plan["training"] |= {"batch": 4, "steps": 3}
    prepare(Plan.model_validate(plan), data, tmp_path / "cache.safetensors", lambda _: None)
    list(fit(lesson(tmp_path / "cache.safetensors"), tmp_path / "checkpoint.pt"))
    found = export(tmp_path / "checkpoint.pt", tmp_path / "model", device="CPU", command="meddiff train fit")
    assert isinstance(found.card, Card) and found.card.labels is not None and found.card.labels.null == 2
    sizes = {"WIDTHS": (4, 4), "EPOCHS": 1, "BATCH": 400, "PAIRS": 3, "FEW": 3, "SOME": 2, "MANY": 3}
    for name, value in {**sizes, "LONG": 6, "SHORT": 3}.items():
        monkeypatch.setattr(bench_synthesise, name, value)
    entry = bench_synthesise.Entry
    monkeypatch.setattr(bench_synthesise, "MAIN", (entry("synthesise", "3 steps", {"steps": 3}),))
    ways = tuple(entry("synthesise", f"{n} steps", {"steps": n}) for n in (6, 3))
    monkeypatch.setattr(bench_synthesise, "WAYS", ways)
    about = ("--data", data, "--model", tmp_path / "model", "--device", "cpu", "--json", tmp_path / "made.json")
    code, _, err = cli("bench", "synthesise", *about)
    assert code == 0, err
    told = json.loads((tmp_path / "made.json").read_text())
    assert [row["calls"] for row in told["rows"]] == [3, 6, 3] and len(told["bars"]) == 6
    assert cli("train", "quality", tmp_path / "model", tmp_path / "made.json")[0] == 0
