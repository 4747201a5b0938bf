"""The reports of something compiled, whichever object the user has in hand."""

from __future__ import annotations

from typing import Any

from torchair.errors import ConfigError
from torchair.frontend.report import CompileReport


def reports_of(compiled: Any) -> list[CompileReport]:
    """Reports of every graph, oldest first.

    Args:
        compiled: what ``torch.compile`` returned for a function or a module, the backend that was
            given to it, or one compiled graph.

    Raises:
        ConfigError: it was not compiled with this package, or was not called yet.
    """
    single = getattr(compiled, "report", None)
    if isinstance(single, CompileReport):
        return [single]
    backend = _backend_of(compiled)
    found = getattr(backend, "reports", None)
    if not isinstance(found, list):
        raise ConfigError(
            "this object was not compiled with a backend of torchair",
            found=type(compiled).__name__,
            hint="pass the result of torch.compile(..., backend=torchair.get_npu_backend()), "
            "or the backend itself",
        )
    if not found:
        raise ConfigError(
            "nothing has been compiled yet",
            hint="call the compiled function once with example inputs",
        )
    return list(found)


def _backend_of(compiled: Any) -> Any:
    """The backend behind dynamo's wrappers."""
    callback = compiled
    context = getattr(compiled, "dynamo_ctx", None)
    if context is not None:
        callback = context.callback
    elif hasattr(compiled, "_torchdynamo_orig_callable"):
        code, cells = compiled.__code__, compiled.__closure__ or ()
        held = dict(zip(code.co_freevars, cells, strict=True))
        callback = held["callback"].cell_contents if "callback" in held else None
    while callback is not None and not hasattr(callback, "reports"):
        for name in ("_torchdynamo_orig_backend", "compiler_fn", "_compiler_fn"):
            following = getattr(callback, name, None)
            if following is not None:
                break
        callback = following
    return callback
