"""Diffusion Register: from one volume to another by generative diffusion models, along a continuous path."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import slicer
from slicer import (
    vtkMRMLGridTransformNode,
    vtkMRMLLabelMapVolumeNode,
    vtkMRMLNode,
    vtkMRMLScalarVolumeNode,
    vtkMRMLSegmentationNode,
    vtkMRMLSequenceNode,
    vtkMRMLTableNode,
    vtkMRMLTransformNode,
)
from slicer.i18n import tr as _
from slicer.i18n import translate
from slicer.parameterNodeWrapper import parameterNodeWrapper
from slicer.ScriptedLoadableModule import ScriptedLoadableModule, ScriptedLoadableModuleTest

from MedDiffusionLib import catalogue, pairs, registering, sections, words
from MedDiffusionLib.choices import call_arguments
from MedDiffusionLib.compare import Comparison
from MedDiffusionLib.logic import DiffusionLogic
from MedDiffusionLib.registering import FRAMES, OPTIONS, PAIR
from MedDiffusionLib.roles import CommonParameters, InputRole, OutputRole
from MedDiffusionLib.widget import DiffusionWidget

Labels = vtkMRMLLabelMapVolumeNode | vtkMRMLSegmentationNode


class DiffusionRegister(ScriptedLoadableModule):
    """The module as Slicer lists it."""

    def __init__(self, parent: Any) -> None:
        ScriptedLoadableModule.__init__(self, parent)
        parent.title = _("Diffusion Register")
        parent.categories = [translate("qSlicerAbstractCoreModule", "Image Synthesis")]
        parent.dependencies = ["MedDiffusion"]
        parent.contributors = ["The MedDiffusion contributors"]
        parent.helpText = _(
            "Registers a moving volume to a fixed one, or two frames of a 4D sequence, with a generative diffusion "
            "model (not diffusion MRI), and gives the whole continuous path between them. For research, not for "
            "diagnosis."
        )
        parent.acknowledgementText = _("Each method cites its paper in the panel; each model cites its training data.")


@parameterNodeWrapper
class DiffusionRegisterParameterNode(CommonParameters):
    """
    The parameters of the module, beside those of all tasks.

    pairKind - what is registered: "volumes", two of the scene, or "frames", two of a sequence.
    fixedVolume, movingVolume - the volume that stays, and the one that is brought onto it.
    sequence, firstFrame, lastFrame - or a sequence, the frame that moves, and the one that stays; counted from 1, 0 is
        the last.
    movingLabels, fixedLabels - label maps or segmentations: what is brought along, and what it is compared with.
    initialTransform - a linear transform that brings the moving volume near to the fixed one.
    align, deformation, similarity - as the engine has them.
    """

    wanted: str = "displacement,jacobian,labels,registration,frames"
    pairKind: str = "volumes"
    fixedVolume: vtkMRMLScalarVolumeNode
    movingVolume: vtkMRMLScalarVolumeNode
    sequence: vtkMRMLSequenceNode
    firstFrame: int = 1
    lastFrame: int = 0
    movingLabels: vtkMRMLNode
    fixedLabels: vtkMRMLNode
    initialTransform: vtkMRMLTransformNode
    align: str = "auto"
    deformation: str = "diffeomorphic"
    similarity: str = "auto"
    outputVolume: vtkMRMLScalarVolumeNode
    outputTransform: vtkMRMLGridTransformNode
    outputInverse: vtkMRMLGridTransformNode
    outputJacobian: vtkMRMLScalarVolumeNode
    outputLabels: vtkMRMLSegmentationNode
    outputTable: vtkMRMLTableNode
    outputFrames: vtkMRMLSequenceNode
    outputPathTable: vtkMRMLTableNode


class DiffusionRegisterLogic(DiffusionLogic):
    """Registration without a window."""

    TASK = "register"
    ParameterNode = DiffusionRegisterParameterNode

    def process(
        self,
        fixedVolume: vtkMRMLScalarVolumeNode | None = None,
        movingVolume: vtkMRMLScalarVolumeNode | None = None,
        *,
        sequence: vtkMRMLSequenceNode | None = None,
        firstFrame: int = 1,
        lastFrame: int = 0,
        movingLabels: Labels | None = None,
        fixedLabels: Labels | None = None,
        initialTransform: vtkMRMLTransformNode | None = None,
        model: str = "",
        method: str = "",
        preset: str = "balanced",
        parameters: Mapping[str, Any] | None = None,
        align: str = "auto",
        deformation: str = "diffeomorphic",
        similarity: str = "auto",
        seed: int = 0,
        device: str = "auto",
        wanted: Sequence[str] | None = None,
        outputVolume: vtkMRMLScalarVolumeNode | None = None,
        outputTransform: vtkMRMLGridTransformNode | None = None,
        outputInverse: vtkMRMLGridTransformNode | None = None,
        outputJacobian: vtkMRMLScalarVolumeNode | None = None,
        outputLabels: vtkMRMLSegmentationNode | None = None,
        outputTable: vtkMRMLTableNode | None = None,
        outputFrames: vtkMRMLSequenceNode | None = None,
        outputPathTable: vtkMRMLTableNode | None = None,
        showResult: bool = False,
        onEvent: Callable[[dict[str, Any]], None] | None = None,
    ) -> dict[str, Any]:
        """
        Register a moving volume to a fixed one, or two frames of a sequence. Blocks until the results are there.

        Can be used without GUI widget. Linear transforms over the volumes count: the start is what is seen.
        :param fixedVolume: the volume that stays
        :param movingVolume: the volume that is brought onto it
        :param sequence: or a 4D sequence of volumes, two frames of which are registered
        :param firstFrame: the frame that moves, counted from 1
        :param lastFrame: the frame that it is brought onto; 0 is the last of the sequence
        :param movingLabels: a label map or a segmentation of the moving volume, to be brought along
        :param fixedLabels: one of the fixed volume, to compare that with: puts Dice and HD95 into the table; segments
            of the same name are compared, or, where there are none, all in their order
        :param initialTransform: a linear transform that, applied to the moving volume where it lies, brings it near
        :param model: id of an installed model, or its folder; empty takes the first that fits the task
        :param method: name of a method, as `meddiff methods` lists them; empty takes the first that fits the model
        :param preset: "fast", "balanced" or "best"
        :param parameters: settings of the method in place of the preset's, such as {"frames": 20, "refine": 50}
        :param align: what comes before the deformation: "affine", "rigid", "centres", "none"; "auto" is affine, unless
            there is an initial transform
        :param deformation: "diffeomorphic" (nothing folds, and there is a way back) or "free"
        :param similarity: what is compared: "correlation" of intensities, textures ("mind"), or "auto"
        :param seed: the same seed gives the same voxels
        :param device: "auto", "cpu", "cuda", "cuda:1", ...
        :param wanted: outputs to make beside "warped": "displacement" (the transform), "inverse", "jacobian", "labels",
            "registration" (a table), "frames" (the path, a sequence), "path" (a table of its steps); None makes all
            but "inverse" and "path"
        :param outputVolume: node to fill, as the other outputs; a new one is made if it is not given
        :param showResult: show the result in the slice views, if there are any
        :param onEvent: called with the worker's events: progress, preview, warning
        :return: the output nodes by name; "labels" only where labels were given. The transform belongs over the moving
            volume in place of any that it lies under, "inverse" over the fixed one
        :raises BadInput: the input, or a setting, cannot be used, or no method or model for this task is installed
        :raises JobFailed: the worker could not finish
        """
        return self.run(self.withDefaults(call_arguments(locals())), show=showResult, onEvent=onEvent)

    # What the task is

    def inputs(self) -> tuple[InputRole, ...]:
        """Two volumes or a sequence, labels, and where to begin."""
        return registering.inputs()

    def outputs(self) -> tuple[OutputRole, ...]:
        """The moving volume in its new place, the transform, and the path."""
        return registering.outputs()

    def requirement(self) -> str:
        """What the task needs to be ready."""
        return _("No method for registration is installed; install the extension MedDiffusion again.")

    def advice(self) -> str:
        """Which method to take."""
        return _(words.REGISTER_ADVICE)

    def remark(self, made: Mapping[str, Any], figures: Mapping[str, float]) -> str:
        """What was compared, and what the registration is worth."""
        return registering.remark(made, figures)

    def source(self, arguments: Mapping[str, Any]) -> Any:
        """The fixed volume, or the sequence: the results lie beside it."""
        sequence = arguments.get("sequence")
        return arguments.get("fixedVolume") if sequence is None else sequence

    def subject(self, arguments: Mapping[str, Any]) -> Any:
        """The moving volume, or the sequence: the results are named after it."""
        sequence = arguments.get("sequence")
        return arguments.get("movingVolume") if sequence is None else sequence

    def segments(self, arguments: Mapping[str, Any]) -> tuple[Any, ...]:
        """Those of the labels that are brought along."""
        return registering.segments(arguments)

    # From the panel to a job

    def arguments(self, parameterNode: Any) -> dict[str, Any]:
        """The arguments of `process` that the panel's parameters stand for: what it does not show is not among them."""
        found = super().arguments(parameterNode)
        del found["samples"], found["batch"]
        found |= {name: getattr(parameterNode, name) for name in (*OPTIONS, *FRAMES)}
        return found | (dict.fromkeys(PAIR) if parameterNode.pairKind == "frames" else FRAMES)

    def options(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """The options of the job."""
        told = {name: arguments[name] for name in ("preset", *OPTIONS)}
        return told | {"align": registering.alignment(arguments)}

    def missingInputs(self, arguments: Mapping[str, Any]) -> list[str]:
        """What is to be chosen, what does not go together, and volumes in which nothing can be seen."""
        found = super().missingInputs(arguments) + registering.missing(arguments)
        found += [] if found else pairs.problems(arguments)
        model, _recipe = self.chosen(arguments)
        return found if found or model is None else registering.too_small(model, arguments)

    def warning(self, arguments: Mapping[str, Any]) -> str | None:
        """Why the result may be of little use, or what will be done to the volumes."""
        model, _recipe = self.chosen(arguments)
        return None if model is None or self._unclear(arguments) else registering.warning(model, arguments)

    def cost(self, arguments: Mapping[str, Any]) -> catalogue.Cost | None:
        """Time and memory that the job will take, on the grid that the network sees."""
        model, recipe = self.chosen(arguments)
        if model is None or recipe is None or self._unclear(arguments):
            return None
        return registering.cost(model, recipe, arguments)

    def _unclear(self, arguments: Mapping[str, Any]) -> bool:
        """Whether nothing can be said of the pair yet."""
        return bool(self.missingInputs(arguments) or self.refused(arguments))

    def exported(self, arguments: Mapping[str, Any], folder: Path) -> dict[str, str]:
        """The files of the pair."""
        return pairs.export(arguments, folder)

    def onDisk(self, arguments: Mapping[str, Any]) -> dict[str, tuple[str, str]]:
        """Where the pair lies on disk, and what is to be done before."""
        return pairs.on_disk(arguments, self.inputs())

    # What comes out

    def loadResults(
        self,
        result: Mapping[str, Any],
        source: Any = None,
        outputs: Mapping[str, Any] | None = None,
        *,
        arguments: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Nodes from the files of a result; the path between two frames goes on in the time of their series."""
        made = super().loadResults(result, source, outputs, arguments=arguments)
        registering.in_time(made.get("frames"), arguments or {})
        return made

    def remember(self, result: Mapping[str, Any], arguments: Mapping[str, Any]) -> None:
        """Nothing: most of the time goes by beside the network, and does not grow with its calls."""

    def show(self, made: Mapping[str, Any], source: Any = None, *, surfaces: bool = True) -> None:
        """The warped volume over the fixed one, or the path alone, where there are views."""
        registering.show(made, source)


class DiffusionRegisterWidget(DiffusionWidget):
    """The panel: what all tasks share, what is registered, how, and ways to look at it."""

    Logic = DiffusionRegisterLogic

    def buildInputs(self, form: Any) -> dict[str, Any]:
        """Two volumes or two frames, labels, and where to begin."""
        registering.kind_row(form, self.bindings)
        self.form, roles = form, {role.parameter: role for role in self.logic.inputs()}
        rows = {name: sections.inputRow(form, roles[name], self.bindings) for name in (*PAIR[:2], "sequence")}
        rows |= registering.frame_rows(form, self.bindings)
        return rows | {name: sections.inputRow(form, roles[name], self.bindings) for name in PAIR[2:]}

    def buildOptions(self, layout: Any) -> tuple[Any, ...]:
        """The section Registration."""
        self.options = registering.section(layout, self.bindings)
        return (self.options.form,)

    def buildResults(self) -> Any:
        """Ways to compare the warped volume with the fixed one."""
        self.comparison = Comparison()
        return self.comparison.widget

    def refresh(self) -> None:
        """The rows of what is registered; what is compared is what was made last."""
        super().refresh()
        parameters = self._parameterNode
        if parameters is None:
            return
        for names, shown in ((PAIR, "volumes"), (FRAMES, "frames")):
            for name in names:
                sections.showRow(self.form, self.ui.inputs[name], parameters.pairKind == shown)
        fixed = parameters.fixedVolume if parameters.pairKind == "volumes" else None
        made = (parameters.outputVolume, parameters.outputFrames, parameters.outputTransform)
        self.comparison.show(fixed, *made)

    def exit(self) -> None:
        """Another panel is shown: the views stay as they are."""
        self.comparison.stop()
        super().exit()

    def close(self) -> None:
        """Let go of all that would outlive the panel."""
        self.comparison.stop()
        super().close()


class DiffusionRegisterTest(ScriptedLoadableModuleTest):
    """What can be tried inside Slicer: two crops of Sample Data, the fast preset."""

    def setUp(self) -> None:
        """An empty scene."""
        slicer.mrmlScene.Clear()

    def runTest(self) -> None:
        """All tests."""
        self.setUp()
        self.test_refusal()
        self.setUp()
        self.test_registration()

    def test_refusal(self) -> None:
        """Without an input a sentence says so, and nothing is made."""
        self.delayDisplay("Starting the test")
        before = slicer.mrmlScene.GetNumberOfNodes()
        with self.assertRaises(ValueError):
            DiffusionRegisterLogic().process(None, None)
        self.assertEqual(slicer.mrmlScene.GetNumberOfNodes(), before)

    def test_registration(self) -> None:
        """The moving crop comes out on the grid of the fixed one, and more like it than before."""
        if not catalogue.models(DiffusionRegisterLogic.TASK):
            self.delayDisplay("No model for registration is installed: nothing to test")
            return
        from MedDiffusionLib.samples import loadPhantom

        fixed, moving = loadPhantom("Hippocampus"), loadPhantom("HippocampusOther")
        made = DiffusionRegisterLogic().process(fixed, moving, preset="fast")
        self.assertEqual(made["warped"].GetImageData().GetDimensions(), fixed.GetImageData().GetDimensions())
        table = made["registration"].GetTable()
        before, after = (table.GetValueByName(0, f"similarity_{when}").ToDouble() for when in ("before", "after"))
        self.assertGreater(after, before)
        self.delayDisplay("Test passed")
