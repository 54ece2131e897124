"""Synthesis without a window: images from nothing, of a class, of covariates, or of a label map."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from slicer import (
    vtkMRMLLabelMapVolumeNode,
    vtkMRMLNode,
    vtkMRMLScalarVolumeNode,
    vtkMRMLSegmentationNode,
    vtkMRMLSequenceNode,
    vtkMRMLTableNode,
)
from slicer.i18n import tr as _
from slicer.parameterNodeWrapper import parameterNodeWrapper

from meddiff.volume import write

from .. import catalogue, hierarchy, views
from ..choices import call_arguments
from ..labels import labels_of
from ..logic import DiffusionLogic
from ..roles import CommonParameters, InputRole, OutputRole
from . import synthesising

Labels = vtkMRMLLabelMapVolumeNode | vtkMRMLSegmentationNode


@parameterNodeWrapper
class MedDiffusionSynthesiseParameterNode(CommonParameters):
    """
    The parameters of the tab, beside those of all tasks.

    inputLabels - a segmentation or a label map that the image is to show.
    label, state - a class of the model, and its state; empty is any.
    covariates - a JSON object of numbers, by the names that the model knows.
    way - what is made: "samples", or frames on the way to another seed ("seeds") or along a "covariate".
    otherSeed - of the last frame.
    along, alongTo - the covariate that changes, and what it is in the last frame.
    sizeX, sizeY, sizeZ - voxels; 0 is as the model was trained.
    """

    samples: int = 8
    inputLabels: vtkMRMLNode
    label: str = ""
    state: str = ""
    covariates: str = "{}"
    way: str = "samples"
    otherSeed: int = 1
    along: str = ""
    alongTo: float = 0.0
    sizeX: int = 0
    sizeY: int = 0
    sizeZ: int = 0
    outputVolume: vtkMRMLScalarVolumeNode
    outputSequence: vtkMRMLSequenceNode
    outputTable: vtkMRMLTableNode


class MedDiffusionSynthesiseLogic(DiffusionLogic):
    """Synthesis without a window."""

    TASK = "synthesise"
    ParameterNode = MedDiffusionSynthesiseParameterNode

    def process(
        self,
        *,
        label: str | None = None,
        state: str | None = None,
        covariates: Mapping[str, float] | None = None,
        inputLabels: Labels | None = None,
        model: str = "",
        method: str = "",
        preset: str = "balanced",
        parameters: Mapping[str, Any] | None = None,
        samples: int = 8,
        seed: int = 0,
        otherSeed: int | None = None,
        covariatesTo: Mapping[str, float] | None = None,
        size: Sequence[int] | None = None,
        device: str = "auto",
        batch: int = 8,
        wanted: Sequence[str] | None = None,
        outputVolume: vtkMRMLScalarVolumeNode | None = None,
        outputSequence: vtkMRMLSequenceNode | None = None,
        outputTable: vtkMRMLTableNode | None = None,
        showResult: bool = False,
        onEvent: Callable[[dict[str, Any]], None] | None = None,
    ) -> dict[str, Any]:
        """
        Make images of what a model knows. Blocks until they are there.

        Can be used without GUI widget.
        :param label: what is shown, a class of the model; None is anything
        :param state: of the class, such as "healthy"; None is any
        :param covariates: numbers in their units, by the names that the model knows, such as {"age": 60}
        :param inputLabels: a segmentation or a label map that the image is to show, for models that can be told so
        :param model: id of an installed model, or its folder; empty takes the first that fits the task
        :param method: name of a method, as `meddiff methods` lists them; empty takes the first that fits the model
        :param preset: "fast", "balanced" or "best"
        :param parameters: settings of the method in place of the preset's, such as {"guidance": 4.0}
        :param samples: images, or frames; image k of a seed is the same whatever else is made
        :param seed: the same seed gives the same voxels
        :param otherSeed: makes frames: the last is the first image of this seed
        :param covariatesTo: makes frames: what the covariates are in the last one
        :param size: voxels along x, y (and z); None is as the model was trained
        :param device: "auto", "cpu", "cuda", "cuda:1", ...
        :param batch: images at a time; halved when memory runs out
        :param wanted: outputs to make beside the images: "table"; None makes none
        :param outputVolume: node to fill, as the other outputs; a new one is made if it is not given
        :param showResult: show the result in the slice views, if there are any
        :param onEvent: called with the worker's events: progress, preview, warning
        :return: "image" (a stack of slices, or one volume) or "sequence" (frames, or several volumes), and "table"
        :raises BadInput: what is asked for is nothing that the model knows, or no such model is installed
        :raises JobFailed: the worker could not finish
        """
        return self.run(self.withDefaults(call_arguments(locals())), show=showResult, onEvent=onEvent)

    # What the task is

    def inputs(self) -> tuple[InputRole, ...]:
        """A label map, for some models."""
        return synthesising.inputs()

    def outputs(self) -> tuple[OutputRole, ...]:
        """The images."""
        return synthesising.outputs()

    def outputsOf(self, arguments: Mapping[str, Any]) -> tuple[OutputRole, ...]:
        """Frames stand at the values of the covariate that changes, or from 0 to 1; images are numbered from 1 on."""
        image, sequence, table = self.outputs()
        model, count = self.model(arguments["model"]), arguments["samples"]
        frames = synthesising.as_sequence(arguments, None)
        moved = synthesising.changing(arguments, model)
        if moved is not None:
            info, first, last = moved
            values = tuple(first + (last - first) * k / (count - 1) for k in range(count))
            sequence = replace(sequence, title=_("Frames"), index=info.name, unit=info.unit, values=values)
        elif frames:
            sequence = replace(sequence, title=_("Frames"), index="eta")
        else:
            sequence = replace(sequence, title=_("Images"), values=tuple(range(1, count + 1)))
        return replace(image, title=_("Images") if count > 1 else _("Image")), sequence, table

    def requirement(self) -> str:
        """What the task needs to be ready."""
        return _("No method for synthesis is installed; install the extension MedDiffusion again.")

    def baseName(self, arguments: Mapping[str, Any]) -> str:
        """The name of the model, and what was asked of it."""
        model = self.model(arguments["model"])
        name = "" if model is None else re.sub(r"\s*\(.*\)$", "", model.name)
        return " ".join(filter(None, (name, arguments["label"], arguments["state"])))

    # From the panel to a job

    def arguments(self, parameterNode: Any) -> dict[str, Any]:
        """The arguments of `process` that the panel's parameters stand for: what it does not show is not among them."""
        found = super().arguments(parameterNode)
        model = self.model(found["model"])
        infos = {} if model is None else {info.name: info for info in model.covariates}
        told = {name: value for name, value in synthesising.told(parameterNode.covariates).items() if name in infos}
        size = [getattr(parameterNode, name) for name in synthesising.SIZES[: 3 if model is None else model.dims]]
        found |= {"label": parameterNode.label or None, "state": parameterNode.state or None, "covariates": told}
        found |= {"otherSeed": parameterNode.otherSeed if parameterNode.way == "seeds" else None, "covariatesTo": None}
        if parameterNode.way == "covariate" and parameterNode.along in infos:
            found["covariatesTo"] = told | {parameterNode.along: parameterNode.alongTo}
        found["inputLabels"] = found["inputLabels"] if model is None or model.sees_labels else None
        found["size"] = tuple(size) if any(size) and found["inputLabels"] is None else None
        return found

    def options(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """The options of the job."""
        size = (*(arguments["size"] or ()), 0, 0, 0)
        found = super().options(arguments) | {name: arguments[name] for name in ("label", "state")}
        found |= {f"size_{axis}": n or None for axis, n in zip("xyz", size, strict=False)}
        return found | {"other_seed": arguments["otherSeed"]}

    def missingInputs(self, arguments: Mapping[str, Any]) -> list[str]:
        """What the model cannot be asked for."""
        return super().missingInputs(arguments) + synthesising.problems(arguments, self.model(arguments["model"]))

    def warning(self, arguments: Mapping[str, Any]) -> str | None:
        """Why the images may be of little use."""
        model = self.model(arguments["model"])
        return None if model is None or self.missing(arguments) else synthesising.warning(arguments, model)

    def cost(self, arguments: Mapping[str, Any]) -> catalogue.Cost | None:
        """Time and memory that the images take."""
        model, recipe = self.chosen(arguments)
        unclear = model is None or recipe is None or self.missing(arguments)
        return None if unclear else synthesising.cost(model, recipe, arguments)

    def exported(self, arguments: Mapping[str, Any], folder: Path) -> dict[str, str]:
        """The file of the label map, in the coordinates in which it was drawn."""
        node, names = arguments["inputLabels"], [segment.name for segment in self.segments(arguments)]
        if node is None:
            return {}
        path = folder / "labels.nrrd"
        write(labels_of(node, names), path)
        return {"labels": str(path)}

    def _job(self, arguments: Mapping[str, Any], files: Mapping[str, str], output: str) -> dict[str, Any]:
        job = super()._job(arguments, files, output)
        numbers = {"covariates": arguments["covariates"], "covariates_to": arguments["covariatesTo"]}
        job["options"] |= {name: dict(value) for name, value in numbers.items() if value}
        return job

    # What comes out

    def loadResults(self, result: Mapping[str, Any], *args: Any, **told: Any) -> dict[str, Any]:
        """The images as one node: a volume, or a sequence of volumes or frames."""
        return super().loadResults({**result, "outputs": named(result["outputs"])}, *args, **told)

    def show(self, made: Mapping[str, Any], source: Any = None, *, surfaces: bool = True) -> None:
        """The image, or that at which the sequence stands, where there are views."""
        views.blend(made["image"] if "image" in made else hierarchy.proxy(made["sequence"]))


def named(outputs: Mapping[str, Any]) -> dict[str, Any]:
    """The files of the engine by the outputs that they become."""
    many = {name: path for name, path in outputs.items() if re.fullmatch(r"(sample|frame)-\d+", name)}
    found = {name: path for name, path in outputs.items() if name not in many}
    if "samples" in found:
        found["image"] = found.pop("samples")
    if len(many) == 1:
        return found | {"image": next(iter(many.values()))}
    return found | {f"sequence-{name.partition('-')[2]}": path for name, path in many.items()}
