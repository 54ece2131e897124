"""Intensities are scaled as the card says and come back exactly."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from meddiff.errors import BadInput
from meddiff.intensity import Intensity, Scaling

BRAIN = Intensity("percentile", upper=99.9, target=(0.0, 2.0), foreground=True, linear=True)
CT = Intensity("window", -1000.0, 1000.0, (-1.0, 1.0))
gains = st.floats(1e-4, 1e4)
offsets = st.floats(-1e3, 1e3)


def brain() -> np.ndarray:
    """A positive foreground, half of the voxels, on a background of zeros."""
    array = np.zeros((10, 20, 20), np.float32)
    array[:, :10] = np.random.default_rng(0).gamma(4, 100, (10, 10, 20))
    return array


@settings(max_examples=50)
@given(gains, offsets)
def test_inverse_undoes_forward_for_numpy_and_torch(gain: float, offset: float) -> None:
    scaling = Scaling(gain, offset)
    x = np.linspace(-50, 70, 13)
    tolerance = 1e-12 * (1 + abs(offset) / gain)
    assert np.allclose(scaling.forward(x), gain * x + offset)
    assert np.abs(scaling.inverse(scaling.forward(x)) - x).max() < 100 * tolerance
    assert np.array_equal(scaling.forward(torch.from_numpy(x)).numpy(), scaling.forward(x))
    assert np.array_equal(scaling.inverse(torch.from_numpy(x)).numpy(), scaling.inverse(x))


def test_spread_scales_by_the_gain_alone() -> None:
    rng = np.random.default_rng(0)
    scaling = CT.fit(np.zeros(3))
    samples = rng.normal(0.3, 0.1, 10_000)
    assert scaling.inverse(samples).std() == pytest.approx(scaling.inverse_spread(samples.std()), rel=1e-12)
    assert Scaling(0.5, 7.0).inverse_spread(1.0) == 2.0


def test_float32_stays_float32_and_inputs_are_left_alone() -> None:
    x = np.ones(3, np.float32)
    t = torch.ones(3, requires_grad=True)
    scaling = Scaling(2.0, 1.0)
    assert scaling.forward(x).dtype == scaling.inverse(x).dtype == np.float32
    assert scaling.forward(t).dtype == torch.float32 and scaling.forward(t).requires_grad
    assert (x == 1).all() and (t == 1).all()


def test_brain_percentile_of_the_foreground_has_no_offset() -> None:
    array = brain()
    scaling = BRAIN.fit(array)
    assert scaling.offset == 0
    assert scaling.forward(np.percentile(array[array > 0], 99.9)) == pytest.approx(2.0, rel=1e-6)
    assert scaling.forward(array)[:, 10:].max() == 0
    assert scaling.forward(array).max() > 2.0  # not clipped: the inverse stays exact
    everything = Intensity("percentile", upper=99.9, target=(0.0, 2.0), linear=True).fit(array)
    assert everything.gain > scaling.gain * 1.01  # the background counts, so that the percentile is lower


def test_negative_background_is_no_foreground() -> None:
    array = brain()
    noisy = np.where(array > 0, array, -5000.0)
    assert BRAIN.fit(noisy) == BRAIN.fit(array)


def test_ct_window_maps_hu_and_depends_on_no_data() -> None:
    scaling = CT.fit(np.full((2, 2, 2), 40.0))
    assert np.allclose(scaling.forward(np.array([-1000.0, 0.0, 1000.0, 3000.0])), [-1, 0, 1, 3])
    assert CT.fit(brain()) == scaling
    assert Intensity("window", -160, 240, (0, 1)).fit(brain()) == Scaling(1 / 400, 0.4)


@settings(max_examples=50)
@given(st.integers(0, 2**32 - 1), st.floats(0, 40), st.floats(60, 100), offsets, gains)
def test_affine_percentiles_hit_the_target(seed: int, low: float, high: float, a: float, width: float) -> None:
    array = np.random.default_rng(seed).normal(3, 20, 500)
    scaling = Intensity("percentile", low, high, (a, a + width)).fit(array)
    got = scaling.forward(np.percentile(array, [low, high]))
    assert np.allclose(got, [a, a + width], rtol=1e-9, atol=1e-9 * (width + abs(a)))


def test_none_is_the_identity() -> None:
    assert Intensity("none").fit(np.zeros(2)) == Scaling(1.0, 0.0)


def test_torch_volumes_can_be_fitted() -> None:
    assert BRAIN.fit(torch.from_numpy(brain())) == BRAIN.fit(brain())


def test_complex_is_fitted_on_its_magnitude_and_keeps_its_phase() -> None:
    array = brain() * np.exp(1j * np.linspace(-3, 3, 20))
    scaling = BRAIN.fit(array)
    assert scaling.gain == pytest.approx(BRAIN.fit(brain()).gain, rel=1e-6)
    assert np.allclose(np.angle(scaling.forward(array))[:, :10], np.angle(array)[:, :10])
    tensor = torch.from_numpy(array)
    assert np.allclose(scaling.inverse(scaling.forward(tensor)).numpy(), array)


def test_complex_is_never_shifted() -> None:
    array = brain() * 1j
    shifted = Scaling(2.0, 0.5)
    for attempt in (
        lambda: Intensity("percentile", 60, 99).fit(array),
        lambda: shifted.forward(array),
        lambda: shifted.inverse(torch.from_numpy(array)),
    ):
        with pytest.raises(BadInput, match=r"complex data came with an offset of .*linear"):
            attempt()


@pytest.mark.parametrize(
    ("array", "came"),
    [
        (np.full((3, 3, 3), 4.5), "all intensities are 4.5"),
        (np.zeros((3, 3, 3)), "all intensities are 0.0"),
        (-np.arange(27.0), r"no intensity is above 0 \(the highest is -?0.0\)"),
        (np.array([1.0, np.nan, np.inf, 2.0]), "2 of 4 intensities are NaN or infinite"),
        (np.zeros(0), "0 of 0"),
    ],
)
def test_data_without_contrast_are_refused(array: np.ndarray, came: str) -> None:
    with pytest.raises(BadInput, match=came):
        BRAIN.fit(array)


def test_equal_percentiles_are_refused() -> None:
    array = np.zeros(1000)
    array[0] = 1
    with pytest.raises(BadInput, match="go from 0.0 to 0.0"):
        Intensity("percentile", 0, 50).fit(array)
    with pytest.raises(BadInput, match="go from 0.0 to -1.0"):
        Intensity("percentile", 0, 50, linear=True).fit(array - 1)


@pytest.mark.parametrize(
    ("fields", "came"),
    [
        ({"kind": "windw"}, "unknown intensity kind 'windw'; did you mean window"),
        ({"lower": 5.0, "upper": 5.0}, r"lower, upper is \(5.0, 5.0\)"),
        ({"upper": "99"}, "'99'"),
        ({"upper": float("nan")}, "nan"),
        ({"lower": True}, "True"),
        ({"upper": 100.5}, "100.5.*0 to 100"),
        ({"lower": -1.0}, "-1.0.*0 to 100"),
        ({"target": (1.0, 0.0)}, r"target is \(1.0, 0.0\)"),
        ({"target": (0.0, 1.0, 2.0)}, "target is"),
        ({"target": 1.0}, "target is 1.0"),
        ({"foreground": 1}, "foreground is 1; expected true or false"),
        ({"linear": True, "target": (-1.0, 1.0)}, r"linear intensity has .*-1.0"),
        ({"linear": True, "lower": 1.0}, "linear intensity has lower 1.0"),
    ],
)
def test_inconsistent_cards_are_refused(fields: dict, came: str) -> None:
    with pytest.raises(BadInput, match=came):
        Intensity(**({"kind": "percentile"} | fields))


@pytest.mark.parametrize("fields", [(0.0, 0.0), (-1.0, 0.0), (float("nan"), 0.0), (1.0, float("inf"))])
def test_scalings_that_cannot_be_inverted_are_refused(fields: tuple[float, float]) -> None:
    with pytest.raises(BadInput, match=f"gain {fields[0]}"):
        Scaling(*fields)


@pytest.mark.parametrize("intensity", [BRAIN, CT, Intensity("none")])
def test_json_round_trip(intensity: Intensity) -> None:
    again = Intensity.from_dict(json.loads(json.dumps(intensity.to_dict())))
    assert again == intensity and hash(again) == hash(intensity)


def test_from_dict_names_what_is_wrong() -> None:
    with pytest.raises(BadInput, match="unknown intensity key 'uper'; did you mean upper"):
        Intensity.from_dict({"kind": "percentile", "uper": 99})
    with pytest.raises(BadInput, match="no kind; add one of: none, percentile, window"):
        Intensity.from_dict({"upper": 99})
    with pytest.raises(BadInput, match="intensity is 'window'"):
        Intensity.from_dict("window")
