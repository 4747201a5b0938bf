"""What graph patterns are made of: calls with holes, and what can be said of them before they are
matched."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeAlias, cast

from xdsl.ir import SSAValue

if TYPE_CHECKING:
    from torchair.ir.calls import CallOp

COMMUTATIVE = frozenset(
    f"aten.{name}"
    for name in ("add.Tensor", "mul.Tensor", "maximum", "minimum", "logical_and", "logical_or")
)
"""Operations whose first two operands may be given in either order."""


@dataclass(frozen=True, slots=True)
class Hole:
    """Matches anything its check accepts, and binds it to a name.

    Args:
        name: name in ``Match``; the empty name binds nothing.
        is_static: whether a static Python value is wanted rather than an SSA value; None for both.
        check: accepts or refuses a value.
    """

    name: str
    is_static: bool | None = None
    check: Callable[[Any], bool] | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Call:
    """Matches a result of a call.

    Args:
        names: accepted mnemonics.
        arguments: one pattern or literal per leading parameter.
        named: patterns of further parameters by name.
        result: which result of the operation the pattern stands for.
        shared: whether the operation may have users outside the match.
        key: the same for all results of one call of the pattern.
        producers: per argument, the mnemonics of which one must define it.
        plans: how to match the arguments of an operation, by its class.
    """

    names: tuple[str, ...]
    arguments: tuple[Any, ...]
    named: Mapping[str, Any] = field(default_factory=dict[str, Any])
    result: int = 0
    shared: bool = False
    key: object = field(default_factory=object)
    producers: tuple[frozenset[str], ...] = field(init=False)
    plans: dict[type[CallOp], Plan] = field(init=False)

    def __post_init__(self) -> None:
        names = [producers_of(argument) for argument in (*self.arguments, *self.named.values())]
        object.__setattr__(self, "producers", tuple(n for n in names if n))
        object.__setattr__(self, "plans", {})


Order: TypeAlias = tuple[tuple[int, Any, str], ...]
"""Arguments in the order in which they are matched: index, pattern, and the parameter's name."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How a call of a pattern matches the arguments of operations of one class.

    Args:
        orders: one per order of the operands that means the same.
        literals: index and value of arguments that are no patterns, wherever the operands are.
    """

    orders: tuple[Order, ...]
    literals: tuple[tuple[int, Any], ...]


@dataclass(frozen=True, slots=True)
class OneOf:
    """Matches what one of its alternatives matches; the first in order wins."""

    alternatives: tuple[Node, ...]


Node: TypeAlias = Hole | Call | OneOf


def value(name: str, check: Callable[[SSAValue], bool] | None = None) -> Hole:
    """A hole for an SSA value."""
    return Hole(name, False, cast("Callable[[Any], bool] | None", check))


def static(name: str, check: Callable[[Any], bool] | None = None) -> Hole:
    """A hole for a static argument: a number, a list, a dtype."""
    return Hole(name, True, check)


ANY = Hole("")
"""Matches everything."""


def call(names: str | Sequence[str], *arguments: Any, **named: Any) -> Call:
    """A call of one of several operations, by mnemonic."""
    accepted = (names,) if isinstance(names, str) else tuple(names)
    return Call(accepted, arguments, named)


def one_of(*alternatives: Node) -> OneOf:
    """The first alternative that matches."""
    return OneOf(alternatives)


def shared(node: Call) -> Call:
    """The same call, allowed to have users outside the match."""
    return replace(node, shared=True)


def result(node: Call, index: int) -> Call:
    """Another result of the same call; both match results of one operation."""
    return replace(node, result=index)


def producers_of(argument: Any) -> frozenset[str]:
    """Mnemonics of which one must define an argument; none when anything may."""
    if isinstance(argument, Call):
        return frozenset(argument.names)
    if isinstance(argument, OneOf):
        names = [producers_of(alternative) for alternative in argument.alternatives]
        return frozenset[str]().union(*names) if all(names) else frozenset()
    return frozenset()


def required_by(argument: Any) -> frozenset[frozenset[str]]:
    """Sets of mnemonics of which one each is in every match of an argument."""
    if isinstance(argument, Call):
        below = [required_by(item) for item in (*argument.arguments, *argument.named.values())]
        return frozenset((frozenset(argument.names),)).union(*below)
    if isinstance(argument, OneOf):
        first, *others = [required_by(alternative) for alternative in argument.alternatives]
        names = producers_of(argument)
        return first.intersection(*others) | frozenset((names,) if names else ())
    if isinstance(argument, list | tuple):
        below = [required_by(item) for item in cast("Sequence[Any]", argument)]
        return frozenset[frozenset[str]]().union(*below)
    return frozenset()


def alternatives_of(pattern: Node) -> list[Call]:
    if isinstance(pattern, Call):
        return [pattern]
    if isinstance(pattern, Hole):
        raise ValueError("the root of a pattern must be a call")
    return [call for node in pattern.alternatives for call in alternatives_of(node)]
