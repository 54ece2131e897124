"""Tables of results: read from the worker's files, placed in the world, shown as a table node."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import slicer
import vtk

from meddiff.errors import BadInput

from . import nodes
from .roles import TABLE

PLACE = ("r_mm", "a_mm", "s_mm")  # columns that tell a place
Columns = Mapping[str, Sequence[Any]]


def read_csv(path: str | Path) -> dict[str, list[Any]]:
    """The columns of a CSV file with a line of names: whole numbers, numbers (nan: an empty cell), or words.

    Raises BadInput.
    """
    try:
        with Path(path).open(encoding="utf-8", newline="") as file:
            names, *rows = csv.reader(file, strict=True)
    except (OSError, UnicodeDecodeError, ValueError, csv.Error) as error:
        raise BadInput(f"the table {path} cannot be read: {error}") from None
    if uneven := [row for row in rows if len(row) != len(names)]:
        raise BadInput(f"the table {path} has a line of {len(uneven[0])} cells; expected {len(names)}")
    return {name: _typed([row[column] for row in rows]) for column, name in enumerate(names)}


def _typed(words: list[str]) -> list[Any]:
    for kind in (int, float):
        try:
            return [kind(word or "nan") for word in words]
        except ValueError:
            continue
    return words


def in_world(columns: Columns, transform: Any) -> dict[str, Sequence[Any]]:
    """The same columns, places being carried through a transform node and those above it."""
    found = dict(columns)
    if transform is None or not set(PLACE) <= set(found):
        return found
    places = [to_world(place, transform) for place in zip(*(found[axis] for axis in PLACE), strict=True)]
    return found | dict(zip(PLACE, np.reshape(places, (-1, 3)).T.tolist(), strict=True))


def to_world(place: Sequence[float], transform: Any) -> tuple[float, float, float]:
    """Where a place (RAS mm) in the coordinates below a transform node lies in the world; without one, there."""
    if transform is None:
        return tuple(map(float, place))
    whole = vtk.vtkGeneralTransform()
    transform.GetTransformToWorld(whole)
    return tuple(whole.TransformPoint(*map(float, place)))


def fill(columns: Columns, name: str, node: Any = None) -> Any:
    """A new table node, or `node`, with these columns; the names stand in its header, and nobody edits it by accident.

    A column of whole numbers, of numbers, or of words is one in the node, too, for scripts that read it.
    """
    node = node or nodes.add_node(nodes.new_node(TABLE, name))
    with slicer.util.NodeModify(node):
        node.RemoveAllColumns()
        for title, values in columns.items():
            node.AddColumn(_column(title, values))
        node.SetUseColumnTitleAsColumnHeader(True)
        node.SetLocked(True)
    return node


def _column(title: str, values: Sequence[Any]) -> Any:
    kinds = {type(value) for value in values}
    kind = vtk.vtkIntArray if kinds <= {int} else vtk.vtkDoubleArray if kinds <= {int, float} else vtk.vtkStringArray
    column = kind()
    column.SetName(title)
    for value in values:
        column.InsertNextValue(str(value) if kind is vtk.vtkStringArray else value)
    return column


def read(node: Any) -> dict[str, list[Any]]:
    """The columns of a table node by name; numbers as numbers."""
    table, found = node.GetTable(), {}
    for index in range(table.GetNumberOfColumns() if table is not None else 0):
        column = table.GetColumn(index)
        rows = range(column.GetNumberOfTuples())
        found[column.GetName()] = [column.GetValue(row) for row in rows]
    return found
