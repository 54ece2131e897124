"""Which lesson a plan is about, by its `kind`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ..errors import choose
from .latent import AutoencoderLesson, LatentLesson
from .lessons import ClassifierLesson, DenoiserLesson, Lesson, PriorLesson
from .slices import SliceCache

LESSONS: dict[str, Callable[[SliceCache], Lesson]] = {
    "prior": PriorLesson,
    "classifier": ClassifierLesson,
    "denoiser": DenoiserLesson,
    "autoencoder": AutoencoderLesson,
    "latent": LatentLesson,
}


def lesson(cache: Path) -> Lesson:
    """The lesson in a cache file of `meddiff train prepare`; raises BadInput."""
    slices = SliceCache(cache)
    return LESSONS[choose(slices.plan.kind, LESSONS, "kind of plan")](slices)
