"""What the tabs that make images share: the panel of a task in a tab, guidance, and lists of what a model knows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import qt
import slicer
from slicer.i18n import tr as _

from .. import choices, sections
from ..bindings import with_chosen
from ..widget import TaskPanel

GUIDANCE = "guidance"  # the parameter of methods that exaggerate what is asked for


class MakingPanel(TaskPanel):
    """The panel of a task in a tab of the hub, which says itself what is to be set up."""

    def __init__(self, parent: Any, isOpen: Callable[[], bool]) -> None:
        super().__init__(parent)
        self._isOpen = isOpen

    @property
    def isShown(self) -> bool:
        """Whether the tab is open and on the screen."""
        return self._isOpen()

    def refresh(self) -> None:
        """Everything that follows from the parameters."""
        super().refresh()
        if self._parameterNode is not None:
            self.ui.setUp.say("")


class PaintingPanel(MakingPanel):
    """The panel of a task that changes a volume, whose name may say what it shows."""

    def initializeParameterNode(self) -> None:
        """A volume that was chosen by itself is one that was chosen."""
        super().initializeParameterNode()
        if self._parameterNode.inputVolume is not None and not self._parameterNode.contrast:
            self.onEdited("inputVolume")


class MakingTab:
    """A tab with the panel of a task, which is built when it is first opened."""

    def __init__(self, make: Callable[[Any, Callable[[], bool]], MakingPanel]) -> None:
        self.widget = slicer.qMRMLWidget()
        self.widget.setLayout(qt.QVBoxLayout())
        self.widget.setMRMLScene(slicer.mrmlScene)
        self._open = False
        self.panel = make(self.widget, lambda: self._open)

    def refresh(self) -> None:
        """The tab is on the screen."""
        self._open = True
        if self.panel.logic is None:
            self.panel.setup()
        self.panel.enter()

    def leave(self) -> None:
        """Another tab, or another module, is; a job goes on."""
        if self._open:
            self._open = False
            self.panel.exit()

    def close(self) -> None:
        """The hub goes away."""
        self._open = False
        if self.panel.logic is not None:
            self.panel.cleanup()


class Guidance:
    """How far a method exaggerates what is asked for, beside the question; it is also among the method's settings."""

    def __init__(self, form: Any, onEdited: Callable[[dict[str, Any]], None]) -> None:
        self._form, self._onEdited = form, onEdited
        self._recipe: Any = None
        self._preset, self._given, self._writing = "", {}, False
        about = _(
            "How much what is asked for is exaggerated: 0 is as if nothing were, 1 is as asked, and more makes images "
            "surer, and more alike. It belongs to methods with guidance."
        )
        self.slider = sections.row(form, _("Guidance"), sections.slider(GUIDANCE, 0, 10, 0.1, 1), about)
        self.slider.connect("valueChanged(double)", self._edited)

    def show(self, recipe: Any, preset: str, given: Mapping[str, Any]) -> None:
        """The guidance of a method; the row goes with those that have none."""
        self._recipe, self._preset, self._given = recipe, preset, dict(given)
        value = choices.settings_of(recipe, preset, given).get(GUIDANCE) if recipe is not None else None
        sections.showRow(self._form, self.slider, value is not None)
        if isinstance(value, (int, float)):
            self._writing = True
            self.slider.maximum = max(10.0, float(value))
            self.slider.setValue(float(value))
            self._writing = False

    def _edited(self, value: float) -> None:
        if self._writing or self._recipe is None:
            return
        kept = {name: each for name, each in self._given.items() if name != GUIDANCE}
        usual = choices.settings_of(self._recipe, self._preset, {})[GUIDANCE]
        self._onEdited(kept if round(value, 1) == usual else {**kept, GUIDANCE: round(value, 1)})


def offered(nothing: str, known: tuple[str, ...], chosen: str) -> list[tuple[str, str]]:
    """Items of a selector: nothing, what the model knows, and what was chosen of another model."""
    return with_chosen([(nothing, ""), *((name, name) for name in known)], chosen)
