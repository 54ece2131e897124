"""The benchmark of anomalies: lesions lie where they are said to, figures are those of the map, bars tell the truth."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.ndimage import binary_dilation

from meddiff import anomaly_cases, bench_anomaly, models, thresholds
from meddiff.anomaly_cases import BRIGHTER, CONTRASTS, NEAR, PERSONS, SHAPES, SMALLEST, Case
from meddiff.bench_anomaly import bars, judge, winner
from meddiff.card import Card
from meddiff.detection import Detection
from meddiff.errors import BadInput
from meddiff.networks import build
from meddiff.volume import Volume, read, write

Run = Callable[..., tuple[int, str, str]]

SHAPE = (16, 48, 40)
LPS = ((1.0, 1.0, 1.0), (0.0, 0.0, 0.0), (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0))


def ball(z: float, y: float, x: float, radius: float) -> np.ndarray:
    k, j, i = np.ogrid[: SHAPE[0], : SHAPE[1], : SHAPE[2]]
    return (k - z) ** 2 + (j - y) ** 2 + (i - x) ** 2 < radius**2


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A person of each split with one lesion of the raters on the left, and patients with lesions on the right."""
    random = np.random.default_rng(0)
    brain, lesion = ball(8, 24, 20, 18) & (np.arange(SHAPE[0]) % 15 > 0)[:, None, None], ball(8, 24, 9, 3)
    rows = ["file,split"]
    for split, person in PERSONS.items():
        (tmp_path / person).parent.mkdir(exist_ok=True)
        for contrast in CONTRASTS:
            tissue = 600 + 10 * random.standard_normal(SHAPE)
            array = brain * tissue * np.where(lesion, 1.6 if BRIGHTER[contrast] else 0.6, 1)
            write(Volume(array.astype(np.float32), *LPS), tmp_path / f"{person}_{contrast}.nii.gz")
        write(Volume(lesion.astype(np.uint8), *LPS), tmp_path / f"{person}_lesions.nii.gz")
        for number in (1, 2) if split == "test" else (3,):
            name = f"{SHAPES}/patient{number:02d}_lesions.nii.gz"
            (tmp_path / name).parent.mkdir(exist_ok=True)
            shape = ball(8, 20 + 3 * number, 26, 4) | ball(8, 24, 12, 2) | ball(8, 24, 38, 2)  # far, near and outside
            write(Volume(shape.astype(np.uint8), *LPS), tmp_path / name)
            rows.append(f"{name},{split}")
    (tmp_path / "manifest.csv").write_text("\n".join(rows) + "\n")
    return tmp_path


@pytest.mark.parametrize("contrast", CONTRASTS)
def test_painted_lesions_are_where_they_are_said_to_be(data: Path, contrast: str) -> None:
    case = anomaly_cases.simulated(data, contrast, count=6)
    assert case.volume.shape == (6, *SHAPE[1:]) and str(case) == f"{contrast} simulated"
    original = read(data / f"{PERSONS['test']}_{contrast}.nii.gz").array
    rows = [row for _, row in anomaly_cases._chosen(data, "test", 6)]
    change = case.volume.array - original[rows]
    assert not (case.truth & case.left_out).any() and (case.truth.sum((1, 2)) >= SMALLEST).all()
    assert np.abs(change[~binary_dilation(case.truth, np.ones((1, 9, 9)))]).max() < 1
    assert (np.sign(change[case.truth].mean()) > 0) == BRIGHTER[contrast]
    again = anomaly_cases.simulated(data, contrast, count=6)
    assert np.array_equal(again.volume.array, case.volume.array)
    raters = read(data / f"{PERSONS['test']}_lesions.nii.gz").array > 0
    assert case.left_out[raters[rows]].all() and not case.counted[raters[rows]].any()
    assert not case.healthy[binary_dilation(case.truth, np.ones((1, 3, 3)))].any()


def test_the_same_slices_in_every_contrast_and_as_many_of_each_patient(data: Path) -> None:
    chosen = anomaly_cases._chosen(data, "test", 6)
    assert [name for name, _ in chosen] == [f"{SHAPES}/patient0{k}_lesions.nii.gz" for k in (1, 1, 1, 2, 2, 2)]
    assert {name for name, _ in anomaly_cases._chosen(data, "train", 2)} == {f"{SHAPES}/patient03_lesions.nii.gz"}
    truths = [anomaly_cases.simulated(data, contrast, count=6).truth for contrast in CONTRASTS]
    assert all(np.array_equal(truth, truths[0]) for truth in truths)


def test_a_patient_is_every_slice_of_the_brain(data: Path) -> None:
    case = anomaly_cases.patient(data, "T2")
    original = read(data / f"{PERSONS['test']}_T2.nii.gz")
    filled = (original.array > 0).mean((1, 2)) > anomaly_cases.BRAIN
    assert np.array_equal(case.volume.array, original.array[filled]) and case.truth.sum() == ball(8, 24, 9, 3).sum()
    assert case.volume.origin[2] == np.flatnonzero(filled)[0] and not case.left_out.any()
    assert not case.healthy[case.truth].any() and case.healthy.sum() > case.counted.sum() / 2
    half = anomaly_cases.patient(data, "T2", step=2)
    assert half.volume.spacing == (1, 1, 2) and half.volume.shape[0] == -(-case.volume.shape[0] // 2)
    assert np.array_equal(half.truth, case.truth[::2])
    assert NEAR > 3  # what a lesion's soft edge reaches


def test_data_that_are_not_there_are_named(data: Path, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"patient07_T1\.nii\.gz is missing"):
        anomaly_cases.patient(tmp_path / "nowhere", "T1")
    (data / "manifest.csv").write_text("file,split\n")
    anomaly_cases.shapes.cache_clear()
    with pytest.raises(BadInput, match="expected lesions to paint"):
        anomaly_cases.shapes(data, "test")
    (data / "manifest.csv").unlink()
    with pytest.raises(BadInput, match=r"manifest\.csv is missing"):
        anomaly_cases.shapes(data, "train")


def finding(case: Case, twin: np.ndarray, anomaly: np.ndarray, lesions: np.ndarray | None = None) -> Detection:
    grid, brain = case.volume.with_array, case.brain
    lesions = anomaly > 0.5 if lesions is None else lesions
    arrays = (grid(twin), grid(anomaly), grid(lesions.astype(np.uint8)), grid(np.zeros_like(twin)), brain)
    return Detection(*arrays, (), 0.5, settings={"smoothing": 0.0})


@pytest.mark.parametrize("contrast", CONTRASTS)
def test_a_perfect_map_gets_the_best_of_every_figure(data: Path, contrast: str) -> None:
    for case in (anomaly_cases.patient(data, contrast), anomaly_cases.simulated(data, contrast, count=4)):
        sign = 1 if BRIGHTER[contrast] else -1
        row = judge(case, finding(case, case.volume.array - sign * 100.0 * case.truth, case.truth.astype(np.float32)))
        perfect = ("auprc", "auroc", "best_dice", "dice", "recall", "recall_at_1", "told_auprc", "told_best_dice")
        assert {row[name] for name in perfect} == {1.0} and row["change_percent"] == 0
        assert row["prevalence"] == pytest.approx(case.truth.sum() / case.counted.sum())
        wrong = judge(case, finding(case, case.volume.array + sign * 100.0 * case.truth, case.truth.astype(np.float32)))
        assert wrong["told_auprc"] == pytest.approx(row["prevalence"]) and wrong["told_auroc"] == pytest.approx(0.5)


def test_a_random_map_is_as_good_as_chance_and_change_is_measured_away_from_lesions(data: Path) -> None:
    case = anomaly_cases.patient(data, "FLAIR")
    noise = np.random.default_rng(0).random(case.truth.shape).astype(np.float32)
    moved = case.volume.array + 5.0 * (case.volume.array > 0) + 500.0 * case.truth
    row = judge(case, finding(case, moved.astype(np.float32), noise))
    assert row["auprc"] == pytest.approx(row["prevalence"], rel=0.3) and row["auroc"] == pytest.approx(0.5, abs=0.05)
    low, high = np.percentile(case.volume.array[case.counted], [0.1, 99.9])
    assert row["change_percent"] == pytest.approx(500 / (high - low), rel=1e-3)
    painted = anomaly_cases.simulated(data, "FLAIR", count=4)
    odd = painted.truth.astype(np.float32) + 2 * painted.left_out  # what is near real lesions does not count
    assert judge(painted, finding(painted, painted.volume.array, odd, odd > 0.5))["auprc"] == 1


def fake(contrast: str, recipe: str, auprc: float, preset: str = "balanced", **more: Any) -> dict[str, Any]:
    about = {"recipe": recipe, "case": f"{contrast} lesions", "preset": preset, "auprc": auprc, "calls": 40}
    return {**about, "change_percent": 1.0, **more}


def test_bars_are_met_and_missed_as_the_rows_say() -> None:
    rows = []
    for contrast, ours, other in (("FLAIR", 0.2, 0.3), ("T2", 0.4, 0.1), ("T1", 0.4, 0.1)):
        rows += [fake(contrast, "denoising-autoencoder", 0.2), fake(contrast, "intensity-threshold", 0.1)]
        rows += [fake(contrast, "counterfactual", ours, change_percent=2.0), fake(contrast, "anoddpm", other)]
        rows += [fake(contrast, "ensemble", 0.9), fake(contrast, "counterfactual", 0.5, "best", calls=100)]
        rows.append(fake(contrast, "counterfactual", 0.495 if contrast == "T1" else 0.5, "fast", calls=10))
    assert winner(rows) == "counterfactual"
    found = {bar["name"]: bar for bar in bars(rows)}
    rates = [bar for name, bar in found.items() if name.startswith("AUPRC of")]
    assert [(bar["value"], bar["target"], bar["met"]) for bar in rates] == [
        (1.0, ">= 1", True),
        (2.0, "> 1", True),
        (2.0, "> 1", True),
    ]
    assert [bar["met"] for name, bar in found.items() if name not in {b["name"] for b in rates}] == [True, True, True]
    assert len(found) == 6
    rows[0]["auprc"], rows[2]["change_percent"], rows[-1]["auprc"], rows[-1]["calls"] = 0.21, 3.5, 0.4, 11
    rows.append({"recipe": "counterfactual", "case": "FLAIR whole volume", "preset": "fast", "seconds": 200.0})
    assert [bar["met"] for bar in bars(rows)] == [False, True, True, False, False, False, False]
    assert bars(rows)[-2]["value"] == pytest.approx(100 / 11, rel=1e-3) and bars(rows)[-1]["value"] == 200


def test_what_was_not_measured_is_no_bar() -> None:
    assert bars([]) == [] and winner([]) is None
    rows = [fake("T1", "anoddpm", 0.3), fake("T1", "denoising-autoencoder", 0.2)]
    assert winner(rows) is None and bars(rows) == []
    rows.append(fake("T1", "intensity-threshold", 0.3))
    assert [(bar["value"], bar["met"]) for bar in bars(rows)] == [(1.0, False)]


@pytest.fixture
def anomaly_model(tiny_card: Card, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A model `tiny-anomaly` of random weights with a denoising autoencoder `tiny-dae` beside it."""
    monkeypatch.setenv("MEDDIFF_MODELS", str(tmp_path / "models"))
    names = ("intensity-threshold", "denoising-autoencoder", "diffusion-contrast", "counterfactual", "latent-healing")
    labels = {"names": list(CONTRASTS), "states": ["healthy", "diseased"], "null": 9}
    network = {"name": "diffusion-unet", "arguments": {**tiny_card.network.arguments, "labels": 10}}
    common = {"task": "anomaly", "labels": labels, "network": network, "healthy": {}}
    dae = {"id": "tiny-dae", "companions": {}, "predicts": "image", "schedule": None, "recipes": {}}
    main = {"id": "tiny-anomaly", "companions": {"denoiser": "tiny-dae"}, "recipes": {name: {} for name in names}}
    random = torch.Generator().manual_seed(0)
    folders = []
    for own in (dae, main):
        card = Card.model_validate({**tiny_card.model_dump(mode="json"), **common, **own})
        state = build(card.network.name, dict(card.network.arguments)).state_dict()
        weights = {name: 0.1 * torch.randn(value.shape, generator=random) for name, value in sorted(state.items())}
        folders.append(models.save(card, weights, tmp_path / "models" / card.id).folder)
    return folders[-1]


def test_the_command_goes_on_where_it_stopped(
    data: Path, anomaly_model: Path, tmp_path: Path, cli: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    cases = bench_anomaly.cases
    monkeypatch.setattr(bench_anomaly, "cases", lambda *given: cases(*given)[:1])
    out, shown = tmp_path / "rows.json", tmp_path / "pictures"
    arguments = ["bench", "anomaly", "--data", data, "--model", "tiny-anomaly", "--quick", "--preset", "fast"]
    arguments += ["--contrast", "T1", "--json", out, "--picture", shown]
    code, _, err = cli(*arguments, "--method", "intensity-threshold")
    assert code == 0, err
    first = json.loads(out.read_text())["rows"]
    assert [row["recipe"] for row in first] == ["intensity-threshold"] and "AUPRC" in err
    code, _, err = cli(*arguments)
    assert code == 0, err
    assert "T1 lesions, intensity-threshold" not in err
    report = json.loads(out.read_text())
    rows = report["rows"]
    # latent-healing needs a companion that this model does not have
    found = {row["recipe"]: row for row in rows}
    assert set(found) == {"intensity-threshold", "denoising-autoencoder", "diffusion-contrast", "counterfactual"}
    assert len(rows) == 4 and found["intensity-threshold"] == first[0]
    assert [found[name]["calls"] for name in ("intensity-threshold", "denoising-autoencoder")] == [0, 1]
    assert all(np.isfinite(row["auprc"]) for row in rows)
    assert (shown / "anomaly-T1.png").is_file() and len(list(shown.glob("*.npz"))) == 4
    assert report["bars"] == bars(rows, "fast") and len(report["bars"]) == 2
    assert "T1 lesions, intensity-threshold" in cli(*arguments, "--again", "--method", "intensity-threshold")[2]
    assert cli(*arguments, "--method", "telepathy")[0] == 2
    out.write_text(json.dumps(report))
    assert cli("train", "quality", anomaly_model, out)[0] == 0
    card = models.load("tiny-anomaly").card
    told = {quality.metric: quality.value for quality in card.quality if quality.dataset == "test split, T1 lesions"}
    assert told["auprc of counterfactual, fast"] == found["counterfactual"]["auprc"] and len(told) == 6


def test_levels_of_healthy_tissue_are_found_and_sealed(data: Path, anomaly_model: Path, cli: Run) -> None:
    arguments = ["train", "thresholds", anomaly_model, "--data", data, "--preset", "fast", "--slices", "9"]
    code, out, err = cli(*arguments, "--method", "intensity-threshold", "--method", "denoising-autoencoder")
    assert code == 0, err
    healthy = models.load("tiny-anomaly").card.healthy
    assert set(healthy) == {"intensity-threshold", "denoising-autoencoder"}
    limits = healthy["intensity-threshold"].limits
    assert set(limits) == set(healthy["intensity-threshold"].levels) == set(CONTRASTS)
    assert all(at["low"] < at["high"] for at in limits.values())
    assert not healthy["denoising-autoencoder"].limits and healthy["denoising-autoencoder"].quantile in (
        thresholds.QUANTILES
    )
    assert "of healthy tissue stays below" in out + err


def test_the_best_quantile_separates_lesions_from_healthy_tissue(data: Path) -> None:
    pairs = []
    for contrast in CONTRASTS:
        for case in (
            anomaly_cases.patient(data, contrast, "train"),
            anomaly_cases.simulated(data, contrast, "train", 4),
        ):
            noise = np.abs(np.random.default_rng(1).standard_normal(case.truth.shape))
            anomaly = np.where(case.volume.array > 0, noise + 3.1 * case.truth, 0).astype(np.float32)
            pairs.append((case, finding(case, case.volume.array, anomaly)))
    quantile, levels = thresholds.choose_levels(pairs)
    assert quantile > 0.97 and set(levels) == set(CONTRASTS)
    case, found = pairs[0]
    assert levels["FLAIR"] == pytest.approx(np.quantile(found.anomaly.array[case.healthy], quantile))
    share = (found.anomaly.array[case.healthy] > levels["FLAIR"]).mean()
    assert share == pytest.approx(1 - quantile, abs=1e-3)
    assert thresholds.overlap(case, found, levels["FLAIR"]) > 0.6
