"""Inpainting without a window: what was drawn is painted over, with healthy tissue, a lesion, or anything."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from slicer import (
    vtkMRMLLabelMapVolumeNode,
    vtkMRMLNode,
    vtkMRMLScalarVolumeNode,
    vtkMRMLSegmentationNode,
    vtkMRMLSequenceNode,
)
from slicer.i18n import tr as _
from slicer.parameterNodeWrapper import parameterNodeWrapper

from meddiff.volume import write

from .. import catalogue, choices, words
from ..cards import ModelInfo
from ..choices import call_arguments
from ..roles import CommonParameters, InputRole, OutputRole
from . import inpainting
from .painting import PaintingLogic

Labels = vtkMRMLLabelMapVolumeNode | vtkMRMLSegmentationNode


@parameterNodeWrapper
class MedDiffusionInpaintParameterNode(CommonParameters):
    """
    The parameters of the tab, beside those of all tasks.

    inputVolume - the volume to paint on.
    inputSegments - a segmentation or a label map of what is painted over.
    segment - the id of one of the segments; empty is all that is drawn.
    put - what is put there: "healthy", "lesion" or "anything".
    contrast - what the volume shows, a contrast of the model.
    grow - mm by which what was drawn is grown before.
    """

    samples: int = 1
    wanted: str = "uncertainty"
    inputVolume: vtkMRMLScalarVolumeNode
    inputSegments: vtkMRMLNode
    segment: str = ""
    put: str = "healthy"
    contrast: str = ""
    grow: float = 0.0
    outputVolume: vtkMRMLScalarVolumeNode
    outputSequence: vtkMRMLSequenceNode
    outputUncertainty: vtkMRMLScalarVolumeNode


class MedDiffusionInpaintLogic(PaintingLogic):
    """Inpainting without a window."""

    TASK = "inpaint"
    ParameterNode = MedDiffusionInpaintParameterNode

    def process(
        self,
        inputVolume: vtkMRMLScalarVolumeNode | None,
        inputSegments: Labels | None = None,
        *,
        segment: str = "",
        put: str = "healthy",
        contrast: str | None = None,
        grow: float = 0.0,
        model: str = "",
        method: str = "",
        preset: str = "balanced",
        parameters: Mapping[str, Any] | None = None,
        samples: int = 1,
        seed: int = 0,
        device: str = "auto",
        batch: int = 8,
        wanted: Sequence[str] | None = None,
        outputVolume: vtkMRMLScalarVolumeNode | None = None,
        outputSequence: vtkMRMLSequenceNode | None = None,
        outputUncertainty: vtkMRMLScalarVolumeNode | None = None,
        showResult: bool = False,
        onEvent: Callable[[dict[str, Any]], None] | None = None,
    ) -> dict[str, Any]:
        """
        Paint over what was drawn. Blocks until the results are there.

        Can be used without GUI widget.
        :param inputVolume: the volume to paint on; what was not drawn stays as it is, voxel for voxel
        :param inputSegments: a segmentation or a label map of what is painted over, on any grid, under any transform
        :param segment: the id of one of the segments; empty is all that is drawn
        :param put: what is put there: "healthy", "lesion" or "anything", as far as the model knows them
        :param contrast: what the volume shows, a contrast of the model such as "FLAIR"
        :param grow: mm by which what was drawn is grown before
        :param model: id of an installed model, or its folder; empty takes the first that fits the task
        :param method: name of a method, as `meddiff methods` lists them; empty takes the first that fits the model
        :param preset: "fast", "balanced" or "best"
        :param parameters: settings of the method in place of the preset's
        :param samples: different answers
        :param seed: the same seed gives the same voxels
        :param device: "auto", "cpu", "cuda", "cuda:1", ...
        :param batch: slices at a time; halved when memory runs out
        :param wanted: outputs to make beside "image", of two samples or more: "uncertainty"; None makes it
        :param outputVolume: node to fill, as the other outputs; a new one is made if it is not given
        :param showResult: show the result in the slice views, if there are any
        :param onEvent: called with the worker's events: progress, preview, warning
        :return: "image", the first answer; of two or more "sequence", all of them, and "uncertainty"
        :raises BadInput: the input, or a setting, cannot be used, or no method or model for this task is installed
        :raises JobFailed: the worker could not finish
        """
        return self.run(self.withDefaults(call_arguments(locals())), show=showResult, onEvent=onEvent)

    # What the task is

    def inputs(self) -> tuple[InputRole, ...]:
        """The volume, and what is painted over."""
        return inpainting.inputs()

    def outputs(self) -> tuple[OutputRole, ...]:
        """The volume with something else in it."""
        return inpainting.outputs()

    def outputsOf(self, arguments: Mapping[str, Any]) -> tuple[OutputRole, ...]:
        """The same, called after what was put there."""
        return inpainting.named(arguments)

    def requirement(self) -> str:
        """What the task needs to be ready."""
        return _("No method for inpainting is installed; install the extension MedDiffusion again.")

    def advice(self) -> str:
        """How good it is."""
        return _(words.INPAINT_ADVICE)

    # From the panel to a job

    def arguments(self, parameterNode: Any) -> dict[str, Any]:
        """The arguments of `process` that the panel's parameters stand for: what it does not show is not among them."""
        found = super().arguments(parameterNode)
        found |= {"put": parameterNode.put, "contrast": parameterNode.contrast or None, "grow": parameterNode.grow}
        return found | {"segment": parameterNode.segment if inpainting.segments(found["inputSegments"]) else ""}

    def options(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """The options of the job."""
        return super().options(arguments) | {name: arguments[name] for name in ("put", "contrast", "grow")}

    def problems(self, arguments: Mapping[str, Any], model: ModelInfo | None) -> list[str]:
        """What is not told yet, or cannot be."""
        return inpainting.problems(arguments, model)

    def cost(self, arguments: Mapping[str, Any]) -> catalogue.Cost | None:
        """Time and memory that the job will take: the network sees what was drawn and what is around it."""
        model, recipe = self.chosen(arguments)
        grid = self._grid(arguments)
        if model is None or recipe is None or grid is None or self.missing(arguments):
            return None
        size = inpainting.seen(model, grid, inpainting.box(arguments))
        return None if size is None else choices.cost(model, recipe, arguments, size)

    def exported(self, arguments: Mapping[str, Any], folder: Path) -> dict[str, str]:
        """The files of the volume, and of what is painted over on its grid."""
        files = super().exported({**arguments, "inputSegments": None}, folder)
        path = folder / "mask.nrrd"
        write(inpainting.marked(arguments), path)
        return files | {"mask": str(path)}

    def onDisk(self, arguments: Mapping[str, Any]) -> dict[str, tuple[str, str]]:
        """Where the inputs lie on disk, and what is to be done before."""
        found = super().onDisk(arguments)
        if arguments["segment"]:
            path, note = found["mask"]
            name = inpainting.name_of(arguments["inputSegments"], arguments["segment"])
            found["mask"] = path, note + _("# (its segment “{name}” alone)").format(name=name) + "\n"
        return found

    # What comes out

    def loadResults(self, result: Mapping[str, Any], *args: Any, **told: Any) -> dict[str, Any]:
        """The first answer, and all of them as a sequence where there are several."""
        return super().loadResults({**result, "outputs": inpainting.sorted_out(result["outputs"])}, *args, **told)
