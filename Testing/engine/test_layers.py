"""The engine's imports go one way: a module may use its own layer and those below it, and no layer goes in circles."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path
from typing import NamedTuple

import pytest

ENGINE = Path(__file__).parents[2] / "MedDiffusion" / "meddiff"

# Lowest first; "networks.*" is every module of that package.
LAYERS = [
    ["errors", "pipes", "stopping", "counting", "places"],
    ["files", "imagefiles", "domain", "splits", "cuts"],
    ["levels", "convert", "codes"],
    ["prior", "masks", "operators", "multicoil", "coils", "noises", "simplex"],
    [
        "affine",
        "alignment",
        "warp",
        "volume",
        "intensity",
        "metrics",
        "counterfactuals",
        "devices",
        "fusion",
        "overlap",
        "presegment",
        "similarity",
        "vectors",
        "vessels",
    ],
    ["solvers", "guides", "baselines", "vesselness", "angiograms"],
    ["sampling", "ensemble", "likelihood", "anomaly", "brain", "lesions", "tiling", "windows", "spaces", "refinement"],
    ["networks.*", "card", "store", "models", "uncertainty"],
    ["recipes.*", "registry"],
    ["training.*"],
    ["kspace", "rawfiles", "phase", "posterior", "reconstruction", "recorded"],
    ["bundle_config", "bundle_export", "bundle_import", "bundle_questions", "bundle_weights", "bundles"],
    [
        "asking",
        "brain_view",
        "detection",
        "facing",
        "inpainting",
        "placing",
        "players",
        "registration",
        "segmentation",
        "synthesis",
        "translation",
    ],
    [
        "task_types",
        "task_reconstruct",
        "task_anomaly",
        "task_segment",
        "task_register",
        "task_synthesise",
        "task_translate",
        "task_inpaint",
        "tasks",
        "job",
        "worker",
        "cluster",
        "demo",
        "pictures",
    ],
    ["anomaly_cases", "anomaly_pictures"],
    [
        "bench",
        "bench_speed",
        "bench_raw",
        "bench_anomaly",
        "bench_segment",
        "bench_synthesise",
        "bench_asked",
        "bench_translate",
        "bench_inpaint",
        "bench_vessels",
        "bench_lesions",
        "rivals",
        "bench_register",
        "thresholds",
        "calibration",
    ],
    ["commands.*", "cli", "__init__", "__main__"],
]
BANNED = {"slicer", "qt", "vtk", "ctk", "pickle"}
TRAINERS = {"commands.train"}  # who may import training, beside training itself


class Import(NamedTuple):
    """One imported module (ours without the leading `meddiff.`), its line, and whether it runs when imported."""

    module: str
    ours: bool
    line: int
    at_once: bool


def modules() -> dict[str, Path]:
    """Every module of the engine by name: `levels`, `networks` (the package itself), `networks.unet`."""
    files = {path.relative_to(ENGINE).with_suffix("").parts: path for path in sorted(ENGINE.rglob("*.py"))}
    return {".".join(p[:-1] if p[-1] == "__init__" and len(p) > 1 else p): path for p, path in files.items()}


def layer(module: str) -> int | None:
    """The layer of a module; None when the table does not know it."""
    names = {module, f"{module.split('.')[0]}.*"}
    return next((i for i, row in enumerate(LAYERS) if names & set(row)), None)


def imports(module: str, source: str, known: set[str], *, package: bool = False) -> Iterator[Import]:
    """Everything that `source` imports, wherever in the file it does."""
    tree = ast.parse(source)
    for child in ast.walk(tree):
        for name in ast.iter_child_nodes(child):
            name.parent = child  # type: ignore[attr-defined]
    here = ["meddiff", *module.split(".")] if module != "__init__" else ["meddiff"]
    here = here if package or module == "__init__" else here[:-1]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = ".".join([*here[: len(here) - node.level + 1], *filter(None, [node.module])])
            names = [f"{base if node.level else node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            # The version is one constant on the first line of the package; reading it pulls in nothing.
            if name != "meddiff.__version__":
                ours = name.split(".")[0] == "meddiff"
                yield Import(_module(name, known) if ours else name, ours, node.lineno, _at_once(node))


def _module(name: str, known: set[str]) -> str:
    """The module of ours that `meddiff.x.y` is, or is a name in."""
    parts = name.split(".")[1:]
    while parts and ".".join(parts) not in known:
        parts.pop()
    return ".".join(parts) or "__init__"


def _at_once(node: ast.AST) -> bool:
    """Whether an import runs with the module: not in a function, not for the type checker alone."""
    while parent := getattr(node, "parent", None):
        if isinstance(parent, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            return False
        if isinstance(parent, ast.If) and "TYPE_CHECKING" in ast.unparse(parent.test):
            return False
        node = parent
    return True


def complaints(sources: dict[str, str], packages: set[str]) -> list[str]:
    """What is wrong with the imports of these modules, one line each."""
    wrong = [f"{module} has no layer: name it in LAYERS" for module in sources if layer(module) is None]
    graph: dict[str, set[str]] = {}
    for module, source in sources.items():
        edges = graph.setdefault(module, set())
        for found in imports(module, source, set(sources), package=module in packages):
            where = f"{module}:{found.line} imports {found.module}"
            if not found.ours:
                if found.module.split(".")[0] in BANNED:
                    wrong.append(f"{where}, which the engine may not know")
                continue
            if found.at_once and found.module != module:
                edges.add(found.module)
            mine, its = layer(module), layer(found.module)
            if mine is not None and its is not None and its > mine:
                wrong.append(f"{where}, which lies above it")
            if found.module.split(".")[0] == "training" != module.split(".")[0] and module not in TRAINERS:
                wrong.append(f"{where}: only training and {', '.join(TRAINERS)} may")
    sorter = TopologicalSorter(graph)
    try:
        sorter.prepare()
    except ValueError as error:  # graphlib.CycleError
        wrong.append(f"imports go in a circle: {' <- '.join(error.args[1])}")
    return wrong


def test_every_import_goes_down() -> None:
    found = modules()
    packages = {module for module, path in found.items() if path.name == "__init__.py"}
    sources = {module: path.read_text(encoding="utf-8") for module, path in found.items()}
    assert "errors" in sources
    assert complaints(sources, packages) == []


def test_each_module_has_one_layer() -> None:
    rows = [name for row in LAYERS for name in row]
    assert len(rows) == len(set(rows))


@pytest.mark.parametrize(
    ("sources", "complaint"),
    [
        ({"levels": "from .sampling import sample", "sampling": ""}, "levels:1 imports sampling, which lies above it"),
        ({"levels": "from . import sampling", "sampling": ""}, "lies above"),
        ({"levels": "import meddiff.sampling", "sampling": ""}, "lies above"),
        ({"levels": "def f():\n    from meddiff.job import run", "job": ""}, "levels:2 imports job"),
        ({"recipes.a": "from ..job import run", "job": ""}, "recipes.a:1 imports job"),
        ({"recipes": "from ..job import run", "job": ""}, "recipes:1 imports job"),
        ({"recipes.a": "from .. import job", "job": ""}, "recipes.a:1 imports job"),
        ({"levels": "from meddiff import sample", "__init__": ""}, "levels:1 imports __init__"),
        ({"job": "from .training.fit import fit", "training.fit": ""}, "only training and commands.train may"),
        ({"training.fit": "from ..job import run", "job": ""}, "lies above"),
        ({"metrics": "from .masks import a", "masks": "from .metrics import b"}, "circle"),
        ({"metrics": "import vtk.util"}, "may not know"),
        ({"metrics": "def f():\n    from pickle import loads"}, "may not know"),
        ({"novelty": ""}, "novelty has no layer"),
    ],
)
def test_a_wrong_import_is_found(sources: dict[str, str], complaint: str) -> None:
    assert complaint in "\n".join(complaints(sources, {"recipes"}))


@pytest.mark.parametrize(
    "sources",
    [
        {"store": "from .card import Card", "card": "from .errors import BadModel", "errors": ""},
        {"commands.train": "def f():\n    from ..training import a", "training.a": "from .. import store", "store": ""},
        {"job": "from meddiff import __version__", "__init__": "from .job import run"},
        {"recipes": "from . import a", "recipes.a": "import meddiff.registry", "registry": "f = lambda: 1"},
        {"recipes": "from .. import registry", "registry": "def f():\n    from . import recipes"},
        {"prior": "if TYPE_CHECKING:\n    from .masks import Mask", "masks": "from .prior import Prior"},
        {"volume": "import slicer_like, numpy"},
    ],
)
def test_a_right_import_passes(sources: dict[str, str]) -> None:
    assert complaints(sources, {"recipes"}) == []
