"""Sentences in the user's language, for modules that must also work where there is no Slicer."""

from __future__ import annotations

import sys


def _(text: str) -> str:
    """The text as Slicer translates it; as it is where Slicer is not running."""
    i18n = sys.modules.get("slicer.i18n")
    return text if i18n is None else i18n.tr(text)


# Which method of anomaly detection to take, by what `meddiff bench anomaly` has measured: shown below the methods.
ANOMALY_ADVICE = (
    "Start with restoration, and with diffusion contrast on T1 and T2: they were the best on the test patient. On "
    "FLAIR the intensity threshold, which needs no network, does nearly as well. They have learnt what lesions of "
    "white matter look like; for other findings compare with the denoising autoencoder, one pass of a network, and "
    "AnoDDPM: they have seen healthy brains alone."
)

# The same of segmentation.
SEGMENT_ADVICE = (
    "The implicit ensemble draws whole segmentations, and where they differ is where it is not sure. PD-DDPM does so "
    "in half the time: it starts from a first segmentation, of the model's own network or yours. The U-Net takes one "
    "pass, and on the hippocampus its overlap is better than theirs (Dice 0.874 against 0.863 and 0.865); their "
    "probabilities come true more often. MedSegDiff is the best calibrated of all (Dice 0.870), and the slowest."
)

# The same of registration.
REGISTER_ADVICE = (
    "DiffuseMorph makes one latent of both images and scales it: a path between them comes with the transform. "
    "VoxelMorph is the same deformation network without the diffusion: on the hippocampus its overlap is as good (Dice "
    "0.778 against 0.776; 0.689 after the affine map alone). Best goes on with some steps of "
    "optimisation for this pair alone, which takes longer (Dice 0.785 and 0.786). Both want images of what the model "
    "was trained on."
)
