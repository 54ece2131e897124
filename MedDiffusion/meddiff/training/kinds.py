"""Which lesson a plan is about, by its `kind`, and how its images are prepared."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from safetensors import SafetensorError, safe_open

from ..errors import BadInput, choose
from .cases import CaseCache, prepare_cases
from .latent import AutoencoderLesson, LatentLesson
from .lessons import ClassifierLesson, DenoiserLesson, Lesson, PriorLesson
from .morph import MorphLesson, PairCache, VoxelMorphLesson, prepare_pairs
from .plan import AnyPlan, PairPlan, SegmentPlan, VesselPlan
from .prepare import prepare as prepare_slices
from .segment import MedSegDiffLesson, SegmenterLesson, UNetLesson
from .slices import SliceCache
from .vessels import VesselCache, VesselLesson, prepare_frames

LESSONS: dict[str, Callable[[SliceCache], Lesson]] = {
    "prior": PriorLesson,
    "classifier": ClassifierLesson,
    "denoiser": DenoiserLesson,
    "autoencoder": AutoencoderLesson,
    "latent": LatentLesson,
}


SEGMENTERS: dict[str, Callable[[CaseCache], Lesson]] = {
    "segmenter": SegmenterLesson,
    "unet": UNetLesson,
    "medsegdiff": MedSegDiffLesson,
}


MORPHERS: dict[str, Callable[[PairCache], Lesson]] = {"morph": MorphLesson, "voxelmorph": VoxelMorphLesson}


def prepare(plan: AnyPlan, data: Path, cache: Path, say: Callable[[str], None]) -> str:
    """Write the cache file of a plan from the train split; returns what is in it, in words. Raises BadInput."""
    if isinstance(plan, SegmentPlan):
        return f"{prepare_cases(plan, data, cache, say)} cases"
    if isinstance(plan, PairPlan):
        return f"{prepare_pairs(plan, data, cache, say)} cases"
    if isinstance(plan, VesselPlan):
        return f"{prepare_frames(plan, data, cache, say)} frames"
    return f"{prepare_slices(plan, data, cache, say)} slices"


def lesson(cache: Path) -> Lesson:
    """The lesson in a cache file of `meddiff train prepare`; raises BadInput."""
    kind = _kind(cache)
    if kind in SEGMENTERS:
        return SEGMENTERS[kind](CaseCache(cache))
    if kind in MORPHERS:
        return MORPHERS[kind](PairCache(cache))
    if kind == "darl":
        return VesselLesson(VesselCache(cache))
    return LESSONS[choose(kind, LESSONS, "kind of plan")](SliceCache(cache))


def _kind(cache: Path) -> str:
    """What the plan in a cache file says of its kind; that of the first plans, which say nothing, is "prior"."""
    try:
        with safe_open(cache, framework="pt") as file:
            return str(json.loads((file.metadata() or {})["plan"]).get("kind", "prior"))
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        raise BadInput(f"{cache} is not a cache made by `meddiff train prepare`: {error}") from None
