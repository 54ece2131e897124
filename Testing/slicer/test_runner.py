"""A job in the worker: the same voxels, every fault a sentence, cancelled at any moment without a trace."""

from __future__ import annotations

import inspect
import json
import random
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from children import STEPPING, Make, alive, gone, nursery, sees_processes, until, zombies

from MedDiffusionLib import runner
from MedDiffusionLib.process import Worker
from MedDiffusionLib.runner import Failure, Runner


@pytest.fixture
def mark() -> str:
    return f"mark-{uuid.uuid4()}"


@pytest.fixture
def fake(tmp_path: Path, mark: str) -> Iterator[Make]:
    with nursery(tmp_path, mark) as make:
        yield make


def run(worker: Worker, job: dict[str, Any] | None = None, **options: Any) -> tuple[Runner, list[dict[str, Any]]]:
    """A runner at its end, and its events."""
    events: list[dict[str, Any]] = []
    made = Runner(job or {}, worker=worker, on_event=events.append, **options)
    made.wait()
    return made, events


# --- a job: results and faults ----------------------------------------------------------------------------------------


def test_a_result(fake: Make) -> None:
    done, events = run(fake("emit('odd', job=hear()['run'])\nprint('chatter')\n" + "emit('result', **RESULT)\nhear()"))
    assert done.state == "done" and done.failure is None
    assert done.result and done.result["outputs"] == {"reconstruction": "r.nrrd"}
    assert [e["event"] for e in events] == ["ready", "odd", "log", "result"]
    assert not done.worker.running and done.poll() is False
    with pytest.raises(RuntimeError):
        done.start()


def test_progress_that_was_overtaken_is_left_out(fake: Make) -> None:
    worker = fake("hear()\nfor k in range(99): emit('progress', step=k)\nemit('result', **RESULT)\ntime.sleep(9)")
    steps: list[int] = []
    runner_ = Runner({}, worker=worker, on_event=lambda e: steps.append(e["step"]) if "step" in e else None)
    runner_.start()
    time.sleep(0.3)
    runner_.wait()
    assert steps[-1] == 98 and len(steps) < 50


FAULTS = {
    "emit('error', kind='bad-input', message='no voxel', hint='')": ("bad-input", "no voxel", ""),
    "emit('error', kind='KeyError', message=\"'x'\", hint='')": ("KeyError", "KeyError: 'x'", "report it"),
    "emit('error')": ("error", "error", "report it"),
    "emit('error', kind='ModuleNotFoundError', message=\"No module named 'monai'\", hint='')": (
        "not-installed",
        "No module named 'monai'.",
        "Set up",
    ),
    "os.kill(os.getpid(), signal.SIGKILL)": ("killed", "ended by the system", "out of memory"),
    "sys.stderr.write('error: [python] exit abnormally - Report the problem.'); sys.exit(1)": (
        "killed",
        "ended by the system",
        "out of memory",
    ),
    "os.abort()": ("crashed", "signal 6", "CPU"),
    "sys.stderr.write('cuInit failed\\n'); sys.exit(5)": ("crashed", "exit code 5). Its last words: cuInit", "CPU"),
    "raise ModuleNotFoundError('meddiff')": ("not-installed", "meddiff", "Set up"),
    "print('gibberish'); sys.exit(0)": ("unreadable", "Its last words: gibberish", "Set up"),
    "emit('result')": ("unreadable", "without a result", ""),
    "emit('error', kind='out-of-memory', message='m', hint='h', place='the computer')": ("out-of-memory", "m", "h"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_a_sentence_and_a_hint(fake: Make, fault: str) -> None:
    kind, message, hint = FAULTS[fault]
    failed, _ = run(fake(f"hear()\n{fault}\nhear()\n"), {"options": {"batch": 1}})
    assert failed.state == "failed" and failed.result is None and failed.failure
    assert failed.failure.kind == kind
    assert message in failed.failure.message and hint in failed.failure.hint
    assert not failed.worker.running


def test_no_python_at_all() -> None:
    failed, _ = run(Worker(["/absent/PythonSlicer"]))
    assert failed.state == "failed" and failed.failure and failed.failure.kind == "no-python"
    assert "/absent/PythonSlicer" in failed.failure.message and failed.failure.hint


def test_a_worker_that_never_gets_ready(fake: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "READY", 0.05)
    failed, _ = run(fake("time.sleep(600)", ready=False))
    assert failed.failure and failed.failure.kind == "no-answer" and failed.failure.hint


# Runs out of memory as long as a condition on the job holds.
HUNGRY = """
while True:
    job = hear().get("run")
    if job is None:
        break
    batch = job.get("options", {}).get("batch", 8)
    if %s:
        emit("error", kind="out-of-memory", message="CUDA out of memory", hint="h", place="the GPU")
    else:
        emit("result", job=job, **RESULT)
"""


def test_out_of_memory_takes_fewer_slices(fake: Make) -> None:
    done, events = run(fake(HUNGRY % "batch > 2"), {"options": {"samples": 4}})
    assert done.result and done.result["job"]["options"] == {"samples": 4, "batch": 2}
    told = [e["message"] for e in events if e["event"] == "warning"]
    assert told == [
        "The GPU ran out of memory with 8 slices at a time; trying again with 4.",
        "The GPU ran out of memory with 4 slices at a time; trying again with 2.",
    ]
    assert [e["event"] for e in events].count("ready") == 1  # it is the same worker


def test_then_the_cpu(fake: Make) -> None:
    job = {"options": {"batch": 3}, "device": "auto"}
    done, events = run(fake(HUNGRY % "job['device'] != 'cpu'"), job)
    assert done.result and done.result["job"]["device"] == "cpu"
    assert [e["message"] for e in events if e["event"] == "warning"][-1] == (
        "The GPU ran out of memory even with one slice at a time; trying again on the CPU, which takes longer."
    )
    assert job == {"options": {"batch": 3}, "device": "auto"}
    failed, _ = run(fake(HUNGRY % "True"), job)
    assert failed.failure == Failure("out-of-memory", "CUDA out of memory", "h")
    assert failed.job["options"]["batch"] == 1 and failed.job["device"] == "cpu"


def test_the_batch_is_that_of_the_engine() -> None:
    from meddiff.reconstruction import reconstruct

    assert inspect.signature(reconstruct).parameters["batch"].default == runner.BATCH


# --- cancel -----------------------------------------------------------------------------------------------------------


@sees_processes
@pytest.mark.parametrize("deaf", [False, True])
def test_cancel_leaves_nobody_behind(fake: Make, mark: str, deaf: bool) -> None:
    running = Runner({"steps": 10**6, "deaf": deaf, "child": True}, worker=fake(STEPPING))
    running.start()
    until(lambda: running.poll() and len(alive(mark)) >= 2)
    began, longest = time.monotonic(), 0.0
    running.cancel()
    running.cancel()
    while True:
        now = time.thread_time()
        if not running.poll():
            break
        longest = max(longest, time.thread_time() - now)
        time.sleep(0.005)
    assert time.monotonic() - began < 2 and gone(mark, 2 - (time.monotonic() - began))
    assert longest < 0.1
    assert running.state == "cancelled" and running.result is None
    assert running.failure == Failure("cancelled", "Cancelled.")


def test_cancel_before_and_after(fake: Make) -> None:
    never = Runner({}, worker=fake("hear()"))
    never.cancel()
    assert never.state == "cancelled" and not never.poll() and not never.worker.running
    done, _ = run(fake("hear()\nemit('result', **RESULT)\nhear()"))
    done.cancel()
    assert done.state == "done" and done.result


def test_a_warning_may_be_answered_by_cancel(fake: Make) -> None:
    def stop(event: dict[str, Any]) -> None:
        if event["event"] == "warning":
            running.cancel()

    running = Runner({}, worker=fake(HUNGRY % "True"), on_event=stop)
    running.wait()
    assert running.state == "cancelled"


def test_a_callback_that_fails_loses_nothing(fake: Make) -> None:
    def fail(event: dict[str, Any]) -> None:
        seen.append(event["event"])
        if event["event"] == "odd":
            raise ZeroDivisionError

    seen: list[str] = []
    running = Runner({}, worker=fake("hear()\nemit('odd')\nemit('result', **RESULT)\nhear()"), on_event=fail)
    running.start()
    with pytest.raises(ZeroDivisionError):
        until(lambda: not running.poll())
    until(lambda: not running.poll())
    assert running.state == "done" and seen == ["ready", "odd", "result"]


def test_ctrl_c_while_waiting(fake: Make, mark: str) -> None:
    def interrupt() -> None:
        if running.worker.pid:
            raise KeyboardInterrupt

    running = Runner({"steps": 10**6}, worker=fake(STEPPING))
    with pytest.raises(KeyboardInterrupt):
        running.wait(interrupt)
    assert running.state == "cancelled" and gone(mark)


@sees_processes
def test_a_hundred_cancels_at_any_moment(fake: Make, mark: str) -> None:
    chance = random.Random(3)
    ended = {"done": 0, "cancelled": 0}
    slowest = 0.0
    for cycle in range(100):
        job = {"steps": chance.randrange(1, 40), "child": cycle % 4 == 0, "deaf": cycle % 25 == 24}
        running = Runner(job, worker=fake(STEPPING), keep_warm=cycle % 3 == 0)
        running.start()
        moment = time.monotonic() + chance.uniform(0, 0.15)
        while time.monotonic() < moment and running.poll():
            time.sleep(0.001)
        began = time.monotonic()
        running.cancel()
        while running.poll():
            time.sleep(0.001)
        slowest = max(slowest, time.monotonic() - began)
        ended[running.state] += 1
        assert (running.result is None) is (running.state == "cancelled")
        running.worker.stop(0)  # also the one that was to stay warm
    assert min(ended.values()) >= 5  # both were seen
    assert slowest < 2
    assert gone(mark) and zombies() == []


# --- warm ones --------------------------------------------------------------------------------------------------------

PATIENT = "while (job := hear().get('run')) is not None:\n    emit('result', pid=os.getpid(), **RESULT)\n"


def test_a_warm_worker_takes_the_next_job(fake: Make) -> None:
    worker = fake(PATIENT)
    first, _ = run(worker, keep_warm=True)
    second, events = run(worker, keep_warm=True)
    assert first.result and second.result and first.result["pid"] == second.result["pid"]
    assert [e["event"] for e in events] == ["result"] and worker.running
    last, _ = run(worker)
    assert last.result and last.result["pid"] == first.result["pid"] and not worker.running


def test_a_warm_worker_that_was_about_to_quit(fake: Make, tmp_path: Path) -> None:
    once = tmp_path / "once"
    worker = fake(f"job = hear()\nif os.path.exists({str(once)!r}): emit('result', **RESULT); hear()\n")
    worker.start()
    until(lambda: worker.pid or worker.poll())
    once_more = Runner({}, worker=worker, keep_warm=True)
    once_more.start()
    until(lambda: not worker.running)
    once.touch()
    assert once_more.wait()["outputs"] and once_more.state == "done"


def test_the_shared_worker(fake: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "Worker", lambda: fake(PATIENT))
    shared = runner.shared_worker()
    assert runner.shared_worker() is shared and not shared.running  # it starts with its first job
    first = Runner({}, keep_warm=True)
    first.start()
    other, _ = run(shared, keep_warm=True)  # it is busy: another one does this job, and ends
    assert first.worker is shared and other.state == "done"
    assert other.worker is not shared and not other.worker.running
    runner.close_shared_worker()  # while its job is in hand
    assert first.wait()["outputs"] and not shared.running
    next_one, _ = run(runner.shared_worker(), keep_warm=True)
    assert next_one.worker is not shared and next_one.worker.running
    runner.close_shared_worker()
    runner.close_shared_worker()
    assert not next_one.worker.running


# --- the real one -----------------------------------------------------------------------------------------------------


def test_the_engine_itself(tmp_path: Path, mark: str) -> None:
    from meddiff import job as engine
    from meddiff.volume import Volume, read, write

    z, y, x = np.ogrid[-1:1:2j, -1:1:64j, -1:1:64j]
    head = np.where(y**2 + 1.4 * x**2 < 0.6, 400 + 200 * np.sin(9 * x + 5 * y), 0.0) + 0 * z
    write(
        Volume(head.astype(np.float32), (1.0, 1.0, 5.0), (0.0, 0.0, 0.0), (1, 0, 0, 0, 1, 0, 0, 0, 1)),
        tmp_path / "head.nrrd",
    )

    def job(name: str) -> dict[str, Any]:
        made = engine.Job(
            "ddnm",
            "brain-mr",
            {"volume": str(tmp_path / "head.nrrd")},
            str(tmp_path / name),
            {"acceleration": 2.0, "samples": 2},
            {"steps": 2},
            device="cpu",
        )
        return json.loads(made.to_json())

    worker = Worker(env={"MEDDIFF_TEST": mark})
    results = [run(worker, job(name), keep_warm=True)[0] for name in ("first", "second")]
    worker.send({"describe": True})
    told = until(lambda: next((e for e in worker.poll() if e["event"] == "system"), None), 120)
    assert any(device["name"] == "cpu" and device["works"] for device in told["devices"])
    engine.run(engine.Job.from_json(json.dumps(job("here"))))
    assert [each.state for each in results] == ["done", "done"], [each.failure for each in results]
    voxels = [read(tmp_path / name / "reconstruction.nrrd").array for name in ("first", "second", "here")]
    assert np.array_equal(voxels[0], voxels[1]) and np.array_equal(voxels[0], voxels[2])
    assert results[0].result and results[0].result["provenance"]["model"]["id"] == "brain-mr"
    seen: list[str] = []
    slow = {**job("long"), "recipe": "score-mri", "parameters": {"steps": 1000}}
    long = Runner(slow, worker=worker, keep_warm=True, on_event=lambda event: seen.append(event["event"]))
    long.start()
    until(lambda: not long.poll() or "progress" in seen, 120)
    assert long.failure is None
    long.cancel()
    began = time.monotonic()
    long.wait()
    assert time.monotonic() - began < 2 and gone(mark, 0.5) and long.state == "cancelled"
    assert not list(tmp_path.glob("long/*.nrrd"))
