"""The set-up: what the worker needs into Slicer's Python, without touching what Slicer brought along.

torch comes through the extension PyTorch, which knows the build for this computer; the rest from PyPI, or everything
from a folder of wheels. After it, a check in words: which device, does it compute, how much memory.
"""

from __future__ import annotations

import importlib
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from meddiff.errors import BadInput

from . import packages
from .process import Worker
from .words import _

REQUIREMENTS = Path(__file__).resolve().parents[1] / "Resources" / "requirements.txt"
TORCH = "torch>=2.4"
SLICERS = ("numpy", "SimpleITK", "vtk")  # what Slicer itself runs on: another version breaks it
SKIPPED = ["torch", "torchvision", *SLICERS]
REQUESTER = "MedDiffusion"
PATIENCE = 120.0  # seconds: torch is slow to load for the first time

Say = Callable[[str], None]


@dataclass(frozen=True)
class Status:
    """Whether jobs can run, a sentence about it, and the requirements that are not met."""

    ready: bool
    sentence: str
    missing: tuple[str, ...] = ()


def requirements() -> list[str]:
    """What the worker needs beside torch, as pip reads it."""
    lines = (line.split("#")[0].strip() for line in REQUIREMENTS.read_text(encoding="utf-8").splitlines())
    return [line for line in lines if line]


def status() -> Status:
    """What is installed and what is not, by the records of pip: nothing is imported, so it takes milliseconds."""
    importlib.invalidate_caches()
    missing = tuple(each for each in (TORCH, *requirements()) if not packages.is_met(each))
    if missing:
        names = ", ".join("PyTorch" if each == TORCH else each for each in missing)
        return Status(False, _("The set-up is not complete: {names} must be installed.").format(names=names), missing)
    sentence = _("All that the networks need is installed, PyTorch {version} among it.")
    return Status(True, sentence.format(version=packages.installed("torch")))


def install(confirm: bool = True, progress: Say | None = None, folder: str | os.PathLike[str] | None = None) -> Status:
    """Install what is missing; from a `folder` of wheels instead of the internet where one is named.

    With `confirm` Slicer asks before, and a refusal is a status. Raises BadInput, with what to do, when it fails.
    """
    say = progress or (lambda sentence: None)
    wheels = None if folder is None else packages.wheels_in(folder, REQUIREMENTS)
    before = {name: packages.installed(name) for name in SLICERS}
    if not packages.is_met(TORCH):
        say(_("Installing PyTorch. It is large; this takes some minutes."))
        if not _install_torch(confirm, wheels):
            return _declined()
    if missing := packages.unmet(requirements(), SKIPPED):  # also what an earlier set-up, broken off, has left out
        say(_("Installing {names}.").format(names=", ".join(missing)))
        with packages.constraints([*SLICERS, "torch", "torchvision"]) as file, packages.settings(wheels):
            if not _install_packages(missing, file, confirm):
                return _declined()
    importlib.invalidate_caches()
    _complain_of_changes(before)
    now = status()
    say(now.sentence)
    return now


def _declined() -> Status:
    return Status(False, _("The set-up was declined, and is not complete."), status().missing)


def _install_torch(confirm: bool, wheels: Path | None) -> bool:
    """Through the extension PyTorch, or from the folder of wheels; false when the user declines."""
    import slicer

    with packages.constraints(SLICERS) as file:
        if wheels is not None:
            if not list(wheels.glob("torch-*.whl")):
                message = _("The folder {folder} holds no wheel of torch; add torch-*.whl for this computer to it.")
                raise BadInput(message.format(folder=wheels))
            if confirm and not _ask([TORCH]):
                return False
            with packages.settings(wheels), packages.in_words(TORCH):
                slicer.util.pip_install([TORCH, "-c", str(file)])
            return True
        if not hasattr(slicer.modules, "pytorchutils"):
            message = _(
                "PyTorch is missing, and so is Slicer's extension PyTorch, which installs the build for this computer. "
                "Install that extension with the Extensions Manager, restart Slicer, and set up again."
            )
            raise BadInput(message)
        utilities = importlib.import_module("PyTorchUtils")
        with packages.settings(None, file), packages.in_words(TORCH):
            found = utilities.PyTorchUtilsLogic().installTorch(
                askConfirmation=confirm, torchVersionRequirement=TORCH.removeprefix("torch")
            )
    return found is not None


def _install_packages(missing: list[str], file: Path, confirm: bool) -> bool:
    """By `slicer.packaging`, or as Slicer 5.10 did before it had that; false when the user declines."""
    import slicer

    with packages.in_words(", ".join(missing)):
        try:
            packaging = importlib.import_module("slicer.packaging")
        except ModuleNotFoundError:
            if confirm and not _ask(missing):
                return False
            slicer.util.pip_install([*missing, "-c", str(file)])
            return True
        try:
            packaging.pip_ensure(
                missing,
                constraints=str(file),
                skip_packages=SKIPPED,
                prompt_install=confirm,
                prompt_restart=confirm,
                requester=REQUESTER,
            )
        except RuntimeError as error:
            if "declined" not in str(error):
                raise
            return False
    return True


def _ask(names: list[str]) -> bool:
    import slicer

    question = _("These Python packages will be installed into Slicer: {names}. Continue?")
    title = _("{requester}: set-up").format(requester=REQUESTER)
    return slicer.util.confirmOkCancelDisplay(question.format(names=", ".join(names)), title)


def _complain_of_changes(before: Mapping[str, str]) -> None:
    """Raises BadInput when one of Slicer's own packages is not what it was."""
    now = {name: packages.installed(name) for name in before}
    changed = [f"{name} {old or '-'} -> {now[name] or '-'}" for name, old in before.items() if now[name] != old]
    if changed:
        message = _(
            "The installation has changed packages that Slicer needs as they were: {changed}. Install Slicer again."
        )
        raise BadInput(message.format(changed=", ".join(changed)))


# --- afterwards, in words


def check(tick: Callable[[], None] | None = None, worker: Worker | None = None) -> list[str]:
    """Ask a worker what it has to compute with; sentences for people. Blocks, calling `tick` now and then."""
    worker = worker or Worker()
    until = time.monotonic() + PATIENCE
    try:
        worker.start()
        worker.send({"describe": True})
        running = True
        while running and time.monotonic() < until:
            running = worker.running
            for event in worker.poll():
                if event["event"] == "system":
                    return sentences(event)
            if tick is not None:
                tick()
            time.sleep(0.02)
        last = next(reversed(worker.tail), "")
        return [_("The worker process gave no answer. {last}").format(last=last).strip()]
    except OSError as error:
        return [_("The worker process could not be started: {error}").format(error=error)]
    finally:
        worker.stop(0)


def sentences(told: Mapping[str, Any]) -> list[str]:
    """What a worker answers to `describe`, for people."""
    found = []
    if told.get("torch"):
        about = _("PyTorch {torch}, Python {python}, MedDiffusion {meddiff}.")
        found.append(about.format(**{name: told.get(name, "") for name in ("torch", "python", "meddiff")}))
    devices = list(told.get("devices") or ())
    found += [_device(device) for device in devices]
    working = [device["title"] for device in devices if device.get("works")]
    if working:
        found.append(_("Jobs run on {device} unless another one is chosen.").format(device=working[0]))
    if advice := str(told.get("advice") or ""):
        found.append(advice[:1].upper() + advice[1:] + ("" if advice.endswith(".") else "."))
    return found


def _device(device: Mapping[str, Any]) -> str:
    if not device.get("works"):
        return _("{title} cannot be used: {why}.").format(title=device["title"], why=str(device.get("why")).rstrip("."))
    memory, free = (f"{device.get(name, 0) / 2**30:.1f} GB" for name in ("memory", "free"))
    if device.get("free"):
        return _("{title} computes; {free} of {memory} are free.").format(
            title=device["title"], free=free, memory=memory
        )
    if device.get("memory"):
        return _("{title} computes; it has {memory}.").format(title=device["title"], memory=memory)
    return _("{title} computes.").format(title=device["title"])
