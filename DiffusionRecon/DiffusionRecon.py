"""Diffusion Recon: volumes from undersampled MRI data, with their uncertainty, by generative diffusion models."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import qt
import slicer
from slicer import vtkMRMLScalarVolumeNode, vtkMRMLTableNode
from slicer.i18n import tr as _
from slicer.i18n import translate
from slicer.parameterNodeWrapper import parameterNodeWrapper
from slicer.ScriptedLoadableModule import ScriptedLoadableModule, ScriptedLoadableModuleTest

from MedDiffusionLib import sections
from MedDiffusionLib.acquisition import is_size, recordedGroup, simulatedGroup, voxelSize
from MedDiffusionLib.bindings import fill
from MedDiffusionLib.choices import call_arguments
from MedDiffusionLib.logic import DiffusionLogic
from MedDiffusionLib.roles import TABLE, CommonParameters, InputRole, OutputRole
from MedDiffusionLib.widget import DiffusionWidget

KSPACE_FILES = ("*.h5", "*.hdf5", "*.npz", "*.npy")
UNDERSAMPLING = {"pattern": "pattern", "acceleration": "acceleration", "mask_seed": "maskSeed"}  # option: argument
SIMULATED = {"plane": "plane", **UNDERSAMPLING, "coils": "coils", "noise": "noise"}
RECORDED = {"phase": "phase", "turn": "turn", "resolution": "resolution"}
SEEN = ("contrast", "undersample", *SIMULATED.values(), *RECORDED.values())  # parameters that are arguments as they are


class DiffusionRecon(ScriptedLoadableModule):
    """The module as Slicer lists it."""

    def __init__(self, parent: Any) -> None:
        ScriptedLoadableModule.__init__(self, parent)
        parent.title = _("Diffusion Recon")
        parent.categories = [translate("qSlicerAbstractCoreModule", "Image Synthesis")]
        parent.dependencies = ["MedDiffusion"]
        parent.contributors = ["The MedDiffusion contributors"]
        parent.helpText = _(
            "Reconstructs undersampled MRI with a generative diffusion model (not diffusion MRI), and shows how "
            "uncertain each voxel is. The input is a loaded volume, which is undersampled in retrospect, or a file of "
            "raw k-space. For research, not for diagnosis."
        )
        parent.acknowledgementText = _("Each method cites its paper in the panel; each model cites its training data.")


@parameterNodeWrapper
class DiffusionReconParameterNode(CommonParameters):
    """
    The parameters of the module, beside those of all tasks.

    inputKind - what is reconstructed: "volume", a loaded volume, or "kspace", a file.
    inputVolume, kspaceFile - the one or the other.
    referenceVolume - what the result is compared with.
    contrast - a label of the model, such as T1; empty if it is not told.
    plane - the slices that are reconstructed, one by one.
    pattern, acceleration, coils, noise, maskSeed - how the volume is undersampled.
    undersample - whether pattern, acceleration and maskSeed take samples away from a file, too.
    turn, voxelSize, resolution, phase - what a file does not say; a resolution of 0 is as measured.
    """

    wanted: str = "reconstruction,uncertainty,residual,figures"
    inputKind: str = "volume"
    inputVolume: vtkMRMLScalarVolumeNode
    kspaceFile: str = ""
    referenceVolume: vtkMRMLScalarVolumeNode
    contrast: str = ""
    plane: str = "axial"
    pattern: str = "cartesian-random"
    acceleration: float = 4.0
    coils: int = 1
    noise: float = 0.0
    maskSeed: int = 0
    undersample: bool = False
    turn: str = "none"
    voxelSize: str = ""
    resolution: float = 0.0
    phase: float = 0.1
    outputReconstruction: vtkMRMLScalarVolumeNode
    outputUncertainty: vtkMRMLScalarVolumeNode
    outputResidual: vtkMRMLScalarVolumeNode
    outputZeroFilled: vtkMRMLScalarVolumeNode
    outputFigures: vtkMRMLTableNode


class DiffusionReconLogic(DiffusionLogic):
    """Reconstruction without a window."""

    TASK = "reconstruct"
    ParameterNode = DiffusionReconParameterNode

    def process(
        self,
        inputVolume: vtkMRMLScalarVolumeNode | None = None,
        *,
        kspaceFile: str = "",
        referenceVolume: vtkMRMLScalarVolumeNode | None = None,
        model: str = "brain-mr",
        method: str = "pnp",
        preset: str = "balanced",
        parameters: Mapping[str, Any] | None = None,
        contrast: str | None = None,
        plane: str = "axial",
        pattern: str = "cartesian-random",
        acceleration: float = 4.0,
        coils: int = 1,
        noise: float = 0.0,
        maskSeed: int = 0,
        undersample: bool = False,
        turn: str = "none",
        voxelSize: Sequence[float] | None = None,
        resolution: float | None = None,
        phase: float = 0.1,
        samples: int = 4,
        seed: int = 0,
        device: str = "auto",
        batch: int = 8,
        wanted: Sequence[str] | None = None,
        outputReconstruction: vtkMRMLScalarVolumeNode | None = None,
        outputUncertainty: vtkMRMLScalarVolumeNode | None = None,
        outputResidual: vtkMRMLScalarVolumeNode | None = None,
        outputZeroFilled: vtkMRMLScalarVolumeNode | None = None,
        outputFigures: vtkMRMLTableNode | None = None,
        showResult: bool = False,
        onEvent: Callable[[dict[str, Any]], None] | None = None,
    ) -> dict[str, Any]:
        """
        Reconstruct a volume from a part of its k-space, or a file of raw k-space. Blocks until the results are there.

        Can be used without GUI widget.
        :param inputVolume: the volume to undersample and reconstruct; or give `kspaceFile`
        :param kspaceFile: raw k-space: fastMRI or ISMRMRD HDF5 (.h5), or .npz and .npy
        :param referenceVolume: what to compare with; without it the input volume itself, where there is one
        :param model: id of an installed model, or its folder
        :param method: name of a method, as `meddiff methods` lists them
        :param preset: "fast", "balanced" or "best"
        :param parameters: settings of the method in place of the preset's
        :param contrast: what the image shows, a label of the model such as "T1"; None if it is not told
        :param plane: "axial", "coronal" or "sagittal": the slices that are reconstructed, one by one
        :param pattern: "cartesian-random", "cartesian-equispaced", "poisson-disc" or "radial"
        :param acceleration: keep one part of k-space in so many
        :param coils: simulated receiver coils
        :param noise: standard deviation of the noise of k-space, relative to the brightest tissue
        :param maskSeed: seed of the sampling mask, the coils and the noise
        :param undersample: take samples away from `kspaceFile`, too, as pattern, acceleration and maskSeed say
        :param turn: turns the image of `kspaceFile` upright: "none", "left", "half" or "right"
        :param voxelSize: (x, y, z) mm, where `kspaceFile` does not tell it
        :param resolution: in-plane voxels of so many mm, where `kspaceFile` has finer ones
        :param phase: how far the phase of `kspaceFile` strays from a smooth one: standard deviation in rad
        :param samples: posterior samples to take mean and spread of
        :param seed: the same seed gives the same voxels
        :param device: "auto", "cpu", "cuda", "cuda:1", ...
        :param batch: slices at a time; halved when memory runs out
        :param wanted: outputs to make: "reconstruction", "uncertainty", "residual", "zero-filled", "figures";
            None makes all but "zero-filled"
        :param outputReconstruction: node to fill, as the other outputs; a new one is made if it is not given
        :param showResult: show the result in the slice views, if there are any
        :param onEvent: called with the worker's events: progress, preview, warning
        :return: the output nodes by name
        :raises BadInput: the input, or a setting, cannot be used
        :raises JobFailed: the worker could not finish
        """
        return self.run(call_arguments(locals()), show=showResult, onEvent=onEvent)

    def inputs(self) -> tuple[InputRole, ...]:
        """A volume or a file, and perhaps a reference."""
        volume = _("The volume that is undersampled in retrospect and reconstructed")
        kspace = _(
            "Raw k-space: fastMRI or ISMRMRD HDF5 (.h5), or an array kspace [slice, coil, ky, kx] in .npz or .npy"
        )
        reference = _("What the result is compared with: PSNR, SSIM and NMSE go to a table")
        return (
            InputRole("volume", "inputVolume", _("Volume"), volume, optional=True, none=_("Choose a volume")),
            InputRole("kspace", "kspaceFile", _("K-space"), kspace, nodeTypes=(), filters=KSPACE_FILES, optional=True),
            InputRole("reference", "referenceVolume", _("Reference"), reference, optional=True),
        )

    def outputs(self) -> tuple[OutputRole, ...]:
        """The reconstruction and what tells how good it is."""
        main = _("The mean of the samples")
        spread = _("The standard deviation of the samples: where they differ, the data do not decide")
        residual = _("What of the measured data the reconstruction does not explain, as an image")
        zero = _("The image without a model: what was not measured is taken as zero")
        figures = _("PSNR, SSIM and NMSE against the reference, or else against the input volume")
        return (
            OutputRole("reconstruction", "outputReconstruction", _("Reconstruction"), main, always=True),
            OutputRole("uncertainty", "outputUncertainty", _("Uncertainty"), spread, display="uncertainty"),
            OutputRole("residual", "outputResidual", _("Residual"), residual, display="residual"),
            OutputRole("zero-filled", "outputZeroFilled", _("Zero-filled"), zero, wanted=False),
            OutputRole("figures", "outputFigures", _("Figures"), figures, nodeClass=TABLE, display=""),
        )

    def requirement(self) -> str:
        """What the task needs to be ready."""
        return _("No method for reconstruction is installed; install the extension MedDiffusion again.")

    def arguments(self, parameterNode: Any) -> dict[str, Any]:
        """The arguments of `process` that the panel's parameters stand for."""
        found = super().arguments(parameterNode) | {name: getattr(parameterNode, name) for name in SEEN}
        found["contrast"], found["resolution"] = found["contrast"] or None, found["resolution"] or None
        found["voxelSize"] = voxelSize(parameterNode.voxelSize)
        if parameterNode.inputKind == "kspace":
            found["inputVolume"] = None
        else:
            found["kspaceFile"] = ""
        return found

    def missingInputs(self, arguments: Mapping[str, Any]) -> list[str]:
        """One of the two inputs, and one only."""
        volume, file = arguments["inputVolume"], arguments["kspaceFile"]
        found = super().missingInputs(arguments)
        if volume is None and not file:
            found.insert(0, _("Choose a volume, or a file of raw k-space."))
        if volume is not None and file:
            found.insert(0, _("Choose a volume or a file of raw k-space, not both."))
        if arguments["voxelSize"] is not None and not is_size(arguments["voxelSize"]):
            text = _("The voxel size “{text}” is not three numbers in mm, such as 0.7 0.7 5.0.")
            found.append(text.format(text=arguments["voxelSize"]))
        return found

    def source(self, arguments: Mapping[str, Any]) -> Any:
        """The volume; a reconstruction from a file belongs to no node."""
        return arguments["inputVolume"]

    def options(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """The options of the job: those of a simulated scan, or those of recorded data."""
        names = {"contrast": "contrast"}
        if not arguments["kspaceFile"]:
            names |= SIMULATED
        else:
            names |= RECORDED | (UNDERSAMPLING if arguments["undersample"] else {})
        found = super().options(arguments) | {option: arguments[name] for option, name in names.items()}
        if arguments["kspaceFile"] and is_size(arguments["voxelSize"]):
            found |= dict(zip(("spacing_x", "spacing_y", "spacing_z"), map(float, arguments["voxelSize"]), strict=True))
        return found


class DiffusionReconWidget(DiffusionWidget):
    """The panel: what all tasks share, and how the data are measured."""

    Logic = DiffusionReconLogic

    def buildInputs(self, form: Any) -> dict[str, Any]:
        """Volume or file, reference, what the image shows, and the simulated acquisition."""
        self.kinds = {"volume": qt.QRadioButton(_("Loaded volume")), "kspace": qt.QRadioButton(_("Raw k-space file"))}
        self.kinds["volume"].setToolTip(_("Undersample a volume of the scene, as a faster scan would have done"))
        self.kinds["kspace"].setToolTip(_("Reconstruct what a scanner has measured"))
        about = _("What is reconstructed")
        sections.row(form, _("From"), sections.beside(*self.kinds.values(), stretch=True), about)
        self.bindings.radio("inputKind", self.kinds)
        volume, kspace, reference = self.logic.inputs()
        rows = {role.parameter: sections.inputRow(form, role, self.bindings) for role in (volume, kspace)}
        about = _("What the image shows; the model knows these kinds")
        rows["contrast"] = sections.choiceRow(form, self.bindings, "contrast", _("Contrast"), about)
        about = _("The slices that are reconstructed, one by one; those that the model was trained on are best")
        rows["plane"] = sections.choiceRow(form, self.bindings, "plane", _("Slices"), about)
        planes = [(_("Axial"), "axial"), (_("Coronal"), "coronal"), (_("Sagittal"), "sagittal")]
        fill(rows["plane"], planes)
        rows[reference.parameter] = sections.inputRow(form, reference, self.bindings)
        self.recorded = recordedGroup(form, self.bindings)
        self.simulated = simulatedGroup(form, self.bindings)
        self.inputForm = form
        return rows | vars(self.recorded) | vars(self.simulated)

    def nestedForms(self) -> tuple[Any, ...]:
        """Those of the recorded data and the simulated acquisition."""
        return self.recorded.form, self.simulated.form

    def prepare(self) -> None:
        """The contrasts that the model knows."""
        super().prepare()
        chosen = self._parameterNode.contrast
        model, _recipe = self.logic.chosen(self.logic.arguments(self._parameterNode))
        labels = [] if model is None else list(model.labels)
        labels += [chosen] if chosen and chosen not in labels else []
        fill(self.ui.inputs["contrast"], [(_("Not told"), ""), *((label, label) for label in labels)])

    def refresh(self) -> None:
        """Rows of the other kind of input are hidden."""
        super().refresh()
        if self._parameterNode is None:
            return
        parameters, simulated = self._parameterNode, self.simulated
        fromFile = parameters.inputKind == "kspace"
        for parameter in ("inputVolume", "plane"):
            sections.showRow(self.inputForm, self.ui.inputs[parameter], not fromFile)
        sections.showRow(self.inputForm, self.ui.inputs["kspaceFile"], fromFile)
        self.recorded.group.setVisible(fromFile)
        sections.showRow(simulated.form, simulated.undersample, fromFile)
        for widget in (simulated.coils, simulated.noise):
            sections.showRow(simulated.form, widget, not fromFile)
        for widget in (simulated.pattern, simulated.acceleration, simulated.maskSeed):
            sections.showRow(simulated.form, widget, parameters.undersample or not fromFile)


class DiffusionReconTest(ScriptedLoadableModuleTest):
    """What can be tried inside Slicer: a phantom that needs no network, a few slices, a few steps."""

    def setUp(self) -> None:
        """An empty scene."""
        slicer.mrmlScene.Clear()

    def runTest(self) -> None:
        """All tests."""
        self.setUp()
        self.test_refusal()
        self.setUp()
        self.test_reconstruction()

    def test_refusal(self) -> None:
        """Without an input, a sentence says so, and nothing is made."""
        with self.assertRaises(ValueError):
            DiffusionReconLogic().process()
        self.assertEqual(slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLScalarVolumeNode"), 0)

    def test_reconstruction(self) -> None:
        """Two slices of a phantom come back in their own place, nearer to the truth than zero-filled."""
        self.delayDisplay("Starting the test")
        import SampleData

        volume = SampleData.downloadSample("MedDiffusionPhantomT1")
        voxels = slicer.util.arrayFromVolume(volume)
        voxels[:71], voxels[73:] = 0, 0  # slices without an image take no time
        slicer.util.arrayFromVolumeModified(volume)
        made = DiffusionReconLogic().process(volume, preset="fast", samples=2, parameters={"steps": 4}, contrast="T1")
        image, figures = made["reconstruction"], made["figures"].GetTable()
        self.assertEqual(image.GetImageData().GetDimensions(), volume.GetImageData().GetDimensions())
        self.assertEqual(image.GetSpacing(), volume.GetSpacing())
        self.assertIn("uncertainty", made)
        psnr = {figures.GetColumnName(k): figures.GetValue(0, k).ToDouble() for k in (1, 2)}
        self.assertGreater(psnr["reconstruction"], psnr["zero-filled"])
        self.delayDisplay("Test passed")
