"""What is installed, and what pip is told: versions that must stay, a folder in place of the internet."""

from __future__ import annotations

import importlib.metadata as metadata
import os
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from subprocess import CalledProcessError
from typing import Any

from meddiff.errors import BadInput

from .words import _


def is_met(requirement: str) -> bool:
    """Whether a package is installed in a version that fits."""
    found = _parse(requirement)
    version = installed(found.name)
    return bool(version) and found.specifier.contains(version, prereleases=True)


def unmet(requirements: Iterable[str], skipped: Iterable[str]) -> list[str]:
    """These requirements and all of theirs, to the bottom, that are not met; but for the `skipped` packages."""
    seen, found = {name.lower() for name in skipped}, list[str]()

    def look(requirement: Any) -> None:
        name = requirement.name.lower().replace("_", "-")
        if name in seen or (requirement.marker and not requirement.marker.evaluate({"extra": ""})):
            return
        seen.add(name)
        if not is_met(str(requirement)):
            found.append(f"{requirement.name}{requirement.specifier}")
            return
        for each in metadata.requires(requirement.name) or ():
            look(_parse(each))

    for requirement in requirements:
        look(_parse(requirement))
    return found


def installed(name: str) -> str:
    """The version of a package; empty where there is none."""
    try:
        return metadata.version(name) or ""
    except metadata.PackageNotFoundError:
        return ""


def _parse(requirement: str) -> Any:
    try:
        from packaging.requirements import Requirement
    except ImportError:  # Slicer 5.10 has it inside pip alone
        from pip._vendor.packaging.requirements import Requirement
    return Requirement(requirement)


@contextmanager
def constraints(names: Sequence[str]) -> Iterator[Path]:
    """A file for `pip -c` that holds these packages at the versions that they have."""
    lines = [f"{name}=={version}\n" for name in names if (version := installed(name))]
    with tempfile.TemporaryDirectory(prefix="meddiffusion-") as folder:
        file = Path(folder, "constraints.txt")
        file.write_text("".join(lines), encoding="utf-8")
        yield file


@contextmanager
def settings(wheels: Path | None, constraint: Path | None = None) -> Iterator[None]:
    """Settings for every pip that is started meanwhile, by whomever: addresses, since pip splits paths at blanks."""
    values = {"PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    if wheels is not None:
        values |= {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": wheels.as_uri()}
    if constraint is not None:
        values["PIP_CONSTRAINT"] = constraint.as_uri()
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def wheels_in(folder: str | os.PathLike[str], requirements: Path) -> Path:
    """The folder, absolute; raises BadInput for one without any wheels."""
    path = Path(folder).expanduser().resolve()
    if not any(path.glob("*.whl")):
        message = _(
            "The folder {folder} holds no wheels (*.whl). Fill it on a computer with the internet: "
            "pip download -r {requirements} torch -d FOLDER"
        )
        raise BadInput(message.format(folder=path, requirements=requirements))
    return path


@contextmanager
def in_words(what: str) -> Iterator[None]:
    """What pip raises, as a sentence."""
    try:
        yield
    except (CalledProcessError, ImportError, RuntimeError, OSError) as error:
        message = _(
            "{what} could not be installed ({error}). The Python console tells more. Without the internet, name a "
            "folder of wheels; behind a proxy, set HTTPS_PROXY and start Slicer again."
        )
        raise BadInput(message.format(what=what, error=_short(error))) from error


def _short(error: Exception) -> str:
    if isinstance(error, CalledProcessError):
        return _("pip ended with code {code}").format(code=error.returncode)
    return (str(error).strip() or type(error).__name__).splitlines()[0]
