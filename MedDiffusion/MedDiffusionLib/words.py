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

# The same of translation.
TRANSLATE_ADVICE = (
    "Translation draws what could be there. On the one patient of the test the mean of its samples was nearer to the "
    "truth than one pass of a U-Net of the same size from T1 to T2 and from T1 to FLAIR (23.4 and 23.2 dB against 21.5 "
    "and 22.3), and further away from T2 to T1 (21.6 against 22.5). The U-Net takes a sixtieth of the time. What no "
    "source shows is made up by both: a lesion can vanish, and one can appear."
)

# The same of inpainting.
INPAINT_ADVICE = (
    "RePaint draws something plausible, not what was there. On the test patient it came nearer to healthy tissue than "
    "a smooth fill in T2 (26.2 dB against 23.5), and a little in FLAIR (21.0 against 20.4) and T1 (21.5 against 21.2); "
    "it takes minutes where that takes none. Fast leaves more of a seam."
)
