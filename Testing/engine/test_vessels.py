"""Vessels without a label: what is drawn obeys its laws, DARL learns from it in one piece, and reads in one pass."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from scipy import ndimage

from meddiff import bench_vessels
from meddiff.angiograms import angiogram, background
from meddiff.errors import BadInput, Notice
from meddiff.job import Job, run
from meddiff.models import load
from meddiff.networks import build
from meddiff.networks.darl import Darl
from meddiff.registry import find_recipe
from meddiff.sampling import drain
from meddiff.segmentation import played, segment
from meddiff.training.adversaries import TAUGHT, Critic, Taught
from meddiff.training.case_plans import VesselPlan
from meddiff.training.export import CARDS, export
from meddiff.training.fit import averaged_weights, fit
from meddiff.training.kinds import lesson, prepare
from meddiff.training.plan import PLANS, read_plan
from meddiff.training.vessels import VesselCache, VesselLesson, softened
from meddiff.vesselness import Frangi, tuned
from meddiff.vessels import COVERED, Tube, depth, fractal, grown
from meddiff.volume import Volume, read, same_grid, write

Cli = Callable[..., tuple[int, str, str]]
SIZE = (64, 64)
SMALL = {"widths": [8, 8], "generator_widths": [8, 16], "groups": 4, "head_channels": 8, "hidden": 4}


def straight(radius: float = 3.0) -> Tube:
    """Along the row 31.5."""
    x = np.arange(-10, 75, 0.5)
    return Tube(np.stack([np.full_like(x, 31.5), x], -1), np.full_like(x, radius))


def plan(**changes: Any) -> VesselPlan:
    """The plan of the package, made small."""
    told = json.loads((PLANS / "vessel-darl.json").read_text())
    told["network"]["arguments"] |= SMALL
    told |= {"angiograms": [{"phantoms": 6}], "backgrounds": [{"phantoms": 5}], "masks": 4, "size": SIZE}
    told["training"] |= {"crop": [32, 32], "batch": 2, "steps": 12, "warmup": 2, "ema": 0.9, "critic_widths": [8, 8]}
    told["training"] |= changes.pop("training", {})
    return VesselPlan.model_validate({**told, **changes})


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the cache, the checkpoint of a moment's training, and the model."""
    folder = tmp_path_factory.mktemp("darl")
    assert prepare(plan(), folder, folder / "cache.safetensors", lambda _: None) == "11 frames"
    list(fit(lesson(folder / "cache.safetensors"), folder / "run" / "checkpoint.pt"))
    export(folder / "run" / "checkpoint.pt", folder / "vessel-darl", device="CPU", command="meddiff train fit")
    return folder


# --- what is drawn ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(64, 64), (128, 96), (16, 16)])
def test_fractals_are_seeded_connected_and_cover_what_vessels_do(size: tuple[int, int]) -> None:
    seen = [fractal(size, seed) for seed in range(12)]
    assert all(mask.shape == size and mask.dtype == bool for mask in seen)
    assert all(COVERED[0] <= mask.mean() <= COVERED[1] for mask in seen)
    assert all(ndimage.label(mask, np.ones((3, 3)))[1] == 1 for mask in seen)
    assert np.array_equal(fractal(size, 3), seen[3])
    assert len({mask.tobytes() for mask in seen}) == len(seen)
    with pytest.raises(BadInput, match="a fractal mask of 8 x 64 pixels"):
        fractal((8, 64), 0)


def test_the_depth_of_a_round_tube_is_its_chord() -> None:
    found = depth([straight()], SIZE)
    chord = 2 * np.sqrt(np.maximum(9 - (np.arange(64) - 31.5) ** 2, 0))
    assert np.abs(found - chord[:, None]).max() < 0.25 * chord.max()  # between two points of the centre line
    np.testing.assert_allclose(found.max(1), chord, atol=0.03)
    across = Tube(straight().points[:, ::-1], straight().radii)
    np.testing.assert_allclose(depth([straight(), across], SIZE), found + found.T, atol=1e-9)
    assert not depth([], SIZE).any() and not depth([Tube(straight().points + 500, straight().radii)], SIZE).any()


def test_phantoms_obey_the_law_of_beer_and_lambert() -> None:
    lost, told = [], []
    for seed in range(6):
        whole, without = angiogram((96, 96), seed), angiogram((96, 96), seed, vessels=False)
        assert not without.vessels.any() and np.array_equal(whole.background, without.background)
        assert np.array_equal(whole.vessels, depth(grown((96, 96), seed), (96, 96)) > 0)
        assert np.array_equal(whole.vessels, whole.attenuation > 0)
        assert whole.image.min() >= 0 and whole.background.max() <= 1
        assert np.array_equal(whole.image, angiogram((96, 96), seed).image)
        wide = ndimage.binary_erosion(whole.vessels, iterations=2)  # where the blur hardly reaches
        lost.append(np.log(without.image[wide] / whole.image[wide]))
        told.append(whole.attenuation[wide])
    slope, offset = np.polyfit(np.concatenate(told), np.concatenate(lost), 1)
    assert slope == pytest.approx(1, abs=0.1) and offset == pytest.approx(0, abs=0.04)
    assert not np.array_equal(background(SIZE, 0), background(SIZE, 1))


# --- Frangi's filter --------------------------------------------------------------------------------------------------


def test_frangis_filter_finds_a_dark_tube_on_any_ground() -> None:
    truth = depth([straight()], SIZE) > 0
    ground = np.linspace(200, 1000, 64)[None] * np.ones((64, 1))
    image = ground * np.exp(-0.1 * depth([straight()], SIZE))
    found = Frangi((2.0, 3.0), 1.0, 0.05)(image)
    assert 2 * (found & truth).sum() / (found.sum() + truth.sum()) > 0.8
    assert not Frangi()(ground / np.exp(-0.1 * depth([straight()], SIZE)))[31:33, 8:-8].any()  # a bright one is none
    best = tuned([(image, truth)])
    again = best(image)
    assert 2 * (again & truth).sum() / (again.sum() + truth.sum()) > 0.9
    with pytest.raises(BadInput, match="finite intensities, 0 or more"):
        Frangi()(-image)


# --- the network ------------------------------------------------------------------------------------------------------


@torch.no_grad()
def test_without_a_mask_spade_is_the_unconditional_path() -> None:
    torch.manual_seed(0)
    whole, alone = (build("darl", {**SMALL, "spade": spade}) for spade in (True, False))
    assert isinstance(whole, Darl) and isinstance(alone, Darl)
    alone.load_state_dict({name: whole.state_dict()[name] for name in alone.state_dict()})
    assert len(alone.state_dict()) < len(whole.state_dict())
    for size in ((32, 32), (17, 30)):
        x, eps, mask = torch.randn(2, 1, *size), torch.randn(2, 1, *size), torch.zeros(2, 1, *size)
        read = whole.read(x, eps)
        assert read.shape == x.shape and torch.equal(read, alone.read(x, eps))
        assert not torch.allclose(whole.read(x, eps, mask), read)  # an empty mask is a mask
        mask[..., 4:9] = 1
        assert not torch.allclose(whole.read(x, eps, mask), whole.read(x, eps, torch.zeros_like(mask)))
        assert alone(x, 3.0).shape == x.shape
    with pytest.raises(BadInput, match="without SPADE layers"):
        alone.read(x, eps, mask)
    with pytest.raises(Exception, match="3 classes; expected 2"):
        build("darl", {**SMALL, "classes": 3})


def test_the_shipped_plan_and_card_agree() -> None:
    told, about = read_plan("vessel-darl"), json.loads((CARDS / "vessel-darl.json").read_text())
    assert isinstance(told, VesselPlan)
    assert tuple(each["name"] for each in about["segments"]) == told.segments and list(about["recipes"]) == ["darl"]
    network = build(told.network["name"], told.network["arguments"])
    assert 2 * sum(p.numel() for p in network.parameters()) < 2.2e6  # bytes, as they are shipped
    assert find_recipe("darl").parameters["level"].high >= 0.01


# --- training ---------------------------------------------------------------------------------------------------------


def test_critics_and_what_they_judge_learn_apart() -> None:
    made = torch.randn(2, 1, 32, 32, requires_grad=True)
    network = Taught(torch.nn.Identity(), {"image": Critic((8, 8))})
    network.fooled("image", made).backward()
    assert made.grad is not None and all(p.grad is None for p in network.parameters())
    assert all(p.requires_grad for name, p in network.named_parameters())
    made.grad = None
    network.told_apart("image", torch.randn(2, 1, 32, 32), made).backward()
    assert made.grad is None and all(p.grad is not None for p in network.parameters())


def test_nothing_can_be_hidden_in_the_finest_pattern() -> None:
    y, x = np.mgrid[:16, :16]
    board = torch.from_numpy((-1.0) ** (x + y))[None, None]
    assert softened(board)[..., 1:-1, 1:-1].abs().max() < 1e-12
    assert torch.equal(softened(torch.ones_like(board)), torch.ones_like(board))


def test_batches_repeat_and_nobody_is_in_both_kinds(trained: Path) -> None:
    cache = VesselCache(trained / "cache.safetensors")
    first, again, other = cache.batch(3, 5), cache.batch(3, 5), cache.batch(4, 5)
    for a, b in zip(first, again, strict=True):
        assert all(torch.equal(p, q) for p, q in zip(a, b, strict=True))
    assert not torch.equal(first.angiograms, other.angiograms)
    assert first.angiograms.shape == first.masks.shape == first.contrast.shape == (5, 1, 32, 32)
    assert set(first.masks.unique().tolist()) <= {0.0, 1.0} and first.contrast.min() > 0
    assert not {row["key"] for row in cache.rows if row["key"].startswith("angio")} & {"masks"}
    assert {row["file"] for row in cache.rows} == {"phantoms"}


def test_a_run_that_was_interrupted_ends_where_the_whole_one_does(trained: Path, tmp_path: Path) -> None:
    learnt, broken = lesson(trained / "cache.safetensors"), tmp_path / "checkpoint.pt"
    for _ in range(2):
        count = 0

        def tired() -> bool:
            return count >= 5  # noqa: B023 - read while this run lasts

        for _ in fit(learnt, broken, should_stop=tired):
            count += 1
    list(fit(learnt, broken))
    whole, parts = (averaged_weights(p)[0] for p in (trained / "run" / "checkpoint.pt", broken))
    assert whole.keys() == parts.keys() and all(torch.equal(whole[name], parts[name]) for name in whole)


def test_every_part_learns(trained: Path) -> None:
    learnt = lesson(trained / "cache.safetensors")
    assert isinstance(learnt, VesselLesson)
    torch.manual_seed(0)
    network = learnt.build()
    with torch.no_grad():
        for weight in network.parameters():  # some begin at zero, and hide what comes before
            weight += 0.05 * torch.randn_like(weight)
    learnt.loss(network, 0, torch.device("cpu")).backward()
    assert not [name for name, p in network.named_parameters() if p.grad is None or not p.grad.any()]
    groups = learnt.groups(network)
    assert sum(len(g["params"]) for g in groups) == len(list(network.parameters()))


def test_only_what_reads_is_shipped(trained: Path) -> None:
    weights, _ = averaged_weights(trained / "run" / "checkpoint.pt")
    model = load(trained / "vessel-darl", "cpu", "fp32")
    network = model.network.network  # type: ignore[attr-defined]
    assert isinstance(network, Darl)
    for name, value in network.state_dict().items():
        torch.testing.assert_close(value, weights[TAUGHT + name].half().float())
    assert any("spade" in name for name in weights) and not any("spade" in name for name in network.state_dict())


def test_frames_of_ones_own(tmp_path: Path) -> None:
    rows = ["file,split"]
    for kind, size in {"angiograms": (40, 50), "backgrounds": (36, 44)}.items():
        (tmp_path / kind).mkdir()
        for k, split in enumerate(("train", "train", "test")):
            frame = angiogram(size, k, vessels=kind == "angiograms").image
            image = sitk.GetImageFromArray((frame / 4).clip(0, 255).astype(np.uint8))
            sitk.WriteImage(image, str(tmp_path / kind / f"{k}.png"))
            rows.append(f"{kind}/{k}.png,{split}")
    (tmp_path / "manifest.csv").write_text("\n".join(rows))
    sources = {kind: [{"files": f"{kind}/*.png"}] for kind in ("angiograms", "backgrounds")}
    cache = tmp_path / "cache.safetensors"
    assert prepare(plan(**sources), tmp_path, cache, lambda _: None) == "4 frames"
    assert VesselCache(cache).batch(0).backgrounds.shape == (2, 1, 32, 32)
    assert {row["file"] for row in VesselCache(cache).rows} == {
        f"{kind}/{k}.png" for kind in ("angiograms", "backgrounds") for k in (0, 1)
    }
    with pytest.raises(BadInput, match="44 x 36 pixels; expected 38 x 38 or more"):
        prepare(plan(**sources, training={"crop": [38, 38]}), tmp_path, cache, lambda _: None)
    sources["backgrounds"] = [{"files": "nowhere/*.png"}]
    with pytest.raises(BadInput, match="no backgrounds of the split 'train'"):
        prepare(plan(**sources), tmp_path, cache, lambda _: None)
    with pytest.raises(ValueError, match="either files or a number of phantoms"):
        plan(angiograms=[{}])


# --- what comes out ---------------------------------------------------------------------------------------------------


@pytest.fixture
def frames() -> Volume:
    """Three frames as a volume, on an oblique grid."""
    stack = np.stack([angiogram((40, 52), k).image for k in range(3)])
    c, s = np.cos(0.3), np.sin(0.3)
    return Volume(stack, (0.3, 0.3, 5.0), (10.0, -20.0, 30.0), (c, -s, 0, s, c, 0, 0, 0, 1))


def test_one_call_of_each_network_a_frame_and_sample(trained: Path, frames: Volume, monkeypatch: Any) -> None:
    model, calls = load(trained / "vessel-darl", "cpu", "fp32"), {"forward": 0, "read": 0}
    network = model.network.network  # type: ignore[attr-defined]
    for name in calls:
        bare = getattr(network, name)

        def counted(x: Any, *rest: Any, name: str = name, bare: Any = bare) -> Any:
            calls[name] += len(x)
            return bare(x, *rest)

        monkeypatch.setattr(network, name, counted)
    with pytest.warns(Notice, match="one sample shows no disagreement"):
        found = drain(segment(frames, model, method="darl", samples=1))
    assert calls == {"forward": 3, "read": 3} and found.calls == 1
    assert same_grid(found.labels, frames, 1e-6) and found.names == ("Vessel",)
    np.testing.assert_array_equal(found.labels.array > 0, found.probability.array > 0.5)


@pytest.mark.filterwarnings("ignore:nothing was found")  # it was trained for a moment
def test_the_same_seed_gives_the_same_vessels_and_a_lower_threshold_more(trained: Path, frames: Volume) -> None:
    model = load(trained / "vessel-darl", "cpu", "fp32")

    def found(seed: int = 0, **parameters: float) -> Any:
        return drain(segment(frames, model, method="darl", samples=2, seed=seed, parameters=parameters))

    first = found(level=0.05)
    assert np.array_equal(first.probability.array, found(level=0.05).probability.array)
    assert not np.array_equal(first.probability.array, found(1, level=0.05).probability.array)
    few, many = found(threshold=0.8), found(threshold=0.3)
    assert (few.labels.array <= many.labels.array).all() and few.labels.array.sum() < many.labels.array.sum()


def test_a_job_from_file_to_file(trained: Path, frames: Volume, tmp_path: Path) -> None:
    write(frames, tmp_path / "frames.nrrd")
    job = Job("darl", str(trained / "vessel-darl"), {"volume": str(tmp_path / "frames.nrrd")}, str(tmp_path / "out"))
    result = run(job)
    assert same_grid(read(result.outputs["labels"]), frames, 1e-4)
    assert result.provenance["settings"]["threshold"] == 0.5


def test_other_methods_and_models_are_refused(trained: Path, frames: Volume) -> None:
    model = load(trained / "vessel-darl", "cpu", "fp32")
    with pytest.raises(BadInput, match="choose the method darl"):
        played(model, find_recipe("implicit-ensemble"))
    with pytest.raises(BadInput, match="needs a medsegdiff"):
        played(model, find_recipe("medsegdiff"))
    assert played(model, find_recipe("darl")) is model


def test_the_benchmark(trained: Path, cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench_vessels, "SIZE", SIZE)
    monkeypatch.setattr(bench_vessels, "QUICK", 3)
    arguments = ("--model", trained / "vessel-darl", "--data", tmp_path, "--quick", "--json", tmp_path / "v.json")
    code, _, err = cli("bench", "segment", *arguments)
    assert code == 0, err
    told = json.loads((tmp_path / "v.json").read_text())
    assert [(row["recipe"], row["calls"]) for row in told["rows"]] == [("darl", 1), ("darl", 8), ("frangi", 0)]
    assert all(0 <= row["dice"] <= 1 and row["case"] == "3 test phantoms" for row in told["rows"])
    assert told["rows"][2]["dice"] > 0.3 and len(told["bars"]) == 2
    seen = {image.image.tobytes() for split in ("train", "test") for image in bench_vessels.phantoms(split, 3)}
    assert len(seen) == 6
