"""Diffusion Anomaly: what is unusual in a volume, by the healthy image that a generative diffusion model sees in it."""

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


class DiffusionAnomaly(ScriptedLoadableModule):
    """The module as Slicer lists it."""

    def __init__(self, parent: Any) -> None:
        ScriptedLoadableModule.__init__(self, parent)
        parent.title = _("Diffusion Anomaly")
        parent.categories = [translate("qSlicerAbstractCoreModule", "Image Synthesis")]
        parent.dependencies = ["MedDiffusion"]
        parent.contributors = ["The MedDiffusion contributors"]
        parent.helpText = _(
            "Shows what is unusual in a volume: a generative diffusion model (not diffusion MRI) of healthy people "
            "draws the same volume as it would look without disease, and the difference is mapped. For research, not "
            "for diagnosis."
        )
        parent.acknowledgementText = _("Each method cites its paper in the panel; each model cites its training data.")


@parameterNodeWrapper
class DiffusionAnomalyParameterNode(CommonParameters):
    """
    The parameters of the module, beside those of all tasks.

    inputVolume - the volume to look at.
    """

    wanted: str = "healthy,anomaly,lesions,uncertainty"
    inputVolume: vtkMRMLScalarVolumeNode
    outputHealthy: vtkMRMLScalarVolumeNode
    outputAnomaly: vtkMRMLScalarVolumeNode
    outputLesions: vtkMRMLSegmentationNode
    outputUncertainty: vtkMRMLScalarVolumeNode


class DiffusionAnomalyLogic(DiffusionLogic):
    """Anomaly detection without a window."""

    TASK = "anomaly"
    ParameterNode = DiffusionAnomalyParameterNode

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
        outputHealthy: vtkMRMLScalarVolumeNode | None = None,
        outputAnomaly: vtkMRMLScalarVolumeNode | None = None,
        outputLesions: vtkMRMLSegmentationNode | None = None,
        outputUncertainty: vtkMRMLScalarVolumeNode | None = None,
        showResult: bool = False,
        onEvent: Callable[[dict[str, Any]], None] | None = None,
    ) -> dict[str, Any]:
        """
        Map what is unusual in a volume. Blocks until the results are there.

        Can be used without GUI widget.
        :param inputVolume: the volume to look at
        :param model: id of an installed model; empty takes the first that fits the task
        :param method: name of a method; empty takes the first that fits the model
        :param preset: "fast", "balanced" or "best"
        :param parameters: settings of the method in place of the preset's
        :param samples: samples to take mean and spread of
        :param seed: the same seed gives the same voxels
        :param device: "auto", "cpu", "cuda", "cuda:1", ...
        :param batch: images at a time; halved when memory runs out
        :param wanted: outputs to make: "healthy", "anomaly", "lesions", "uncertainty"; None makes all
        :param outputHealthy: node to fill, as the other outputs; a new one is made if it is not given
        :param showResult: show the result in the slice views, if there are any
        :param onEvent: called with the worker's events: progress, preview, warning
        :return: the output nodes by name
        :raises BadInput: the input, or a setting, cannot be used, or no method for this task is installed
        :raises JobFailed: the worker could not finish
        """
        return self.run(self.withDefaults(call_arguments(locals())), show=showResult, onEvent=onEvent)

    def inputs(self) -> tuple[InputRole, ...]:
        """The volume."""
        return (InputRole("volume", "inputVolume", _("Volume"), _("The volume to look at")),)

    def outputs(self) -> tuple[OutputRole, ...]:
        """The healthy image, and how the volume differs from it."""
        healthy = _("The volume as the model would expect it of a healthy person")
        anomaly = _("How far the volume is from its healthy image")
        lesions = _("Where the anomaly map is high, as a segmentation")
        spread = _("Where the healthy images that were drawn differ")
        return (
            OutputRole("healthy", "outputHealthy", _("Healthy image"), healthy, always=True),
            OutputRole("anomaly", "outputAnomaly", _("Anomaly map"), anomaly, display="anomaly"),
            OutputRole("lesions", "outputLesions", _("Lesions"), lesions, SEGMENTATION, "labels"),
            OutputRole("uncertainty", "outputUncertainty", _("Uncertainty"), spread, display="uncertainty"),
        )

    def requirement(self) -> str:
        """What the task needs to be ready."""
        return _(
            "No method for anomaly detection is installed yet. This panel will need a method of a later version of "
            "MedDiffusion, and a model that was trained on healthy people."
        )


class DiffusionAnomalyWidget(DiffusionWidget):
    """The panel: what all tasks share."""

    Logic = DiffusionAnomalyLogic


class DiffusionAnomalyTest(ScriptedLoadableModuleTest):
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
            DiffusionAnomalyLogic().process(None)
        if not catalogue.recipes(DiffusionAnomalyLogic.TASK):
            self.assertIn("No method", str(caught.exception))
        self.assertEqual(slicer.mrmlScene.GetNumberOfNodes(), before)
        self.delayDisplay("Test passed")
