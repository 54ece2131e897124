"""Checks for the system libraries that Qt and VTK need, and installs them on Debian and Ubuntu when run as root.

Run: python Testing/slicer/setup_system.py [--check]

Exit status 0: all is there. 1: something is missing and was not installed; the command to run is printed.
"""

from __future__ import annotations

import ctypes
import glob
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
    "libglib-2.0.so.0": "libglib2.0-0",
}
DRIVER = "a driver of EGL"  # VTK draws off-screen with it; Mesa's works without a graphics card
DRIVER_FILES = ("/usr/share/glvnd/egl_vendor.d/*.json", "/etc/glvnd/egl_vendor.d/*.json")
PACKAGES = {**LIBRARIES, DRIVER: "libegl-mesa0 libgl1-mesa-dri"}


def missing() -> list[str]:
    """What cannot be loaded; nothing on macOS and Windows, where it comes along."""
    if not sys.platform.startswith("linux"):
        return []
    absent = [library for library in LIBRARIES if not loads(library)]
    return absent if any(glob.glob(files) for files in DRIVER_FILES) else [*absent, DRIVER]


def loads(library: str) -> bool:
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True


def command(absent: list[str]) -> str:
    """The one command that installs them."""
    packages = " ".join(dict.fromkeys(package for thing in absent for package in PACKAGES[thing].split()))
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
