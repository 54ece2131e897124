"""The stand-ins for Slicer's Python modules: the contract's signatures, and what Slicer's documentation promises.

With SLICER_SOURCE the same tests run on Slicer's own files.
"""

# Not postponed: annotations of the wrappers below name what only their functions know.
import ast
import enum
import gc
import importlib
import inspect
import os
import pathlib
import sys
from typing import Annotated, Any, Optional, Union

import pytest

OWN = os.environ.get("SLICER_SOURCE")  # Slicer's own modules are under test
MODULES = (
    "SampleData",
    "slicer.ScriptedLoadableModule",
    "slicer.i18n",
    "slicer.packaging",
    "slicer.parameterNodeWrapper.default",
    "slicer.parameterNodeWrapper.parameterInfo",
    "slicer.parameterNodeWrapper.parameterPack",
    "slicer.parameterNodeWrapper.serializers",
    "slicer.parameterNodeWrapper.types",
    "slicer.parameterNodeWrapper.util",
    "slicer.parameterNodeWrapper.validators",
    "slicer.parameterNodeWrapper.wrapper",
)


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


# Signatures


def arguments(signature: str) -> str:
    """Each argument with its kind and default, without `self` and annotations."""
    found = ast.parse(f"def f({signature}): pass").body[0].args
    for argument in ast.walk(found):
        if isinstance(argument, ast.arg):
            argument.annotation = None
    if found.args and found.args[0].arg == "self":
        found.args.pop(0)
    return ast.unparse(found).replace("logging.DEBUG", "10")


def arguments_of(function: Any) -> str:
    signature = inspect.signature(function)
    bare = [p.replace(annotation=inspect.Parameter.empty) for p in signature.parameters.values()]
    return arguments(str(signature.replace(parameters=bare, return_annotation=inspect.Signature.empty))[1:-1])


@pytest.mark.skipif(bool(OWN), reason="Slicer's own modules are the contract")
@pytest.mark.parametrize("name", MODULES)
def test_names_and_signatures_are_those_of_the_contract(host, name):
    """Zero names outside the contract, and every argument by its name, place and default."""
    from host.contract import raw

    contract = raw()["python"][name]
    module = importlib.import_module(name)
    checked = 0
    for key, value in vars(module).items():
        if key.startswith("_") or getattr(value, "__module__", None) is None:
            continue
        if not (inspect.isclass(value) or inspect.isfunction(value)) or not value.__module__.startswith(home(name)):
            continue
        if key not in {**contract["classes"], **contract["functions"]}:
            assert value.__module__ != name, f"{name}.{key} is not in the contract"
            continue
        if inspect.isfunction(value):
            assert arguments_of(value) == arguments(contract["functions"][key]), f"{name}.{key}"
            checked += 1
            continue
        for method, signature in contract["classes"][key]["methods"].items():
            own = inspect.getattr_static(value, method, None)
            if own is None or isinstance(own, property) or (method == "__init__" and own is object.__init__):
                continue
            function = own.__func__ if isinstance(own, (staticmethod, classmethod)) else own
            assert arguments_of(function) == arguments(signature), f"{name}.{key}.{method}"
            checked += 1
        offered = {method for method in vars(value) if not method.startswith("_") and callable(getattr(value, method))}
        unknown = offered - set(contract["classes"][key]["methods"]) - PACK_METHODS
        assert not unknown, f"{name}.{key} has {unknown}, which are not in the contract"
    assert checked or name.endswith("parameterInfo")


PACK_METHODS = {"getValue", "setValue", "dataType"}  # added by a decorator, and so not seen by the extract


def home(name: str) -> str:
    return "slicer.parameterNodeWrapper" if name.startswith("slicer.parameterNodeWrapper") else name


# Parameters


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


# The base classes of a module


def logic_of(slicer, name="Probe"):
    from slicer.ScriptedLoadableModule import ScriptedLoadableModuleLogic

    return type(f"{name}Logic", (ScriptedLoadableModuleLogic,), {})()


def test_logic_has_one_parameter_node_a_scene(slicer):
    logic = logic_of(slicer)
    node = logic.getParameterNode()
    assert logic.moduleName == "Probe" and node.GetAttribute("ModuleName") == "Probe"
    assert node.GetSingletonTag() == "Probe" and logic.getParameterNode() is node
    assert logic_of(slicer, "Other").getParameterNode() is not node
    assert logic.getAllParameterNodes() == [node]
    slicer.mrmlScene.Clear(False)
    again = logic.getParameterNode()
    assert again.GetAttribute("ModuleName") == "Probe" and logic.getAllParameterNodes() == [again]


def test_logic_with_several_parameter_nodes(slicer):
    logic = logic_of(slicer)
    logic.isSingletonParameterNode = False
    first = logic.getParameterNode()
    second = slicer.mrmlScene.AddNode(logic.createParameterNode())
    assert logic.getParameterNode() is first and logic.getAllParameterNodes() == [first, second]
    assert not first.GetSingletonTag() and first.GetName() != second.GetName()


def test_tests_of_a_module_run_in_order(slicer):
    from slicer.ScriptedLoadableModule import ScriptedLoadableModuleTest

    ran = []

    class ProbeTest(ScriptedLoadableModuleTest):
        def setUp(self):
            ran.append("setUp")

        def tearDown(self):
            ran.append("tearDown")

        def test_a(self):
            ran.append("a")

        def test_b(self):
            ran.append("b")

    ProbeTest().runTest()
    assert ran == ["setUp", "a", "tearDown", "setUp", "b", "tearDown"]


# Translation


def test_text_without_translation_stays(slicer):
    from slicer.i18n import getContext, tr, translate

    assert tr("Apply {count}") == "Apply {count}" and translate("Anything", "Cancel") == "Cancel"
    assert getContext(__file__) == "test_host_python"
    assert getContext(importlib.import_module("meddiff.errors").__file__) == "meddiff.errors"


def test_a_translation_that_loses_a_value_is_refused(slicer, monkeypatch):
    import slicer.i18n as i18n

    asked = []
    monkeypatch.setattr(i18n, "translate", lambda context, text: asked.append(context) or "Löschen {anzahl}")
    assert i18n.tr("Delete {count}") == "Delete {count}"
    assert i18n.tr("Delete {anzahl}") == "Löschen {anzahl}"
    assert asked == ["test_host_python", "test_host_python"]


# Packages


@pytest.fixture
def pip(host):
    from host import standins

    recorder = standins.install()
    recorder.forget()
    with host.testing():  # no dialogs of progress
        yield recorder
    recorder.forget()


def test_requirements_files(slicer, tmp_path):
    from slicer.packaging import load_pyproject_dependencies, load_requirements

    (tmp_path / "requirements.txt").write_text("# a comment\n--index-url x\n\nnumpy>=1.20\neinops\n")
    assert [str(r) for r in load_requirements(tmp_path / "requirements.txt")] == ["numpy>=1.20", "einops"]
    project = tmp_path / "pyproject.toml"
    if sys.version_info >= (3, 11):
        project.write_text('[project]\ndependencies = ["numpy"]\n')
        assert [str(r) for r in load_pyproject_dependencies(str(project))] == ["numpy"]
        project.write_text("[tool]\n")
        with pytest.raises(KeyError):
            load_pyproject_dependencies(project)


def test_pip_check_asks_no_one(slicer, pip):
    from slicer.packaging import pip_check

    assert pip_check("numpy>=1.20") and pip_check(["numpy", "pytest"]) and pip_check("numpy pytest")
    assert not pip_check("numpy>=99") and not pip_check("no-such-package-here")
    assert pip_check("no-such-package-here; sys_platform == 'nowhere'")
    assert pip.requests == []


def test_pip_is_recorded_and_never_run(slicer, pip):
    from slicer.packaging import isPipInstallInProgress, pip_install, pip_uninstall

    pip_install("one two>=2")
    pip_install(["three"], constraints="c.txt")
    pip_uninstall("one")
    slicer.util.pip_install("four")
    assert pip.requests == [
        ["install", "one", "two>=2"],
        ["install", "three", "-c", "c.txt"],
        ["uninstall", "one", "--yes"],
        ["install", "four"],
    ]
    assert pip_install(["no-such-package-here", "torch>=2"], skip_packages=["Torch"]) == ["torch>=2"]
    assert pip.requests[-1][:2] == ["install", "no-such-package-here"] and "--no-deps" in pip.requests[-1]
    with pytest.raises(ValueError):
        pip_install("a", skip_packages=["b"], blocking=False)
    assert not isPipInstallInProgress()


def test_a_failing_pip_raises(slicer, pip):
    from subprocess import CalledProcessError

    from slicer.packaging import pip_install

    pip.answer = lambda args: 1
    with pytest.raises(CalledProcessError):
        pip_install("one")


def test_pip_ensure(slicer, pip, monkeypatch):
    from slicer.packaging import pip_ensure

    pip_ensure("numpy>=1.20")
    pip_ensure("no-such-package-here")  # in testing mode: nothing
    assert pip.requests == []
    monkeypatch.setattr(slicer.util, "confirmOkCancelDisplay", lambda *args, **kwargs: False)
    with pytest.raises(RuntimeError):
        pip_ensure("no-such-package-here", skip_in_testing=False)
    assert pip.requests == []
    monkeypatch.setattr(slicer.util, "confirmOkCancelDisplay", lambda *args, **kwargs: True)
    pip_ensure(["numpy", "no-such-package-here"], skip_in_testing=False, prompt_restart=False, requester="MedDiffusion")
    assert pip.requests == [["install", "no-such-package-here"]]


def test_sources_of_slicer_that_are_not_there(monkeypatch, tmp_path):
    from host import standins

    monkeypatch.setenv("SLICER_SOURCE", str(tmp_path))
    with pytest.raises(FileNotFoundError, match="expected Slicer's sources"):
        standins.folders()


# Sample Data


@pytest.fixture
def logic(slicer, tmp_path, monkeypatch):
    import SampleData
    from host import standins

    monkeypatch.setattr(slicer.modules, "sampleDataSources", {}, raising=False)
    monkeypatch.setattr(slicer.modules, "sampleDataUrlRewriteRules", {}, raising=False)
    with standins.cache_folder(slicer.mrmlScene, tmp_path / "cache"):
        yield SampleData.SampleDataLogic()


@pytest.fixture
def image(tmp_path):
    import numpy as np

    from meddiff.volume import IDENTITY, Volume, write

    path = tmp_path / "image.nrrd"
    write(Volume(np.arange(24, dtype=np.float32).reshape(2, 3, 4), (1, 1, 2), (0, 0, 0), IDENTITY), path)
    return path


def checksum(path):
    import hashlib

    return f"SHA256:{hashlib.sha256(path.read_bytes()).hexdigest()}"


def test_sources_are_registered_once(slicer, logic):
    import SampleData

    described = {"sampleName": "Thing", "uris": "file:///x.nrrd", "fileNames": "x.nrrd", "nodeNames": "Thing"}
    for _ in range(2):
        logic.registerCustomSampleDataSource(category="Mine", **described)
    source = SampleData.SampleDataSource(**described)
    assert len(slicer.modules.sampleDataSources["Mine"]) == 1
    assert logic.isSampleDataSourceRegistered("Mine", source) and not logic.isSampleDataSourceRegistered("You", source)
    assert logic.sourceForSampleName("Thing") == source and logic.categoryForSource(source) == "Mine"
    assert logic.sourceForSampleName("Nothing") is None and logic.downloadSamples("Nothing") == []
    logic.registerCustomSampleDataCategory("Mine", "What is mine")
    assert logic.categoryTitle("Mine") == "What is mine" and logic.categoryTitle("Other") == "Other"
    assert "MRHead" in [s.sampleName for s in logic.sampleDataSourcesByCategory("General")]
    with pytest.raises(ValueError, match="length"):
        SampleData.SampleDataSource(uris=["a", "b"], fileNames=["a"])


def test_a_file_is_loaded_as_a_node(slicer, logic, image):
    import SampleData

    source = SampleData.SampleDataSource(
        uris=image.as_uri(), fileNames="x.nrrd", nodeNames="Thing", checksums=checksum(image)
    )
    (node,) = logic.downloadFromSource(source)
    assert node.GetName() == "Thing" and slicer.util.arrayFromVolume(node).shape == (2, 3, 4)
    assert node.GetStorageNode() is None
    image.unlink()
    (again,) = logic.downloadFromSource(source)  # from the cache
    assert again is not node


def test_a_wrong_checksum_loads_nothing(slicer, logic, image):
    import SampleData

    source = SampleData.SampleDataSource(
        uris=image.as_uri(), fileNames="x.nrrd", nodeNames="Thing", checksums="SHA256:" + "0" * 64
    )
    count = slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLScalarVolumeNode")
    assert logic.downloadFromSource(source, maximumAttemptsCount=1) == []
    assert slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLScalarVolumeNode") == count


def test_files_that_are_not_to_be_loaded(logic, image):
    import SampleData

    source = SampleData.SampleDataSource(uris=image.as_uri(), fileNames="x.nrrd", loadFiles=False)
    (path,) = logic.downloadFromSource(source)
    assert pathlib.Path(path).read_bytes() == image.read_bytes()


def test_rules_rewrite_uris(logic, image):
    logic.registerUrlRewriteRule("ours", lambda uri: image.as_uri() if uri == "ours:x" else uri)
    logic.registerCustomSampleDataSource(
        category="Mine", sampleName="Ruled", uris="ours:x", fileNames="r.nrrd", nodeNames="Ruled"
    )
    assert logic.downloadSample("Ruled").GetName() == "Ruled"


# The base widget, in the host


MODULE = """
from slicer.ScriptedLoadableModule import *

class Probe(ScriptedLoadableModule):
    def __init__(self, parent):
        ScriptedLoadableModule.__init__(self, parent)
        parent.title = "Probe"

class ProbeWidget(ScriptedLoadableModuleWidget):
    made = []
    def setup(self):
        ScriptedLoadableModuleWidget.setup(self)
        self.events = ["setup"]
        ProbeWidget.made.append(self)
    def cleanup(self):
        self.events.append("cleanup")

class ProbeTest(ScriptedLoadableModuleTest):
    ran = []
    def test_probe(self):
        ProbeTest.ran.append(VERSION)

VERSION = 1
"""


@pytest.fixture
def probe(host, tmp_path):
    path = tmp_path / "Probe.py"
    path.write_text(MODULE)
    return path


def test_a_module_describes_itself(host, slicer, probe):
    module = host.load_module(probe)
    assert slicer.modules.probe.title == "Probe" and "Probe" in slicer.selfTests
    widget = module.widget()
    assert widget.moduleName == "Probe" and widget.events == ["setup"] and widget.layout is widget.parent.layout()
    assert widget.resourcePath("UI/x.ui") == os.path.join(probe.parent, "Resources", "UI/x.ui")
    assert not widget.developerMode and not hasattr(widget, "reloadButton")


def test_reload_and_test_in_developer_mode(host, slicer, probe):
    slicer.app.settings().setValue("Developer/DeveloperMode", True)
    slicer.app.userSettings().setValue("Developer/SelfTestDisplayMessageDelay", 0)
    module = host.load_module(probe)
    first = module.widget()
    assert first.developerMode and first.reloadCollapsibleButton.text == "Reload && Test"
    probe.write_text(MODULE.replace("VERSION = 1", "VERSION = 22"))
    first.reloadButton.click()
    second = module.widget()
    assert second is not first and first.events == ["setup", "cleanup"] and second.events == ["setup"]
    assert sys.modules["Probe"].VERSION == 22
    second.onReloadAndTest()
    assert sys.modules["Probe"].ProbeTest.ran == [22]


def test_the_panel_of_sample_data(host, slicer, logic, image):
    """A button for each source; the custom downloader of a source is called by its button."""
    import SampleData

    clicked = []
    logic.registerCustomSampleDataSource(
        category="Mine",
        sampleName="Custom",
        uris="ours:x",
        fileNames="x",
        customDownloader=lambda source: clicked.append(source.sampleName),
    )
    widget = host.load_module(SampleData.__file__).enter()
    slicer.util.findChild(widget.parent, "CustomPushButton").click()
    assert clicked == ["Custom"]
    assert slicer.util.findChild(widget.parent, "MRHeadPushButton").text == "MRHead"
