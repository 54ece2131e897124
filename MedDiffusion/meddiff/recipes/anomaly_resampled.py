"""Anomaly detection by drawing anew: the image, or what was improbable of it, is replaced by a healthy sample."""

from __future__ import annotations

from typing import Annotated

from torch import Tensor
from torch.nn import functional

from ..guides import Replace
from ..likelihood import band, latent_kl
from ..noises import Gaussian
from ..prior import Prior
from ..registry import Between, OneOf, recipe
from ..sampling import Run, diffuse, repaint_path, sample, stage
from ..simplex import Simplex
from ..solvers import DDIM
from .anomaly import TASK, Depth, Levels, Steps, Subject, needed


@recipe(
    "anoddpm",
    title="AnoDDPM (partial diffusion)",
    task=TASK,
    summary="Noise a part of the way, then sample back as healthy; simplex noise drowns lesions of any size.",
    paper="Wyatt et al., CVPR Workshops 2022 (AnoDDPM), doi:10.1109/CVPRW56347.2022.00080",
    needs="a prior of healthy images, trained with simplex noise for the kind simplex",
    calls=(("steps",),),
    presets={"fast": {"steps": 10}, "balanced": {"steps": 40}, "best": {"steps": 200}},
)
def anoddpm(
    prior: Prior,
    data: Subject,
    *,
    noise: Gaussian,
    kind: Annotated[str, OneOf(("simplex", "gaussian"), "noise of the way up and of the way back")] = "simplex",
    steps: Steps = 40,
    depth: Depth = 0.25,
) -> Run[Tensor]:
    """Wyatt 2022, algorithm 2: q(x_t | image) at a fraction of the schedule, then ancestral steps with the same noise,
    which has unit variance here, in training and in sampling."""
    field = Simplex(noise.seeds) if kind == "simplex" else noise
    told = data.tell("simplex") if kind == "simplex" else data.tell("healthy", "null")
    path = prior.path(steps, depth)
    x = diffuse(data.image, path[0], field)
    return (yield from sample(prior, x, path, solver=DDIM(eta=1.0), cond=told, noise=field))


@recipe(
    "latent-healing",
    title="Latent healing",
    task=TASK,
    part="latent",
    summary="Finds the codes that a latent prior did not expect, and draws these anew among the others.",
    paper="Pinaya et al., MICCAI 2022 (Fast unsupervised brain anomaly detection), arXiv:2206.03461",
    needs="a latent prior of healthy images",
    # each stretch of the way back is walked `passes` times, but the last step to the clean codes only once
    calls=(("levels",), ("steps", "passes"), (-1, "passes"), (1,)),
    presets={
        "fast": {"levels": 4, "steps": 6},
        "balanced": {"levels": 10, "steps": 30},
        "best": {"levels": 30, "steps": 50, "passes": 2},
    },
)
def latent_healing(
    prior: Prior,
    data: Subject,
    *,
    noise: Gaussian,
    levels: Levels = 10,
    steps: Steps = 30,
    depth: Depth = 0.5,
    passes: Annotated[int, Between(1, 10, "times that each stretch of the way back is walked (RePaint)")] = 1,
    high: Annotated[float, Between(0.02, 1.0, "fraction of the schedule where the divergence starts")] = 0.6,
    low: Annotated[float, Between(0.01, 0.99, "fraction of the schedule where the divergence ends")] = 0.4,
    quantile: Annotated[
        float, Between(0.5, 1.0, "of the brain's own divergence, if none of healthy brains is known")
    ] = 0.95,
    contrast: Annotated[
        bool, Between(0, 1, "subtract the decoded original, in which losses of the codes cancel")
    ] = True,
) -> Run[Tensor]:
    """Pinaya 2022, sec. 2.3: codes with a step-wise KL above that of healthy ones, and their neighbours, are resampled,
    the others kept at each level (RePaint's eq. 8); residual = (original - healed) * mask, at the image's pixels."""
    space, size, told = needed(data.space, "a latent prior"), data.image.shape[2:], data.tell("healthy", "null")
    z, path = space.encode(data.image), repaint_path(prior.path(steps, depth), times=passes)
    of = levels + len(path) - 1
    kl = yield from stage(latent_kl(prior, z, band(prior, levels, high, min(low, 0.9 * high)), noise, told), 0, of)
    limit = data.levels.get("kl", data.quantile(space.enlarge(kl, size), quantile))
    odd = functional.max_pool2d((kl > limit).to(z), 3, stride=1, padding=1)
    x, known = diffuse(z, path[0], noise), (Replace(z, 1 - odd),)
    healing = sample(prior, x, path, solver=DDIM(eta=1.0), guides=known, cond=told, noise=noise)
    healed = space.decode((yield from stage(healing, levels, of)), size)
    original = space.decode(z, size) if contrast else data.image
    return data.image + space.enlarge(odd, size) * (healed - original)
