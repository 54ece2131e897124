"""Translation as a panel sees it: volumes and what each of them shows, and which contrast is wanted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from slicer.i18n import tr as _

from ..cards import ModelInfo
from ..roles import TABLE, InputRole, OutputRole

CHANNELS = ("inputVolume", "inputVolume2", "inputVolume3")
CONTRASTS = ("contrast", "contrast2", "contrast3")  # of each channel


def inputs() -> tuple[InputRole, ...]:
    """Volumes of one place, and perhaps the true one."""
    volume = _("The volume to translate, and what it shows; the result lies on its grid")
    other = _("A further contrast of the same place, on any grid, under any transform: it makes the result surer")
    truth = _("A volume in the wanted contrast, which the result is compared with")
    more: dict[str, Any] = {"optional": True, "beside": True}
    return (
        InputRole("volume", CHANNELS[0], _("Volume"), volume),
        *(
            InputRole(f"volume{k}", name, _("Volume {number}").format(number=k), other, **more)
            for k, name in enumerate(CHANNELS[1:], start=2)
        ),
        InputRole("reference", "reference", _("Reference"), truth, none=_("None"), **more),
    )


def outputs() -> tuple[OutputRole, ...]:
    """The volume in the other contrast, and where it is unsure."""
    image = _("The mean of the samples, in the units of the volume that was translated")
    spread = _("Where the samples differ: their standard deviation. It does not tell what all of them have wrong")
    sample = _("One of the samples: as sharp as an image is, where the mean is smooth")
    figures = _("PSNR and SSIM against the reference, where there is one")
    return (
        OutputRole("translated", "outputVolume", _("Translated"), image, always=True),
        OutputRole("uncertainty", "outputUncertainty", _("Uncertainty"), spread, display="uncertainty"),
        OutputRole("sample", "outputSample", _("One sample"), sample, wanted=False),
        OutputRole("figures", "outputFigures", _("Figures"), figures, TABLE, ""),
    )


def rows(model: ModelInfo | None) -> int:
    """How many volumes a model can be given: one contrast is left to be made."""
    return 1 if model is None else min(max(len(model.labels) - 1, 1), len(CHANNELS))


def problems(arguments: Mapping[str, Any], model: ModelInfo | None) -> list[str]:
    """What is not told yet, or cannot be; a sentence each."""
    if model is None:
        return []
    found, names = [], []
    for role, contrast in zip(inputs(), CONTRASTS, strict=False):
        node, name = arguments[role.parameter], arguments[contrast]
        if node is not None and name is None:
            found.append(_("Say what “{title}” shows.").format(title=role.title))
        elif node is None and name is not None:
            found.append(_("There is no “{title}” that could show {contrast}.").format(title=role.title, contrast=name))
        names += [name] if name is not None else []
    if arguments[CHANNELS[2]] is not None and arguments[CHANNELS[1]] is None:
        found.append(_("Choose “Volume 2” before “Volume 3”."))
    nodes = [arguments[channel] for channel in CHANNELS if arguments[channel] is not None]
    if len({node.GetID() for node in nodes}) < len(nodes):
        found.append(_("The same volume was chosen twice; each contrast is a volume of its own."))
    target = arguments["target"]
    if target is None:
        found.append(_("Choose the contrast that is wanted."))
    names += [target] if target is not None else []
    for name in dict.fromkeys(names):
        if name not in model.labels:
            text = _("The model “{model}” does not know “{what}”; it knows {known}.")
            found.append(text.format(model=model.id, what=name, known=", ".join(model.labels)))
    if len({*names}) < len(names):
        text = _("{names}: choose each contrast once; the last is the one that is wanted.")
        found.append(text.format(names=", ".join(names)))
    return found


def remark(figures: Mapping[str, float]) -> str:
    """How near a reference the mean of the samples came; empty without one."""
    if "psnr_translated" not in figures:
        return ""
    text = _("Against the reference: PSNR {psnr:.1f} dB, SSIM {ssim:.3f}.")
    return text.format(psnr=figures["psnr_translated"], ssim=figures["ssim_translated"])
