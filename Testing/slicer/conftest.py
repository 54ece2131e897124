"""What the tests of the Slicer side can count on: a fresh application, an empty home, no network, no silent error."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from host import Host

ROOT = Path(__file__).parents[2]
MODULES = ("MedDiffusion", "DiffusionRecon", "DiffusionSegment", "DiffusionRegister", "DiffusionAnomaly")

# How Qt's warnings of a misuse begin.
MISUSE = (
    "QLayout",
    "QBoxLayout",
    "QFormLayout",
    "QGridLayout",
    "QWidget::",
    "QObject",
    "QPainter",
    "QTimer",
    "QPixmap",
)

for _folder in (Path(__file__).parent, *(ROOT / name for name in MODULES)):
    if str(_folder) not in sys.path:
        sys.path.append(str(_folder))


@pytest.fixture(autouse=True)
def _alone_in_slicer(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Gives each test an empty home for models, and refuses connections to other machines."""
    monkeypatch.setenv("MEDDIFF_HOME", str(tmp_path_factory.mktemp("home")))
    monkeypatch.delenv("MEDDIFF_MODELS", raising=False)
    connect = socket.socket.connect

    def local(self: socket.socket, address: Any) -> None:
        if self.family in (socket.AF_INET, socket.AF_INET6) and address[0] not in ("127.0.0.1", "::1", "localhost"):
            raise RuntimeError(f"a test reached for {address}")
        connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", local)


@pytest.fixture(autouse=True)
def _same_packages() -> Iterator[None]:
    """Puts the shared packages back that a reloaded module has dropped: other test files hold their classes."""
    ours = ("MedDiffusionLib", "meddiff")
    kept = {name: module for name, module in sys.modules.items() if name.split(".")[0] in ours}
    yield
    if any(sys.modules.get(name) is not module for name, module in kept.items()):
        for name in [name for name in sys.modules if name.split(".")[0] in ours]:
            del sys.modules[name]
        sys.modules.update(kept)


@pytest.fixture(scope="session")
def _application() -> Host:
    """The application, started once in the session."""
    import setup_system

    absent = setup_system.missing()
    if absent:
        pytest.exit(setup_system.sentence(absent), returncode=3)
    import host

    return host.start()


@pytest.fixture
def host(_application: Host) -> Iterator[Host]:
    """Slicer's application without modules, windows, nodes or settings of other tests.

    A test that provokes an exception in a slot, an observer or a timer looks at `host.slot_errors` and clears it; what
    is left there fails the test, and so does a warning of Qt that its classes are misused (`host.qt_warnings`).
    """
    _application.reset()
    yield _application
    _application.close()
    errors = [error.text for error in _application.slot_errors]
    warnings = [text for text in _application.qt_warnings if text.startswith(MISUSE)]
    _application.forget()
    if errors:
        pytest.fail("exceptions that Slicer would only print:\n" + "\n".join(errors))
    if warnings:
        pytest.fail("Qt is used in a wrong way:\n" + "\n".join(warnings))


def pytest_report_header() -> str:
    source = os.environ.get("SLICER_SOURCE")
    return f"Slicer's Python files: {source or 'stand-ins (SLICER_SOURCE is not set)'}"
