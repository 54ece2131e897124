"""Typed parameters in nodes: what Slicer's parameter node wrapper promises, and where it surprises.

With SLICER_SOURCE the same tests run on Slicer's own files.
"""

# Not postponed: annotations of the wrappers below name what only their functions know.
import enum
import gc
import importlib
import os
import pathlib
import sys
from typing import Annotated, Any, Optional, Union

import pytest

OWN = os.environ.get("SLICER_SOURCE")  # Slicer's own modules are under test


class Plane(enum.Enum):
    AXIAL = 1
    CORONAL = 2


@pytest.fixture
def slicer(host):
    import slicer

    return slicer


@pytest.fixture
def node(slicer):
    return slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScriptedModuleNode", "Parameters")


@pytest.fixture
def pack(slicer):
    from slicer.parameterNodeWrapper import Default, parameterPack

    @parameterPack
    class Point:
        x: float
        y: Annotated[float, Default(2.5)]

    @parameterPack
    class Box:
        low: Point
        high: Point
        count: int = 3

    return Box


@pytest.fixture
def Wrapper(slicer, pack):
    from slicer import parameterNodeWrapper as pnw

    @pnw.parameterNodeWrapper
    class Parameters:
        text: str
        steps: Annotated[int, pnw.WithinRange(0, 10), pnw.Default(4)]
        noise: float = 1.5
        on: bool
        plane: Plane
        path: pathlib.Path
        numbers: list[int]
        lists: list[list[str]]
        pair: Annotated[tuple[int, str], pnw.Default((0, ""))]
        table: dict[str, float]
        maybe: Optional[int]  # noqa: UP045  (both spellings are in use)
        either: Union[int, str]  # noqa: UP007
        volume: slicer.vtkMRMLScalarVolumeNode
        nodes: list[slicer.vtkMRMLNode]
        choice: Annotated[str, pnw.Choice(["a", "b"]), pnw.Default("a")]
        box: pack
        range: Annotated[pnw.FloatRange, pnw.RangeBounds(0, 10)]

    return Parameters


def test_defaults(Wrapper, node, pack):
    """What is written, else what Default says, else the empty value of the type; all of it is in the node at once."""
    p = Wrapper(node)
    assert (p.text, p.steps, p.noise, p.on, p.plane, p.path) == ("", 4, 1.5, False, Plane.AXIAL, pathlib.Path())
    assert p.numbers == [] and p.lists == [] and p.pair == (0, "") and p.table == {} and p.nodes == []
    assert (p.maybe, p.either, p.volume, p.choice) == (None, 0, None, "a")
    assert (p.box.low.x, p.box.low.y, p.box.count) == (0, 2.5, 3)
    assert node.GetParameter("steps") == "4" and node.GetParameter("plane") == "AXIAL"
    assert p.default("steps").value == 4 and p.default("noise").value == 1.5


def fill(p, volume):
    p.text = "é <b>&\"';|% =\n2"
    p.steps, p.noise, p.on, p.plane = 7, 0.1, True, Plane.CORONAL
    p.path = pathlib.Path("/a b/c.nrrd")
    p.numbers = [3, 1]
    p.lists = [["a"], []]
    p.pair = (3, "q")
    p.table = {"k": 2.0}
    p.maybe, p.either, p.choice = 5, "words", "b"
    p.volume = volume
    p.nodes = [volume, None]
    p.box.low.x = 4.5
    p.box.count = 8
    p.range.setRange(1, 2)


def values(p):
    listed = [n.GetName() if n else None for n in p.nodes]
    box = (p.box.low.x, p.box.low.y, p.box.high.x, p.box.count)
    simple = (p.text, p.steps, p.noise, p.on, p.plane, p.path, p.pair, p.maybe, p.either, p.choice)
    lists = (list(p.numbers), [list(item) for item in p.lists], dict(p.table.items()))
    return (*simple, *lists, p.volume and p.volume.GetName(), listed, box, (p.range.minimum, p.range.maximum))


@pytest.mark.parametrize("ending", ["mrml", "mrb"])
def test_values_survive_a_scene_saved_and_read(slicer, Wrapper, node, tmp_path, ending):
    volume = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "Head")
    p = Wrapper(node)
    fill(p, volume)
    before = values(p)
    path = str(tmp_path / f"scene.{ending}")
    scene = slicer.mrmlScene
    if ending == "mrb":
        assert scene.WriteToMRB(path)
    else:
        scene.SetURL(path)
        assert scene.Commit()
    scene.Clear(False)
    if ending == "mrb":
        (tmp_path / "unpacked").mkdir()
        logic = slicer.vtkMRMLApplicationLogic()
        logic.SetMRMLScene(scene)
        assert logic.OpenSlicerDataBundle(path, str(tmp_path / "unpacked"))
    else:
        scene.SetURL(path)
        assert scene.Connect()
    again = Wrapper(scene.GetFirstNodeByClass("vtkMRMLScriptedModuleNode"))
    assert values(again) == before
    assert again.volume is scene.GetFirstNodeByName("Head")


@pytest.mark.parametrize(
    ("name", "value", "error"),
    [
        ("steps", 11, ValueError),
        ("steps", "seven", TypeError),
        ("steps", 1.5, TypeError),
        ("steps", None, ValueError),
        ("text", 3, TypeError),
        ("choice", "c", ValueError),
        ("plane", "AXIAL", TypeError),
        ("path", "/a", TypeError),
        ("pair", (1,), ValueError),
        ("numbers", [1, "two"], TypeError),
        ("maybe", "five", TypeError),
        ("either", 1.5, TypeError),
        ("on", "yes", TypeError),
    ],
)
def test_what_does_not_fit_is_refused_and_nothing_changes(slicer, Wrapper, node, name, value, error):
    p = Wrapper(node)
    fill(p, slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "Head"))
    before = values(p)
    with pytest.raises(error):
        setattr(p, name, value)
    assert values(p) == before
    assert values(Wrapper(node)) == before


def test_a_node_of_another_class_is_refused(slicer, Wrapper, node):
    p = Wrapper(node)
    with pytest.raises(TypeError):
        p.volume = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLModelNode")
    p.volume = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode")  # a subclass will do
    assert p.volume.IsA("vtkMRMLLabelMapVolumeNode")


def test_containers_write_themselves_back(Wrapper, node):
    p, other = Wrapper(node), Wrapper(node)
    p.numbers = [3, 1, 2]
    p.numbers.append(9)
    p.numbers.sort()
    p.numbers[0] = 5
    p.numbers += [7]
    assert other.numbers == [5, 2, 3, 9, 7]
    p.numbers.pop()
    del p.numbers[0]
    p.numbers.reverse()
    assert other.numbers == [9, 3, 2] and node.GetParameter("numbers.len") == "3"
    with pytest.raises(NotImplementedError):
        p.numbers.__add__([1])
    with pytest.raises(TypeError):
        p.numbers.append("x")
    assert p.numbers == [9, 3, 2]
    p.lists = [["a"]]
    p.lists.append(["b", "c"])
    p.lists[1][0] = "z"
    assert other.lists == [["a"], ["z", "c"]]
    p.table = {"one": 1}
    p.table["two"] = 2
    assert other.table.get("two") == 2 and other.table.get("three") is None
    p.table.pop("one")
    assert list(other.table) == ["two"]


def test_dicts_take_no_default(Wrapper, node):
    """Slicer's observed dicts lack the second argument of `get` and `pop`; code that gives one fails there."""
    p = Wrapper(node)
    with pytest.raises(TypeError):
        p.table.get("a", 0)
    with pytest.raises(TypeError):
        p.table.pop("a", 0)


def test_a_tuple_wants_a_default(slicer):
    """Without one, only the first wrapper of a class can be made in Slicer: its default is a spent generator after."""
    from slicer.parameterNodeWrapper import parameterNodeWrapper

    @parameterNodeWrapper
    class Pair:
        pair: tuple[int, str]

    first, second = (slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScriptedModuleNode") for _ in range(2))
    assert Pair(first).pair == (0, "")
    with pytest.raises(ValueError):
        Pair(second)


def test_packs(slicer, Wrapper, node, pack):
    from slicer.parameterNodeWrapper import isParameterPack, nestedParameterNames

    p = Wrapper(node)
    p.box.high.y = 9
    assert Wrapper(node).box.high.y == 9
    p.setValue("box.low.x", 4)
    assert p.getValue("box.low.x") == p.box.low.x == 4
    assert p.dataType("box.count") is int and p.dataType("box") is pack
    assert isParameterPack(pack) and nestedParameterNames(pack) == ["low.x", "low.y", "high.x", "high.y", "count"]
    assert pack(count=4).count == 4 and pack() == pack() and pack() != pack(count=1)
    with pytest.raises(TypeError):
        pack(pack().low, low=pack().low)
    with pytest.raises(ValueError):
        p.setValue("box.middle", 1)
    with pytest.raises(ValueError):
        p.range.setRange(3, 1)
    with pytest.raises(ValueError):
        p.range = type(p.range)(-1, 2) if OWN is None else slicer.parameterNodeWrapper.FloatRange(-1, 2)


def test_observers_hear_each_change_once(slicer, Wrapper, node):
    p = Wrapper(node)
    seen = []
    tag = p.AddObserver("ModifiedEvent", lambda caller, event: seen.append(p.steps))
    p.steps = 6
    assert seen == [6]
    p.steps = 6
    assert seen == [6], "the same value again is no change"
    with slicer.util.NodeModify(p):
        p.steps, p.noise, p.on = 1, 2.0, True
        assert len(seen) == 1
    assert seen == [6, 1]
    p.RemoveObserver(tag)
    p.steps = 2
    assert seen == [6, 1]


def test_what_others_write_is_seen(Wrapper, node):
    p, q = Wrapper(node), Wrapper(node)
    q.steps = 9
    assert p.steps == 9
    node.SetParameter("steps", "3")
    assert p.steps == q.steps == 3
    assert p.isCached("steps") and p.parameterNode is node


def test_two_wrappers_side_by_side_in_one_node(Wrapper, node):
    p, q = Wrapper(node, prefix="a."), Wrapper(node, prefix="b.")
    p.steps, q.steps = 1, 2
    assert (p.steps, q.steps, node.GetParameter("a.steps")) == (1, 2, "1")


def test_a_deleted_node_reads_as_none(slicer, Wrapper, node):
    p = Wrapper(node)
    p.volume = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode")
    slicer.mrmlScene.RemoveNode(p.volume)
    assert p.volume is None


def test_a_dropped_wrapper_stops_listening(slicer, node):
    from slicer.parameterNodeWrapper import parameterNodeWrapper

    @parameterNodeWrapper
    class One:
        steps: int

    before = node.HasObserver("ModifiedEvent")
    One(node)
    gc.collect()
    assert node.HasObserver("ModifiedEvent") == before


def test_names_that_are_not_there(slicer, Wrapper, node):
    from slicer.parameterNodeWrapper import isParameterNodeWrapper, parameterNodeWrapper

    p = Wrapper(node)
    for ask in (p.getValue, p.isCached, p.default, p.dataType):
        with pytest.raises(ValueError):
            ask("nothing")
    assert isParameterNodeWrapper(p) and isParameterNodeWrapper(Wrapper) and not isParameterNodeWrapper(node)
    with pytest.raises(ValueError):

        @parameterNodeWrapper
        class Reserved:
            default: int

    with pytest.raises(Exception, match="serializer"):

        @parameterNodeWrapper
        class Unknown:
            what: complex


def test_types_taken_apart(slicer):
    from slicer.parameterNodeWrapper import getNodeTypes, isNodeOrUnionOfNodes, splitAnnotations, unannotatedType

    scalar, model = slicer.vtkMRMLScalarVolumeNode, slicer.vtkMRMLModelNode
    either = Union[scalar, model, None]  # noqa: UP007
    assert splitAnnotations(Annotated[int, 1, 2]) == (int, (1, 2)) and unannotatedType(int) is int
    assert isNodeOrUnionOfNodes(Annotated[scalar, 1]) and isNodeOrUnionOfNodes(either)
    assert not isNodeOrUnionOfNodes(int)
    assert getNodeTypes(either) == ("vtkMRMLScalarVolumeNode", "vtkMRMLModelNode")


@pytest.mark.skipif(not OWN, reason="needs SLICER_SOURCE: Slicer's own wrapper to compare with")
def test_nodes_are_understood_by_both(slicer, Wrapper, node):
    """What the stand-ins write, Slicer's own wrapper reads, and the other way round: name by name."""
    folder = pathlib.Path(__file__).parent / "host/standins/base/parameterNodeWrapper"
    spec = importlib.util.spec_from_file_location(
        "standin_wrapper", folder / "__init__.py", submodule_search_locations=[str(folder)]
    )
    ours = sys.modules["standin_wrapper"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(ours)

    def simple(pnw):
        @pnw.parameterNodeWrapper
        class Simple:
            text: str
            numbers: list[int]
            table: dict[str, float]
            maybe: Optional[int]  # noqa: UP045
            either: Union[int, str]  # noqa: UP007
            volume: slicer.vtkMRMLScalarVolumeNode
            anything: Any
            range: pnw.FloatRange

        return Simple

    volume = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode")
    makers = [simple(ours), simple(slicer.parameterNodeWrapper)]
    for write, read in (makers, makers[::-1]):
        parameters = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScriptedModuleNode")
        p = write(parameters)
        p.text, p.numbers, p.table, p.maybe, p.either, p.volume = "t", [1, 2], {"a": 1.5}, 3, "s", volume
        p.anything = 2.5
        p.range.setRange(1, 4)
        q = read(parameters)
        assert (q.text, q.maybe, q.either, q.volume, q.anything) == ("t", 3, "s", volume, 2.5)
        assert list(q.numbers) == [1, 2] and dict(q.table.items()) == {"a": 1.5}
        assert (q.range.minimum, q.range.maximum) == (1, 4)
