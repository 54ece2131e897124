"""The worker as a child process: it never keeps Slicer waiting, and ends when it must, with all that it started."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from children import Make, alive, gone, nursery, sees_processes, until
from hypothesis import given
from hypothesis import strategies as st

from MedDiffusionLib import process
from MedDiffusionLib.process import Lines, Worker


@pytest.fixture
def mark() -> str:
    return f"mark-{uuid.uuid4()}"


@pytest.fixture
def fake(tmp_path: Path, mark: str) -> Iterator[Make]:
    with nursery(tmp_path, mark) as make:
        yield make


def all_of(worker: Worker) -> list[dict[str, Any]]:
    """Everything that a worker says until it ends."""
    events: list[dict[str, Any]] = []
    while worker.running:
        events += worker.poll()
        time.sleep(0.001)
    return events + worker.poll()


# --- lines ------------------------------------------------------------------------------------------------------------


@given(st.lists(st.binary(max_size=12).map(lambda line: line.replace(b"\n", b"")), max_size=6), st.data())
def test_pieces_are_put_together(lines: list[bytes], data: st.DataObject) -> None:
    text = b"".join(line + b"\n" for line in lines) + b"rest"
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=8)))
    reader, found = Lines(), list[bytes]()
    for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True):
        found += reader.feed(text[start:end])
    assert found == lines and reader.end() == [b"rest"]


def test_a_line_without_end_does_not_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "LINE", 10_000)
    reader = Lines()
    assert [line for _ in range(50) for line in reader.feed(b"x" * 1000)] == []
    assert reader.feed(b"y\nshort\n") == [b"x" * process.SHOWN, b"short"]


# --- a child ----------------------------------------------------------------------------------------------------------


def test_what_is_no_event_is_for_the_log(fake: Make) -> None:
    worker = fake("""
print("Loading libfoo\\n{not json}\\n[1]\\n{\\"event\\": 3}\\n\\n", flush=True)
sys.stdout.buffer.write(b"\\xff\\xfe odd\\n"); sys.stdout.flush()
emit("preview", grey8="A" * 5_000_000)
os.write(1, b'{"event": "prog'); time.sleep(0.05); os.write(1, b'ress"}\\n')
print("Traceback", file=sys.stderr); print("OSError: no", end="", file=sys.stderr)
sys.exit(3)
""")
    worker.start()
    events = all_of(worker)
    assert [e["event"] for e in events if e["event"] != "log"] == ["ready", "preview", "progress"]
    assert len(events[[e["event"] for e in events].index("preview")]["grey8"]) == 5_000_000
    out = [e["text"] for e in events if e["event"] == "log" and e["stream"] == "stdout"]
    assert out == ["Loading libfoo", "{not json}", "[1]", '{"event": 3}', "\ufffd\ufffd odd"]
    assert [e["text"] for e in events if e.get("stream") == "stderr"] == ["Traceback", "OSError: no"]
    assert worker.tail[-1] == "OSError: no" and worker.code == 3 and worker.pid


def test_a_talkative_child_blocks_neither_side(fake: Make) -> None:
    worker = fake("""
sys.stderr.write(("e" * 999 + "\\n") * 3000)
for step in range(3000):
    emit("progress", step=step)
sys.stderr.write("f" * 500_000)
""")
    worker.start()
    events, longest = [], 0.0
    while worker.running:
        began = time.thread_time()
        events += worker.poll()
        longest = max(longest, time.thread_time() - began)
    events += worker.poll()
    assert [e["step"] for e in events if e["event"] == "progress"] == list(range(3000))
    assert sum(e.get("stream") == "stderr" for e in events) == 3001
    assert len(worker.tail) == 40 and len(worker.tail[-1]) == process.SHOWN
    assert longest < 0.1


def test_a_child_that_does_not_listen_blocks_nobody(fake: Make) -> None:
    worker = fake("time.sleep(0.3)\nemit('heard', letters=len(hear()['run']['text']), last=hear())\n")
    worker.start()
    began = time.monotonic()
    worker.send({"run": {"text": "x" * 300_000}})
    worker.send({"quit": True})
    assert time.monotonic() - began < 0.2
    heard = next(event for event in all_of(worker) if event["event"] == "heard")
    assert (heard["letters"], heard["last"]) == (300_000, {"quit": True})


def test_a_worker_is_asked_politely_first(fake: Make) -> None:
    worker = fake("emit('bye', why=hear())\n")
    worker.start()
    worker.stop(grace=10)
    assert worker.code == 0 and worker.poll()[-1] == {"event": "bye", "why": {"quit": True}}
    worker.stop()  # a second time, and sending to what is gone, are no errors
    worker.send({"run": {}})
    assert worker.poll() == [] and not worker.running
    worker.start()
    assert until(lambda: worker.poll() and worker.pid)
    worker.stop(grace=10)
    assert worker.code == 0


LAUNCHER = """
code = "import os, json, time\\nprint(json.dumps({'event': 'ready', 'pid': os.getpid()}), flush=True)\\ntime.sleep(600)"
subprocess.Popen([sys.executable, "-IS", "-c", code], start_new_session=%s).wait()
"""


@sees_processes
@pytest.mark.parametrize(
    ("body", "ready"),
    [
        ("child = stubborn()\nemit('started')\ntime.sleep(600)\n", True),
        (LAUNCHER % False, False),  # as PythonSlicer does
        (LAUNCHER % True, False),
    ],
    ids=["deaf", "launcher", "launcher of a session"],
)
def test_the_whole_tree_is_ended(fake: Make, mark: str, body: str, ready: bool) -> None:
    worker = fake(body, ready)
    worker.start()
    until(lambda: worker.poll() and worker.pid)
    until(lambda: len(alive(mark)) >= 2)
    began = time.monotonic()
    worker.stop(grace=0.05)
    assert time.monotonic() - began < 1.5 and not worker.running
    assert gone(mark, 0.5) and worker.code == -9


def test_a_dead_worker_leaves_no_orphans(fake: Make, mark: str) -> None:
    worker = fake("child = stubborn()\nos.kill(os.getpid(), signal.SIGKILL)\n")
    worker.start()
    all_of(worker)
    assert worker.code == -9 and gone(mark)


def test_workers_end_with_a_slicer_that_died(tmp_path: Path, mark: str) -> None:
    script = "import os, sys, time\nfrom MedDiffusionLib.process import Worker\n"
    script += f"workers = [Worker([sys.executable, '-IS', {str(tmp_path / 'child.py')!r}]) for _ in range(2)]\n"
    script += "for worker in workers: worker.start()\n"
    script += "for worker in workers:\n    while not worker.poll(): time.sleep(0.01)\n"
    script += "os.kill(os.getpid(), 9)\n"
    (tmp_path / "child.py").write_text('import sys\nprint(\'{"event": "ready"}\', flush=True)\nsys.stdin.read()\n')
    environment = {**os.environ, "PYTHONPATH": str(process.ENGINE), "MEDDIFF_TEST": mark}
    assert subprocess.run([sys.executable, "-c", script], env=environment, check=False, timeout=30).returncode == -9
    assert gone(mark)


def test_a_python_that_is_not_there() -> None:
    worker = Worker(["/absent/PythonSlicer", "-m", "x"])
    with pytest.raises(OSError):
        worker.start()
    assert not worker.running and worker.poll() == []


# --- which Python, in which environment -------------------------------------------------------------------------------


@pytest.fixture
def slicer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """Just enough of a running Slicer, installed in a folder."""
    found: Any = ModuleType("slicer")
    found.app = SimpleNamespace(slicerHome=str(tmp_path / "Slicer"), translate=lambda context, text: text)
    found.util = SimpleNamespace(startupEnvironment=lambda: {"PATH": "/bin", "PYTHONPATH": "/theirs", "A": "b"})
    monkeypatch.setitem(sys.modules, "slicer", found)
    return found


def test_slicers_own_python_is_found(slicer: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/opt/Slicer/bin/SlicerApp-real")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(FileNotFoundError, match="PythonSlicer"):  # and no second Slicer is started in its place
        process.python()
    elsewhere = tmp_path / "PythonSlicer"
    elsewhere.touch(0o755)
    assert process.python() == str(elsewhere)
    own = tmp_path / "Slicer" / "bin" / "PythonSlicer"
    own.parent.mkdir(parents=True)
    own.touch(0o755)
    assert process.default_command() == [str(own), "-m", "meddiff.worker", "--serve"]
    slicer.app.slicerHome = ""
    monkeypatch.setattr(sys, "executable", "/usr/bin/python3.12")
    assert process.python_command("-c", "pass") == ["/usr/bin/python3.12", "-c", "pass"]


def test_the_environment_of_a_child(slicer: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"PYTHONPATH": "/ours", "PYTHONINSPECT": "1", "PYTHONWARNINGS": "error", "B": "c"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("PYTHONHOME", raising=False)
    made = process.environment("/usr/bin/python3")
    assert made["PYTHONPATH"].split(os.pathsep) == [str(process.ENGINE), "/ours"]
    assert made["B"] == "c" and made["PYTHONSAFEPATH"] == "1" and "PYTHONINSPECT" not in made
    assert "PYTHONWARNINGS" not in made
    monkeypatch.setenv("PYTHONHOME", "/opt/Slicer/lib/Python")
    own = process.environment(str(tmp_path / "Slicer" / "bin" / "PythonSlicer"))
    assert own["PYTHONHOME"] == "/opt/Slicer/lib/Python" and own["B"] == "c"
    other = process.environment("/usr/bin/python3")  # Slicer's libraries are not for it
    assert other["A"] == "b" and "B" not in other and "PYTHONHOME" not in other
    assert other["PYTHONPATH"] == str(process.ENGINE)


def test_windows_ends_trees_by_taskkill(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[Any] = []
    monkeypatch.setattr(process.subprocess, "Popen", lambda *arguments, **_: calls.append(*arguments))
    killed: Any = SimpleNamespace(kill=lambda: calls.append("kill"))
    process._kill_trees([7, 8], killed)

    def absent(*_: Any, **__: Any) -> None:
        raise FileNotFoundError

    monkeypatch.setattr(process.subprocess, "Popen", absent)
    process._kill_trees([7], killed)
    assert calls == [["taskkill", "/F", "/T", "/PID", "7", "/PID", "8"], "kill"]
