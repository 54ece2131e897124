"""Diffusion Anomaly: what is unusual in a volume, by the healthy image that a generative diffusion model sees in it."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import slicer
from slicer import (
    vtkMRMLLabelMapVolumeNode,
    vtkMRMLNode,
    vtkMRMLScalarVolumeNode,
    vtkMRMLSegmentationNode,
    vtkMRMLTableNode,
)
from slicer.i18n import tr as _
from slicer.i18n import translate
from slicer.parameterNodeWrapper import parameterNodeWrapper
from slicer.ScriptedLoadableModule import ScriptedLoadableModule, ScriptedLoadableModuleTest

from MedDiffusionLib import catalogue, detection, sections, suitability, words
from MedDiffusionLib.batch import BatchLogic
from MedDiffusionLib.bindings import fill
from MedDiffusionLib.choices import call_arguments
from MedDiffusionLib.detection import OPTIONS
from MedDiffusionLib.lesiontable import LesionTable
from MedDiffusionLib.roles import CommonParameters, InputRole, OutputRole
from MedDiffusionLib.widget import DiffusionWidget

Labels = vtkMRMLLabelMapVolumeNode | vtkMRMLSegmentationNode


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
    brainMask - a label map or a segmentation of the brain; without one it is found.
    referenceLesions - a label map or a segmentation of the lesions, which the result is compared with.
    contrast - a label of the model, such as FLAIR; empty if the model is to find it.
    plane - the slices that are judged, one by one.
    polarity - what counts as unusual: "any", "brighter" or "darker".
    threshold - where a lesion begins: "healthy", "otsu", or "fixed", which is the `level`.
    minimumVolume - of a lesion, in mm3.
    smoothing - of the map, in mm; below 0 as the model was measured on healthy tissue.
    structural - how much of the map counts only where structure differs, 0 to 1.
    """

    samples: int = 2
    wanted: str = "anomaly,lesions,table,uncertainty,figures"
    inputVolume: vtkMRMLScalarVolumeNode
    brainMask: vtkMRMLNode
    referenceLesions: vtkMRMLNode
    contrast: str = ""
    plane: str = "axial"
    polarity: str = "any"
    threshold: str = "healthy"
    level: float = 0.3
    minimumVolume: float = 10.0
    smoothing: float = -0.25
    structural: float = 0.0
    outputHealthy: vtkMRMLScalarVolumeNode
    outputAnomaly: vtkMRMLScalarVolumeNode
    outputLesions: vtkMRMLSegmentationNode
    outputTable: vtkMRMLTableNode
    outputUncertainty: vtkMRMLScalarVolumeNode
    outputFigures: vtkMRMLTableNode


class DiffusionAnomalyLogic(BatchLogic):
    """Anomaly detection without a window."""

    TASK = "anomaly"
    EACH = {"brainMasks": "brainMask", "referenceLesions": "referenceLesions"}
    ParameterNode = DiffusionAnomalyParameterNode

    def process(
        self,
        inputVolume: vtkMRMLScalarVolumeNode | None,
        *,
        brainMask: Labels | None = None,
        referenceLesions: Labels | None = None,
        model: str = "",
        method: str = "",
        preset: str = "balanced",
        parameters: Mapping[str, Any] | None = None,
        contrast: str | None = None,
        plane: str = "axial",
        polarity: str = "any",
        threshold: str = "healthy",
        level: float | None = None,
        minimumVolume: float = 10.0,
        smoothing: float | None = None,
        structural: float = 0.0,
        samples: int = 2,
        seed: int = 0,
        device: str = "auto",
        batch: int = 8,
        wanted: Sequence[str] | None = None,
        outputHealthy: vtkMRMLScalarVolumeNode | None = None,
        outputAnomaly: vtkMRMLScalarVolumeNode | None = None,
        outputLesions: vtkMRMLSegmentationNode | None = None,
        outputTable: vtkMRMLTableNode | None = None,
        outputUncertainty: vtkMRMLScalarVolumeNode | None = None,
        outputFigures: vtkMRMLTableNode | None = None,
        showResult: bool = False,
        onEvent: Callable[[dict[str, Any]], None] | None = None,
    ) -> dict[str, Any]:
        """
        Map what is unusual in a brain, and list it. Blocks until the results are there.

        Can be used without GUI widget.
        :param inputVolume: the volume to look at
        :param brainMask: a label map or a segmentation of the brain; without one it is found, which needs an image
            without a skull
        :param referenceLesions: a label map or a segmentation of the true lesions: makes the output "figures"
        :param model: id of an installed model, or its folder; empty takes the first that fits the task
        :param method: name of a method, as `meddiff methods` lists them; empty takes the first that fits the model
        :param preset: "fast", "balanced" or "best"
        :param parameters: settings of the method in place of the preset's
        :param contrast: what the image shows, a label of the model such as "FLAIR"; None lets the model find it
        :param plane: "axial", "coronal" or "sagittal": the slices that are judged, one by one
        :param polarity: what counts as unusual: "any", "brighter" or "darker" than the healthy image
        :param threshold: where a lesion begins: "healthy" (above what the model measured on healthy tissue), "otsu", or
            "fixed" (above `level`)
        :param level: the fixed threshold, in the units of the map; goes with threshold="fixed" only
        :param minimumVolume: smaller lesions are left out, mm3
        :param smoothing: standard deviation of the Gaussian that smooths the map, mm; None is that of the model
        :param structural: 0 to 1, how much of the map counts only where the structure differs, too
        :param samples: healthy images to take mean and spread of
        :param seed: the same seed gives the same voxels
        :param device: "auto", "cpu", "cuda", "cuda:1", ...
        :param batch: slices at a time; halved when memory runs out
        :param wanted: outputs to make beside "healthy": "anomaly", "lesions", "table", "uncertainty", "figures"; None
            makes all
        :param outputHealthy: node to fill, as the other outputs; a new one is made if it is not given
        :param showResult: show the result in the slice views, if there are any
        :param onEvent: called with the worker's events: progress, preview, warning
        :return: the output nodes by name; in "table", r_mm, a_mm and s_mm are RAS in the world
        :raises BadInput: the input, or a setting, cannot be used, or no method or model for this task is installed
        :raises JobFailed: the worker could not finish
        """
        return self.run(self.withDefaults(call_arguments(locals())), show=showResult, onEvent=onEvent)

    # What the task is

    def inputs(self) -> tuple[InputRole, ...]:
        """The volume, and perhaps where its brain and its lesions are."""
        return detection.inputs()

    def outputs(self) -> tuple[OutputRole, ...]:
        """The healthy image, and how the volume differs from it."""
        return detection.outputs()

    def requirement(self) -> str:
        """What the task needs to be ready."""
        return _("No method for anomaly detection is installed; install the extension MedDiffusion again.")

    def advice(self) -> str:
        """Which method to take."""
        return _(words.ANOMALY_ADVICE)

    # From the panel to a job

    def arguments(self, parameterNode: Any) -> dict[str, Any]:
        """The arguments of `process` that the panel's parameters stand for."""
        found = super().arguments(parameterNode)
        found |= {name: getattr(parameterNode, name) for name in OPTIONS.values()}
        found["contrast"] = found["contrast"] or None
        found["level"] = found["level"] if found["threshold"] == "fixed" else None
        found["smoothing"] = found["smoothing"] if found["smoothing"] >= 0 else None
        return found

    def options(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """The options of the job."""
        return super().options(arguments) | {option: arguments[name] for option, name in OPTIONS.items()}

    def missingInputs(self, arguments: Mapping[str, Any]) -> list[str]:
        """What is to be chosen, and what of the volume shows that it is no MR image of a brain."""
        found = super().missingInputs(arguments)
        if (arguments["threshold"] == "fixed") != (arguments["level"] is not None):
            found.append(_("A level goes with the threshold “fixed”, and with no other."))
        return found + ([] if found else self._unfit(arguments))

    def _unfit(self, arguments: Mapping[str, Any]) -> list[str]:
        """Why no brain can be looked at in the volume; a sentence, or none."""
        volume, masked = arguments["inputVolume"], arguments["brainMask"] is not None
        words = suitability.complaint(volume, arguments["model"], arguments["plane"], masked)
        return [words[:1].upper() + words[1:] + "."] if words else []

    def warning(self, arguments: Mapping[str, Any]) -> str | None:
        """Why the result will be of little use: what the model was not made for, or a skull in view."""
        if arguments["inputVolume"] is None or super().missingInputs(arguments):
            return None
        if unfit := self._unfit(arguments):
            return " ".join(unfit)
        skull = arguments["brainMask"] is None and suitability.has_skull(arguments["inputVolume"], arguments["plane"])
        found = (super().warning(arguments), suitability.skull_warning() if skull else None)
        return " ".join(filter(None, found)) or None


class DiffusionAnomalyWidget(DiffusionWidget):
    """The panel: what all tasks share, how lesions are told from the map, and a list of them."""

    Logic = DiffusionAnomalyLogic

    def buildInputs(self, form: Any) -> dict[str, Any]:
        """Volume, brain mask, what the image shows, and a reference."""
        volume, mask, truth = self.logic.inputs()
        rows = {role.parameter: sections.inputRow(form, role, self.bindings) for role in (volume, mask)}
        about = _("What the image shows; the model knows these kinds")
        rows["contrast"] = sections.choiceRow(form, self.bindings, "contrast", _("Contrast"), about)
        about = _("The slices that are judged, one by one; those that the model was trained on are best")
        rows["plane"] = sections.choiceRow(form, self.bindings, "plane", _("Slices"), about)
        fill(rows["plane"], [(_("Axial"), "axial"), (_("Coronal"), "coronal"), (_("Sagittal"), "sagittal")])
        rows[truth.parameter] = sections.inputRow(form, truth, self.bindings)
        return rows

    def buildOptions(self, layout: Any) -> tuple[Any, ...]:
        """The section Detection."""
        self.detection = detection.section(layout, self.bindings)
        return (self.detection.form,)

    def buildResults(self) -> Any:
        """The lesions that were found."""
        self.lesions = LesionTable()
        return self.lesions.widget

    def prepare(self) -> None:
        """The contrasts that the model knows."""
        super().prepare()
        chosen = self._parameterNode.contrast
        model = self.logic.model(self._parameterNode.model)
        labels = [] if model is None else list(model.labels)
        labels += [chosen] if chosen and chosen not in labels else []
        fill(self.ui.inputs["contrast"], [(_("Found by the model"), ""), *((label, label) for label in labels)])

    def refresh(self) -> None:
        """The level is asked for with a fixed threshold; the lesions are those of the table that is chosen."""
        super().refresh()
        parameters = self._parameterNode
        if parameters is None:
            return
        sections.showRow(self.detection.form, self.detection.level, parameters.threshold == "fixed")
        self.lesions.show(parameters.outputTable, parameters.outputLesions)


class DiffusionAnomalyTest(ScriptedLoadableModuleTest):
    """What can be tried inside Slicer: a phantom with a lesion that needs no network, a few slices, the fast preset."""

    def setUp(self) -> None:
        """An empty scene."""
        slicer.mrmlScene.Clear()

    def runTest(self) -> None:
        """All tests."""
        self.setUp()
        self.test_refusal()
        self.setUp()
        self.test_detection()

    def test_refusal(self) -> None:
        """Without an input a sentence says so, and nothing is made."""
        self.delayDisplay("Starting the test")
        before = slicer.mrmlScene.GetNumberOfNodes()
        with self.assertRaises(ValueError):
            DiffusionAnomalyLogic().process(None)
        self.assertEqual(slicer.mrmlScene.GetNumberOfNodes(), before)

    def test_detection(self) -> None:
        """The map of a phantom with a lesion lies where the phantom lies, and so does the list of lesions."""
        if not catalogue.models(DiffusionAnomalyLogic.TASK):
            self.delayDisplay("No model for anomaly detection is installed: nothing to test")
            return
        import SampleData

        volume = SampleData.downloadSample("MedDiffusionPhantomFLAIRLesion")
        voxels = slicer.util.arrayFromVolume(volume)
        voxels[:92], voxels[96:] = 0, 0  # slices without an image take no time
        slicer.util.arrayFromVolumeModified(volume)
        made = DiffusionAnomalyLogic().process(volume, preset="fast", samples=1, contrast="FLAIR")
        self.assertEqual(made["anomaly"].GetImageData().GetDimensions(), volume.GetImageData().GetDimensions())
        self.assertEqual(made["anomaly"].GetSpacing(), volume.GetSpacing())
        self.assertGreaterEqual(slicer.util.arrayFromVolume(made["anomaly"]).min(), 0)
        segments = made["lesions"].GetSegmentation().GetNumberOfSegments()
        self.assertEqual(made["table"].GetNumberOfRows(), segments)
        self.delayDisplay("Test passed")
