"""The model card: everything about a model that is not a weight, as one strict JSON file beside the weights."""

from __future__ import annotations

import json
import os
import re
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    ValidationError,
    model_validator,
)
from pydantic_core import ErrorDetails

from .errors import BadModel, choose
from .places import CARD

AXIAL = "axial slices of LPS-canonical volumes"
# What may lie in a model folder: data in formats that run nothing when read, and no folders.
DATA_FILE = r"LICENSE|[A-Za-z0-9][A-Za-z0-9._-]*\.(safetensors|json|md|txt|png)"
DATA_FILE_WORDS = "plain .safetensors, .json, .md, .txt and .png files, and LICENSE"


def _like(pattern: str, expected: str) -> AfterValidator:
    """A check that a string matches `pattern`; its error says `expected`, since nobody reads patterns."""

    def check(text: str) -> str:
        if not re.fullmatch(pattern, text):
            raise ValueError(expected)
        return text

    return AfterValidator(check)


Text = Annotated[str, _like(r"(?s).*\S.*", "some text")]
Id = Annotated[str, _like(r"[a-z0-9]+([._-][a-z0-9]+)*", "lower-case letters and digits joined by - . or _")]
# A name is looked up in a table of ours; without a dot it can never be an import path.
Name = Annotated[str, _like(r"[A-Za-z][A-Za-z0-9_-]*", "a plain name of letters, digits, - and _")]
FileName = Annotated[str, _like(DATA_FILE, DATA_FILE_WORDS)]
Sha256 = Annotated[str, _like(r"[0-9a-f]{64}", "64 lower-case hexadecimal digits")]
Spdx = Annotated[
    str, _like(r"[A-Za-z0-9.+-]+( (AND|OR|WITH) [A-Za-z0-9.+-]+)*", "an SPDX licence expression such as 'CC-BY-4.0'")
]
Json = dict[str, JsonValue]
Share = Annotated[float, Field(ge=0, le=1)]


class Part(BaseModel):
    """A frozen piece of the card that refuses keys it does not know."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Named(Part):
    """An entry of one of our tables (networks, schedules) and the arguments that it is built with."""

    name: Name
    arguments: Json


class Channel(Part):
    """One image channel: what it shows and its physical unit ("HU", "mm", "1" for none)."""

    name: Text
    unit: Text


class Latent(Part):
    """The autoencoder of a latent model, the file of its weights, and the scale of its codes."""

    autoencoder: Named
    weights: FileName
    scale: PositiveFloat


class Labels(Part):
    """The classes that the network is conditioned on; `null` is the index that stands for "not told".

    With `states` (such as healthy and diseased) every name comes once without and once with each of them.
    """

    names: Annotated[tuple[Text, ...], Field(min_length=1)]
    states: tuple[Text, ...] = ()
    null: NonNegativeInt

    @model_validator(mode="after")
    def _check(self) -> Labels:
        for words in (self.names, self.states):
            if len(set(words)) < len(words):
                raise ValueError("names that differ from each other")
        if self.null > (most := len(self.names) * (1 + len(self.states))):
            raise ValueError(f"a null index of at most {most}")
        return self

    def index(self, name: str | None, state: str | None = None) -> int:
        """The index of the class `name` in `state` (None: not told); without a name it is the null class."""
        if name is None:
            return self.null
        row = 0 if state is None else 1 + self.states.index(choose(state, self.states, "state"))
        return self.names.index(choose(name, self.names, "label")) + row * len(self.names)


class Covariate(Part):
    """A number that the network is conditioned on: unit, range seen in training, and the value for "not told", if there
    is one."""

    unit: Text
    min: float
    max: float
    null: float | None

    @model_validator(mode="after")
    def _check(self) -> Covariate:
        if self.min >= self.max:
            raise ValueError("a min below the max")
        return self


class DataSet(Part):
    """A data set that the weights have seen, and the licence that it came under."""

    name: Text
    licence: Text


class Training(Part):
    """How the weights were made: enough to make them again. Of weights from elsewhere some of it is not known."""

    data: Annotated[tuple[DataSet, ...], Field(min_length=1)]
    command: Text
    seed: int | None
    steps: PositiveInt | None
    seconds: NonNegativeFloat | None
    device: Text
    code_version: Text


class Quality(Part):
    """One measured figure and the command that measured it."""

    dataset: Text
    metric: Text
    value: float
    command: Text
    code_version: Text


class Calibration(Part):
    """How the spread of a recipe's samples becomes a standard deviation: pooled over neighbours, times `scale`.

    Found on images of the train split, such that the central 90 % interval holds 90 % of the voxels.
    """

    scale: PositiveFloat
    smoothing: NonNegativeFloat  # voxels, standard deviation of the Gaussian that pools the variance of a slice
    dataset: Text
    command: Text
    code_version: Text


class Segment(Part):
    """A structure that the model segments: its name, its code (scheme, value, meaning) and its colour (0 to 1)."""

    name: Text
    code: tuple[Text, Text, Text] | None = None
    colour: tuple[Share, Share, Share] | None = None


class Healthy(Part):
    """What is still healthy to a recipe: by label, the anomaly map (network units, smoothed) that this quantile of
    healthy tissue stays below. `limits`, by label, are what the recipe itself needs to know of healthy images (`low`
    and `high` intensities, or the `kl` of codes). Found on images of the train split."""

    quantile: Annotated[float, Field(gt=0, lt=1)]
    levels: dict[Text, NonNegativeFloat]
    smoothing_mm: NonNegativeFloat
    limits: dict[Text, dict[Text, float]] = {}
    dataset: Text
    command: Text
    code_version: Text


class FileEntry(Part):
    """The sha256 and the size of one file of the model."""

    sha256: Sha256
    bytes: NonNegativeInt


class Card(Part):
    """Everything about a model but its weights: what it is for, how to run it, where it came from, how good it is."""

    id: Id
    version: Text
    name: Text
    summary: Text
    task: Literal["reconstruct", "segment", "register", "anomaly", "synthesise", "translate", "causal"]
    recipes: dict[Name, Json]
    modality: Text
    anatomy: Text
    orientation: Text
    spacing_mm: Annotated[tuple[PositiveFloat, ...], Field(min_length=2, max_length=3)]  # x, y(, z)
    spacing_tolerance: NonNegativeFloat  # relative: 0.1 accepts 0.9 to 1.1 mm for a model at 1 mm
    shape_multiple: PositiveInt
    channels: Annotated[tuple[Channel, ...], Field(min_length=1)]
    intensity: Json
    network: Named
    # the last three in one pass: an image, logits, or a velocity
    predicts: Literal["x0", "eps", "v", "score", "image", "label", "velocity"]
    schedule: Named | None
    latent: Latent | None = None
    labels: Labels | None = None
    covariates: dict[Name, Covariate] = {}
    training: Training
    quality: tuple[Quality, ...]
    uncertainty: dict[Name, Calibration] = {}  # by recipe; the spread of the others is reported as it is
    licence: Spdx
    citation: Text
    intended_use: Text
    limitations: Text
    healthy: dict[Name, Healthy] = {}  # by recipe
    segments: tuple[Segment, ...] = ()  # label 1, 2, ... of what a model for segmentation finds; 0 is the background
    window: tuple[PositiveInt, ...] = ()  # voxels ((Z,) Y, X) that the network saw at a time; empty: whole images
    companions: dict[Name, Id] = {}  # other models that some of the recipes need, by their part in it
    files: dict[FileName, FileEntry]

    @model_validator(mode="after")
    def _check(self) -> Card:
        if self.schedule is None and self.predicts not in ("image", "label", "velocity"):
            raise ValueError(f"a schedule, since the network predicts {self.predicts}")
        return self


_PARTS = (
    Card,
    Named,
    Channel,
    Latent,
    Labels,
    Covariate,
    DataSet,
    Training,
    Quality,
    Calibration,
    Segment,
    Healthy,
    FileEntry,
)
_KEYS = sorted({key for part in _PARTS for key in part.model_fields})


def read_card(folder: str | os.PathLike[str]) -> Card:
    """The card of the model in `folder`."""
    path = Path(folder, CARD)
    if not path.is_file():
        raise BadModel(f"{folder} has no {CARD}; a model is a folder with a card of that name and its weights.")
    try:
        # Strict, so that "3" is not a number; only JSON's own lists become tuples.
        return Card.model_validate_json(path.read_bytes(), strict=True)
    except ValidationError as error:
        raise BadModel(f"the model card {path} {_explain(error.errors(include_url=False))}") from error
    except OSError as error:
        raise BadModel(f"the model card {path} cannot be read: {error.strerror}.") from error


def write_card(card: Card, folder: str | os.PathLike[str]) -> Path:
    """Writes `card` into `folder`, whole or not at all; returns the file."""
    path = Path(folder, CARD)
    part = path.with_name(f"{CARD}.part")
    try:
        text = json.dumps(card.model_dump(mode="json"), indent=2, ensure_ascii=False, allow_nan=False)
    except ValueError as error:
        raise BadModel(f"the card of {card.id!r} holds a number that is not finite; JSON has none.") from error
    try:
        part.write_text(f"{text}\n", encoding="utf-8", newline="\n")
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)
    return path


def _explain(problems: list[ErrorDetails]) -> str:
    """One sentence out of pydantic's list: what is missing, what is unknown, what is wrong."""
    if problems[0]["type"] == "json_invalid":
        return f"is not JSON: {problems[0]['msg'].removeprefix('Invalid JSON: ')}."
    missing = [_where(p["loc"]) for p in problems if p["type"] == "missing"]
    unknown = [_unknown(p["loc"]) for p in problems if p["type"] == "extra_forbidden"]
    wrong = [_wrong(p) for p in problems if p["type"] not in ("missing", "extra_forbidden")]
    parts = (("lacks", missing), ("has the unknown key", unknown), ("has", wrong))
    return "; it ".join(f"{verb} {_join(items)}" for verb, items in parts if items) + "."


def _join(items: list[str], limit: int = 4) -> str:
    """The first items in words: a card of another layout should not fill the screen."""
    more = [f"{len(items) - limit} more"] if len(items) > limit else []
    *head, last = items[:limit] + more
    return f"{', '.join(head)} and {last}" if head else last


def _where(loc: tuple[int | str, ...]) -> str:
    """A place in the card as one would write it in Python: `channels[0].unit`."""
    return "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in loc).lstrip(".")


def _unknown(loc: tuple[int | str, ...]) -> str:
    near = get_close_matches(str(loc[-1]), _KEYS, n=1)
    return f"{_where(loc)} (did you mean {near[0]}?)" if near else _where(loc)


def _wrong(problem: ErrorDetails) -> str:
    got = repr(problem["input"])
    got = got if len(got) <= 60 else f"{got[:57]}..."
    expected = problem["msg"].removeprefix("Value error, ").removeprefix("Input should be ").removeprefix("a valid ")
    return f"{_where(problem['loc']) or 'at its top'} = {got} (expected: {expected})"
