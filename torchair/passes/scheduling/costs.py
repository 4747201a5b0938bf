"""The cost model: microseconds of an operation from its class, shapes and target.

A compute operation costs its launch plus the larger of its arithmetic on the unit that does it and
its memory traffic. Rates of the NPUs are rounded from public data sheets at the share that large
kernels reach; those of the host device were measured by ``bench/calibrate.py`` on one thread.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, Final, Literal

from xdsl.ir import Attribute, Operation

from torchair.dialects.aten.table import tags
from torchair.errors import ConfigError, ConversionError
from torchair.ir import element_types, interned
from torchair.ir.private import operands_of
from torchair.passes.scheduling.tasks import is_collective

Unit = Literal["free", "cube", "vector", "link"]

UNKNOWN_SIZE: Final = 32
"""Stands for a symbolic size: a small batch, a short sequence."""


@dataclass(frozen=True, slots=True)
class Target:
    """Rates of a device; times in microseconds.

    Args:
        launch: fixed cost of an operation.
        cube: floating-point operations per microsecond of matrix products and convolutions.
        vector: elements per microsecond of arithmetic.
        memory: bytes per microsecond.
        link: bytes per microsecond between ranks.
        link_latency: fixed cost of a collective.
        event: time from the end of an operation to the start of one on another stream.
        copies: how many operations run at these rates side by side: 1 where a large one takes the
            whole device, on the host a processor core per stream.
    """

    launch: float
    cube: float
    vector: float
    memory: float
    link: float
    link_latency: float
    event: float
    copies: int = 1


TARGETS: Final[Mapping[str, Target]] = {
    "host": Target(0.5, 6.0e4, 2.0e3, 1.5e4, 5.0e3, 30.0, 15.0, 4),
    "ascend310p": Target(4.0, 7.0e7, 3.0e5, 1.5e5, 1.5e4, 40.0, 3.0),
    "ascend910b": Target(3.0, 2.2e8, 1.0e6, 1.0e6, 1.5e5, 15.0, 1.5),
    "ascend910_93": Target(3.0, 2.5e8, 1.0e6, 1.1e6, 3.0e5, 12.0, 1.5),
    "ascend950": Target(2.5, 3.5e8, 1.5e6, 1.3e6, 4.0e5, 10.0, 1.5),
}
"""Rates by target."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What one operation takes.

    Args:
        unit: what executes it; ``free`` is metadata only.
        time: microseconds.
        flops: floating-point operations of cube work, elements of other work.
        traffic: bytes read and written.
    """

    unit: Unit
    time: float
    flops: float
    traffic: float


def unit_times(costs: Iterable[Cost], target: Target) -> dict[str, float]:
    """How long each unit of a device is busy with some operations, launches not counted: however
    many streams there are, these operations take as long as the busiest unit."""
    busy = {"cube": 0.0, "vector": 0.0, "memory": 0.0, "link": 0.0}
    for cost in costs:
        if cost.unit == "link":
            busy["link"] += cost.time - target.link_latency
        elif cost.unit != "free":
            rate = target.cube if cost.unit == "cube" else target.vector
            busy[cost.unit] += cost.flops / rate / target.copies
            busy["memory"] += cost.traffic / target.memory / target.copies
    return busy


FREE: Final = Cost("free", 0.0, 0.0, 0.0)


def target_named(name: str) -> Target:
    """Rates of a target.

    Raises:
        ConfigError: an unknown target.
    """
    found = TARGETS.get(name)
    if found is None:
        close = difflib.get_close_matches(name, TARGETS, n=1)
        hint = f"did you mean '{close[0]}'?" if close else "name one of the targets above"
        known = ", ".join(sorted(TARGETS))
        raise ConfigError(f"unknown target '{name}'", expected=known, hint=hint)
    return found


class CostModel:
    """Costs on one target, one computation per operator and types.

    Args:
        target: rates.
    """

    def __init__(self, target: Target) -> None:
        self.target = target
        self._known: dict[tuple[Any, ...], Cost] = {}

    def cost(self, op: Operation) -> Cost:
        """Cost of an operation."""
        operands = [value.type for value in operands_of(op)]
        results = [result.type for result in op.results]
        key = (op.name, *map(id, operands), 0, *map(id, results))
        found = self._known.get(key)
        if found is None:
            found = self._known[key] = self._compute(op, operands, results)
        return found

    def _compute(
        self, op: Operation, operands: Sequence[Attribute], results: Sequence[Attribute]
    ) -> Cost:
        target = self.target
        if is_free(op):
            return FREE
        touched, times = _touched(op, operands, results)
        traffic = float(times * sum(map(_bytes, touched)))
        if is_collective(op):
            return Cost("link", target.link_latency + traffic / target.link, 0.0, traffic)
        flops = _cube_flops(op, operands, results)
        if flops:
            work = max(flops / target.cube, traffic / target.memory)
            return Cost("cube", target.launch + work, flops, traffic)
        elements = float(max(map(_elements, touched), default=0))
        passes = _PASSES.get(_base_name(op), 1.0)
        work = max(elements * passes / target.vector, traffic / target.memory)
        return Cost("vector", target.launch + work, elements * passes, traffic)


_METADATA: Final = re.compile(
    r"aten\.(alias|detach|lift_fresh|view|_unsafe_view|reshape|expand|permute|transpose|t|"
    r"squeeze|unsqueeze|select|slice|split|split_with_sizes|unbind|narrow|diagonal|"
    r"sym_size|sym_numel|sym_stride|sym_storage_offset|constant)(\.|$)|sym\.|air\.wait_tensor|"
    r"func\.return|builtin\."
)
_free: dict[str, bool] = {}


def is_free(op: Operation) -> bool:
    """Whether an operation only describes memory or sizes and runs nothing."""
    found = _free.get(op.name)
    if found is None:
        found = _free[op.name] = bool(_METADATA.match(op.name)) or "view" in tags(op.name)
    return found


_PASSES: Final[Mapping[str, float]] = {
    "softmax": 4.0,
    "_softmax": 4.0,
    "_log_softmax": 4.0,
    "native_layer_norm": 4.0,
    "native_group_norm": 4.0,
    "var_mean": 3.0,
    "gelu": 4.0,
    "silu": 3.0,
    "sigmoid": 2.0,
    "tanh": 3.0,
    "exp": 2.0,
    "sort": 16.0,
    "topk": 8.0,
    "cumsum": 2.0,
}
"""How many times an operator goes over its elements, where that is not once."""


def _base_name(op: Operation) -> str:
    return op.name.split(".", 2)[1]


def _sizes(type_: Attribute) -> tuple[int, ...]:
    sizes = interned.shape_of(type_) or ()
    return tuple([UNKNOWN_SIZE if size == interned.DYNAMIC else size for size in sizes])


def _elements(type_: Attribute) -> int:
    return prod(_sizes(type_))


_WIDTH = re.compile(r"\d+")


def _bytes(type_: Attribute) -> int:
    """Bytes of a tensor; scalars and tokens have none."""
    if interned.shape_of(type_) is None:
        return 0
    try:
        name = element_types.to_name(interned.element_type(type_))
    except ConversionError:
        return 0
    width = _WIDTH.search(name)
    return _elements(type_) * max(1, (8 if width is None else int(width.group())) // 8)


_GATHERS: Final = frozenset({"embedding", "gather", "index", "index_select"})
"""Operators that read of their first operand only what they give."""
_UPDATES: Final = frozenset({"index_add_", "index_copy_", "index_put_", "scatter_", "scatter_add_"})
"""Operators that touch of their first operand only what they are given."""


def _touched(
    op: Operation, operands: Sequence[Attribute], results: Sequence[Attribute]
) -> tuple[list[Attribute], int]:
    """The tensors that an operation goes over, and how often it does."""
    name = _base_name(op)
    if name in _GATHERS:
        return [*operands[1:], *results, *results], 1
    if name in _UPDATES:
        return [*operands[1:]], 3
    return [*operands, *results], 1


def _cube_flops(
    op: Operation, operands: Sequence[Attribute], results: Sequence[Attribute]
) -> float:
    shapes = [_sizes(type_) for type_ in operands if interned.shape_of(type_) is not None]
    rule = _FLOPS.get(_base_name(op))
    if rule is None or not results or not shapes:
        return 0.0
    return rule(shapes, _sizes(results[0]))


Shapes = Sequence[tuple[int, ...]]


def _product(position: int) -> Callable[[Shapes, tuple[int, ...]], float]:
    """Flops of a matrix product whose left factor is the operand at a position."""

    def flops(shapes: Shapes, out: tuple[int, ...]) -> float:
        left = shapes[position] if position < len(shapes) else ()
        return 2.0 * prod(out) * (left[-1] if left else 1)

    return flops


def _convolution(shapes: Shapes, out: tuple[int, ...]) -> float:
    weight = shapes[1] if len(shapes) > 1 else (1,)
    return 2.0 * prod(out) * prod(weight[1:])


def _convolution_backward(shapes: Shapes, out: tuple[int, ...]) -> float:
    weight = shapes[2] if len(shapes) > 2 else (1,)
    return 4.0 * prod(shapes[0]) * prod(weight[1:])


def _attention(shapes: Shapes, out: tuple[int, ...]) -> float:
    query, key = shapes[0], shapes[1] if len(shapes) > 1 else shapes[0]
    length = key[-2] if len(key) > 1 else 1
    return 4.0 * prod(query) * length


def _inference_attention(shapes: Shapes, out: tuple[int, ...]) -> float:
    """Of either order of heads and tokens: there are rarely more heads than tokens."""
    query, key = shapes[:2]
    return 4.0 * prod(query) * max(key[1:-1], default=1)


_FLOPS: Final[Mapping[str, Callable[[Shapes, tuple[int, ...]], float]]] = {
    "mm": _product(0),
    "bmm": _product(0),
    "mv": _product(0),
    "matmul": _product(0),
    "linear": _product(0),
    "_scaled_mm": _product(0),
    "_int_mm": _product(0),
    "addmm": _product(1),
    "baddbmm": _product(1),
    "_grouped_mm": _product(0),
    "convolution": _convolution,
    "convolution_backward": _convolution_backward,
    "_scaled_dot_product_flash_attention_for_cpu": _attention,
    "_scaled_dot_product_attention_math_for_mps": _attention,
    "scaled_dot_product_attention": _attention,
    "npu_fused_infer_attention_score": _inference_attention,
}
"""Cube work by operator."""
