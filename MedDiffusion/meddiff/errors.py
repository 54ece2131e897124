"""Errors that a user can act on: what came, what was expected, what to do."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from difflib import get_close_matches

# As torch on each system, CUDA's libraries and the C++ run time say it.
OUT_OF_MEMORY = ("outofmemory", "out of memory", "allocate memory", "not enough memory", "bad_alloc", "alloc_failed")


class BadInput(ValueError):
    """The user's input cannot be used; the message is one clear sentence, shown without a traceback."""


class BadModel(BadInput):
    """A model folder is incomplete, altered or of an unknown layout."""


class Cancelled(Exception):
    """The user stopped the run; nothing was written."""


class Notice(UserWarning):
    """Something that the user should know about a run that goes on."""


@contextmanager
def notices(tell: Callable[[str], None], *, others: bool = False) -> Iterator[None]:
    """Hands each notice to `tell`, one sentence at a time; warnings of other packages are left out, or, with `others`,
    go on as they would."""
    with warnings.catch_warnings():
        if not others:
            warnings.simplefilter("ignore")
        warnings.simplefilter("always", Notice)
        usual = warnings.showwarning

        def show(message: Warning | str, category: type[Warning], *about: object) -> None:
            if issubclass(category, Notice):
                tell(str(message))
            else:
                usual(message, category, *about)  # type: ignore[arg-type]

        warnings.showwarning = show  # type: ignore[assignment]
        yield


def choose(name: str, known: Iterable[str], what: str) -> str:
    """`name` if it is one of `known`; raises `BadInput` with the nearest names otherwise."""
    names = sorted(known)
    if name in names:
        return name
    near = get_close_matches(name, names, n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(near)}?" if near else f"choose one of: {', '.join(names) or 'none available'}."
    raise BadInput(f"unknown {what} {name!r}; {hint}")


def short_of_memory(error: BaseException) -> str:
    """Whose memory ran out, "the GPU" or "the computer"; empty for any other error."""
    text = f"{type(error).__name__} {error}".lower()
    told = isinstance(error, (RuntimeError, OSError)) and any(words in text for words in OUT_OF_MEMORY)
    if not (told or isinstance(error, MemoryError)):
        return ""
    return "the GPU" if any(words in text for words in ("cuda", "cudnn", "cublas", "hip", "mps")) else "the computer"


def hint(error: BaseException) -> str:
    """What to do about an unexpected error; empty where nobody knows."""
    if place := short_of_memory(error):
        return f"{place} ran out of memory; use a smaller batch, close other programs, or choose another device"
    return ""
