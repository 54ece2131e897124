"""The contract holds: nothing that `contract.json` does not list, and CTK's manners where they trap people."""

from __future__ import annotations

import pytest


def test_every_stand_in_offers_exactly_the_names_of_the_contract(host):
    """Beside Qt's own names; what the host does not do says so instead of doing nothing."""
    from host import classes, contract, pythonqt

    assert len(classes.made) > 50
    for name, kind in classes.made.items():
        spec, native = contract.of(name), pythonqt.native_base(kind)
        offered = {one for base in kind.__mro__ if pythonqt.is_host(base) for one in vars(base)}
        offered = {one for one in offered if not one.startswith("_") and not hasattr(native, one)}
        assert offered - {"staticMetaObject"} <= spec.names, name
        assert all(hasattr(kind, one) or one in pythonqt.native_properties(native) for one in spec.properties), name


@pytest.mark.parametrize(
    ("module", "kind", "wrong"),
    [
        ("ctk", "ctkCollapsibleButton", "setCollapsed"),
        ("ctk", "ctkSliderWidget", "setMinimum"),
        ("ctk", "ctkSliderWidget", "setRange"),
        ("ctk", "ctkPathLineEdit", "setFilters"),
        ("ctk", "ctkDirectoryButton", "setDirectory"),
        ("slicer", "qMRMLNodeComboBox", "setNodeTypes"),
        ("slicer", "qMRMLNodeComboBox", "currentText"),
        ("slicer", "qMRMLNodeComboBox", "nodes"),
        ("slicer", "qSlicerWidget", "mrmlScene"),
        ("slicer", "qMRMLTableView", "setTableNode"),
    ],
)
def test_a_name_outside_the_contract_raises(host, module, kind, wrong):
    import ctk
    import slicer

    thing = getattr({"ctk": ctk, "slicer": slicer}[module], kind)()
    with pytest.raises(AttributeError):
        getattr(thing, wrong)
    with pytest.raises(AttributeError):
        setattr(thing, wrong, 1)
    assert not hasattr(type(thing), wrong)


def test_private_parts_of_the_stand_ins_are_out_of_reach(host):
    import slicer

    box = slicer.qMRMLNodeComboBox()
    for name in ("_combo", "_nodes", "_refresh"):
        with pytest.raises(AttributeError):
            getattr(box, name)


def test_a_public_name_too_many_is_found_when_the_class_is_made(host):
    import qt
    from host.classes import stand_in
    from host.signals import ContractError

    def ctkMenuButton():
        return type(qt.QPushButton)("ctkMenuButton", (qt.QPushButton,), {"shine": lambda self: None})

    with pytest.raises(ContractError, match="shine"):
        stand_in(ctkMenuButton())


def test_a_class_that_is_missing_is_told_from_one_that_does_not_exist(host):
    import ctk
    import slicer

    with pytest.raises(NotImplementedError):
        _ = ctk.ctkFontButton
    with pytest.raises(AttributeError):
        _ = ctk.ctkMagicButton
    with pytest.raises(AttributeError):
        _ = slicer.qMRMLMagicWidget


def test_signals_of_the_contract_need_their_exact_signature(host):
    import ctk
    import slicer

    box, heard = slicer.qMRMLNodeComboBox(), []
    box.connect("currentNodeChanged(vtkMRMLNode*)", heard.append)
    box.connect("currentNodeChanged(bool)", heard.append)
    box.currentNodeChanged.connect(heard.append)
    for wrong in ("currentNodeChanged(vtkMRMLVolumeNode*)", "currentNodeChanged()", "nodeChanged(vtkMRMLNode*)"):
        with pytest.raises(AttributeError):
            box.connect(wrong, heard.append)
    box.nodeTypes = ["vtkMRMLScalarVolumeNode"]
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode")
    box.setMRMLScene(slicer.mrmlScene)
    assert heard == [node, node, True]  # in the order of the contract's overloads
    with pytest.raises(AttributeError):
        ctk.ctkSliderWidget().connect("valueChanged(int)", heard.append)


def test_block_signals_blocks(host):
    import ctk

    slider, heard = ctk.ctkSliderWidget(), []
    slider.connect("valueChanged(double)", heard.append)
    slider.blockSignals(True)
    slider.value = 5
    slider.blockSignals(False)
    slider.value = 6
    assert heard == [6.0]


def test_a_collapsible_button_folds_its_children(host):
    import ctk
    import qt

    box, heard = ctk.ctkCollapsibleButton(), []
    box.text = "Advanced"
    box.connect("contentsCollapsed(bool)", heard.append)
    form = qt.QFormLayout(box)
    one, two = qt.QLineEdit(), qt.QLineEdit()
    form.addRow("One:", one)
    form.addRow("Two:", two)
    two.hide()
    box.show()
    tall = box.height
    assert one.visible and not two.visible
    box.collapsed = True
    assert not one.visible and box.maximumHeight < tall and not box.checked
    one.setVisible(True)
    three = qt.QLineEdit()
    form.addRow("Three:", three)
    assert not one.visible and not three.visible
    box.click()
    assert one.visible and three.visible and not two.visible and not box.collapsed
    assert heard == [True, False]


def test_a_slider_rounds_to_its_decimals_and_shares_them_with_its_siblings(host):
    """CTK: two decimals unless set, and `synchronizeSiblings` is on."""
    import ctk
    import qt

    panel = qt.QWidget()
    one, two = ctk.ctkSliderWidget(panel), ctk.ctkSliderWidget(panel)
    one.value = 0.12345
    assert one.value == 0.12
    one.decimals = 4
    assert two.decimals == 4
    two.synchronizeSiblings = ctk.ctkSliderWidget.NoSynchronize
    one.decimals = 0
    assert two.decimals == 4
    two.maximum = 1
    two.value = 5
    assert two.value == 1 and two.maximum == 1


def test_a_path_line_edit_tells_only_of_acceptable_paths(host):
    import ctk

    edit, heard = ctk.ctkPathLineEdit(), []
    edit.filters = ctk.ctkPathLineEdit.Files | ctk.ctkPathLineEdit.Readable
    edit.nameFilters = ["Raw data (*.h5 *.npz)"]
    edit.settingKey = "Recon/KSpace"
    edit.connect("currentPathChanged(QString)", heard.append)
    edit.currentPath = "/data/scan.h5"
    edit.currentPath = ""
    edit.currentPath = "/data/scan.nrrd"
    assert heard == ["/data/scan.h5"] and edit.currentPath == "/data/scan.nrrd"
    host.answer("/data/other.npz")
    edit.browse()
    edit.addCurrentPathToHistory()
    again = ctk.ctkPathLineEdit()
    again.settingKey = "Recon/KSpace"
    assert again.currentPath == "/data/other.npz"


def test_a_ui_file_is_held_to_the_contract(host, tmp_path):
    import slicer

    good = """<ui version="4.0"><widget class="qMRMLWidget" name="top"><layout class="QVBoxLayout"><item>
    <widget class="qMRMLNodeComboBox" name="input"><property name="nodeTypes"><stringlist>
    <string>vtkMRMLModelNode</string></stringlist></property>
    <property name="SlicerParameterName" stdset="0"><string>input</string></property></widget>
    </item><item><widget class="ctkPathLineEdit" name="path"><property name="filters"><set>ctkPathLineEdit::Files</set>
    </property></widget></item></layout></widget><connections><connection><sender>top</sender>
    <signal>mrmlSceneChanged(vtkMRMLScene*)</signal><receiver>input</receiver><slot>setMRMLScene(vtkMRMLScene*)</slot>
    </connection></connections></ui>"""
    (tmp_path / "good.ui").write_text(good)
    top = slicer.util.loadUI(str(tmp_path / "good.ui"))
    ui = slicer.util.childWidgetVariables(top)
    assert ui.input.nodeTypes == ("vtkMRMLModelNode",) and ui.input.SlicerParameterName == "input"
    assert ui.path.filters == 2 and type(ui.input) is slicer.qMRMLNodeComboBox
    top.setMRMLScene(slicer.mrmlScene)
    assert ui.input.mrmlScene() is slicer.mrmlScene

    misspelt = {
        "nodeTypes": "nodeType",
        "mrmlSceneChanged(vtk": "mrmlSceneSet(vtk",
        "setMRMLScene(": "setScene(",
    }
    for right, wrong in misspelt.items():
        (tmp_path / "bad.ui").write_text(good.replace(right, wrong))
        with pytest.raises(AttributeError):
            slicer.util.loadUI(str(tmp_path / "bad.ui"))
