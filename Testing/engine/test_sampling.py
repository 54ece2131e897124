"""The one loop: it reports, stops, repeats itself to the bit, and leaves everything around it as it was."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import pytest
import torch
from gaussians import SCHEDULES, Counter, scalar, white
from torch import Tensor

from meddiff.errors import BadInput, Cancelled
from meddiff.guides import Gradient, Guide, Langevin
from meddiff.levels import CLEAN, Level
from meddiff.noises import gaussian
from meddiff.operators import Downsample
from meddiff.prior import Condition, Prior
from meddiff.sampling import Progress, Run, diffuse, drain, invert, renoise, repaint_path, sample, stage
from meddiff.solvers import DDIM, Step

VP = SCHEDULES["vp"]


def start(seed: int = 0, steps: int = 10, guides: tuple[Guide, ...] = (), batch: int = 2) -> Run[Tensor]:
    """An ancestral run, and everything random in it from one seed."""
    noise = gaussian(seed, batch)
    x = noise(torch.zeros(batch, 1, 8, 8, dtype=torch.float64))
    return sample(scalar().prior(VP), x, VP.path(steps), solver=DDIM(1.0), guides=guides, noise=noise)


def gradient_guide() -> Gradient:
    return Gradient(Downsample(2), torch.zeros(2, 1, 4, 4, dtype=torch.float64), 0.1)


def inversion() -> Run[Tensor]:
    return invert(scalar().prior(VP), white(2, 1, 8, 8), VP.path(10)[::-1])


# ---------------------------------------------------------------- progress and cancelling


def test_progress_counts_every_step_down_to_the_clean_level() -> None:
    seen: list[Progress] = []
    result = drain(start(steps=7), seen.append)
    path = VP.path(7)
    assert [p.step for p in seen] == list(range(1, 8)) and {p.of for p in seen} == {7}
    assert [p.level for p in seen] == path[1:]
    assert seen[-1].x0 is not None
    torch.testing.assert_close(seen[-1].x0, result)  # the last step returns its estimate


def test_the_network_is_told_the_time_of_every_level_once() -> None:
    counter = Counter()
    prior = counter.watch(scalar().prior(VP))
    drain(sample(prior, white(1, 1, 4), VP.path(7), noise=gaussian(0, 1)))
    assert counter.times == [level.time for level in VP.path(7)[:-1]]


def test_a_run_stops_when_it_is_told_to() -> None:
    seen: list[Progress] = []
    with pytest.raises(Cancelled, match="nothing was written"):
        drain(start(), seen.append, lambda: len(seen) == 3)
    assert len(seen) == 3


def test_a_stopped_run_is_closed_at_once() -> None:
    closed = []

    def recipe() -> Run[Tensor]:
        try:
            return (yield from start())
        finally:
            closed.append(True)

    run = recipe()
    with pytest.raises(Cancelled):
        drain(run, should_stop=lambda: True)
    assert closed and run.gi_frame is None


def test_closing_a_run_ends_it() -> None:
    counter = Counter()
    run = sample(counter.watch(scalar().prior(VP)), white(1, 1, 4), VP.path(10), noise=gaussian(0, 1))
    next(run), next(run)
    run.close()
    assert counter.calls == 2
    with pytest.raises(StopIteration):
        next(run)


def test_stages_count_as_one_run_and_end_together() -> None:
    closed = []

    def part(value: str) -> Run[str]:
        try:
            for step in (1, 2):
                yield Progress(step, 2, CLEAN, None)
            return value
        finally:
            closed.append(value)

    def whole() -> Run[str]:
        first = yield from stage(part("a"), 0, 4)
        return first + (yield from stage(part("b"), 2, 4))

    seen = list[Progress]()
    assert drain(whole(), seen.append) == "ab" and closed == ["a", "b"]
    assert [(p.step, p.of) for p in seen] == [(1, 4), (2, 4), (3, 4), (4, 4)]
    run = whole()
    next(run), next(run), next(run)
    run.close()
    assert closed == ["a", "b", "a", "b"]


def test_nothing_runs_before_the_first_pull() -> None:
    counter = Counter()
    sample(counter.watch(scalar().prior(VP)), white(1, 1, 4), VP.path(10), noise=gaussian(0, 1))
    assert counter.calls == 0


def test_an_error_in_the_network_reaches_the_caller() -> None:
    def network(x: Tensor, time: float, cond: Condition | None = None) -> Tensor:
        raise MemoryError("full")

    with pytest.raises(MemoryError, match="full"):
        drain(sample(Prior(network, VP), white(1, 1, 4), VP.path(3), noise=gaussian(0, 1)))
    assert torch.is_grad_enabled()


# ---------------------------------------------------------------- nothing leaks

RUNS: dict[str, Callable[[], Run[Tensor]]] = {
    "sample": start,
    "with gradients": lambda: start(guides=(gradient_guide(),)),
    "invert": inversion,
}


@pytest.mark.parametrize("enabled", [True, False])
@pytest.mark.parametrize("make", RUNS.values(), ids=RUNS)
def test_grad_mode_of_the_caller_is_its_own(make: Callable[[], Run[Tensor]], enabled: bool) -> None:
    with torch.set_grad_enabled(enabled):
        run = make()
        for _ in range(3):
            progress = next(run)
            assert torch.is_grad_enabled() == enabled
            assert progress.x0 is not None and not progress.x0.requires_grad
        run.close()
        assert torch.is_grad_enabled() == enabled
        assert not drain(make()).requires_grad
        assert torch.is_grad_enabled() == enabled


@pytest.mark.parametrize("guides", [(), (gradient_guide(),)])
def test_inputs_are_untouched(guides: tuple[Guide, ...]) -> None:
    x = white(2, 1, 8, 8)
    before, version = x.clone(), x._version
    for run in (
        sample(scalar().prior(VP), x, VP.path(4), solver=DDIM(1.0), guides=guides, noise=gaussian(0, 2)),
        invert(scalar().prior(VP), x, VP.path(4)[::-1]),
    ):
        drain(run)
        assert torch.equal(x, before) and x._version == version and not x.requires_grad


def test_a_network_with_weights_records_no_graph_unless_a_guide_asks() -> None:
    layer = torch.nn.Conv2d(1, 1, 3, padding=1).double()
    modes = []

    def network(x: Tensor, time: float, cond: Condition | None = None) -> Tensor:
        modes.append(torch.is_grad_enabled())
        return layer(x)

    x = white(2, 1, 8, 8).requires_grad_()  # not even when the start does
    for guides in ((Langevin(),), (gradient_guide(),)):
        result = drain(sample(Prior(network, VP), x, VP.path(2), guides=guides, noise=gaussian(0, 2)))
        assert not result.requires_grad
    assert modes == [False, False, False, True, True]
    assert not drain(invert(Prior(network, VP), x, VP.path(2)[::-1])).requires_grad and not any(modes[5:])
    assert layer.weight.grad is None


# ---------------------------------------------------------------- the same seed, the same bits


def test_a_run_is_deterministic_in_its_seed() -> None:
    guides = (gradient_guide(),)
    first, second = drain(start(3, guides=guides)), drain(start(3, guides=guides))
    assert torch.equal(first, second)
    assert not torch.equal(first, drain(start(4, guides=guides)))


def test_two_runs_interleaved_do_not_disturb_each_other() -> None:
    runs, results = [start(3), start(4)], {}
    while len(results) < 2:
        for k, run in enumerate(runs):
            try:
                next(run)
            except StopIteration as end:
                results.setdefault(k, end.value)
    assert torch.equal(results[0], drain(start(3))) and torch.equal(results[1], drain(start(4)))


def test_an_image_is_the_same_in_any_batch() -> None:
    small, large = drain(start(3, batch=1)), drain(start(3, batch=4))
    assert torch.equal(small[0], large[0])


# ---------------------------------------------------------------- conditions and guides


def test_the_condition_reaches_the_network_and_guides_run_in_order() -> None:
    said, calls = Condition(label=torch.tensor([1])), []

    def network(x: Tensor, time: float, cond: Condition | None = None) -> Tensor:
        calls.append(cond)
        return torch.zeros_like(x)

    class Note(Guide):
        def __init__(self, name: str, add: float):
            self.name, self.add = name, add

        def estimate(self, x0: Tensor, step: Step) -> Tensor:
            calls.append(f"{self.name}.estimate")
            return x0 * 2 + self.add

        def state(self, x: Tensor, step: Step) -> Tensor:
            calls.append(f"{self.name}.state")
            return x * 3 + self.add

    x, levels = torch.ones(1, 1, 2), [Level(5.0, 1.0, 0.5), CLEAN]
    guides = (Note("a", 1), Note("b", 10))
    result = drain(sample(Prior(network, VP, "x0"), x, levels, guides=guides, cond=said, noise=gaussian(0, 1)))
    assert calls == [said, "a.estimate", "b.estimate", "a.state", "b.state"]
    assert result.tolist() == [[[((0 * 2 + 1) * 2 + 10) * 9 + 3 + 10] * 2]]


# ---------------------------------------------------------------- moving between levels


@pytest.mark.parametrize("name", SCHEDULES)
def test_diffuse_and_renoise_have_the_right_marginals(name: str) -> None:
    problem, (t, s) = scalar(0.7, 0.3), SCHEDULES[name].levels[300:601:300]
    image = problem.draw(white(1, 1, 50_000))
    low = diffuse(image, t, gaussian(1, 1))
    high = renoise(low, t, s, gaussian(2, 1))
    for x, level in ((low, t), (high, s)):
        noise = (x - level.alpha * image) / level.sigma
        assert noise.mean() == pytest.approx(0, abs=0.02) and noise.std() == pytest.approx(1, abs=0.02)
        assert (noise * (image - 0.7)).mean() / 0.3 == pytest.approx(0, abs=0.02)
    # q(x_s | x_t): what is added is independent of x_t
    added = high - s.alpha / t.alpha * low
    assert torch.corrcoef(torch.stack([added.flatten(), low.flatten()]))[0, 1] == pytest.approx(0, abs=0.02)


def test_a_path_may_climb() -> None:
    counter, problem = Counter(), scalar(0.7, 0.3)
    path = VP.path(60, spacing="log-snr")
    up_and_down = [*path[:40], path[10], *path[11:]]
    seen: list[Progress] = []
    x = problem.marginal(white(1, 1, 10_000), path[0])
    prior = counter.watch(problem.prior(VP))
    result = drain(sample(prior, x, up_and_down, noise=gaussian(0, 1)), seen.append)
    assert [p.x0 is None for p in seen].index(True) == 39 and sum(p.x0 is None for p in seen) == 1
    assert counter.calls == len(up_and_down) - 2  # the way up needs no network
    assert result.mean() == pytest.approx(0.7, abs=0.015) and result.std() == pytest.approx(0.3, abs=0.015)


@pytest.mark.parametrize(
    ("steps", "jump", "times"), [(12, 3, 4), (10, 3, 2), (5, 10, 3), (9, 1, 2), (7, 2, 1), (1, 1, 3)]
)
def test_repaint_path_walks_each_stretch_as_often_as_asked(steps: int, jump: int, times: int) -> None:
    path = VP.path(steps)
    walk = repaint_path(path, jump, times)
    assert walk[0] == path[0] and walk[-1] == CLEAN
    assert walk.count(CLEAN) == 1  # once there, there is no way back
    downs = [(a, b) for a, b in pairwise(walk) if b.ratio < a.ratio]
    for a, b in pairwise(path):
        assert downs.count((a, b)) == (times if b.sigma > 0 else 1)
    assert len(downs) == times * (steps - 1) + 1  # the network calls
    ups = [(path.index(b), path.index(a)) for a, b in pairwise(walk) if b.ratio > a.ratio]
    assert all(i % jump == 0 and j - i <= jump for i, j in ups)


def test_repaint_path_once_is_the_path_itself() -> None:
    assert repaint_path(VP.path(13), jump=4, times=1) == VP.path(13)


@pytest.mark.parametrize(("jump", "times"), [(0, 3), (3, 0)])
def test_an_impossible_repaint_path_is_refused(jump: int, times: int) -> None:
    with pytest.raises(BadInput, match="jump >= 1 and times >= 1"):
        repaint_path(VP.path(4), jump, times)
