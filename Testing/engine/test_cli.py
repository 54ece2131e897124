"""The command line: the same voxels as `run`, one sentence for bad input, exit codes, and nothing half-written."""

from __future__ import annotations

import inspect
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_type_hints

import numpy as np
import pytest
import SimpleITK as sitk

import meddiff
from meddiff import job as job_module
from meddiff.commands import jobs
from meddiff.job import Job, run
from meddiff.reconstruction import Acquisition, reconstruct
from meddiff.store import WEIGHTS
from meddiff.tasks import acquisition_kinds
from meddiff.volume import Volume, read, write

ENGINE = Path(meddiff.__file__).parents[1]
Run = Callable[..., tuple[int, str, str]]
FEW = ("--set", "steps=2", "--samples", "2")


@pytest.fixture
def reconstruction(cli: Run, tiny_model: Path, tmp_path: Path) -> Run:
    """`meddiff reconstruct` with the tiny model, a few steps, and the folder `out`."""

    def call(volume: Path, *arguments: object) -> tuple[int, str, str]:
        return cli("reconstruct", volume, "-o", tmp_path / "out", "--model", "tiny-brain", *FEW, *arguments)

    return call


def process(*arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "meddiff", *map(str, arguments)]
    environment = {**os.environ, "PYTHONPATH": str(ENGINE)}
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


# --- a good run -------------------------------------------------------------------------------------------------------


def test_the_command_line_gives_the_voxels_of_run(reconstruction: Run, small_file: Path, tmp_path: Path) -> None:
    code, out, err = reconstruction(small_file, "--acceleration", 2, "--contrast", "T1", "--seed", 5)
    assert (code, err) == (0, "")
    options = {"acceleration": 2.0, "contrast": "T1", "samples": 2}
    inputs = {"volume": str(small_file)}
    here = run(Job("pnp", "tiny-brain", inputs, str(tmp_path / "here"), options, {"steps": 2}, seed=5))
    for name in ("reconstruction", "uncertainty", "zero-filled"):
        assert np.array_equal(read(tmp_path / "out" / f"{name}.nrrd").array, read(here.outputs[name]).array)
    assert f"{here.figures['psnr_reconstruction']:.2f}" in out and "PSNR [dB]" in out
    assert str(tmp_path / "out") in out.splitlines()[-1]


def test_a_job_file_prints_json(cli: Run, tiny_model: Path, small_file: Path, tmp_path: Path) -> None:
    inputs = {"volume": str(small_file)}
    made = Job("ddnm", "tiny-brain", inputs, str(tmp_path / "out"), {"samples": 1, "acceleration": 2}, {"steps": 1})
    (tmp_path / "job.json").write_text(made.to_json())
    code, out, err = cli("run", tmp_path / "job.json", "--json")
    assert code == 0
    told = json.loads(out)
    assert told["provenance"] == json.loads(Path(told["outputs"]["provenance"]).read_text())
    assert "one sample has no spread" in err


def test_help_names_the_defaults_of_the_engine() -> None:
    engine = {name: getattr(Acquisition(), name) for name in acquisition_kinds()}
    engine |= {name: p.default for name, p in inspect.signature(reconstruct).parameters.items()}
    hints = get_type_hints(jobs.reconstruct, include_extras=True)
    for name in ("acceleration", "pattern", "mask_seed", "coils", "noise", "preset", "plane", "samples", "batch"):
        assert f"default: {engine[name]}]" in hints[name].__metadata__[0].help, name
    signature = inspect.signature(jobs.reconstruct).parameters
    assert signature["method"].default == engine["method"] and signature["seed"].default == engine["seed"]


def test_help_is_quick() -> None:
    code = "import sys, meddiff.cli\nsys.exit('torch' in sys.modules or 'SimpleITK' in sys.modules)"
    environment = {**os.environ, "PYTHONPATH": str(ENGINE)}
    assert subprocess.run([sys.executable, "-c", code], env=environment, check=False).returncode == 0


@pytest.mark.parametrize("name", ["", "reconstruct", "anomaly", "segment", "methods", "models", "train", "run", "demo"])
def test_every_verb_has_help(cli: Run, name: str) -> None:
    verb = (name,) if name else ()
    code, out, _ = cli(*verb, "--help")
    assert code == 0 and "Usage: meddiff" in out


def test_every_public_name_is_there() -> None:
    for name in meddiff.__all__:
        assert getattr(meddiff, name) is not None
    assert {"sample", "Prior", "Schedule", "DDIM", "Job", "run"} <= set(dir(meddiff))
    with pytest.raises(AttributeError, match="smaple"):
        _ = meddiff.smaple


# --- bad input --------------------------------------------------------------------------------------------------------


def spoilt(volume: Volume, **changes: Any) -> Volume:
    fields = {name: getattr(volume, name) for name in ("array", "spacing", "origin", "direction")}
    return Volume(**{**fields, **changes})


def nan(volume: Volume, path: Path) -> None:
    array = volume.array.copy()
    array[0, 0, 0], array[1, 1, 1] = np.nan, np.inf
    write(spoilt(volume, array=array), path)


def flat(volume: Volume, path: Path) -> None:
    write(spoilt(volume, array=np.full_like(volume.array, 7)), path)


def negative(volume: Volume, path: Path) -> None:
    write(spoilt(volume, array=-volume.array), path)


def coarse(volume: Volume, path: Path) -> None:
    write(spoilt(volume, spacing=(2.5, 2.5, 3.0)), path)


def two_dimensional(volume: Volume, path: Path) -> None:
    sitk.WriteImage(sitk.GetImageFromArray(volume.array[0]), str(path))


def four_dimensional(volume: Volume, path: Path) -> None:
    sitk.WriteImage(sitk.JoinSeries([sitk.GetImageFromArray(volume.array)] * 2), str(path))


def empty(_: Volume, path: Path) -> None:
    path.write_bytes(b"")


def absent(_: Volume, path: Path) -> None:
    path.unlink(missing_ok=True)


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (nan, "2 NaN or infinite voxels"),
        (flat, "7.0 in every voxel"),
        (negative, "no voxel above 0"),
        (coarse, "spacing of 2.5 x 2.5 mm; model 'tiny-brain' was trained at 1 x 1 mm"),
        (two_dimensional, "2D image"),
        (four_dimensional, "4D image"),
        (empty, "cannot be read"),
        (absent, "does not exist"),
    ],
)
def test_bad_volumes(
    reconstruction: Run, small_volume: Volume, tmp_path: Path, spoil: Callable[..., None], sentence: str
) -> None:
    spoil(small_volume, tmp_path / "bad.nrrd")
    assert_refused(reconstruction(tmp_path / "bad.nrrd"), sentence, tmp_path / "out")


def assert_refused(result: tuple[int, str, str], sentence: str, output: Path) -> None:
    """Exit code 2, one line with the sentence on standard error, and not even a folder."""
    code, out, err = result
    assert (code, out) == (2, "")
    assert err.startswith("Error: ") and sentence in err
    assert err.count("\n") == 1
    assert not output.exists()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--acceleration", 0.5), "acceleration 0.5 came; expected at least 1"),
        (("--model", "tiny-brian"), "did you mean tiny-brain?"),
        (("--method", "ddmn"), "did you mean ddnm"),
        (("--pattern", "cartesian"), "did you mean cartesian-"),
        (("--contrast", "T1w"), "did you mean T1?"),
        (("--plane", "axal"), "did you mean axial or sagittal?"),
        (("--preset", "slow"), "unknown preset 'slow'"),
        (("--set", "steps"), "expected NAME=VALUE"),
        (("--set", "step=3"), "did you mean steps"),
        (("--set", "steps=many"), "steps must be int, got 'many'"),
        (("--set", "steps=0"), "steps must be between 1 and 2000"),
        (("--samples", 0), "at least one sample"),
        (("--device", "abacus"), "choose auto, cpu, cuda"),
        (("--mask", "absent.npy"), "does not exist"),
    ],
)
def test_bad_options(
    reconstruction: Run, small_file: Path, tmp_path: Path, arguments: tuple[object, ...], sentence: str
) -> None:
    assert_refused(reconstruction(small_file, *arguments), sentence, tmp_path / "out")


def test_a_mask_of_another_shape(reconstruction: Run, small_file: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "mask.npy", np.ones((8, 8)))
    result = reconstruction(small_file, "--mask", tmp_path / "mask.npy")
    assert_refused(result, "the mask has shape (8, 8); the k-space has shape (24, 20)", tmp_path / "out")


@pytest.mark.parametrize("keep", [100, -1])
def test_a_tampered_or_truncated_weight_file(
    reconstruction: Run, small_file: Path, tiny_model: Path, tmp_path: Path, keep: int
) -> None:
    path = tiny_model / WEIGHTS
    data = path.read_bytes()
    path.write_bytes(data[:keep] if keep > 0 else data[:-1] + bytes([data[-1] ^ 1]))
    assert_refused(reconstruction(small_file), "cut short" if keep > 0 else "was altered", tmp_path / "out")


def test_an_unwritable_output_folder(cli: Run, tiny_model: Path, small_file: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    output = tmp_path / "file" / "out"
    result = cli("reconstruct", small_file, "-o", output, "--model", "tiny-brain")
    assert_refused(result, "cannot write to the output folder", output)


@pytest.mark.parametrize(
    "arguments", [("--acceleraton", 4), ("reconstruct",), ("reconstruct", "x", "-o", "y", "--seed", "z")]
)
def test_wrong_usage(cli: Run, arguments: tuple[object, ...]) -> None:
    code, _, err = cli(*arguments)
    assert code == 2 and "Usage" in err and "Traceback" not in err


def test_a_near_name_of_an_option_is_offered(cli: Run) -> None:
    code, _, err = cli("reconstruct", "x", "-o", "y", "--acceleraton", 4)
    assert code == 2 and "--acceleration" in err


# --- the unexpected and Ctrl-C ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (RuntimeError("the tea is cold"), "RuntimeError: the tea is cold (--debug shows where"),
        (MemoryError("no room"), "the computer ran out of memory; use a smaller batch"),
    ],
)
@pytest.mark.parametrize("debug", [False, True])
def test_an_unexpected_error(
    reconstruction: Run, small_file: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, sentence: str, debug: bool
) -> None:
    def fail(*_: Any) -> Any:
        raise error

    monkeypatch.setattr(job_module, "run", fail)
    code, _, err = reconstruction(small_file, *(["--debug"] if debug else []))
    assert code == 1 and sentence in err
    assert ("Traceback" in err) is debug


def test_ctrl_c_leaves_nothing(small_file: Path, tiny_model: Path, tmp_path: Path) -> None:
    output = tmp_path / "new" / "out"
    slow = ("--method", "score-mri", "--set", "steps=1000", "--samples", 100)
    running = process("reconstruct", small_file, "-o", output, "--model", "tiny-brain", *slow)
    began = time.monotonic()
    while not output.exists() and time.monotonic() - began < 120 and running.poll() is None:
        time.sleep(0.05)
    running.send_signal(signal.SIGINT)
    out, err = running.communicate(timeout=120)
    assert running.returncode == 130, err
    assert out == "" and err.startswith("Stopped: ") and err.count("\n") == 1
    assert not (tmp_path / "new").exists()
