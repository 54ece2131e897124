"""Diffusion Register: deformable registration by generative diffusion models, as a continuous motion."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import slicer
from slicer import vtkMRMLGridTransformNode, vtkMRMLNode, vtkMRMLScalarVolumeNode, vtkMRMLSequenceNode
from slicer.i18n import tr as _
from slicer.i18n import translate
from slicer.parameterNodeWrapper import parameterNodeWrapper
from slicer.ScriptedLoadableModule import ScriptedLoadableModule, ScriptedLoadableModuleTest

from MedDiffusionLib import catalogue
from MedDiffusionLib.choices import call_arguments
from MedDiffusionLib.logic import DiffusionLogic
from MedDiffusionLib.roles import SCALAR, SEQUENCE, TRANSFORM, CommonParameters, InputRole, OutputRole
from MedDiffusionLib.widget import DiffusionWidget


class DiffusionRegister(ScriptedLoadableModule):
    """The module as Slicer lists it."""

    def __init__(self, parent: Any) -> None:
        ScriptedLoadableModule.__init__(self, parent)
        parent.title = _("Diffusion Register")
        parent.categories = [translate("qSlicerAbstractCoreModule", "Image Synthesis")]
        parent.dependencies = ["MedDiffusion"]
        parent.contributors = ["The MedDiffusion contributors"]
        parent.helpText = _(
            "Registers a moving volume, or every frame of a 4D sequence, to a fixed volume with a generative "
            "diffusion model (not diffusion MRI), and gives the whole continuous motion between them. For research, "
            "not for diagnosis."
        )
        parent.acknowledgementText = _("Each method cites its paper in the panel; each model cites its training data.")


@parameterNodeWrapper
class DiffusionRegisterParameterNode(CommonParameters):
    """
    The parameters of the module, beside those of all tasks.

    fixedVolume - the volume that stays.
    movingNode - the volume, or the sequence of volumes, that is brought onto it.
    """

    wanted: str = "warped,displacement,trajectory"
    fixedVolume: vtkMRMLScalarVolumeNode
    movingNode: vtkMRMLNode
    outputVolume: vtkMRMLScalarVolumeNode
    outputTransform: vtkMRMLGridTransformNode
    outputTrajectory: vtkMRMLSequenceNode


class DiffusionRegisterLogic(DiffusionLogic):
    """Registration without a window."""

    TASK = "register"
    ParameterNode = DiffusionRegisterParameterNode

    def process(
        self,
        fixedVolume: vtkMRMLScalarVolumeNode | None,
        movingNode: vtkMRMLNode | None,
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
        outputVolume: vtkMRMLScalarVolumeNode | None = None,
        outputTransform: vtkMRMLGridTransformNode | None = None,
        outputTrajectory: vtkMRMLSequenceNode | None = None,
        showResult: bool = False,
        onEvent: Callable[[dict[str, Any]], None] | None = None,
    ) -> dict[str, Any]:
        """
        Register a moving volume, or a 4D sequence, to a fixed volume. Blocks until the results are there.

        Can be used without GUI widget.
        :param fixedVolume: the volume that stays
        :param movingNode: the volume, or the sequence of volumes, that is brought onto it
        :param model: id of an installed model; empty takes the first that fits the task
        :param method: name of a method; empty takes the first that fits the model
        :param preset: "fast", "balanced" or "best"
        :param parameters: settings of the method in place of the preset's
        :param samples: samples to take mean and spread of
        :param seed: the same seed gives the same voxels
        :param device: "auto", "cpu", "cuda", "cuda:1", ...
        :param batch: images at a time; halved when memory runs out
        :param wanted: outputs to make: "warped", "displacement", "trajectory"; None makes all
        :param outputVolume: node to fill, as the other outputs; a new one is made if it is not given
        :param showResult: show the result in the slice views, if there are any
        :param onEvent: called with the worker's events: progress, preview, warning
        :return: the output nodes by name
        :raises BadInput: the input, or a setting, cannot be used, or no method for this task is installed
        :raises JobFailed: the worker could not finish
        """
        return self.run(self.withDefaults(call_arguments(locals())), show=showResult, onEvent=onEvent)

    def inputs(self) -> tuple[InputRole, ...]:
        """What stays and what moves."""
        fixed = _("The volume that stays")
        moving = _("The volume, or the 4D sequence of volumes, that is brought onto the fixed volume")
        return (
            InputRole("fixed", "fixedVolume", _("Fixed"), fixed),
            InputRole("moving", "movingNode", _("Moving"), moving, (SCALAR, SEQUENCE)),
        )

    def outputs(self) -> tuple[OutputRole, ...]:
        """The moving volume in its new place, and the motion."""
        warped = _("The moving volume on the grid of the fixed one")
        transform = _("The motion as a grid transform")
        way = _("The moving volume on its way, from where it was to where it fits")
        return (
            OutputRole("warped", "outputVolume", _("Warped volume"), warped, always=True),
            OutputRole("displacement", "outputTransform", _("Transform"), transform, TRANSFORM, ""),
            OutputRole("trajectory", "outputTrajectory", _("Trajectory"), way, SEQUENCE, ""),
        )

    def requirement(self) -> str:
        """What the task needs to be ready."""
        return _(
            "No method for registration is installed yet. This panel will need a method of a later version of "
            "MedDiffusion, and a model that was trained on pairs of images."
        )


class DiffusionRegisterWidget(DiffusionWidget):
    """The panel: what all tasks share."""

    Logic = DiffusionRegisterLogic


class DiffusionRegisterTest(ScriptedLoadableModuleTest):
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
            DiffusionRegisterLogic().process(None, None)
        if not catalogue.recipes(DiffusionRegisterLogic.TASK):
            self.assertIn("No method", str(caught.exception))
        self.assertEqual(slicer.mrmlScene.GetNumberOfNodes(), before)
        self.delayDisplay("Test passed")
