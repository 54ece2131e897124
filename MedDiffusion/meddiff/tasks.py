"""What a job computes, task by task: from its input files and options to volumes, figures and settings."""

from __future__ import annotations

from typing import Any

from . import task_anomaly, task_inpaint, task_reconstruct, task_register, task_segment, task_synthesise, task_translate
from .registry import recipes
from .task_reconstruct import acquisition_kinds, compare, place_reference, read_mask
from .task_types import Computed, OnProgress, ShouldStop, Table, Task, check_options

__all__ = [
    "TASKS",
    "Computed",
    "OnProgress",
    "ShouldStop",
    "Table",
    "Task",
    "acquisition_kinds",
    "catalogue",
    "check_options",
    "compare",
    "place_reference",
    "read_mask",
]

TASKS: dict[str, Task] = {
    "reconstruct": task_reconstruct.TASK,
    "anomaly": task_anomaly.TASK,
    "segment": task_segment.TASK,
    "register": task_register.TASK,
    "synthesise": task_synthesise.TASK,
    "translate": task_translate.TASK,
    "inpaint": task_inpaint.TASK,
}


def catalogue() -> dict[str, Any]:
    """All tasks and recipes as plain JSON values: what a panel knows without loading the engine."""
    return {"tasks": {n: t.to_dict() for n, t in TASKS.items()}, "recipes": [recipe.to_dict() for recipe in recipes()]}
