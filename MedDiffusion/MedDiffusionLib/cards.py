"""The models on this machine, as their cards tell: plain JSON, read without torch and pydantic, files not verified."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache
from math import prod
from pathlib import Path
from typing import Any

from meddiff.domain import PLANES
from meddiff.errors import BadInput, choose
from meddiff.places import CARD, WEIGHTS, model_folders

# What a network has that a recipe asks for, by its name
PARTS = {"medsegdiff": "medsegdiff", "darl": "reader", "one-pass-morpher": "baseline"}
SINGLE = ("baseline", "reader")  # parts that are all that their network can do


@dataclass(frozen=True)
class SegmentInfo:
    """A structure that a model segments: its name, its code (scheme, value, meaning), its colour (0 to 1); in place of
    the code, the whole `terminology` entry of a segment that was drawn."""

    name: str
    code: tuple[str, str, str] | None = None
    colour: tuple[float, float, float] | None = None
    terminology: str = ""


@dataclass(frozen=True)
class CovariateInfo:
    """A number that a model can be told: its unit, and the range that the model knows."""

    name: str
    unit: str
    low: float
    high: float


@dataclass(frozen=True)
class ModelInfo:
    """A model on this machine, as its card tells."""

    id: str
    version: str
    name: str
    summary: str
    task: str
    folder: Path
    modality: str
    anatomy: str
    orientation: str
    spacing_mm: tuple[float, ...]
    spacing_tolerance: float
    labels: tuple[str, ...]
    licence: str
    recipes: tuple[str, ...]
    parameters_count: int | None
    bytes: int
    quality: tuple[dict[str, Any], ...]
    citation: str
    intended_use: str
    limitations: str
    shape_multiple: int
    width: float = field(repr=False)  # channels of the widest level for each pixel: what memory grows with
    work: float = field(repr=False)  # multiplications for each pixel, to a factor: what time grows with
    companions: Mapping[str, str] = field(default_factory=dict, hash=False)  # id of a model, by its part in a recipe
    channels: tuple[str, ...] = ("",)  # the images that it wants
    segments: tuple[SegmentInfo, ...] = ()
    window: tuple[int, ...] = ()  # voxels ((Z,) Y, X) that the network saw at a time
    plays: tuple[str, ...] = ()  # the parts in a recipe that it can take by itself, without a companion
    states: tuple[str, ...] = ()  # of each label, such as healthy
    covariates: tuple[CovariateInfo, ...] = ()
    sees_labels: bool = False  # whether a label map of its segments can say where what is

    @property
    def plane(self) -> str | None:
        """The plane of the slices that it was trained on."""
        return next((plane for plane in PLANES if plane in self.orientation.lower()), None)

    @property
    def dims(self) -> int:
        """2 for a network of slices, 3 for one of volumes."""
        return len(self.spacing_mm)


def models() -> tuple[ModelInfo, ...]:
    """The models on this machine, first match of an id wins."""
    found: dict[str, ModelInfo | None] = {}
    for folder in model_folders():
        model = _read(folder)
        if isinstance(model, ModelInfo):
            found.setdefault(model.id, model)
        else:
            found.setdefault(folder.name, None)
    return tuple(m for m in found.values() if m is not None)


def model(id: str) -> ModelInfo:
    """The model of that id, or the one in that folder; raises BadInput."""
    if {"/", os.sep} & set(id):
        read = _read(Path(id))
        if isinstance(read, str):
            raise BadInput(read)
        return read
    known = {each.id: each for each in models()}
    return known[choose(id, known, "model")]


def broken_models() -> tuple[tuple[Path, str], ...]:
    """Folders whose card cannot be read, and why, in a sentence."""
    read = ((folder, _read(folder)) for folder in model_folders())
    return tuple((folder, problem) for folder, problem in read if isinstance(problem, str))


def _read(folder: Path) -> ModelInfo | str:
    """The model in a folder, or what is wrong with its card; read again when a file has changed."""
    return _parse(folder, *(_stamp(folder / name) for name in (CARD, WEIGHTS)))


def _stamp(path: Path) -> tuple[int, int] | None:
    with suppress(OSError):
        return path.stat().st_mtime_ns, path.stat().st_size
    return None


@lru_cache(maxsize=128)
def _parse(folder: Path, *_stamps: tuple[int, int] | None) -> ModelInfo | str:
    path = folder / CARD
    try:
        card = json.loads(path.read_text(encoding="utf-8"))
        files = card["files"].values()
        labels = card.get("labels") or {}
        words = "id version name summary task modality anatomy orientation licence citation intended_use limitations"
        width, work = _size(card["network"]["arguments"], len(card["spacing_mm"]))
        return ModelInfo(
            **{key: str(card[key]) for key in words.split()},
            folder=folder,
            spacing_mm=tuple(map(float, card["spacing_mm"])),
            spacing_tolerance=float(card["spacing_tolerance"]),
            labels=tuple(map(str, labels.get("names", ()))),
            recipes=tuple(card["recipes"]),
            parameters_count=_count_parameters(folder / WEIGHTS),
            bytes=sum(int(file["bytes"]) for file in files),
            quality=tuple(map(dict, card["quality"])),
            shape_multiple=int(card["shape_multiple"]),
            width=width,
            work=work,
            companions={str(part): str(id) for part, id in (card.get("companions") or {}).items()},
            channels=tuple(str(channel["name"]) for channel in card["channels"]),
            segments=tuple(map(_segment, card.get("segments") or ())),
            window=tuple(map(int, card.get("window") or ())),
            plays=_plays(card),
            states=tuple(map(str, labels.get("states", ()))),
            covariates=tuple(_covariate(*each) for each in (card.get("covariates") or {}).items()),
            sees_labels=_sees_labels(card),
        )
    except OSError as error:
        return f"{path} cannot be read: {error.strerror}"
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        return f"{path} is no model card ({type(error).__name__}: {error}); install the model again"


def _segment(entry: Mapping[str, Any]) -> SegmentInfo:
    code, colour = entry.get("code"), entry.get("colour")
    found = SegmentInfo(str(entry["name"]), code and tuple(map(str, code)), colour and tuple(map(float, colour)))
    if len(found.code or "   ") != 3 or len(found.colour or "   ") != 3:
        raise ValueError(f"{found.name} has the code {code} and the colour {colour}; expected three of each")
    return found


def _covariate(name: str, about: Mapping[str, Any]) -> CovariateInfo:
    return CovariateInfo(name, str(about["unit"]), float(about["min"]), float(about["max"]))


def _sees_labels(card: Mapping[str, Any]) -> bool:
    """Whether the network has room beside the image for a channel of each segment and of the background, as the engine
    counts them (`asking.beside_image`)."""
    segments, numbers = len(card.get("segments") or ()), len(card.get("covariates") or ())
    room = card["network"]["arguments"].get("concat_channels", 0)
    return bool(segments) and room in (segments + 1, segments + 1 + numbers)


def _plays(card: Mapping[str, Any]) -> tuple[str, ...]:
    """A network of one pass is a baseline; others have what one recipe alone asks for."""
    one_pass = ("baseline",) if card.get("predicts") == "label" else ()
    return one_pass + tuple(part for network, part in PARTS.items() if card["network"]["name"] == network)


def _size(arguments: Mapping[str, Any], dims: int) -> tuple[float, float]:
    """What memory and time of a network grow with, for each voxel; a middling network where its widths are not told."""
    widths = arguments.get("widths", (32, 64, 128))
    blocks = arguments.get("blocks", 2)
    blocks = [blocks] * len(widths) if isinstance(blocks, int) else blocks
    patch, fewer, taps = arguments.get("patch", 1) ** dims, 2**dims, 3 ** (dims - 2)  # 27 weights in the place of 9
    work = taps * sum(b * w**2 / fewer**level for level, (b, w) in enumerate(zip(blocks, widths, strict=True)))
    return max(w / fewer**level for level, w in enumerate(widths)) / patch, work / patch


def _count_parameters(path: Path) -> int | None:
    """How many numbers a safetensors file holds, by its header."""
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            header = json.loads(file.read(min(length, 2**24)))
        return sum(prod(entry["shape"]) for name, entry in header.items() if name != "__metadata__")
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
