"""Which operators the decomposition table took apart while a model was traced, and into what."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from torch._ops import OpOverload
from torch.fx import Node
from torch.fx import traceback as fx_traceback
from torch.fx.experimental.proxy_tensor import get_proxy_mode

from torchair.frontend.fx_import import source_of_trace
from torchair.frontend.operator_uses import OperatorUse, kind_of, printed, printed_arguments


class DecompositionLog:
    """Watches a decomposition table; calls inside another decomposition are not counted."""

    def __init__(self) -> None:
        self._uses: dict[Any, OperatorUse] = {}
        self._depth = 0

    def watched(self, table: dict[Any, Callable[..., Any]]) -> dict[Any, Callable[..., Any]]:
        """The table with functions that also note their calls."""
        return {target: self._watch(target, function) for target, function in table.items()}

    def uses(self) -> list[OperatorUse]:
        """Operators that were decomposed, in order of first use."""
        return list(self._uses.values())

    def _watch(self, target: Any, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def run(*args: Any, **kwargs: Any) -> Any:
            last = _last_node() if self._depth == 0 else None
            self._depth += 1
            try:
                result = function(*args, **kwargs)
            finally:
                self._depth -= 1
            if self._depth == 0 and result is not NotImplemented:
                use = self._uses.setdefault(target, OperatorUse(str(target), kind_of(target)))
                _note(use, printed_arguments(args, kwargs), printed(result), last)
            return result

        return run


def _note(use: OperatorUse, arguments: str, result: str, last: Node | None) -> None:
    use.calls += 1
    use.inputs[arguments] += 1
    use.outputs[result] += 1
    use.add_source(source_of_trace(fx_traceback.current_meta.get("stack_trace")))
    node = last
    while node is not None and node.next.op != "root":
        node = node.next
        made = str(node.target)
        if isinstance(node.target, OpOverload) and made not in use.into:
            use.into.append(made)


def _last_node() -> Node | None:
    """The last node that the trace under way has made."""
    mode = get_proxy_mode()
    tracer = getattr(mode, "tracer", None)
    return None if tracer is None else next(iter(reversed(tracer.graph.nodes)), None)
