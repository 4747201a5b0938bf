"""Graph patterns of traced functions: a loose one that finds places, an exact one that proves
them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from xdsl.dialects.func import FuncOp
from xdsl.ir import Attribute, BlockArgument, SSAValue

from torchair.errors import ConfigError
from torchair.frontend.replacement.sizes import (
    TracedSizes,
    expression_of,
    first_difference,
    is_same_size,
)
from torchair.frontend.replacement.trace import Traced
from torchair.ir.call_values import read_arguments
from torchair.ir.calls import CallOp
from torchair.ir.graph_pattern import ANY, Call, Hole, Match, result
from torchair.ir.schema import Role

_FREE = frozenset({"device", "layout", "pin_memory"})
"""Parameters that are never compared: a graph has one device and one layout."""
_TYPED_BY_RESULT = frozenset({"aten.view", "aten._unsafe_view", "aten.reshape", "aten.expand"})
"""Operations whose sizes say the same as the types of their results."""

StaticPattern = Callable[[CallOp, str, Any], Any]
"""The pattern of a static argument: operation, parameter, value."""


@dataclass(frozen=True, slots=True)
class FunctionPattern:
    """A pattern made from a traced function.

    Args:
        outputs: what the function returns, in its order.
        roots: the calls to match: the last output of the function, then the others.
        calls: every call of the pattern in order, with the traced operation it was made from (none
            in a pattern that was given).
        arguments: names of the function's arguments.
    """

    outputs: tuple[Call, ...]
    roots: tuple[Call, ...]
    calls: tuple[tuple[Call, CallOp | None], ...]
    arguments: tuple[str, ...]

    def values(self, match: Match) -> list[SSAValue]:
        """What a match bound to the outputs."""
        found: list[SSAValue] = []
        for node in self.outputs:
            op = match.operation(node)
            assert op is not None, "a match binds every call"
            found.append(op.results[node.result])
        return found


def loose_pattern(
    traced: Traced, arguments: Sequence[str], scalars: Mapping[str, Any], name: str
) -> FunctionPattern:
    """A pattern that compares operations and tensors; static arguments match anything, but a
    scalar of the function is bound to its name.

    Raises:
        ConfigError: the function cannot be a pattern.
    """
    names = {(type(value), value): scalar for scalar, value in scalars.items()}
    seen: set[str] = set()

    def static(op: CallOp, parameter: str, given: Any) -> Any:
        scalar = names.get((type(given), given)) if isinstance(given, int | float) else None
        if scalar is None:
            return ANY
        seen.add(scalar)
        return Hole(scalar, True)

    pattern = _Builder(traced, arguments, static).build(name)
    unseen = [f"{scalar} = {scalars[scalar]}" for scalar in scalars if scalar not in seen]
    if unseen:
        raise ConfigError(
            f"scalar_workaround of '{name}': a number does not appear in the traced calls",
            found=", ".join(unseen),
            hint="give a number that no computation changes, different from all others",
        )
    require_connected(pattern, name)
    return pattern


def exact_pattern(
    traced: Traced, arguments: Sequence[str], sizes: TracedSizes, name: str
) -> FunctionPattern:
    """A pattern that compares everything but devices; sizes as expressions of symbols."""

    def static(op: CallOp, parameter: str, given: Any) -> Any:
        if parameter in _FREE or (parameter == "size" and op.name in _TYPED_BY_RESULT):
            return ANY
        if isinstance(given, list):
            return [_exact_item(item, sizes) for item in given]
        return _exact_item(given, sizes)

    return _Builder(traced, arguments, static).build(name)


def type_difference(pattern: FunctionPattern, match: Match, sizes: TracedSizes) -> str | None:
    """How the types of what an exact pattern matched differ from the traced ones, or None."""
    for node, traced in pattern.calls:
        if traced is None:
            continue
        op = match.operation(node)
        assert op is not None, "a match binds every call"
        wanted = [sizes.original_type(result.type) for result in traced.results]
        difference = first_difference(wanted, [result.type for result in op.results])
        if difference is not None:
            return f"type of {op.name}: {difference}"
    return None


def _exact_item(item: Any, sizes: TracedSizes) -> Any:
    if not isinstance(item, SSAValue):
        return item
    wanted = sizes.original_size(item)

    def is_wanted(found: Any) -> bool:
        text = expression_of(found)
        return wanted is not None and text is not None and is_same_size(wanted, text)

    return Hole("", None, is_wanted)


def roots_of(
    outputs: Sequence[Call], calls: Sequence[tuple[Call, CallOp | None]]
) -> tuple[Call, ...]:
    """The outputs in the order in which they are matched: the last call first."""
    places = {node.key: index for index, (node, _) in enumerate(calls)}
    return tuple(sorted(outputs, key=lambda node: -places[node.key]))


class _Builder:
    """Makes a pattern from a function; every call of it becomes one call of the pattern."""

    def __init__(self, traced: Traced, arguments: Sequence[str], static: StaticPattern) -> None:
        self.traced = traced
        self.function: FuncOp = traced.function
        self.arguments = tuple(arguments)
        self.static = static
        self.nodes: dict[CallOp, Call] = {}

    def build(self, name: str) -> FunctionPattern:
        results = self.traced.results
        owners = {result.owner for result in results}
        for op in self.function.body.block.ops:
            if isinstance(op, CallOp) and not _is_size_arithmetic(op):
                self._add(op, op in owners)
        outputs = [self._node(value) for value in results]
        calls = [node for node in outputs if isinstance(node, Call)]
        if len(calls) != len(outputs) or not calls:
            raise ConfigError(
                f"'{name}' returns an argument, which is no pattern",
                expected="a function that computes everything it returns",
            )
        pairs = tuple((node, op) for op, node in self.nodes.items())
        return FunctionPattern(tuple(calls), roots_of(calls, pairs), pairs, self.arguments)

    def _add(self, op: CallOp, is_output: bool) -> None:
        parameters = op.schema.parameters
        values = zip(parameters, read_arguments(op), strict=True)
        patterns = [self._argument(op, p.name, p.role, value) for p, value in values]
        self.nodes[op] = Call((op.name,), tuple(patterns), shared=is_output)

    def _argument(self, op: CallOp, parameter: str, role: Role, value: Any) -> Any:
        if isinstance(value, SSAValue):
            return self._value(op, parameter, value)
        if role in (Role.VARIADIC, Role.MASKED) and isinstance(value, list):
            return [self._value(op, parameter, v) if v is not None else None for v in value]
        if role is Role.OPTIONAL and value is None:
            return None
        return self.static(op, parameter, value)

    def _value(self, op: CallOp, parameter: str, value: SSAValue) -> Any:
        owner = value.owner
        if isinstance(owner, CallOp) and _is_size_arithmetic(owner):
            return self.static(op, parameter, value)
        return self._node(value)

    def _node(self, value: SSAValue) -> Call | Hole:
        if isinstance(value, BlockArgument):
            return Hole(self.arguments[value.index], False)
        assert isinstance(value.owner, CallOp)
        return result(self.nodes[value.owner], value.owner.results.index(value))


def _is_size_arithmetic(op: CallOp) -> bool:
    return op.name.startswith(("sym.", "aten.sym_"))


def require_connected(pattern: FunctionPattern, name: str) -> None:
    """Refuse unused arguments, and outputs that share nothing with the last one."""
    reached: set[object] = set()
    for index, root in enumerate(pattern.roots):
        found: set[object] = set()
        _collect(root, found)
        if index > 0 and not found & reached:
            raise ConfigError(
                f"'{name}' returns values that have nothing in common",
                hint="register one replacement for each",
            )
        reached |= found
    unused = [argument for argument in pattern.arguments if argument not in reached]
    if unused:
        raise ConfigError(
            f"'{name}' does not use all of its arguments, so that nothing tells what they are",
            found=", ".join(unused),
            hint="take them out of search_fn, replace_fn and example_inputs",
        )


def _collect(node: Any, into: set[object]) -> None:
    """Keys of the calls and names of the holes below a node."""
    pending = [node]
    while pending:
        item = pending.pop()
        if isinstance(item, Hole) and item.name:
            into.add(item.name)
        elif isinstance(item, list | tuple):
            pending.extend(item)
        elif isinstance(item, Call) and item.key not in into:
            into.add(item.key)
            pending.extend(item.arguments)


def text_of(type_: Attribute) -> str:
    """A type in messages."""
    return str(type_)
