"""The GE operator registry: ports, element types, attributes and defaults of GE operators.

The data is ``registry.txt`` next to this file, written by ``scripts/generate_ge_registry.py``. It
is indexed once, in a few milliseconds; a line is parsed when its operator is first asked for. One
operator is one line::

    family | Op(x: float16|float32 as T, b?: T9, l*: any) -> (y: T3 from dtype) {n: Int = 0} [f]

``?`` is an optional port and ``*`` a dynamic one. Element types are spelled out, ``any``, or the
name of a ``set`` line at the head of the file. Attributes without ``=`` are required. ``[...]``
lists subgraphs. A port's type may carry a fact about it: ``as T`` (all ports with the same letter
have one type), ``from a`` (attribute `a` names the type), ``promotes x1 x2`` (the promoted type).
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Final, Literal, cast

from torchair.dialects.ge import dtypes
from torchair.errors import ArtifactError, ConfigError

ATTR_TYPES: Final = (
    "Int",
    "Float",
    "Bool",
    "String",
    "Type",
    "ListInt",
    "ListFloat",
    "ListBool",
    "ListString",
    "ListType",
    "ListListInt",
    "ListListFloat",
    "Tensor",
)

DATA_FILE: Final = Path(__file__).with_name("registry.txt")

PortKind = Literal["required", "optional", "dynamic"]
RuleKind = Literal["fixed", "same", "attr", "promote", "agree"]


@dataclass(frozen=True, slots=True)
class Port:
    """One input, output or subgraph slot. `dtypes` are canonical names; empty means any type."""

    name: str
    kind: PortKind
    dtypes: frozenset[str]


@dataclass(frozen=True, slots=True)
class AttrSpec:
    """One attribute.

    Attributes:
        name: the GE name.
        type: one of ``ATTR_TYPES``.
        required: True when the attribute has no default.
        default: the default, None when required. Types are canonical names, lists are tuples; an
            ``Int`` that stands for a data type holds the ``ge::DataType`` number. An absent
            ``Tensor`` is None.
    """

    name: str
    type: str
    required: bool
    default: object


@dataclass(frozen=True, slots=True)
class ResultRule:
    """How the element type of one output follows from the call.

    kind:
        ``fixed``: always `dtype`. ``same``: the type of every connected input in `inputs`.
        ``attr``: named by attribute `attr`, a canonical name or, for an ``Int``, a ``ge::DataType``
        number; when that is the undefined type the rule says nothing.
        ``promote``: the promoted type of `inputs`.
        ``agree``: the common type of `inputs` when all connected ones have one type; else the rule
        says nothing. This is a convention (the output and these inputs list the same types, and no
        attribute sets a type), the other kinds are facts.
    """

    kind: RuleKind
    dtype: str = ""
    attr: str = ""
    inputs: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class OpSpec:
    """One GE operator.

    Attributes:
        name, family: the GE type and the group of headers it comes from.
        inputs, outputs: in declaration order.
        attrs: by name, in declaration order.
        subgraphs: slots for graph names (control flow), usually empty.
        input_index, output_index: name -> position.
        required_inputs, dynamic_inputs, dynamic_outputs: positions.
        required_attrs: names.
        refs: ``(output, input)`` positions of ports with one name: in-place operators, the two
            share memory.
        result_rules: one per output, None when nothing is known.
    """

    name: str
    family: str
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    attrs: Mapping[str, AttrSpec]
    subgraphs: tuple[Port, ...]
    input_index: Mapping[str, int]
    output_index: Mapping[str, int]
    required_inputs: tuple[int, ...]
    dynamic_inputs: tuple[int, ...]
    dynamic_outputs: tuple[int, ...]
    required_attrs: tuple[str, ...]
    refs: tuple[tuple[int, int], ...]
    result_rules: tuple[ResultRule | None, ...]


def lookup(op: str) -> OpSpec | None:
    """The specification of GE type `op`, None when it is not in the registry."""
    spec = _parsed.get(op)
    if spec is not None:
        return spec
    index = _index()
    line = index.lines.get(op)
    if line is None:
        return None
    spec = parse_line(line, index.sets)
    _parsed[op] = spec
    return spec


_BREAK = re.compile(r"\s*\n\s*")
_BREAK_INSIDE = re.compile(r"([(\[{])\s*\n\s*|\s*\n\s*([)\]}])")
"""Line breaks that are white space, and those next to a bracket, which are nothing."""


def define(text: str, *, replace: bool = False) -> OpSpec:
    """Add an operator to the registry of this process.

    Args:
        text: one operator in the grammar of the module docstring, on one or several lines; the
            family may be left out.
        replace: whether an operator of this name with another signature is replaced.

    Returns:
        The specification; the known one when the text says the same.

    Raises:
        ArtifactError: the text does not follow the grammar.
        ConfigError: the name is taken by another signature.
    """
    line = _BREAK_INSIDE.sub(lambda found: found[1] or found[2], text.strip())
    line = _BREAK.sub(" ", line)
    if " | " not in line.partition("(")[0]:
        line = f"custom | {line}"
    return _define(line, parse_line(line, _index().sets), replace)


def _define(line: str, spec: OpSpec, replace: bool) -> OpSpec:
    known = lookup(spec.name)
    if known is not None and _signature(known) == _signature(spec):
        return known
    if known is not None and not replace:
        raise _conflict(line, spec)
    _defined[spec.name] = line
    _parsed[spec.name] = spec
    return spec


def _conflict(line: str, spec: OpSpec) -> ConfigError:
    return ConfigError(
        f"GE operator '{spec.name}' has another signature already",
        expected=_defined.get(spec.name) or _index().lines[spec.name],
        found=line,
        hint="use the known signature, choose another name, or pass replace=True",
    )


def define_all(text: str, *, replace: bool = False) -> list[OpSpec]:
    """Add all operators of a registry file's text, or none of them.

    Args:
        text: operators and type sets in the grammar of the module docstring.
        replace: whether operators with another signature are replaced.

    Raises:
        ArtifactError: a line does not follow the grammar.
        ConfigError: a name is taken by another signature.
    """
    index = index_text(text)
    read = [(line, parse_line(line, index.sets)) for line in index.lines.values()]
    for line, spec in read if not replace else ():
        known = lookup(spec.name)
        if known is not None and _signature(known) != _signature(spec):
            raise _conflict(line, spec)
    return [_define(line, spec, replace) for line, spec in read]


def _signature(spec: OpSpec) -> tuple[object, ...]:
    """What two texts of one operator must agree on: all but the family."""
    attrs = tuple(spec.attrs.values())
    return spec.inputs, spec.outputs, attrs, spec.subgraphs, spec.result_rules


def op_names() -> list[str]:
    """Every GE type in the registry, sorted as in the file; those of ``define`` are not listed."""
    return list(_index().lines)


def suggest(op: str) -> list[str]:
    """Up to three known names close to `op`, best first, for did-you-mean messages."""
    by_folded: dict[str, list[str]] = {}
    for name in (*_index().lines, *_defined):
        by_folded.setdefault(name.lower(), []).append(name)
    close = difflib.get_close_matches(op.lower(), by_folded, n=3, cutoff=0.7)
    return [name for folded in close for name in by_folded[folded]][:3]


@dataclass(frozen=True, slots=True)
class _Index:
    lines: Mapping[str, str]
    sets: Mapping[str, frozenset[str]]


_parsed: dict[str, OpSpec] = {}
_defined: dict[str, str] = {}
"""Lines of operators that were defined in this process."""


@cache
def _index() -> _Index:
    return index_text(DATA_FILE.read_text("utf-8"))


def index_text(text: str) -> _Index:
    """Split registry text into a line per operator and the named type sets; parse nothing else."""
    lines: dict[str, str] = {}
    sets: dict[str, frozenset[str]] = {}
    for line in text.splitlines():
        if not line or line[0] == "#":
            continue
        if line.startswith("set "):
            name, _, members = line[4:].partition(" = ")
            sets[name] = frozenset(members.split(" "))
            continue
        start = line.find(" | ") + 3
        name = line[start : line.find("(", start)]
        if name in lines:
            raise ArtifactError("the GE registry defines an operator twice", found=name)
        lines[name] = line
    return _Index(lines, sets)


_LINE = re.compile(
    r"(?P<family>\w+) \| (?P<name>\w+)\((?P<inputs>[^)]*)\) -> \((?P<outputs>[^)]*)\)"
    r"(?: \{(?P<attrs>.*)\})?(?: \[(?P<subgraphs>[^\]{}]*)\])?"
)
_PORT = re.compile(
    r"(?P<name>\w+)(?P<mark>[?*]?): (?P<types>[\w|]+)"
    r"(?: as (?P<letter>\w+)| from (?P<attr>\w+)| promotes (?P<promotes>\w+(?: \w+)*))?"
)
_ATTR = re.compile(r"(?P<name>\w+): (?P<type>\w+)(?P<equals> = )?")
_WORD = re.compile(r"[\w()]+")
_KINDS: Final[Mapping[str, PortKind]] = {"": "required", "?": "optional", "*": "dynamic"}


@dataclass(frozen=True, slots=True)
class _ParsedPort:
    """A port with the type facts written next to it, before they become result rules."""

    port: Port
    letter: str | None
    attr: str | None
    promotes: tuple[str, ...]


def parse_line(line: str, sets: Mapping[str, frozenset[str]]) -> OpSpec:
    """Parse one operator line.

    Raises:
        ArtifactError: the line does not follow the grammar in the module docstring.
    """
    match = _LINE.fullmatch(line)
    if match is None:
        raise ArtifactError("malformed line in the GE registry", found=line)
    inputs = _parse_ports(match["inputs"], sets)
    outputs = _parse_ports(match["outputs"], sets)
    attrs = _parse_attrs(match["attrs"] or "", line)
    subgraphs = tuple(
        Port(entry.rstrip("*"), "dynamic" if entry.endswith("*") else "required", frozenset())
        for entry in (match["subgraphs"] or "").split(", ")
        if entry
    )
    input_index = {entry.port.name: i for i, entry in enumerate(inputs)}
    output_index = {entry.port.name: i for i, entry in enumerate(outputs)}
    if len(input_index) != len(inputs) or len(output_index) != len(outputs):
        raise ArtifactError("a GE operator has two ports of one name", found=line)
    return OpSpec(
        name=match["name"],
        family=match["family"],
        inputs=tuple(entry.port for entry in inputs),
        outputs=tuple(entry.port for entry in outputs),
        attrs=MappingProxyType(attrs),
        subgraphs=subgraphs,
        input_index=MappingProxyType(input_index),
        output_index=MappingProxyType(output_index),
        required_inputs=_positions(inputs, "required"),
        dynamic_inputs=_positions(inputs, "dynamic"),
        dynamic_outputs=_positions(outputs, "dynamic"),
        required_attrs=tuple(a.name for a in attrs.values() if a.required),
        refs=tuple((out, input_index[n]) for n, out in output_index.items() if n in input_index),
        result_rules=_result_rules(inputs, outputs, attrs, has_subgraphs=bool(subgraphs)),
    )


def _positions(ports: list[_ParsedPort], kind: PortKind) -> tuple[int, ...]:
    return tuple(i for i, entry in enumerate(ports) if entry.port.kind == kind)


def _parse_ports(text: str, sets: Mapping[str, frozenset[str]]) -> list[_ParsedPort]:
    ports: list[_ParsedPort] = []
    for entry in text.split(", ") if text else ():
        match = _PORT.fullmatch(entry)
        if match is None:
            raise ArtifactError("malformed port in the GE registry", found=entry)
        port = Port(match["name"], _KINDS[match["mark"]], _dtype_set(match["types"], sets))
        promotes = tuple((match["promotes"] or "").split())
        ports.append(_ParsedPort(port, match["letter"], match["attr"], promotes))
    return ports


def _dtype_set(text: str, sets: Mapping[str, frozenset[str]]) -> frozenset[str]:
    if text == "any":
        return frozenset()
    named = sets.get(text)
    if named is not None:
        return named
    members = frozenset(text.split("|"))
    if not members <= dtypes.BY_NAME.keys():
        raise ArtifactError("unknown element type in the GE registry", found=text)
    return members


def _parse_attrs(text: str, line: str) -> dict[str, AttrSpec]:
    attrs: dict[str, AttrSpec] = {}
    at = 0
    while at < len(text):
        match = _ATTR.match(text, at)
        if match is None or match["type"] not in ATTR_TYPES or match["name"] in attrs:
            raise ArtifactError("malformed attribute in the GE registry", found=line)
        at = match.end()
        default: object = None
        if match["equals"]:
            try:
                default, at = _parse_default(text, at, match["type"])
            except (KeyError, ValueError, RecursionError) as error:
                raise ArtifactError("malformed default in the GE registry", found=line) from error
            if not _is_of_type(match["type"], default):
                what = f"the default of '{match['name']}' in the GE registry is of another type"
                raise ArtifactError(what, expected=match["type"], found=line)
        required = match["equals"] is None
        attrs[match["name"]] = AttrSpec(match["name"], match["type"], required, default)
        if not text.startswith(", ", at) and at != len(text):
            raise ArtifactError("malformed attribute in the GE registry", found=line)
        at += 2
    return attrs


def _parse_default(text: str, at: int, attr_type: str) -> tuple[object, int]:
    word = _WORD.match(text, at)
    if attr_type == "Type" and word is not None:
        return dtypes.BY_NAME[word[0]].name, word.end()
    if word is not None and word[0].startswith("dtype("):
        return dtypes.BY_NAME[word[0][len("dtype(") : -1]].ge, word.end()
    value, end = cast("tuple[object, int]", json.JSONDecoder().raw_decode(text, at))
    return _frozen(value, attr_type.endswith("Float")), end


_PLAIN_TYPES: Final = {"Int": int, "Float": float, "Bool": bool, "String": str, "Type": str}


def _is_of_type(attr_type: str, value: object) -> bool:
    if isinstance(value, tuple):
        items = cast("tuple[object, ...]", value)
        item_type = attr_type.removeprefix("List")
        return item_type != attr_type and all(_is_of_type(item_type, v) for v in items)
    return type(value) is _PLAIN_TYPES.get(attr_type, type(None))


def _frozen(value: object, is_float: bool) -> object:
    if isinstance(value, list):
        return tuple(_frozen(item, is_float) for item in cast("list[object]", value))
    return float(value) if is_float and type(value) is int else value


def _result_rules(
    inputs: list[_ParsedPort],
    outputs: list[_ParsedPort],
    attrs: Mapping[str, AttrSpec],
    *,
    has_subgraphs: bool,
) -> tuple[ResultRule | None, ...]:
    explicit = [_explicit_rule(inputs, output) for output in outputs]
    unknown = [i for i, rule in enumerate(explicit) if rule is None]
    explained = {output.attr for output in outputs}
    may_set_type = any(_may_name_type(a) and a.name not in explained for a in attrs.values())
    if len(unknown) == 1 and not has_subgraphs and not may_set_type:
        position = unknown[0]
        explicit[position] = _agree_rule(inputs, outputs[position])
    return tuple(explicit)


def _may_name_type(attr: AttrSpec) -> bool:
    return attr.type == "Type" or (
        attr.type == "Int" and attr.name.endswith(("dtype", "dst_type", "out_type", "output_type"))
    )


def _explicit_rule(inputs: list[_ParsedPort], output: _ParsedPort) -> ResultRule | None:
    if len(output.port.dtypes) == 1:
        return ResultRule("fixed", dtype=next(iter(output.port.dtypes)))
    if output.attr is not None:
        return ResultRule("attr", attr=output.attr)
    if output.promotes:
        names = [entry.port.name for entry in inputs]
        if not set(output.promotes) <= set(names):
            raise ArtifactError(
                "an output is promoted from what is no input", found=" ".join(output.promotes)
            )
        return ResultRule("promote", inputs=tuple(names.index(n) for n in output.promotes))
    same = tuple(
        i
        for i, entry in enumerate(inputs)
        if entry.port.name == output.port.name
        or (output.letter is not None and entry.letter == output.letter)
    )
    return ResultRule("same", inputs=same) if same else None


def _agree_rule(inputs: list[_ParsedPort], output: _ParsedPort) -> ResultRule | None:
    """Inputs that list exactly the output's types, in an operator where nothing else decides."""
    alike = tuple(i for i, e in enumerate(inputs) if e.port.dtypes == output.port.dtypes)
    return ResultRule("agree", inputs=alike) if alike else None
