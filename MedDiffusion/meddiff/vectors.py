"""Displacements in mm on a grid: the transform of a registration, in the files that ITK and Slicer read as one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import BadInput
from .imagefiles import read_image, write_image
from .volume import Volume, put, sampler_on, to_image

LINEAR = "a rigid or affine transform (.tfm, .txt, .h5, .mat)"


@dataclass(frozen=True, eq=False)
class Vectors:
    """The transform p -> p + d(p), LPS mm: `array` (Z, Y, X, 3) holds d in the order (x, y, z), on `grid`, whose own
    voxels do not count."""

    array: NDArray[np.float32]
    grid: Volume

    def __post_init__(self) -> None:
        """Raises BadInput unless there are three finite numbers for each voxel."""
        array = np.asarray(self.array, np.float32)
        if array.shape != (*self.grid.shape, 3):
            raise BadInput(f"the displacements have shape {array.shape}; expected {(*self.grid.shape, 3)} (Z, Y, X, 3)")
        if not np.isfinite(array).all():
            raise BadInput("some displacements are NaN or infinite; expected finite mm; run the registration again")
        self.__dict__["array"] = array

    @property
    def voxels(self) -> NDArray[np.float32]:
        """The displacements in voxels of the grid, (3, Z, Y, X) in the order of the axes."""
        inverse = np.linalg.inv(self.grid.affine[:3, :3])[::-1].astype(np.float32)
        return np.moveaxis(self.array @ inverse.T, -1, 0)

    @classmethod
    def of_voxels(cls, u: NDArray[np.floating], grid: Volume) -> Vectors:
        """The inverse of `voxels`."""
        turn = grid.affine[:3, :3][:, ::-1].astype(np.float32)
        return cls(np.moveaxis(u, 0, -1) @ turn.T, grid)

    def resample(self, volume: Volume, interpolation: str = "linear", outside: float = 0.0) -> Volume:
        """volume(p + d(p)) on the grid, in one interpolation; where the volume does not reach, `outside`."""
        import SimpleITK as sitk

        sampler = sampler_on(self.grid, interpolation, outside)
        field = sitk.DisplacementFieldTransform(sitk.Cast(self.image(), sitk.sitkVectorFloat64))
        kind = volume.array.dtype if interpolation == "nearest" else np.result_type(volume.array, np.float32)
        moving = to_image(volume.with_array(volume.array.astype(kind, copy=False)))
        sampler.SetTransform(field)
        return self.grid.with_array(sitk.GetArrayFromImage(sampler.Execute(moving)).astype(kind, copy=False))

    def image(self) -> Any:
        """The SimpleITK image of vectors."""
        import SimpleITK as sitk

        return put(sitk.GetImageFromArray(self.array, isVector=True), self.grid)


def read_vectors(path: str | Path) -> Vectors:
    """The displacements in a 3D file with three values a voxel; raises BadInput."""
    import SimpleITK as sitk

    image = read_image(path, 3)
    blank = np.broadcast_to(np.uint8(0), image.GetSize()[::-1])
    grid = Volume(blank, image.GetSpacing(), image.GetOrigin(), image.GetDirection())
    return Vectors(sitk.GetArrayFromImage(image), grid)


def write_vectors(vectors: Vectors, path: str | Path, metadata: Mapping[str, str] | None = None) -> None:
    """Writes whole or not at all, as `volume.write` does; raises BadInput."""
    write_image(vectors.image(), path, metadata)


def read_linear(path: str | Path) -> NDArray[np.float64]:
    """The 4x4 matrix, LPS mm, of a linear transform in a file, from points of the fixed image to points of the moving
    one; raises BadInput for what is no such file, and for one that bends or flattens space."""
    import SimpleITK as sitk

    path = Path(path)
    if not path.is_file():
        raise BadInput(f"{path} does not exist; check the path")
    try:
        transform = sitk.ReadTransform(str(path))
    except RuntimeError:  # whose words are those of a compiler
        raise BadInput(f"{path} cannot be read as a transform; expected {LINEAR}") from None
    if transform.GetDimension() != 3 or not transform.IsLinear():
        raise BadInput(f"{path} holds a transform that is not linear in 3D; expected {LINEAR}")
    matrix = np.eye(4)
    matrix[:3, 3] = transform.TransformPoint((0.0, 0.0, 0.0))
    for axis in range(3):
        matrix[:3, axis] = np.array(transform.TransformPoint(tuple(np.eye(3)[axis]))) - matrix[:3, 3]
    if not np.isfinite(matrix).all() or np.linalg.cond(matrix[:3, :3]) > 1e6:
        raise BadInput(f"the transform in {path} flattens space; expected one that can be undone")
    return matrix
