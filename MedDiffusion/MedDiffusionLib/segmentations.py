"""Segmentation nodes to and from label volumes: 0 is background, every other whole number a segment."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import slicer
import vtk
from numpy.typing import NDArray
from vtk.util.numpy_support import vtk_to_numpy

from meddiff.errors import BadInput, Notice
from meddiff.volume import Volume, same_grid

from .nodes import (
    FLIP,
    add_node,
    fill_image,
    grid_from_node,
    matrix_from_array,
    new_node,
    require_node,
    storable,
    title,
    volume_from_node,
)
from .tables import to_world

CLASS = "vtkMRMLSegmentationNode"
LABELMAP = "Binary labelmap"  # name of the representation
GEOMETRY = "Reference image geometry"  # name of the conversion parameter
Colour = tuple[float, float, float]
Code = tuple[str, str, str]  # scheme, value, meaning, such as ("SCT", "4147007", "Mass")
NONE: Code = ("", "", "")
TISSUE: Code = ("SCT", "85756007", "Tissue")
ANATOMY: Code = ("SCT", "123037004", "Anatomical Structure")
ALTERED: Code = ("SCT", "49755003", "Morphologically Altered Structure")
# Lesion, mass, neoplasm, necrosis, oedema, cyst, haemorrhage, infarct: those of Slicer's list that models segment.
CHANGES = {"52988006", "4147007", "108369006", "6574001", "79654002", "367643001", "50960005", "55641003"}
# Paul Tol's "bright" scheme, which people with any colour vision can tell apart, without its grey.
COLOURS = [(238, 102, 119), (68, 119, 170), (204, 187, 68), (34, 136, 51), (102, 204, 238), (170, 51, 119)]


# From Slicer


def labels_from_segmentation(
    seg_node: Any, reference_volume_node: Any, segment_ids: Sequence[str] | None = None
) -> tuple[Volume, dict[int, str]]:
    """The segments as labels 1, 2, ... on the grid of the reference volume, and their names; raises `BadInput`.

    The transforms over both nodes count. Where segments overlap the later one wins, and a `Notice` says so.
    """
    require_node(seg_node, CLASS, "segmentation")
    grid = grid_from_node(reference_volume_node)
    segmentation = _with_labelmaps(seg_node, reference_volume_node)
    chosen = _chosen(seg_node, segment_ids)
    labels = np.zeros(grid.shape, np.uint8 if len(chosen) < 256 else np.int32)
    overlaps: set[tuple[int, int]] = set()
    masks = _masks(segmentation, chosen, grid, _between(seg_node, reference_volume_node))
    for label, mask in sorted(masks, key=lambda found: found[0]) if len(chosen) > 1 else masks:
        overlaps |= {(int(value), label) for value in np.flatnonzero(np.bincount(labels[mask])) if value}
        labels[mask] = label
    names = {label: segmentation.GetSegment(one).GetName() for label, one in enumerate(chosen, start=1)}
    if not labels.any():
        came = f"no voxel of {title(reference_volume_node)} lies in a segment of {title(seg_node)}"
        raise BadInput(f"{came}; draw one, or check that both lie at the same place")
    if overlaps:
        pairs = ", ".join(f"“{names[a]}” and “{names[b]}”" for a, b in sorted(overlaps)[:5])
        warnings.warn(
            Notice(f"{title(seg_node)} has segments that overlap ({pairs}); the later one wins"), stacklevel=2
        )
    return grid.with_array(labels), names


def labels_on_grid(node: Any, reference_volume_node: Any, names: Sequence[str] = ()) -> Volume:
    """The labels of a label map or a segmentation on the grid of the reference volume; raises `BadInput`.

    The transforms over both nodes count; between voxels, the nearest one is taken. Segments that are called as one of
    `names` have its number, from 1 on, and the others are left out; where none is, all are numbered in their order.
    """
    if node is not None and node.IsA(CLASS):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Notice)  # here nobody asks which segment a voxel belongs to
            known = _named(node, names)
            labels = labels_from_segmentation(node, reference_volume_node, list(known) or None)[0]
        numbers = np.array([0, *known.values()], labels.array.dtype)
        return labels.with_array(numbers[labels.array]) if known else labels
    require_node(node, "vtkMRMLLabelMapVolumeNode", "label map or segmentation")
    labels = volume_from_node(node)
    grid, between = grid_from_node(reference_volume_node), _between(node, reference_volume_node)
    if between is None and same_grid(labels, grid):
        return labels
    found = _sampled(labels.with_array(_positive(labels, node.GetName())), grid, between, node)
    if not found.any():
        came = f"no voxel of {title(reference_volume_node)} has a label of {title(node)}"
        raise BadInput(f"{came}; choose another, or check that both lie at the same place")
    return grid.with_array(found)


def image_beside(node: Any, reference_volume_node: Any) -> Volume:
    """The image of a volume node, interpolated on the grid of the reference volume; raises `BadInput`.

    The transforms over both nodes count.
    """
    image, grid = volume_from_node(node), grid_from_node(reference_volume_node)
    image = image.with_array(image.array.astype(np.float32))
    return grid.with_array(_sampled(image, grid, _between(node, reference_volume_node), node, smooth=True))


def _sampled(volume: Volume, grid: Volume, between: Any, node: Any, smooth: bool = False) -> NDArray[Any]:
    """The voxels of a volume on another grid, 0 outside of it."""
    image, found = _image(volume), slicer.vtkOrientedImageData()
    fill_image(image, volume.array)
    sample = slicer.vtkOrientedImageDataResample.ResampleOrientedImageToReferenceOrientedImage
    if not sample(image, _image(grid), found, smooth, False, between):
        raise BadInput(f"{title(node)} cannot be sampled on the grid of the volume; check the transforms over both")
    return vtk_to_numpy(found.GetPointData().GetScalars()).reshape(grid.shape).copy()


def _named(seg_node: Any, names: Sequence[str]) -> dict[str, int]:
    """The number of a name, from 1 on, by the id of the segment that is called so."""
    segmentation, numbers = seg_node.GetSegmentation(), {name.casefold(): k for k, name in enumerate(names, start=1)}
    called = {one: segmentation.GetSegment(one).GetName().casefold() for one in segmentation.GetSegmentIDs()}
    return {one: numbers[name] for one, name in called.items() if name in numbers}


def _chosen(seg_node: Any, segment_ids: Sequence[str] | None) -> list[str]:
    known = list(seg_node.GetSegmentation().GetSegmentIDs())
    if not known:
        raise BadInput(f"{title(seg_node)} has no segments; draw one (Segment Editor), or choose another segmentation")
    chosen = known if segment_ids is None else list(dict.fromkeys(segment_ids))
    if not chosen:
        raise BadInput(f"no segment of {title(seg_node)} is chosen; choose one or more")
    if unknown := [one for one in chosen if one not in known]:
        raise BadInput(f"{title(seg_node)} has no segment {', '.join(unknown)}; choose of {', '.join(known)}")
    return chosen


def _with_labelmaps(seg_node: Any, reference: Any) -> Any:
    """The segmentation with voxels; one made of surfaces is converted as a copy, on the grid of `reference`."""
    segmentation = seg_node.GetSegmentation()
    if not segmentation.GetNumberOfSegments() or segmentation.GetSourceRepresentationName() == LABELMAP:
        return segmentation
    copy = slicer.vtkSegmentation()
    copy.DeepCopy(segmentation)
    if seg_node.GetParentTransformNode() is reference.GetParentTransformNode():
        grid = slicer.vtkSegmentationConverter.SerializeImageGeometry(_image(grid_from_node(reference)))
        copy.SetConversionParameter(GEOMETRY, grid)
    whole = copy.GetNumberOfSegments() == segmentation.GetNumberOfSegments()
    if not (whole and copy.CreateRepresentation(LABELMAP)):
        came = f"{title(seg_node)} cannot be turned into voxels"
        raise BadInput(f"{came}; export it to a label map (Segmentations), or choose another")
    return copy


def _between(seg_node: Any, reference: Any) -> Any:
    """The transform from the coordinates of the segmentation to those of the volume; None if they are the same."""
    parents = [node.GetParentTransformNode() for node in (seg_node, reference)]
    if parents[0] is parents[1]:
        return None
    between = vtk.vtkGeneralTransform()
    slicer.vtkMRMLTransformNode.GetTransformBetweenNodes(*parents, between)
    return between


def _masks(
    segmentation: Any, chosen: Sequence[str], grid: Volume, between: Any
) -> Iterator[tuple[int, NDArray[np.bool_]]]:
    """The label and the voxels of every chosen segment that has some; segments that share voxels are sampled once."""
    target = _image(grid)
    for layer in range(segmentation.GetNumberOfLayers(LABELMAP)):
        inside = [one for one in segmentation.GetSegmentIDsForLayer(layer, LABELMAP) if one in chosen]
        image = segmentation.GetLayerDataObject(layer, LABELMAP)
        if not inside or image is None or image.IsEmpty():
            continue
        sampled = slicer.vtkOrientedImageData()
        sample = slicer.vtkOrientedImageDataResample.ResampleOrientedImageToReferenceOrientedImage
        if not sample(image, target, sampled, False, False, between):
            raise BadInput("a segment cannot be sampled on the grid of the volume; check the transforms over both")
        voxels = vtk_to_numpy(sampled.GetPointData().GetScalars()).reshape(grid.shape)
        for one in inside:
            mask = voxels == segmentation.GetSegment(one).GetLabelValue()
            if mask.any():
                yield chosen.index(one) + 1, mask


def place_of_segment(seg_node: Any, segment_id: str) -> tuple[float, float, float] | None:
    """The centre of gravity of a segment, RAS mm in the world; None for one that is gone or empty."""
    segmentation = seg_node.GetSegmentation() if seg_node is not None else None
    segment = segmentation.GetSegment(segment_id) if segmentation is not None else None
    image = segment.GetRepresentation(LABELMAP) if segment is not None else None
    if image is None or image.IsEmpty():
        return None
    size, first = image.GetDimensions(), image.GetExtent()[::2]
    voxels = vtk_to_numpy(image.GetPointData().GetScalars()).reshape(size[::-1])
    inside = np.nonzero(voxels == segment.GetLabelValue())
    if not inside[0].size:
        return None
    matrix = vtk.vtkMatrix4x4()
    image.GetImageToWorldMatrix(matrix)
    index = [axis.mean() + start for axis, start in zip(inside[::-1], first, strict=True)]
    x, y, z, _one = matrix.MultiplyPoint((*index, 1.0))
    return to_world((x, y, z), seg_node.GetParentTransformNode())


# To Slicer


def segmentation_from_labels(
    volume: Volume,
    names: Mapping[int, str],
    name: str,
    *,
    reference: Any = None,
    colours: Mapping[int, Colour] | None = None,
    terminology: Mapping[int, str] | None = None,
    node: Any = None,
) -> Any:
    """A new segmentation node, or `node`, with a segment for each label that has a name or voxels; raises `BadInput`.

    `colours` are red, green, blue from 0 to 1, `terminology` what `terminology_entry` makes, all by label. `reference`
    is the volume that was segmented: DICOM export asks for it.
    """
    labels = _positive(volume, name)
    present = np.flatnonzero(np.bincount(labels.ravel())) if labels.max() < 2**16 else np.unique(labels)
    values = sorted({int(value) for value in present} | set(names) - {0})
    values = [value for value in values if value]
    _check(values, colours or {}, terminology or {})
    if reference is not None:
        require_node(reference, "vtkMRMLScalarVolumeNode", "volume")
    if node is not None:
        require_node(node, CLASS, "segmentation")
    image = _image(volume.with_array(labels))
    fill_image(image, labels)
    target = new_node(CLASS, name) if node is None else node
    with slicer.util.NodeModify(target):
        segmentation = target.GetSegmentation()
        segmentation.RemoveAllSegments()
        segmentation.SetSourceRepresentationName(LABELMAP)
        for index, value in enumerate(values):
            colour = (colours or {}).get(value, np.array(COLOURS[index % len(COLOURS)]) / 255)
            segment = _segment(image, value, names.get(value, f"Label {value}"), colour, (terminology or {}).get(value))
            segmentation.AddSegment(segment, f"Segment_{value}")
        grid = slicer.vtkSegmentationConverter.SerializeImageGeometry(image)
        segmentation.SetConversionParameter(GEOMETRY, grid)
        add_node(target)
        # Not by SetReferenceImageGeometryParameterFromVolumeNode, which counts transforms that are yet to be set.
        role = target.GetReferenceImageGeometryReferenceRole()
        target.SetNodeReferenceID(role, reference.GetID() if reference is not None else None)
    return target


def _segment(image: Any, value: int, name: str, colour: Sequence[float], entry: str | None) -> Any:
    segment = slicer.vtkSegment()
    segment.SetName(name)
    segment.SetColor(*(float(part) for part in colour))
    segment.SetNameAutoGenerated(False)
    segment.SetColorAutoGenerated(False)
    segment.SetLabelValue(value)
    segment.AddRepresentation(LABELMAP, image)
    if entry:
        segment.SetTerminology(entry)
    return segment


def _positive(volume: Volume, name: str) -> NDArray[Any]:
    """The labels in the smallest type that Slicer's segmentations know."""
    labels = storable(volume.array, "labelmap", name)
    if labels.min() < 0:
        raise BadInput(f"“{name}” has the label {labels.min()}; expected 0 for the background and positive labels")
    if labels.max() > np.iinfo(np.int32).max:
        raise BadInput(f"“{name}” has the label {labels.max()}; expected at most {np.iinfo(np.int32).max}; renumber")
    kind = next(kind for kind in (np.uint8, np.int16, np.int32) if labels.max() <= np.iinfo(kind).max)
    return labels.astype(kind, copy=False)


def _check(values: Sequence[int], colours: Mapping[int, Colour], terminology: Mapping[int, str]) -> None:
    """Raises `BadInput` for labels, colours and entries that cannot be meant."""
    if values and values[0] < 0:
        raise BadInput(f"the label {values[0]} has a name; expected positive labels")
    for label, colour in colours.items():
        if len(colour) != 3 or not all(0 <= part <= 1 for part in colour):
            raise BadInput(f"the colour of label {label} is {colour}; expected red, green and blue from 0 to 1")
    for label, entry in terminology.items():
        parts = entry.split("~")
        if len(parts) != 7 or any(parts[index].count("^") != 2 for index in (1, 2, 3, 5, 6)):
            raise BadInput(f"the terminology of label {label} is {entry!r}; make it by `terminology_entry`")


def terminology_entry(kind: Code, *, category: Code = TISSUE, modifier: Code = NONE, region: Code = NONE) -> str:
    """What a segment is, in codes of DICOM, as Slicer writes it down: a mass, left, in the brain."""
    codes = ["^".join(code) for code in (category, kind, modifier, region, NONE)]
    types, regions = "Segmentation category and type - DICOM master list", "Anatomic codes - DICOM master list"
    return "~".join([types, *codes[:3], regions, *codes[3:]])


def structure(code: Code) -> str:
    """The terminology entry of what a segment shows: a part of the body, or, by its code, what has changed there."""
    return terminology_entry(code, category=ALTERED if code[1] in CHANGES else ANATOMY)


def _image(grid: Volume) -> Any:
    """`vtkOrientedImageData` of the size and at the place of `grid`, without voxels."""
    image = slicer.vtkOrientedImageData()
    image.SetDimensions(grid.shape[::-1])
    image.SetImageToWorldMatrix(matrix_from_array(FLIP @ grid.affine))
    return image
