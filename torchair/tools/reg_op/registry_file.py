"""Writes prototypes as lines of a GE registry file (grammar: ``dialects/ge/registry.py``)."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import cast

from torchair.dialects.ge import dtypes, registry
from torchair.errors import ArtifactError
from torchair.tools.reg_op.comments import brief_of
from torchair.tools.reg_op.defaults import ElementType
from torchair.tools.reg_op.element_types import Types
from torchair.tools.reg_op.prototypes import Attribute, Port, Prototype

_MARKS = {"required": "", "optional": "?", "dynamic": "*"}
_ORDER = {t.name: i for i, t in enumerate(dtypes.DATA_TYPES)}
_HEADER = "# GE operator prototypes, one a line. Load with torchair.ge.load_operators.\n"


def registry_text(prototypes: Iterable[Prototype]) -> str:
    """A registry file: operators by name, each below the first sentence of its documentation.

    Raises:
        ArtifactError: two prototypes of one name differ.
    """
    by_name = unique(prototypes)
    parts = [_HEADER]
    for name in sorted(by_name):
        brief = brief_of(by_name[name].doc)
        parts += [f"# {brief}\n"] if brief else []
        parts.append(operator_line(by_name[name]) + "\n")
    return "".join(parts)


def unique(prototypes: Iterable[Prototype]) -> dict[str, Prototype]:
    """Prototypes by name.

    Raises:
        ArtifactError: two of one name differ.
    """
    found: dict[str, Prototype] = {}
    for item in prototypes:
        known = found.setdefault(item.name, item)
        if _signature(known) != _signature(item):
            raise ArtifactError(
                f"REG_OP({item.name}) is declared twice, differently",
                expected=f"{operator_line(known)} ({known.place})",
                found=operator_line(item),
                loc=str(item.place),
                hint="give the headers of one CANN version, each once",
            )
    return found


def _signature(prototype: Prototype) -> str:
    return operator_line(prototype).partition(" | ")[2]


def operator_line(prototype: Prototype) -> str:
    """One operator in the registry's grammar; ``registry.parse_line`` reads it back."""
    inputs = ", ".join(_port(prototype, port, "") for port in prototype.inputs)
    outputs = ", ".join(_port(prototype, p, _fact(prototype, p)) for p in prototype.outputs)
    line = f"{prototype.family} | {prototype.name}({inputs}) -> ({outputs})"
    if prototype.attrs:
        line += " {" + ", ".join(_attribute(attr) for attr in prototype.attrs) + "}"
    if prototype.graphs:
        line += " [" + ", ".join(name + "*" * dynamic for name, dynamic in prototype.graphs) + "]"
    return line


def element_types_of(prototype: Prototype, types: Types) -> frozenset[str]:
    """Element types of a port with names resolved; empty is any.

    A name without a ``DATATYPE`` constrains nothing. What is promoted may be of any type that it
    is promoted from.
    """
    if types.symbol:
        named = prototype.symbols.get(types.symbol, Types())
        return frozenset() if named.symbol else element_types_of(prototype, named)
    if types.promotes:
        members = [element_types_of(prototype, Types(symbol=name)) for name in types.promotes]
        return frozenset() if not all(members) else frozenset[str]().union(*members)
    return types.names


def _port(prototype: Prototype, port: Port, fact: str) -> str:
    names = sorted(element_types_of(prototype, port.types), key=_ORDER.__getitem__)
    tied = fact or _tie(prototype, port)
    return f"{port.name}{_MARKS[port.kind]}: {'|'.join(names) or 'any'}{tied}"


def _tie(prototype: Prototype, port: Port) -> str:
    """``as T`` where another port has the same named data type."""
    symbol = port.types.symbol
    if not symbol or prototype.symbols.get(symbol, Types()).is_list:
        return ""
    ports = [*prototype.inputs, *prototype.outputs]
    shared = sum(item.types.symbol == symbol for item in ports) > 1
    return f" as {symbol}" if shared else ""


def _fact(prototype: Prototype, port: Port) -> str:
    """What the prototype says about an output's type beyond a list."""
    declared = prototype.symbols.get(port.types.symbol, Types())
    promotes = port.types.promotes or declared.promotes
    if promotes:
        sources = [_first_of(prototype.inputs, symbol) for symbol in promotes]
        known = [name for name in sources if name is not None]
        return " promotes " + " ".join(known) if len(known) == len(sources) else ""
    by_name = {attr.name: attr for attr in prototype.attrs}
    if port.types.symbol in by_name and not _first_of(prototype.inputs, port.types.symbol):
        return f" from {port.types.symbol}"
    naming = [attr.name for attr in prototype.attrs if _names_a_type(attr)]
    unsettled = [p for p in prototype.outputs if _is_unsettled(prototype, p)]
    if len(naming) == 1 and unsettled == [port]:
        return f" from {naming[0]}"
    return ""


def _first_of(ports: Sequence[Port], symbol: str) -> str | None:
    return next((port.name for port in ports if port.types.symbol == symbol), None)


def _is_unsettled(prototype: Prototype, port: Port) -> bool:
    """Whether neither the list of types nor another port settles an output's type."""
    if len(element_types_of(prototype, port.types)) == 1 or port.types.promotes:
        return False
    same = port.types.symbol and _first_of(prototype.inputs, port.types.symbol)
    return not same and all(port.name != item.name for item in prototype.inputs)


def _names_a_type(attr: Attribute) -> bool:
    return attr.type == "Type" or isinstance(attr.default, ElementType)


def _attribute(attr: Attribute) -> str:
    if attr.required:
        return f"{attr.name}: {attr.type}"
    return f"{attr.name}: {attr.type} = {_spelled(attr.type, attr.default)}"


def _spelled(kind: str, value: object) -> str:
    if isinstance(value, ElementType):
        return value.name if kind == "Type" else f"dtype({value.name})"
    return json.dumps(_plain(kind, value), ensure_ascii=True, allow_nan=False)


def _plain(kind: str, value: object) -> object:
    """`value` with data types inside lists as canonical names, or as ``ge::DataType`` numbers."""
    if isinstance(value, list):
        return [_plain(kind, item) for item in cast("list[object]", value)]
    if isinstance(value, ElementType):
        return value.name if kind == "ListType" else dtypes.BY_NAME[value.name].ge
    return value


def is_builtin(prototype: Prototype) -> bool:
    """Whether torchair's own registry has an operator of this name."""
    return registry.lookup(prototype.name) is not None
