"""What a MONAI bundle leaves out, as questions with what its other files suggest, and people's answers as values."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from .bundles import Bundle
from .card import Covariate
from .errors import BadInput
from .networks.turned import turns

LINES = "x (left to right), y (front to back)", "z (bottom to top)"
_AXES = {
    2: "where the two axes of the bundle's images lead to, as in RA: right and front (axcodes of its training files)",
    3: "where the axes of the bundle's images lead to, as in RAS: right, front, up (axcodes of its training files)",
}


@dataclass(frozen=True)
class Question:
    """What a bundle leaves out: an option of `meddiff models import`, what it is, and what the bundle's other files
    suggest, which may be wrong."""

    name: str
    title: str
    about: str
    hint: str = ""


Answers = Mapping[str, str]  # by the names of the questions, as people write them


def questions(bundle: Bundle) -> list[Question]:
    """Everything that has to be told of this bundle before it can be imported."""
    along = " and ".join(LINES[: bundle.dims - 1])
    asked = [
        Question("spacing", "Spacing in mm", f"the size of a voxel along {along}, as in 1,1,1", _spacing(bundle)),
        Question("axes", "Axes", _AXES[bundle.dims], _axes(bundle)),
        Question(
            "licence", "Licence", "of the weights, as SPDX names it: Apache-2.0, CC-BY-4.0, ...", _licence(bundle)
        ),
    ]
    if not bundle.latent_shape:
        asked.append(Question("size", "Size in voxels", f"of an image along {along}, as in 160,224,160", _size(bundle)))
    if bundle.autoencoder is not None:
        about = "what codes were multiplied by in training (bundles print it as scale factor; 1: they were not)"
        found = [f"{n:g}" for n in bundle.config.told("scale_factor") if isinstance(n, (int, float))]
        asked.append(Question("scale", "Scale of the codes", about, found[0] if found else ""))
    if bundle.covariates:
        about = (
            f"the {bundle.covariates} numbers that the network is told, in its order, with what they are at 0 and at 1 "
            "for the network, and their unit: age=44:82:years, sex=0:1"
        )
        asked.append(Question("covariates", "Covariates", about, _names(bundle)))
    return asked


def _axes(bundle: Bundle) -> str:
    found = (axes for axes in bundle.config.told("axcodes") if isinstance(axes, str))
    return next(found, "")[: bundle.dims]


def _spacing(bundle: Bundle) -> str:
    """What the training configurations or the words of the metadata suggest."""
    for found in bundle.config.told("spacing", "pixdim"):
        if isinstance(found, list) and len(found) >= bundle.dims:
            return ",".join(f"{n:g}" for n in found[: bundle.dims])
    text = str(bundle.config.metadata.get("image_classes", ""))
    sizes = re.search(r"\d+(\.\d+)?(x\d+(\.\d+)?)+ *mm", text)
    return sizes[0].removesuffix("mm").strip().replace("x", ",") if sizes else ""


def _size(bundle: Bundle) -> str:
    """The shape of the output as the metadata has it."""
    try:
        shape = bundle.config.metadata["network_data_format"]["outputs"]["pred"]["spatial_shape"]
        return ",".join(str(int(n)) for n in shape)
    except (KeyError, TypeError, ValueError):
        return ""


def _licence(bundle: Bundle) -> str:
    path = bundle.config.folder / "LICENSE"
    head = path.read_text(encoding="utf-8", errors="replace")[:400] if path.is_file() else ""
    return "Apache-2.0" if "Apache License" in head and "Version 2.0" in head else ""


def _names(bundle: Bundle) -> str:
    """The names in the configuration's conditioning; what they range over stands nowhere."""
    text = bundle.config.entries.get("conditioning")
    names = [n for n in re.findall(r"@(\w+)", text) if n != "device"] if isinstance(text, str) else []
    return ", ".join(f"{name}=MIN:MAX" for name in names) if len(names) == bundle.covariates else ""


def answered(bundle: Bundle, answers: Answers) -> dict[str, Any]:
    """The answers as values; raises BadInput for those that are missing, all at once, and those that are none."""
    asked = {question.name: question for question in questions(bundle)}
    given = {name: text.strip() for name, text in answers.items() if text.strip()}
    if lacking := [question for name, question in asked.items() if name not in given]:
        parts = (f"--{q.name} ({q.about}{f'; its files suggest {q.hint}' if q.hint else ''})" for q in lacking)
        raise BadInput(f"the bundle {bundle.name} leaves something out that must be told: {'; '.join(parts)}")
    if over := [name for name in given if name not in asked]:
        raise BadInput(f"--{over[0]} came, and the bundle {bundle.name} needs none; leave it out")
    return {name: _READERS[name](bundle, text) for name, text in given.items()}


def _read_spacing(bundle: Bundle, text: str) -> list[float]:
    return _numbers(bundle, "spacing", text, float, "positive numbers in mm")


def _read_size(bundle: Bundle, text: str) -> list[int]:
    return _numbers(bundle, "size", text, int, "numbers of voxels of 1 or more")


def _numbers(bundle: Bundle, name: str, text: str, kind: Callable[[str], Any], what: str) -> list[Any]:
    try:
        found = [kind(part) for part in re.split(r"[,\sx]+", text)]
    except ValueError:
        found = []
    if len(found) != bundle.dims or not all(0 < n < float("inf") for n in found):
        raise BadInput(f"--{name} {text!r} came; expected {bundle.dims} {what}, with commas between them")
    return found


def _read_axes(bundle: Bundle, text: str) -> str:
    turns(text.upper(), bundle.dims)
    return text.upper()


def _read_scale(bundle: Bundle, text: str) -> float:
    try:
        found = float(text)
    except ValueError:
        found = 0.0
    if not 0 < found < float("inf"):
        raise BadInput(f"--scale {text!r} came; expected a positive number")
    return found


def _read_covariates(bundle: Bundle, text: str) -> dict[str, Covariate]:
    found = {}
    for part in filter(None, (p.strip() for p in text.split(","))):
        match = re.fullmatch(r"([A-Za-z]\w*) *= *([^:]+):([^:]+)(?::(.+))?", part)
        try:
            if match is None:
                raise ValueError
            name, low, high, unit = match.groups()
            found[name] = Covariate(unit=(unit or "1").strip(), min=float(low), max=float(high), null=None)
        except ValueError:
            raise BadInput(
                f"the covariate {part!r} came; expected NAME=MIN:MAX:UNIT, such as age=44:82:years"
            ) from None
    if len(found) != bundle.covariates:
        raise BadInput(f"{len(found)} covariates came; the network of {bundle.name} is told {bundle.covariates}")
    return found


_READERS: dict[str, Callable[[Bundle, str], Any]] = {
    "spacing": _read_spacing,
    "size": _read_size,
    "scale": _read_scale,
    "axes": _read_axes,
    "licence": lambda _bundle, text: text,
    "covariates": _read_covariates,
}
