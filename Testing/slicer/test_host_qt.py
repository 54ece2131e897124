"""Qt as PythonQt shows it: properties, slots, enums, what is refused."""

from __future__ import annotations

import pytest


def test_properties_are_values_and_methods_stay_methods(host):
    import qt

    edit = qt.QLineEdit("one")
    assert edit.text == "one"
    edit.text = "two"
    assert edit.text == "two" and edit.property("text") == "two"
    edit.setText("three")
    assert edit.text == "three" and not edit.isModified()
    assert edit.enabled is True and edit.isEnabled()

    box = qt.QComboBox()
    box.addItem("A", {"key": 1})
    box.addItems(["B", "C"])
    assert (box.count, box.currentIndex, box.currentText, box.itemData(0)) == (3, 0, "A", {"key": 1})
    layout = qt.QVBoxLayout()
    layout.spacing = 3
    assert layout.spacing == 3 and layout.count() == 0


def test_name_is_the_object_name_and_children_are_found_by_it(host):
    import qt

    panel = qt.QWidget()
    button = qt.QPushButton("Go", panel)
    button.name = "goButton"
    assert button.objectName == "goButton" and panel.goButton is button
    assert panel.findChild(qt.QPushButton, "goButton") is button
    assert panel.findChildren("QAbstractButton") == (button,)
    assert panel.children() == (button,)
    with pytest.raises(AttributeError):
        _ = panel.stopButton


def test_dynamic_properties_can_be_read_and_written(host):
    import qt

    widget = qt.QWidget()
    widget.setProperty("SlicerParameterName", "threshold")
    assert widget.SlicerParameterName == "threshold"
    widget.SlicerParameterName = "other"
    assert widget.property("SlicerParameterName") == "other"


def test_an_unknown_attribute_cannot_be_assigned(host):
    import ctk
    import qt
    import slicer

    for thing in (qt.QPushButton(), ctk.ctkSliderWidget(), slicer.qMRMLNodeComboBox(), qt.QVBoxLayout(), slicer.app):
        with pytest.raises(AttributeError):
            thing.colour = "red"
        with pytest.raises(AttributeError):
            thing.parent = None
        with pytest.raises(AttributeError):
            thing._private = 1


def test_a_python_subclass_has_attributes_of_its_own(host):
    import qt

    class Panel(qt.QWidget):
        def __init__(self):
            super().__init__()
            self.note = "mine"

        def sizeHint(self):
            return qt.QSize(7, 8)

    panel = Panel()
    panel.more = 2
    assert (panel.note, panel.more, panel.className()) == ("mine", 2, "QWidget")
    assert panel.sizeHint() == qt.QSize(7, 8)
    assert qt.QPushButton("x").sizeHint.width() > 0  # without a subclass it is a value
    with pytest.raises(AttributeError):
        panel.layout = qt.QVBoxLayout()


def test_a_read_only_property_and_a_wrong_type_are_refused(host):
    import qt

    button = qt.QPushButton()
    with pytest.raises(AttributeError, match="cannot be written"):
        qt.QComboBox().count = 3
    with pytest.raises(AttributeError, match="does not accept"):
        button.enabled = object()


def test_lists_come_as_tuples(host):
    import ctk
    import qt
    import slicer

    completer = qt.QStringListModel(["a", "b"])
    assert completer.stringList() == ("a", "b")
    edit = ctk.ctkPathLineEdit()
    edit.nameFilters = ["Images (*.nrrd)"]
    assert edit.nameFilters == ("Images (*.nrrd)",)
    box = slicer.qMRMLNodeComboBox()
    box.nodeTypes = ["vtkMRMLScalarVolumeNode"]
    assert box.nodeTypes == ("vtkMRMLScalarVolumeNode",)


def test_a_slot_gets_no_more_arguments_than_it_takes(host):
    import qt

    heard = []

    class Ear:
        def none(self):
            heard.append(())

        def one(self, value):
            heard.append((value,))

        def all(self, *values):
            heard.append(values)

    ear, slider = Ear(), qt.QSlider()
    for slot in (ear.none, ear.one, ear.all, lambda: heard.append("lambda")):
        slider.connect("rangeChanged(int,int)", slot)
    slider.setRange(2, 5)
    assert heard == [(), (2,), (2, 5), "lambda"]


def test_the_signature_decides_what_is_passed(host):
    import qt

    heard, button = [], qt.QPushButton()
    button.setCheckable(True)
    button.connect("clicked()", lambda state="none": heard.append(state))
    button.connect("clicked(bool)", lambda state="none": heard.append(state))
    button.clicked.connect(lambda state="none": heard.append(state))
    button.click()
    assert heard == ["none", True, True]


def test_slots_are_disconnected_one_or_all(host):
    import qt

    heard, button = [], qt.QPushButton()

    def first():
        heard.append(1)

    button.connect("clicked()", first)
    button.connect("clicked()", lambda: heard.append(2))
    assert button.disconnect("clicked()", first) is True
    assert button.disconnect("clicked()", first) is False
    button.click()
    assert heard == [2]
    assert button.disconnect("clicked()") is True
    button.click()
    assert heard == [2]


def test_a_native_method_and_a_signal_serve_as_slots(host):
    import qt

    box, edit, heard = qt.QCheckBox(), qt.QLineEdit(), []
    box.connect("toggled(bool)", edit.setEnabled)
    edit.connect("textChanged(QString)", heard.append)
    box.checked = True
    box.checked = False
    assert not edit.enabled
    assert box.disconnect("toggled(bool)", edit.setEnabled) is True
    edit.text = "x"
    box.checked = True
    assert not edit.enabled and heard == ["x"]


def test_a_receiver_and_its_slot_by_name(host):
    import qt

    box, edit = qt.QCheckBox(), qt.QLineEdit()
    box.connect("toggled(bool)", edit, "setVisible(bool)")
    box.checked = True
    assert not edit.isHidden()
    with pytest.raises(AttributeError):
        box.connect("toggled(bool)", edit, "setNothing(bool)")


def test_a_slot_error_is_reported_not_raised(host, capsys):
    import qt
    import slicer
    import vtk

    def press():
        raise ValueError("no")

    button = qt.QPushButton()
    button.connect("clicked()", press)
    button.click()
    assert [str(error.error) for error in host.slot_errors] == ["no"]
    assert "ValueError: no" in capsys.readouterr().err
    host.slot_errors.clear()

    slicer.mrmlScene.AddObserver(vtk.vtkCommand.UserEvent, lambda *_: press())
    slicer.mrmlScene.InvokeEvent(vtk.vtkCommand.UserEvent)
    qt.QTimer.singleShot(0, press)
    host.process_events(0.02)
    assert [type(error.error) for error in host.slot_errors] == [ValueError, ValueError]
    host.slot_errors.clear()
    slicer.mrmlScene.RemoveObservers("UserEvent")


def test_enums_scoped_and_not(host):
    import qt

    assert qt.Qt.WaitCursor == qt.Qt.CursorShape.WaitCursor
    assert qt.QMessageBox.Ok == qt.QMessageBox.StandardButton.Ok
    label = qt.QLabel("x")
    label.alignment = qt.Qt.AlignRight | qt.Qt.AlignTop
    assert label.alignment & qt.Qt.AlignRight
    label.setTextInteractionFlags(qt.Qt.TextSelectableByMouse)


@pytest.mark.parametrize("name", ["QRegExp", "QTextCodec", "Signal", "Slot", "QDesktopWidget", "QHttpHeaders"])
def test_names_that_qt5_or_qt6_lacks_are_not_there(host, name):
    import qt

    assert not hasattr(qt, name)


def test_members_that_qt5_or_qt6_lacks_are_not_there(host):
    import qt

    with pytest.raises(AttributeError):
        qt.QVBoxLayout().margin = 0
    for thing, signal in (
        (qt.QComboBox(), "currentIndexChanged(QString)"),
        (qt.QButtonGroup(), "buttonClicked(int)"),
        (qt.QCheckBox(), "checkStateChanged(Qt::CheckState)"),
        (qt.QPushButton(), "clicked(int)"),
    ):
        with pytest.raises(AttributeError):
            thing.connect(signal, print)
    with pytest.raises(AttributeError):
        qt.QFormLayout().setRowVisible(0, False)
    with pytest.raises(AttributeError):
        qt.QColor.fromString("red")
    with pytest.raises(AttributeError):
        _ = qt.QIcon.ThemeIcon


def test_a_timer_is_a_property_and_a_function(host):
    import qt

    heard, timer = [], qt.QTimer()
    timer.singleShot, timer.interval = True, 1
    timer.connect("timeout()", lambda: heard.append(1))
    timer.start()
    qt.QTimer.singleShot(0, lambda: heard.append(0))
    host.wait(lambda: len(heard) == 2, 5)
    assert timer.singleShot is True and not timer.active


def test_static_dialogs_return_what_pythonqt_returns(host):
    import qt

    assert qt.QFileDialog.getOpenFileName(None, "Open") == ""
    host.answer("/data/brain.nrrd", ["/a", "/b"])
    assert qt.QFileDialog.getOpenFileName(None, "Open") == "/data/brain.nrrd"
    assert qt.QFileDialog.getOpenFileNames(None, "Open") == ["/a", "/b"]
    assert qt.QInputDialog.getText(None, "Name", "New name:") == ""
    assert [dialog.kind for dialog in host.dialogs][-1] == "QInputDialog.getText"


def test_message_boxes_are_answered_recorded_and_never_wait(host):
    import qt
    import slicer

    assert slicer.util.confirmYesNoDisplay("Really?") is False
    host.answer(qt.QMessageBox.Yes)
    assert slicer.util.confirmYesNoDisplay("Really?") is True
    host.answer(lambda box: box.button(qt.QMessageBox.Ok).click())
    assert slicer.util.confirmOkCancelDisplay("Sure?") is True
    assert [dialog.text for dialog in host.dialogs] == ["Really?", "Really?", "Sure?"]
    slicer.util.errorDisplay("It failed", detailedText="because")
    assert (host.messages[-1].level, host.messages[-1].text) == ("ERROR", "It failed")
    with host.testing():
        assert slicer.util.confirmYesNoDisplay("Really?") is False and len(host.dialogs) == 3


def test_nothing_opens_in_a_browser(host):
    import qt

    qt.QDesktopServices.openUrl(qt.QUrl("https://slicer.org"))
    assert host.opened == ["https://slicer.org"]
