"""What a task is: the files that it takes, the options that go with them, and what comes out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import NoneType
from typing import TYPE_CHECKING, Any, NamedTuple, get_args, get_type_hints

from .errors import BadInput, choose
from .models import Model
from .registry import Parameter, parameters_of
from .sampling import Progress
from .vectors import Vectors
from .volume import Volume

if TYPE_CHECKING:
    from .job import Job

OnProgress = Callable[[Progress], None]
ShouldStop = Callable[[], bool]
WORDS = {str: "text", int: "a whole number", float: "a number", dict: "an object", NoneType: "null"}


class Table(NamedTuple):
    """Figures of many things, one a row, each with as many cells as there are columns."""

    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]


@dataclass(frozen=True)
class Computed:
    """What a task has made; its network saw so many `megapixels` in so many `seconds`.

    A volume `x` becomes the file x.nrrd and a table `y` the file y.csv, so no two of them share a name.
    """

    volumes: Mapping[str, Volume | Vectors]
    figures: dict[str, float]
    settings: dict[str, Any]
    megapixels: float
    seconds: float
    tables: Mapping[str, Table] = field(default_factory=dict)


@dataclass(frozen=True)
class Task:
    """The files that a task takes, the volumes that it makes, the function that makes them, and the options that each
    of its main inputs goes with."""

    inputs: Mapping[str, str]  # name: what it is
    outputs: tuple[str, ...]
    compute: Callable[[Job, Model, OnProgress | None, ShouldStop | None], Computed]
    options: Mapping[str, tuple[Parameter, ...]]

    def to_dict(self) -> dict[str, Any]:
        """All but the function, as plain JSON values; each option names the main inputs that it goes with."""
        options: dict[Parameter, list[str]] = {}
        for name, parameters in self.options.items():
            for parameter in parameters:
                options.setdefault(parameter, []).append(name)
        told = [{**parameter.to_dict(), "inputs": names} for parameter, names in options.items()]
        return {"inputs": dict(self.inputs), "outputs": list(self.outputs), "options": told}


def check_inputs(job: Job, inputs: Mapping[str, str]) -> None:
    """Raises BadInput for a job that names an unknown input, or no volume where the task takes one."""
    for name in job.inputs:
        choose(name, inputs, "input of this job")
    if "volume" in inputs and "volume" not in job.inputs:
        raise BadInput("the job names no input 'volume'; add the path of a 3D image file")


def kinds_of(function: Callable[..., Any]) -> dict[str, Any]:
    """The types of the options of a function: of those of its parameters that people set."""
    hints = get_type_hints(function)
    return {name: hints[name] for name in parameters_of(function)}


def check_options(options: Mapping[str, Any], kinds: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of `options`, each known and of its type; raises BadInput."""
    for name, value in options.items():
        kind = kinds[choose(name, kinds, "option")]
        allowed = get_args(kind) or (kind,)
        whole = (int,) if float in allowed else ()  # 4 is a number as good as 4.0
        if not isinstance(value, (*allowed, *whole)) or isinstance(value, bool):
            raise BadInput(f"the option {name} must be {' or '.join(WORDS[k] for k in allowed)}, got {value!r}")
    return dict(options)
