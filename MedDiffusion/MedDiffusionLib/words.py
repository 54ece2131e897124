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
    "The implicit ensemble draws whole segmentations, and where they differ is where it is not sure: start with it. "
    "PD-DDPM is quicker: it starts from a first segmentation, of the model's own network or yours. The U-Net takes one "
    "pass; how sure it is shows by what it makes of other views of the image."
)
