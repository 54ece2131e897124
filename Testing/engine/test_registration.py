"""Registration of volumes: known maps are found, transforms hold between the original grids, and what may go wrong."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy import ndimage

from meddiff import bench_register, models, registration
from meddiff.alignment import frame
from meddiff.bench_register import PAIRS, bent, draw
from meddiff.card import Card
from meddiff.errors import BadInput, Notice
from meddiff.job import Job, run
from meddiff.models import Model, load
from meddiff.networks import build
from meddiff.registration import Registration, register
from meddiff.sampling import drain
from meddiff.task_register import carry, linear, overlaps
from meddiff.training.plan import PLANS
from meddiff.vectors import Vectors, read_vectors
from meddiff.volume import Volume, read, write
from meddiff.warp import exponential, resized

Cli = Callable[..., tuple[int, str, str]]
CARDS = PLANS.parent / "cards"
MOVED = np.array([[1.04, 0.06, 0.02, 1.5], [-0.05, 0.97, 0.03, -1.0], [0.0, -0.04, 1.02, 0.8], [0, 0, 0, 1]])


def turned(degrees: float) -> tuple[float, ...]:
    """An oblique direction: about z, and half as much about x."""
    a, b = np.radians([degrees, degrees / 2])
    z = np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]])
    x = np.array([[1, 0, 0], [0, np.cos(b), -np.sin(b)], [0, np.sin(b), np.cos(b)]])
    return tuple((z @ x).ravel())


BODY = (10, 13, 9)  # mm, of an ellipsoid


def inside(points: NDArray[np.floating]) -> NDArray[np.bool_]:
    return np.linalg.norm(points / BODY, axis=-1) < 1


def scene(points: NDArray[np.floating]) -> NDArray[np.floating]:
    """The intensity of a made-up body at points (..., 3) in mm: an ellipsoid with blobs in it, nothing around it."""
    g = np.random.default_rng(3)
    found = np.full(points.shape[:-1], 40.0)
    for _ in range(30):
        centre, size = g.uniform(-1, 1, 3) * BODY, g.uniform(1.5, 3)
        found = found + g.uniform(20, 60) * np.exp(-np.square(points - centre).sum(-1) / (2 * size**2))
    return found / (1 + np.exp(20 * (np.linalg.norm(points / BODY, axis=-1) - 1)))


Size = tuple[float, float, float]


def picture(shape: tuple[int, int, int], spacing: Size, degrees: float, world: Any = None) -> Volume:
    """The body in a volume around the origin; `world` takes points of the volume to those of the body."""
    direction = turned(degrees)
    half = (np.array(shape[::-1]) - 1) / 2 * spacing
    origin = tuple(-np.reshape(direction, (3, 3)) @ half)
    grid = Volume(np.zeros(shape, np.float32), spacing, origin, direction)
    world = np.eye(4) if world is None else world
    return grid.with_array(scene(places(grid) @ world[:3, :3].T + world[:3, 3]).astype(np.float32))


def places(grid: Volume) -> NDArray[np.floating]:
    """The centres of voxels (Z, Y, X, 3), LPS mm."""
    index = np.stack(np.meshgrid(*map(np.arange, grid.shape), indexing="ij"), -1)
    matrix = frame(grid)
    return index @ matrix[:3, :3].T + matrix[:3, 3]


FIXED = picture((30, 36, 32), (1.0, 1.0, 1.0), 0.0)
OBLIQUE = picture((34, 40, 30), (0.95, 1.05, 1.0), 14.0, np.linalg.inv(MOVED))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the models of the hippocampus, small: `still` moves nothing, `wild` bends at random."""
    found = tmp_path_factory.mktemp("models")
    for id, name, size in (
        ("still", "hippocampus-morph", 0.0),
        ("wild", "hippocampus-morph", 0.4),
        ("wild-voxelmorph", "hippocampus-voxelmorph", 0.4),
    ):
        plan, about = (json.loads((where / f"{name}.json").read_text()) for where in (PLANS, CARDS))
        told = plan["network"]["arguments"]
        told |= {key: [8, 8] for key in told if key.endswith("widths")} | {"groups": 4}
        torch.manual_seed(0)
        network = build(plan["network"]["name"], told)
        for key, weight in network.named_parameters():
            if ".out." in key:  # MONAI begins with zeros
                torch.nn.init.normal_(weight, std=0.3 * size if key.startswith("deform") else 0.3)
        made = {key: plan[key] for key in ("network", "predicts", "intensity", "spacing_mm")}
        training = {"seed": 0, "steps": 1, "seconds": 1.0, "device": "CPU", "command": "none", "code_version": "0"}
        card = {
            **about,
            **made,
            "id": id,
            "schedule": plan.get("schedule"),
            "shape_multiple": 4,
            "window": [32, 40, 40],
        }
        card |= {
            "latent": None,
            "labels": None,
            "training": {**about["training"], **training},
            "quality": [],
            "files": {},
        }
        card |= {"companions": {"baseline": "wild-voxelmorph"}, "files": {}} if "voxel" not in id else {"files": {}}
        models.save(Card.model_validate_json(json.dumps(card)), network.state_dict(), found / id)
    return found


@pytest.fixture
def still(folder: Path) -> Model:
    return load(folder / "still", "cpu", "fp32")


@pytest.fixture
def wild(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Model:
    monkeypatch.setenv("MEDDIFF_MODELS", str(folder))
    return load(folder / "wild", "cpu", "fp32")


def registered(moving: Volume, fixed: Volume, model: Model, **about: Any) -> Registration:
    return drain(register(moving, fixed, model, **{"preset": "fast", **about}))


# ---------------------------------------------------------------- what is found


def test_an_affine_map_is_found_in_mm_across_oblique_grids(still: Model) -> None:
    found = registered(OBLIQUE, FIXED, still)
    points = places(FIXED)[inside(places(FIXED))]
    miss = points + found.displacement.array[inside(places(FIXED))] - (points @ MOVED[:3, :3].T + MOVED[:3, 3])
    before = points - (points @ MOVED[:3, :3].T + MOVED[:3, 3])
    assert np.linalg.norm(before, axis=-1).mean() > 1.5
    assert np.linalg.norm(miss, axis=-1).mean() < 0.35
    assert found.similarity[0] < found.similarity[1] == pytest.approx(found.similarity[2], abs=1e-4)
    assert found.bent_mm == 0 and found.folds == 0
    np.testing.assert_allclose(found.settings["affine"], found.affine, atol=1e-8)


def test_nothing_moves_where_nothing_has_to(still: Model) -> None:
    found = registered(FIXED.with_array(FIXED.array + 0), FIXED, still, align="none")
    assert np.abs(found.displacement.array).max() < 1e-5
    np.testing.assert_allclose(found.warped.array, FIXED.array, atol=1e-3)
    np.testing.assert_allclose(found.jacobian.array, 1, atol=1e-4)
    np.testing.assert_allclose(found.before, np.eye(4), atol=1e-9)


def test_a_given_transform_is_where_it_starts(still: Model) -> None:
    found = registered(OBLIQUE, FIXED, still, initial=MOVED)
    expected = linear(MOVED, FIXED)
    assert found.settings["align"] == "none"
    np.testing.assert_allclose(found.displacement.array, expected.array, atol=1e-4)
    off = np.abs(found.warped.array - FIXED.array)[inside(places(FIXED))]
    assert off.mean() < 0.02 * FIXED.array.max()


@pytest.mark.parametrize("method", ["diffusemorph", "voxelmorph", "ddm-4d", "diffusemorph-synthetic"])
def test_the_way_there_and_back_is_one_transform_between_the_grids(wild: Model, method: str) -> None:
    found = registered(OBLIQUE, FIXED, wild, method=method, parameters={"frames": 3, "again": 1}, align="affine")
    assert found.bent_mm > 0.05 and found.folds == 0 and found.inverse is not None
    there, back = found.displacement, found.inverse
    assert there.array.shape == (*FIXED.shape, 3) and back.array.shape == (*OBLIQUE.shape, 3)
    again = there.resample(OBLIQUE, outside=min(0.0, float(OBLIQUE.array.min())))
    np.testing.assert_allclose(found.warped.array, again.array, atol=1e-4)
    # there, read off between the voxels of the moving image, and back
    landed = places(FIXED) + there.array
    index = (landed - frame(OBLIQUE)[:3, 3]) @ np.linalg.inv(frame(OBLIQUE)[:3, :3]).T
    within = ((index > 2) & (index < np.array(OBLIQUE.shape) - 3)).all(-1)
    home = landed + np.stack(
        [ndimage.map_coordinates(back.array[..., k], np.moveaxis(index, -1, 0), order=1) for k in range(3)], -1
    )
    miss = np.linalg.norm(home - places(FIXED), axis=-1)[within]
    assert within.mean() > 0.3 and miss.mean() < 0.1
    assert found.consistency_mm is not None and found.consistency_mm < 0.1


def test_the_path_begins_with_the_affine_map_and_ends_with_the_whole(wild: Model) -> None:
    found = registered(OBLIQUE, FIXED, wild, parameters={"frames": 4, "again": 1, "refine": 2})
    assert len(found.frames) == len(found.path) == 4
    assert [step.eta for step in found.path] == pytest.approx([0, 1 / 3, 2 / 3, 1])
    first = linear(found.affine, FIXED).resample(OBLIQUE, outside=min(0.0, float(OBLIQUE.array.min())))
    np.testing.assert_allclose(found.frames[0].array, first.array, atol=1e-2)
    np.testing.assert_array_equal(found.frames[-1].array, found.warped.array)
    reach = [step.mean_voxels for step in found.path]
    assert reach[0] == 0 and all(a < b for a, b in pairwise(reach))
    assert found.path[-1].similarity == pytest.approx(found.similarity[2], abs=1e-6)


def test_refinement_brings_images_together(still: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench_register, "GRAIN", 0.0)
    monkeypatch.setattr(bench_register, "BEND", 6.0)
    moving, truth = bent(FIXED, 1)
    plain = registered(moving, FIXED, still, align="none")
    found = registered(moving, FIXED, still, align="none", parameters={"refine": 25})
    here = inside(places(FIXED))

    def off(each: Registration) -> float:
        return float(np.linalg.norm(each.displacement.array - truth.array, axis=-1)[here].mean())

    assert off(plain) == pytest.approx(float(np.linalg.norm(truth.array, axis=-1)[here].mean()), rel=1e-3)
    assert off(found) < 0.6 * off(plain) and found.similarity[2] > plain.similarity[2] + 0.04 and found.folds == 0


def test_a_free_deformation_has_no_way_back(wild: Model) -> None:
    found = registered(OBLIQUE, FIXED, wild, deformation="free")
    assert found.inverse is None and found.consistency_mm is None


def test_same_seed_same_voxels(wild: Model) -> None:
    told: dict[str, Any] = {"method": "diffusemorph-synthetic", "parameters": {"steps": 3}}
    a, b, other = (registered(OBLIQUE, FIXED, wild, **told, seed=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(a.warped.array, b.warped.array)
    assert np.abs(a.displacement.array - other.displacement.array).max() > 1e-4


def test_a_known_deformation_is_what_it_says() -> None:
    moving, truth = bent(FIXED, 0)
    clean = truth.resample(moving).array
    expected = FIXED.array.max() * (np.clip(FIXED.array, 0, None) / FIXED.array.max()) ** 0.8
    inner = (slice(5, -5),) * 3
    assert 1 < np.linalg.norm(truth.array, axis=-1).max() < 3.5
    assert np.abs(clean - expected)[inner].mean() < 0.5 * np.abs(moving.array - expected)[inner].mean()


# ---------------------------------------------------------------- labels


def test_labels_are_brought_along_by_the_largest_share() -> None:
    v = resized(2 * torch.randn(1, 3, 6, 6, 6, generator=torch.Generator().manual_seed(0)), FIXED.shape)
    field = Vectors.of_voxels(exponential(0.2 * v)[0].numpy(), FIXED)
    labels = FIXED.with_array((FIXED.array > 40).astype(np.uint8) + (FIXED.array > 70))
    found = carry(labels, field)
    nearest = field.resample(labels, "nearest")
    assert found.array.dtype == np.uint8 and set(np.unique(found.array)) == {0, 1, 2}
    assert (found.array == nearest.array).mean() > 0.97
    same = carry(labels, Vectors(np.zeros((*FIXED.shape, 3), np.float32), FIXED))
    np.testing.assert_array_equal(same.array, labels.array)
    figures = overlaps(labels, labels, same)
    assert figures["dice_before"] == figures["dice_after"] == 1 and figures["hd95_mm"] == 0


# ---------------------------------------------------------------- a job


def test_a_job_writes_what_slicer_reads(wild: Model, folder: Path, tmp_path: Path) -> None:
    import SimpleITK as sitk

    labels = OBLIQUE.with_array((OBLIQUE.array > 60).astype(np.uint8))
    truth = FIXED.with_array((FIXED.array > 60).astype(np.uint8))
    for name, volume in (("moving", OBLIQUE), ("fixed", FIXED), ("labels", labels), ("truth", truth)):
        write(volume, tmp_path / f"{name}.nrrd")
    linear_map = sitk.AffineTransform(MOVED[:3, :3].ravel().tolist(), MOVED[:3, 3].tolist())
    sitk.WriteTransform(linear_map, str(tmp_path / "start.tfm"))
    files = {
        "volume": "moving.nrrd",
        "fixed": "fixed.nrrd",
        "moving_labels": "labels.nrrd",
        "fixed_labels": "truth.nrrd",
    }
    inputs = {name: str(tmp_path / file) for name, file in {**files, "initial": "start.tfm"}.items()}
    job = Job("diffusemorph", str(folder / "still"), inputs, str(tmp_path / "out"), {"preset": "fast"}, device="cpu")
    result = run(job)
    made = set(result.outputs)
    assert {
        "warped",
        "displacement",
        "inverse",
        "jacobian",
        "labels",
        "frame-0",
        "frame-1",
        "registration",
        "path",
    } <= made
    there = read_vectors(result.outputs["displacement"])
    np.testing.assert_allclose(there.array, linear(MOVED, FIXED).array, atol=1e-4)
    np.testing.assert_allclose(there.grid.affine, FIXED.affine, atol=1e-6)
    np.testing.assert_allclose(read(result.outputs["warped"]).affine, FIXED.affine, atol=1e-6)
    assert result.figures["dice_after"] > 0.9 > result.figures["dice_before"] or result.figures["dice_before"] > 0.9
    with result.outputs["registration"].open(newline="") as file:
        row = next(csv.DictReader(file))
    assert float(row["folds_percent"]) == 0 and float(row["dice_after"]) == pytest.approx(result.figures["dice_after"])
    # ITK itself, given that file, makes the same image
    field = sitk.DisplacementFieldTransform(sitk.ReadImage(str(result.outputs["displacement"]), sitk.sitkVectorFloat64))
    fixed, moving = (sitk.ReadImage(inputs[name]) for name in ("fixed", "volume"))
    again = sitk.GetArrayFromImage(sitk.Resample(moving, fixed, field, sitk.sitkLinear, 0.0))
    np.testing.assert_allclose(again, read(result.outputs["warped"]).array, atol=1e-3)


def test_the_command_line(wild: Model, folder: Path, tmp_path: Path, cli: Cli) -> None:
    for name, volume in (("moving", OBLIQUE), ("fixed", FIXED)):
        write(volume, tmp_path / f"{name}.nrrd")
        write(volume.with_array((volume.array > 60).astype(np.uint8)), tmp_path / f"{name}-labels.nrrd")
    moving, fixed, ours, theirs = (
        tmp_path / f"{name}.nrrd" for name in ("moving", "fixed", "moving-labels", "fixed-labels")
    )
    told = ("--model", folder / "wild", "--preset", "fast", "--device", "cpu")
    labels = ("--moving-labels", ours, "--fixed-labels", theirs)
    code, out, err = cli("register", moving, "--fixed", fixed, *labels, *told, "-o", tmp_path / "out")
    assert code == 0 and "local correlation" in out and "Dice" in out and "% of the voxels fold" in out, err
    made = {path.name for path in (tmp_path / "out").iterdir()}
    assert made >= {"warped.nrrd", "displacement.nrrd", "inverse.nrrd", "labels.nrrd", "frame-1.nrrd", "path.csv"}
    free = ("--method", "voxelmorph", "--deformation", "free", "--align", "rigid", "--json")
    code, out, _ = cli("register", moving, "--fixed", fixed, *free, *told, "-o", tmp_path / "free")
    settings = json.loads(out)["provenance"]["settings"]
    assert code == 0 and (settings["deformation"], settings["align"]) == ("free", "rigid")
    assert not (tmp_path / "free" / "inverse.nrrd").exists()
    code, _, err = cli("register", moving, "--fixed", moving, *told, "-o", tmp_path / "same")
    assert code == 2 and "the same image" in err and not (tmp_path / "same").exists()


def test_a_job_from_a_file_is_reported_as_the_verb_does(still: Model, folder: Path, tmp_path: Path, cli: Cli) -> None:
    for name, volume in (("moving", OBLIQUE), ("fixed", FIXED)):
        write(volume, tmp_path / f"{name}.nrrd")
    files = {"volume": str(tmp_path / "moving.nrrd"), "fixed": str(tmp_path / "fixed.nrrd")}
    job = Job("diffusemorph", str(folder / "still"), files, str(tmp_path / "out"), {"preset": "fast"}, device="cpu")
    (tmp_path / "job.json").write_text(job.to_json())
    code, out, err = cli("run", tmp_path / "job.json")
    assert code == 0, err
    assert "local correlation" in out and "% of the voxels fold" in out


# ---------------------------------------------------------------- what goes wrong


def test_images_of_another_modality_are_compared_by_texture(still: Model) -> None:
    strange = OBLIQUE.with_array(OBLIQUE.array.max() - OBLIQUE.array)
    with pytest.warns(Notice, match="MIND"):
        found = registered(strange, FIXED, still)
    assert found.settings["similarity"] == "mind"


def test_images_that_are_apart_are_put_on_each_other_or_refused(still: Model) -> None:
    away = Volume(OBLIQUE.array, OBLIQUE.spacing, (500.0, 0.0, 0.0), OBLIQUE.direction)
    with pytest.warns(Notice, match="apart"):
        found = registered(away, FIXED, still, align="centres")
    assert found.affine[0, 3] > 400
    with pytest.raises(BadInput, match="do not overlap"):
        registered(away, FIXED, still, align="none")


def test_flipped_axes_are_one_image(still: Model) -> None:
    flip = np.reshape(FIXED.direction, (3, 3)) @ np.diag([-1.0, -1.0, 1.0])
    corner = FIXED.affine @ [FIXED.shape[2] - 1, FIXED.shape[1] - 1, 0, 1]
    same = Volume(
        np.ascontiguousarray(FIXED.array[:, ::-1, ::-1]), FIXED.spacing, tuple(corner[:3]), tuple(flip.ravel())
    )
    found = registered(same, FIXED, still, align="none")
    assert np.abs(found.displacement.array).max() < 1e-3
    np.testing.assert_allclose(found.warped.array, FIXED.array, atol=1e-2)


def test_bad_input_is_told(still: Model, folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    flat = Volume(FIXED.array[:1], FIXED.spacing, FIXED.origin, FIXED.direction)
    for moving, fixed, words in (
        (flat, FIXED, "moving volume is a single slice"),
        (FIXED, flat, "fixed volume is"),
        (FIXED, FIXED, "the same image"),
    ):
        with pytest.raises(BadInput, match=words):
            registered(moving, fixed, still)
    with pytest.raises(BadInput, match="one pass"):
        registered(OBLIQUE, FIXED, load(folder / "wild-voxelmorph", "cpu", "fp32"))
    for option, value in (("align", "sideways"), ("deformation", "rubber"), ("similarity", "taste")):
        with pytest.raises(BadInput, match=value):
            registered(OBLIQUE, FIXED, still, **{option: value})
    hole = OBLIQUE.with_array(np.where(OBLIQUE.array > 60, np.nan, OBLIQUE.array))
    with pytest.raises(BadInput, match="NaN"):
        registered(hole, FIXED, still)
    write(FIXED, tmp_path / "one.nrrd")
    job = Job(
        "diffusemorph",
        str(folder / "still"),
        dict.fromkeys(("volume", "fixed"), str(tmp_path / "one.nrrd")),
        str(tmp_path),
    )
    with pytest.raises(BadInput, match="the same image"):
        run(job)
    monkeypatch.setattr(registration, "memory", lambda: (2**20, 2**20))
    with pytest.raises(BadInput, match=r"needs about .* GiB"):
        registered(OBLIQUE, FIXED, still)


# ---------------------------------------------------------------- the benchmark


def test_the_pairs_are_those_of_the_list() -> None:
    with PAIRS.open(newline="") as file:
        rows = [(row["moving"], row["fixed"]) for row in csv.DictReader(file)]
    assert len(rows) == len(set(rows)) == 60 and all(a != b for a, b in rows)
    names = sorted({name for row in rows for name in row})
    again = draw(names, 60)
    assert len(set(again)) == 60 and all(a != b for a, b in again) and again == draw(names, 60) != draw(names, 60, 1)


def test_the_benchmark(wild: Model, folder: Path, tmp_path: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = ["file,split"]
    for number, volume in enumerate((FIXED, OBLIQUE)):
        labels = volume.with_array((volume.array > 40).astype(np.uint8) + (volume.array > 70))
        for part, each in (("images", volume), ("labels", labels)):
            name = f"hippocampus/{part}/crop_{number}.nii.gz"
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            write(each, tmp_path / name)
            rows.append(f"{name},test")
    (tmp_path / "manifest.csv").write_text("\n".join(rows) + "\n")
    (tmp_path / "pairs.csv").write_text("moving,fixed\ncrop_1.nii.gz,crop_0.nii.gz\n")
    monkeypatch.setattr(bench_register, "PAIRS", tmp_path / "pairs.csv")
    report = tmp_path / "register.json"
    ways = ("affine of SimpleITK", "demons", "diffusemorph fast", "diffusemorph balanced")
    told = [word for way in ways for word in ("--method", way)]
    code, _, err = cli(
        "bench", "register", "--data", tmp_path, "--model", folder / "wild", *told, "--quick", "--json", report
    )
    assert code == 0, err
    made = json.loads(report.read_text())
    found = {f"{row['recipe']} {row['preset']}".strip(): row for row in made["rows"] if "dice" in row}
    assert set(found) == {"centred", "affine", *ways}
    assert found["centred"]["dice"] < found["affine"]["dice"] and found["affine of SimpleITK"]["dice"] > 0.6
    assert all(row["dice"] == pytest.approx((row["dice_1"] + row["dice_2"]) / 2) for row in found.values())
    promised = {bar["name"]: bar["met"] for bar in made["bars"]}
    assert promised["displacement at eta = 0, largest (voxels)"] and promised["folds, %"]
    (tmp_path / "pairs.csv").write_text("moving,fixed\ncrop_1.nii.gz,crop_2.nii.gz\n")
    with pytest.raises(BadInput, match=r"lacks crop_2.*pairs\.csv"):
        bench_register.pairs(tmp_path)
