"""The tab Jobs: what was run in this scene, and the same again."""

from __future__ import annotations

from typing import Any

import qt
import slicer
from slicer.i18n import tr as _

from .. import describe, sections
from ..rows import Rows
from ..runner import Failure
from ..running import RunningJob
from . import jobs
from .jobs import Record
from .parts import browser, enable


class JobsTab:
    """A table of runs, the record of the one that is chosen, and a button that repeats it."""

    def __init__(self) -> None:
        self.records: list[Record] = []
        self.job: RunningJob | None = None
        self._repeated: Record | None = None
        self.widget = qt.QWidget()
        layout = qt.QVBoxLayout(self.widget)
        titles = (_("Finished"), _("Module"), _("Method"), _("Results"))
        about = _("What was run in this scene, latest first")
        self.table = Rows("jobs", titles, about, self._update, lines=(4, 10))
        layout.addWidget(self.table.widget)
        button = sections.pushButton
        self.againButton = button("runAgain", _("Run again"), "", self.onAgain)
        self.showButton = button("showResults", _("Show"), "", self.onShow)
        self.copyButton = button("copyProvenance", _("Copy provenance"), "", self.onCopy)
        layout.addWidget(sections.beside(self.againButton, self.showButton, self.copyButton, stretch=True))
        self.bar = qt.QProgressBar()
        self.bar.setObjectName("againProgress")
        self.bar.setVisible(False)
        layout.addWidget(self.bar)
        self.done = sections.Notice("againDone", qt.QStyle.SP_MessageBoxInformation)
        self.failed = sections.Notice("againFailed", qt.QStyle.SP_MessageBoxCritical)
        for notice in (self.done, self.failed):
            layout.addWidget(notice.widget)
        self.details = browser("jobDetails", _("How the chosen results were made"), height=220)
        layout.addWidget(self.details, 1)
        self.refresh()

    # What is shown

    def refresh(self) -> None:
        """Read the scene anew; what was chosen stays chosen, or else the latest run is."""
        before = self.chosen
        self.records = jobs.records()
        self.table.show([record.row for record in self.records])
        told = [record.provenance for record in self.records]
        known = before is not None and before.provenance in told
        self.table.choose(told.index(before.provenance) if known else min(0, len(told) - 1))
        self._update()

    @property
    def chosen(self) -> Record | None:
        """The run that is chosen in the table."""
        line = self.table.chosen
        return self.records[line] if 0 <= line < len(self.records) else None

    def _update(self) -> None:
        record = self.chosen
        empty = _("Nothing was run in this scene yet. Results that are loaded with a scene show up here, too.")
        self.details.setHtml(jobs.as_html(record) if record else empty)
        none = "" if record else _("Choose a run first.")
        if self.job is not None:
            self.againButton.setText(_("Cancel"))
            enable(self.againButton, "", _("Stop the run; the scene stays as it is"))
        else:
            self.againButton.setText(_("Run again"))
            about = _("The same job with the same seed, into new nodes: are the voxels the same?")
            enable(self.againButton, none or (jobs.hindrance(record) if record else ""), about)
        enable(self.showButton, none, _("Show the results in the slice views"))
        enable(self.copyButton, none, _("Copy the whole record as JSON"))

    # What the buttons do

    def onAgain(self) -> None:
        """Repeat the chosen run, or cancel what runs."""
        if self.job is not None:
            self.job.cancel()
            enable(self.againButton, _("Stopping…"), "")
            return
        record = self.chosen
        if record is None:
            return
        self.done.say("")
        self.failed.say("")
        try:
            logic = jobs.logic_of(record)
            self.job = RunningJob(logic, jobs.arguments_again(record, logic), self._onEvent, self._onEnd)
            self._repeated = record
            self.job.start()
        except Exception as error:  # a full disk, a worker that does not start, a record written by hand
            self.job = None
            self.failed.say(str(error) or type(error).__name__)
        self.bar.setRange(0, 0)
        self.bar.setVisible(self.job is not None)
        self._update()

    def _onEvent(self, event: dict[str, Any]) -> None:
        if event.get("event") == "progress":
            self.bar.setRange(0, event["of"])
            self.bar.setValue(event["step"])
            self.bar.setToolTip(describe.progress(event))
        elif event.get("event") == "warning":
            self.done.say(event.get("message", ""))

    def _onEnd(self, made: dict[str, Any], result: dict[str, Any] | None, failure: Failure | None) -> None:
        record, self._repeated = self._repeated, None
        self.job = None
        self.bar.setVisible(False)
        if failure is not None and failure.kind == "cancelled":
            self.done.say(_("Cancelled."))
        elif failure is not None:
            self.failed.say(f"{failure.message} {failure.hint}".strip())
        elif record is not None:
            self.done.say(verdict(*jobs.same_voxels(made, record)))
        self.refresh()

    def onShow(self) -> None:
        """The first image of the results in the slice views."""
        record = self.chosen
        volumes = [node for node in record.nodes if node.IsA("vtkMRMLScalarVolumeNode")] if record else []
        if volumes and slicer.app.layoutManager() is not None:
            slicer.util.setSliceViewerLayers(background=volumes[0], fit=True)

    def onCopy(self) -> None:
        """The provenance of the chosen run on the clipboard."""
        if self.chosen is not None:
            slicer.app.clipboard().setText(jobs.as_json(self.chosen))

    def close(self) -> None:
        """The scene or the panel goes away: stop without a word."""
        job, self.job = self.job, None
        if job is not None:
            job.abandon()
        self.bar.setVisible(False)


def verdict(same: int, of: int) -> str:
    """Whether a repeated run came out the same."""
    if of and same == of:
        return _("Done: all {of} volumes are the same as before, voxel for voxel.").format(of=of)
    text = _("Done: {same} of {of} volumes are the same as before. Another device, version or input changes voxels.")
    return text.format(same=same, of=of)
