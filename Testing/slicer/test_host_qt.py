"""The host itself: PythonQt's manners, the contract, the scene behind the widgets."""

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


def test_an_unknown_attribute_cannot_be_assigned(host):
    import ctk
    import qt
    import slicer

    for thing in (qt.QPushButton(), ctk.ctkSliderWidget(), slicer.qMRMLNodeComboBox(), qt.QVBoxLayout()):
        with pytest.raises(AttributeError):
            thing.colour = "red"
        with pytest.raises(AttributeError):
            thing.parent = None


def test_a_slot_error_is_reported_not_raised(host, capsys):
    import qt

    button = qt.QPushButton()

    def press():
        raise ValueError("no")

    button.connect("clicked()", press)
    button.click()
    assert [str(error.error) for error in host.slot_errors] == ["no"]
    host.slot_errors.clear()
