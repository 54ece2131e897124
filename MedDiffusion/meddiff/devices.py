"""Which device and which arithmetic a network runs on."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from .errors import BadInput, choose
from .prior import Condition

PRECISIONS = ("auto", "fp32", "bf16")


def pick_device(name: str = "auto") -> torch.device:
    """The device of that name; `auto` is CUDA, else Apple's MPS, else the CPU. Raises BadInput if absent."""
    if name == "auto":
        mps = torch.backends.mps.is_available()
        return torch.device("cuda" if torch.cuda.is_available() else "mps" if mps else "cpu")
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, ValueError, NotImplementedError) as error:
        reason = str(error).splitlines()[0]
        raise BadInput(f"device {name!r} cannot be used here ({reason}); choose auto, cpu, cuda or cuda:N") from None
    return device


def describe(device: torch.device) -> str:
    """The device in words, for provenance and for people."""
    if device.type == "cuda":
        return f"{torch.cuda.get_device_name(device)} ({device})"
    if device.type == "cpu":
        return f"CPU, {torch.get_num_threads()} of {os.cpu_count()} threads"
    return str(device)


def survey() -> dict[str, Any]:
    """What this computer has to compute with: each device, whether it works, and memory in bytes (0: not known)."""
    total, free = memory()
    devices = [_cuda(index) for index in range(torch.cuda.device_count())]
    if torch.backends.mps.is_available():
        devices.append(_told("mps", "Apple GPU", total, free, _trial("mps")))
    threads = torch.get_num_threads()
    devices.append(_told("cpu", f"CPU, {threads} of {os.cpu_count()} threads", total, free, _trial("cpu")))
    return {"devices": devices, "threads": threads, "memory": total, "free": free, "advice": _advice()}


def _told(name: str, title: str, total: int, free: int, why: str) -> dict[str, Any]:
    return {"name": name, "title": title, "memory": total, "free": free, "works": not why, "why": why}


def _cuda(index: int) -> dict[str, Any]:
    """One CUDA or ROCm device: tried, for what a driver says of itself and what runs are two things."""
    name, built = f"cuda:{index}", torch.cuda.get_arch_list()
    try:
        about = torch.cuda.get_device_properties(index)
        title, total, free = about.name, about.total_memory, 0
        own = getattr(about, "gcnArchName", "").split(":")[0] or f"sm_{about.major}{about.minor}"
        why = _trial(name)
        if not why:
            free = torch.cuda.mem_get_info(index)[0]
        elif not runs_on(own, built):
            why = f"this PyTorch was built for {', '.join(built) or 'no GPU'}, and the device is {own}; {why}"
    except Exception as error:  # a broken driver may say anything
        return _told(name, name, 0, 0, _first_line(error))
    return _told(name, title, total, free, why)


def runs_on(own: str, built: Iterable[str]) -> bool:
    """Whether code built for one of these architectures runs on `own`: sm_86 runs what was built for sm_80, and
    compute_70 is translated for all that came later."""
    if own in built or not own.startswith("sm_"):
        return own in built
    major, minor = divmod(int(own[3:]), 10)
    for each in built:
        kind, _, number = each.partition("_")
        if not number.isdigit():  # sm_90a runs on sm_90 alone
            continue
        its_major, its_minor = divmod(int(number), 10)
        if kind == "compute" and (its_major, its_minor) <= (major, minor):
            return True
        if kind == "sm" and its_major == major and its_minor <= minor:
            return True
    return False


def _trial(device: str) -> str:
    """Convolve ones on the device; empty when that works, else what went wrong."""
    try:
        ones = torch.ones(1, 1, 4, 4, device=device)
        middle = float(nn.functional.conv2d(ones, ones[..., :3, :3])[0, 0, 0, 0])
    except Exception as error:  # RuntimeError, AssertionError, ...: the sentence is what counts
        return _first_line(error)
    return "" if middle == 9.0 else f"a sum of nine ones came out as {middle:g}"


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def _advice() -> str:
    """What a person could change so that more is used; empty where all is well."""
    if torch.cuda.is_available() or torch.backends.mps.is_available() or not shutil.which("nvidia-smi"):
        return ""
    if torch.version.cuda is None:
        return "there is an NVIDIA driver, but this PyTorch was built for the CPU alone; install one for CUDA"
    return f"there is an NVIDIA driver, but not one that CUDA {torch.version.cuda} can use; update the driver"


def memory() -> tuple[int, int]:
    """Memory of the computer in bytes, all and free; 0 where the system does not say."""
    if sys.platform == "win32":
        return _windows_memory()
    page, pages = os.sysconf("SC_PAGE_SIZE"), os.sysconf("SC_PHYS_PAGES")
    try:
        with open("/proc/meminfo", encoding="ascii") as file:
            told = dict(line.split(":", 1) for line in file)
        return page * pages, 1024 * int(told["MemAvailable"].split()[0])
    except (OSError, KeyError, ValueError):  # macOS
        return page * pages, 0


def check_room(size: int, device: torch.device, what: str) -> None:
    """Raises BadInput where `size` bytes are more than the device has free; where nobody knows, it is tried."""
    free = torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else memory()[1]
    if free and size > free:
        raise BadInput(
            f"{what} needs {size / 1e9:.1f} GB of memory for its weights alone, and {free / 1e9:.1f} GB are free "
            f"({describe(device)}); close other programs, or use a computer with more"
        )


def _windows_memory() -> tuple[int, int]:
    import ctypes

    words = ("total", "free", "total_file", "free_file", "total_virtual", "free_virtual", "extended")

    class Status(ctypes.Structure):  # MEMORYSTATUSEX
        _fields_ = [
            ("length", ctypes.c_ulong),
            ("load", ctypes.c_ulong),
            *((word, ctypes.c_ulonglong) for word in words),
        ]

    status = Status(length=ctypes.sizeof(Status))
    ctypes.windll.kernel32.GlobalMemoryStatusEx(ctypes.byref(status))  # pyright: ignore[reportAttributeAccessIssue]
    return status.total, status.free


def has_fast_bf16(device: torch.device) -> bool:
    """Whether bfloat16 is faster than float32 on the device, and not imitated, which takes ten times as long."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    if device.type == "cpu":
        # AMX alone: with avx512_bf16 and without tiles it takes 1.4 times as long as float32. The question is not
        # public, so it may be missing from other versions of torch: then it is taken for absent
        return getattr(torch.cpu, "_is_amx_tile_supported", lambda: False)()
    return False


def pick_precision(name: str, device: torch.device) -> torch.dtype:
    """float32 or bfloat16; `auto` takes bfloat16 only where the hardware has it."""
    choose(name, PRECISIONS, "precision")
    fast = name == "bf16" or (name == "auto" and has_fast_bf16(device))
    return torch.bfloat16 if fast else torch.float32


def channels_last(network: nn.Module) -> nn.Module:
    """The network with the memory layout that convolutions are fastest in, 2D and 3D weights each their own."""
    for parameter in network.parameters():
        if parameter.ndim in (4, 5):
            layout = torch.channels_last if parameter.ndim == 4 else torch.channels_last_3d
            parameter.data = parameter.data.contiguous(memory_format=layout)
    return network


@dataclass(frozen=True)
class InPrecision:
    """A network run under autocast; images go in and come out in their own type."""

    network: nn.Module
    dtype: torch.dtype

    def __call__(self, x: Tensor, time: float, cond: Condition | None = None) -> Tensor:
        with torch.autocast(x.device.type, self.dtype, enabled=self.dtype is not torch.float32):
            return self.network(x, time, cond).to(x.dtype)
