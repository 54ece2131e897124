"""Python packages of an extension in the host: asked for as Slicer does, written down, never installed."""

from __future__ import annotations

import sys

import pytest


@pytest.fixture
def slicer(host):
    import slicer

    return slicer


@pytest.fixture
def pip(host):
    from host import standins

    recorder = standins.install()
    recorder.forget()
    with host.testing():  # no dialogs of progress
        yield recorder
    recorder.forget()


def test_requirements_files(slicer, tmp_path):
    from slicer.packaging import load_pyproject_dependencies, load_requirements

    (tmp_path / "requirements.txt").write_text("# a comment\n--index-url x\n\nnumpy>=1.20\neinops\n")
    assert [str(r) for r in load_requirements(tmp_path / "requirements.txt")] == ["numpy>=1.20", "einops"]
    project = tmp_path / "pyproject.toml"
    if sys.version_info >= (3, 11):
        project.write_text('[project]\ndependencies = ["numpy"]\n')
        assert [str(r) for r in load_pyproject_dependencies(str(project))] == ["numpy"]
        project.write_text("[tool]\n")
        with pytest.raises(KeyError):
            load_pyproject_dependencies(project)


def test_pip_check_asks_no_one(slicer, pip):
    from slicer.packaging import pip_check

    assert pip_check("numpy>=1.20") and pip_check(["numpy", "pytest"]) and pip_check("numpy pytest")
    assert not pip_check("numpy>=99") and not pip_check("no-such-package-here")
    assert pip_check("no-such-package-here; sys_platform == 'nowhere'")
    assert pip.requests == []


def test_pip_is_recorded_and_never_run(slicer, pip):
    from slicer.packaging import isPipInstallInProgress, pip_install, pip_uninstall

    pip_install("one two>=2")
    pip_install(["three"], constraints="c.txt")
    pip_uninstall("one")
    slicer.util.pip_install("four")
    assert pip.requests == [
        ["install", "one", "two>=2"],
        ["install", "three", "-c", "c.txt"],
        ["uninstall", "one", "--yes"],
        ["install", "four"],
    ]
    assert pip_install(["no-such-package-here", "torch>=2"], skip_packages=["Torch"]) == ["torch>=2"]
    assert pip.requests[-1][:2] == ["install", "no-such-package-here"] and "--no-deps" in pip.requests[-1]
    with pytest.raises(ValueError):
        pip_install("a", skip_packages=["b"], blocking=False)
    assert not isPipInstallInProgress()


def test_a_failing_pip_raises(slicer, pip):
    from subprocess import CalledProcessError

    from slicer.packaging import pip_install

    pip.answer = lambda args: 1
    with pytest.raises(CalledProcessError):
        pip_install("one")


def test_pip_ensure(slicer, pip, monkeypatch):
    from slicer.packaging import pip_ensure

    pip_ensure("numpy>=1.20")
    pip_ensure("no-such-package-here")  # in testing mode: nothing
    assert pip.requests == []
    monkeypatch.setattr(slicer.util, "confirmOkCancelDisplay", lambda *args, **kwargs: False)
    with pytest.raises(RuntimeError):
        pip_ensure("no-such-package-here", skip_in_testing=False)
    assert pip.requests == []
    monkeypatch.setattr(slicer.util, "confirmOkCancelDisplay", lambda *args, **kwargs: True)
    pip_ensure(["numpy", "no-such-package-here"], skip_in_testing=False, prompt_restart=False, requester="MedDiffusion")
    assert pip.requests == [["install", "no-such-package-here"]]


def test_sources_of_slicer_that_are_not_there(monkeypatch, tmp_path):
    from host import standins

    monkeypatch.setenv("SLICER_SOURCE", str(tmp_path))
    with pytest.raises(FileNotFoundError, match="expected Slicer's sources"):
        standins.folders()
