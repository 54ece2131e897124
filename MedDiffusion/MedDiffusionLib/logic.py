"""What the tasks share without a window: a job from nodes, the worker that runs it, nodes from its results."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import slicer
from slicer.i18n import tr as _
from slicer.ScriptedLoadableModule import ScriptedLoadableModuleLogic

from meddiff.errors import BadInput, Cancelled
from meddiff.volume import Volume

from . import catalogue, choices, nodes, results, snippets, views
from .roles import InputRole, OutputRole
from .runner import Failure, Runner, Worker, shared_worker

OnEvent = Callable[[dict[str, Any]], None]
HOW = ("model", "method", "preset", "samples", "seed", "device", "batch")  # of every task, and of its parameter node


class JobFailed(RuntimeError):
    """The worker could not finish; the message says why and what to do."""


class DiffusionLogic(ScriptedLoadableModuleLogic):
    """Runs the jobs of one task. `arguments` are always those of the subclass' `process`, by name."""

    TASK = ""
    ParameterNode: Any = None

    def __init__(self) -> None:
        super().__init__()
        self._folders: set[Path] = set()

    # What a subclass says about its task

    def inputs(self) -> tuple[InputRole, ...]:
        """What the task takes; the first that is given is the source, beside which the results are placed."""
        raise NotImplementedError

    def outputs(self) -> tuple[OutputRole, ...]:
        """What the task makes."""
        raise NotImplementedError

    def outputsOf(self, arguments: Mapping[str, Any]) -> tuple[OutputRole, ...]:
        """The same, as a job of these arguments makes it: some outputs are called after what was asked for."""
        return self.outputs()

    def options(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """The options of the job, as the engine names them."""
        return {name: arguments[name] for name in ("preset", "samples", "batch")}

    def requirement(self) -> str:
        """What the task needs to be ready, in one sentence, for a panel that has no method yet."""
        raise NotImplementedError

    def advice(self) -> str:
        """Which method to take, in a sentence or two; empty where the methods speak for themselves."""
        return ""

    def remark(self, made: Mapping[str, Any], figures: Mapping[str, float]) -> str:
        """What is to be said of these results when a job has ended; empty where they speak for themselves."""
        return ""

    # From the panel

    def getParameterNode(self) -> Any:
        """The parameters of this module in the scene, typed."""
        return self.ParameterNode(super().getParameterNode())

    def arguments(self, parameterNode: Any) -> dict[str, Any]:
        """The arguments of `process` that the panel's parameters stand for."""
        names = [role.parameter for role in (*self.inputs(), *self.outputs())]
        found = {name: getattr(parameterNode, name) for name in (*names, *HOW)}
        found["parameters"] = choices.overrides(parameterNode)
        optional = [role for role in self.outputs() if not role.always]
        wanted = tuple(role.name for role in optional if role.name in parameterNode.wanted.split(","))
        found["wanted"] = None if wanted == tuple(role.name for role in optional if role.wanted) else wanted
        return found

    def missing(self, arguments: Mapping[str, Any]) -> list[str]:
        """Everything that keeps a job from starting, a sentence each; empty when it can start."""
        if not catalogue.recipes(self.TASK):
            return [self.requirement()]
        model, recipe = self.chosen(arguments)
        found = [*self.missingInputs(arguments), *self._conflicts(arguments)]
        if lacking := self.lacking():
            found.append(lacking)
        elif model is None:
            found.append(_("Choose a model: “{model}” is not installed.").format(model=arguments["model"]))
        if recipe is None:
            found.append(_("Choose a method: “{method}” is not known.").format(method=arguments["method"]))
        elif model is not None:
            found += choices.missing_part(model, recipe, {known.id for known in catalogue.models()})
        return found + self.refused(arguments)

    def lacking(self) -> str:
        """What is to be installed before the task can be done at all; empty when it can."""
        if not catalogue.recipes(self.TASK):
            return self.requirement()
        none = _("Install a model for this task in the module MedDiffusion.")
        return "" if catalogue.models(self.TASK) else none

    def refused(self, arguments: Mapping[str, Any]) -> list[str]:
        """Settings that cannot be, of a script or of a scene from elsewhere; a sentence each."""
        found = choices.unknown_outputs(self.outputs(), arguments.get("wanted"))
        if self.TASK in catalogue.tasks():
            found += choices.complaints(catalogue.task(self.TASK).options, self.options(arguments))
        recipe = next((r for r in catalogue.recipes(self.TASK) if r.name == arguments["method"]), None)
        return found + choices.of_recipe(recipe, arguments["seed"], arguments["parameters"] or {})

    def missingInputs(self, arguments: Mapping[str, Any]) -> list[str]:
        """What is to be chosen before the task can start."""
        found = []
        for role in self.inputs():
            value = arguments.get(role.parameter)
            if not value and not role.optional:
                found.append(_("Choose the input “{title}”.").format(title=role.title))
            elif value and role.isFile and not os.path.isfile(value):
                found.append(_("The file {path} does not exist; choose another.").format(path=value))
            elif value and not role.isFile:
                found += choices.unusable(value) or choices.no_labels(role, value)
        return found

    def _conflicts(self, arguments: Mapping[str, Any]) -> list[str]:
        """Outputs that would take the place of an input or of each other, or cannot hold what comes."""
        taken = {id(arguments.get(role.parameter)) for role in self.inputs() if not role.isFile}
        found = []
        for role in self.outputs():
            node = arguments.get(role.parameter)
            if node is None:
                continue
            if id(node) in taken or not (isinstance(node, slicer.vtkMRMLNode) and node.IsA(role.nodeClass)):
                found.append(_("Choose another node for the output “{title}”.").format(title=role.title))
            taken.add(id(node))
        return found

    def source(self, arguments: Mapping[str, Any]) -> Any:
        """The node that the results belong to, or None when the input is a file."""
        given = (arguments.get(role.parameter) for role in self.inputs() if not role.isFile)
        return next((node for node in given if node is not None), None)

    def subject(self, arguments: Mapping[str, Any]) -> Any:
        """The node that is moved, where that is another one than the source; results are named after it."""
        return None

    def baseName(self, arguments: Mapping[str, Any]) -> str:
        """What results are named after: the source, or the first file."""
        source = self.source(arguments)
        if source is not None:
            return source.GetName()
        files = (arguments.get(role.parameter) for role in self.inputs() if role.isFile)
        return next((Path(file).stem for file in files if file), "")

    def cost(self, arguments: Mapping[str, Any]) -> catalogue.Cost | None:
        """Time and memory that the job will take; None where its input does not tell yet."""
        model, recipe = self.chosen(arguments)
        grid = self._grid(arguments)
        if model is None or recipe is None or grid is None:
            return None
        return catalogue.estimate(
            model,
            recipe,
            choices.settings_of(recipe, arguments["preset"], arguments["parameters"]),
            arguments["samples"],
            grid.shape,
            arguments.get("plane", "axial"),
            arguments["device"],
            direction=grid.direction,
            batch=arguments["batch"],
            coils=arguments.get("coils", 1),
        )

    def warning(self, arguments: Mapping[str, Any]) -> str | None:
        """Why the input lies outside what the model was made for; None where it does not."""
        model, _recipe = self.chosen(arguments)
        grid = self._grid(arguments)
        if model is None or grid is None:
            return None
        plane, values = arguments.get("plane", "axial"), choices.some_values(self.source(arguments))
        return catalogue.domain_warning(model, grid.spacing, grid.shape, plane, direction=grid.direction, values=values)

    def _grid(self, arguments: Mapping[str, Any]) -> Volume | None:
        """Where the voxels of the source lie; None for a file, and for what cannot be used, or not so."""
        source = self.source(arguments)
        if source is None or choices.unusable(source) or self.refused(arguments):
            return None
        return nodes.grid_from_node(source)

    def chosen(self, arguments: Mapping[str, Any]) -> tuple[Any, Any]:
        """The model and the recipe of these names; None for one that is not there."""
        model = self.model(arguments["model"])
        recipe = next((r for r in catalogue.recipes(self.TASK) if r.name == arguments["method"]), None)
        return model, recipe

    def model(self, model: str) -> catalogue.ModelInfo | None:
        """The model of that id, or in that folder; None where there is none for this task."""
        known = next((m for m in catalogue.models(self.TASK) if m.id == model), None)
        if known is None and isinstance(model, (str, os.PathLike)) and Path(model).is_absolute():
            with suppress(BadInput):
                known = next(iter(catalogue.made_for(self.TASK, [catalogue.model(os.fspath(model))])), None)
        return known

    def methods(self, model: str) -> tuple[Any, ...]:
        """The recipes of this task that a model is made for."""
        known = self.model(model)
        return tuple(r for r in catalogue.recipes(self.TASK) if known is None or r.name in known.recipes)

    def withDefaults(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """The same arguments; a model and a method that are not named are the first that fit."""
        found = dict(arguments)
        models = catalogue.models(self.TASK)
        found["model"] = found["model"] or (models[0].id if models else "")
        methods = self.methods(found["model"])
        found["method"] = found["method"] or (methods[0].name if methods else "")
        return found

    # A job, its run, its results

    def makeJob(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """The job, its inputs exported to a folder of its own: end it by `discard`. Raises BadInput."""
        if reasons := self.missing(arguments):
            raise BadInput(" ".join(reasons))
        folder = self._newFolder()
        try:
            files = self.exported(arguments, folder)
        except BaseException:
            self._remove(folder)
            raise
        return self._job(arguments, files, str(folder / "results"))

    def exported(self, arguments: Mapping[str, Any], folder: Path) -> dict[str, str]:
        """The files of the inputs, by the engine's name, written to a folder where they have none. Raises BadInput."""
        files, source = {}, self.source(arguments)
        names = [segment.name for segment in self.segments(arguments)]
        for role in self.inputs():
            files |= choices.export(role, arguments.get(role.parameter), folder, source, names)
        return files

    def _newFolder(self) -> Path:
        """A folder of one's own for a job. Raises BadInput."""
        place = slicer.app.temporaryPath
        try:
            folder = Path(tempfile.mkdtemp(prefix="MedDiffusion-", dir=place))
        except OSError as error:
            text = _("Slicer's folder for temporary files, {folder}, cannot be written ({error}); see its settings.")
            raise BadInput(text.format(folder=place, error=error.strerror)) from error
        self._folders.add(folder)
        return folder

    def _job(self, arguments: Mapping[str, Any], files: Mapping[str, str], output: str) -> dict[str, Any]:
        job = {
            "recipe": arguments["method"],
            "model": arguments["model"],
            "inputs": dict(files),
            "output": output,
            "options": self.options(arguments),
            "parameters": dict(arguments["parameters"] or {}),
            "seed": arguments["seed"],
            "device": arguments["device"],
        }
        return choices.as_data(job)

    def command(self, arguments: Mapping[str, Any]) -> str:
        """The job as a command for a terminal, with what is to be saved to disk first. Raises BadInput."""
        if reasons := self.missing(arguments):
            raise BadInput(" ".join(reasons))
        found = self.onDisk(arguments)
        files = {name: path for name, (path, _note) in found.items()}
        output = snippets.output_name(self.baseName(arguments))
        job = self._job(arguments, files, output)
        return "".join(note for _path, note in found.values()) + snippets.as_command(self.TASK, job)

    def onDisk(self, arguments: Mapping[str, Any]) -> dict[str, tuple[str, str]]:
        """Where the inputs lie on disk, by the engine's name, and what is to be done before."""
        given = {role: arguments.get(role.parameter) for role in self.inputs()}
        source = self.source(arguments)
        return {role.name: snippets.file_of(value, role, source) for role, value in given.items() if value}

    def startJob(self, job: dict[str, Any], onEvent: OnEvent | None = None, keepWarm: bool = False) -> Runner:
        """The job, running in the worker process: call `poll()` until it answers False, or `wait()`."""
        runner = Runner(job, worker=self.makeWorker(keepWarm), keep_warm=keepWarm, on_event=onEvent or (lambda _: None))
        runner.start()
        return runner

    def makeWorker(self, keepWarm: bool) -> Worker | None:
        """The worker for the next job: the one that stays loaded, or a new one."""
        return shared_worker() if keepWarm else None

    def loadResults(
        self,
        result: Mapping[str, Any],
        source: Any = None,
        outputs: Mapping[str, Any] | None = None,
        *,
        arguments: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Nodes from the files of a result, by output name; the scene changes at once, or, on an error, not at all.

        `outputs` are the nodes to fill, by output name; what is wanted and not given is made new.
        """
        arguments = dict(arguments or {})
        given = outputs or {role.name: arguments.get(role.parameter) for role in self.outputs()}
        wanted = arguments.get("wanted")
        roles = self.outputsOf(arguments) if arguments else self.outputs()
        roles = [r for r in roles if r.always or given.get(r.name) or choices.is_wanted(r, wanted)]
        about = {"module": self.moduleName, "arguments": results.plain(arguments)}
        base = self.baseName(arguments) if arguments else ""
        segments = self.segments(arguments)
        told = {"subject": self.subject(arguments), "segments": segments, "about": about, "base": base}
        return results.load(result, roles, source=source, targets=given, **told)

    def segments(self, arguments: Mapping[str, Any]) -> tuple[Any, ...]:
        """What the model of these arguments segments."""
        model = self.model(arguments.get("model", ""))
        return () if model is None else model.segments

    def run(
        self, arguments: Mapping[str, Any], *, show: bool = False, onEvent: OnEvent | None = None
    ) -> dict[str, Any]:
        """The whole way, blocking: raises BadInput, Cancelled, or JobFailed with a sentence and a hint."""
        source = self.source(arguments)
        job = self.makeJob(arguments)
        try:
            runner = self.startJob(job, onEvent)
            result = runner.wait()
            if runner.failure is not None:
                raise_failure(runner.failure)
            made = self.loadResults(result, source, arguments=arguments)
        finally:
            self.discard(job)
        self.remember(result, arguments)
        if show:
            self.show(made, source)
        return made

    def remember(self, result: Mapping[str, Any], arguments: Mapping[str, Any]) -> None:
        """Note how fast this machine was, for the next estimate."""
        catalogue.remember_speed(result.get("provenance") or {})

    def show(self, made: Mapping[str, Any], source: Any = None, *, surfaces: bool = True) -> None:
        """The result in the slice views, and segments in 3D unless `surfaces` says no, where there are any views."""
        views.show(made, self.outputs(), source, surfaces=surfaces)

    def discard(self, job: Mapping[str, Any]) -> None:
        """Remove the files of a job."""
        self._remove(Path(job["output"]).parent)

    def discardAll(self) -> None:
        """Remove the files of all jobs."""
        for folder in tuple(self._folders):
            self._remove(folder)

    def _remove(self, folder: Path) -> None:
        if folder in self._folders:  # never a folder that was not made here
            shutil.rmtree(folder, ignore_errors=True)
            self._folders.discard(folder)


def raise_failure(failure: Failure) -> None:
    """What went wrong in the worker, as an exception."""
    if failure.kind == "cancelled":
        raise Cancelled(failure.message)
    text = " ".join(part for part in (failure.message, failure.hint) if part)
    raise BadInput(text) if failure.kind == "bad-input" else JobFailed(text)
