"""Garbage collection while IR is built."""

from __future__ import annotations

import gc
from collections.abc import Generator
from contextlib import contextmanager


@contextmanager
def quiet_gc() -> Generator[None]:
    """Switch the cyclic garbage collector off while a graph is built.

    IR is one large cyclic structure that stays alive throughout; scanning it again and again is the
    only super-linear cost of a compile.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
