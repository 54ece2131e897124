"""What segments show, in codes of DICOM, and who made them: what module Segmentations and DICOM SEG export ask for."""

from __future__ import annotations

from typing import Any

Code = tuple[str, str, str]  # scheme, value, meaning, such as ("SCT", "4147007", "Mass")
LONGEST = 64  # characters that DICOM gives to the name of an algorithm
NONE: Code = ("", "", "")
TISSUE: Code = ("SCT", "85756007", "Tissue")
ANATOMY: Code = ("SCT", "123037004", "Anatomical Structure")
ALTERED: Code = ("SCT", "49755003", "Morphologically Altered Structure")
# Lesion, mass, neoplasm, necrosis, oedema, cyst, haemorrhage, infarct: those of Slicer's list that models segment.
CHANGES = {"52988006", "4147007", "108369006", "6574001", "79654002", "367643001", "50960005", "55641003"}


def terminology_entry(kind: Code, *, category: Code = TISSUE, modifier: Code = NONE, region: Code = NONE) -> str:
    """What a segment is, in codes of DICOM, as Slicer writes it down: a mass, left, in the brain."""
    codes = ["^".join(code) for code in (category, kind, modifier, region, NONE)]
    types, regions = "Segmentation category and type - DICOM master list", "Anatomic codes - DICOM master list"
    return "~".join([types, *codes[:3], regions, *codes[3:]])


def structure(code: Code) -> str:
    """The terminology entry of what a segment shows: a part of the body, or, by its code, what has changed there."""
    return terminology_entry(code, category=ALTERED if code[1] in CHANGES else ANATOMY)


def mark_automatic(seg_node: Any, algorithm: str) -> None:
    """What DICOM SEG export has to say of the segments: they were made by an algorithm, of that name."""
    segmentation = seg_node.GetSegmentation()
    for one in segmentation.GetSegmentIDs():
        segmentation.GetSegment(one).SetTag("DICOM.SegmentAlgorithmType", "AUTOMATIC")
        segmentation.GetSegment(one).SetTag("DICOM.SegmentAlgorithmName", algorithm[:LONGEST])
