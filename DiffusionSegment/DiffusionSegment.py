"""Diffusion Segment: segmentations by generative diffusion models, with how sure each voxel is."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import slicer
from slicer import vtkMRMLScalarVolumeNode, vtkMRMLSegmentationNode
from slicer.i18n import tr as _
from slicer.i18n import translate
from slicer.parameterNodeWrapper import parameterNodeWrapper
from slicer.ScriptedLoadableModule import ScriptedLoadableModule, ScriptedLoadableModuleTest

from MedDiffusionLib import catalogue
from MedDiffusionLib.choices import call_arguments
from MedDiffusionLib.logic import DiffusionLogic
from MedDiffusionLib.roles import SEGMENTATION, CommonParameters, InputRole, OutputRole
from MedDiffusionLib.widget import DiffusionWidget


class DiffusionSegment(ScriptedLoadableModule):
    """The module as Slicer lists it."""

    def __init__(self, parent: Any) -> None:
        ScriptedLoadableModule.__init__(self, parent)
        parent.title = _("Diffusion Segment")
        parent.categories = [translate("qSlicerAbstractCoreModule", "Image Synthesis")]
        parent.dependencies = ["MedDiffusion"]
        parent.contributors = ["The MedDiffusion contributors"]
        parent.helpText = _(
            "Segments a volume with a generative diffusion model (not diffusion MRI): many plausible segmentations "
            "are drawn, and their agreement tells how sure each voxel is. For research, not for diagnosis."
        )
        parent.acknowledgementText = _("Each method cites its paper in the panel; each model cites its training data.")


@parameterNodeWrapper
class DiffusionSegmentParameterNode(CommonParameters):
    """
    The parameters of the module, beside those of all tasks.

    inputVolume - the volume to segment.
    """

    wanted: str = "labels,probability,uncertainty"
    inputVolume: vtkMRMLScalarVolumeNode
    outputSegmentation: vtkMRMLSegmentationNode
    outputProbability: vtkMRMLScalarVolumeNode
    outputUncertainty: vtkMRMLScalarVolumeNode


class DiffusionSegmentLogic(DiffusionLogic):
    """Segmentation without a window."""

    TASK = "segment"
    ParameterNode = DiffusionSegmentParameterNode

    def process(
        self,
        inputVolume: vtkMRMLScalarVolumeNode | None,
        *,
        model: str = "",
        method: str = "",
        preset: str = "balanced",
        parameters: Mapping[str, Any] | None = None,
        samples: int = 4,
        seed: int = 0,
        device: str = "auto",
        batch: int = 8,
        wanted: Sequence[str] | None = None,
        outputSegmentation: vtkMRMLSegmentationNode | None = None,
        outputProbability: vtkMRMLScalarVolumeNode | None = None,
        outputUncertainty: vtkMRMLScalarVolumeNode | None = None,
        showResult: bool = False,
        onEvent: Callable[[dict[str, Any]], None] | None = None,
    ) -> dict[str, Any]:
        """
        Segment a volume. Blocks until the results are there.

        Can be used without GUI widget.
        :param inputVolume: the volume to segment
        :param model: id of an installed model; empty takes the first that fits the task
        :param method: name of a method; empty takes the first that fits the model
        :param preset: "fast", "balanced" or "best"
        :param parameters: settings of the method in place of the preset's
        :param samples: samples to take mean and spread of
        :param seed: the same seed gives the same voxels
        :param device: "auto", "cpu", "cuda", "cuda:1", ...
        :param batch: images at a time; halved when memory runs out
        :param wanted: outputs to make: "labels", "probability", "uncertainty"; None makes all
        :param outputSegmentation: node to fill, as the other outputs; a new one is made if it is not given
        :param showResult: show the result in the slice views, if there are any
        :param onEvent: called with the worker's events: progress, preview, warning
        :return: the output nodes by name
        :raises BadInput: the input, or a setting, cannot be used, or no method for this task is installed
        :raises JobFailed: the worker could not finish
        """
        return self.run(self.withDefaults(call_arguments(locals())), show=showResult, onEvent=onEvent)

    def inputs(self) -> tuple[InputRole, ...]:
        """The volume."""
        return (InputRole("volume", "inputVolume", _("Volume"), _("The volume to segment")),)

    def outputs(self) -> tuple[OutputRole, ...]:
        """The segmentation and how sure it is."""
        labels = _("What most of the samples agree on, a segment for each label of the model")
        probability = _("How many of the samples say that a voxel belongs to any segment")
        spread = _("Where the samples differ")
        return (
            OutputRole("labels", "outputSegmentation", _("Segmentation"), labels, SEGMENTATION, "labels", always=True),
            OutputRole("probability", "outputProbability", _("Probability"), probability, display="uncertainty"),
            OutputRole("uncertainty", "outputUncertainty", _("Uncertainty"), spread, display="uncertainty"),
        )

    def requirement(self) -> str:
        """What the task needs to be ready."""
        return _(
            "No method for segmentation is installed yet. This panel will need a method of a later version of "
            "MedDiffusion, and a model that was trained on images with labels."
        )


class DiffusionSegmentWidget(DiffusionWidget):
    """The panel: what all tasks share."""

    Logic = DiffusionSegmentLogic


class DiffusionSegmentTest(ScriptedLoadableModuleTest):
    """What can be tried inside Slicer without a method and a model: the panel's logic says what it needs."""

    def setUp(self) -> None:
        """An empty scene."""
        slicer.mrmlScene.Clear()

    def runTest(self) -> None:
        """All tests."""
        self.setUp()
        self.test_refusal()

    def test_refusal(self) -> None:
        """Without an input, or without a method, a sentence says so, and nothing is made."""
        self.delayDisplay("Starting the test")
        before = slicer.mrmlScene.GetNumberOfNodes()
        with self.assertRaises(ValueError) as caught:
            DiffusionSegmentLogic().process(None)
        if not catalogue.recipes(DiffusionSegmentLogic.TASK):
            self.assertIn("No method", str(caught.exception))
        self.assertEqual(slicer.mrmlScene.GetNumberOfNodes(), before)
        self.delayDisplay("Test passed")
