"""Covariates of slices: read off the images or told of people, learnt beside the image or in cross-attention."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from meddiff.card import read_card
from meddiff.errors import BadInput
from meddiff.models import load
from meddiff.sampling import drain
from meddiff.store import load_weights
from meddiff.synthesis import synthesise
from meddiff.training.export import CARDS, export
from meddiff.training.fit import fit
from meddiff.training.kinds import lesson, prepare
from meddiff.training.plan import Plan
from meddiff.training.slices import SliceCache
from meddiff.volume import IDENTITY, Volume, write

AGES = {"young": 30.0, "old": 70.0}
ABOUT = {
    "height": {"unit": "1", "min": 0.0, "max": 1.0, "null": 0.5},
    "age": {"unit": "years", "min": 20.0, "max": 80.0, "null": 50.0},
}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two people whose slices are brighter the higher up they lie, below and above them air."""
    folder, rows = tmp_path_factory.mktemp("data"), ["file,split"]
    y, x = np.ogrid[-8:8, -8:8]
    for name in AGES:
        array = np.zeros((8, 16, 16), np.float32)
        array[1:7] = np.where(y**2 + x**2 < 49, np.linspace(200, 1000, 6)[:, None, None], 0)
        write(Volume(array, (1.0, 1.0, 1.0), (0.0, 0.0, 0.0), IDENTITY), folder / f"{name}.nii.gz")
        rows.append(f"{name}.nii.gz,train")
    (folder / "manifest.csv").write_text("\n".join(rows))
    return folder


def plan(network: dict[str, Any], *, covariates: dict[str, Any] = ABOUT, **training: Any) -> Plan:
    of_people = {*covariates} - {"height"}
    sources = [
        {"files": f"{name}.nii.gz", "label": "T1", "covariates": dict.fromkeys(of_people, age)}
        for name, age in AGES.items()
    ]
    unet = {"widths": [16, 16], "blocks": 1, "groups": 4, "head_channels": 8, "patch": 4, "labels": 2, **network}
    usual = {"crop": [16, 16], "batch": 8, "steps": 150, "learning_rate": 1e-2, "warmup": 5, "ema": 0.9}
    still = {"flip": 0.0, "affine": 0.0, "gamma": 0.0, "gain": 0.0}
    return Plan.model_validate(
        {
            "id": "toy",
            "spacing_mm": [1, 1],
            "intensity": {"kind": "window", "lower": 0, "upper": 1000, "target": [0, 2], "linear": True},
            "labels": ["T1", "null"],
            "covariates": covariates,
            "images": sources,
            "network": {"name": "diffusion-unet", "arguments": unet},
            "schedule": {"name": "vp-cosine", "arguments": {"steps": 100, "shift": 0.5}},
            "predicts": "v",
            "training": {**usual, "drop_label": 0.0, "unknown_label": 0.0, "augment": still, **training},
        }
    )


def cached(plan: Plan, data: Path, folder: Path) -> Path:
    assert prepare(plan, data, folder / "cache.safetensors", lambda _: None) == "12 slices"
    return folder / "cache.safetensors"


def test_height_is_read_off_the_image_and_age_told_of_the_person(data: Path, tmp_path: Path) -> None:
    cache = SliceCache(cached(plan({"concat_channels": 2}, drop_covariates=0.0), data, tmp_path))
    batch = cache.batch(0, 64)
    brightness = batch.images.amax((1, 2, 3)) / 2  # 0.2 at height 0, 1 at height 1
    assert batch.numbers[:, 0].allclose((brightness - 0.2) / 0.8, atol=1e-3)
    assert sorted({*batch.numbers[:, 1].tolist()}) == pytest.approx([10 / 60, 50 / 60])
    untold = SliceCache(cached(plan({"concat_channels": 2}, drop_covariates=1.0), data, tmp_path)).batch(0, 8)
    assert untold.numbers.equal(torch.full((8, 2), 0.5))


@pytest.mark.parametrize("room", [{"concat_channels": 2}, {"context_features": 2, "attention": [False, True]}])
def test_what_is_told_is_what_comes_out(
    room: dict[str, Any], data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    card = json.loads((CARDS / "brain-slices.json").read_text()) | {"window": [16, 16]}
    (tmp_path / "toy.json").write_text(json.dumps(card))
    (tmp_path / "toy.md").write_text("# toy\n")
    monkeypatch.setattr("meddiff.training.export.CARDS", tmp_path)
    list(fit(lesson(cached(plan(room), data, tmp_path)), tmp_path / "run" / "checkpoint.pt"))
    export(tmp_path / "run" / "checkpoint.pt", tmp_path / "toy", device="CPU", command="meddiff train fit")
    model = load(tmp_path / "toy", "cpu", "fp32")
    assert {name: about.model_dump() for name, about in model.card.covariates.items()} == ABOUT

    def brightness(height: float) -> float:
        made = drain(synthesise(model, covariates={"height": height, "age": 40.0}, samples=8, preset="fast"))
        return float(made.stack.array[:, 6:10, 6:10].mean()) / 500  # network units

    low, high = brightness(0.0), brightness(1.0)
    assert low < 0.9 < 1.5 < high  # the truth is 0.4 and 2
    with pytest.raises(BadInput, match="height is 2 1; toy knows 0 to 1"):
        drain(synthesise(model, covariates={"height": 2.0, "age": 40.0}))


def test_a_network_that_starts_from_another_hears_of_covariates_at_once(
    data: Path, tmp_path: Path, tiny_model: Path
) -> None:
    told = {**read_card(tiny_model).network.arguments, "concat_channels": 2, "labels": 2}
    start = plan(told).model_copy(update={"start_from": "tiny-brain"})
    weights = lesson(cached(start, data, tmp_path)).build().state_dict()["unet.conv_in.conv.weight"]
    first = load_weights(tiny_model)["unet.conv_in.conv.weight"].float()
    assert weights[:, : first.shape[1]].equal(first)
    assert float(weights[:, first.shape[1] :].std()) > 0.01


@pytest.mark.parametrize(
    ("network", "covariates", "sentence"),
    [
        ({}, ABOUT, "covariates need 2 concat_channels or context_features"),
        ({"concat_channels": 1}, {"height": {**ABOUT["height"], "null": None}}, "need a null value"),
        ({"concat_channels": 1}, {"age": {**ABOUT["age"], "max": 60.0}}, "age 70 of old.nii.gz lies outside"),
    ],
)
def test_plans_that_cannot_be_followed(network: dict[str, Any], covariates: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValidationError, match=sentence):
        plan(network, covariates=covariates)
