"""Models, methods, progress and results in words."""

from __future__ import annotations

import html
import re
from collections.abc import Mapping
from typing import Any

from slicer.i18n import tr as _

from .parameters import title
from .results import MEASURES, WHOLE, figures_rows

SHORT = {"psnr": ("PSNR", "{:.1f} dB"), "ssim": ("SSIM", "{:.3f}"), "nmse": ("NMSE", "{:.4f}")}


def model(info: Any) -> str:
    """What a model was made for, and on what terms."""
    if info is None:
        return ""
    spacing = " × ".join(f"{value:g}" for value in info.spacing_mm)
    facts = [info.modality, info.anatomy, _("{spacing} mm").format(spacing=spacing), info.licence]
    facts.append(_("{size} MB").format(size=f"{info.bytes / 1e6:.0f}"))
    return f"{html.escape(info.summary)}<br><small>{html.escape(' · '.join(facts))}</small>"


def method(recipe: Any) -> str:
    """What a method does, what it needs, and whom to cite; arXiv numbers are links."""
    if recipe is None:
        return ""
    link = r'<a href="https://arxiv.org/abs/\1">arXiv:\1</a>'
    paper = re.sub(r"arXiv:(\d{4}\.\d{4,5})", link, html.escape(recipe.paper))
    needs = _("Needs {what}.").format(what=recipe.needs)
    return f"{html.escape(recipe.summary)} {html.escape(needs)}<br><small>{paper}</small>"


def changed(parameters: Mapping[str, Any]) -> str:
    """What was set by hand, beside the preset."""
    if not parameters:
        return ""
    names = ", ".join(f"{title(name).lower()} = {value}" for name, value in parameters.items())
    back = f'<a href="preset">{_("back to the preset")}</a>'
    return f"<small>{_('Set by hand: {names}').format(names=html.escape(names))} ({back})</small>"


def progress(event: Mapping[str, Any]) -> str:
    """Where a job is, how fast, and when it will be done."""
    sentence = _("Step {step} of {of}, {rate} steps/s, {left} left")
    rate = event.get("steps_per_second", 0.0)
    left = duration(event.get("seconds_left", 0.0))
    return sentence.format(step=event["step"], of=event["of"], rate=f"{rate:.3g}", left=left)


def done(seconds: float, figures: Mapping[str, float]) -> str:
    """The end of a job: how long it took, and how good the result is where a reference says so."""
    sentence = _("Done in {time}.").format(time=duration(seconds))
    if "lesions" in figures:
        return f"{sentence} {_found(figures)}"
    images, rows = figures_rows(figures)
    if "reconstruction" not in images:
        return sentence
    parts = []
    for measure, values in rows:
        name, form = SHORT[measure]
        found = dict(zip(images, values, strict=True))
        before = found.get("zero-filled")
        part = f"{name} {form.format(found['reconstruction'])}"
        parts.append(part if before is None else f"{part} ({_('zero-filled')} {form.format(before)})")
    return f"{sentence} {', '.join(parts)}."


def _found(figures: Mapping[str, float]) -> str:
    """How many lesions, how large together, and how well they agree with a reference."""
    number, millilitres = round(figures["lesions"]), figures.get("lesion_volume_mm3", 0.0) / 1000
    if not number:
        sentence = _("No lesion was found.")
    elif number == 1:
        sentence = _("One lesion of {size:.2f} ml.").format(size=millilitres)
    else:
        sentence = _("{number} lesions of {size:.2f} ml together.").format(number=number, size=millilitres)
    images, rows = figures_rows(figures)
    told = [f"{MEASURES[measure]} {values[0]:.2f}" for measure, values in rows if images == [WHOLE]]
    return " ".join(
        [sentence, _("Against the reference: {figures}.").format(figures=", ".join(told))] if told else [sentence]
    )


def duration(seconds: float) -> str:
    """Seconds for people."""
    whole = max(0, round(seconds))
    if whole < 90:
        return _("{seconds} s").format(seconds=whole)
    if whole < 5400:
        return _("{minutes} min {seconds} s").format(minutes=whole // 60, seconds=whole % 60)
    return _("{hours} h {minutes} min").format(hours=whole // 3600, minutes=whole % 3600 // 60)
