"""The benchmark of raw scans: what is simulated is a scan, and what is reconstructed from it is that scan's image."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from meddiff import bench_raw
from meddiff.baselines import total_variation, zero_filled
from meddiff.bench_raw import CENTRE, COILS, NOISE, PHASES, TUNED, Case, bars, calibrated, cases, phase_of, simulate
from meddiff.metrics import psnr
from meddiff.rawfiles import read_raw
from meddiff.volume import Volume, write

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def head() -> Volume:
    """Two slices of 160 lines (8 % of them are enough for ESPIRiT), the brightest voxel 1000."""
    z, y, x = np.ogrid[0:2, -1:1:64j, -1:1:160j]
    array = (np.hypot(y, 1.2 * x) < 0.8) * (600 + 400 * np.sign(np.sin(9 * x + 4 * y + z)))
    return Volume(array.astype(np.float32), (1.0, 1.0, 3.0), (0, 0, 0), (1, 0, 0, 0, 1, 0, 0, 0, 1))


@pytest.mark.parametrize("case", cases(False), ids=str)
def test_a_scan_holds_what_it_is_said_to(head: Volume, case: Case, tmp_path: Path) -> None:
    simulate(head, case, tmp_path / "scan.npz", seed=0)
    raw = read_raw(tmp_path / "scan.npz")
    assert raw.kspace.shape == (2, COILS, 64, 160) and raw.spacing == head.spacing and raw.maps is None
    assert 1 / raw.mask.mean() == pytest.approx(case.acceleration, rel=0.1)
    assert raw.mask[0, 0, 80 - 6 : 80 + 6].all() and int(160 * CENTRE) == 12
    spread, _ = PHASES[case.phase]
    added = phase_of(case, head.shape, 0) - phase_of(Case(4, "smooth"), head.shape, 0)
    assert added.std() == pytest.approx(spread, abs=1e-6)
    outside = Volume(np.zeros_like(head.array), head.spacing, head.origin, head.direction)
    simulate(outside, case, tmp_path / "noise.npz", seed=0)
    noise = read_raw(tmp_path / "noise.npz")
    there = noise.kspace[np.broadcast_to(noise.mask[:, None], noise.kspace.shape)]
    assert there.real.std() == pytest.approx(1000 * NOISE, rel=0.05)


def test_total_variation_was_tuned_within_its_range_and_beats_what_is_not_regularised(
    head: Volume, tmp_path: Path
) -> None:
    assert set(TUNED) == {(case.acceleration, case.phase) for case in cases(False)}
    assert all(min(bench_raw.LAMBDAS) < lam < max(bench_raw.LAMBDAS) for lam, _ in TUNED.values())
    for case in cases(True):
        simulate(head, case, tmp_path / "scan.npz", seed=0)
        scan = calibrated(tmp_path / "scan.npz")
        smooth = bench_raw.classical(scan, total_variation, *TUNED[case.acceleration, case.phase])
        plain = bench_raw.classical(scan, zero_filled)
        assert psnr(head.array, smooth) > psnr(head.array, plain) + 3
        assert not smooth[~scan.seen.numpy()].any()


def test_the_command_reports_every_method_of_every_case(
    head: Volume, tiny_model: Path, tmp_path: Path, cli: Run
) -> None:
    folder = tmp_path / "brain_ms_mni"
    folder.mkdir()
    big = Volume(np.repeat(head.array, 31, 0), head.spacing, head.origin, head.direction)
    write(big, folder / "patient07_T1.nii.gz")
    arguments = ("bench", "raw", "--data", tmp_path, "--model", "tiny-brain", "--samples", 2, "--quick")
    reports = []
    for name in ("a.json", "b.json"):
        code, _, err = cli(*arguments, "--json", tmp_path / name)
        assert code == 0 and "total variation" in err
        reports.append(json.loads((tmp_path / name).read_text()))
    report = reports[0]
    assert set(report) == {"task", "commit", "device", "weights", "rows", "bars"} and report["task"] == "raw"
    named = [(row["case"], row["recipe"]) for row in report["rows"]]
    assert named == [(str(c), r) for c in cases(True) for r in ("zero-filled", "sense", "total-variation", "pnp")]
    figures = [[(row["psnr"], row["ssim"]) for row in report["rows"]] for report in reports]
    assert figures[0] == figures[1] and np.isfinite(figures[0]).all()
    rows = {(row["case"], row["recipe"]): row["psnr"] for row in report["rows"]}
    worst = min(rows[str(c), "pnp"] - rows[str(c), "total-variation"] for c in cases(True))
    assert report["bars"] == bars(report["rows"]) and report["bars"][0]["value"] == pytest.approx(worst, rel=1e-3)
    assert report["bars"][0]["met"] == (worst > 0)
    assert cli(*arguments, "--tune")[0] == 2  # the person of the train split is not there
