"""Generative diffusion models for medical images (not diffusion MRI). Names are imported when they are asked for."""

from __future__ import annotations

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_NAMES = {
    "errors": ("BadInput", "BadModel", "Cancelled"),
    "levels": ("Level", "Schedule", "make_schedule"),
    "prior": ("Condition", "Prior"),
    "noises": ("Gaussian", "gaussian", "seed_of"),
    "operators": ("Downsample", "Fourier", "Identity", "Inpaint", "LowPass", "Operator"),
    "multicoil": ("MultiCoil",),
    "masks": ("make_mask",),
    "volume": ("Volume", "read", "write"),
    "intensity": ("Intensity",),
    "solvers": ("DDIM", "DPMSolver2M", "Heun", "ReverseDiffusion", "Solver"),
    "guides": (
        "Classifier",
        "Clip",
        "FreeGuidance",
        "Gradient",
        "Guide",
        "Langevin",
        "LowFrequency",
        "Project",
        "ProjectState",
        "Proximal",
        "Replace",
    ),
    "sampling": ("Progress", "diffuse", "drain", "invert", "repaint_path", "sample"),
    "card": ("Card",),
    "models": ("Model", "load"),
    "registry": ("find_recipe", "recipe"),
    "reconstruction": ("Acquisition", "Reconstruction", "reconstruct"),
    "job": ("Job", "Result", "run"),
}
_HOME = {name: module for module, names in _NAMES.items() for name in names}
__all__ = [*_HOME]  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    """The name from its module: the command line starts in a blink, since torch waits until it is needed."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME})
