"""From samples to a standard deviation that can be counted on."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from meddiff.calibration import read_quality, write_calibration, write_quality
from meddiff.card import Calibration
from meddiff.errors import BadInput
from meddiff.metrics import coverage
from meddiff.models import load
from meddiff.reconstruction import Acquisition, reconstruct
from meddiff.sampling import drain
from meddiff.store import find
from meddiff.uncertainty import calibrated, fit_scale, pooled
from meddiff.volume import Volume

IDENTITY = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)


def calibration(scale: float, smoothing: float = 0.0) -> Calibration:
    return Calibration(scale=scale, smoothing=smoothing, dataset="d", command="c", code_version="0")


@pytest.fixture
def model_folder(tmp_path: Path) -> Path:
    """A copy of the starter model, whose card a test may change."""
    folder = tmp_path / "model"
    folder.mkdir()
    for path in find("brain-mr").folder.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    return folder


def test_pooling_keeps_the_mean_variance_and_stays_in_the_slice() -> None:
    spread = torch.zeros(2, 1, 33, 33)
    spread[0, 0, 16, 16] = 3.0
    made = pooled(spread, 2.0)
    assert float(made[0].square().sum()) == pytest.approx(9.0, rel=1e-3)
    assert float(made[1].abs().max()) == 0
    assert torch.equal(pooled(spread, 0.0), spread)


def test_without_calibration_the_spread_is_what_the_samples_say() -> None:
    spread = torch.rand(1, 2, 8, 8)
    assert calibrated(spread, None) is spread
    assert torch.equal(calibrated(spread, calibration(3.0)), 3 * spread)


def test_the_fitted_scale_gives_the_coverage_that_it_promises() -> None:
    rng = np.random.default_rng(0)
    spread = rng.uniform(0.5, 2.0, 40000)
    error = rng.standard_normal(40000) * 4 * spread  # samples that spread four times too little
    scale = fit_scale([error], [spread])
    assert scale == pytest.approx(4.0, rel=0.03)
    assert coverage(error, np.zeros_like(error), scale * spread, 0.9) == pytest.approx(0.9, abs=1e-3)


def test_every_case_counts_the_same_whatever_its_size() -> None:
    small, large = np.full(10, 1.0), np.full(10000, 5.0)
    assert fit_scale([small, large], [np.ones(10), np.ones(10000)], 0.4) == pytest.approx(1 / 0.5244, rel=1e-3)


def test_a_calibrated_card_scales_the_uncertainty_and_nothing_else(model_folder: Path) -> None:
    y, x = np.mgrid[:32, :32]
    array = (1000 * np.exp(-((x - 15) ** 2 + (y - 15) ** 2) / 60)).astype(np.float32)[None]
    volume = Volume(array, (1, 1, 1), (0, 0, 0), IDENTITY)

    def result(folder: Path):
        run = reconstruct(volume, load(folder), acquisition=Acquisition(), samples=2, parameters={"steps": 2})
        return drain(run)

    card = find(model_folder).card
    write_quality(model_folder, [])  # seals; the card is ours from here on
    bare = load(model_folder).uncalibrated()
    raw = drain(reconstruct(volume, bare, acquisition=Acquisition(), samples=2, parameters={"steps": 2}))
    found = write_calibration(model_folder, "pnp", [(np.array([3.0, -3.0]), np.ones(2))], "test")
    made = result(model_folder)
    assert np.array_equal(raw.mean.array, made.mean.array)
    expected = found.scale * pooled(torch.from_numpy(raw.spread.array)[:, None], found.smoothing)[:, 0].numpy()
    assert np.allclose(made.spread.array, expected, rtol=1e-4, atol=1e-4 * expected.max())
    assert made.settings["uncertainty_scale"] == found.scale
    assert find(model_folder).card.files["weights.safetensors"] == card.files["weights.safetensors"]


def test_figures_go_into_the_card_of_the_weights_they_were_measured_with(model_folder: Path, tmp_path: Path) -> None:
    row = {"recipe": "pnp", "case": "T1 4x", "calls": 100, "samples": 4, "psnr": 30.0, "ssim": 0.9}
    sha = find(model_folder).card.files["weights.safetensors"].sha256
    report = tmp_path / "report.json"
    report.write_text(json.dumps({"task": "reconstruct", "weights": sha, "rows": [row, {"recipe": "x", "calls": 0}]}))
    write_quality(model_folder, read_quality(report, model_folder))
    assert [(q.metric, q.value) for q in find(model_folder).card.quality] == [
        ("psnr of pnp", 30.0),
        ("ssim of pnp", 0.9),
    ]
    report.write_text(json.dumps({"task": "reconstruct", "weights": "0" * 64, "rows": [row]}))
    with pytest.raises(BadInput, match="other weights"):
        read_quality(report, model_folder)
    report.write_text("[]")
    with pytest.raises(BadInput, match="no report"):
        read_quality(report, model_folder)
