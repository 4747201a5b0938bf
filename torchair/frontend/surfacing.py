"""Lets torchair's errors reach the user of torch.compile as what they are.

Dynamo wraps what a backend raises in ``BackendCompilerFailed``. Errors raised through ``surfaced``
are
both: an instance of their own class, with its message first, and a ``BackendCompilerFailed``, so
that
code catching either works.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

from torch._dynamo.exc import BackendCompilerFailed

from torchair.errors import TorchairError


@contextmanager
def surfaced() -> Iterator[None]:
    """Re-raise torchair errors in a form that dynamo passes on unchanged."""
    try:
        yield
    except BackendCompilerFailed:
        raise
    except TorchairError as error:
        raise _surfaced_error(error) from error


@cache
def _surfaced_class(cls: type[TorchairError]) -> type[Exception]:
    names = {
        "__module__": cls.__module__,
        "__init__": Exception.__init__,
        "__str__": cls.message,  # dynamo appends advice to args; our message stays as it is
    }
    return type(cls.__name__, (cls, BackendCompilerFailed), names)


def _surfaced_error(error: TorchairError) -> Exception:
    made = _surfaced_class(type(error))(str(error))
    made.__dict__.update(error.__dict__)
    made.__dict__.update(backend_name="torchair", inner_exception=error, first_useful_frame=None)
    return made
