"""Sentences in the user's language, for modules that must also work where there is no Slicer."""

from __future__ import annotations

import sys


def _(text: str) -> str:
    """The text as Slicer translates it; as it is where Slicer is not running."""
    i18n = sys.modules.get("slicer.i18n")
    return text if i18n is None else i18n.tr(text)


# Which method of anomaly detection to take, by what `meddiff bench anomaly` has measured: shown below the methods.
ANOMALY_ADVICE = (
    "Start with the denoising autoencoder: one pass of a network, the quickest, and hard to beat where lesions are "
    "bright. The diffusion methods take longer and show how certain they are; the intensity threshold needs no network."
)

# The same of segmentation.
SEGMENT_ADVICE = (
    "The implicit ensemble draws whole segmentations, and where they differ is where it is not sure: start with it. "
    "PD-DDPM is quicker: it starts from a first segmentation, of the model's own network or yours. The U-Net takes one "
    "pass; how sure it is shows by what it makes of other views of the image."
)
