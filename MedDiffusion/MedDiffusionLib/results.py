"""Nodes from the files of a result: every file is read before the scene changes, and then it changes once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import slicer
from slicer.i18n import tr as _

from meddiff.vectors import read_vectors

from . import nodes, tables
from .cards import SegmentInfo
from .display import show
from .hierarchy import place_beside, set_provenance
from .roles import LABELMAP, PATH, SCALAR, SEGMENTATION, SEQUENCE, TABLE, TRANSFORM, OutputRole
from .segmentations import segmentation_from_labels
from .sequences import sequence_from_volumes
from .terminology import mark_automatic, structure
from .transforms import transform_from_displacement

Files = Mapping[str, Path]
MEASURES = {"psnr": "PSNR (dB)", "ssim": "SSIM", "nmse": "NMSE", "dice": "Dice", "auprc": "AUPRC", "auroc": "AUROC"}
MEASURES |= {"lesion_recall": "Lesions found", "false_positives": "False positives"}
WHOLE = "value"  # the column of measures that are not of one image or another


def load(
    result: Mapping[str, Any],
    roles: Sequence[OutputRole],
    *,
    source: Any = None,
    subject: Any = None,
    targets: Mapping[str, Any] | None = None,
    segments: Sequence[SegmentInfo] = (),
    about: Mapping[str, Any] | None = None,
    base: str = "",
) -> dict[str, Any]:
    """The nodes of these roles, by name; an output that the result lacks is left out. Raises BadInput.

    `targets` are nodes to fill; those that are gone, and those that are not given, are made new. `about` is added to
    the provenance that each node carries. New nodes are named after the source, or else `base`; where there is a
    `subject`, the node that is moved, they are named after it, and images look like it. `segments` are those of the
    model.
    """
    files = {name: Path(path) for name, path in result["outputs"].items()}
    figures = result.get("figures") or {}
    read = {role: READERS[role.nodeClass](role, files, figures) for role in roles}
    homes = {False: _Home.of(source), True: _Home.of(subject)}
    named = next((home.node for home in (homes[True], homes[False]) if home.node is not None), None)
    provenance = {**_without_folders(result.get("provenance") or {}), "slicer": dict(about or {})}
    found, made = {}, []
    with slicer.util.RenderBlocker():
        try:
            for role, content in read.items():
                if content is None:
                    continue
                home = homes[role.subject]
                if role.nodeClass == TABLE:
                    content = tables.in_world(content, slicer.mrmlScene.GetNodeByID(home.above) if home.above else None)
                target = (targets or {}).get(role.name)
                target = target if is_present(target) else None
                node = MAKERS[role.nodeClass](content, _name(role, named, base), target, role, home.node, segments)
                made += [node] if target is None else []
                _finish(node, role, home, provenance)
                if role.display:
                    show(node, role.display, like=named, limit=figures.get("threshold", 0.0))
                found[role.name] = node
        except BaseException:
            for node in made:  # half a set of results is worse than none
                slicer.mrmlScene.RemoveNode(node)
            raise
    return found


@dataclass(frozen=True)
class _Home:
    """The node beside which results are placed, if it is still there, and the id of the transform that it lies, or lay,
    under."""

    node: Any
    above: str | None

    @classmethod
    def of(cls, node: Any) -> _Home:
        return cls(node if is_present(node) else None, _transform_of(node))


def _without_folders(provenance: Mapping[str, Any]) -> dict[str, Any]:
    """The record with the names of temporary files alone: their folders hold people's names, and scenes are shared."""
    job = provenance.get("job")
    if not isinstance(job, Mapping):
        return dict(provenance)
    inputs = {name: Path(str(path)).name for name, path in job.get("inputs", {}).items()}
    output = "/".join(Path(str(job.get("output", ""))).parts[-2:])  # tells two runs of one second apart
    return {**provenance, "job": {**job, "inputs": inputs, "output": output}}


def _transform_of(source: Any) -> str | None:
    """The id of the transform that a node lies under; one that was removed from the scene still knows it."""
    known = source is not None and source.IsA("vtkMRMLTransformableNode")
    transform = slicer.mrmlScene.GetNodeByID(source.GetTransformNodeID() or "") if known else None
    return transform.GetID() if transform is not None and transform.IsA("vtkMRMLTransformNode") else None


def _finish(node: Any, role: OutputRole, home: _Home, provenance: Mapping[str, Any]) -> None:
    """Its place, and where it comes from."""
    if home.node is not None:
        place_beside(node, home.node)
    elif home.above is not None and node.IsA("vtkMRMLTransformableNode"):
        node.SetAndObserveTransformNodeID(home.above)
    set_provenance(node, dict(provenance))
    if role.nodeClass == SEGMENTATION:
        mark_automatic(node, _algorithm(provenance))


def _algorithm(provenance: Mapping[str, Any]) -> str:
    """The method and the model behind a result, in few words."""
    job, model = provenance.get("job") or {}, provenance.get("model") or {}
    told = [job.get("recipe"), model.get("id"), model.get("version")]
    return " ".join(["MedDiffusion", *(str(part) for part in told if part)])


def _name(role: OutputRole, source: Any, base: str) -> str:
    base = source.GetName() if source is not None else base or _("Result")
    return f"{base} {role.title[:1].lower()}{role.title[1:]}"


def is_present(node: Any) -> bool:
    """Whether a node still lives in the scene: it may have been removed while the job ran."""
    return node is not None and bool(slicer.mrmlScene.IsNodePresent(node))


def plain(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments as JSON values: a node becomes its id and name."""
    return {name: _plain(value) for name, value in arguments.items() if value is not None}


def _plain(value: Any) -> Any:
    if isinstance(value, slicer.vtkMRMLNode):
        return {"id": value.GetID(), "name": value.GetName()}
    return list(value) if isinstance(value, tuple) else value


def figures_rows(figures: Mapping[str, float]) -> tuple[list[str], list[tuple[str, list[float]]]]:
    """Images, and for each measure its value for every one of them, from names like `psnr_zero-filled`."""
    split = [(*((name, WHOLE) if name in MEASURES else name.partition("_")[::2]), figures[name]) for name in figures]
    split = [(measure, image, value) for measure, image, value in split if measure in MEASURES]
    images = sorted({image for _measure, image, _value in split}, reverse=True)  # zero-filled, reconstruction
    table = {(measure, image): value for measure, image, value in split}
    rows = [(measure, [table.get((measure, image), float("nan")) for image in images]) for measure in MEASURES]
    return images, [(measure, row) for measure, row in rows if not all(np.isnan(row))]


# Readers: from files to what a maker needs; None where the result has no such output


def _read_volume(role: OutputRole, files: Files, figures: Mapping[str, float]) -> Any:
    return nodes.from_file(files[role.name]) if role.name in files else None


def _read_many(role: OutputRole, files: Files, figures: Mapping[str, float]) -> Any:
    """The volumes of `files-0000`, `files-0001`, ... in order."""
    stem = f"{role.files or role.name}-"
    names = sorted((name for name in files if name.startswith(stem)), key=lambda name: (len(name), name))
    return [nodes.from_file(files[name]) for name in names] or None


def _read_displacement(role: OutputRole, files: Files, figures: Mapping[str, float]) -> Any:
    """The displacements in LPS mm, and their grid."""
    if role.name not in files:
        return None
    vectors = read_vectors(files[role.name])
    return vectors.array, vectors.grid


def _read_table(role: OutputRole, files: Files, figures: Mapping[str, float]) -> Any:
    """A table of a file, or else that of the figures: a line for each measure, a column for each image."""
    if role.name in files:
        return tables.read_csv(files[role.name])
    images, rows = figures_rows(figures)
    if not rows:
        return None
    columns = {image: [values[column] for _measure, values in rows] for column, image in enumerate(images)}
    return {_("Measure"): [MEASURES[measure] for measure, _values in rows], **columns}


# Makers: from what was read to a node, new or filled


def _scalar(content: Any, name: str, node: Any, role: OutputRole, source: Any, segments: Any) -> Any:
    return nodes.node_from_volume(content, name, node=node)


def _labelmap(content: Any, name: str, node: Any, role: OutputRole, source: Any, segments: Any) -> Any:
    return nodes.node_from_volume(content, name, kind="labelmap", node=node)


def _segmentation(content: Any, name: str, node: Any, role: OutputRole, source: Any, segments: Any) -> Any:
    present = [int(value) for value in np.unique(content.array) if value > 0]
    if (what := role.segments) is not None:
        names = {value: what.name.format(number=value) for value in present}
        looks = {
            "colours": dict.fromkeys(present, what.colour),
            "terminology": dict.fromkeys(present, what.terminology),
        }
        return segmentation_from_labels(content, names, name, reference=source, node=node, **looks)
    known = dict(enumerate(segments, start=1))
    names = {value: each.name for value, each in known.items()}
    names = names or {value: _("Segment {number}").format(number=value) for value in present}
    looks = {
        "colours": {value: each.colour for value, each in known.items() if each.colour},
        "terminology": {value: told for value, each in known.items() if (told := _terminology(each))},
    }
    return segmentation_from_labels(content, names, name, reference=source, node=node, **looks)


def _terminology(segment: SegmentInfo) -> str:
    return segment.terminology or (structure(segment.code) if segment.code else "")


def _transform(content: Any, name: str, node: Any, role: OutputRole, source: Any, segments: Any) -> Any:
    array, grid = content
    return transform_from_displacement(array, grid, name, node=node)


def _sequence(content: Any, name: str, node: Any, role: OutputRole, source: Any, segments: Any) -> Any:
    named = role.index == "segment" and len(segments) == len(content)
    values: Any = [each.name for each in segments] if named else role.values or None
    values = np.linspace(0, 1, len(content)).tolist() if role.index == PATH else values
    return sequence_from_volumes(content, name, index_name=role.index, unit=role.unit, values=values, node=node)


def _table(content: Any, name: str, node: Any, role: OutputRole, source: Any, segments: Any) -> Any:
    return tables.fill(content, name, node)


Reader = Callable[[OutputRole, Files, Mapping[str, float]], Any]
READERS: dict[str, Reader] = {
    SCALAR: _read_volume,
    LABELMAP: _read_volume,
    SEGMENTATION: _read_volume,
    TRANSFORM: _read_displacement,
    SEQUENCE: _read_many,
    TABLE: _read_table,
}
MAKERS: dict[str, Callable[[Any, str, Any, OutputRole, Any, Any], Any]] = {
    SCALAR: _scalar,
    LABELMAP: _labelmap,
    SEGMENTATION: _segmentation,
    TRANSFORM: _transform,
    SEQUENCE: _sequence,
    TABLE: _table,
}
