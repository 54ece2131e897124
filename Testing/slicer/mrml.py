"""MRML made by hand for the tests of the bridge: nothing here comes from the code under test."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import slicer
import vtk
from vtk.util.numpy_support import numpy_to_vtk

LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
DTYPES = ("uint8", "int8", "int16", "uint16", "int32", "uint32", "float32", "float64", "int64")


def new_scene() -> Any:
    """An empty scene that knows Slicer's node classes and its built-in colours, as `slicer.mrmlScene`."""
    scene = slicer.vtkMRMLScene()
    scene.RegisterNodeClass(slicer.vtkMRMLSequenceBrowserNode())
    slicer.mrmlScene = scene
    colours = slicer.vtkMRMLColorLogic()
    colours.SetMRMLScene(scene)
    colours.AddDefaultColorNodes()
    scene.colours = colours
    return scene


@contextmanager
def own_scene() -> Iterator[Any]:
    """A new scene for one test; what was `slicer.mrmlScene` before is so again."""
    before = getattr(slicer, "mrmlScene", None)
    try:
        yield new_scene()
    finally:
        slicer.mrmlScene = before


def know_surfaces() -> None:
    """Slicer's module Segmentations registers what turns surfaces into label maps, and back, when it starts."""
    factory = slicer.vtkSegmentationConverterFactory.GetInstance()
    factory.RegisterConverterRule(slicer.vtkClosedSurfaceToBinaryLabelmapConversionRule())
    factory.RegisterConverterRule(slicer.vtkBinaryLabelmapToClosedSurfaceConversionRule())


def matrix(array: np.ndarray) -> Any:
    made = vtk.vtkMatrix4x4()
    made.DeepCopy(np.asarray(array, float).ravel())
    return made


def array_of(vtk_matrix: Any) -> np.ndarray:
    return np.array([[vtk_matrix.GetElement(i, j) for j in range(4)] for i in range(4)])


def rotation(rng: np.random.Generator) -> np.ndarray:
    """A random rotation, or, as often, a reflection."""
    return np.linalg.qr(rng.normal(size=(3, 3)))[0] * rng.choice([-1, 1], 3)


def affine(rng: np.random.Generator) -> np.ndarray:
    """A random IJK to RAS matrix: oblique, anisotropic, of either handedness."""
    made = np.eye(4)
    made[:3, :3] = rotation(rng) * rng.uniform(0.3, 5, 3)
    made[:3, 3] = rng.uniform(-300, 300, 3)
    return made


def vtk_image(array: np.ndarray) -> Any:
    """(Z, Y, X) or (Z, Y, X, C)."""
    image = vtk.vtkImageData()
    image.SetDimensions(*array.shape[2::-1])
    rows = np.ascontiguousarray(array).reshape(-1, *array.shape[3:])
    image.GetPointData().SetScalars(numpy_to_vtk(rows, deep=True))
    return image


def volume_node(
    array: np.ndarray, ijk_to_ras: np.ndarray | None = None, name: str = "MR", cls: str = "vtkMRMLScalarVolumeNode"
) -> Any:
    node = slicer.mrmlScene.AddNewNodeByClass(cls, name)
    node.SetIJKToRASMatrix(matrix(np.eye(4) if ijk_to_ras is None else ijk_to_ras))
    node.SetAndObserveImageData(vtk_image(array))
    node.CreateDefaultDisplayNodes()
    return node


def linear_transform(rng: np.random.Generator, name: str = "linear") -> Any:
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode", name)
    made = np.eye(4)
    made[:3, :3] = rotation(rng) @ np.diag(rng.uniform(0.7, 1.4, 3)) @ rotation(rng)
    made[:3, 3] = rng.uniform(-50, 50, 3)
    node.SetMatrixTransformToParent(matrix(made))
    return node


def grid_transform(rng: np.random.Generator, name: str = "warp") -> Any:
    """A smooth, invertible warp of the whole field of view, to parent."""
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLGridTransformNode", name)
    image = vtk_image(rng.uniform(-15, 15, (5, 5, 5, 3)))
    image.SetSpacing(200, 200, 200)
    image.SetOrigin(-400, -400, -400)
    transform = slicer.vtkOrientedGridTransform()
    transform.SetDisplacementGridData(image)
    axes = np.eye(4)
    axes[:3, :3] = rotation(rng)
    transform.SetGridDirectionMatrix(matrix(axes))
    transform.SetInterpolationModeToCubic()  # as Slicer makes those that it reads
    node.SetAndObserveTransformToParent(transform)
    return node


def parent(rng: np.random.Generator, kind: str) -> Any:
    """The transform node over a volume: None, one of either kind, or one under another."""
    if kind == "none":
        return None
    if kind == "chain":
        upper, lower = linear_transform(rng, "upper"), grid_transform(rng, "lower")
        lower.SetAndObserveTransformNodeID(upper.GetID())
        return lower
    return linear_transform(rng) if kind == "linear" else grid_transform(rng)


def put_under(node: Any, transform: Any) -> None:
    node.SetAndObserveTransformNodeID(transform.GetID() if transform is not None else None)


def to_world(node: Any, points: np.ndarray) -> np.ndarray:
    """Points (N, 3) in the node's own RAS through every transform above it."""
    general = vtk.vtkGeneralTransform()
    slicer.vtkMRMLTransformNode.GetTransformBetweenNodes(node.GetParentTransformNode(), None, general)
    return np.array([general.TransformPoint(*point) for point in points])


def corners(node: Any) -> np.ndarray:
    """World RAS of the eight corner voxels, by MRML alone."""
    size = node.GetImageData().GetDimensions()
    index = np.array([(i, j, k, 1) for i in (0, size[0] - 1) for j in (0, size[1] - 1) for k in (0, size[2] - 1)])
    ijk_to_ras = vtk.vtkMatrix4x4()
    node.GetIJKToRASMatrix(ijk_to_ras)
    return to_world(node, (index @ array_of(ijk_to_ras).T)[:, :3])


def voxels(node: Any) -> np.ndarray:
    return slicer.util.arrayFromVolume(node)


def nodes_of(scene: Any) -> list[tuple[str, str]]:
    """Class and name of everything in the scene."""
    nodes = (scene.GetNthNode(index) for index in range(scene.GetNumberOfNodes()))
    return sorted((node.GetClassName(), node.GetName() or "") for node in nodes)


def give_cache(scene: Any, folder: Path) -> None:
    """A scene unpacks .mrb files in its cache."""
    cache, manager = slicer.vtkCacheManager(), slicer.vtkDataIOManager()
    (folder / "cache").mkdir(exist_ok=True)
    cache.SetRemoteCacheDirectory(str(folder / "cache"))
    manager.SetCacheManager(cache)
    scene.SetCacheManager(cache)
    scene.SetDataIOManager(manager)


def save_and_load(scene: Any, folder: Path) -> Any:
    """The scene after a way through a .mrb file, as `slicer.mrmlScene`."""
    if not scene.WriteToMRB(str(folder / "scene.mrb")):
        raise OSError("the scene was not written")
    loaded = new_scene()
    give_cache(loaded, folder)
    if not loaded.ReadFromMRB(str(folder / "scene.mrb"), True):
        raise OSError("the scene was not read")
    return loaded
