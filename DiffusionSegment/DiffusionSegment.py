"""Diffusion Segment: segmentations by generative diffusion models, with how sure each voxel is."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import qt
import slicer
from slicer import (
    vtkMRMLLabelMapVolumeNode,
    vtkMRMLNode,
    vtkMRMLScalarVolumeNode,
    vtkMRMLSegmentationNode,
    vtkMRMLSequenceNode,
    vtkMRMLTableNode,
)
from slicer.i18n import tr as _
from slicer.i18n import translate
from slicer.parameterNodeWrapper import parameterNodeWrapper
from slicer.ScriptedLoadableModule import ScriptedLoadableModule, ScriptedLoadableModuleTest

from MedDiffusionLib import catalogue, choices, sections, segmenting, views, words
from MedDiffusionLib.batch import BatchLogic
from MedDiffusionLib.choices import call_arguments
from MedDiffusionLib.roles import CommonParameters, InputRole, OutputRole
from MedDiffusionLib.segmenting import CHANNELS, OPTIONS, STARTED, UNLIMITED
from MedDiffusionLib.widget import DiffusionWidget

Labels = vtkMRMLLabelMapVolumeNode | vtkMRMLSegmentationNode


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

    inputVolume - the volume to segment; the others are further channels, for models that want them.
    start - what a method starts from that starts from a segmentation: "baseline" (the model's own network),
        "segmentation" (`firstSegmentation`), or "threshold" (voxels from `low` to `high`; -1e6 is no limit).
    referenceSegmentation - a label map or a segmentation that the result is compared with.
    fusion - how the samples become one segmentation: "mean", "vote" or "staple".
    uncertainty - "entropy" of the mean probabilities, or "variance" between the samples.
    minimumVolume - smaller islands are removed, in mm3; 0 keeps all.
    smoothing - of the borders, in mm; 0 leaves them.
    show3D - whether the segments are shown as surfaces, too.
    """

    samples: int = 8
    wanted: str = "probability,uncertainty,segments"
    inputVolume: vtkMRMLScalarVolumeNode
    inputVolume2: vtkMRMLScalarVolumeNode
    inputVolume3: vtkMRMLScalarVolumeNode
    inputVolume4: vtkMRMLScalarVolumeNode
    start: str = "baseline"
    firstSegmentation: vtkMRMLNode
    low: float = UNLIMITED
    high: float = UNLIMITED
    referenceSegmentation: vtkMRMLNode
    fusion: str = "mean"
    uncertainty: str = "entropy"
    minimumVolume: float = 0.0
    smoothing: float = 0.0
    show3D: bool = True
    outputSegmentation: vtkMRMLSegmentationNode
    outputProbability: vtkMRMLScalarVolumeNode
    outputUncertainty: vtkMRMLScalarVolumeNode
    outputTable: vtkMRMLTableNode
    outputEach: vtkMRMLSequenceNode


class DiffusionSegmentLogic(BatchLogic):
    """Segmentation without a window."""

    TASK = "segment"
    EACH = {
        "inputVolumes2": "inputVolume2",
        "inputVolumes3": "inputVolume3",
        "inputVolumes4": "inputVolume4",
        "firstSegmentations": "firstSegmentation",
        "referenceSegmentations": "referenceSegmentation",
    }
    ParameterNode = DiffusionSegmentParameterNode

    def process(
        self,
        inputVolume: vtkMRMLScalarVolumeNode | None,
        *,
        inputVolume2: vtkMRMLScalarVolumeNode | None = None,
        inputVolume3: vtkMRMLScalarVolumeNode | None = None,
        inputVolume4: vtkMRMLScalarVolumeNode | None = None,
        firstSegmentation: Labels | None = None,
        low: float | None = None,
        high: float | None = None,
        referenceSegmentation: Labels | None = None,
        model: str = "",
        method: str = "",
        preset: str = "balanced",
        parameters: Mapping[str, Any] | None = None,
        fusion: str = "mean",
        uncertainty: str = "entropy",
        minimumVolume: float = 0.0,
        smoothing: float = 0.0,
        samples: int = 8,
        seed: int = 0,
        device: str = "auto",
        batch: int = 8,
        wanted: Sequence[str] | None = None,
        outputSegmentation: vtkMRMLSegmentationNode | None = None,
        outputProbability: vtkMRMLScalarVolumeNode | None = None,
        outputUncertainty: vtkMRMLScalarVolumeNode | None = None,
        outputTable: vtkMRMLTableNode | None = None,
        outputEach: vtkMRMLSequenceNode | None = None,
        showResult: bool = False,
        onEvent: Callable[[dict[str, Any]], None] | None = None,
    ) -> dict[str, Any]:
        """
        Segment a volume, and tell how sure that is. Blocks until the results are there.

        Can be used without GUI widget.
        :param inputVolume: the volume to segment
        :param inputVolume2: the second channel of a model that wants several, on any grid; the others as well
        :param firstSegmentation: a label map or a segmentation, on any grid, that "pd-ddpm" starts from; segments that
            are called as those of the model are taken for these, else all are taken in their order
        :param low: or "pd-ddpm" starts from the voxels of this intensity and more
        :param high: and from none that are brighter; without any of the three it starts from the model's own network
        :param referenceSegmentation: a label map or a segmentation of the truth: puts Dice and HD95 into the table
        :param model: id of an installed model, or its folder; empty takes the first that fits the task
        :param method: name of a method, as `meddiff methods` lists them; empty takes the first that fits the model
        :param preset: "fast", "balanced" or "best"
        :param parameters: settings of the method in place of the preset's
        :param fusion: how the samples become one segmentation: "mean", "vote" or "staple"
        :param uncertainty: "entropy" of the mean probabilities (0 to 1), or "variance" between the samples
        :param minimumVolume: islands below so many mm3 are removed; 0 keeps all
        :param smoothing: standard deviation of what smooths the borders, mm; 0 leaves them
        :param samples: segmentations to draw
        :param seed: the same seed gives the same voxels
        :param device: "auto", "cpu", "cuda", "cuda:1", ...
        :param batch: segmentations at a time; halved when memory runs out
        :param wanted: outputs to make beside "labels": "probability", "uncertainty", "segments" (a table), "each" (the
            probability of every segment, as a sequence); None makes the first three
        :param outputSegmentation: node to fill, as the other outputs; a new one is made if it is not given
        :param showResult: show the result in the slice views and in 3D, if there are any views
        :param onEvent: called with the worker's events: progress, preview, warning
        :return: the output nodes by name; where nothing was found, "labels" has the segments of the model, all empty
        :raises BadInput: the input, or a setting, cannot be used, or no method or model for this task is installed
        :raises JobFailed: the worker could not finish
        """
        return self.run(self.withDefaults(call_arguments(locals())), show=showResult, onEvent=onEvent)

    # What the task is

    def inputs(self) -> tuple[InputRole, ...]:
        """The volume, further channels, what a method starts from, and a reference."""
        return segmenting.inputs()

    def outputs(self) -> tuple[OutputRole, ...]:
        """The segmentation and how sure it is."""
        return segmenting.outputs()

    def requirement(self) -> str:
        """What the task needs to be ready."""
        return _("No method for segmentation is installed; install the extension MedDiffusion again.")

    def advice(self) -> str:
        """Which method to take."""
        return _(words.SEGMENT_ADVICE)

    def remark(self, made: Mapping[str, Any], figures: Mapping[str, float]) -> str:
        """What was not found, and how good the rest is."""
        return segmenting.remark(made.get("labels"), figures)

    # From the panel to a job

    def arguments(self, parameterNode: Any) -> dict[str, Any]:
        """The arguments of `process` that the panel's parameters stand for: what it does not show is not among them."""
        found = super().arguments(parameterNode)
        found |= {name: getattr(parameterNode, name) for name in OPTIONS.values()}
        model = self.model(found["model"])
        found |= dict.fromkeys(CHANNELS[1 if model is None else len(model.channels) :])
        start = parameterNode.start if found["method"] in STARTED else ""
        if start != "segmentation":
            found["firstSegmentation"] = None
        for name in ("low", "high"):
            if start != "threshold" or found[name] <= UNLIMITED:
                found[name] = None
        return found

    def options(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """The options of the job."""
        return super().options(arguments) | {option: arguments[name] for option, name in OPTIONS.items()}

    def missingInputs(self, arguments: Mapping[str, Any]) -> list[str]:
        """What is to be chosen, what does not go together, and a volume in which nothing can be seen."""
        model, recipe = self.chosen(arguments)
        found = super().missingInputs(arguments) + segmenting.problems(arguments, model)
        if model is not None and recipe is not None and self._startsByItself(arguments):
            installed = {known.id for known in catalogue.models()}
            found += choices.missing_part(model, replace(recipe, part="baseline"), installed)
        grid = None if found or model is None else self._grid(arguments)
        return found + ([small] if grid is not None and (small := segmenting.too_small(model, grid)) else [])

    def _startsByItself(self, arguments: Mapping[str, Any]) -> bool:
        """Whether what the method starts from comes from another network."""
        given = (arguments[name] for name in ("firstSegmentation", "low", "high"))
        return arguments["method"] in STARTED and all(value is None for value in given)

    def warning(self, arguments: Mapping[str, Any]) -> str | None:
        """Why the result may be of little use, or what will be done to the volume."""
        model, grid = self.model(arguments["model"]), self._grid(arguments)
        if model is None or grid is None:
            return None
        return segmenting.warning(model, grid, choices.some_values(self.source(arguments)))

    def cost(self, arguments: Mapping[str, Any]) -> catalogue.Cost | None:
        """Time and memory that the job will take, on the grid that the network sees."""
        model, recipe = self.chosen(arguments)
        grid = self._grid(arguments)
        if model is None or recipe is None or grid is None:
            return None
        return choices.cost(model, recipe, arguments, segmenting.seen(model, grid))


class DiffusionSegmentWidget(DiffusionWidget):
    """The panel: what all tasks share, what a method starts from, and what becomes of the samples."""

    Logic = DiffusionSegmentLogic

    def buildInputs(self, form: Any) -> dict[str, Any]:
        """As many volumes as the model wants, what the method starts from, and a reference."""
        *volumes, first, truth = self.logic.inputs()
        self.form = form
        rows = {role.parameter: sections.inputRow(form, role, self.bindings) for role in volumes}
        rows |= segmenting.start_rows(form, self.bindings, first)
        rows[truth.parameter] = sections.inputRow(form, truth, self.bindings)
        return rows

    def buildOptions(self, layout: Any) -> tuple[Any, ...]:
        """The section Segmentation."""
        self.options = segmenting.section(layout, self.bindings)
        return (self.options.form,)

    def buildResults(self) -> Any:
        """Whether the segments are shown as surfaces, too."""
        box = qt.QCheckBox(_("Show 3D"))
        box.setObjectName("show3D")
        box.setToolTip(_("The segments as surfaces in the 3D views, of this result and of those to come"))
        self.bindings.tick("show3D", box)
        return box

    def onEdited(self, parameter: str) -> None:
        """The surfaces of what is there come and go at once."""
        super().onEdited(parameter)
        segmentation = self._parameterNode.outputSegmentation
        if parameter == "show3D" and segmentation is not None:
            views.show3D(segmentation, self._parameterNode.show3D)

    def showResults(self, made: dict[str, Any], source: Any) -> None:
        """What came out, in the views; as surfaces, too, where that is ticked."""
        parameters = self._parameterNode or self.logic.getParameterNode()
        self.logic.show(made, source, surfaces=parameters.show3D)

    def refresh(self) -> None:
        """The rows of the channels that the model wants, and of what the method starts from."""
        super().refresh()
        parameters = self._parameterNode
        if parameters is None:
            return
        model, rows = self.logic.model(parameters.model), self.ui.inputs
        names = (_("Volume"),) if model is None or len(model.channels) == 1 else model.channels
        for number, channel in enumerate(CHANNELS):
            sections.showRow(self.form, rows[channel], number < len(names))
            if number < len(names):
                self.form.labelForField(rows[channel]).setText(f"{names[number]}:")
        started = parameters.method in STARTED
        sections.showRow(self.form, rows["start"], started)
        sections.showRow(self.form, rows["firstSegmentation"], started and parameters.start == "segmentation")
        for name in ("low", "high"):
            sections.showRow(self.form, rows[name], started and parameters.start == "threshold")


class DiffusionSegmentTest(ScriptedLoadableModuleTest):
    """What can be tried inside Slicer: the crop of Sample Data, the fast preset."""

    def setUp(self) -> None:
        """An empty scene."""
        slicer.mrmlScene.Clear()

    def runTest(self) -> None:
        """All tests."""
        self.setUp()
        self.test_refusal()
        self.setUp()
        self.test_segmentation()

    def test_refusal(self) -> None:
        """Without an input a sentence says so, and nothing is made."""
        self.delayDisplay("Starting the test")
        before = slicer.mrmlScene.GetNumberOfNodes()
        with self.assertRaises(ValueError):
            DiffusionSegmentLogic().process(None)
        self.assertEqual(slicer.mrmlScene.GetNumberOfNodes(), before)

    def test_segmentation(self) -> None:
        """The segments of the model, on the grid of the crop."""
        models = [model for model in catalogue.models(DiffusionSegmentLogic.TASK) if len(model.channels) == 1]
        if not models:
            self.delayDisplay("No model for segmentation is installed: nothing to test")
            return
        from MedDiffusionLib.samples import loadPhantom

        volume = loadPhantom("Hippocampus")
        made = DiffusionSegmentLogic().process(volume, model=models[0].id, preset="fast", samples=2)
        found = made["labels"].GetSegmentation()
        names = [found.GetSegment(one).GetName() for one in found.GetSegmentIDs()]
        self.assertEqual(names, [segment.name for segment in models[0].segments])
        self.assertEqual(made["probability"].GetImageData().GetDimensions(), volume.GetImageData().GetDimensions())
        self.assertEqual(made["probability"].GetSpacing(), volume.GetSpacing())
        self.assertLessEqual(slicer.util.arrayFromVolume(made["probability"]).max(), 1.001)
        self.delayDisplay("Test passed")
