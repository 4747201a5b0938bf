"""What happens to each number of the host that reaches an operator of a captured graph.

    guard    folded into the program; the number is part of the capture key
    slot     an argument of the captured call that is updated before every replay
    refused  it depends on tensor data, so a replay would use the number of the capture

Numbers that follow from shapes are always guards: shapes are part of the key anyway.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import torch

from torchair.backend_ge.host.aten_schema import bind_arguments, schema_of
from torchair.backend_ge.runtime.aten_graph import AtenGraph, Call, Value, values_in
from torchair.errors import ConfigError, UnsupportedOpError

_ITEMS = ("aten._local_scalar_dense", "aten.item")
_TENSOR_TWINS = frozenset(
    f"aten.{name}.Scalar"
    for name in (
        *("add", "sub", "mul", "div", "eq", "ne", "lt", "le", "gt", "ge", "fill", "masked_fill"),
    )
)
"""Overloads that compute the same as ``.Tensor`` with the scalar as a 0-d number."""

FILLS = {"aten.scalar_tensor": "s", "aten.full": "fill_value", "aten.new_full": "fill_value"}
"""Operators that fill a new tensor with a number -> the parameter that has it."""

UPDATABLE: dict[str, frozenset[str]] = {
    "npu.npu_fused_infer_attention_score": frozenset(
        ("actual_seq_lengths", "actual_seq_lengths_kv", "actual_shared_prefix_len")
    ),
    "npu.npu_fused_infer_attention_score_v2": frozenset(("actual_seq_qlen", "actual_seq_kvlen")),
}
"""Operators whose lists of ints are replaced before a replay -> names of those parameters."""


def register_update_slots(op: Any, parameters: tuple[str, ...]) -> None:
    """Let parameters of an operator change between replays without a new capture.

    Args:
        op: a ``torch._ops.OpOverload`` that writes none of its arguments.
        parameters: names of int or int-list parameters on which no result's shape depends.

    Raises:
        ConfigError: the operator has no such parameter, or writes its arguments.
    """
    schema = schema_of(op)
    known = {spec.name: spec for spec in schema.arguments}
    for name in parameters:
        if name not in known or "Int" not in known[name].kind:
            raise ConfigError(
                f"{schema.target} has no int or int-list parameter '{name}'",
                expected=", ".join(n for n, s in known.items() if "Int" in s.kind) or "none",
                found=name,
            )
    if op._schema.is_mutable:
        raise ConfigError(
            f"{schema.target} writes its arguments, so its calls cannot be updated",
            hint="register the functional form of the operator",
        )
    UPDATABLE[op.name().replace("::", ".", 1).removesuffix(".default")] = frozenset(parameters)


@dataclass(frozen=True, slots=True)
class Use:
    """A number of the host in an argument of a call.

    Args:
        call: index of the call.
        value: the number's value in the graph.
        parameter: name of the parameter.
        kind: ``guard``, ``number`` (slot in a tensor's place) or ``update`` (slot in a list).
    """

    call: int
    value: int
    parameter: str
    kind: str


@dataclass(slots=True)
class HostValues:
    """The decision for every number of a graph.

    Args:
        guards: scalar arguments that are part of the capture key.
        slots: scalar arguments that only reach update slots.
        uses: slot uses by call.
        steps: host arithmetic that depends on ``slots``, in order.
        lines: one line per scalar argument, for people.
    """

    guards: frozenset[int] = frozenset()
    slots: frozenset[int] = frozenset()
    uses: dict[int, list[Use]] = field(default_factory=dict[int, list[Use]])
    steps: list[Call] = field(default_factory=list[Call])
    lines: list[str] = field(default_factory=list[str])


def decide(graph: AtenGraph, *, numbers: bool = True) -> HostValues:
    """Classify the scalar arguments of a graph.

    Args:
        graph: the graph.
        numbers: whether a number in a tensor's place may be a slot; else it is a guard.
    """
    arguments = set(range(len(graph.arguments))) & graph.scalars
    roots: dict[int, frozenset[int]] = {index: frozenset((index,)) for index in arguments}
    uses: list[Use] = []
    for index, call in enumerate(graph.calls):
        if call.on_host:
            found = [roots.get(v.index, frozenset[int]()) for v in call.values()]
            roots[call.results[0]] = frozenset[int]().union(*found)
        else:
            uses.extend(u for u in _uses(index, call, graph.scalars) if roots.get(u.value))
    if not numbers:
        uses = [replace(use, kind="guard") if use.kind == "number" else use for use in uses]
    guards = frozenset[int]().union(*(roots[u.value] for u in uses if u.kind == "guard"))
    # A host function of a guard alone is folded with it.
    kept = [u for u in uses if u.kind != "guard" and not roots[u.value] <= guards]
    by_call: dict[int, list[Use]] = {}
    for use in kept:
        by_call.setdefault(use.call, []).append(use)
    slots = frozenset[int]().union(*(roots[u.value] for u in kept)) - guards
    steps = [c for c in graph.calls if c.on_host and roots[c.results[0]] & slots]
    lines = [_line(graph, argument, uses, roots, slots) for argument in sorted(arguments)]
    return HostValues(guards, slots, by_call, steps, lines)


def _line(
    graph: AtenGraph,
    argument: int,
    uses: list[Use],
    roots: dict[int, frozenset[int]],
    slots: frozenset[int],
) -> str:
    named = graph.arguments[argument].label
    reached = [u for u in uses if argument in roots[u.value]]
    deciding = [u for u in reached if (u.kind == "guard") != (argument in slots)] or reached
    if not deciding:
        return f"{named}: reaches no operator"
    call = graph.calls[deciding[0].call]
    verdict = "update slot" if argument in slots else "guard"
    place = f"{call.name} {deciding[0].parameter}"
    more = f" and {len(deciding) - 1} more" if len(deciding) > 1 else ""
    return f"{named}: {verdict} ({place} at {call.source or 'unknown source'}{more})"


def _uses(index: int, call: Call, scalars: set[int]) -> Iterator[Use]:
    """The numbers of the host in a call of an operator."""
    if not any(value.index in scalars for value in call.values()):
        return
    updatable = UPDATABLE.get(call.name, frozenset[str]())
    for argument in bind_arguments(schema_of(call.function), call.args, call.kwargs):  # pyright: ignore
        spec = argument.spec
        for value in values_in(argument.value):
            if value.index not in scalars:
                continue
            kind = "guard"
            if spec.name in updatable:
                kind = "update"
            elif isinstance(argument.value, Value) and FILLS.get(call.name) == spec.name:
                kind = "number"
            elif isinstance(argument.value, Value) and (
                spec.kind == "TensorType"
                or (call.name in _TENSOR_TWINS and spec.kind == "NumberType")
            ):
                kind = "number" if not _is_factor(call, spec.name) else "guard"
            yield Use(index, value.index, spec.name, kind)


def _is_factor(call: Call, parameter: str) -> bool:
    """``alpha`` of a sum stays a static argument."""
    return parameter == "alpha" or call.args[:1] == () or not isinstance(call.args[0], Value)


def refuse_device_values(graph: AtenGraph) -> None:
    """Refuse what a replay cannot know: numbers and shapes that depend on tensor data.

    A number that is only returned stays a 0-d tensor until the caller reads it.

    Raises:
        UnsupportedOpError: naming every such call with its source line.
    """
    _return_items_as_tensors(graph)
    problems: list[str] = []
    for call in graph.calls:
        if call.on_host:
            continue
        number = any(result in graph.scalars for result in call.results)
        follows = any(value.index in graph.scalars for value in call.values())
        if number or (call.sizes_from_data and not follows):
            what = "gives a number" if number else "gives a shape"
            where = call.source or "unknown source"
            problems.append(f"{call.name} ({call.origin}) {what} that depends on data, at {where}")
    if problems:
        raise UnsupportedOpError(
            f"{len(problems)} calls cannot be captured: a replay would use old values",
            found="\n            ".join(problems),
            hint="keep the value in a tensor, leave the call outside the compiled region, or use "
            "config.mode = 'max-autotune' or config.debug.run_eagerly = True",
        )


def _return_items_as_tensors(graph: AtenGraph) -> None:
    """Drop the way from a tensor to a number and back, where nothing else needs the number."""
    for item in [call for call in graph.calls if call.name in _ITEMS]:
        number, source = item.results[0], next(values_in(item.args))
        readers = [c for c in graph.calls if any(v.index == number for v in c.values())]
        if any(reader.name != "aten.scalar_tensor" for reader in readers):
            continue
        for reader in readers:
            reader.function, reader.args = _scalar_tensor, (source,)
        graph.results = [source.index if r == number else r for r in graph.results]
        graph.calls.remove(item)


def _scalar_tensor(tensor: torch.Tensor, *, dtype: torch.dtype, **rest: Any) -> torch.Tensor:
    """``aten.scalar_tensor(tensor.item(), dtype=dtype)``, without reading the tensor."""
    return tensor.reshape(()).to(dtype, copy=True)
