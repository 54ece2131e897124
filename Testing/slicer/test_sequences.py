"""Volumes become a sequence that can be browsed, and come back in the order of its index."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mrml
import numpy as np
import pytest
import slicer
from test_nodes import refusal

from meddiff.volume import Volume, canonical
from MedDiffusionLib import hierarchy
from MedDiffusionLib.sequences import browser_of, sequence_from_volumes, volumes_from_sequence
from MedDiffusionLib.transforms import transform_from_matrix


@pytest.fixture(autouse=True)
def scene() -> Iterator[Any]:
    with mrml.own_scene() as made:
        yield made


@pytest.fixture
def frames() -> list[Volume]:
    """Four oblique volumes, each on a grid of its own."""
    rng = np.random.default_rng(0)
    return [
        Volume(
            rng.uniform(0, 100, (3, 4, 5)).astype(np.float32),
            tuple(rng.uniform(0.5, 3, 3)),
            tuple(rng.uniform(-50, 50, 3)),
            tuple(mrml.rotation(rng).ravel()),
        )
        for _ in range(4)
    ]


def same(one: Volume, other: Volume) -> bool:
    """The same voxels at the same places: Slicer turns the slices of a left-handed volume around when it reads it."""
    one, other = canonical(one)[0], canonical(other)[0]
    return np.array_equal(one.array, other.array) and np.abs(one.affine - other.affine).max() < 1e-6


def test_round_trip(scene: Any, frames: list[Volume], tmp_path: Path) -> None:
    node = sequence_from_volumes(frames, "cine", "phase", "%", [0, 12.5, 50, 1e3])
    assert (node.GetIndexName(), node.GetIndexUnit(), node.GetNthIndexValue(1)) == ("phase", "%", "12.5")
    back = volumes_from_sequence(node)
    assert len(back) == 4
    assert all(map(same, back, frames))


@pytest.mark.parametrize("grid", [None, 0, 1, 2, 3])
def test_a_saved_sequence(scene: Any, frames: list[Volume], grid: int | None, tmp_path: Path) -> None:
    """On one grid, of either handedness, or, which Slicer stores in another way, each on its own."""
    frames = frames if grid is None else [frames[grid].with_array(frame.array) for frame in frames]
    sequence_from_volumes(frames, "cine", "phase", "%", [0, 12.5, 50, 1e3])
    loaded = mrml.save_and_load(scene, tmp_path)
    node = loaded.GetNthNodeByClass(0, "vtkMRMLSequenceNode")
    back = volumes_from_sequence(node)
    assert len(back) == 4
    assert all(map(same, back, frames))
    assert node.GetNthIndexValue(1) == "12.5"
    assert np.array_equal(mrml.voxels(hierarchy.proxy(node)), back[0].array)


def test_the_index_orders(scene: Any, frames: list[Volume]) -> None:
    node = sequence_from_volumes(frames, "cine", values=[3, 20, 1, 100])
    assert all(map(same, volumes_from_sequence(node), [frames[2], frames[0], frames[1], frames[3]]))


def test_it_can_be_browsed(scene: Any, frames: list[Volume]) -> None:
    """The browser stands at the first volume; its node shows every one, in the same window."""
    node = sequence_from_volumes(frames, "cine")
    browser, shown = browser_of(node), hierarchy.proxy(node)
    assert browser.GetSelectedItemNumber() == 0
    assert browser.GetMasterSequenceNode() is node
    assert shown.GetScene() is scene
    window = shown.GetDisplayNode().GetWindow()
    assert 90 < window <= 100
    for step, frame in enumerate(frames):
        browser.SetSelectedItemNumber(step)
        slicer.vtkSlicerSequencesLogic().UpdateProxyNodesFromSequences(browser)
        assert np.array_equal(mrml.voxels(hierarchy.proxy(node)), frame.array)
        assert hierarchy.proxy(node) is shown
        assert shown.GetDisplayNode().GetWindow() == window


@pytest.mark.parametrize("module", [False, True])
def test_one_window_suits_all(scene: Any, frames: list[Volume], module: bool) -> None:
    """From an empty volume to a bright one, with the module Sequences and without it."""
    logic = slicer.vtkSlicerSequencesLogic() if module else None
    if logic is not None:
        logic.SetMRMLScene(scene)
    frames = [frame.with_array(frame.array * step) for step, frame in enumerate(frames)]
    node = sequence_from_volumes(frames, "cine")
    shown = hierarchy.proxy(node).GetDisplayNode()
    for step in range(4):
        browser_of(node).SetSelectedItemNumber(step)
        slicer.vtkSlicerSequencesLogic().UpdateProxyNodesFromSequences(browser_of(node))
        assert shown.GetWindowLevelMin() == pytest.approx(0, abs=1)
        assert shown.GetWindowLevelMax() == pytest.approx(300, rel=0.1)


@pytest.mark.parametrize("value", [0, 7, np.nan])
def test_flat_volumes_have_a_window(scene: Any, frames: list[Volume], value: float) -> None:
    flat = [frame.with_array(np.full(frame.shape, value, np.float32)) for frame in frames]
    shown = hierarchy.proxy(sequence_from_volumes(flat, "cine")).GetDisplayNode()
    assert np.isfinite(shown.GetWindow())
    assert np.isnan(value) or shown.GetWindow() > 0


def test_label_maps_in_a_sequence(scene: Any, frames: list[Volume]) -> None:
    labels = [frame.with_array(np.round(frame.array / 40)) for frame in frames]
    node = sequence_from_volumes(labels, "parts", kind="labelmap")
    assert hierarchy.proxy(node).GetClassName() == "vtkMRMLLabelMapVolumeNode"
    assert all(map(same, volumes_from_sequence(node), labels))


def test_a_sequence_is_filled(scene: Any, frames: list[Volume]) -> None:
    node = sequence_from_volumes(frames, "mine")
    shown, nodes = hierarchy.proxy(node), scene.GetNumberOfNodes()
    browser_of(node).SetSelectedItemNumber(3)
    assert sequence_from_volumes(frames[::-1][:2], "other", "step", node=node) is node
    assert scene.GetNumberOfNodes() == nodes
    assert node.GetName() == "mine"
    assert hierarchy.proxy(node) is shown
    assert np.array_equal(mrml.voxels(shown), frames[3].array)
    assert browser_of(node).GetSelectedItemNumber() == 0
    back = volumes_from_sequence(node)
    assert len(back) == 2
    assert all(map(same, back, [frames[3], frames[2]]))


def test_one_volume_is_a_sequence(scene: Any, frames: list[Volume]) -> None:
    assert same(volumes_from_sequence(sequence_from_volumes(frames[:1], "one"))[0], frames[0])


def test_sequences_that_cannot_be_used(scene: Any, frames: list[Volume]) -> None:
    assert "no sequence is chosen" in refusal(volumes_from_sequence, None)
    assert "not a sequence" in refusal(volumes_from_sequence, mrml.volume_node(np.zeros((2, 2, 2))))
    empty = scene.AddNewNodeByClass("vtkMRMLSequenceNode", "empty")
    assert "empty" in refusal(volumes_from_sequence, empty)
    empty.SetDataNodeAtValue(transform_from_matrix(np.eye(4), "T"), "0")
    assert "item 1 of 1" in refusal(volumes_from_sequence, empty)
    assert "no volumes" in refusal(sequence_from_volumes, [], "cine")
    assert "4 different" in refusal(sequence_from_volumes, frames, "cine", values=[0, 1, 2])
    assert "4 different" in refusal(sequence_from_volumes, frames, "cine", values=[0, 1, 2, 2])
    assert "finite" in refusal(sequence_from_volumes, frames, "cine", values=[0, 1, 2, np.nan])
    assert "complex" in refusal(
        sequence_from_volumes, [*frames, frames[0].with_array(frames[0].array.astype(complex))], "cine"
    )
    assert "not a sequence" in refusal(sequence_from_volumes, frames, "c", node=mrml.volume_node(np.zeros((2, 2, 2))))
