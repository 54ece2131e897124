"""Checks for the system libraries that Qt and VTK need, and installs them on Debian and Ubuntu when run as root.

Run: python Testing/slicer/setup_system.py [--check]

Exit status 0: all is there. 1: something is missing and was not installed; the command to run is printed.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import sys

# Library -> the package of Debian and Ubuntu that has it.
LIBRARIES = {
    "libEGL.so.1": "libegl1",
    "libGL.so.1": "libgl1",
    "libxkbcommon.so.0": "libxkbcommon0",
    "libfontconfig.so.1": "libfontconfig1",
    "libdbus-1.so.3": "libdbus-1-3",
    "libGLX_mesa.so.0": "libgl1-mesa-dri libglx-mesa0",
    "libEGL_mesa.so.0": "libegl-mesa0",
    "libglib-2.0.so.0": "libglib2.0-0",
}


def missing() -> list[str]:
    """The libraries that cannot be loaded."""
    if not sys.platform.startswith("linux"):
        return []  # macOS and Windows bring them along
    absent = []
    for library in LIBRARIES:
        try:
            ctypes.CDLL(library)
        except OSError:
            absent.append(library)
    return absent


def command(absent: list[str]) -> str:
    """The one command that installs them."""
    packages = " ".join(dict.fromkeys(package for library in absent for package in LIBRARIES[library].split()))
    sudo = "" if is_root() else "sudo "
    return f"{sudo}apt-get update && {sudo}apt-get install -y --no-install-recommends {packages}"


def is_root() -> bool:
    return hasattr(os, "geteuid") and os.geteuid() == 0


def sentence(absent: list[str]) -> str:
    return (
        f"Qt and VTK cannot be loaded: {', '.join(absent)} missing. "
        f"On Debian and Ubuntu run:\n\n    {command(absent)}\n"
    )


def main(arguments: list[str]) -> int:
    absent = missing()
    if absent and "--check" not in arguments and is_root() and shutil.which("apt-get"):
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        subprocess.run(["bash", "-c", command(absent)], check=True, env=environment, stdout=subprocess.DEVNULL)
        absent = missing()
    if absent:
        sys.stderr.write(sentence(absent))
    return int(bool(absent))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
