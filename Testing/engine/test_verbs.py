"""The other verbs of the command line: methods, models, training and the demonstration."""

from __future__ import annotations

import json
import os
import shutil
import signal
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from meddiff.registry import recipes
from meddiff.store import WEIGHTS, installed
from meddiff.training import fit
from meddiff.volume import Volume, read, write

Run = Callable[..., tuple[int, str, str]]


def test_methods_lists_every_recipe(cli: Run) -> None:
    code, out, _ = cli("methods")
    assert code == 0
    for recipe in recipes():
        assert recipe.name in out and recipe.task in out
        assert recipe.paper.split(",")[0] in out


@pytest.mark.parametrize("method", [recipe.name for recipe in recipes()])
def test_methods_shows_the_parameters_of_one(cli: Run, method: str) -> None:
    code, out, _ = cli("methods", method)
    assert code == 0
    for name in next(recipe for recipe in recipes() if recipe.name == method).parameters:
        assert name in out


def test_methods_of_an_unknown_name_or_task(cli: Run) -> None:
    assert cli("methods", "cddf")[0] == 2
    code, _, err = cli("methods", "--task", "reconstrct")
    assert code == 2 and "did you mean reconstruct" in err


def test_models(cli: Run, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "tiny-brain" in cli("models", "list")[1]
    listed = {model["id"]: model for model in json.loads(cli("models", "list", "--json")[1])}
    assert listed["tiny-brain"]["folder"] == str(tiny_model)
    assert "Research." in cli("models", "show", "tiny-brain")[1]
    assert json.loads(cli("models", "show", "tiny-brain", "--json")[1])["licence"] == "CC-BY-4.0"
    assert "tiny-brain: whole and unaltered" in cli("models", "verify", "tiny-brain")[1]
    assert str(tmp_path / "models") in cli("models", "path")[1].splitlines()
    monkeypatch.delenv("MEDDIFF_MODELS")
    assert cli("models", "show", "tiny-brain")[0] == 2
    archive = tmp_path / "tiny.zip"
    with zipfile.ZipFile(archive, "w") as out:
        for path in tiny_model.iterdir():
            out.write(path, path.name)
    assert cli("models", "install", archive)[0] == 0
    assert (installed() / "tiny-brain").is_dir()
    assert cli("models", "remove", "tiny-brain")[0] == 0
    assert not (installed() / "tiny-brain").exists()


def events(text: str) -> list[dict[str, Any]]:
    """The answer of a command with --json: an object on every line."""
    return [json.loads(line) for line in text.splitlines()]


def test_programs_hear_of_models_by_events(cli: Run, tiny_model: Path, tmp_path: Path) -> None:
    assert events(cli("models", "verify", "tiny-brain", "--json")[1]) == [
        {"event": "result", "models": [{"id": "tiny-brain", "folder": str(tiny_model)}]}
    ]
    archive = tmp_path / ("a long folder name, " * 8) / "tiny.zip"
    (exported,) = events(cli("models", "export", "tiny-brain", archive, "--json")[1])
    assert exported["file"] == str(archive) and exported["bytes"] == archive.stat().st_size
    ready, done = events(cli("models", "install", archive, "--sha256", exported["sha256"], "--json")[1])
    assert ready == {"event": "ready", "pid": os.getpid()}
    assert done == {
        "event": "result",
        "id": "tiny-brain",
        "version": "1.2.0",
        "folder": str(installed() / "tiny-brain"),
    }
    code, out, err = cli("models", "install", archive, "--json")
    told = events(out)[-1]
    assert code == 2 and told["kind"] == "bad-input" and "installed already" in told["message"] and not err
    assert events(cli("models", "remove", "tiny-brain", "--json")[1])[0]["folder"] == str(installed() / "tiny-brain")
    assert "sha256" in cli("models", "export", "tiny-brain", archive)[1]


def test_verify_tells_of_every_bad_model(cli: Run, tiny_model: Path) -> None:
    shutil.copytree(tiny_model, tiny_model.parent / "other")
    (tiny_model / WEIGHTS).write_bytes(b"short")
    (tiny_model.parent / "other" / "model.json").write_text("{}")
    code, _, err = cli("models", "verify")
    assert code == 2
    assert "cut short" in err and "other" in err
    assert "other" in cli("models", "list")[2]


@pytest.fixture
def plan(small_volume: Volume, tmp_path: Path, tiny_model: Path, tiny_card: Any) -> Path:
    """A training plan of a few steps, and its data in the folder `data`."""
    (tmp_path / "data").mkdir()
    cube = Volume(small_volume.array, (1.0, 1.0, 3.0), (0, 0, 0), (1, 0, 0, 0, 1, 0, 0, 0, 1))
    write(cube, tmp_path / "data" / "a.nii.gz")
    (tmp_path / "data" / "manifest.csv").write_text("file,split\na.nii.gz,train\n")
    training = {"crop": [16, 16], "batch": 2, "steps": 4, "learning_rate": 1e-3}
    data = {
        "id": "tiny-brain",
        "spacing_mm": [1.0, 1.0],
        "intensity": tiny_card.intensity,
        "labels": ["FLAIR", "T1", "null"],
        "images": [{"files": "*.nii.gz", "label": "T1"}],
        "network": tiny_card.network.model_dump(mode="json"),
        "schedule": tiny_card.schedule.model_dump(mode="json"),
        "predicts": "v",
        "training": training,
    }
    path = tmp_path / "plan.json"
    path.write_text(json.dumps(data))
    return path


def test_training_in_two_steps_with_a_break(
    cli: Run, plan: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache, output = tmp_path / "cache.safetensors", tmp_path / "run"
    code, out, _ = cli("train", "prepare", plan, "--data", tmp_path / "data", "-o", cache)
    assert code == 0 and f"4 slices are in {cache}" in out
    averaged, calls = fit._update_average, []

    def interrupt(*arguments: Any) -> None:
        averaged(*arguments)
        calls.append(len(calls))
        signal.raise_signal(signal.SIGINT) if len(calls) == 2 else None

    monkeypatch.setattr(fit, "_update_average", interrupt)
    code, _, err = cli("train", "prior", cache, "-o", output, "--device", "cpu")
    assert code == 130 and "the same command goes on" in err
    assert (output / "checkpoint.pt").is_file()
    code, out, err = cli("train", "prior", cache, "-o", output, "--device", "cpu")
    assert code == 0 and "4 steps" in out, err
    assert len(calls) == 4  # two before Ctrl-C, two after
    code, _, err = cli("train", "prior", cache, "-o", output, "--device", "cpu")
    assert code == 2 and "has had its steps" in err


def test_training_on_what_is_no_cache(cli: Run, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("nothing")
    code, _, err = cli("train", "prior", tmp_path / "cache", "-o", tmp_path / "run")
    assert code == 2 and "not a cache" in err
    assert not (tmp_path / "run").exists()


@pytest.fixture
def starter(tiny_model: Path) -> None:
    """The tiny model under the name of the starter model."""
    card = json.loads((tiny_model / "model.json").read_text())
    (tiny_model / "model.json").write_text(json.dumps({**card, "id": "brain-mr"}))


def test_demo_of_an_own_volume(cli: Run, starter: None, small_volume: Volume, tmp_path: Path) -> None:
    coarse = Volume(small_volume.array, (2.0, 2.0, 3.0), small_volume.origin, small_volume.direction)
    write(coarse, tmp_path / "mine.nrrd")
    output = tmp_path / "demo"
    code, out, err = cli("demo", "--input", tmp_path / "mine.nrrd", "-o", output, "--slices", 1, "--acceleration", 2)
    assert code == 0, err
    assert "Resampling the slices from 2 x 2 mm to the 1 x 1 mm" in out
    images = ["reconstruction.nrrd", "residual.nrrd", "truth.nrrd", "uncertainty.nrrd", "zero-filled.nrrd"]
    names = ["picture.png", "provenance.json", *images]
    assert sorted(path.name for path in output.iterdir()) == names
    assert (output / "picture.png").read_bytes().startswith(b"\x89PNG")
    assert all(name in out.splitlines()[-1] for name in [*names, str(output)])
    assert read(output / "reconstruction.nrrd").shape[0] == 1


def test_demo_that_fails_leaves_nothing(cli: Run, starter: None, small_file: Path, tmp_path: Path) -> None:
    result = cli("demo", "--input", small_file, "-o", tmp_path / "demo", "--acceleration", 0.1)
    assert result[0] == 2 and "acceleration 0.1" in result[2]
    assert not (tmp_path / "demo").exists()


def test_demo_without_its_packages(cli: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from meddiff import demo

    monkeypatch.setattr(demo, "find_spec", lambda name: None if name == "nilearn" else True)
    code, _, err = cli("demo", "-o", tmp_path / "demo")
    assert code == 2 and 'the demo needs nilearn; install with: python -m pip install "meddiff[demo]"' in err


def test_the_template_of_the_demo_lies_in_the_middle_of_its_space() -> None:
    from meddiff.demo import crop, template

    head = template()
    inside = np.argwhere(head.array > 0.3)[:, ::-1]
    centre = head.affine[:3, :3] @ inside.mean(0) + head.origin
    assert np.abs(centre - [0.0, 18.0, 10.0]).max() < 4.0  # LPS mm: on the midline, behind and above the commissure
    few = crop(head, 24)
    assert few.shape[0] == 24 and few.shape[1] < head.shape[1] and few.shape[2] < head.shape[2]
    voxel = (np.array(few.origin) - head.origin).round().astype(int) * [-1, -1, 1]
    x, y, z = np.abs(voxel)
    assert np.array_equal(head.array[z : z + 24, y : y + few.shape[1], x : x + few.shape[2]], few.array)
