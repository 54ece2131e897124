"""The extension as it is installed: what CMake lists, in one flat folder, loaded from there by the test host."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from cmake_lists import MODULES, ROOT, in_cmake

FLAT = "lib/Slicer-5.12/qt-scripted-modules"
LOAD = Path(__file__).with_name("load_installed.py")


@pytest.fixture(scope="module")
def flat(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The installed extension: every listed file, and nothing else."""
    folder = tmp_path_factory.mktemp("extension") / FLAT
    for module in MODULES:
        for names in in_cmake(module).values():
            for name in names:
                target = folder / name
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(ROOT / module / name, target)
    return folder


def environment(home: Path) -> dict[str, str]:
    """That of a fresh computer: no model, and no way back into this repository."""
    kept = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "MEDDIFF_MODELS")}
    return {**kept, "MEDDIFF_HOME": str(home), "QT_QPA_PLATFORM": "offscreen", "OMP_NUM_THREADS": "1"}


@pytest.fixture(scope="module")
def told(flat: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What a fresh process says after it has loaded all modules from the flat folder."""
    home = tmp_path_factory.mktemp("home")
    command = [sys.executable, str(LOAD), str(flat), *MODULES]
    env = environment(home)
    done = subprocess.run(command, cwd=home, env=env, capture_output=True, text=True, timeout=180, check=False)
    lines = [line for line in done.stdout.splitlines() if line.startswith("told:")]
    assert lines, done.stdout + done.stderr
    return json.loads(lines[0].removeprefix("told:"))


def test_all_modules_load_and_show_their_panels(told: dict[str, Any]) -> None:
    assert told["errors"] == []
    assert all(told["icons"]) and all(told["titles"]) and len(told["titles"]) == len(MODULES)


def test_everything_comes_from_the_flat_folder(told: dict[str, Any], flat: Path) -> None:
    assert len(told["files"]) > 30
    assert [path for path in told["files"] if not path.startswith(str(flat))] == []


def test_resources_are_found(told: dict[str, Any], flat: Path) -> None:
    shelf = flat / "Resources" / "Models"
    assert set(told["models"]) == {str(folder) for folder in shelf.iterdir() if folder.is_dir()}
    assert str(shelf / "brain-mr") in told["models"]
    assert told["recipes"] >= 6 and "pydantic>=2" in told["requirements"]


def test_loading_is_quick_and_needs_nothing_heavy(told: dict[str, Any]) -> None:
    heavy = {
        "torch",
        "monai",
        "pydantic",
        "scipy",
        "skimage",
        "rich",
        "typer",
        "safetensors",
        "einops",
        "h5py",
        "sigpy",
    }
    assert heavy & set(told["packages"]) == set()
    assert told["seconds"] < 1.5


def run(words: list[str], flat: Path, home: Path, given: str = "") -> list[dict[str, Any]]:
    """The events that the engine answers, run from the flat folder."""
    env = environment(home) | {"PYTHONPATH": str(flat), "PYTHONSAFEPATH": "1"}
    command = [sys.executable, "-m", *words]
    done = subprocess.run(
        command, cwd=home, env=env, input=given, capture_output=True, text=True, timeout=180, check=False
    )
    assert done.stdout, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_the_engine_runs_from_the_flat_folder(flat: Path, tmp_path: Path) -> None:
    """The worker process and the command line find the engine, and the model that comes with the extension."""
    (result,) = run(["meddiff", "models", "verify", "--json", "brain-mr"], flat, tmp_path)
    assert result["models"][0]["folder"] == str(flat / "Resources" / "Models" / "brain-mr")
    ready, system = run(["meddiff.worker", "--serve"], flat, tmp_path, '{"describe": true}\n{"quit": true}\n')
    assert ready["event"] == "ready" and system["event"] == "system" and system["torch"]


def test_a_file_that_is_not_listed_is_missed(flat: Path, tmp_path: Path) -> None:
    """What the tests above are for: they do not find their way back into the repository."""
    partial = tmp_path / "partial"
    shutil.copytree(flat, partial, ignore=shutil.ignore_patterns("Models", "sections.py"))
    command = [sys.executable, str(LOAD), str(partial), *MODULES]
    done = subprocess.run(
        command, cwd=tmp_path, env=environment(tmp_path), capture_output=True, text=True, timeout=180, check=False
    )
    assert "told:" not in done.stdout and "sections" in done.stderr
