"""The dialog that asks for what a MONAI bundle leaves out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import qt
from slicer.i18n import tr as _

from .. import sections


def ask(parent: Any, questions: Sequence[Mapping[str, str]]) -> dict[str, str] | None:
    """The answers by the names of the questions; None when it was cancelled. What the files of the bundle suggest
    stands in the fields, to be checked."""
    dialog = qt.QDialog(parent)
    dialog.setObjectName("bundleDialog")
    dialog.setWindowTitle(_("What the bundle leaves out"))
    form, fields = qt.QFormLayout(dialog), {}
    about = _(
        "The bundle does not say these, and nothing is guessed. What stands here already is what its files suggest."
    )
    form.addRow(sections.text("bundleAbout", about))
    for question in questions:
        field = qt.QLineEdit()
        field.setObjectName(f"bundle_{question['name']}")
        field.setText(question["hint"])
        field.setMinimumWidth(360)
        fields[question["name"]] = sections.row(form, question["title"], field, question["about"])
        form.addRow(sections.text(f"about_{question['name']}", question["about"]))
    buttons = qt.QDialogButtonBox(qt.QDialogButtonBox.Ok | qt.QDialogButtonBox.Cancel)
    buttons.connect("accepted()", dialog.accept)
    buttons.connect("rejected()", dialog.reject)
    form.addRow(buttons)
    if dialog.exec_() != qt.QDialog.Accepted:
        return None
    return {name: field.text.strip() for name, field in fields.items()}
