"""Pictures: known voxels at known places have the expected grey, and overlays their colour, in every orientation."""

from __future__ import annotations

import numpy as np
import pytest

from meddiff.volume import IDENTITY, Volume

LPS = np.array([-1.0, -1.0, 1.0])
WINDOW, LEVEL = 1000.0, 500.0
RED, BLUE = (1.0, 0.0, 0.0), (0.0, 0.0, 1.0)


@pytest.fixture
def render(host):
    from host import render

    return render


def volume(tilt: float = 0.0) -> Volume:
    """Blocks of 8 voxels of one grey each, all different from their neighbours, 2 mm, the middle at the origin."""
    z, y, x = (np.arange(40) // 8,) * 3
    array = 100.0 + 35 * x[None, None, :] + 150 * y[None, :, None] + 12 * z[:, None, None]
    turn = np.radians(tilt)
    direction = np.array([[np.cos(turn), -np.sin(turn), 0], [np.sin(turn), np.cos(turn), 0], [0, 0, 1]])
    return Volume(array.astype(np.float32), (2, 2, 2), tuple(-direction @ [39, 39, 39]), tuple(direction.ravel()))


def ras(volume: Volume, index) -> np.ndarray:
    return (volume.affine @ [*index, 1])[:3] * LPS


def node_of(volume: Volume, name="Volume", **options):
    from MedDiffusionLib.nodes import node_from_volume

    node = node_from_volume(volume, name, **options)
    if node.GetDisplayNode() is None:
        node.CreateDefaultDisplayNodes()
    display = node.GetDisplayNode()
    if display.IsA("vtkMRMLScalarVolumeDisplayNode"):
        display.AutoWindowLevelOff()
        display.SetWindowLevel(WINDOW, LEVEL)
    return node


def grey(value: float) -> float:
    return np.clip((value - LEVEL + WINDOW / 2) / WINDOW * 255, 0, 255)


@pytest.mark.parametrize("orientation", ["Axial", "Coronal", "Sagittal"])
@pytest.mark.parametrize("tilt", [0.0, 25.0])
def test_voxels_are_where_they_belong(render, orientation, tilt):
    truth = volume(tilt)
    node = node_of(truth)
    for x, y, z in ((4, 4, 12), (36, 12, 20), (20, 28, 20)):  # in the middle of blocks
        place = ras(truth, (x, y, z))
        picture = render.slice_picture(
            node, orientation=orientation, aligned=bool(tilt), through=place, size=(320, 320)
        )
        assert abs(picture.position(place)[2]) < 0.01, "the slice goes through the place"
        red, green, blue = picture.at(place)
        assert red == green == blue
        assert abs(red - grey(truth.array[z, y, x])) <= 2
        if (x, y, z) == (20, 28, 20):  # one slice shows all that lies in it
            in_slice = {"Axial": (4, 4, 20), "Coronal": (4, 28, 12), "Sagittal": (20, 4, 12)}[orientation]
            assert abs(picture.at(ras(truth, in_slice))[0] - grey(truth.array[in_slice[::-1]])) <= 2


def test_sides_are_those_of_radiology(render):
    """The patient's right is on the left of the picture, front and head are on top."""
    node = node_of(volume())
    axial = render.slice_picture(node, orientation="Axial")
    coronal = render.slice_picture(node, orientation="Coronal")
    sagittal = render.slice_picture(node, orientation="Sagittal")
    assert axial.position((30, 0, 0))[0] < axial.position((-30, 0, 0))[0]
    assert axial.position((0, 30, 0))[1] < axial.position((0, -30, 0))[1]
    assert coronal.position((30, 0, 0))[0] < coronal.position((-30, 0, 0))[0]
    assert coronal.position((0, 0, 30))[1] < coronal.position((0, 0, -30))[1]
    assert sagittal.position((0, 0, 30))[1] < sagittal.position((0, 0, -30))[1]


def test_offset_and_zoom(render):
    truth = volume()
    node = node_of(truth)
    wide = render.slice_picture(node, offset=17.0)
    near = render.slice_picture(node, offset=17.0, zoom=2)
    assert abs(wide.position((0, 0, 17))[2]) < 1e-6
    apart = [abs(p.position((10, 0, 17))[0] - p.position((-10, 0, 17))[0]) for p in (wide, near)]
    assert apart[1] == pytest.approx(2 * apart[0])
    with pytest.raises(ValueError, match="outside"):
        near.at((39, 39, 17))


def test_outside_the_volume_is_black(render):
    picture = render.slice_picture(node_of(volume()), size=(500, 300))
    assert picture.pixels.shape == (300, 500, 3)
    assert not picture.pixels[:, :20].any() and picture.pixels[150, 250].all()


def test_a_foreground_is_blended(render):
    truth = volume()
    low, high = node_of(truth.with_array(np.full(truth.shape, 200.0))), node_of(truth.with_array(truth.array * 0 + 800))
    for opacity in (0.0, 0.3, 1.0):
        value = render.slice_picture(low, foreground=high, opacity=opacity).at((0, 0, 0))[0]
        assert abs(value - ((1 - opacity) * grey(200) + opacity * grey(800))) <= 2


def test_colours_of_a_volume_are_its_own(render):
    import slicer

    colours = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLProceduralColorNode", "Blue to red")
    function = colours.GetColorTransferFunction()
    function.AddRGBPoint(0, *BLUE)
    function.AddRGBPoint(1000, *RED)
    node = node_of(volume().with_array(np.full((40, 40, 40), 1000.0)))
    node.GetDisplayNode().SetAndObserveColorNodeID(colours.GetID())
    red, green, blue = render.slice_picture(node).at((0, 0, 0))
    assert red > 245 and green < 10 and blue < 10


def test_the_transform_above_moves_the_picture(render):
    import slicer
    import vtk

    truth = volume()
    node = node_of(truth)
    transform = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    matrix = vtk.vtkMatrix4x4()
    for row, shift in enumerate((12.0, -7.0, 21.0)):
        matrix.SetElement(row, 3, shift)
    transform.SetMatrixTransformToParent(matrix)
    node.SetAndObserveTransformNodeID(transform.GetID())
    for index in ((4, 4, 12), (36, 28, 20)):
        place = ras(truth, index) + np.array([12, -7, 21])
        value = render.slice_picture(node, through=place).at(place)[0]
        assert abs(value - grey(truth.array[index[::-1]])) <= 2


@pytest.fixture
def ball():
    """Label 1 within 20 mm of the origin, label 2 in a corner."""
    grid = volume()
    index = np.indices(grid.shape)[::-1]
    distance = np.sqrt(sum((2.0 * i - 39) ** 2 for i in index))
    labels = np.where(distance < 20, 1, np.where(sum(index) < 12, 2, 0))
    return grid.with_array(labels.astype(np.uint8))


@pytest.fixture
def segmentation(host, ball):
    from MedDiffusionLib.segmentations import segmentation_from_labels

    return segmentation_from_labels(ball, {1: "ball", 2: "corner"}, "Segments", colours={1: RED, 2: BLUE})


def test_segments_colour_their_place_alone(render, segmentation):
    node = node_of(volume().with_array(np.full((40, 40, 40), 500.0)))
    plain = render.slice_picture(node)
    picture = render.slice_picture(node, segmentation=segmentation, fill=1.0)
    red, green, blue = picture.at((0, 0, 0))
    assert red > green + 40 and abs(green - blue) <= 2
    outside = (30, 0, 0)
    assert picture.at(outside) == plain.at(outside)
    columns = [c for c in range(400) if tuple(picture.pixels[200, c]) != tuple(plain.pixels[200, c])]
    left, right = picture.position((20, 0, 0))[0], picture.position((-20, 0, 0))[0]
    assert abs(min(columns) - left) < 8 and abs(max(columns) - right) < 8, "20 mm to each side, to a voxel"
    rim = picture.pixels[200, min(columns) : min(columns) + 6].astype(int)
    assert (rim[:, 0] - rim[:, 1]).max() > 100, "the outline is opaque"


def test_the_hidden_segment_stays_hidden(render, segmentation):
    node = node_of(volume())
    segmentation.GetDisplayNode().SetSegmentVisibility("ball", False)
    segmentation.GetDisplayNode().SetSegmentVisibility(segmentation.GetSegmentation().GetNthSegmentID(0), False)
    picture = render.slice_picture(node, segmentation=segmentation)
    red, green, blue = picture.at((0, 0, 0))
    assert red == green == blue


def test_a_label_map_is_drawn_in_the_colours_of_its_table(render, ball):
    import slicer

    node, labels = node_of(volume()), node_of(ball, "Labels", kind="labelmap")
    table = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLColorTableNode", "Table")
    table.SetTypeToUser()
    table.SetNumberOfColors(3)
    for index, colour in enumerate(((0, 0, 0, 0), (*RED, 1), (*BLUE, 1))):
        table.SetColor(index, str(index), *colour)
    labels.GetDisplayNode().SetAndObserveColorNodeID(table.GetID())
    picture = render.slice_picture(node, label=labels)
    red, green, blue = picture.at((0, 0, 0))
    assert red > green + 80 and red > blue + 80
    assert len(set(picture.at((30, 0, 0)))) == 1


def test_the_scene_of_the_user_is_left_alone(render, segmentation):
    import slicer

    node = node_of(volume())
    scene = slicer.mrmlScene
    before = [(scene.GetNthNode(i).GetID(), scene.GetNthNode(i).GetMTime()) for i in range(scene.GetNumberOfNodes())]
    render.slice_picture(node, segmentation=segmentation, foreground=node, legend=node)
    render.surface_picture(segmentation)
    after = [(scene.GetNthNode(i).GetID(), scene.GetNthNode(i).GetMTime()) for i in range(scene.GetNumberOfNodes())]
    assert after == before


def test_a_legend_stands_at_the_right(render):
    node = node_of(volume())
    plain = render.slice_picture(node, size=(500, 400)).pixels
    legend = render.slice_picture(node, size=(500, 400), legend=node).pixels
    changed = np.argwhere((plain != legend).any(-1))
    assert len(changed) > 500 and changed[:, 1].min() > 380


def test_surfaces_have_the_colours_of_their_segments(render, segmentation):
    pixels = render.surface_picture(segmentation, size=(200, 200)).astype(int)
    red = (pixels[..., 0] > 100) & (pixels[..., 1] < 60) & (pixels[..., 2] < 60)
    assert 0.02 < red.mean() < 0.8
    from MedDiffusionLib.segmentations import segmentation_from_labels

    empty = Volume(np.zeros((3, 3, 3), np.uint8), (1, 1, 1), (0, 0, 0), IDENTITY)
    with pytest.raises(ValueError, match="no surface"):
        render.surface_picture(segmentation_from_labels(empty, {}, "Nothing"))


def test_files_hold_the_picture(render, tmp_path):
    from PySide6.QtGui import QImage

    node = node_of(volume())
    path = render.slice_png(tmp_path / "new" / "slice.png", node, size=(120, 90))
    image = QImage(str(path))
    assert (image.width(), image.height()) == (120, 90)
    pixels = render.slice_picture(node, size=(120, 90)).pixels
    assert image.pixelColor(60, 45).red() == pixels[45, 60, 0]


def test_boards(render, tmp_path):
    from host.boards import GAP, LINE, Tile, board
    from PySide6.QtGui import QImage

    red = np.zeros((50, 80, 3), np.uint8) + np.array([200, 0, 0], np.uint8)
    path = board(tmp_path / "board.png", [Tile(red, "One", "first"), Tile(red[:40]), Tile(red, "Three")], columns=2)
    image = QImage(str(path))
    assert image.width() == 2 * (80 + GAP) + GAP and image.height() == GAP + 2 * (50 + LINE + GAP)
    assert image.pixelColor(GAP + 40, GAP + 25).red() == 200
    caption = [image.pixelColor(x, GAP + 50 + LINE // 2).lightness() for x in range(GAP, GAP + 60)]
    assert max(caption) > 150, "the caption is drawn"
    with pytest.raises(ValueError, match="expected one or more"):
        board(tmp_path / "none.png", [])


def test_columns_are_as_wide_as_their_tiles_and_a_panel_stands_beside(render, tmp_path):
    from host.boards import GAP, Tile, beside, board
    from PySide6.QtGui import QImage

    grey = np.full((30, 40, 3), 90, np.uint8)
    panel = board(tmp_path / "panel.png", [Tile(grey), Tile(np.full((30, 90, 3), 120, np.uint8))], columns=2)
    assert QImage(str(panel)).width() == 40 + 90 + 3 * GAP
    image = QImage(str(beside(tmp_path / "both.png", panel, [Tile(grey)] * 3, columns=1)))
    assert (image.width(), image.height()) == (130 + 3 * GAP + 40 + 2 * GAP, 3 * 30 + 4 * GAP)
    assert image.pixelColor(GAP + 20, GAP + 15).red() == image.pixelColor(130 + 4 * GAP + 20, GAP + 15).red() == 90


def test_the_script_knows_its_pictures(capsys):
    import screenshots

    assert screenshots.main(["--list"]) == 0
    names = capsys.readouterr().out.split()
    assert {"phantom", "recon-result", "panel-recon"} <= set(names)
    with pytest.raises(SystemExit):
        screenshots.main(["--only", "nothing"])
    assert "no picture is named nothing" in capsys.readouterr().err


def test_what_cannot_be_drawn(render):
    with pytest.raises(ValueError, match="expected one of Axial"):
        render.slice_picture(node_of(volume()), orientation="Sideways")
