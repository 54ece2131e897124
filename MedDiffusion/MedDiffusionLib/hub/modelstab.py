"""The tab Models: what is on the shelf, and how models come and go."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import qt
import slicer
from slicer.i18n import tr as _

from meddiff.places import installed

from .. import install as setup
from .. import sections
from ..rows import Rows
from . import bundledialog, commands, library
from .library import Entry
from .parts import Errand, browser, enable, openFolder


class ModelsTab:
    """A table of models, the card of the one that is chosen, and what can be done with it."""

    def __init__(self, onTab: Callable[[str], None]) -> None:
        """`onTab(task)` opens the tab of the hub for a task that has no module of its own."""
        self._onTab = onTab
        self.entries: list[Entry] = []
        self._ready = False  # whether the set-up is complete
        self._shown = ""
        self.table = Rows(
            "models",
            (_("Model"), _("Task"), _("Licence"), _("Where")),
            _("The models on this computer"),
            self._update,
        )
        self.errand = Errand("model", self._update)
        self.details = browser("modelDetails", _("The card of the model, as its makers wrote it"), height=240)
        buttons, installing = sections.beside(*self._buttons(), stretch=True), qt.QVBoxLayout()
        self._buildInstall(installing)
        self.widget = qt.QWidget()
        layout = qt.QVBoxLayout(self.widget)
        for widget in (self.table.widget, buttons, *self.errand.widgets, self.details):
            layout.addWidget(widget)
        layout.addLayout(installing)
        self.refresh()

    def _buttons(self) -> list[Any]:
        button = sections.pushButton
        self.useButton = button("useModel", _("Use"), "", self.onUse)
        self.verifyButton = button("verifyModel", _("Verify"), "", self.onVerify)
        self.exportButton = button("exportModel", _("Export…"), "", self.onExport)
        self.removeButton = button("removeModel", _("Remove…"), "", self.onRemove)
        self.folderButton = button("openModelFolder", _("Open folder"), "", self.onOpenFolder)
        return [self.useButton, self.verifyButton, self.exportButton, self.removeButton, self.folderButton]

    def _buildInstall(self, layout: Any) -> None:
        form = sections.section(layout, _("Install a model"))
        about = _("A zip file or a folder on this computer, or an address that begins with https://")
        self.source = qt.QLineEdit()
        self.source.setObjectName("modelSource")
        self.source.setPlaceholderText(_("zip file, folder, or https address"))
        zipButton = sections.pushButton("browseZip", _("File…"), _("Choose a zip file"), self.onBrowseZip)
        folderButton = sections.pushButton("browseFolder", _("Folder…"), _("Choose a folder"), self.onBrowseFolder)
        self.source.setToolTip(about)
        line = sections.beside(self.source, zipButton, folderButton)
        line.layout().setStretch(0, 1)
        sections.row(form, _("From"), line, about)
        self.sha256 = qt.QLineEdit()
        self.sha256.setObjectName("modelSha256")
        self.sha256.setPlaceholderText(_("needed with an address"))
        about = _("64 hexadecimal digits that tell whether the right file came; whoever publishes a model tells them")
        sections.row(form, "sha256", self.sha256, about)
        for line in (self.source, self.sha256):
            line.connect("textChanged(QString)", lambda _text: self._update())
        self.installButton = sections.pushButton("installModel", _("Install"), "", self.onInstall)
        self.bundleButton = sections.pushButton("importBundle", _("Import a MONAI bundle…"), "", self.onBundle)
        form.addRow(sections.beside(self.installButton, self.bundleButton, stretch=True))

    # What is shown

    def refresh(self) -> None:
        """Read the shelf anew; what was chosen stays chosen, or else the first model is."""
        before, self._ready = self.chosen, setup.status().ready
        self.entries = library.shelf()
        self.table.show([entry.row for entry in self.entries])
        folders = [entry.folder for entry in self.entries]
        self.table.choose(
            folders.index(before.folder) if before and before.folder in folders else min(0, len(folders) - 1)
        )
        self._update()

    @property
    def chosen(self) -> Entry | None:
        """The model that is chosen in the table."""
        line = self.table.chosen
        return self.entries[line] if 0 <= line < len(self.entries) else None

    def choose(self, model: str) -> None:
        """Choose the model of this id."""
        self.table.choose(next((i for i, entry in enumerate(self.entries) if entry.id == model), -1))

    def _update(self) -> None:
        entry = self.chosen
        html = library.as_html(entry) if entry else ""
        if html != self._shown:
            self._shown = html
            self.details.setHtml(html)
        wait = _("Wait until what runs has ended, or cancel it.") if self.errand.busy else ""
        none = "" if entry else _("Choose a model first.")
        ready = "" if self._ready else _("This needs the set-up on the tab System first.")
        unread = entry.problem if entry else ""
        panel = library.panel(entry.model.task) if entry and entry.model else ""
        useless = "" if panel else _("No module uses such models yet.")
        if panel and not entry.model.recipes:
            useless = _("It does nothing by itself: another model has it as its companion, for some of the methods.")
        fixed = "" if entry and entry.removable else _("It came with the extension or from your own folder.")
        enable(
            self.useButton,
            none or unread or useless,
            _("Open the module, or the tab, for its task, with this model chosen"),
        )
        enable(self.verifyButton, none or wait or ready, _("Check every file against the sha256 in the card"))
        enable(self.exportButton, none or unread or wait or ready, _("Write it to a zip file, to install it elsewhere"))
        enable(
            self.removeButton, none or wait or fixed or ready, _("Delete the model from this computer, after asking")
        )
        enable(self.folderButton, none, _("Show the files of the model"))
        lacking = "\n".join(library.lacking(self.source.text, self.sha256.text))
        enable(self.bundleButton, wait or ready, _("Read a generative model that others have published"))
        enable(self.installButton, wait or ready or lacking, _("Check the model and copy it to this computer"))

    # What the buttons do

    def onUse(self) -> None:
        """Open the module or the tab of the model's task, with the model chosen."""
        entry = self.chosen
        if entry is None or entry.model is None:
            return
        task = entry.model.task
        library.logic(library.panel(task)).getParameterNode().model = entry.id
        if task in library.TABS:
            self._onTab(task)
        elif slicer.util.mainWindow() is not None:
            slicer.util.selectModule(library.PANELS[task])

    def onVerify(self) -> None:
        """Check the files of the chosen model."""
        entry = self.chosen
        if entry is None:
            return
        whole = _("{model} is whole and unaltered: the sha256 of every file is right.").format(model=entry.row[0])
        self.errand.run(commands.verify(entry.folder), _("Checking…"), lambda result: whole)

    def onExport(self) -> None:
        """Ask where to, then write the chosen model to a zip file."""
        entry = self.chosen
        if entry is None:
            return
        title, filters = _("Export the model"), _("Zip files") + " (*.zip)"
        path = qt.QFileDialog.getSaveFileName(self.widget, title, f"{entry.id}.zip", filters)
        if path:
            path = path if path.lower().endswith(".zip") else f"{path}.zip"
            text = _("Written to {file}; its sha256 is {sha256}.")
            self.errand.run(commands.export(entry.folder, path), _("Exporting…"), lambda result: text.format(**result))

    def onRemove(self) -> None:
        """Ask, then remove the chosen model."""
        entry = self.chosen
        if entry is None:
            return
        question = _("Delete the model “{model}” ({folder}) from this computer?")
        if slicer.util.confirmOkCancelDisplay(
            question.format(model=entry.row[0], folder=entry.folder), _("Remove a model"), parent=self.widget
        ):
            self.errand.run(commands.remove(entry.folder.name), _("Removing…"), lambda result: self._removed(entry))

    def _removed(self, entry: Entry) -> str:
        self.refresh()
        return _("{model} was removed.").format(model=entry.row[0])

    def onOpenFolder(self) -> None:
        """Show the folder of the chosen model in the system's file manager."""
        if self.chosen is not None:
            openFolder(self.chosen.folder)

    def onBrowseZip(self) -> None:
        """Choose a zip file to install from."""
        filters = _("Zip files") + " (*.zip)"
        if path := qt.QFileDialog.getOpenFileName(self.widget, _("A model as a zip file"), "", filters):
            self.source.setText(path)

    def onBrowseFolder(self) -> None:
        """Choose a folder to install from."""
        if path := qt.QFileDialog.getExistingDirectory(self.widget, _("The folder of a model"), ""):
            self.source.setText(path)

    def onInstall(self) -> None:
        """Install what the line says."""
        source, sha256 = self.source.text.strip(), self.sha256.text.strip()
        if not library.lacking(source, sha256):
            busy = _("Downloading…") if library.is_address(source) else _("Checking and copying…")
            self.errand.run(commands.install(source, sha256), busy, self._installed)

    def _installed(self, result: dict[str, Any]) -> str:
        self.source.clear()
        self.sha256.clear()
        self.refresh()
        self.choose(result["id"])
        return _("{id} {version} is installed, in {root}.").format(root=installed(), **result)

    def onBundle(self) -> None:
        """Choose the folder of a MONAI bundle, ask for what it leaves out, and install it."""
        if path := qt.QFileDialog.getExistingDirectory(self.widget, _("The folder of a MONAI bundle"), ""):
            self.errand.run(commands.ask_bundle(path), _("Reading…"), lambda result: self._bundleRead(path, result))

    def _bundleRead(self, path: str, result: dict[str, Any]) -> str:
        # once the errand is over: it looks at its command again while a dialog is open
        qt.QTimer.singleShot(0, lambda: self._importBundle(path, result["questions"]))
        return ""

    def _importBundle(self, path: str, questions: list[dict[str, str]]) -> None:
        answers = bundledialog.ask(self.widget, questions)
        if answers is not None:
            told = commands.import_bundle(path, answers)
            self.errand.run(told, _("Checking and copying…"), self._bundleInstalled)

    def _bundleInstalled(self, result: dict[str, Any]) -> str:
        return " ".join([self._installed(result), *result["notes"]])

    def close(self) -> None:
        """The panel goes away."""
        self.errand.close()
