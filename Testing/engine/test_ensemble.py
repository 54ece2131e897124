"""The moments of an ensemble are those of its members, and a member does not know how many others there are."""

from __future__ import annotations

import pytest
import torch
from gaussians import SCHEDULES, scalar, white
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from meddiff.ensemble import ensemble
from meddiff.errors import BadInput
from meddiff.levels import CLEAN
from meddiff.noises import Gaussian, seed_of
from meddiff.sampling import Progress, Run, drain, sample
from meddiff.solvers import DDIM

VP = SCHEDULES["vp"]


def member(k: int) -> Run[Tensor]:
    """One ancestral sample of two images; everything random comes from k."""
    noise = Gaussian([seed_of("image", i, k) for i in range(2)])
    x = noise(torch.zeros(2, 1, 6, dtype=torch.float64))
    return sample(scalar().prior(VP), x, VP.path(5), solver=DDIM(1.0), noise=noise)


@pytest.mark.parametrize("count", [2, 7])
def test_moments_are_the_mean_and_the_standard_deviation(count: int) -> None:
    members = torch.stack([drain(member(k)) for k in range(count)])
    moments = drain(ensemble(member, count))
    torch.testing.assert_close(moments.mean, members.mean(0))
    torch.testing.assert_close(moments.spread, members.std(0))
    assert moments.count == count


@given(offset=st.floats(-1e6, 1e6), scale=st.floats(1e-3, 1e3), count=st.integers(2, 9))
def test_moments_survive_a_large_offset(offset: float, scale: float, count: int) -> None:
    values = offset + scale * white(count, 3)

    def constant(k: int) -> Run[Tensor]:
        yield Progress(1, 1, CLEAN, None)
        return values[k]

    moments = drain(ensemble(constant, count))
    torch.testing.assert_close(moments.mean, values.mean(0))
    torch.testing.assert_close(moments.spread, values.std(0), rtol=1e-5, atol=1e-8)


def test_one_member_has_no_spread() -> None:
    moments = drain(ensemble(member, 1))
    assert torch.equal(moments.mean, drain(member(0))) and not moments.spread.any()
    assert moments.spread.shape == moments.mean.shape == (2, 1, 6)


def test_members_do_not_depend_on_their_number() -> None:
    asked: dict[int, list[Tensor]] = {3: [], 5: []}
    for count, estimates in asked.items():

        def note(p: Progress, estimates: list[Tensor] = estimates) -> None:
            if p.x0 is not None and p.level == CLEAN:
                estimates.append(p.x0)

        drain(ensemble(member, count), note)
    assert len(asked[3]) == 3 and len(asked[5]) == 5
    assert all(torch.equal(a, b) for a, b in zip(asked[3], asked[5], strict=False))
    assert len({tuple(x.flatten().tolist()) for x in asked[5]}) == 5


def test_progress_runs_through_all_members() -> None:
    seen: list[Progress] = []
    drain(ensemble(member, 3), seen.append)
    assert [p.step for p in seen] == list(range(1, 16)) and {p.of for p in seen} == {15}


def test_an_ensemble_of_none_is_refused() -> None:
    with pytest.raises(BadInput, match="at least one sample, got 0"):
        drain(ensemble(member, 0))
