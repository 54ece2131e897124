"""The worker speaks JSON lines and nothing else, gives the voxels that `run` gives, and can be killed at any time."""

from __future__ import annotations

import base64
import io
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from meddiff import job as job_module
from meddiff import worker
from meddiff.job import Job, run
from meddiff.levels import CLEAN
from meddiff.sampling import Progress
from meddiff.stopping import stop_on
from meddiff.volume import read

ENGINE = Path(worker.__file__).parents[1]


@pytest.fixture
def job_file(small_file: Path, tiny_model: Path, tmp_path: Path) -> Path:
    options = {"acceleration": 2, "samples": 2}
    job = Job("ddnm", "tiny-brain", {"volume": str(small_file)}, str(tmp_path / "out"), options, {"steps": 3})
    path = tmp_path / "job.json"
    path.write_text(job.to_json(), encoding="utf-8")
    return path


def rewrite(path: Path, **changes: Any) -> Path:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}), encoding="utf-8")
    return path


def start(job: Path) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": str(ENGINE)}
    command = [sys.executable, "-m", "meddiff.worker", str(job)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


def inside(*arguments: str) -> tuple[int, list[dict[str, Any]]]:
    """The worker's exit code and events, without a process of its own."""
    out = io.StringIO()
    code = worker.main(list(arguments), out)
    return code, [json.loads(line) for line in out.getvalue().splitlines()]


def test_a_process_of_its_own_gives_the_same_voxels(job_file: Path, tmp_path: Path) -> None:
    process = start(job_file)
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    events = [json.loads(line) for line in out.splitlines()]  # nothing but JSON
    assert {"progress"} <= {event["event"] for event in events[:-1]} <= {"progress", "preview"}
    assert events[-1]["event"] == "result"
    here = run(Job.from_json(rewrite(job_file, output=str(tmp_path / "here")).read_text()))
    assert events[-1]["figures"] == here.figures
    for name, path in events[-1]["outputs"].items():
        if path.endswith(".nrrd"):
            assert np.array_equal(read(path).array, read(here.outputs[name]).array)


def test_a_killed_worker_leaves_no_visible_file(job_file: Path, tmp_path: Path) -> None:
    process = start(rewrite(job_file, recipe="score-mri", parameters={"steps": 1000}))
    assert process.stdout is not None
    assert json.loads(process.stdout.readline())["event"] == "progress"
    process.kill()
    process.communicate(timeout=60)
    assert [path for path in (tmp_path / "out").iterdir() if not path.name.startswith(".")] == []


def test_what_libraries_print_is_not_an_event() -> None:
    code = "import os\nfrom meddiff.worker import own_output\nout = own_output()\nprint('chatter')\n"
    code += "os.write(1, b'more\\n')\nout.write('event\\n')\nout.flush()\n"
    environment = {**os.environ, "PYTHONPATH": str(ENGINE)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True)
    assert done.stdout == "event\n"
    assert "chatter" in done.stderr and "more" in done.stderr


def test_bad_input_is_one_event(job_file: Path, tmp_path: Path) -> None:
    code, events = inside(str(rewrite(job_file, model="tiny-brian")))
    assert code == 2
    assert [(e["event"], e["kind"]) for e in events] == [("error", "bad-input")]
    assert "did you mean tiny-brain" in events[0]["message"]
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("arguments", [(), ("a", "b"), ("absent.json",)])
def test_wrong_arguments(arguments: tuple[str, ...]) -> None:
    code, events = inside(*arguments)
    assert code == 2 and events[0]["kind"] == "bad-input"


def test_what_the_user_should_know_is_a_warning(job_file: Path) -> None:
    code, events = inside(str(rewrite(job_file, options={"samples": 1})))
    assert code == 0
    warning = next(event for event in events if event["event"] == "warning")
    assert warning["message"].startswith("one sample has no spread")


def test_a_signal_cancels(job_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def told(job: Job, report: Any, should_stop: Any) -> Any:
        def stop(progress: Progress) -> None:
            os.kill(os.getpid(), signal.SIGTERM)

        return run(job, stop, should_stop)

    monkeypatch.setattr(job_module, "run", told)
    code, events = inside(str(job_file))
    assert code == 130
    assert [e["kind"] for e in events] == ["cancelled"]
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("error", "hint"),
    [
        (MemoryError(), "the computer ran out of memory"),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20 GiB"), "the GPU ran out of memory"),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"), "the computer ran out"),
        (ZeroDivisionError("division by zero"), ""),
    ],
)
def test_the_unexpected_is_a_sentence_with_a_hint(
    job_file: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, hint: str
) -> None:
    def fail(*_: Any) -> Any:
        raise error

    monkeypatch.setattr(job_module, "run", fail)
    code, events = inside(str(job_file))
    assert code == 1
    assert events[0]["kind"] == type(error).__name__ and events[0]["message"]
    assert events[0]["hint"].startswith(hint) and bool(events[0]["hint"]) == bool(hint)


def test_a_second_signal_is_the_system_s_own() -> None:
    before = signal.getsignal(signal.SIGINT)
    with stop_on(signal.SIGINT) as should_stop:
        assert not should_stop()
        os.kill(os.getpid(), signal.SIGINT)
        assert should_stop()
        assert signal.getsignal(signal.SIGINT) is signal.SIG_DFL
    assert signal.getsignal(signal.SIGINT) is before


def test_a_preview_is_the_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    out = io.StringIO()
    report = worker.Reporter(out, every=0.0)
    image = torch.zeros(2, 1, 3, 4)
    image[0, 0, 1, 2] = -2.0
    report(Progress(1, 1, CLEAN, image))
    report(Progress(1, 1, CLEAN, None))
    events = [json.loads(line) for line in out.getvalue().splitlines()]
    assert [e["event"] for e in events] == ["progress", "preview", "progress"]
    grey = np.frombuffer(base64.b64decode(events[1]["grey8"]), np.uint8).reshape(events[1]["shape"])
    assert grey.shape == (3, 4) and grey[1, 2] == 255 and grey.sum() == 255
