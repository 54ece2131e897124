"""The set-up adds what is missing, never touches what Slicer brought along, and says what went wrong and what to do."""

from __future__ import annotations

import importlib.metadata
import os
import re
import subprocess
import sys
import venv
import zipfile
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from children import Make, nursery

from meddiff.errors import BadInput
from MedDiffusionLib import install, packages

ALL = {"torch": "2.9.0", "numpy": "2.4.6", "SimpleITK": "2.5.7", "vtk": "9.6.2"}


class FakeSlicer:
    """Slicer's part of the set-up: what it was asked, what the user answers, and what pip then makes of it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, versions: dict[str, str]):
        self.calls: list[tuple[str, Any]] = []
        self.answer = True
        self.versions = versions
        self.environment: dict[str, str] = {}
        self.constraints = ""
        self.fails: Exception | None = None
        module: Any = ModuleType("slicer")
        module.util = SimpleNamespace(pip_install=self.pip_install, confirmOkCancelDisplay=self.confirm)
        module.modules = SimpleNamespace(pytorchutils=object())
        torch: Any = ModuleType("PyTorchUtils")
        torch.PyTorchUtilsLogic = lambda: SimpleNamespace(installTorch=self.install_torch)
        packaging: Any = ModuleType("slicer.packaging")
        packaging.pip_ensure = self.pip_ensure
        self.module = module
        for each in (module, torch, packaging):
            monkeypatch.setitem(sys.modules, each.__name__, each)
        monkeypatch.setattr(packages, "metadata", self)
        self.monkeypatch = monkeypatch

    PackageNotFoundError = importlib.metadata.PackageNotFoundError

    def version(self, name: str) -> str:
        if name not in self.versions:
            raise self.PackageNotFoundError(name)
        return self.versions[name]

    def requires(self, name: str) -> list[str] | None:
        return {"monai": ["torch>=9", "numpy>=9", "deep>=2; python_version>'3'", "never; extra == 'x'"]}.get(name)

    def without_packaging(self) -> None:
        """Be Slicer 5.10."""
        self.monkeypatch.setitem(sys.modules, "slicer.packaging", None)

    def confirm(self, text: str, windowTitle: str | None = None) -> bool:
        self.calls.append(("ask", text))
        return self.answer

    def install_torch(self, askConfirmation: bool, torchVersionRequirement: str) -> object:
        self.calls.append(("torch", (askConfirmation, torchVersionRequirement)))
        self._note(os.environ.get("PIP_CONSTRAINT", "").removeprefix("file://"))
        return self._done(["torch==2.9.0"]) if self.answer or not askConfirmation else None

    def pip_ensure(self, requirements: list[str], constraints: str, prompt_install: bool, **options: Any) -> None:
        self.calls.append(("ensure", (requirements, options)))
        self._note(constraints)
        if prompt_install and not self.answer:
            raise RuntimeError("User declined package installation")
        self._done(requirements)

    def pip_install(self, requirements: list[str]) -> None:
        self.calls.append(("pip", requirements[:-2]))
        assert requirements[-2] == "-c"
        self._note(requirements[-1])
        self._done(requirements[:-2])

    def _note(self, constraints: str) -> None:
        self.environment = {name: value for name, value in os.environ.items() if name.startswith("PIP_")}
        self.constraints = Path(constraints).read_text(encoding="utf-8")

    def _done(self, requirements: list[str]) -> object:
        if self.fails:
            raise self.fails
        for each in requirements:
            name, version = re.fullmatch(r"([\w-]+)\W*([\d.]*)", each).groups()  # type: ignore[union-attr]
            self.versions[name] = version or "1.0"
        return object()


@pytest.fixture
def slicer(monkeypatch: pytest.MonkeyPatch) -> FakeSlicer:
    for name in ("PIP_CONSTRAINT", "PIP_NO_INDEX", "PIP_FIND_LINKS"):
        monkeypatch.delenv(name, raising=False)
    return FakeSlicer(monkeypatch, dict(ALL))


# --- what is needed ---------------------------------------------------------------------------------------------------


def test_the_requirements_are_those_of_the_package() -> None:
    text = (Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8")
    block = re.search(r"^dependencies = \[(.*?)^\]", text, re.DOTALL | re.MULTILINE)
    assert block
    needed = {each for each in re.findall(r'"([^"]+)"', block[1]) if not re.match("torch|numpy|SimpleITK", each)}
    assert needed <= set(install.requirements())
    assert {"h5py", "sigpy"} <= set(install.requirements())  # raw k-space
    names = {re.split(r"\W", each)[0].lower() for each in install.requirements()}
    assert not names & {name.lower() for name in install.SKIPPED}


def test_the_status_of_this_environment_is_known_without_importing() -> None:
    code = "import sys\nfrom MedDiffusionLib import install\nstatus = install.status()\nassert status.ready, status\n"
    code += "assert not {'torch', 'numpy', 'monai', 'slicer'} & set(sys.modules)"
    environment = {**os.environ, "PYTHONPATH": str(Path(install.__file__).parents[1])}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment)


def test_what_is_missing_or_too_old(slicer: FakeSlicer) -> None:
    slicer.versions |= {"torch": "2.3.1", "monai": "1.4rc1", "pydantic": "1.10.2"}
    slicer.versions |= dict.fromkeys(("einops", "h5py", "rich", "safetensors", "scipy", "sigpy", "typer"), "1.0")
    status = install.status()
    assert not status.ready
    assert status.missing == ("torch>=2.4", "monai>=1.4", "pydantic>=2", "scikit-image")
    assert (
        status.sentence
        == "The set-up is not complete: PyTorch, monai>=1.4, pydantic>=2, scikit-image must be installed."
    )
    slicer.versions |= {"torch": "2.13.0+cpu", "monai": "1.6.1", "pydantic": "2.0", "scikit-image": "0.2"}
    assert install.status() == install.Status(
        True, "All that the networks need is installed, PyTorch 2.13.0+cpu among it."
    )


# --- installing -------------------------------------------------------------------------------------------------------


def test_everything_from_nothing(slicer: FakeSlicer) -> None:
    del slicer.versions["torch"]
    said: list[str] = []
    assert install.install(progress=said.append).ready
    (first, torch), (second, (names, options)) = slicer.calls
    assert (first, torch) == ("torch", (True, ">=2.4"))
    assert second == "ensure" and names == install.requirements()
    assert options["skip_packages"] == ["torch", "torchvision", "numpy", "SimpleITK", "vtk"]
    assert options["requester"] == "MedDiffusion" and options["prompt_restart"] is True
    assert slicer.constraints == "numpy==2.4.6\nSimpleITK==2.5.7\nvtk==9.6.2\ntorch==2.9.0\n"
    assert [sentence.split()[0] for sentence in said] == ["Installing", "Installing", "All"]
    assert "PIP_CONSTRAINT" not in os.environ
    slicer.calls.clear()
    slicer.versions["deep"] = "2"
    assert install.install().ready and slicer.calls == []  # nothing to do


def test_torch_too_is_held_off_slicers_packages(slicer: FakeSlicer) -> None:
    slicer.versions["torch"] = "2.0"
    slicer.fails = subprocess.CalledProcessError(1, ["ltt"])
    with pytest.raises(BadInput, match=r"torch>=2.4 could not be installed \(pip ended with code 1\)"):
        install.install(confirm=False)
    assert slicer.calls == [("torch", (False, ">=2.4"))]
    assert slicer.constraints == "numpy==2.4.6\nSimpleITK==2.5.7\nvtk==9.6.2\n"  # an old torch may go


def test_what_a_broken_set_up_left_out_is_found(slicer: FakeSlicer) -> None:
    install.install(confirm=False)
    slicer.calls.clear()
    assert "deep" not in slicer.versions and install.status().ready  # the quick look does not go that far
    install.install(confirm=False)
    assert [(kind, what[0]) for kind, what in slicer.calls] == [("ensure", ["deep>=2"])]


def test_slicer_5_10(slicer: FakeSlicer) -> None:
    slicer.without_packaging()
    assert install.install().ready
    (ask, text), (kind, names) = slicer.calls
    assert ask == "ask" and "monai>=1.4" in text
    assert kind == "pip" and names == install.requirements()
    assert "numpy==2.4.6\n" in slicer.constraints


@pytest.mark.parametrize("has_torch", [True, False])
@pytest.mark.parametrize("old", [True, False])
def test_a_refusal_changes_nothing(slicer: FakeSlicer, has_torch: bool, old: bool) -> None:
    slicer.answer = False
    if old:
        slicer.without_packaging()
    if not has_torch:
        del slicer.versions["torch"]
    before = dict(slicer.versions)
    status = install.install()
    assert not status.ready and "declined" in status.sentence and "einops" in status.missing
    assert slicer.versions == before


def test_without_the_extension_pytorch(slicer: FakeSlicer) -> None:
    del slicer.versions["torch"]
    slicer.module.modules = SimpleNamespace()
    with pytest.raises(BadInput, match="Extensions Manager"):
        install.install()
    assert slicer.calls == []


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (subprocess.CalledProcessError(7, "pip"), r"pip ended with code 7.*HTTPS_PROXY"),
        (RuntimeError("PythonSlicer executable not found"), "PythonSlicer executable not found"),
        (OSError(28, "No space left on device"), "No space left on device"),
    ],
)
def test_a_failure_is_a_sentence(slicer: FakeSlicer, error: Exception, words: str) -> None:
    slicer.fails = error
    with pytest.raises(BadInput, match=words):
        install.install()


def test_a_changed_numpy_is_told(slicer: FakeSlicer, monkeypatch: pytest.MonkeyPatch) -> None:
    def careless(requirements: list[str]) -> None:
        slicer.versions |= {re.split(r"\W", each)[0]: "9" for each in [*install.requirements(), "numpy"]}

    slicer.without_packaging()
    slicer.versions["scikit-image"] = "1"
    slicer.module.util.pip_install = careless
    with pytest.raises(BadInput, match=r"as they were: numpy 2\.4\.6 -> 9\. Install Slicer again"):
        install.install(confirm=False)


# --- without the internet ---------------------------------------------------------------------------------------------


def wheel(folder: Path, name: str, version: str, *requires: str) -> Path:
    """A package of one empty module."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}-{version}-py3-none-any.whl"
    info = f"{name}-{version}.dist-info"
    needs = "".join(f"Requires-Dist: {each}\n" for each in requires)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{name}.py", "")
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{needs}")
        archive.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr(f"{info}/RECORD", "")
    return path


def test_a_folder_without_wheels(slicer: FakeSlicer, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="holds no wheels.*pip download -r"):
        install.install(folder=tmp_path)
    wheel(tmp_path, "einops", "1.0")
    del slicer.versions["torch"]
    with pytest.raises(BadInput, match="holds no wheel of torch"):
        install.install(folder=tmp_path)
    assert slicer.calls == []


def test_the_folder_takes_the_place_of_the_internet(slicer: FakeSlicer, tmp_path: Path) -> None:
    folder = tmp_path / "my wheels"
    wheel(folder, "torch", "2.9")
    del slicer.versions["torch"]
    assert install.install(folder=folder).ready
    assert [kind for kind, _ in slicer.calls] == ["ask", "pip", "ensure"]
    assert slicer.environment["PIP_NO_INDEX"] == "1"
    assert slicer.environment["PIP_FIND_LINKS"] == folder.as_uri() and " " not in folder.as_uri()
    assert "PIP_NO_INDEX" not in os.environ


class RealPip:
    """An environment of its own with Slicer's numpy, which the real pip installs into."""

    PackageNotFoundError = importlib.metadata.PackageNotFoundError

    def __init__(self, folder: Path, wheels: Path):
        venv.create(folder, with_pip=False)
        self.python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
        script = "import sysconfig; print(sysconfig.get_path('purelib'))"
        self.site = subprocess.run(
            [self.python, "-c", script], capture_output=True, text=True, check=True
        ).stdout.strip()
        self.install(["--no-index", "--find-links", str(wheels), "numpy==1.0"])

    def install(self, arguments: list[str]) -> None:
        subprocess.run(
            [sys.executable, "-m", "pip", "--python", self.python, "install", "-q", *arguments],
            check=True,
            capture_output=True,
        )

    def _find(self, name: str) -> importlib.metadata.Distribution:
        for found in importlib.metadata.distributions(name=name, path=[self.site]):
            return found
        raise self.PackageNotFoundError(name)

    def version(self, name: str) -> str:
        return self._find(name).version

    def requires(self, name: str) -> list[str] | None:
        return self._find(name).requires


def test_pip_itself_leaves_numpy_alone(slicer: FakeSlicer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wheels = tmp_path / "my wheels"
    for name, version, *requires in [
        ("numpy", "1.0"),
        ("numpy", "9.0"),
        ("torch", "2.9", "numpy"),
        ("modest", "1.0", "numpy", "torch>=2"),
        ("greedy", "1.0", "numpy>=9"),
    ]:
        wheel(wheels, name, version, *requires)
    needs = tmp_path / "requirements.txt"
    real = RealPip(tmp_path / "env", wheels)
    slicer.without_packaging()
    slicer.module.util.pip_install = real.install
    monkeypatch.setattr(packages, "metadata", real)
    monkeypatch.setattr(install, "REQUIREMENTS", needs)
    needs.write_text("modest\n", encoding="utf-8")
    assert install.install(confirm=False, folder=wheels).ready
    assert {name: real.version(name) for name in ("modest", "torch", "numpy")} == {
        "modest": "1.0",
        "torch": "2.9",
        "numpy": "1.0",
    }
    needs.write_text("modest\ngreedy\n", encoding="utf-8")
    with pytest.raises(BadInput, match="greedy could not be installed"):
        install.install(confirm=False, folder=wheels)
    failing = pytest.raises(subprocess.CalledProcessError)
    with packages.constraints(["numpy"]) as file, packages.settings(wheels, file), failing:  # as for PyTorchUtils
        real.install(["greedy"])
    assert real.version("numpy") == "1.0"
    real.install(["--no-index", "--find-links", str(wheels), "greedy"])  # what pip does when nobody holds it
    assert real.version("numpy") == "9.0"


# --- the check --------------------------------------------------------------------------------------------------------

TOLD = """{"torch": "2.9", "python": "3.12", "meddiff": "0.1", "devices": [
  {"name": "cuda:0", "title": "Old GPU", "memory": 1, "free": 0, "works": False, "why": "built for sm_80."},
  {"name": "cuda:1", "title": "New GPU", "memory": 8589934592, "free": 4294967296, "works": True, "why": ""},
  {"name": "cpu", "title": "CPU", "memory": 8589934592, "free": 0, "works": True, "why": ""}], "advice": "update it"}"""


@pytest.fixture
def fake(tmp_path: Path) -> Iterator[Make]:
    with nursery(tmp_path, "check-of-the-set-up") as make:
        yield make


def test_the_check_in_words(fake: Make) -> None:
    ticks: list[int] = []
    worker = fake(f"assert hear() == {{'describe': True}}\nemit('system', **{TOLD})\nhear()\n")
    assert install.check(lambda: ticks.append(1), worker) == [
        "PyTorch 2.9, Python 3.12, MedDiffusion 0.1.",
        "Old GPU cannot be used: built for sm_80.",
        "New GPU computes; 4.0 GB of 8.0 GB are free.",
        "CPU computes; it has 8.0 GB.",
        "Jobs run on New GPU unless another one is chosen.",
        "Update it.",
    ]
    assert ticks and not worker.running


def test_a_check_without_an_answer(fake: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    (sentence,) = install.check(worker=fake("sys.exit('OSError: libcuda')"))
    assert sentence == "The worker process gave no answer. OSError: libcuda"
    monkeypatch.setattr(install, "PATIENCE", 0.1)
    assert "no answer" in install.check(worker=fake("time.sleep(600)"))[0]
    broken = {"torch": None, "devices": [], "advice": "PyTorch cannot be loaded: no"}
    assert install.sentences(broken) == ["PyTorch cannot be loaded: no."]
    assert "could not be started" in install.check(worker=install.Worker(["/absent/python"]))[0]
