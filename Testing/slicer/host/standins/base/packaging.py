"""Python packages of an extension; see the contract's `slicer.packaging`.

What would run pip goes through `slicer.util.executePythonModule`, which the host replaces by a recorder.
"""

from __future__ import annotations

import importlib.metadata
import logging
import shlex
from pathlib import Path
from subprocess import CalledProcessError
from typing import TYPE_CHECKING

import slicer
import slicer.util
from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

if TYPE_CHECKING:
    from collections.abc import Callable

_inProgress = False


def load_requirements(path: str | Path) -> list[Requirement]:
    """The requirements in a file of pip; comments and options are left out."""
    lines = (line.strip() for line in Path(path).read_text(encoding="utf-8").splitlines())
    return [Requirement(line) for line in lines if line and line[0] not in "#-"]


def load_pyproject_dependencies(path: str | Path) -> list[Requirement]:
    """The `dependencies` of the table [project]; KeyError without that table."""
    import tomllib

    content = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    if "project" not in content:
        raise KeyError(f"{path} has no table [project]")
    return [Requirement(text) for text in content["project"].get("dependencies", [])]


def _requirements(given):
    """A text (one requirement, or several parted by blanks), a Requirement, or a list of them, as a list."""
    if isinstance(given, str):
        try:
            return [Requirement(given)]
        except InvalidRequirement:
            return [Requirement(text) for text in given.split()]
    if isinstance(given, Requirement):
        return [given]
    if isinstance(given, list):
        return [item if isinstance(item, Requirement) else Requirement(item) for item in given]
    raise TypeError(f"came {type(given).__name__}; expected a text, a Requirement, or a list of them")


def _subrequirements(requirement):
    """What the extras of an installed package ask for."""
    for text in importlib.metadata.requires(requirement.name) or []:
        needed = Requirement(text)
        if needed.marker and any(needed.marker.evaluate({"extra": extra}) for extra in requirement.extras):
            needed.marker = None
            yield needed


def _satisfied(requirement, seen):
    if requirement.marker is not None and not requirement.marker.evaluate():
        return True  # not meant for this system
    key = (canonicalize_name(requirement.name), frozenset(requirement.extras))
    if key in seen:
        return True
    seen.add(key)
    try:
        version = importlib.metadata.version(requirement.name)
    except importlib.metadata.PackageNotFoundError:
        return False
    return version in requirement.specifier and all(
        _satisfied(needed, seen) for needed in _subrequirements(requirement)
    )


def pip_check(
    req: str | Requirement | list[str | Requirement], _seen: set[tuple[str, frozenset[str]]] | None = None
) -> bool:
    """Whether all is installed, in the versions asked for; runs nothing."""
    seen = set() if _seen is None else _seen
    return all(_satisfied(requirement, seen) for requirement in _requirements(req))


def isPipInstallInProgress() -> bool:
    """Whether an installation that does not block is still running."""
    return _inProgress


def pip_ensure(
    requirements: str | Requirement | list[str | Requirement],
    constraints: str | Path | None = None,
    skip_packages: list[str] | None = None,
    prompt_install: bool = True,
    prompt_restart: bool = True,
    requester: str | None = None,
    skip_in_testing: bool = True,
    show_progress: bool = True,
) -> list[str] | None:
    """Installs what is missing, after asking; RuntimeError if the user declines. Does nothing in testing mode."""
    missing = [str(requirement) for requirement in _requirements(requirements) if not pip_check(requirement)]
    if not missing:
        return None
    if skip_in_testing and slicer.app.testingEnabled():
        logging.info("Testing: not installed: %s", ", ".join(missing))
        return None
    if prompt_install:
        title = f"{requester} - Install Python Packages" if requester else "Install Python Packages"
        question = f"{len(missing)} Python package(s) will be installed into Slicer's Python. Continue?"
        if not slicer.util.confirmOkCancelDisplay(question, title, detailedText="\n".join(missing)):
            raise RuntimeError("User declined package installation")
    return pip_install(
        missing, constraints=constraints, skip_packages=skip_packages, show_progress=show_progress, requester=requester
    )


def _arguments(verb, requirements):
    if isinstance(requirements, str):
        return [verb, *shlex.split(requirements)]
    if isinstance(requirements, list):
        return [verb, *requirements]
    raise ValueError(f"came {type(requirements).__name__}; expected a text or a list")


def pip_install(
    requirements: str | list[str],
    constraints: str | Path | None = None,
    no_deps_requirements: str | list[str] | None = None,
    skip_packages: list[str] | None = None,
    blocking: bool = True,
    show_progress: bool = True,
    requester: str | None = None,
    logCallback: Callable[[str], None] | None = None,
    completedCallback: Callable[[int], None] | None = None,
) -> list[str] | None:
    """`pip install`; CalledProcessError if it fails. With `skip_packages`, returns what of those was asked for."""
    if skip_packages is not None and (no_deps_requirements is not None or not blocking):
        raise ValueError("skip_packages goes neither with no_deps_requirements nor with blocking=False")
    limits = [] if constraints is None else ["-c", str(constraints)]
    if skip_packages is not None:
        return _installWithout(requirements, {canonicalize_name(name) for name in skip_packages}, limits)
    if no_deps_requirements is not None:
        _pip([*_arguments("install", no_deps_requirements), "--no-deps", *limits], True, None, None)
    _pip([*_arguments("install", requirements), *limits], blocking, logCallback, completedCallback)
    return None


def _installWithout(requirements, skip, limits):
    """Each requirement without its dependencies, then those dependencies, except for `skip`."""
    texts = shlex.split(requirements) if isinstance(requirements, str) else requirements
    waiting = [Requirement(text) for text in texts]
    seen: set[str] = set()
    skipped: list[str] = []
    while waiting:
        requirement = waiting.pop(0)
        name = canonicalize_name(requirement.name)
        if name in seen:
            continue
        seen.add(name)
        if name in skip:
            skipped.append(str(requirement))
        elif not pip_check(requirement):
            requirement.marker = None
            _pip(["install", str(requirement), "--no-deps", *limits], True, None, None)
            waiting[:0] = _dependencies(requirement.name)
    return skipped


def _dependencies(name):
    try:
        needed = [Requirement(text) for text in importlib.metadata.requires(name) or []]
    except importlib.metadata.PackageNotFoundError:
        return []
    return [requirement for requirement in needed if "extra" not in str(requirement.marker or "")]


def pip_uninstall(
    requirements: str | list[str],
    blocking: bool = True,
    logCallback: Callable[[str], None] | None = None,
    completedCallback: Callable[[int], None] | None = None,
) -> None:
    """`pip uninstall` without a question."""
    _pip([*_arguments("uninstall", requirements), "--yes"], blocking, logCallback, completedCallback)


def _pip(args, blocking, logCallback, completedCallback):
    global _inProgress
    if blocking:
        slicer.util.executePythonModule("pip", args, blocking=True)
        return
    if _inProgress:
        raise RuntimeError("pip is already running; wait until it is done")

    def completed(status):
        global _inProgress
        _inProgress = False
        if completedCallback:
            completedCallback(status)

    _inProgress = True
    try:
        slicer.util.executePythonModule(
            "pip", args, blocking=False, logCallback=logCallback, completedCallback=completed
        )
    except (RuntimeError, OSError, CalledProcessError):
        _inProgress = False
        raise
