"""What the methods of each task are asked in the tests that all of them must pass."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from classes import Classes
from gaussians import SCHEDULES, Counter, Normal, exact_prior, scalar, white, wiener
from states import told, world
from torch import Tensor

from meddiff.codes import CODES
from meddiff.coils import simulate_sensitivities
from meddiff.levels import Level
from meddiff.masks import cartesian_random
from meddiff.multicoil import MultiCoil
from meddiff.noises import gaussian
from meddiff.operators import Fourier, Operator
from meddiff.prior import Condition, Prior
from meddiff.recipes.anomaly import Subject
from meddiff.recipes.inpaint import Hole
from meddiff.recipes.reconstruct import Measured
from meddiff.recipes.register import Pair
from meddiff.recipes.segment import Pictured
from meddiff.recipes.synthesise import Wanted
from meddiff.recipes.translate import Sources
from meddiff.registry import Recipe
from meddiff.sampling import Run
from meddiff.spaces import Pixel


@dataclass(frozen=True)
class Question:
    """`data(batch, counter)` holds one question `batch` times and counts the calls of other networks than the prior's;
    `inputs` are its tensors, `first` has the shape of an answer, and `fits` is what an answer must keep to."""

    prior: Prior
    data: Callable[[int, Counter], Any]
    inputs: Callable[[Any], list[Tensor]]
    first: Callable[[Any], Tensor]
    fits: Callable[[Recipe, Any, Tensor], bool]
    conditions: Callable[[Any], list[Condition | None]]  # what a network may be told
    single: Callable[[Any], Any]  # the data in single precision
    apart: float  # at least so far is one sample from the next, somewhere
    settings: Mapping[str, Any]  # for a run of a moment, where a method has them
    given: Mapping[str, Any] = field(default_factory=dict)  # to the recipe, beside its settings
    certain: frozenset[str] = frozenset()  # the methods that leave nothing to chance
    retelling: frozenset[str] = frozenset()  # the methods that tell the network of what they have drawn, too
    asks: Callable[[Recipe], bool] = lambda method: True

    def small(self, method: Recipe) -> dict[str, Any]:
        return method.settings({k: v for k, v in self.settings.items() if k in method.parameters})

    def run(
        self, method: Recipe, batch: int, seed: int = 0, counter: Counter | None = None, **settings: Any
    ) -> tuple[Any, Run[Tensor]]:
        """The data, and the method on its way to an answer."""
        counter = counter or Counter()
        data, prior = self.data(batch, counter), counter.watch(self.prior)
        return data, method.run(prior, data, noise=gaussian(seed, batch), **self.given, **settings)


# ---------------------------------------------------------------- reconstruct

SIZE = (16, 16)
FIELD = wiener(*SIZE)
SAID = Condition(label=torch.tensor([1]))
APPROXIMATE = {"dps"}  # these only pull towards the data; all others end in agreement with them


def fourier(channels: int) -> Fourier:
    return Fourier(cartesian_random(SIZE, 3.0, 0.2, seed=1), channels)


def multi_coil(channels: int) -> MultiCoil:
    """Fewer measurements than unknowns, and well conditioned, so that A^+ is exact to rounding."""
    mask = cartesian_random(SIZE, 4.0 if channels == 2 else 5.3, 0.01, seed=1)
    return MultiCoil(mask, simulate_sensitivities(2, SIZE).to(torch.complex128), channels)


PROBLEMS: dict[str, Fourier | MultiCoil] = {
    "real": fourier(1),
    "complex": fourier(2),
    "real, coils": multi_coil(1),
    "complex, coils": multi_coil(2),
}


def measure(operator: Operator, batch: int, channels: int = 1, field: Normal = FIELD) -> Measured:
    """What `operator` sees of one image of the stationary prior, `batch` times."""
    height, width = field.variance.shape
    image = field.draw(white(1, channels, height, width, seed=5))
    return Measured(operator, operator(image.expand(batch, -1, -1, -1)))


def misfit(data: Measured, x: Tensor) -> float:
    return float((data.operator(x) - data.y).abs().square().sum().sqrt() / data.y.abs().square().sum().sqrt())


def reconstruct(operator: Fourier | MultiCoil) -> Question:
    return Question(
        prior=FIELD.prior(SCHEDULES["vp"]),
        data=lambda batch, _: measure(operator, batch, operator.channels),
        inputs=lambda data: [data.y],
        first=lambda data: data.initial,
        fits=lambda method, data, x: misfit(data, x) < (0.8 if method.name in APPROXIMATE else 1e-4),
        conditions=lambda data: [SAID],
        single=lambda data: replace(data, y=data.y.to(torch.complex64)),
        apart=0.01,
        settings={"steps": 6},
        given={"cond": SAID},
    )


# ---------------------------------------------------------------- anomaly


def anomaly(state: str) -> Question:
    """Disease changes the texture, too, so that no answer is free of the noise; three draws leave one without its
    negative."""
    truth = world(spread=2.0)

    def data(batch: int, counter: Counter) -> Subject:
        return truth.subject(truth.image(state, batch), counter, space=Pixel())

    return Question(
        prior=truth.prior(SCHEDULES["vp"]),
        data=data,
        inputs=lambda data: [data.image, data.brain],
        first=lambda data: data.image,
        fits=lambda method, data, x: bool((x - data.image).abs().max() < 2),
        conditions=lambda data: list(data.told.values()),
        single=lambda data: replace(data, image=data.image.float()),
        apart=1e-4,  # a healthy image is left alone, whatever the noise
        settings={
            **{"steps": 6, "levels": 3, "draws": 3, "passes": 2, "scale": 1.0, "jitter": 0.1, "measure": "likelihood"},
            **{"counterfactual": True, "anoddpm": True, "contrast": False},
        },
    )


# ---------------------------------------------------------------- segment


def segment(dims: int, code: str) -> Question:
    """Voxels of three classes, each on its own, with chances that the image tells; the denoiser knows them."""
    truth = Classes(code)
    size = (6, 7, 5)[:dims]

    def data(batch: int, counter: Counter) -> Pictured:
        image = white(1, 1, *size, seed=5).expand(batch, -1, *size)

        def one_pass(x: Tensor) -> Tensor:
            counter.calls += 1
            return truth.chances(x).log()

        first = truth.chances(image[:1])
        return Pictured(image, torch.arange(batch), 3, code, first, one_pass, lambda x: truth.chances(x).log())

    return Question(
        prior=truth.prior(SCHEDULES["cosine"]),
        data=data,
        inputs=lambda data: [data.image, data.first, data.members],
        first=lambda data: data.first.expand(len(data.image), *data.first.shape[1:]),
        fits=lambda method, data, x: bool((x >= 0).all() and (x.sum(1) - 1).abs().max() < 1e-5),
        conditions=lambda data: [data.condition],
        single=lambda data: replace(data, image=data.image.float(), first=data.first.float()),
        apart=1e-3,
        settings={"steps": 6},
        asks=lambda method: method.part != "reader",
    )


def vessels() -> Question:
    """A stationary image of which a reader is told the noise, too: its logits are twice the clean image."""
    prior = FIELD.prior(SCHEDULES["vp"])
    level = prior.schedule.levels[int(0.05 * len(prior.schedule.levels))]

    def data(batch: int, counter: Counter) -> Pictured:
        image = FIELD.draw(white(1, 1, *SIZE, seed=5)).expand(batch, -1, -1, -1)
        return Pictured(image, torch.arange(batch), 2, reader=lambda x, eps: 2 * (x - level.sigma * eps) / level.alpha)

    return Question(
        prior=prior,
        data=data,
        inputs=lambda data: [data.image, data.members],
        first=lambda data: data.image.expand(-1, 2, -1, -1),
        fits=lambda method, data, x: bool((x >= 0).all() and (x.sum(1) - 1).abs().max() < 1e-5),
        conditions=lambda data: [None],
        single=lambda data: replace(data, image=data.image.float()),
        apart=1e-3,
        settings={"level": 0.05},
        asks=lambda method: method.part == "reader",
    )


# ---------------------------------------------------------------- register


def register(size: tuple[int, ...]) -> Question:
    """A bump and the same bump elsewhere; what deforms is any smooth function of both images with a bias of its own."""

    def bump(shift: float) -> Tensor:
        axes = torch.meshgrid(*(torch.linspace(-3, 3, n, dtype=torch.float64) for n in size), indexing="ij")
        return torch.exp(-torch.stack([(axis - shift).square() for axis in axes]).sum(0))[None, None]

    def data(batch: int, counter: Counter) -> Pair:
        def deform(moving: Tensor, other: Tensor) -> Tensor:
            counter.calls += 1
            return (0.2 * (other - moving).tanh() + 0.1).repeat(1, len(size), *(1,) * len(size))

        moving, fixed = (bump(shift).repeat(batch, 1, *(1,) * len(size)) for shift in (0.0, 0.5))
        return Pair(moving, fixed, deform)

    return Question(
        prior=scalar().prior(SCHEDULES["vp"]),
        data=data,
        inputs=lambda data: [data.moving, data.fixed],
        first=lambda data: data.moving.new_zeros(len(data.moving), 3, len(size), *size),
        fits=lambda method, data, v: not v[:, 0].any() and bool(v[:, 1].any()),
        conditions=lambda data: [data.condition],
        single=lambda data: replace(data, moving=data.moving.float(), fixed=data.fixed.float()),
        apart=1e-3,
        settings={"frames": 3, "again": 2, "refine": 2, "steps": 3},
        certain=frozenset({"diffusemorph", "ddm-4d", "voxelmorph"}),
        retelling=frozenset({"diffusemorph", "ddm-4d", "diffusemorph-synthetic"}),
    )


# ---------------------------------------------------------------- synthesise


def synthesise() -> Question:
    """Diseased images, by a network that knows both states and none."""
    truth = world(spread=2.0)

    def data(batch: int, counter: Counter) -> Wanted:
        conditions = told(batch)
        blank = torch.zeros(batch, 1, *truth.region.shape, dtype=torch.float64)
        return Wanted(blank, conditions["diseased"], conditions["null"])

    return Question(
        prior=truth.prior(SCHEDULES["vp"]),
        data=data,
        inputs=lambda data: [data.blank],
        first=lambda data: data.blank,
        fits=lambda method, data, x: bool((x - 0.8).abs().max() < 2),
        conditions=lambda data: [data.told, data.untold],
        single=lambda data: replace(data, blank=data.blank.float()),
        apart=1e-3,
        settings={"steps": 6},
    )


# ---------------------------------------------------------------- translate

SLOPE, REST = 0.8, scalar(0.0, 0.3)  # a contrast is so many times the other, and something of its own


def denoise_beside(x: Tensor, level: Level, cond: Condition | None) -> Tensor:
    """E[x0 | x_t, source], the source in the first channel beside x."""
    assert cond is not None and cond.concat is not None
    known = SLOPE * cond.concat[:, :1].to(x)
    return known + REST.denoise(x - level.alpha * known, level)


def translate() -> Question:
    """Voxels that are independent given the source; the second of three contrasts is wanted, the third is missing."""

    def data(batch: int, counter: Counter) -> Sources:
        def regress(blank: Tensor, told: Condition) -> Tensor:
            counter.calls += 1
            assert told.concat is not None
            return SLOPE * told.concat[:, :1]

        images = white(1, 3, 6, 7, seed=5).expand(batch, -1, -1, -1)
        given = torch.tensor([True, False, False]).expand(batch, -1)
        return Sources(images, given, torch.ones(batch, dtype=torch.long), regress)

    return Question(
        prior=exact_prior(denoise_beside, SCHEDULES["cosine"]),
        data=data,
        inputs=lambda data: [data.images, data.given, data.wanted],
        first=lambda data: data.blank,
        fits=lambda method, data, x: bool((x - SLOPE * data.images[:, :1]).abs().max() < 6 * 0.3),
        conditions=lambda data: [data.told],
        single=lambda data: replace(data, images=data.images.float()),
        apart=1e-3,
        settings={"steps": 6},
        certain=frozenset({"regression"}),
    )


# ---------------------------------------------------------------- inpaint


def inpaint() -> Question:
    """A rectangle of a diseased image is hidden."""
    truth = world(spread=2.0)

    def data(batch: int, counter: Counter) -> Hole:
        conditions, hidden = told(batch), truth.region[None, None].double()
        return Hole(truth.image("diseased", batch), hidden, conditions["healthy"], conditions["null"])

    return Question(
        prior=truth.prior(SCHEDULES["vp"]),
        data=data,
        inputs=lambda data: [data.image, data.hidden],
        first=lambda data: data.image,
        fits=lambda method, data, x: bool(torch.equal(x * (1 - data.hidden), data.image * (1 - data.hidden))),
        conditions=lambda data: [data.told, data.untold],
        single=lambda data: replace(data, image=data.image.float(), hidden=data.hidden.float()),
        apart=1e-3,
        settings={"steps": 6, "passes": 2, "jump": 2},
    )


QUESTIONS: dict[str, dict[str, Question]] = {
    "reconstruct": {name: reconstruct(operator) for name, operator in PROBLEMS.items()},
    "segment": {f"{dims}D, {code}": segment(dims, code) for dims in (2, 3) for code in CODES} | {"vessels": vessels()},
    "anomaly": {state: anomaly(state) for state in ("healthy", "diseased")},
    "synthesise": {"states": synthesise()},
    "translate": {"one of three": translate()},
    "inpaint": {"rectangle": inpaint()},
    "register": {f"{len(size)}D": register(size) for size in ((12, 10), (7, 8, 9))},
}
