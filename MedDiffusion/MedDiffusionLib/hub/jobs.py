"""What was run in this scene: one record for each set of results, read from the provenance that their nodes carry."""

from __future__ import annotations

import hashlib
import inspect
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
import slicer
from slicer.i18n import tr as _

from meddiff import __version__
from meddiff.errors import BadInput
from meddiff.places import CARD

from .. import catalogue, hierarchy
from . import library

NOT_ARGUMENTS = {"showResult", "onEvent"}  # of `process`: they change nothing about the result


@dataclass(frozen=True)
class Record:
    """One run: its provenance, and the nodes of the scene that came out of it."""

    provenance: dict[str, Any]
    nodes: tuple[Any, ...]

    def told(self, *keys: str, default: Any = "") -> Any:
        """What the provenance says under these keys, one inside the other."""
        found: Any = self.provenance
        for key in keys:
            found = found.get(key) if isinstance(found, Mapping) else None
        return default if found is None else found

    @property
    def module(self) -> str:
        """The module that ran it; empty for results that came from elsewhere."""
        return str(self.told("slicer", "module"))

    @property
    def arguments(self) -> dict[str, Any]:
        """The arguments of the module's `process`; a node is told by id and name."""
        found = self.told("slicer", "arguments", default={})
        return dict(found) if isinstance(found, Mapping) else {}

    @property
    def finished(self) -> str:
        """When it ended, in the time of this computer."""
        told = str(self.told("finished"))
        try:
            return datetime.fromisoformat(told).astimezone().strftime("%Y-%m-%d %H:%M")
        except ValueError:
            return told

    @property
    def row(self) -> tuple[str, ...]:
        """What the table shows: when, module, method, results."""
        names = ", ".join(node.GetName() for node in self.nodes)
        return self.finished, self.module, str(self.told("job", "recipe")), names


def records() -> list[Record]:
    """What was run in this scene, latest first; nodes with the same provenance are the results of one run."""
    runs: dict[str, list[Any]] = {}
    for node in slicer.util.getNodesByClass("vtkMRMLNode"):
        if node.GetAttribute(hierarchy.PROVENANCE):
            runs.setdefault(node.GetAttribute(hierarchy.PROVENANCE), []).append(node)
    found = [Record(told, tuple(nodes)) for nodes in runs.values() if (told := hierarchy.provenance(nodes[0]))]
    return sorted(found, key=lambda record: str(record.told("finished")), reverse=True)


def logic_of(record: Record) -> Any:
    """The logic of the module, or of the tab, that ran it, without its panel. Raises BadInput."""
    return library.logic(record.module)


def arguments_again(record: Record, logic: Any) -> dict[str, Any]:
    """The arguments for the same run into new nodes. Raises BadInput when an input is gone."""
    told = record.arguments
    outputs = {role.parameter for role in logic.outputs()}
    found = {name: value for name, value in told.items() if name not in outputs}
    found |= dict.fromkeys(outputs)
    for number, role in enumerate(role for role in logic.inputs() if not role.isFile):
        found[role.parameter] = _node(record, told.get(role.parameter), source=number == 0)
    return {**_defaults(logic), **found}


def _defaults(logic: Any) -> dict[str, Any]:
    """The arguments that a record does not tell: those that were None, and those that came with a later version."""
    parameters = inspect.signature(logic.process).parameters.values()
    return {p.name: p.default for p in parameters if p.default is not p.empty and p.name not in NOT_ARGUMENTS}


def _node(record: Record, told: Any, source: bool) -> Any:
    """The input that the record tells of: by reference if it is the source of the results, else by id or name."""
    if not told:
        return None
    if source and (node := hierarchy.source(record.nodes[0])) is not None:
        return node
    name = told.get("name", "") if isinstance(told, Mapping) else ""
    node = slicer.mrmlScene.GetNodeByID(told.get("id", "")) if name else None
    if node is not None and node.GetName() == name:
        return node
    node = slicer.mrmlScene.GetFirstNodeByName(name) if name else None
    if node is None:
        raise BadInput(_("The input “{name}” is no longer in the scene.").format(name=name or told))
    return node


def hindrance(record: Record) -> str:
    """Why a run cannot be repeated, in a sentence; empty if it can."""
    try:
        logic = logic_of(record)
        return " ".join(logic.missing(arguments_again(record, logic)))
    except BadInput as error:
        return str(error)
    except (AttributeError, KeyError, TypeError, ValueError) as error:  # of another version, or written by hand
        return _("The record of this run cannot be used: {error}").format(error=error)


def differences(record: Record) -> list[str]:
    """What is no longer as it was, so that the voxels may differ; a sentence each."""
    found = []
    model, known = str(record.told("model", "id")), {model.id: model for model in catalogue.models()}
    sha256 = str(record.told("model", "sha256"))
    if model in known and hashlib.sha256((known[model].folder / CARD).read_bytes()).hexdigest() != sha256:
        found.append(_("The model “{model}” is another version than the one that was used.").format(model=model))
    version = str(record.told("versions", "meddiff"))
    if version and version != __version__:
        text = _("It was made with version {then} of MedDiffusion; this is {now}.")
        found.append(text.format(then=version, now=__version__))
    return found


def same_voxels(made: Mapping[str, Any], record: Record) -> tuple[int, int]:
    """How many of the new volumes equal one of the record's, voxel for voxel; and how many volumes there are."""
    old = [array for node in record.nodes if (array := _array(node)) is not None]
    new = [array for node in made.values() if (array := _array(node)) is not None]
    same = sum(any(np.array_equal(array, other) for other in old) for array in new)
    return same, len(new)


def _array(node: Any) -> np.ndarray | None:
    """The voxels of a scalar volume or label map; None for other nodes."""
    if node.IsA("vtkMRMLScalarVolumeNode") and node.GetImageData() is not None:
        return slicer.util.arrayFromVolume(node)
    return None


def facts(record: Record) -> Iterator[tuple[str, str]]:
    """What people ask about a run, in words."""
    yield _("Results"), ", ".join(node.GetName() for node in record.nodes)
    yield _("Finished"), record.finished
    yield _("Module"), record.module or _("not told")
    yield _("Method"), str(record.told("job", "recipe"))
    yield _("Model"), f"{record.told('model', 'id')} {record.told('model', 'version')}"
    inputs, files = record.arguments.values(), record.told("job", "inputs")
    names = [str(value["name"]) for value in inputs if isinstance(value, Mapping) and value.get("name")]
    names = names or [Path(str(path)).name for path in (files.values() if isinstance(files, Mapping) else ())]
    yield _("Inputs"), ", ".join(names)
    yield _("Seed"), str(record.told("job", "seed"))
    yield _("Options"), words(record.told("job", "options", default={}))
    yield _("Settings"), words(record.told("settings", default={}))
    yield _("Figures"), words(record.told("figures", default={}))
    yield _("Device"), f"{record.told('device')}, {record.told('precision')}"
    yield _("Time"), f"{record.told('seconds')} s"
    yield _("Versions"), words(record.told("versions", default={}))


def words(data: Any) -> str:
    """A flat dictionary as `name value, name value`; numbers short."""
    if not isinstance(data, Mapping):
        return str(data)
    parts = [f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}" for name, value in data.items()]
    return ", ".join(parts)


def as_html(record: Record) -> str:
    """A run for a text browser: its facts, and what has changed since."""
    cells = ((escape(title), escape(text)) for title, text in facts(record) if text)
    rows = "".join(f"<tr><td><b>{title}</b>&nbsp;&nbsp;</td><td>{text}</td></tr>" for title, text in cells)
    notes = "".join(f"<p>{escape(sentence)}</p>" for sentence in differences(record))
    return f"<table cellspacing='3'>{rows}</table>{notes}"


def as_json(record: Record) -> str:
    """The whole provenance, to be copied."""
    return json.dumps(record.provenance, indent=2)
