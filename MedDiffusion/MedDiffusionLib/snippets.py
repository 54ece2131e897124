"""A panel's job as text: a call of `process` for the Python console, a command for a terminal."""

from __future__ import annotations

import inspect
import json
import os
import shlex
import subprocess
from collections.abc import Mapping
from typing import Any

import slicer
from slicer.i18n import tr as _

from .roles import SEGMENTATION, InputRole

LONGEST = 100  # characters of a file name; systems allow 255 bytes


def as_python(process: Any, arguments: Mapping[str, Any]) -> str:
    """A call of `process`, the method of a logic, with all arguments that differ from its defaults."""
    lines, logic = [], type(process.__self__)
    for name, parameter in inspect.signature(process).parameters.items():
        value = arguments.get(name, parameter.default)
        default = parameter.default
        if value is not None and value != default and not (default is None and value in ({}, (), "")):
            lines.append(f"    {name}={_expression(value)},\n")
    name = logic.__name__
    return f"from {logic.__module__} import {name}\n\nnodes = {name}().process(\n{''.join(lines)})\n"


def _expression(value: Any) -> str:
    if not isinstance(value, slicer.vtkMRMLNode):
        return repr(value)
    name = value.GetName() or ""  # of brackets and stars, getNode makes a pattern
    alone = slicer.mrmlScene.GetNodesByName(name).GetNumberOfItems() == 1 and not set("*?[") & set(name)
    return f"slicer.util.getNode({value.GetName() if alone else value.GetID()!r})"


def as_command(task: str, job: Mapping[str, Any]) -> str:
    """The command line of a job: the verb of its task where there is one."""
    if task not in VERBS:
        return as_job_file(job)
    inputs = dict(job["inputs"])
    first = inputs.pop(next(iter(inputs)), "")
    words = ["meddiff", VERBS[task], first, "--output", job["output"]]
    options = dict(job["options"])
    spacing = [options.pop(f"spacing_{axis}", None) for axis in "xyz"]
    if (level := options.pop("level", None)) is not None:
        options["threshold"] = level
    channels = [path for name, path in inputs.items() if name.startswith("volume")]  # the further ones of a model
    words += [word for path in channels for word in ("--channel", path)]
    inputs = {name: path for name, path in inputs.items() if not name.startswith("volume")}
    told = {"model": job["model"], "method": job["recipe"], **inputs, **options}
    told |= {"seed": job["seed"], "device": job["device"]}
    for name, value in told.items():
        if value is not None:
            words += [f"--{name.replace('_', '-')}", str(value)]
    if None not in spacing:
        words += ["--spacing", *map(str, spacing)]
    for name, value in job["parameters"].items():
        words += ["--set", f"{name}={json.dumps(value)}"]
    return _quote(words) + "\n"


VERBS = {"reconstruct": "reconstruct", "anomaly": "anomaly", "segment": "segment", "register": "register"}


def as_job_file(job: Mapping[str, Any]) -> str:
    """The job as JSON, and the command that runs it."""
    return _("# Save this as job.json, then run: meddiff run job.json") + "\n" + json.dumps(job, indent=2) + "\n"


def file_of(node: Any, role: InputRole, source: Any = None) -> tuple[str, str]:
    """Where the voxels of an input lie on disk, and what is to be done before; a name in its place if they do not.

    A segmentation is to be exported on the grid of the `source`.
    """
    if role.isFile:
        return str(node), ""
    if role.labels and node.IsA(SEGMENTATION):
        text = _(
            "# First export “{name}” (Segmentations) as a label map on the grid of “{grid}”, and save it as {path}"
        )
        path, names = f"{file_name(node.GetName())}.nrrd", (_line(each) for each in (node, source))
        return path, text.format(path=path, **dict(zip(("name", "grid"), names, strict=True))) + "\n"
    storage = node.GetStorageNode()
    path = (storage.GetFileName() or "") if storage is not None else ""
    if path and os.path.isfile(path) and not node.GetModifiedSinceRead():
        return path, ""
    title = _line(node)
    name = f"{file_name(title)}.nrrd"
    return name, _("# First save “{name}” as {path}").format(name=title, path=name) + "\n"


def _line(node: Any) -> str:
    """The name of a node in one line: a second one would leave the comment, and run."""
    return " ".join((node.GetName() or "").split())


def _quote(words: list[str]) -> str:
    return subprocess.list2cmdline(words) if os.name == "nt" else shlex.join(words)


def output_name(name: str) -> str:
    """A folder for the results of a node of this name, without what shells and disks do not like."""
    return f"{file_name(name)}-results"


def file_name(name: str) -> str:
    """A name as a file may have it, and no option of a command."""
    kept = "".join(c if c.isalnum() or c in "-_." else "-" for c in name)[:LONGEST]
    return kept.strip("-.") or "volume"
