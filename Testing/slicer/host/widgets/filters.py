"""Which nodes a combo box lists."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .. import signals

Attribute = tuple[str, str, str | None]  # class of node, name, value (None: any)

DEFAULTS: dict[str, Any] = {
    "nodeTypes": (),
    "hideChildNodeTypes": (),
    "showChildNodeTypes": True,
    "showHidden": False,
    "noneEnabled": False,
    "noneDisplay": "None",
    "addEnabled": True,
    "removeEnabled": True,
    "editEnabled": False,
    "renameEnabled": False,
}


class Option:
    """A property that changes which nodes are listed."""

    def __init__(self, key: str, kind: Any = bool) -> None:
        self.key, self.kind = key, kind

    def __get__(self, owner: Any, kind: type) -> Any:
        return self if owner is None else owner._options[self.key]

    def __set__(self, owner: Any, value: Any) -> None:
        if self.kind is tuple and isinstance(value, str):
            raise signals.ContractError(f"{self.key} takes a list of names, not {value!r}")
        owner._options[self.key] = self.kind(value)
        owner._refresh()


def accepts(node: Any, options: dict[str, Any], attributes: Sequence[Attribute]) -> bool:
    """Whether a node passes the filters of type, visibility and attributes; without types all do."""
    if node.GetHideFromEditors() and not options["showHidden"]:
        return False
    if not options["nodeTypes"]:
        return True
    children = options["showChildNodeTypes"]
    for kind in options["nodeTypes"]:
        if not node.IsA(kind) or (not children and node.GetClassName() != kind):
            continue
        if children and any(node.IsA(hidden) for hidden in options["hideChildNodeTypes"]):
            return False
        wanted = [(key, value) for owner, key, value in attributes if owner == kind]
        return all(node.GetAttribute(k) is not None and v in (None, node.GetAttribute(k)) for k, v in wanted)
    return False
