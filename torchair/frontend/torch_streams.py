"""Plain PyTorch streams and events in a compiled function, as dynamo and AOT autograd write them.

An operator inside ``with stream:`` has the stream's number in its metadata. Event calls arrive as
``streams`` operators, each wrapped in a ``control_deps`` call that hands values through.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import torch
from torch.fx import GraphModule, Node
from xdsl.ir import Attribute

from torchair.dialects.stream.attributes import LABEL, torch_stream_label
from torchair.errors import UnsupportedOpError
from torchair.ir import interned
from torchair.passes.resolve_scopes import CURRENT_STREAM


def torch_stream_attributes(node: Node) -> dict[str, Attribute]:
    """The label of the ``torch.Stream`` that a node stands in; empty outside of all."""
    number = (node.meta.get("custom") or {}).get("stream")
    if number is None or _counted_from_current(number) == CURRENT_STREAM:
        return {}
    return {LABEL: interned.string(torch_stream_label(_counted_from_current(number)))}


_STREAM_ARGUMENTS: Final[Mapping[str, tuple[int, ...]]] = {
    "streams.record_event": (1,),
    "streams.wait_event": (1,),
    "streams.wait_stream": (0, 1),
    "streams.record_stream": (1,),
}


def number_streams(name: str, values: list[Any]) -> list[Any]:
    """The arguments of an operator, with streams counted so that the current one is
    ``CURRENT_STREAM``."""
    places = _STREAM_ARGUMENTS.get(name, ())
    return [_counted_from_current(v) if n in places else v for n, v in enumerate(values)]


def _counted_from_current(number: int) -> int:
    """Where there is an accelerator, dynamo gives its current stream the first number; elsewhere
    the user's first stream has it."""
    return number if torch.accelerator.is_available() else number + 1


def is_ordered_call(node: Node) -> bool:
    """Whether a node wraps a call that other values are ordered against."""
    return getattr(node.target, "__name__", "") == "control_deps"


def read_ordered_call(node: Node, root: GraphModule) -> tuple[Node, list[Node]]:
    """The wrapped call as a node of its own, and the values that the wrapper hands through.

    Raises:
        UnsupportedOpError: the wrapper holds more than one call.
    """
    place: Any = node.args[1]
    body = getattr(root, str(place.target)) if isinstance(place, Node) else None
    calls = [n for n in body.graph.nodes if n.op == "call_function"] if body is not None else []
    if len(calls) != 1 or any(isinstance(a, Node) for a in calls[0].args):
        raise UnsupportedOpError(
            "a wrapped call that is more than one operation on streams",
            found=str(node.format_node()),
            hint="use torchair.scope and torchair.ops for streams and events",
        )
    inner = torch.fx.Graph().call_function(calls[0].target, calls[0].args, calls[0].kwargs)
    inner.meta = {**calls[0].meta, **node.meta, "val": None}
    inner.name = node.name
    passed: Any = node.args[2:]
    return inner, list(passed)
