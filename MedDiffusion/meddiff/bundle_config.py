"""What a MONAI bundle says of itself, read as data: references are followed, and no expression is run."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .errors import BadModel

CONFIG = "inference.json"
SEPARATORS = r"#|::"  # between the parts of a reference such as @train#dataset
DEPTH = 32  # references to references; more are a circle


@dataclass(frozen=True)
class Config:
    """The configuration that a bundle samples with, its metadata, and the configurations that it was trained with."""

    folder: Path
    entries: Mapping[str, Any]
    metadata: Mapping[str, Any]
    others: tuple[Mapping[str, Any], ...]

    def __contains__(self, key: str) -> bool:
        return key in self.entries

    def value(self, key: str) -> Any:
        """The entry `key` with all references followed; raises BadModel where that needs an expression to be run."""
        return self._resolved(self.entries[key], key)

    def first(self, *keys: str) -> str:
        """The first of these keys that the configuration has; empty if none."""
        return next((key for key in keys if key in self.entries), "")

    def definition(self, key: str) -> tuple[str, dict[str, Any]]:
        """The `_target_` of a definition, and its arguments; MONAI's other words with underscores are left out."""
        entry = self.entries[key]
        if not isinstance(entry, dict) or not isinstance(entry.get("_target_"), str):
            raise BadModel(f"{key} in {CONFIG} is {_short(entry)}; expected a definition with a _target_")
        found = {name: self._resolved(value, f"{key}.{name}") for name, value in entry.items() if name[:1] != "_"}
        return entry["_target_"], found

    def told(self, *keys: str) -> Iterator[Any]:
        """What any configuration of the bundle says under these keys, however deep, where it says it plainly."""
        for top in (self.entries, *self.others):
            for name, value in _entries(top):
                if name in keys and not _is_code(value):
                    yield value

    def _resolved(self, value: Any, where: str, depth: int = 0) -> Any:
        if depth > DEPTH:
            raise BadModel(f"{where} in {CONFIG} refers to itself, in a circle")
        if isinstance(value, dict):
            return {key: self._resolved(each, f"{where}.{key}", depth + 1) for key, each in value.items()}
        if isinstance(value, list):
            return [self._resolved(each, f"{where}[{k}]", depth + 1) for k, each in enumerate(value)]
        if not isinstance(value, str) or value[:1] not in ("$", "@", "%"):
            return value
        text = value.lstrip("$").strip() if value[0] == "$" else value
        if re.fullmatch(r"@[\w.#:-]+", text):
            return self._resolved(self._referred(text[1:], where), where, depth + 1)
        if value[0] == "$":
            try:
                return ast.literal_eval(text)
            except (ValueError, SyntaxError, MemoryError, RecursionError):
                pass
        raise BadModel(
            f"{where} in {CONFIG} is {_short(value)}, an expression, and none is run; write its value there, "
            "and import the bundle again"
        )

    def _referred(self, name: str, where: str) -> Any:
        value: Any = self.entries
        for part in re.split(SEPARATORS, name):
            if isinstance(value, list) and part.isdecimal() and int(part) < len(value):
                value = value[int(part)]
            elif isinstance(value, dict) and part in value:
                value = value[part]
            else:
                raise BadModel(f"{where} in {CONFIG} refers to @{name}, which is not there")
        return value


def read_config(folder: Path) -> Config:
    """The configurations of the bundle in `folder`; raises BadModel for what is none."""
    path = folder / "configs" / CONFIG
    if not path.is_file():
        raise BadModel(f"{folder} has no configs/{CONFIG}; expected the folder of a MONAI bundle")
    others = [p for p in sorted(path.parent.glob("*.json")) if p.name not in (CONFIG, "metadata.json")]
    metadata = path.with_name("metadata.json")
    about = _read(metadata) if metadata.is_file() else {}
    return Config(folder, _read(path), about, tuple(_read(other) for other in others))


def _read(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise BadModel(f"{path} cannot be read as JSON: {error}") from error
    if not isinstance(found, dict):
        raise BadModel(f"{path} holds {_short(found)}; expected an object")
    return found


def _entries(value: Any) -> Iterator[tuple[str, Any]]:
    """Every key of nested objects, with what it holds."""
    below = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    if isinstance(value, dict):
        yield from value.items()
    for each in below:
        yield from _entries(each)


def _is_code(value: Any) -> bool:
    """Whether any of it is a reference or an expression."""
    if isinstance(value, list):
        return any(map(_is_code, value))
    return isinstance(value, dict) or (isinstance(value, str) and value[:1] in ("$", "@", "%"))


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
