"""What the program executor needs to know of an ATen overload: its arguments and its results.

Read from the live schema, so custom operators are covered too.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch._ops import OpOverload

_MISSING = object()
_COLLECTIVES = ("npu_define", "_c10d_functional")
"""Namespaces of operators that communicate."""


@dataclass(frozen=True, slots=True)
class ArgumentSpec:
    """One argument. ``kind`` is the type without list and optional, e.g. ``NumberType``."""

    name: str
    kind: str
    is_list: bool
    optional: bool
    optional_items: bool
    length: int | None  # N of int[N], which also takes one int
    default: object
    writes: bool
    aliases: frozenset[str]
    keyword_only: bool


@dataclass(frozen=True, slots=True)
class ReturnSpec:
    """One result. ``aliases`` are the alias sets that it shares with arguments."""

    kind: str
    is_list: bool
    writes: bool
    aliases: frozenset[str]


@dataclass(frozen=True, slots=True)
class OpSchema:
    """The schema of one overload. ``name`` has the namespace, e.g. ``aten::add``."""

    name: str
    overload: str
    arguments: tuple[ArgumentSpec, ...]
    returns: tuple[ReturnSpec, ...]

    @property
    def target(self) -> str:
        return f"{self.name}.{self.overload}" if self.overload else self.name


@dataclass(frozen=True, slots=True)
class BoundArgument:
    """An argument with the value of one call; ``given`` is false where the default stands."""

    spec: ArgumentSpec
    value: object
    given: bool


@functools.cache
def schema_of(op: OpOverload) -> OpSchema:
    schema = op._schema
    return OpSchema(
        schema.name,
        schema.overload_name,
        tuple(_argument(argument) for argument in schema.arguments),
        tuple(_return(returned) for returned in schema.returns),
    )


def bind_arguments(
    schema: OpSchema, args: tuple[object, ...], kwargs: dict[str, object]
) -> list[BoundArgument]:
    """Matches a call's values with the schema. ValueError where they do not fit."""
    positional = sum(not spec.keyword_only for spec in schema.arguments)
    if len(args) > positional:
        raise ValueError(f"{schema.target} takes {positional} positional arguments: {len(args)}")
    unknown = kwargs.keys() - {spec.name for spec in schema.arguments[len(args) :]}
    if unknown:
        raise ValueError(f"{schema.target} does not take {', '.join(sorted(unknown))} by name")
    bound: list[BoundArgument] = []
    for index, spec in enumerate(schema.arguments):
        value = args[index] if index < len(args) else kwargs.get(spec.name, _MISSING)
        if value is not _MISSING:
            bound.append(BoundArgument(spec, _one_int_to_list(spec, value), True))
        elif spec.default is not _MISSING:
            bound.append(BoundArgument(spec, spec.default, False))
        else:
            raise ValueError(f"{schema.target} needs a value for {spec.name}")
    return bound


def equals_default(argument: BoundArgument) -> bool:
    """Whether leaving the argument out means the same, types included (True is not 1)."""
    return not argument.given or _same(argument.value, argument.spec.default)


def _same(left: object, right: object) -> bool:
    if isinstance(left, list | tuple) and isinstance(right, list | tuple):
        return len(left) == len(right) and all(map(_same, left, right))
    return type(left) is type(right) and repr(left) == repr(right)


def _one_int_to_list(spec: ArgumentSpec, value: object) -> object:
    if spec.is_list and spec.length and type(value) in (int, float, bool):
        return [value] * spec.length
    return value


def _argument(argument: Any) -> ArgumentSpec:
    optional, is_list, optional_items, kind = _unwrap(argument.real_type)
    return ArgumentSpec(
        name=argument.name,
        kind=kind,
        is_list=is_list,
        optional=optional,
        optional_items=optional_items,
        length=argument.N,
        default=argument.default_value if argument.has_default_value() else _MISSING,
        writes=_writes(argument),
        aliases=_aliases(argument),
        keyword_only=argument.kwarg_only,
    )


def _return(returned: Any) -> ReturnSpec:
    _, is_list, _, kind = _unwrap(returned.real_type)
    return ReturnSpec(kind, is_list, _writes(returned), _aliases(returned))


def _unwrap(kind: Any) -> tuple[bool, bool, bool, str]:
    """(optional, list, optional items, base kind) of a schema type."""
    optional = kind.kind() == "OptionalType"
    if optional:
        kind = kind.getElementType()
    is_list = kind.kind() == "ListType"
    if is_list:
        kind = kind.getElementType()
    optional_items = is_list and kind.kind() == "OptionalType"
    if optional_items:
        kind = kind.getElementType()
    return optional, is_list, optional_items, kind.kind()


def _writes(item: Any) -> bool:
    return item.alias_info is not None and item.alias_info.is_write


def _aliases(item: Any) -> frozenset[str]:
    return frozenset() if item.alias_info is None else frozenset(item.alias_info.before_set)


def communicates(op: Any) -> bool:
    """Whether other ranks wait for an operator's calls, so that they are made, and in order."""
    return op.namespace in _COLLECTIVES and "wait_tensor" not in op._schema.name
