"""The worker speaks JSON lines and nothing else, gives the voxels that `run` gives, and can be killed at any time."""

from __future__ import annotations

import base64
import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

import meddiff
from meddiff import devices, worker
from meddiff import job as job_module
from meddiff.card import Card
from meddiff.job import Job, run
from meddiff.levels import CLEAN
from meddiff.models import Keeper, save
from meddiff.sampling import Progress
from meddiff.stopping import stop_on
from meddiff.store import load_weights
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
    assert events[-1]["provenance"]["settings"] == here.provenance["settings"]
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
    def told(job: Job, report: Any, should_stop: Any, loader: Any) -> Any:
        def stop(progress: Progress) -> None:
            os.kill(os.getpid(), signal.SIGTERM)

        return run(job, stop, should_stop, loader)

    monkeypatch.setattr(job_module, "run", told)
    code, events = inside(str(job_file))
    assert code == 130
    assert [e["kind"] for e in events] == ["cancelled"]
    assert not (tmp_path / "out").exists()


NO_MEMORY = "out-of-memory"


@pytest.mark.parametrize(
    ("error", "kind", "hint"),
    [
        (MemoryError(), NO_MEMORY, "the computer ran out of memory"),
        (
            torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20 GiB"),
            NO_MEMORY,
            "the GPU ran out of memory",
        ),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"), NO_MEMORY, "the computer ran out"),
        (RuntimeError("DefaultCPUAllocator: not enough memory: you tried"), NO_MEMORY, "the computer ran out"),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling"), NO_MEMORY, "the GPU ran out"),
        (OSError(12, "Cannot allocate memory"), NO_MEMORY, "the computer ran out"),
        (ZeroDivisionError("division by zero"), "ZeroDivisionError", ""),
        (KeyError("out of memory.nii"), "KeyError", ""),
    ],
)
def test_the_unexpected_is_a_sentence_with_a_hint(
    job_file: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, kind: str, hint: str
) -> None:
    def fail(*_: Any) -> Any:
        raise error

    monkeypatch.setattr(job_module, "run", fail)
    code, events = inside(str(job_file))
    assert code == 1
    assert events[0]["kind"] == kind and events[0]["message"]
    assert events[0]["hint"].startswith(hint) and bool(events[0]["hint"]) == bool(hint)


def test_a_second_signal_is_the_system_s_own() -> None:
    before = signal.getsignal(signal.SIGINT)
    with stop_on(signal.SIGINT) as should_stop:
        assert not should_stop()
        signal.raise_signal(signal.SIGINT)
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


def test_time_left_counts_from_the_first_step(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0.0, 100.0, 102.0])  # a minute and a half of loading, then one step a second
    monkeypatch.setattr(worker.time, "monotonic", lambda: next(clock))
    out = io.StringIO()
    report = worker.Reporter(out)
    report(Progress(1, 11, CLEAN, None))
    report(Progress(3, 11, CLEAN, None))
    last = json.loads(out.getvalue().splitlines()[-1])
    assert (last["steps_per_second"], last["seconds_left"]) == (1.0, 8.0)


# --- a worker that stays ----------------------------------------------------------------------------------------------


class Server:
    """A worker in --serve mode, spoken to line by line."""

    def __init__(self, *arguments: str, code: str = ""):
        command = [sys.executable, "-m", "meddiff.worker", "--serve", *arguments]
        if code:
            command = [sys.executable, "-c", code]
        environment = {**os.environ, "PYTHONPATH": str(ENGINE)}
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
        )

    def say(self, **command: Any) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(command) + "\n")
        self.process.stdin.flush()

    def hear(self, *names: str) -> dict[str, Any]:
        """The next event of one of these names; all others until then are of a run."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            event = json.loads(line)
            if event["event"] in names:
                return event
            assert event["event"] in ("progress", "preview", "warning"), event
        raise AssertionError(f"the worker ended: {self.process.communicate()[1]}")

    def end(self) -> int:
        """Close its input, and wait for its end."""
        with self.process:
            self.process.communicate(timeout=60)
        return self.process.returncode


@pytest.fixture
def server(job_file: Path) -> Iterator[Server]:
    served = Server()
    yield served
    served.process.kill()
    with served.process:
        pass


def test_a_second_run_has_the_model_and_gives_the_same_voxels(server: Server, job_file: Path, tmp_path: Path) -> None:
    assert server.hear("ready") == {"event": "ready", "pid": server.process.pid, "version": meddiff.__version__}
    folders = [tmp_path / name for name in ("first", "second", "here")]
    jobs = [json.loads(rewrite(job_file, output=str(folder)).read_text()) for folder in folders]
    for job in jobs[:2]:
        server.say(run=job)
        assert server.hear("result", "error")["provenance"]["job"]["output"] == job["output"]
    run(Job(**jobs[2]))
    made = [read(folder / "reconstruction.nrrd").array for folder in folders]
    assert np.array_equal(made[0], made[1]) and np.array_equal(made[0], made[2])
    server.say(run={**jobs[0], "model": "tiny-brian"})
    assert server.hear("error")["kind"] == "bad-input"
    server.say(run=[])
    assert "JSON object" in server.hear("error")["message"]
    server.say(dance=True)
    assert "'{\"dance\": true}' is no command" in server.hear("error")["message"]
    server.say(describe=True)
    told = server.hear("system")
    assert told["torch"] == torch.__version__ and told["threads"] >= 1
    assert told["devices"][-1]["name"] == "cpu" and told["devices"][-1]["works"] is True
    server.say(run={**jobs[0], "recipe": "score-mri", "parameters": {"steps": 1000}})
    server.hear("progress")
    server.say(quit=True)
    assert server.hear("error")["kind"] == "cancelled"
    assert server.end() == 0


def test_cancel_reaches_the_run_before_it_and_no_other(server: Server, job_file: Path, tmp_path: Path) -> None:
    job = json.loads(job_file.read_text())
    slow = {**job, "recipe": "score-mri", "parameters": {"steps": 1000}, "output": str(tmp_path / "slow")}
    server.hear("ready")
    server.say(run=slow)
    server.hear("progress")
    server.say(run=slow)  # waits in the queue
    server.say(cancel=True)
    server.say(run=job)
    assert [server.hear("error", "result").get("kind") for _ in range(3)] == ["cancelled", "cancelled", None]
    assert not (tmp_path / "slow").exists()
    server.say(run=slow)
    server.hear("progress")
    server.process.send_signal(signal.SIGTERM)
    assert server.hear("error")["kind"] == "cancelled"
    assert server.process.wait(60) == 130


def test_no_worker_outlives_slicer(server: Server, job_file: Path, tmp_path: Path) -> None:
    server.hear("ready")
    server.say(run=json.loads(rewrite(job_file, recipe="score-mri", parameters={"steps": 1000}).read_text()))
    server.hear("progress")
    assert server.end() == 0
    assert not (tmp_path / "out").exists()


def test_not_even_one_that_is_lost_in_a_step(job_file: Path) -> None:
    code = "import time, meddiff.job, meddiff.worker as w\nmeddiff.job.run = lambda *_: time.sleep(600)\n"
    code += "w.PATIENCE = 0.1\nw.main(['--serve'], w.own_output())\n"
    server = Server(code=code)
    server.hear("ready")
    server.say(run=json.loads(job_file.read_text()))
    assert server.end() == 130


def test_an_idle_worker_gives_its_memory_back() -> None:
    server = Server("0.01")
    server.hear("ready")
    with server.process:
        assert server.process.wait(60) == 0


def test_standard_input_is_for_commands_alone() -> None:
    code = "import sys\nfrom meddiff.worker import own_input\nimport os\n"
    code += "pipe = own_input()\nassert sys.stdin.read() == ''\nassert os.read(pipe, 9) == b'mine'\n"
    environment = {**os.environ, "PYTHONPATH": str(ENGINE)}
    subprocess.run([sys.executable, "-c", code], input=b"mine", env=environment, check=True)


def test_a_broken_installation_is_an_event_of_its_own(job_file: Path) -> None:
    code = "import sys\nsys.modules['torch'] = None\nimport meddiff.worker as w\nw.main(['--serve'], w.own_output())\n"
    server = Server(code=code)
    server.hear("ready")
    server.say(describe=True)
    told = server.hear("system")
    assert told["torch"] is None and told["advice"].startswith("PyTorch cannot be loaded") and told["devices"] == []
    for _ in range(2):
        server.say(run=json.loads(job_file.read_text()))
        assert server.hear("error")["kind"] == "ModuleNotFoundError"
    assert server.end() == 0


def test_models_are_kept_but_not_all_of_them(tiny_model: Path, tiny_card: Card) -> None:
    for name in ("b", "c"):
        save(tiny_card.model_copy(update={"id": f"tiny-{name}"}), load_weights(tiny_model), tiny_model.parent / name)
    keeper = Keeper(2)
    first = keeper("tiny-brain", "cpu", "fp32")
    assert keeper("tiny-brain", "cpu", "bf16") is not first
    assert keeper("tiny-brain", "cpu", "fp32") is first  # used again, so the other one is the oldest
    second = keeper("tiny-b", "cpu", "fp32")
    assert keeper("tiny-brain", "cpu", "fp32") is first and keeper("tiny-b", "cpu", "fp32") is second
    keeper("tiny-c", "cpu", "fp32")
    third = keeper("tiny-brain", "cpu", "fp32")
    assert third is not first
    save(tiny_card, {name: 2 * value for name, value in load_weights(tiny_model).items()}, tiny_model)
    assert keeper("tiny-brain", "cpu", "fp32") is not third  # other weights under the same name


def test_an_engine_that_lacks_a_package_says_which(monkeypatch: pytest.MonkeyPatch) -> None:
    assert worker._system()["advice"] == ""
    monkeypatch.setitem(sys.modules, "meddiff.job", None)
    monkeypatch.delattr(meddiff, "job", raising=False)
    told = worker._system()
    assert told["torch"] == torch.__version__ and told["devices"]
    assert told["advice"].startswith("the engine cannot be loaded: ")


# --- devices in words -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("own", "built", "runs"),
    [
        ("sm_90", ["sm_80", "sm_90"], True),
        ("sm_86", ["sm_70", "sm_80"], True),  # the same generation
        ("sm_80", ["sm_86"], False),
        ("sm_50", ["sm_70", "sm_80", "compute_80"], False),
        ("sm_120", ["sm_90", "compute_90"], True),  # translated when it is loaded
        ("sm_120", ["sm_90a"], False),
        ("gfx1030", ["gfx900"], False),
        ("gfx900", ["gfx900"], True),
    ],
)
def test_which_devices_a_build_runs_on(own: str, built: list[str], runs: bool) -> None:
    assert devices.runs_on(own, built) is runs


def test_a_gpu_that_is_too_old_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    about = SimpleNamespace(name="Old GPU", total_memory=2**31, major=5, minor=0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda index: about)
    monkeypatch.setattr(torch.cuda, "get_arch_list", lambda: ["sm_80", "sm_90"])
    monkeypatch.setattr(devices, "_trial", lambda name: "no kernel image" if name != "cpu" else "")
    gpu, cpu = devices.survey()["devices"][:2]
    assert (gpu["name"], gpu["title"], gpu["memory"], gpu["works"]) == ("cuda:0", "Old GPU", 2**31, False)
    assert gpu["why"] == "this PyTorch was built for sm_80, sm_90, and the device is sm_50; no kernel image"
    assert cpu["works"] is True


def test_the_computer_in_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    total, free = devices.memory()
    assert 2**28 < free < total
    assert devices._trial("cpu") == "" and devices._trial("meta")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(devices.shutil, "which", lambda name: "/usr/bin/nvidia-smi")
    monkeypatch.setattr(torch.version, "cuda", None)
    assert "built for the CPU alone" in devices.survey()["advice"]
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    assert "update the driver" in devices.survey()["advice"]
