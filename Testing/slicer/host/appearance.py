"""How the widgets look: the same on every machine, close to Slicer's light style."""

from __future__ import annotations

from PySide6 import QtGui, QtWidgets


def apply(app: QtWidgets.QApplication) -> None:
    app.setStyle("Fusion")
    roles, groups = QtGui.QPalette.ColorRole, QtGui.QPalette.ColorGroup
    palette = QtGui.QPalette()
    for role, colour in {
        roles.Window: "#f4f4f4",
        roles.WindowText: "#202020",
        roles.Base: "#ffffff",
        roles.AlternateBase: "#f0f3f6",
        roles.Text: "#202020",
        roles.Button: "#ececec",
        roles.ButtonText: "#202020",
        roles.Highlight: "#3d7eb8",
        roles.HighlightedText: "#ffffff",
        roles.Link: "#2a6ca3",
        roles.ToolTipBase: "#ffffe6",
        roles.ToolTipText: "#202020",
        roles.PlaceholderText: "#8a8a8a",
        roles.Mid: "#b5b5b5",
        roles.Dark: "#8f8f8f",
    }.items():
        palette.setColor(role, QtGui.QColor(colour))
    for role in (roles.WindowText, roles.Text, roles.ButtonText):
        palette.setColor(groups.Disabled, role, QtGui.QColor("#a0a0a0"))
    app.setPalette(palette)
    font = app.font()
    font.setPointSizeF(9.5)
    app.setFont(font)
