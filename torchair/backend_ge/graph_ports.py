"""Ports, attributes and element types of one loaded node, against its operator's registry entry."""

from __future__ import annotations

from typing import Any, Final, cast

from xdsl.ir import Attribute, SSAValue

from torchair.backend_ge import graph_attrs as keys
from torchair.backend_ge import proto
from torchair.backend_ge.graph_structure import Node, shorten
from torchair.backend_ge.proto.attrs import read_attr
from torchair.dialects.ge import dtypes, registry
from torchair.errors import ArtifactError
from torchair.ir import element_types, interned

_UNDEFINED: Final = element_types.from_name("undefined")


# ---------------------------------------------------------------- inputs


def input_slots(node: Node, spec: registry.OpSpec) -> list[list[int]]:
    """The input slots of each registered input, by name where the node names its ports.

    Raises:
        ArtifactError: the inputs do not fit the operator.
    """
    names = _input_names(node) if spec.name != "NetOutput" else []
    linked = [slot for slot, source in enumerate(node.inputs) if source is not None]
    if any(slot >= len(names) or not names[slot] for slot in linked):
        return _slots_by_position(node, spec)
    return _slots_by_name(node, spec, names, linked)


def _input_names(node: Node) -> list[str]:
    """Port name of each slot: GE reads the lists of names; descriptors have names as well."""
    attr = node.op.attr
    found = [desc.name for desc in node.op.input_desc]
    if keys.INPUT_NAMES not in attr or keys.INPUT_INDEXES not in attr:
        return found
    names = attr[keys.INPUT_NAMES].list.s
    indexes = attr[keys.INPUT_INDEXES].list.i
    if len(names) != len(indexes):
        return found
    found = [""] * len(found)
    for name, index in zip(names, indexes, strict=True):
        if not 0 <= index < len(found):
            raise ArtifactError(
                f"'{keys.INPUT_INDEXES}' lists an input without descriptor; GE crashes on it",
                expected=f"below {len(found)}",
                found=index,
                op=node.label(),
            )
        found[index] = text_of(name, keys.INPUT_NAMES)
    return found


def _slots_by_name(
    node: Node, spec: registry.OpSpec, names: list[str], linked: list[int]
) -> list[list[int]]:
    slots = {names[slot]: slot for slot in linked}
    if len(slots) != len(linked):
        raise ArtifactError("two inputs of a node have one name", op=node.label())
    found: list[list[int]] = [[] for _ in spec.inputs]
    # Longer names first: 'x10' is entry 0 of port 'x1' before it is entry 10 of port 'x'.
    for index in sorted(range(len(spec.inputs)), key=lambda i: -len(spec.inputs[i].name)):
        port = spec.inputs[index]
        if port.kind != "dynamic":
            found[index] = [slots.pop(port.name)] if port.name in slots else []
            continue
        while (name := f"{port.name}{len(found[index])}") in slots:
            found[index].append(slots.pop(name))
    if slots:
        raise ArtifactError(
            "an input has a name that its operator does not have",
            expected=", ".join(p.name + "*" * (p.kind == "dynamic") for p in spec.inputs),
            found=", ".join(shorten(name) for name in list(slots)[:8]),
            op=node.label(),
        )
    return found


def _slots_by_position(node: Node, spec: registry.OpSpec) -> list[list[int]]:
    slots = list(range(len(node.inputs)))
    if len(spec.dynamic_inputs) > 1:
        raise ArtifactError(
            "the inputs of an operator with several dynamic inputs need names", op=node.label()
        )
    if not spec.dynamic_inputs:
        if len(slots) > len(spec.inputs):
            raise ArtifactError(
                "a node has more inputs than its operator",
                expected=len(spec.inputs),
                found=len(slots),
                op=node.label(),
            )
        return [[i] if i < len(slots) and node.inputs[i] else [] for i in range(len(spec.inputs))]
    at = spec.dynamic_inputs[0]
    behind = len(spec.inputs) - at - 1
    count = len(slots) - at - behind
    if count < 0:
        raise ArtifactError("a node has fewer inputs than its operator", op=node.label())
    tail = [[slot] for slot in slots[at + count :]]
    return [*[[slot] for slot in slots[:at]], slots[at : at + count], *tail]


def unconnected(node: Node, port: str) -> ArtifactError:
    """The error about a required input that nothing feeds."""
    return ArtifactError(f"input '{port}' is not connected", op=node.label())


def inputs_by_index(nodes: list[Node]) -> list[Node]:
    """Graph inputs in the order of their ``index``; other kinds than ``Data`` follow on a tie.

    Raises:
        ArtifactError: a ``Data`` has no index, a negative one, or one that another has.
    """
    taken: dict[int, Node] = {}
    for node in nodes:
        attr = node.op.attr
        if "index" not in attr or attr["index"].WhichOneof("value") != "i":
            raise ArtifactError("a graph input has no integer 'index'", op=node.label())
        index = attr["index"].i
        if index < 0:
            raise ArtifactError("a graph input has a negative index", found=index, op=node.label())
        if node.op.type == "Data" and taken.setdefault(index, node) is not node:
            raise ArtifactError(
                "two graph inputs have the same index",
                found=f"{index} of {taken[index].label()}",
                op=node.label(),
            )
    return sorted(nodes, key=lambda n: (n.op.attr["index"].i, n.op.type != "Data", n.position))


# ---------------------------------------------------------------- attributes


def text_of(data: bytes, what: str) -> str:
    """Text of an attribute.

    Raises:
        ArtifactError: it is not UTF-8.
    """
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ArtifactError(f"'{what}' is not UTF-8 text", found=ascii(data[:40])) from error


def attribute_value(spec: registry.AttrSpec, attr_def: proto.AttrDef, node: Node) -> Any:
    """Python value of a registered attribute that is not a tensor, as ``build_call`` takes it.

    Raises:
        ArtifactError: it is of another type than the registry says.
    """
    kind, value = read_attr(attr_def)
    wanted = spec.type
    if kind == "Type" and wanted == "Int":
        kind, value = "Int", dtypes.BY_NAME[value].ge if isinstance(value, str) else value
    elif kind == "Int" and wanted == "Type" and value in dtypes.BY_GE:
        kind, value = "Type", dtypes.BY_GE[value].name
    elif kind.startswith("List") and wanted.startswith("List") and not value:
        kind = wanted
    if kind != wanted:
        raise ArtifactError(
            f"attribute '{spec.name}' has the wrong type",
            expected=wanted,
            found=kind,
            op=node.label(),
        )
    keys.check_text(value, f"attribute '{spec.name}' of {node.label()}")
    return _plain(wanted, value)


def _plain(kind: str, value: Any) -> Any:
    if kind == "Type":
        return keys.element_type(value)
    if kind == "ListType":
        return [keys.element_type(item) for item in value]
    if kind.startswith("ListList"):
        return [list(row) for row in value]
    return list(value) if kind.startswith("List") else value


# ---------------------------------------------------------------- results


def output_port(index: int, count: int, spec: registry.OpSpec) -> int:
    """The registered output that result `index` of `count` belongs to."""
    if not spec.dynamic_outputs:
        return index
    at = spec.dynamic_outputs[0]
    spread = count - len(spec.outputs) + 1
    if index < at:
        return index
    return at if index < at + spread else index - spread + 1


def is_untrusted(element: Attribute, port: registry.Port) -> bool:
    """Whether a descriptor's element type cannot be meant: GE infers these anew, so many lie."""
    if element is _UNDEFINED:
        return True
    return bool(port.dtypes) and element_types.to_name(element) not in port.dtypes


def inferred_element(
    spec: registry.OpSpec, output: int, inputs: list[Any], values: dict[str, Any]
) -> Attribute | None:
    """Element type of an output by the registry's rule, else of the first input that fits."""
    rule = spec.result_rules[output]
    if rule is not None and rule.kind == "fixed":
        return element_types.from_name(rule.dtype)
    if rule is not None and rule.kind == "attr":
        return _element_from_attribute(spec, rule.attr, values)
    positions = [*(() if rule is None else rule.inputs), *range(len(inputs))]
    allowed = spec.outputs[output].dtypes
    for position in positions:
        held = inputs[position]
        first = cast("list[SSAValue]", held)[:1] if isinstance(held, list) else [held]
        if first and first[0] is not None:
            found = interned.element_type(cast(SSAValue, first[0]).type)
            if not allowed or element_types.to_name(found) in allowed:
                return found
    return None


def _element_from_attribute(
    spec: registry.OpSpec, name: str, values: dict[str, Any]
) -> Attribute | None:
    value = values.get(name, spec.attrs[name].default)
    if isinstance(value, int):
        found = dtypes.BY_GE.get(value)
        return None if found is None else element_types.from_name(found.name)
    return element_types.from_name(value) if isinstance(value, str) else value
