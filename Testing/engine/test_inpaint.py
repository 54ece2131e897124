"""Inpainting: samples have the mean and variance of the exact conditional, what is seen is left alone, voxel for voxel;
jobs, the verb, and the benchmark of it."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gaussians import SCHEDULES, correlated
from test_bench_anomaly import data as data
from torch import Tensor

from meddiff import anomaly_cases, bench_inpaint, models
from meddiff.bench_inpaint import biharmonic, hidden, measured, steps
from meddiff.card import Card
from meddiff.errors import BadInput, Notice
from meddiff.inpainting import LEAST, segment, window
from meddiff.job import Job, run
from meddiff.models import load
from meddiff.networks import build
from meddiff.noises import gaussian
from meddiff.placing import Placed
from meddiff.recipes.inpaint import Hole
from meddiff.registry import find_recipe
from meddiff.sampling import drain
from meddiff.volume import IDENTITY, Volume, read, same_grid, write

Cli = Callable[..., tuple[int, str, str]]


def conditional(passes: int) -> Tensor:
    """Pixel 1 of a correlated pair of which pixel 0 is seen to be 1.5; 2000 pairs."""
    problem = correlated(torch.tensor([[1.0, 0.8], [0.8, 1.0]], dtype=torch.float64))
    image = torch.tensor([1.5, 99.0], dtype=torch.float64).expand(1, 1, 2000, 2)  # 99: what is hidden does not count
    data, method = Hole(image, torch.tensor([0.0, 1.0], dtype=torch.float64)), find_recipe("repaint")
    settings = method.settings({"steps": 50, "passes": passes, "jump": 5})
    x = drain(method.run(problem.prior(SCHEDULES["cosine"]), data, noise=gaussian(1, 1), **settings))
    assert torch.equal(x[..., 0], image[..., 0])
    return x[..., 1]


def test_resampling_gives_the_conditional_and_one_walk_does_not() -> None:
    mean, std = 0.8 * 1.5, math.sqrt(1 - 0.8**2)
    once, often = conditional(1), conditional(10)
    assert mean - once.mean() > 0.2
    assert often.mean() == pytest.approx(mean, abs=0.1) and often.std() == pytest.approx(std, abs=0.06)
    assert mean - once.mean() > 3 * (mean - often.mean()).abs()


def test_a_path_is_walked_more_than_once_by_default() -> None:
    method = find_recipe("repaint")
    assert all(method.settings({}, preset)["passes"] > 1 for preset in method.presets)


# ---------------------------------------------------------------- jobs


@pytest.fixture
def trained(tiny_card: Card, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small model with random weights that knows healthy and diseased FLAIR and T1."""
    states = {"names": ["FLAIR", "T1"], "states": ["healthy", "diseased"], "null": 6}
    arguments = {**tiny_card.network.arguments, "labels": 7}
    network = tiny_card.network.model_copy(update={"arguments": arguments})
    labels = type(tiny_card.labels).model_validate(states) if tiny_card.labels else None
    card = tiny_card.model_copy(update={"id": "tiny-states", "labels": labels, "network": network, "window": ()})
    g = torch.Generator().manual_seed(0)
    state = build(network.name, dict(arguments)).state_dict()
    weights = {name: 0.2 * torch.randn(value.shape, generator=g) for name, value in sorted(state.items())}
    monkeypatch.setenv("MEDDIFF_MODELS", str(tmp_path / "models"))
    return models.save(card, weights, tmp_path / "models" / "tiny-states").folder


@pytest.fixture
def mask_file(small_volume: Volume, tmp_path: Path) -> Path:
    """A block of two slices within the head of `small_volume`."""
    marked = np.zeros(small_volume.shape, np.uint8)
    marked[1:3, 9:14, 8:12] = 7
    write(small_volume.with_array(marked), tmp_path / "mask.nrrd")
    return tmp_path / "mask.nrrd"


@pytest.fixture
def job(trained: Path, small_file: Path, mask_file: Path, tmp_path: Path) -> Callable[..., Job]:
    def made(inputs: Mapping[str, str] = {}, parameters: Mapping[str, Any] = {}, **options: Any) -> Job:
        files = {"volume": str(small_file), "mask": str(mask_file), **inputs}
        options = {"contrast": "FLAIR", **options}
        settings = {"steps": 4, "passes": 2, "jump": 2, **parameters}
        return Job("repaint", "tiny-states", files, str(tmp_path / "out"), options, settings, device="cpu")

    return made


def test_what_is_seen_is_left_alone_voxel_for_voxel(job: Callable[..., Job], mask_file: Path) -> None:
    result, before, mask = run(job(samples=2)), read(job().inputs["volume"]), read(mask_file).array > 0
    after, other = (read(result.outputs[name]) for name in ("inpainted", "inpainted-2"))
    assert same_grid(after, before)
    for image in (after, other):
        assert np.array_equal(image.array[~mask], before.array[~mask])
        assert (image.array[mask] != before.array[mask]).all()
    spread = read(result.outputs["uncertainty"]).array
    assert not spread[~mask].any()
    difference = np.abs(after.array - other.array)[mask]
    np.testing.assert_allclose(spread[mask], difference / math.sqrt(2), rtol=1e-3, atol=1e-2)
    assert result.figures["volume_mm3"] == pytest.approx(mask.sum() * 3.3)
    again = run(Job.from_json(json.dumps({**result.provenance["job"], "output": job().output + "-again"})))
    assert np.array_equal(read(again.outputs["inpainted"]).array, after.array)


def test_what_is_hidden_does_not_matter(job: Callable[..., Job], mask_file: Path, tmp_path: Path) -> None:
    volume, mask = read(job().inputs["volume"]), read(mask_file).array > 0
    first = read(run(job()).outputs["inpainted"]).array
    write(volume.with_array(np.where(mask, 5000, volume.array).astype(np.float32)), tmp_path / "spoilt.nrrd")
    assert np.array_equal(read(run(job({"volume": str(tmp_path / "spoilt.nrrd")})).outputs["inpainted"]).array, first)


def test_what_is_put_there_and_the_seed_decide(job: Callable[..., Job]) -> None:
    made = {put: read(run(job(put=put)).outputs["inpainted"]).array for put in ("healthy", "lesion", "anything")}
    assert len({array.tobytes() for array in made.values()}) == 3


def test_a_segment_grows_by_millimetres(small_volume: Volume) -> None:
    marked = np.zeros(small_volume.shape)
    marked[2, 12, 10] = 1
    grown = segment(small_volume.with_array(marked), small_volume, 2.2).array  # voxels of 1.0, 1.1 and 3.0 mm
    assert grown[2, 12, 8:13].all() and grown[2, 10:15, 10].all() and grown.sum() == 13 and not grown[1].any()


def test_the_window_holds_the_segment_and_what_is_around_it(trained: Path) -> None:
    volume = Volume(np.random.default_rng(0).random((3, 200, 180)), (1.0, 1.0, 1.0), (0, 0, 0), IDENTITY)
    placed, hole = Placed.of((volume,), load(trained, "cpu", "fp32")), np.zeros(volume.shape, bool)
    hole[1, 100:110, 2:6] = hole[2, 120, 4] = True
    rows, columns = window(hole, placed)
    assert (rows.start, rows.stop) == (63, 159) and (columns.start, columns.stop) == (0, LEAST)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"put": "healthy", "contrast": None}, "what does the image show. expected a contrast: FLAIR, T1"),
        ({"put": "tumour"}, "unknown put 'tumour'"),
        ({"contrast": "PD"}, "unknown label 'PD'"),
    ],
)
def test_what_the_model_cannot_put_there(job: Callable[..., Job], change: dict[str, Any], sentence: str) -> None:
    with pytest.raises(BadInput, match=sentence):
        run(job(**change))


def test_a_model_without_states_paints_anything(job: Callable[..., Job], tiny_model: Path, mask_file: Path) -> None:
    told = {**job().__dict__, "model": str(tiny_model)}
    with pytest.raises(BadInput, match="tiny-brain does not know what is healthy"):
        run(Job(**told))
    assert run(Job(**{**told, "options": {"put": "anything"}})).figures["volume_mm3"] > 0


@pytest.mark.parametrize(
    ("value", "shift", "sentence"),
    [(0, 0.0, "the segment is empty"), (1, 0.0, "the segment is the whole volume"), (1, 900.0, "lies elsewhere")],
)
def test_segments_that_cannot_be_painted(
    job: Callable[..., Job], small_volume: Volume, tmp_path: Path, value: int, shift: float, sentence: str
) -> None:
    x, y, z = small_volume.origin
    array = np.full(small_volume.shape, value, np.uint8)
    write(Volume(array, small_volume.spacing, (x + shift, y, z), small_volume.direction), tmp_path / "odd.nrrd")
    with pytest.raises(BadInput, match=sentence):
        run(job({"mask": str(tmp_path / "odd.nrrd")}))


def test_a_segment_on_another_grid(job: Callable[..., Job], small_volume: Volume, tmp_path: Path) -> None:
    marked = np.zeros(small_volume.shape, np.uint8)
    marked[1:3, 9:14, 8:12] = 1
    part = Volume(marked[:, :-3], small_volume.spacing, small_volume.origin, small_volume.direction)
    first = read(run(job()).outputs["inpainted"]).array
    write(part, tmp_path / "part.nrrd")
    with pytest.warns(Notice, match="of another grid than the volume"):
        assert np.array_equal(read(run(job({"mask": str(tmp_path / "part.nrrd")})).outputs["inpainted"]).array, first)


def test_the_command_line(job: Callable[..., Job], mask_file: Path, tmp_path: Path, cli: Cli) -> None:
    fast = ("--set", "steps=3", "--set", "passes=2", "--model", "tiny-states", "--device", "cpu")
    image = job().inputs["volume"]
    code, out, err = cli(
        "inpaint", image, mask_file, "-o", tmp_path / "cli", "--contrast", "T1", "--put", "lesion", *fast
    )
    assert code == 0 and "cm3 were painted over" in out, err
    code, _, err = cli("inpaint", image, mask_file, "-o", tmp_path / "bad", *fast)
    assert code == 2 and "what does the image show" in err and not (tmp_path / "bad").exists()


# ---------------------------------------------------------------- the benchmark


def test_a_seam_is_a_step_that_was_not_there() -> None:
    y, x = np.mgrid[:20, :24]
    smooth = (3.0 * x + 2.0 * y)[None]
    hole = np.zeros(smooth.shape, bool)
    hole[0, 6:14, 8:15] = True
    assert steps(smooth, hole) == pytest.approx((2 * 8 * 3 + 2 * 7 * 2) / (2 * (8 + 7)))
    row = measured(np.stack([smooth, smooth + 10 * hole]), smooth, hole)
    assert row["seam"] == 1 and row["psnr_sample"] > 100
    assert row["psnr"] == pytest.approx(20 * math.log10(np.quantile(smooth[smooth > 0], 0.999) / 5))
    np.testing.assert_allclose(biharmonic(smooth[0], hole[0]), smooth[0], atol=0.5)  # a plane is biharmonic


def test_the_benchmark(trained: Path, data: Path, cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench_inpaint, "CONTRASTS", ("FLAIR", "T1"))
    brief = (bench_inpaint.ENTRIES[0], bench_inpaint.Entry("repaint", "balanced", 2, 1))
    monkeypatch.setattr(bench_inpaint, "ENTRIES", brief)
    case, before = (f(data, "FLAIR", "test", 4) for f in (anomaly_cases.simulated, anomaly_cases.unpainted))
    holes = hidden(case).array
    assert holes[case.truth].all() and np.abs(case.volume.array - before)[~holes].max() < 40
    about = ("--data", data, "--model", trained, "--quick", "--device", "cpu", "--json", tmp_path / "inpaint.json")
    code, _, err = cli("bench", "inpaint", *about)
    assert code == 0, err
    told = json.loads((tmp_path / "inpaint.json").read_text())
    assert [row["recipe"] for row in told["rows"]] == ["biharmonic", "repaint"] * 2
    assert len(told["bars"]) == 4 and all(set(bar) == {"name", "value", "target", "met"} for bar in told["bars"])
