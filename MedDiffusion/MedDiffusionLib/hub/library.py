"""The shelf of models: what a person sees of each, and what has to be filled in before one can be installed."""

from __future__ import annotations

import importlib
import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import slicer
from slicer.i18n import tr as _

from meddiff.errors import BadInput
from meddiff.places import CARD, installed

from ..catalogue import ModelInfo, broken_models, models

SHA256 = r"[0-9a-fA-F]{64}"
SHIPPED = Path(__file__).resolve().parents[2] / "Resources" / "Models"
PANELS = {  # which module runs the models of a task
    "reconstruct": "DiffusionRecon",
    "segment": "DiffusionSegment",
    "register": "DiffusionRegister",
    "anomaly": "DiffusionAnomaly",
}
TABS = {  # and which logic of a tab of the hub
    "synthesise": "MedDiffusionSynthesise",
    "inpaint": "MedDiffusionInpaint",
    "translate": "MedDiffusionTranslate",
}


@dataclass(frozen=True)
class Entry:
    """A model folder: its card, or, where that cannot be read, what is wrong with it."""

    id: str
    folder: Path
    model: ModelInfo | None
    problem: str = ""

    @property
    def removable(self) -> bool:
        """Whether it was installed by the user; only such models can be removed."""
        return self.folder.parent == installed()

    @property
    def place(self) -> str:
        """Where it comes from, in two words."""
        if self.removable:
            return _("installed")
        return _("built in") if self.folder.parent == SHIPPED else _("MEDDIFF_MODELS")

    @property
    def row(self) -> tuple[str, ...]:
        """What the table shows: name, task, licence, place."""
        if self.model is None:
            return self.id, _("cannot be read"), "", self.place
        return self.model.name, self.model.task, self.model.licence, self.place


def shelf() -> list[Entry]:
    """Every model on this machine, by name; those that cannot be read last."""
    found = [Entry(model.id, model.folder, model) for model in models()]
    bad = [Entry(folder.name, folder, None, problem) for folder, problem in broken_models()]
    return [*sorted(found, key=lambda entry: entry.row[0].lower()), *bad]


def logic(name: str) -> Any:
    """The logic of a module, or of a tab, of that name, without its panel; raises BadInput for one that is not ours."""
    # A scene may come from anybody: what it names is run only if it is ours.
    tab = next((task for task, logic in TABS.items() if logic == name), "")
    if not tab and (name not in PANELS.values() or getattr(slicer.modules, name.lower(), None) is None):
        raise BadInput(_("The module {name} that ran this is not here.").format(name=name or _("(not told)")))
    module = importlib.import_module(f"{__package__}.{tab}" if tab else name)
    return getattr(module, f"{name}Logic")()


def panel(task: str) -> str:
    """The module, or the logic of the tab, that runs the models of a task; empty where none does."""
    return PANELS.get(task) or TABS.get(task, "")


def spacing(model: ModelInfo) -> str:
    """The voxel size that a model was made for."""
    return " x ".join(f"{value:g}" for value in model.spacing_mm) + " mm"


def size(count: float) -> str:
    """A number of bytes in words."""
    if not count:
        return _("nothing")
    for unit in ("bytes", "kB", "MB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "bytes" or count >= 10 else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} GB"


def facts(entry: Entry) -> Iterator[tuple[str, str]]:
    """What people ask about a model, in words."""
    model = entry.model
    if model is None:
        yield _("Problem"), entry.problem
        yield _("Folder"), str(entry.folder)
        return
    yield _("What it is"), model.summary
    yield _("Task"), model.task
    yield _("Images"), f"{model.anatomy} {model.modality}, {model.orientation}, {spacing(model)}"
    yield _("Contrasts"), ", ".join(model.labels) or _("none")
    yield _("Methods"), ", ".join(model.recipes)
    if model.parameters_count:
        yield _("Network"), _("{count:.1f} million parameters").format(count=model.parameters_count / 1e6)
    yield _("Trained on"), "; ".join(_data_sets(entry.folder)) or _("not told")
    yield _("Intended use"), model.intended_use
    yield _("Limitations"), model.limitations
    yield _("Licence"), model.licence
    yield _("Citation"), model.citation
    yield _("Identifier"), f"{model.id}, {_('version')} {model.version}"
    yield _("Size"), size(model.bytes)
    yield _("Folder"), str(entry.folder)


def _data_sets(folder: Path) -> Iterator[str]:
    """The data sets that the weights have seen, each with its licence."""
    try:
        data = json.loads((folder / CARD).read_text(encoding="utf-8"))["training"]["data"]
        yield from [f"{each['name']} ({each['licence']})" for each in data]
    except (OSError, ValueError, KeyError, TypeError):
        return


def as_html(entry: Entry) -> str:
    """The details of a model for a text browser: its facts, then how good it was measured to be."""
    rows = "".join(
        f"<tr><td><b>{escape(title)}</b>&nbsp;&nbsp;</td><td>{escape(text)}</td></tr>" for title, text in facts(entry)
    )
    text = f"<h3>{escape(entry.row[0])}</h3><table cellspacing='3'>{rows}</table>"
    return text + _quality(entry.model.quality if entry.model else ())


def _quality(rows: tuple[dict[str, Any], ...]) -> str:
    """The measured figures of a card as a table."""
    if not rows:
        return ""
    heads = (_("Data set"), _("Measure"), _("Value"))
    lines = ["<tr>" + "".join(f"<th align='left'>{escape(head)}&nbsp;&nbsp;</th>" for head in heads) + "</tr>"]
    for row in rows:
        values = (str(row.get("dataset", "")), str(row.get("metric", "")), f"{row.get('value', float('nan')):g}")
        lines.append("<tr>" + "".join(f"<td>{escape(value)}&nbsp;&nbsp;</td>" for value in values) + "</tr>")
    return f"<h4>{escape(_('Measured quality'))}</h4><table cellspacing='3'>{''.join(lines)}</table>"


def lacking(source: str, sha256: str) -> list[str]:
    """What is still to be filled in before a model can be installed from `source`, a sentence each."""
    source, sha256 = source.strip(), sha256.strip()
    if not source:
        return [_("Give a zip file, a folder, or an https address of a model.")]
    found = []
    if is_address(source):
        if urlsplit(source).scheme != "https":
            found.append(_("The address must begin with https://."))
        if not re.fullmatch(SHA256, sha256):
            found.append(_("Give the sha256 of the file: 64 hexadecimal digits, which its publisher tells."))
    else:
        if not os.path.exists(source):  # of a name that is too long, Path raises
            found.append(_("There is nothing at {source}.").format(source=source))
        if sha256 and not re.fullmatch(SHA256, sha256):
            found.append(_("A sha256 has 64 hexadecimal digits; leave it empty if you have none."))
    return found


def is_address(source: str) -> bool:
    """Whether a model is to be downloaded, not copied."""
    return "://" in source
