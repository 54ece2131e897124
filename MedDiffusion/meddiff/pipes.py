"""Reading a pipe in pieces, on every system. Needs the standard library alone."""

from __future__ import annotations

import os
import sys


def read_some(pipe: int, size: int = 2**16) -> bytes | None:
    """What lies in the pipe, `size` bytes at most; b"" at its end, None where nothing is there yet.

    A blocking pipe is waited for, but not on Windows: a read that waits there holds up whoever touches the same handle,
    and libraries that are being loaded do.
    """
    try:
        if sys.platform == "win32":
            import _winapi
            import msvcrt

            waiting, *_ = _winapi.PeekNamedPipe(msvcrt.get_osfhandle(pipe), 0)
            if not waiting:
                return None
            size = min(size, waiting)
        return os.read(pipe, size)
    except BlockingIOError:
        return None
    except BrokenPipeError:
        return b""
