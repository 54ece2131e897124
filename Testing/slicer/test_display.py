"""What a result looks like: what Slicer's own pipeline makes of every voxel."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import mrml
import numpy as np
import pytest
import slicer
from test_nodes import plain, refusal
from vtk.util.numpy_support import vtk_to_numpy

from MedDiffusionLib.display import BACKGROUND, colour_map, show
from MedDiffusionLib.hierarchy import proxy
from MedDiffusionLib.segmentations import segmentation_from_labels
from MedDiffusionLib.sequences import sequence_from_volumes

MAPS = ("uncertainty", "residual", "anomaly")
ARRAYS = {
    "uncertainty": "viridis",
    "residual": "magma",
    "anomaly": "inferno",
}


@pytest.fixture(autouse=True)
def scene() -> Iterator[Any]:
    with mrml.own_scene() as made:
        yield made


def head(dtype: str = "float32", top: float = 1000) -> np.ndarray:
    """A bright box in air."""
    rng = np.random.default_rng(0)
    array = np.zeros((8, 10, 12))
    array[2:6, 2:8, 2:10] = rng.uniform(0.2, 1, (4, 6, 8)) * top
    return array.astype(dtype)


def pixels(node: Any) -> np.ndarray:
    """Red, green, blue and opacity (0 to 255) that Slicer shows for every voxel, (Z, Y, X, 4)."""
    source = node.GetDisplayNode().GetOutputImageDataConnection().GetProducer()
    source.Update()
    shown = vtk_to_numpy(source.GetOutputDataObject(0).GetPointData().GetScalars())
    return shown.reshape(*mrml.voxels(node).shape, -1).astype(int)


# --- images


def test_an_image_looks_like_its_source(scene: Any) -> None:
    source, node = mrml.volume_node(head("int16")), mrml.volume_node(head() * 0.9)
    shown = source.GetDisplayNode()
    shown.AutoWindowLevelOff()
    shown.SetWindowLevel(321, 123)
    shown.SetInterpolate(False)
    shown.SetAndObserveColorNodeID("vtkMRMLColorTableNodeInvertedGrey")
    show(node, "image", like=source)
    made = node.GetDisplayNode()
    assert (made.GetWindow(), made.GetLevel(), made.GetAutoWindowLevel()) == (321, 123, 0)
    assert made.GetColorNode().GetName() == "InvertedGrey"
    assert not made.GetInterpolate()
    assert not made.GetApplyThreshold()


def test_a_window_that_was_chosen_by_slicer_is_copied_too(scene: Any) -> None:
    source, node = mrml.volume_node(head()), mrml.volume_node(head() + 5)
    assert source.GetDisplayNode().GetAutoWindowLevel()
    show(node, "image", like=source)
    assert node.GetDisplayNode().GetWindow() == source.GetDisplayNode().GetWindow() > 0
    assert node.GetDisplayNode().GetLevel() == source.GetDisplayNode().GetLevel()


@pytest.mark.parametrize("other", [head() * 1e-3, head() * 50, head() + 1e5, np.full((2, 2, 2), np.nan)])
def test_an_image_of_other_intensities_gets_its_own_window(scene: Any, other: np.ndarray) -> None:
    source, node = mrml.volume_node(head()), mrml.volume_node(other)
    source.GetDisplayNode().AutoWindowLevelOff()
    source.GetDisplayNode().SetWindowLevel(900, 450)
    show(node, "image", like=source)
    assert node.GetDisplayNode().GetAutoWindowLevel()
    assert node.GetDisplayNode().GetWindow() != 900


@pytest.mark.parametrize("like", ["none", "labels", "empty", "transform", "window"])
def test_nothing_to_look_like(scene: Any, like: str) -> None:
    source = {
        "none": lambda: None,
        "labels": lambda: mrml.volume_node(head("int16"), cls="vtkMRMLLabelMapVolumeNode"),
        "empty": lambda: scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "empty"),
        "transform": lambda: scene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "T"),
        "window": lambda: mrml.volume_node(head()),
    }[like]()
    if like == "window":
        source.GetDisplayNode().AutoWindowLevelOff()
        source.GetDisplayNode().SetWindowLevel(0, 0)
    node = mrml.volume_node(head())
    show(node, "image", like=source)
    assert node.GetDisplayNode().GetAutoWindowLevel()
    assert node.GetDisplayNode().GetWindow() > 0


def test_a_map_becomes_an_image_again(scene: Any) -> None:
    node, fresh = mrml.volume_node(head()), mrml.volume_node(head())
    show(node, "anomaly")
    show(node, "image")
    assert np.array_equal(pixels(node), pixels(fresh))


def test_a_sequence_is_shown_by_its_node(scene: Any) -> None:
    source = mrml.volume_node(head())
    source.GetDisplayNode().AutoWindowLevelOff()
    source.GetDisplayNode().SetWindowLevel(321, 123)
    node = sequence_from_volumes([plain(head()), plain(head() * 0.9)], "cine")
    shown = proxy(node).GetDisplayNode()
    window = shown.GetWindow()
    show(node, "image")
    assert (shown.GetWindow(), shown.GetAutoWindowLevel()) == (window, 0)
    show(node, "image", like=source)
    assert (shown.GetWindow(), shown.GetLevel()) == (321, 123)
    scene.RemoveNode(proxy(node))
    assert "no volume" in refusal(show, node, "image")


# --- maps


@pytest.mark.parametrize("role", MAPS)
def test_a_map_is_clear_in_the_background_and_uniform_inside(scene: Any, role: str) -> None:
    import matplotlib

    array = head(top=0.02)
    node = mrml.volume_node(array)
    show(node, role)
    shown = pixels(node)
    assert (shown[array == 0][:, 3] == 0).all()
    assert (shown[array > 0][:, 3] == 255).all()
    top = np.percentile(array[array > 0], 99.5)
    expected = matplotlib.colormaps[ARRAYS[role]](np.minimum(array / top, 1))[..., :3] * 255
    assert np.abs(shown[..., :3] - expected)[array > 0].max() < 10


@pytest.mark.parametrize("role", MAPS)
def test_colours_become_lighter_step_by_step(scene: Any, role: str) -> None:
    """Perceptually uniform: lightness (CIE L*) rises with the value, nearly evenly."""
    node = mrml.volume_node(np.linspace(0, 1, 256).reshape(1, 16, 16))
    show(node, role)
    colours = node.GetDisplayNode().GetColorNode()
    table = np.empty((256, 4))
    for index in range(256):
        colour = [0.0] * 4
        colours.GetColor(index, colour)
        table[index] = colour
    linear = np.where(table[:, :3] <= 0.04045, table[:, :3] / 12.92, ((table[:, :3] + 0.055) / 1.055) ** 2.4)
    luminance = linear @ [0.2126, 0.7152, 0.0722]
    lightness = np.where(luminance > 0.008856, 116 * np.cbrt(luminance) - 16, 903.3 * luminance)
    assert np.diff(lightness[::5]).min() > 0
    assert np.abs(lightness - np.linspace(lightness[0], lightness[-1], 256)).max() < 7


@pytest.mark.parametrize("dtype", ["uint8", "int8", "int16", "uint16", "int32", "float64"])
@pytest.mark.parametrize("top", [1, 3, 100])
def test_maps_of_any_type(scene: Any, dtype: str, top: int) -> None:
    """Zero is clear, everything else is seen, however few values there are."""
    array = np.zeros((4, 5, 6), dtype)
    array[1:3, 1:4, 1:5] = top
    node = mrml.volume_node(array)
    show(node, "anomaly")
    assert np.array_equal(pixels(node)[..., 3] > 0, array > 0)
    assert node.GetDisplayNode().GetWindowLevelMax() == pytest.approx(top)
    assert node.GetDisplayNode().GetWindowLevelMin() == 0


def test_what_goes_on_around_the_head_is_not_shown(scene: Any) -> None:
    source, inside = mrml.volume_node(head("int16")), head() > 0
    spread = np.where(inside, 100.0, 8.0).astype(np.float32)  # 8 % of the top: above the plain threshold
    node = mrml.volume_node(spread)
    show(node, "uncertainty", like=source)
    opacity = pixels(node)[..., 3]
    assert (opacity[inside] == 255).all() and (opacity[~inside] == 0).mean() > 0.97
    node = mrml.volume_node(np.full_like(spread, 100.0))  # as strong outside as inside: that must be seen
    show(node, "uncertainty", like=source)
    assert (pixels(node)[..., 3] == 255).all()


def test_rounding_errors_are_not_worth_a_colour(scene: Any) -> None:
    rng = np.random.default_rng(0)
    node = mrml.volume_node(rng.uniform(0, 1e-3 * BACKGROUND, head().shape).astype(np.float32))
    show(node, "residual", like=mrml.volume_node(head("int16")))
    assert (pixels(node)[..., 3] == 0).all()
    show(node, "anomaly", like=mrml.volume_node(head("int16")))  # its scale is its own
    assert (pixels(node)[..., 3] == 255).mean() > 0.9


def test_a_few_bright_voxels_neither_hide_nor_blind(scene: Any) -> None:
    """A lesion of one voxel in a thousand decides the range; one hot voxel in a map does not."""
    lesion = np.zeros((20, 20, 20))
    lesion[0, 0, :8] = 1
    node = mrml.volume_node(lesion)
    show(node, "anomaly")
    assert node.GetDisplayNode().GetWindowLevelMax() == 1
    hot = np.random.default_rng(0).uniform(0, 1, (20, 20, 20))
    hot[3, 3, 3] = 1e6
    node = mrml.volume_node(hot)
    show(node, "uncertainty")
    assert node.GetDisplayNode().GetWindowLevelMax() <= 1
    assert pixels(node)[3, 3, 3, 3] == 255


def test_a_map_with_a_limit_shows_what_comes_near_it(scene: Any) -> None:
    """Healthy tissue is not coloured however little there is to see; what is far above the limit keeps its scale."""
    noise = np.random.default_rng(0).uniform(0, 0.09, (20, 20, 20))
    node = mrml.volume_node(noise)
    show(node, "anomaly", limit=0.2)
    assert (pixels(node)[..., 3] == 0).all() and node.GetDisplayNode().GetWindowLevelMax() == 0.4
    noise[2:6, 2:6, 2:6] = 3.0
    node = mrml.volume_node(noise)
    show(node, "anomaly", limit=0.2)
    assert (pixels(node)[..., 3] == 255).sum() == 64 and node.GetDisplayNode().GetWindowLevelMax() == 3.0
    show(node, "spread", like=mrml.volume_node(head("int16")), limit=0.2)  # a map in units of its own
    assert (pixels(node)[..., 3] == 255).sum() == 64


@pytest.mark.parametrize("array", [np.zeros((2, 3, 4)), np.full((2, 3, 4), np.nan), np.full((2, 3, 4), 5, "int16")])
def test_flat_maps(scene: Any, array: np.ndarray) -> None:
    node = mrml.volume_node(array)
    show(node, "residual")
    shown = node.GetDisplayNode()
    assert np.isfinite([shown.GetWindow(), shown.GetLevel(), shown.GetLowerThreshold()]).all()
    assert shown.GetWindow() > 0


def test_a_map_of_both_signs_hides_nothing(scene: Any) -> None:
    node = mrml.volume_node(np.linspace(-2, 2, 1000).reshape(10, 10, 10))
    show(node, "residual")
    shown = node.GetDisplayNode()
    assert not shown.GetApplyThreshold()
    assert shown.GetWindowLevelMin() == pytest.approx(-2, rel=0.02)
    assert shown.GetWindowLevelMax() == pytest.approx(2, rel=0.02)


def test_a_jacobian_is_white_where_nothing_changes(scene: Any) -> None:
    """Blue below 1, red above, whatever the extremes; nothing of it is hidden."""
    node = mrml.volume_node(np.linspace(-0.5, 9, 1000).reshape(10, 10, 10).astype(np.float32))
    show(node, "jacobian")
    shown, red, blue, middle = node.GetDisplayNode(), [0.0] * 4, [0.0] * 4, [0.0] * 4
    assert (shown.GetWindowLevelMin(), shown.GetWindowLevelMax()) == pytest.approx((0, 2))
    assert not shown.GetApplyThreshold()
    for index, colour in ((0, blue), (128, middle), (255, red)):
        shown.GetColorNode().GetColor(index, colour)
    assert blue[2] > 2 * blue[0] and red[0] > 2 * red[2] and max(middle[:3]) - min(middle[:3]) < 0.05


def test_showing_twice_changes_nothing(scene: Any) -> None:
    node = mrml.volume_node(head())
    show(node, "uncertainty")
    nodes, before = scene.GetNumberOfNodes(), pixels(node)
    show(node, "uncertainty")
    assert scene.GetNumberOfNodes() == nodes
    assert np.array_equal(pixels(node), before)
    show(node, "anomaly")
    assert node.GetDisplayNode().GetColorNode().GetName() == "Inferno"


# --- colours


def test_the_colours_of_slicer_come_first(scene: Any) -> None:
    own = scene.AddNewNodeByClass("vtkMRMLColorTableNode", "Viridis")
    own.SetTypeToUser()
    own.SetNumberOfColors(256)
    volume = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "Magma")  # the name of no colour node
    assert colour_map(scene, "Viridis") is own
    assert colour_map(scene, "Magma") is not volume
    assert colour_map(scene, "Magma") is colour_map(scene, "Magma")
    own.SetNumberOfColors(0)
    assert colour_map(scene, "Viridis") is not own


# --- labels


def test_segments_are_seen_through(scene: Any) -> None:
    node = segmentation_from_labels(plain(head() > 0), {1: "a"}, "labels")
    node.GetDisplayNode().SetVisibility(False)
    show(node, "labels")
    shown = node.GetDisplayNode()
    assert shown.GetVisibility()
    assert 0 < shown.GetOpacity2DFill() < 0.7
    assert shown.GetVisibility2DOutline()


def test_a_label_map_keeps_its_colours(scene: Any) -> None:
    node = mrml.volume_node((head() > 0).astype("uint8"), cls="vtkMRMLLabelMapVolumeNode")
    before = node.GetDisplayNode().GetColorNodeID()
    show(node, "labels")
    assert node.GetDisplayNode().GetColorNodeID() == before


def test_roles_that_do_not_fit(scene: Any) -> None:
    image = mrml.volume_node(head(), name="MR")
    labels = mrml.volume_node((head() > 0).astype("uint8"), cls="vtkMRMLLabelMapVolumeNode")
    segmentation = segmentation_from_labels(plain(head() > 0), {1: "a"}, "labels")
    assert "did you mean" in refusal(show, image, "uncertain")
    assert "cannot be shown as labels" in refusal(show, image, "labels")
    assert "cannot be shown as anomaly" in refusal(show, labels, "anomaly")
    assert "cannot be shown as image" in refusal(show, segmentation, "image")
    assert "no volume is chosen" in refusal(show, None, "image")
    empty = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "empty")
    assert "no voxels" in refusal(show, empty, "image")
    assert "not a volume" in refusal(show, slicer.vtkMRMLModelNode(), "image")
