"""Networks and lessons of registration: any size, nothing moves before it was taught, pairs repeat, Dice rises."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from random_weights import image, random

from meddiff.errors import BadInput
from meddiff.networks import build
from meddiff.networks.morpher import Morpher, OnePassMorpher
from meddiff.prior import Condition
from meddiff.similarity import box, lncc
from meddiff.training.case_plans import PairPlan
from meddiff.training.fit import averaged_weights, fit
from meddiff.training.kinds import MORPHERS, lesson, prepare
from meddiff.training.morph import PairCache, Pairs
from meddiff.training.plan import read_plan
from meddiff.training.segment import dice_loss
from meddiff.volume import Volume, write
from meddiff.warp import exponential, folds, resized, warp

SIZES = [(13, 21), (16, 16), (9, 11, 7), (8, 16, 8)]
SMALL = {"widths": (8, 16), "groups": 4}
LPS = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)


def one_pass(dims: int, **more: Any) -> OnePassMorpher:
    torch.manual_seed(0)
    network = build("one-pass-morpher", {"spatial_dims": dims, **SMALL, **more})
    assert isinstance(network, OnePassMorpher)
    return network


def morpher(dims: int) -> Morpher:
    torch.manual_seed(0)
    network = build("morpher", {"spatial_dims": dims, "denoiser_widths": (8, 16), **SMALL})
    assert isinstance(network, Morpher)
    return network


@pytest.mark.parametrize("size", SIZES)
@torch.no_grad()
def test_a_velocity_has_the_size_of_its_images_and_starts_at_zero(size: tuple[int, ...]) -> None:
    network, a, b = one_pass(len(size)), image(2, 1, *size), image(2, 1, *size, seed=1)
    assert network.deform(a, b).abs().max() == 0
    random(network)
    v = network.deform(a, b)
    assert v.shape == (2, len(size), *size) and v.std() > 1e-3
    torch.testing.assert_close(network(a, 0.0, Condition(concat=b)), v)
    assert (network.deform(b, a) - v).abs().max() > 1e-3
    torch.testing.assert_close(network.deform(a[:1], b[:1]), v[:1], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("size", SIZES)
@torch.no_grad()
def test_the_denoiser_sees_both_images_and_its_time(size: tuple[int, ...]) -> None:
    network = random(morpher(len(size)))
    assert isinstance(network, Morpher)
    x, both = image(2, 1, *size), Condition(concat=image(2, 2, *size, seed=1))
    eps = network(x, 3.0, both)
    assert eps.shape == x.shape
    for channel in range(2):
        other = image(2, 2, *size, seed=1)
        other[:, channel] += image(2, *size, seed=2)
        assert (network(x, 3.0, Condition(concat=other)) - eps).abs().max() > 1e-3
    assert (network(x, 900.0, both) - eps).abs().max() > 1e-4


def test_the_baseline_is_the_deformation_network_itself() -> None:
    ours, baseline = morpher(3).deform.state_dict(), one_pass(3).deform.state_dict()
    assert {name: value.shape for name, value in ours.items()} == {n: v.shape for n, v in baseline.items()}
    plans = [read_plan(name).model_dump() for name in ("hippocampus-morph", "hippocampus-voxelmorph")]
    for key in ("images", "training", "intensity", "segments", "seed"):
        assert plans[0][key] == plans[1][key]
    for key, value in plans[1]["network"]["arguments"].items():
        assert plans[0]["network"]["arguments"][key] == value


def test_shares_that_agree_lose_nothing() -> None:
    t = (image(2, 2, 5, 6, 7) > 0).float()
    assert float(dice_loss(t, t)) == pytest.approx(0, abs=1e-6)
    a, b = torch.zeros(1, 1, 10), torch.zeros(1, 1, 10)
    a[..., :4], b[..., 2:6] = 1, 1
    assert float(dice_loss(a, b)) == pytest.approx(1 - (2 * 2 + 1) / (4 + 4 + 1))


# --- lessons ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six cases of one texture, with a ball of two halves in it, each bent in another way."""
    folder, rows = tmp_path_factory.mktemp("data"), ["file,split"]
    size = (16, 20, 16)
    for part in ("images", "labels"):
        (folder / "hippocampus" / part).mkdir(parents=True)
    texture = box(box(image(1, 1, *size), 3), 3)
    z, y, x = np.ogrid[-1:1:16j, -1:1:20j, -1:1:16j]
    labels = torch.from_numpy((z**2 + y**2 + x**2 < 0.5) * np.where(y > 0, 1.0, 2.0))[None, None]
    for number in range(6):
        u = resized(image(1, 3, 4, 5, 4, seed=number + 1) / 3, size)
        grid = Volume(warp(labels, u, "nearest")[0, 0].byte().numpy(), (1.0, 1.0, 1.0), (0.0, 0.0, 0.0), LPS)
        bright = warp(300 * texture / texture.std() + 1500 * (labels > 0).float(), u)[0, 0].numpy()
        for part, volume in (("images", grid.with_array(bright)), ("labels", grid)):
            write(volume, folder / "hippocampus" / part / f"case_{number}.nii.gz")
            rows.append(f"hippocampus/{part}/case_{number}.nii.gz,train")
    (folder / "manifest.csv").write_text("\n".join(rows))
    return folder


def small(name: str, **training: Any) -> PairPlan:
    told = json.loads(read_plan(name).model_dump_json())
    told["network"]["arguments"] |= {"widths": [8, 16], "groups": 4}
    if "denoiser_widths" in told["network"]["arguments"]:
        told["network"]["arguments"]["denoiser_widths"] = [8, 8]
    told["training"] |= {"crop": [12, 16, 12], "steps": 60, "warmup": 5, "learning_rate": 3e-3, "ema": 0.9, **training}
    return PairPlan.model_validate({**told, "start_from": ""})


@pytest.fixture(scope="module")
def cached(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    @cache
    def make(name: str, **training: Any) -> Path:
        path = tmp_path_factory.mktemp("cache") / "cache.safetensors"
        assert prepare(small(name, **training), data, path, lambda _: None) == "6 cases"
        return path

    return make


def test_pairs_repeat_and_segments_lie_where_the_image_is_bright(cached: Callable[..., Path]) -> None:
    pairs = PairCache(cached("hippocampus-voxelmorph", dice_weight=1.0))
    first, again, other = pairs.batch(3), pairs.batch(3), pairs.batch(4)
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not torch.equal(first.moving, other.moving) and not torch.equal(first.moving, first.fixed)
    assert first.moving.shape == (2, 1, 12, 16, 12) and first.moving_segments.shape == (2, 2, 12, 16, 12)
    many = pairs.batch(0, 8)
    for shown, segments in ((many.moving, many.moving_segments), (many.fixed, many.fixed_segments)):
        inside = segments.sum(1, keepdim=True) > 0.5
        assert shown[inside].mean() > shown[~inside].mean() + 0.5
    assert sorted((many.uniform * 8).long().tolist()) == list(range(8))


def test_no_label_is_looked_at_unless_its_dice_counts(cached: Callable[..., Path]) -> None:
    batch = PairCache(cached("hippocampus-voxelmorph")).batch(0)
    assert batch.moving_segments.numel() == 0 == batch.fixed_segments.numel()


@pytest.mark.parametrize("name", ["hippocampus-morph", "hippocampus-voxelmorph"])
def test_a_lesson_makes_images_alike(name: str, cached: Callable[..., Path], tmp_path: Path) -> None:
    taught = MORPHERS[name.split("-")[1]](PairCache(cached(name), slice(0, 2)))
    assert isinstance(taught, Pairs)
    assert len(list(fit(taught, tmp_path / "checkpoint.pt"))) == 60
    network = build(taught.plan.network["name"], taught.plan.network["arguments"])
    network.load_state_dict(averaged_weights(tmp_path / "checkpoint.pt")[0])
    assert isinstance(network, Morpher | OnePassMorpher)
    with torch.no_grad():
        batch = taught.cache.batch(100, 8)
        other = batch.fixed
        if isinstance(network, Morpher):
            both = Condition(concat=torch.cat([batch.moving, batch.fixed], 1))
            other = network(other, taught.schedule.levels[0].time, both)
        u = exponential(network.deform(batch.moving, other))
    assert lncc(warp(batch.moving, u), batch.fixed) < 0.98 * lncc(batch.moving, batch.fixed)
    assert folds(u) == 0 and u.abs().max() > 0.3


def test_a_run_that_was_interrupted_ends_where_the_whole_one_does(cached: Callable[..., Path], tmp_path: Path) -> None:
    path = cached("hippocampus-morph")
    list(fit(lesson(path), tmp_path / "whole.pt"))
    done = iter([False, False, True])
    assert len(list(fit(lesson(path), tmp_path / "half.pt", should_stop=lambda: next(done)))) == 2
    list(fit(lesson(path), tmp_path / "half.pt"))
    whole, half = (averaged_weights(tmp_path / name)[0] for name in ("whole.pt", "half.pt"))
    assert all(torch.equal(value, half[key]) for key, value in whole.items())


def test_a_file_that_is_no_cache_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.safetensors").write_bytes(b"nothing")
    with pytest.raises(BadInput, match="not a cache"):
        PairCache(tmp_path / "x.safetensors")
