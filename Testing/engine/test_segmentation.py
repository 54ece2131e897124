"""A segmentation lies where its image lies, is what the model says, and tells when the input is not what it expects."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from classes import Classes
from torch import Tensor

from meddiff.card import Card
from meddiff.cuts import cut, seen
from meddiff.devices import InPrecision
from meddiff.errors import BadInput, BadModel, Cancelled, Notice
from meddiff.fusion import staple
from meddiff.intensity import Intensity
from meddiff.levels import make_schedule
from meddiff.models import Model
from meddiff.networks import build
from meddiff.noises import gaussian
from meddiff.prior import Condition, Prior
from meddiff.recipes.segment import Pictured
from meddiff.registry import find_recipe
from meddiff.sampling import Progress, drain
from meddiff.segmentation import Segmentation, segment
from meddiff.solvers import SOLVERS
from meddiff.volume import Volume, resample_like, same_grid
from meddiff.windows import Windowed

SCALE = {"kind": "window", "lower": 0.0, "upper": 100.0, "target": [-8.0, 8.0]}
NAMES = ("Front", "Back")


def changed(card_data: dict[str, Any], **changes: Any) -> Card:
    """The card of an exact model: three classes of independent voxels, told by the brightness."""
    exact = {
        "id": "exact",
        "task": "segment",
        "recipes": {},
        "spacing_mm": [1.0, 1.0, 1.0],
        "shape_multiple": 1,
        "channels": [{"name": "T1", "unit": "1"}],
        "intensity": SCALE,
        "network": {"name": "mask-denoiser", "arguments": {"classes": 3, "spatial_dims": 3}},
        "predicts": "x0",
        "schedule": {"name": "vp-cosine", "arguments": {}},
        "labels": None,
        "covariates": {},
        "segments": [{"name": name} for name in NAMES],
        "window": [],
        "uncertainty": {},
        "companions": {},
        "healthy": {},
    }
    return Card.model_validate({**card_data, **exact, **changes})


@pytest.fixture
def exact(card_data: dict[str, Any]) -> Callable[..., Model]:
    """A model whose network is Bayes' rule, and its baseline."""

    def model(code: str = "one-hot", **changes: Any) -> Model:
        dims = len(changes.get("spacing_mm", "xyz"))
        arguments = {"classes": 3, "spatial_dims": dims, "code": code, **changes.pop("arguments", {})}
        card = changed(card_data, network={"name": "mask-denoiser", "arguments": arguments}, **changes)
        truth = Classes(code)
        prior = truth.prior(make_schedule("vp-cosine"))
        scale = Intensity.from_dict(dict(card.intensity))
        one_pass = changed(card_data, id="exact-unet", predicts="label", schedule=None, **changes)

        def logits(x: Tensor, time: float, cond: Condition | None = None) -> Tensor:
            return truth.chances(x).log()

        device = torch.device("cpu")
        baseline = Model(one_pass, "", logits, scale, device, torch.float32)
        return Model(card, "", prior.network, scale, device, torch.float32, companions={"baseline": baseline})

    return model


@pytest.fixture
def volume() -> Volume:
    """Brightness from 30 to 70 along x, on an oblique, left-handed grid near 1 mm."""
    a, b = 0.3, 0.2
    about_z = np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]])
    about_x = np.array([[1, 0, 0], [0, np.cos(b), -np.sin(b)], [0, np.sin(b), np.cos(b)]])
    direction = about_z @ about_x @ np.diag([-1.0, 1.0, 1.0])
    array = np.broadcast_to(np.linspace(30, 70, 24), (10, 12, 24)).astype(np.float32)
    return Volume(np.ascontiguousarray(array), (1.0, 1.1, 0.95), (-31.5, 17.25, 1003.125), tuple(direction.ravel()))


def chances(volume: Volume) -> np.ndarray:
    """What the exact model knows of each voxel (K, Z, Y, X)."""
    image = torch.from_numpy((volume.array / 100 * 16 - 8).astype(np.float32))[None, None]
    return Classes("one-hot").chances(image)[0].numpy()


def run(volume: Volume, model: Model, **options: Any) -> Segmentation:
    return drain(segment(volume, model, **{"parameters": {}, "samples": 4, **options}))


# --- what comes out ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", ["one-hot", "bits"])
@pytest.mark.parametrize("solver", ["ancestral", "ddim", "dpm-solver-2m"])
def test_the_samples_have_the_chances_of_the_posterior(exact: Callable[..., Model], code: str, solver: str) -> None:
    """Mask diffusion with the exact denoiser draws each class as often as Bayes' rule says."""
    model, count = exact(code), 400
    image = torch.tensor([-1.0, 0.0, 0.5]).reshape(1, 1, 1, 1, 3).expand(count, 1, 1, 1, 3)
    data = Pictured(image, torch.arange(count), 3, code)
    method = find_recipe("implicit-ensemble")
    settings = method.settings({"steps": 100, "solver": solver})
    found = drain(method.run(model.prior, data, noise=gaussian(0, count), **settings))
    often = torch.nn.functional.one_hot(found.argmax(1)[:, 0, 0], 3).float().mean(0).T
    torch.testing.assert_close(often, Classes(code).chances(image[:1])[0, :, 0, 0], atol=0.09, rtol=0)


@pytest.mark.parametrize("method", ["implicit-ensemble", "pd-ddpm", "unet"])
def test_a_segmentation_lies_where_its_image_lies(exact: Callable[..., Model], volume: Volume, method: str) -> None:
    parameters = {"strength": 0.0} if method == "unet" else {"steps": 20}
    result = run(volume, exact(), method=method, samples=8, parameters=parameters)
    assert np.linalg.det(np.reshape(volume.direction, (3, 3))) < 0  # the hard case is the one that was tested
    for made in (result.labels, result.probability, result.uncertainty, *result.each.values()):
        assert same_grid(made, volume, 1e-6)
    p = chances(volume)
    sure = p.max(0) > 0.9
    assert (result.labels.array[sure] == p.argmax(0)[sure]).mean() > 0.95
    assert result.labels.array.dtype == np.uint8 and result.names == NAMES
    np.testing.assert_allclose(result.probability.array, sum(v.array for v in result.each.values()), atol=1e-5)
    if method == "implicit-ensemble":  # a guess to start from, if it is soft, sharpens what it knows
        assert np.abs(result.probability.array.mean((0, 1)) - (1 - p[0]).mean((0, 1))).max() < 0.2


def test_one_pass_gives_the_chances_themselves(exact: Callable[..., Model], volume: Volume) -> None:
    with pytest.warns(Notice, match="one sample shows no disagreement"):
        result = run(volume, exact(), method="unet", samples=1)
    p = chances(volume)
    np.testing.assert_allclose([v.array for v in result.each.values()], p[1:], atol=1e-5)
    np.testing.assert_allclose(result.uncertainty.array, -(p * np.log(p)).sum(0) / np.log(3), atol=1e-4)
    voxel = np.prod(volume.spacing)
    assert result.volumes_mm3["Back"] == pytest.approx(voxel * (p.argmax(0) == 2).sum())
    assert result.calls == 1 and result.quality is not None and 0 < result.quality < 1


def test_the_same_seed_gives_the_same_voxels_in_any_batch(exact: Callable[..., Model], volume: Volume) -> None:
    model = exact()
    first, again, other = (run(volume, model, seed=seed, batch=batch) for seed, batch in ((3, 4), (3, 1), (4, 4)))
    np.testing.assert_allclose(first.probability.array, again.probability.array, atol=1e-5)
    assert not np.allclose(first.probability.array, other.probability.array, atol=1e-3)
    more = run(volume, model, seed=3, samples=5)  # the first four are the same
    drawn = 5 * more.probability.array - 4 * first.probability.array
    assert drawn.min() > -1e-4 and drawn.max() < 1 + 1e-4


def test_progress_counts_to_its_end_and_can_be_stopped(exact: Callable[..., Model], volume: Volume) -> None:
    seen_steps: list[Progress] = []
    drain(segment(volume, exact(), samples=4, batch=3, parameters={"steps": 5}), seen_steps.append)
    assert [p.step for p in seen_steps] == list(range(1, 11)) and {p.of for p in seen_steps} == {10}
    with pytest.raises(Cancelled):
        drain(segment(volume, exact(), samples=4), None, lambda: True)


def test_calls_are_counted(exact: Callable[..., Model], volume: Volume) -> None:
    model, counted = exact(), []
    network = model.network

    def count(x: Tensor, time: float, cond: Condition | None = None) -> Tensor:
        counted.extend([1] * len(x))
        return network(x, time, cond)

    counting = replace(model, network=count)
    for method, parameters, extra in (("implicit-ensemble", {"steps": 3}, 0), ("pd-ddpm", {"steps": 2}, 1)):
        counted.clear()
        result = run(volume, counting, method=method, parameters=parameters)
        assert len(counted) + extra == result.calls == 4 * parameters["steps"] + extra
        assert result.megapixels == pytest.approx(result.calls * volume.array.size / 1e6)


@pytest.mark.parametrize("fusion", ["mean", "vote", "staple"])
def test_fusions(exact: Callable[..., Model], volume: Volume, fusion: str) -> None:
    plain = Volume(volume.array, (1, 1, 1), (0, 0, 0), (1, 0, 0, 0, 1, 0, 0, 0, 1))
    result = run(plain, exact(), fusion=fusion, uncertainty="variance", samples=5)
    members = [run(plain, exact(), samples=5, batch=1, fusion="mean") for _ in range(1)]
    assert result.settings["fusion"] == fusion and result.uncertainty.array.min() >= 0
    if fusion == "mean":
        assert np.array_equal(result.labels.array, members[0].labels.array)
    p = chances(plain)
    sure = p.max(0) > 0.95
    assert (result.labels.array[sure] == p.argmax(0)[sure]).mean() > 0.95


def test_clean_up_is_off_until_asked_for(exact: Callable[..., Model], volume: Volume) -> None:
    rough = run(volume, exact(), samples=1, method="implicit-ensemble")
    clean = run(volume, exact(), samples=1, method="implicit-ensemble", minimum_volume=50.0, smoothing=1.0)
    edges = [np.abs(np.diff(r.labels.array.astype(int), axis=1)).sum() for r in (rough, clean)]
    assert edges[1] < 0.5 * edges[0]


# --- grids ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("spacing", [(0.5, 0.5, 1.0), (2.0, 1.6, 2.5)])
@pytest.mark.parametrize("fusion", ["mean", "vote"])
def test_other_spacings_are_resampled_and_brought_back(
    exact: Callable[..., Model], volume: Volume, spacing: tuple[float, float, float], fusion: str
) -> None:
    other = Volume(volume.array, spacing, volume.origin, volume.direction)
    with pytest.warns(Notice, match=r"resampled from .* mm to 1 x 1 x 1 mm for the model, and back"):
        result = run(other, exact(), method="unet", samples=2, parameters={"strength": 0.0, "mirror": 0}, fusion=fusion)
    assert same_grid(result.labels, other, 1e-6) and same_grid(result.probability, other, 1e-6)
    p = chances(other)
    sure = np.sort(p, 0)[-1] - np.sort(p, 0)[-2] > 0.3
    assert (result.labels.array == p.argmax(0))[sure].mean() > 0.97
    assert np.abs(result.probability.array - (1 - p[0])).mean() < 0.03


@pytest.mark.parametrize("slab", [1, 3])
def test_networks_of_two_dimensions_see_slices(exact: Callable[..., Model], volume: Volume, slab: int) -> None:
    model = exact(spacing_mm=[1.0, 1.0], arguments={"images": slab}, spacing_tolerance=0.2)
    heard = []
    network = model.network

    def middle(x: Tensor, time: float, cond: Condition | None = None) -> Tensor:
        assert cond is not None and cond.concat is not None
        heard.append(tuple(cond.concat.shape[1:]))
        return network(x, time, Condition(concat=cond.concat[:, [slab // 2]]))

    result = run(volume, replace(model, network=middle), parameters={"steps": 20})
    assert set(heard) == {(slab, 12, 24)}
    p = chances(volume)
    sure = p.max(0) > 0.95
    assert (result.labels.array[sure] == p.argmax(0)[sure]).mean() > 0.95


def test_large_images_are_cut_into_windows_that_agree(exact: Callable[..., Model], volume: Volume) -> None:
    """Voxels of the exact model know nothing of their neighbours: windows change nothing, whatever their number."""
    whole = run(volume, exact())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Notice)
        cut_up = run(volume, exact(window=[6, 6, 8]))
    np.testing.assert_allclose(whole.probability.array, cut_up.probability.array, atol=1e-4)
    assert cut_up.megapixels > whole.megapixels


def test_windows_are_cut_where_an_image_is_much_larger() -> None:
    assert cut((9, 12), (6, 8)) == [(slice(0, 9), slice(0, 12))] == cut((9, 12), ())
    assert seen((9, 12), (), 8) == 16 * 16
    parts = cut((10, 12), (6, 8))
    assert len(parts) == 3 and all(part[1] == slice(0, 12) for part in parts)
    x = torch.randn(2, 1, 10, 12, generator=torch.Generator().manual_seed(0))
    half = Windowed(lambda x, time, cond=None: 0.5 * x + (0 if cond is None else cond.concat), (6, 8))
    torch.testing.assert_close(half(x, 1.0, Condition(concat=2 * x)), 2.5 * x)
    torch.testing.assert_close(half(x, 1.0), 0.5 * x)


# --- a first segmentation ---------------------------------------------------------------------------------------------


@pytest.fixture
def given(volume: Volume) -> Volume:
    """A drawing of both segments."""
    return volume.with_array(np.broadcast_to(np.repeat([0, 1, 2], 8), volume.shape).astype(np.int16))


def from_first(volume: Volume, model: Model, first: Volume, **options: Any) -> Segmentation:
    parameters = {"steps": 1, "start": 0.02}  # so little noise that the start is what comes out
    return run(volume, model, method="pd-ddpm", first=first, parameters=parameters, samples=2, **options)


def blind(model: Model) -> Model:
    """A denoiser that believes in the mask that it is given."""

    def network(x: Tensor, time: float, cond: Condition | None = None) -> Tensor:
        return x.clamp(-1, 1)

    return replace(model, network=network)


def test_it_starts_from_what_was_drawn(exact: Callable[..., Model], volume: Volume, given: Volume) -> None:
    result = from_first(volume, blind(exact()), given)
    assert np.array_equal(result.labels.array, given.array) and result.settings["first"] == "given"


def test_a_drawing_on_another_grid_is_resampled(exact: Callable[..., Model], volume: Volume, given: Volume) -> None:
    finer = Volume(np.zeros((30, 30, 50), np.float32), (0.7, 0.7, 0.7), volume.origin, volume.direction)
    moved = resample_like(given, finer, "nearest")
    with pytest.warns(Notice, match="another grid than the volume; it was resampled"):
        result = from_first(volume, blind(exact()), moved)
    inner = (slice(1, -1),) * 3
    assert (result.labels.array == given.array)[inner].mean() > 0.9


def test_a_drawing_elsewhere_is_refused(exact: Callable[..., Model], volume: Volume, given: Volume) -> None:
    far = Volume(given.array, given.spacing, (500.0, 0.0, 0.0), given.direction)
    with pytest.raises(BadInput, match="does not overlap the volume"):
        from_first(volume, exact(), far)
    with pytest.raises(BadInput, match="the first segmentation is empty"):
        from_first(volume, exact(), given.with_array(0 * given.array))
    with pytest.raises(BadInput, match="values that are no labels"):
        from_first(volume, exact(), volume)
    with pytest.raises(BadInput, match="values that are no labels"):
        from_first(volume, exact(), given.with_array(-given.array))


def test_labels_that_are_not_one_to_two(exact: Callable[..., Model], volume: Volume, given: Volume) -> None:
    numbers = given.with_array(np.array([0, 7, 42])[given.array])
    with pytest.warns(Notice, match="taken in their order: 7 as Front, 42 as Back"):
        result = from_first(volume, blind(exact()), numbers)
    assert np.array_equal(result.labels.array, given.array)


def test_a_single_segment_stands_for_all(exact: Callable[..., Model], volume: Volume, given: Volume) -> None:
    with pytest.warns(Notice, match="one segment; it was taken for Front and Back together"):
        result = from_first(volume, blind(exact()), given.with_array(4 * (given.array > 0)))
    assert ((result.labels.array > 0) == (given.array > 0)).mean() > 0.9  # the noise of a tie may win at times


def test_a_mask_of_ones_is_told(exact: Callable[..., Model], volume: Volume, given: Volume) -> None:
    with pytest.warns(Notice, match="has no background: every voxel of the volume is in a segment"):
        from_first(volume, blind(exact()), given.with_array(np.ones_like(given.array)))


def test_more_segments_than_the_model_knows(exact: Callable[..., Model], volume: Volume, given: Volume) -> None:
    many = given.with_array(given.array + (np.indices(given.shape)[0] > 5))
    with pytest.raises(BadInput, match=r"has 3 segments; the model knows 2 \(Front, Back\)"):
        from_first(volume, exact(), many)


def test_it_starts_from_a_threshold(exact: Callable[..., Model], volume: Volume) -> None:
    def start(**limits: float) -> Segmentation:
        parameters = {"steps": 1, "start": 0.02}
        return run(volume, blind(exact()), method="pd-ddpm", parameters=parameters, samples=4, **limits)

    result = start(low=60.0)
    assert ((result.labels.array > 0) == (volume.array >= 60)).mean() > 0.9 and result.settings["first"] == "threshold"
    with pytest.raises(BadInput, match="no voxel lies between 90 and inf; the volume has 30 to 70"):
        start(low=90.0)


def test_without_a_start_the_baseline_makes_one(exact: Callable[..., Model], volume: Volume) -> None:
    result = run(volume, exact(), method="pd-ddpm")
    assert result.settings["first"] == "baseline"
    with pytest.raises(BadInput, match="needs a baseline, and exact comes with none"):
        run(volume, replace(exact(), companions={}), method="pd-ddpm")


def test_what_cannot_be_meant(exact: Callable[..., Model], volume: Volume, given: Volume) -> None:
    with pytest.raises(BadInput, match="implicit-ensemble starts from none; leave it out, or choose pd-ddpm"):
        run(volume, exact(), first=given)
    with pytest.raises(BadInput, match="expected one of them"):
        run(volume, exact(), method="pd-ddpm", first=given, low=3.0)
    with pytest.raises(BadInput, match="needs a medsegdiff, and exact comes with none"):
        run(volume, exact(), method="medsegdiff")
    baseline = exact().companions["baseline"]
    with pytest.raises(BadInput, match="is a network of one pass; choose the method unet"):
        run(volume, baseline)
    assert run(volume, baseline, method="unet").calls == 4
    for option, sentence in (("fusion", "unknown fusion 'x'"), ("samples", "samples must be int, got 'x'")):
        with pytest.raises(BadInput, match=sentence):
            run(volume, exact(), **{option: "x"})
    with pytest.raises(BadInput, match="samples must be between 1 and 64, got 0"):
        run(volume, exact(), samples=0)
    with pytest.raises(BadInput, match="smoothing must be between 0 and 20, got -1"):
        run(volume, exact(), smoothing=-1)


# --- other bad input --------------------------------------------------------------------------------------------------


def test_nothing_found_is_said(exact: Callable[..., Model], volume: Volume) -> None:
    dark = volume.with_array(volume.array / 4)
    with pytest.warns(Notice, match="nothing was found"):
        result = run(dark, exact(), method="unet")
    assert not result.labels.array.any() and result.quality is None
    assert same_grid(result.labels, dark, 1e-6)


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda v: v.with_array(np.full(v.shape, 5.0)), "is 5.0 in every voxel"),
        (lambda v: v.with_array(np.where(v.array > 60, np.nan, v.array)), "NaN or infinite"),
        (lambda v: v.with_array(v.array * (1 + 1j)), "complex; expected a real one"),
        (lambda v: Volume(v.array[:2], v.spacing, v.origin, v.direction), "24 x 12 x 2 voxels at the model's spacing"),
    ],
)
def test_volumes_that_cannot_be_used(
    exact: Callable[..., Model], volume: Volume, make: Callable[[Volume], Volume], sentence: str
) -> None:
    with pytest.raises(BadInput, match=sentence):
        run(make(volume), exact())


@pytest.mark.parametrize(
    ("make", "changes", "sentence"),
    [
        (lambda v: v.with_array(np.where(v.array > 50, 1.0, 0.0)), {}, "is it a label map"),
        (lambda v: v.with_array(v.array - 1000), {}, "as CT does, and the model is for MR"),
        (lambda v: v, {"modality": "CT"}, "as MR does not, and the model is for CT"),
        (lambda v: v, {"window": [4, 12, 12]}, r"much larger than what exact was trained on .* crop it to the brain"),
    ],
)
def test_volumes_that_look_odd(
    exact: Callable[..., Model],
    volume: Volume,
    make: Callable[[Volume], Volume],
    changes: dict[str, Any],
    sentence: str,
) -> None:
    with pytest.warns(Notice, match=sentence):
        run(make(volume), exact(**changes))


def test_models_of_several_channels_want_them_all(exact: Callable[..., Model], volume: Volume) -> None:
    two = exact(channels=[{"name": "T1", "unit": "1"}, {"name": "T2", "unit": "1"}], arguments={"images": 2})
    with pytest.raises(BadInput, match="1 volume came; exact wants 2, in this order: T1, T2"):
        run(volume, two)
    far = Volume(volume.array, volume.spacing, (900.0, 0.0, 0.0), volume.direction)
    with pytest.raises(BadInput, match="volume 2 lies elsewhere"):
        run(volume, two, others=[far])
    heard = []

    def network(x: Tensor, time: float, cond: Condition | None = None) -> Tensor:
        assert cond is not None and cond.concat is not None
        heard.append(cond.concat.shape[1])
        return x.clamp(-1, 1)

    run(volume, replace(two, network=network), others=[volume.with_array(volume.array[::-1])])
    assert set(heard) == {2}


def test_models_for_other_tasks(exact: Callable[..., Model], volume: Volume) -> None:
    with pytest.raises(BadInput, match="segments nothing"):
        run(volume, exact(segments=[]))
    with pytest.raises(BadModel, match="has 1 segments, and a network of 3 classes"):
        run(volume, exact(segments=[{"name": "Both"}]))


# --- real networks ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("solver", [name for name in SOLVERS if name in ("ancestral", "ddim", "dpm-solver-2m")])
def test_medsegdiff_runs_with_its_coarse_map(card_data: dict[str, Any], volume: Volume, solver: str) -> None:
    arguments = {"classes": 3, "spatial_dims": 3, "widths": [8, 8], "groups": 4, "patch": 2}
    torch.manual_seed(0)
    network = build("medsegdiff", arguments).eval()
    card = changed(card_data, network={"name": "medsegdiff", "arguments": arguments}, shape_multiple=4)
    scale = Intensity.from_dict(SCALE)
    model = Model(card, "", InPrecision(network, torch.float32), scale, torch.device("cpu"), torch.float32)
    found = [
        run(
            volume,
            model,
            method="medsegdiff",
            samples=3,
            fusion="staple",
            parameters={"steps": 2, "solver": solver, "coarse": w},
        )
        for w in (0.0, 0.5)
    ]
    assert not np.allclose(found[0].probability.array, found[1].probability.array, atol=1e-3)
    assert all(r.probability.array.min() >= 0 and r.probability.array.max() <= 1 for r in found)
    members = np.stack([r.labels.array for r in found] * 2)
    assert staple(members, chances(volume)).shape == volume.shape
    assert isinstance(model.prior, Prior)
