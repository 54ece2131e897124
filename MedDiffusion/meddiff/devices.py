"""Which device and which arithmetic a network runs on."""

from __future__ import annotations

import os
from dataclasses import dataclass

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


def has_fast_bf16(device: torch.device) -> bool:
    """Whether the device computes in bfloat16 rather than imitates it: imitation was measured 10x slower than fp32."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    if device.type == "cpu":
        # not public, so they may be missing from other versions of torch: then it is taken for absent
        asks = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
        return any(getattr(torch.cpu, name, lambda: False)() for name in asks)
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
