"""Which lesson a plan is about, by its `kind`, and how its images are prepared."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from ..errors import choose
from .cases import CaseCache, prepare_segments
from .contrasts import ContrastCache, RegressorLesson, TranslatorLesson, prepare_contrasts
from .latent import AutoencoderLesson, LatentLesson
from .lessons import ClassifierLesson, DenoiserLesson, Lesson, PriorLesson
from .morph import MorphLesson, PairCache, VoxelMorphLesson, prepare_pairs
from .plan import AnyPlan
from .prepare import prepare as prepare_slices
from .prepare import read_cache
from .segment import ImagerLesson, MedSegDiffLesson, SegmenterLesson, UNetLesson
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
    "imager": ImagerLesson,
}
MORPHERS: dict[str, Callable[[PairCache], Lesson]] = {"morph": MorphLesson, "voxelmorph": VoxelMorphLesson}
TRANSLATORS: dict[str, Callable[[ContrastCache], Lesson]] = {
    "translator": TranslatorLesson,
    "regressor": RegressorLesson,
}


class Trade(NamedTuple):
    """How images for some kinds of plans are prepared, what they are then called, what reads them, and the lessons."""

    prepare: Callable[..., int]
    things: str
    cache: Callable[[Path], Any]
    lessons: Mapping[str, Callable[[Any], Lesson]]


TRADES = (
    Trade(prepare_slices, "slices", SliceCache, LESSONS),
    Trade(prepare_segments, "cases", CaseCache, SEGMENTERS),
    Trade(prepare_pairs, "cases", PairCache, MORPHERS),
    Trade(prepare_contrasts, "slices", ContrastCache, TRANSLATORS),
    Trade(prepare_frames, "frames", VesselCache, {"darl": VesselLesson}),
)


def prepare(plan: AnyPlan, data: Path, cache: Path, say: Callable[[str], None]) -> str:
    """Write the cache file of a plan from the train split; returns what is in it, in words. Raises BadInput."""
    trade = _trade(plan.kind)
    return f"{trade.prepare(plan, data, cache, say)} {trade.things}"


def lesson(cache: Path) -> Lesson:
    """The lesson in a cache file of `meddiff train prepare`; raises BadInput."""
    kind = _kind(cache)
    trade = _trade(kind)
    return trade.lessons[kind](trade.cache(cache))


def _trade(kind: str) -> Trade:
    kinds = {name: trade for trade in TRADES for name in trade.lessons}
    return kinds[choose(kind, kinds, "kind of plan")]


def _kind(cache: Path) -> str:
    """What the plan in a cache file says of its kind; that of the first plans, which say nothing, is "prior"."""
    with read_cache(cache) as (_file, metadata):
        return str(json.loads(metadata["plan"]).get("kind", "prior"))
