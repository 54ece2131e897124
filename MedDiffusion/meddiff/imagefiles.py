"""3D image files: read whole or refused, written whole or not at all."""

from __future__ import annotations

import gzip
import os
import zlib
from collections.abc import Mapping
from math import prod
from pathlib import Path
from typing import Any

from .errors import BadInput

WRITABLE = (".nii.gz", ".nii", ".nrrd", ".mha")  # one file, floating point, with geometry
FORMATS = f"a 3D image file ({', '.join(WRITABLE)})"


def read_image(path: str | Path, values: int = 1) -> Any:
    """The 3D SimpleITK image at `path`, with so many `values` a voxel; raises `BadInput`."""
    import SimpleITK as sitk

    path = Path(path)
    if path.is_dir():
        raise BadInput(f"{path} is a folder; expected one image file; load a DICOM series in Slicer and save it")
    if not path.is_file():
        raise BadInput(f"{path} does not exist; check the path")
    try:
        reader = sitk.ImageFileReader()
        reader.SetFileName(str(path))
        reader.ReadImageInformation()  # refuse a 4D file before its voxels fill the memory
        size = reader.GetSize()
        trailing = len(size) == 4 and size[3] == 1
        usable = len(size) == 3 or trailing
        if usable and reader.HasMetaDataKey("bitpix"):
            need = int(reader.GetMetaData("bitpix")) * prod(size) // 8
            _check_nifti(path, need + int(float(reader.GetMetaData("vox_offset"))))
        image = reader.Execute() if usable else None
    except RuntimeError as error:
        raise BadInput(f"{path} cannot be read: {_reason(error)}; expected {FORMATS}") from error
    if image is None or image.GetNumberOfComponentsPerPixel() != values:
        count = image.GetNumberOfComponentsPerPixel() if image is not None else 1
        came = f"{path} is a {len(size)}D image of {' x '.join(map(str, size))}"
        came += f" with {count} value{'s' if count > 1 else ''} a voxel" if image is not None else ""
        wanted = "one value; save one channel or time point as its own file" if values == 1 else f"{values} values"
        raise BadInput(f"{came}; expected 3D (x, y, z) with {wanted}")
    if trailing:
        image = sitk.Extract(image, [*size[:3], 0], [0, 0, 0, 0], sitk.ExtractImageFilter.DIRECTIONCOLLAPSETOSUBMATRIX)
    return image


def write_image(
    image: Any, path: str | Path, metadata: Mapping[str, str] | None = None, *, compress: bool = True
) -> None:
    """Writes a SimpleITK image as `write` does a volume."""
    import SimpleITK as sitk

    path = Path(path)
    extension = next((known for known in WRITABLE if path.name.lower().endswith(known)), None)
    if extension is None:
        raise BadInput(f"{path.name} has no known extension; expected {FORMATS}")
    if metadata and extension != ".nrrd":
        raise BadInput(f"{path.name} cannot hold metadata ({', '.join(metadata)}); write a .nrrd file")
    twin = path.with_name(path.name[:-3] if extension == ".nii.gz" else path.name + ".gz")
    if extension in (".nii", ".nii.gz") and twin.exists():
        raise BadInput(f"{twin} exists, and readers mix it up with {path.name}; choose another name")
    if not path.parent.is_dir():
        raise BadInput(f"the folder {path.parent} does not exist; create it or choose another")
    part = path.with_name(path.name[: -len(extension)] + ".part" + extension)
    try:
        for key, value in (metadata or {}).items():
            image.SetMetaData(key, value)
        sitk.WriteImage(image, str(part), useCompression=compress)
        os.replace(part, path)
    except (RuntimeError, OSError) as error:
        raise BadInput(f"{path} cannot be written: {_reason(error)}; check the disk and its permissions") from error
    finally:
        part.unlink(missing_ok=True)


def _check_nifti(path: Path, need: int) -> None:
    """Raises `BadInput` where ITK would, in silence, read a namesake (its issue 2243) or fill the missing by zeros."""
    twin = path.with_suffix("")
    if path.name.lower().endswith(".nii.gz") and twin.exists():
        raise BadInput(f"{twin.name} lies beside {path}, and would be read in its place; rename or move one of them")
    if not path.name.lower().endswith((".nii", ".nii.gz")):
        return  # a .hdr, whose voxels are in its .img
    with path.open("rb") as file:
        packed = file.read(2) == b"\x1f\x8b"
    length = 0
    try:
        with gzip.open(path) if packed else path.open("rb") as file:
            while chunk := file.read(1 << 22):
                length += len(chunk)
    except (EOFError, zlib.error, OSError) as error:
        raise BadInput(f"{path} is damaged or incomplete ({error}); copy or download it again") from error
    if length < need:
        raise BadInput(f"{path} holds {length} bytes of the {need} that its header says; copy or download it again")


def _reason(error: Exception) -> str:
    """The last line of an ITK message, without its class and address."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1].split("): ")[-1].removeprefix("sitk::ERROR: ").rstrip(".") if lines else type(error).__name__
