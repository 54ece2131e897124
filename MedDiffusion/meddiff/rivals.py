"""Registration by other programs, on the same terms: SimpleITK's demons and ANTs' SyN, after the same affine map.

Each takes the moving and the fixed image and a map (4x4, LPS mm, fixed to moving), and returns the whole transform.
"""

from __future__ import annotations

from importlib.util import find_spec
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from .alignment import Matrix
from .errors import BadInput
from .vectors import Vectors
from .volume import Volume, to_image

ITERATIONS, SPREAD = (40, 40), 1.0  # of demons: at half and at full resolution; smoothing (SD, voxels) of the field
SYN = {"type_of_transform": "SyNOnly", "syn_metric": "CC", "syn_sampling": 2, "reg_iterations": (60, 40, 20)}


def affine(moving: Volume, fixed: Volume, start: Matrix) -> Vectors:
    """SimpleITK's affine registration, from the `start`: correlation at half and at full resolution."""
    import SimpleITK as sitk

    method = sitk.ImageRegistrationMethod()
    method.SetMetricAsCorrelation()
    method.SetOptimizerAsRegularStepGradientDescent(1.0, 1e-4, 200)
    method.SetOptimizerScalesFromPhysicalShift()
    method.SetInterpolator(sitk.sitkLinear)
    method.SetShrinkFactorsPerLevel([2, 1])
    method.SetSmoothingSigmasPerLevel([1, 0])
    method.SetInitialTransform(_affine(start, fixed), inPlace=False)
    return _displaced(method.Execute(_float(fixed), _float(moving)), fixed)


def demons(moving: Volume, fixed: Volume, start: Matrix) -> Vectors:
    """Diffeomorphic demons (Vercauteren 2009) with matched histograms, coarse to fine."""
    import SimpleITK as sitk

    linear, aim, moved = _placed(moving, fixed, start)
    moved = sitk.HistogramMatching(moved, aim, 256, 15, True)
    found = None
    for shrink, iterations in zip((2, 1), ITERATIONS, strict=True):
        smooth = sitk.SmoothingRecursiveGaussian(aim, [0.5 * shrink] * 3) if shrink > 1 else aim
        small = sitk.Shrink(smooth, [shrink] * 3)
        method = sitk.DiffeomorphicDemonsRegistrationFilter()
        method.SetNumberOfIterations(iterations)
        method.SetStandardDeviations(SPREAD)
        if found is None:
            found = sitk.Image(small.GetSize(), sitk.sitkVectorFloat64)
            found.CopyInformation(small)
        found = sitk.Resample(found, small, sitk.Transform(), sitk.sitkLinear)
        found = method.Execute(small, sitk.Resample(moved, small), found)
    field = sitk.DisplacementFieldTransform(sitk.Cast(found, sitk.sitkVectorFloat64))
    return _displaced(sitk.CompositeTransform([linear, field]), fixed)


def syn(moving: Volume, fixed: Volume, start: Matrix) -> Vectors:
    """ANTs' symmetric normalisation (Avants 2008) with local correlation; raises BadInput without antspyx."""
    if find_spec("ants") is None:
        raise BadInput("antspyx is not installed, so SyN was left out; pip install antspyx")
    import ants  # pyright: ignore[reportMissingImports] - an extra of the benchmark
    import SimpleITK as sitk

    linear, aim, moved = _placed(moving, fixed, start)
    with TemporaryDirectory() as folder:
        names = [f"{folder}/{name}.nii.gz" for name in ("fixed", "moving")]
        for image, name in zip((aim, moved), names, strict=True):
            sitk.WriteImage(image, name)
        found = ants.registration(*(ants.image_read(name) for name in names), outprefix=f"{folder}/syn-", **SYN)
        field = sitk.ReadImage(found["fwdtransforms"][0], sitk.sitkVectorFloat64)
    return _displaced(sitk.CompositeTransform([linear, sitk.DisplacementFieldTransform(field)]), fixed)


def _placed(moving: Volume, fixed: Volume, start: Matrix) -> tuple[Any, Any, Any]:
    """The map, the fixed image, and the moving one where the map puts it, as SimpleITK's."""
    import SimpleITK as sitk

    linear, aim = _affine(start, fixed), _float(fixed)
    return linear, aim, sitk.Resample(_float(moving), aim, linear, sitk.sitkLinear, float(moving.array.min()))


def _float(volume: Volume) -> Any:
    return to_image(volume.with_array(volume.array.astype(np.float32)))


def _affine(matrix: Matrix, fixed: Volume) -> Any:
    """The map as SimpleITK's, about the centre of the fixed image."""
    import SimpleITK as sitk

    centre = fixed.affine @ [*((np.array(fixed.shape[::-1]) - 1) / 2), 1]
    found = sitk.AffineTransform(3)
    found.SetMatrix(matrix[:3, :3].ravel().tolist())
    found.SetCenter(centre[:3].tolist())
    found.SetTranslation((matrix @ centre - centre)[:3].tolist())
    return found


def _displaced(transform: Any, fixed: Volume) -> Vectors:
    """A transform of SimpleITK as displacements on the fixed grid."""
    import SimpleITK as sitk

    filter_ = sitk.TransformToDisplacementFieldFilter()
    filter_.SetReferenceImage(to_image(fixed))
    return Vectors(sitk.GetArrayFromImage(filter_.Execute(transform)).astype(np.float32), fixed)
