"""Anomaly detection: what a brain would look like if it were healthy.

Each recipe is a generator over the one loop of `sampling.sample` and returns a healthy twin (B, 1, Y, X) of the image
in network units. The anomaly map is always |image - twin|, so a recipe that reads a residual r returns image - r.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, TypeVar

import torch
from torch import Tensor

from ..errors import BadInput
from ..guides import Classifier, Clip, FreeGuidance, Guide
from ..levels import Level
from ..noises import Gaussian
from ..prior import Condition, Prior
from ..registry import Between, OneOf, recipe
from ..sampling import Progress, Run, invert, sample, stage
from ..spaces import Space

T = TypeVar("T")
TASK = "anomaly"
RANGE = (0.0, 2.0)  # of images in network units
Steps = Annotated[int, Between(1, 1000, "steps between the image and the noisiest level")]
Depth = Annotated[float, Between(0.01, 1.0, "fraction of the noise schedule that the image goes up; more changes more")]
Jitter = Annotated[float, Between(0.0, 0.5, "noise added to what the method sees, so that samples of it differ")]
Contrast = Annotated[bool, Between(0, 1, "subtract a decoding without guidance, in which errors of inversion cancel")]
Draws = Annotated[int, Between(1, 64, "noised images a level, every second one with the negative noise of the last")]
Measure = Annotated[str, OneOf(("likelihood", "difference"), "how the two expectations are compared")]
High = Annotated[float, Between(0.02, 20.0, "largest noise-to-signal ratio; more finds larger anomalies")]
Low = Annotated[float, Between(0.01, 20.0, "smallest noise-to-signal ratio; less finds smaller anomalies")]
Levels = Annotated[int, Between(1, 100, "noise levels at which the network is asked")]


@dataclass(frozen=True)
class Subject:
    """The images (B, 1, Y, X) in network units, where the brain is, what the network can be told, and the other parts.

    `told` has the contrast alone as "null" and the contrast in a state as "healthy", "diseased", "simplex";
    `log_prob(x, level, state)` is a classifier's log p(state | x_t), (B,); `denoise` is a denoising autoencoder;
    `space` is where a latent prior lives. Of `levels`, what is still healthy, `latent-healing` takes "kl" (nats) and
    `intensity-threshold` "low" and "high"; without them both go by quantiles of the brain at hand.
    """

    image: Tensor
    brain: Tensor
    told: Mapping[str, Condition | None]
    log_prob: Callable[[Tensor, Level, str], Tensor] | None = None
    denoise: Callable[[Tensor], Tensor] | None = None
    space: Space | None = None
    levels: Mapping[str, float] = field(default_factory=dict)

    def tell(self, *states: str) -> Condition | None:
        """What the network is told for the first of `states` that it knows; raises BadInput where it knows none."""
        for state in states:
            if state in self.told:
                return self.told[state]
        knows = ", ".join(self.told) or "none"
        raise BadInput(
            f"this method tells the model {states[0]!r}, and it knows {knows}; choose another method or model"
        )

    def seen(self, noise: Gaussian, jitter: float) -> Tensor:
        """The image that a deterministic method gets: with noise of this size, one sample is not the next."""
        return self.image + jitter * noise(self.image) if jitter else self.image

    def towards(self, state: str, scale: float) -> Classifier:
        """The classifier's guidance to `state`."""
        log_prob = needed(self.log_prob, "a classifier of noised images")
        return Classifier(lambda x, level: log_prob(x, level, state), scale)

    def quantile(self, values: Tensor, q: float) -> Tensor:
        """A quantile of `values` (B, 1, Y, X) in each image's brain, or all over one without brain; (B, 1, 1, 1)."""
        rows = [v[b] if bool(b.any()) else v.flatten() for v, b in zip(values, self.brain, strict=True)]
        return torch.stack([torch.quantile(row, q) for row in rows])[:, None, None, None]


def needed(part: T | None, what: str) -> T:
    """A part of the subject; raises BadInput where the model came without it."""
    if part is None:
        raise BadInput(f"this method needs {what}, which this model does not come with; choose another method or model")
    return part


def _counterfactual(
    prior: Prior,
    data: Subject,
    *,
    noise: Gaussian,
    steps: int,
    depth: float,
    jitter: float,
    contrast: bool,
    guides: Sequence[Guide],
    state: str = "null",
) -> Run[Tensor]:
    """Abduction, action, prediction: DDIM inversion told the contrast alone, then decoding with `guides` along the same
    levels. twin = image + decoded - seen or, with `contrast`, image + decoded - decoded without guides."""
    path, null = prior.path(steps, depth), data.tell("null")
    image, of = data.seen(noise, jitter), steps * (3 if contrast else 2)
    code = yield from stage(invert(prior, image, path[::-1], cond=null), 0, of)
    decoding = sample(prior, code, path, guides=guides, cond=data.tell(state), noise=noise)
    decoded = yield from stage(decoding, steps, of)
    if contrast:
        image = yield from stage(sample(prior, code, path, cond=null, noise=noise), 2 * steps, of)
    return data.image + decoded - image


@recipe(
    "restoration",
    title="Restoration (DISYRE)",
    task=TASK,
    summary="The network was taught to see through noise what painted lesions hid; what it changes is the anomaly.",
    paper="After Naval Marimont et al., ISBI 2024 (DISYRE), arXiv:2311.15453",
    needs="a prior that was taught to restore images with painted lesions",
    calls=(("levels", "draws"), ("levels", "draws", "contrast")),
    presets={
        "fast": {"levels": 3, "draws": 1},
        "balanced": {"levels": 6, "draws": 2},
        "best": {"levels": 10, "draws": 4},
    },
)
def restoration(
    prior: Prior,
    data: Subject,
    *,
    noise: Gaussian,
    levels: Levels = 6,
    draws: Draws = 2,
    high: High = 0.3,
    low: Low = 0.12,
    contrast: Annotated[
        bool, Between(0, 1, "compare with what is expected as it is: errors of denoising cancel")
    ] = True,
    measure: Measure = "likelihood",
) -> Run[Tensor]:
    """With h = E[healthy x0 | x_t] (told "restored") and d = E[x0 | x_t] (told "diseased"), averaged over levels and
    noise: twin = image - r, where r compares h with d as `diffusion_contrast` does, or h itself without `contrast`
    (Naval Marimont 2024, sec. 2.2, whose corruption is synthetic anomalies alone; here it is these and noise)."""
    given = {"noise": noise, "levels": levels, "draws": draws, "high": high, "low": low}
    states = ("restored", "diseased") if contrast else ("restored",)
    restored, *seen = yield from _expectations(prior, data, states, **given)
    return data.image - _residual(data.image, restored, seen[0], measure) if seen else restored


@recipe(
    "diffusion-contrast",
    title="Diffusion contrast (healthy against diseased)",
    task=TASK,
    summary="What the network expects of the same noised image if it is diseased, less what if it is healthy: fast.",
    paper="After Li et al., ICCV 2023 (Diffusion Classifier), arXiv:2303.16203, pixel by pixel",
    needs="a prior that knows healthy and diseased images",
    calls=((2, "levels", "draws"),),
    presets={
        "fast": {"levels": 4, "draws": 1},
        "balanced": {"levels": 6, "draws": 2},
        "best": {"levels": 10, "draws": 4},
    },
)
def diffusion_contrast(
    prior: Prior,
    data: Subject,
    *,
    noise: Gaussian,
    levels: Levels = 6,
    draws: Draws = 2,
    high: High = 1.0,
    low: Low = 0.2,
    against: Annotated[str, OneOf(("diseased", "null"), "what healthy is compared with")] = "diseased",
    measure: Measure = "likelihood",
) -> Run[Tensor]:
    """h = E[x0 | x_t, healthy] and d = E[x0 | x_t, diseased] of the same x_t, both averaged over levels and noise. The
    residual is d - h, in which errors of reconstruction cancel, or that part of the healthy error that disease
    explains, r^2 = (x - h)^2 - (x - d)^2: twice the log-likelihood ratio of two Gaussians around them (Li 2023, eq. 5,
    at one pixel)."""
    x, given = data.image, {"noise": noise, "levels": levels, "draws": draws, "high": high, "low": low}
    healthy, diseased = yield from _expectations(prior, data, ("healthy", against), **given)
    return x - _residual(x, healthy, diseased, measure)


def _residual(x: Tensor, healthy: Tensor, diseased: Tensor, measure: str) -> Tensor:
    """d - h, or with its sign the root of (x - h)^2 - (x - d)^2, 0 where disease explains nothing."""
    difference = diseased - healthy
    if measure == "difference":
        return difference
    return difference.sign() * ((x - healthy) ** 2 - (x - diseased) ** 2).clamp_min(0).sqrt()


@torch.no_grad()
def _expectations(
    prior: Prior,
    data: Subject,
    states: Sequence[str],
    *,
    noise: Gaussian,
    levels: int,
    draws: int,
    high: float,
    low: float,
) -> Run[list[Tensor]]:
    """E[x0 | x_t, state] for each of `states`, of the same noised images, averaged over levels and noise; every second
    noise is the negative of the last, so that what is linear in it cancels."""
    schedule, x, of = prior.schedule, data.image, levels * draws
    path = prior.path(levels, schedule.fraction(high), "log-snr", schedule.fraction(min(low, high / 2)))[:-1]
    found, z = [torch.zeros_like(x) for _ in states], x
    for i, level in enumerate(path):
        for k in range(draws):
            z = -z if k % 2 else noise(x)
            noised = level.alpha * x + level.sigma * z
            now = [prior.denoise(noised, level, data.tell(state)) for state in states]
            found = [mean + x0 / of for mean, x0 in zip(found, now, strict=True)]
            yield Progress(i * draws + k + 1, of, level, now[0])
    return found


@recipe(
    "counterfactual",
    title="Counterfactual (classifier-free guidance)",
    task=TASK,
    summary="The image is encoded without a diagnosis and decoded as healthy: keeps the patient, changes the disease.",
    paper="Sanchez et al., DGM4MICCAI 2022 (What is healthy?), arXiv:2207.12268",
    needs="a prior that knows healthy images and is used to not being told",
    # inversion, then two calls a step with guidance, then perhaps one without
    calls=((3, "steps"), ("steps", "contrast")),
    presets={"fast": {"steps": 2}, "balanced": {"steps": 10}, "best": {"steps": 25}},
)
def counterfactual(
    prior: Prior,
    data: Subject,
    *,
    noise: Gaussian,
    steps: Steps = 10,
    depth: Depth = 0.4,
    scale: Annotated[float, Between(0.0, 30.0, "strength of the guidance towards healthy")] = 8.0,
    contrast: Contrast = True,
    jitter: Jitter = 0.02,
) -> Run[Tensor]:
    """Sanchez 2022, sec. 2: DDIM inversion with the null state, decoding with x0_null + scale (x0_healthy - x0_null)
    and dynamic clipping at the 99 % quantile, both along the very same levels."""
    guides = (FreeGuidance(scale, data.tell("null")), Clip(*RANGE, quantile=0.99))
    given = {"noise": noise, "steps": steps, "depth": depth, "jitter": jitter, "contrast": contrast}
    return (yield from _counterfactual(prior, data, guides=guides, state="healthy", **given))


@recipe(
    "classifier-guided",
    title="Classifier guidance",
    task=TASK,
    part="classifier",
    summary="The image is encoded, then decoded along the gradient of a classifier towards healthy.",
    paper="Wolleb et al., MICCAI 2022, arXiv:2203.04306",
    needs="a prior of the contrast, and a classifier of noised images, whose gradient is taken at each step",
    calls=((2, "steps"), ("steps", "contrast")),
    presets={"fast": {"steps": 3}, "balanced": {"steps": 15}, "best": {"steps": 40}},
)
def classifier_guided(
    prior: Prior,
    data: Subject,
    *,
    noise: Gaussian,
    steps: Steps = 15,
    depth: Depth = 0.5,
    scale: Annotated[float, Between(0.0, 1000.0, "times the classifier's gradient; 1 is Bayes' rule")] = 10.0,
    contrast: Contrast = True,
    jitter: Jitter = 0.02,
) -> Run[Tensor]:
    """Wolleb 2022, algorithm 1: DDIM inversion to half the schedule, then eps - scale sigma grad log p(healthy | x)."""
    guides = (data.towards("healthy", scale),)
    given = {"noise": noise, "steps": steps, "depth": depth, "jitter": jitter, "contrast": contrast}
    return (yield from _counterfactual(prior, data, guides=guides, **given))


@recipe(
    "diff-scm",
    title="Diff-SCM (structural causal model)",
    task=TASK,
    part="classifier",
    summary="Answers what this very image had been with another cause: abduction, action, prediction.",
    paper="Sanchez & Tsaftaris, CLeaR 2022 (Diff-SCM), arXiv:2202.10166",
    needs="a prior of the contrast, and a classifier of noised images, the anti-causal mechanism",
    calls=((2, "steps"), ("steps", "contrast")),
    presets={"fast": {"steps": 3}, "balanced": {"steps": 15}, "best": {"steps": 40}},
)
def diff_scm(
    prior: Prior,
    data: Subject,
    *,
    noise: Gaussian,
    state: Annotated[str, OneOf(("healthy", "diseased"), "what the cause is set to")] = "healthy",
    steps: Steps = 15,
    depth: Depth = 0.75,
    scale: Annotated[float, Between(0.0, 1000.0, "times the classifier's gradient; 1 is Bayes' rule")] = 1.0,
    contrast: Contrast = False,
    jitter: Jitter = 0.02,
) -> Run[Tensor]:
    """Sanchez & Tsaftaris 2022, algorithm 1, on the graph state -> image: the exogenous noise u by DDIM inversion, then
    do(state) by grad log p(image | state) = grad log p(state | image) + grad log p(image)."""
    guides = (data.towards(state, scale),)
    given = {"noise": noise, "steps": steps, "depth": depth, "jitter": jitter, "contrast": contrast}
    return (yield from _counterfactual(prior, data, guides=guides, **given))
