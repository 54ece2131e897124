"""Weights of MONAI bundles: tensors and nothing else, under the names that MONAI's networks have for them today."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .errors import BadModel
from .store import check_state

WRAPPERS = ("model", "state_dict", "network", "net")  # what checkpoints keep their weights in
# The same layer today, and in the archived package GenerativeModels, which the public bundles were trained with.
OLD_NAMES = (
    (".attn.out_proj.", ".proj_attn."),
    (".attn.to_", ".to_"),
    (".out_proj.", ".to_out.0."),
    (".postconv.", ".conv."),
)
UNUSED = ".proj_attn."  # its attention had this layer, and never called it


def read_state(path: Path) -> dict[str, Tensor]:
    """The tensors of a .pt file, which may hold nothing else; raises BadModel."""
    if not path.is_file():
        raise BadModel(
            f"{path} is missing; bundles keep large weights apart: large_files.yml or the README says where they are"
        )
    try:
        # weights_only refuses whatever would run when it is read
        found = torch.load(path, map_location="cpu", weights_only=True)  # noqa: TID251 - bundles have no other format
    except Exception as error:  # UnpicklingError, RuntimeError, EOFError, ...: all say that it is no plain tensors
        why = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise BadModel(
            f"{path} holds more than tensors, or is damaged, and was not read ({why}); expected a file of weights, as "
            "torch.save writes a state_dict"
        ) from None
    for name in WRAPPERS:
        if isinstance(found, dict) and isinstance(found.get(name), dict):
            found = found[name]
    return _tensors(found, path)


def _tensors(found: Any, path: Path) -> dict[str, Tensor]:
    if not isinstance(found, Mapping) or not found or not all(isinstance(v, Tensor) for v in found.values()):
        raise BadModel(f"{path} holds {type(found).__name__}, not tensors by their names")
    prefix = "module." if all(str(name).startswith("module.") for name in found) else ""
    return {str(name).removeprefix(prefix): value for name, value in found.items()}


def renamed(state: Mapping[str, Tensor], shapes: Mapping[str, torch.Size], what: str) -> dict[str, Tensor]:
    """`state` under the names of `shapes`, in single precision; raises BadModel for what is missing, of another shape
    or over. What the old attention never used is left behind."""
    found, left = {}, dict(state)
    for name in shapes:
        known = next((each for each in (name, _old(name)) if each in left), name)
        if known in left:
            found[name] = left.pop(known).float()
    found |= {name: value for name, value in left.items() if UNUSED not in name}
    try:
        check_state(found, shapes)
    except BadModel as error:
        raise BadModel(f"{what}: {error}") from None
    return found


def _old(name: str) -> str:
    """What GenerativeModels called a tensor."""
    for new, old in OLD_NAMES:
        name = name.replace(new, old)
    return name
