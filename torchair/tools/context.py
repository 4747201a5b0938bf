"""The Context that reads every module of the compiler."""

from __future__ import annotations

from collections.abc import Callable

from xdsl.dialects.builtin import Builtin
from xdsl.dialects.func import Func
from xdsl.ir import Dialect

from torchair.dialects.aten import get_aten_dialects
from torchair.dialects.stream import get_stream_dialect
from torchair.dialects.stream.markers import find_marker_or_custom
from torchair.ir.lazy import LazyContext


def get_dialects() -> dict[str, Callable[[], Dialect]]:
    """Factories of the project's own dialects, by name."""
    own = {
        "ge": _ge_dialect,
        "stream": get_stream_dialect,
        "torchair": _torchair_dialect,
    }
    return {**get_aten_dialects(), **own}


def make_context() -> LazyContext:
    """A Context with builtin, func, the torch namespaces, ge, stream and torchair, loaded on use.

    Operators of custom namespaces are found when this process defined them (an import, or the
    ``#aten.schema`` attributes of the module being parsed).
    """
    context = LazyContext()
    context.register_dialect("builtin", lambda: Builtin)
    context.register_dialect("func", lambda: Func)
    register_own_dialects(context)
    return context


def register_own_dialects(context: LazyContext) -> None:
    """Add the project's dialects and its custom operators to a Context."""
    for name, factory in get_dialects().items():
        context.register_dialect(name, factory)
    context.find_other_op = find_marker_or_custom


def _ge_dialect() -> Dialect:
    from torchair.dialects.ge import get_ge_dialect

    return get_ge_dialect()


def _torchair_dialect() -> Dialect:
    from torchair.ir.weights import get_torchair_dialect

    return get_torchair_dialect()
