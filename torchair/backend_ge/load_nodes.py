"""Operations from the nodes of a GE graph: ports, attributes and result types by the registry.

Nodes that differ only in names and sources are decoded once, as ``emit`` prepares them once.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from xdsl.dialects.builtin import ArrayAttr, UnregisteredOp
from xdsl.ir import Attribute, Operation, SSAValue

from torchair.backend_ge import constants, proto
from torchair.backend_ge import graph_attrs as keys
from torchair.backend_ge.graph_ports import (
    attribute_value,
    inferred_element,
    input_slots,
    is_untrusted,
    output_port,
    text_of,
    unconnected,
)
from torchair.backend_ge.graph_structure import Node, shorten
from torchair.dialects.ge import dtypes, registry
from torchair.dialects.ge.dialect import GeOp, lookup_op
from torchair.errors import ArtifactError
from torchair.ir import element_types, interned
from torchair.ir.call_verify import control_type
from torchair.ir.interned import DYNAMIC
from torchair.ir.location import deserialize, named_location
from torchair.ir.private import UNKNOWN_LOCATION, create_op, set_name
from torchair.ir.schema import REQUIRED_VALUE

_CONSTANTS: Final = frozenset({"Const", "Constant"})
_IGNORED: Final = re.compile(r"_ir_\w+")
"""What GE derives from its own prototypes and refuses when it differs."""
_VALUE_NAME: Final = re.compile(r"[A-Za-z_$.][\w$.]{0,200}", re.ASCII)


@dataclass(frozen=True, slots=True)
class _Decoded:
    """What equal nodes have in common.

    Args:
        cls: the operation class.
        slots: input slots in operand order.
        types: result types.
        properties: properties of the operation.
        attributes: its discardable attributes.
    """

    cls: type[GeOp]
    slots: list[int]
    types: list[Attribute]
    properties: dict[str, Attribute]
    attributes: dict[str, Attribute]


class NodeLoader:
    """Builds the operations of one graph, whose nodes come sources first.

    Args:
        is_foreign: whether something else than ``emit`` wrote the graph.
    """

    def __init__(self, *, is_foreign: bool) -> None:
        self.is_foreign = is_foreign
        self.values: dict[tuple[Node, int], SSAValue] = {}
        self.decoded: dict[bytes, _Decoded] = {}
        self.locations: dict[bytes, Attribute] = {}

    def build(self, node: Node) -> Operation:
        """The operation of a node, whose results are from now on the values of its outputs."""
        op = self._operation(node)
        for index, desc in enumerate(node.op.output_desc):
            value = self.values[node, index] = op.results[index]
            self.name_value(value, desc)
        if op.results and op.results[-1].type == control_type:
            self.values[node, -1] = op.results[-1]
        return op

    def _operation(self, node: Node) -> Operation:
        cls = lookup_op(node.op.type)
        if cls is None:
            return self._unknown(node)
        if node.op.type in _CONSTANTS:
            return self._constant(node)
        if node.op.type == "FileConstant" and keys.WEIGHT in node.op.attr:
            return self._file_constant(node)
        if self.is_foreign or keys.NAMED in node.op.attr:
            return self._decode(node, cls)[0]
        key = _key(node)
        found = self.decoded.get(key)
        if found is None:
            op, self.decoded[key] = self._decode(node, cls)
            return op
        operands = [self.value(*source) for slot in found.slots if (source := node.inputs[slot])]
        operands += self.controls(node)
        attributes = dict(found.attributes) if found.attributes else None
        location = self.location(node)
        return create_op(
            found.cls, operands, found.types, dict(found.properties), location, attributes
        )

    def _decode(self, node: Node, cls: type[GeOp]) -> tuple[Operation, _Decoded]:
        spec = cls.spec
        slots = input_slots(node, spec)
        inputs = self._inputs(node, spec, slots)
        found, attributes = self.attributes(node, spec)
        for name in spec.required_attrs:
            if name not in found:
                raise ArtifactError(f"attribute '{name}' is missing", op=node.label())
        values: list[object] = [*inputs, *[found.get(name, REQUIRED_VALUE) for name in spec.attrs]]
        types = self._result_types(node, spec, inputs, found)
        op = cls.build_call(values, types, self.location(node), self.controls(node), attributes)
        linked = [slot for held in slots for slot in held if node.inputs[slot] is not None]
        return op, _Decoded(cls, linked, types, dict(op.properties), dict(op.attributes))

    def name_value(self, value: SSAValue, desc: proto.TensorDescriptor) -> None:
        if keys.VALUE_NAME in desc.attr:
            set_value_name(value, text_of(desc.attr[keys.VALUE_NAME].s, keys.VALUE_NAME))

    def value(self, node: Node, output: int) -> SSAValue:
        found = self.values.get((node, output))
        if found is None:
            raise ArtifactError("an output of this node cannot be used", op=node.label())
        return found

    def controls(self, node: Node) -> list[SSAValue]:
        """Control operands; inputs of the graph are there from the start."""
        kept = node.controls[: len(node.controls) - node.order_edges]
        found = [self.values.get((source, -1)) for source in kept]
        return [value for value in found if value is not None]

    def _control_types(self, node: Node) -> list[Attribute]:
        has_control = node.waited_for or keys.CONTROL_RESULT in node.op.attr
        return [control_type] if has_control else []

    def location(self, node: Node) -> Attribute:
        """Source of a node; the tensor names of other writers hold the FX node."""
        attr = node.op.attr
        if keys.LOCATION in attr:
            text = attr[keys.LOCATION].s
            found = self.locations.get(text)
            if found is None:
                found = self.locations[text] = location_of(text_of(text, keys.LOCATION))
            return found
        for desc in node.op.output_desc:
            if self.is_foreign and keys.FX_NAME in desc.attr:
                text = text_of(desc.attr[keys.FX_NAME].s, keys.FX_NAME)
                return named_location(text.rpartition(".OUTPUT.")[0] or text)
        return UNKNOWN_LOCATION

    # ------------------------------------------------------------ inputs

    def _inputs(self, node: Node, spec: registry.OpSpec, slots: list[list[int]]) -> list[Any]:
        """One value, list of values or None per registered input."""
        found: list[Any] = []
        for port, held in zip(spec.inputs, slots, strict=True):
            values = [self.value(*source) for slot in held if (source := node.inputs[slot])]
            if port.kind == "dynamic":
                if len(values) != len(held):
                    raise unconnected(node, port.name)
                found.append(values)
            elif values or port.kind == "optional":
                found.append(values[0] if values else None)
            else:
                raise unconnected(node, port.name)
        return found

    # ------------------------------------------------------------ attributes

    def attributes(
        self, node: Node, spec: registry.OpSpec | None, skipped: Sequence[str] = ()
    ) -> tuple[dict[str, Any], dict[str, Attribute]]:
        """Values of registered attributes, and the discardable attributes."""
        values: dict[str, Any] = {}
        discardable: dict[str, Attribute] = {}
        attr = node.op.attr
        if keys.NAMED in attr or self.is_foreign:
            discardable[keys.NODE_NAME] = interned.string(node.op.name)
        for key in sorted(attr):
            if key in skipped:
                continue
            registered = None if spec is None else spec.attrs.get(key)
            if registered is None:
                self.add_discardable(discardable, key, attr[key], node)
            elif attr[key].WhichOneof("value") is not None:
                values[key] = self._attribute(registered, attr[key], node)
        if keys.ATTRIBUTES in attr:
            text = text_of(attr[keys.ATTRIBUTES].s, keys.ATTRIBUTES)
            what = f"'{keys.ATTRIBUTES}' of {node.label()}"
            discardable.update(keys.dict_from_json(keys.read_json(text, what), what))
        return values, discardable

    def _attribute(self, spec: registry.AttrSpec, attr_def: proto.AttrDef, node: Node) -> Any:
        if spec.type != "Tensor":
            return attribute_value(spec, attr_def, node)
        if attr_def.WhichOneof("value") != "t":
            raise ArtifactError(f"attribute '{spec.name}' is not a tensor", op=node.label())
        type_ = self.type_of(attr_def.t.desc, node, unset_rank=0)
        key = f"{node.op.name}.{spec.name}"
        return constants.read_constant(
            attr_def.t, type_, key, is_weight=False, is_foreign=self.is_foreign
        )

    def add_discardable(
        self, into: dict[str, Attribute], key: str, attr_def: proto.AttrDef, node: Node
    ) -> None:
        if key in keys.RESERVED or _IGNORED.match(key) or attr_def.WhichOneof("value") is None:
            return
        keys.check_text(key, "the name of an attribute")
        name = key if key.startswith("_") else keys.PLAIN_PREFIX + key
        what = f"attribute '{shorten(key)}' of {node.label()}"
        into[name] = keys.read_discardable(attr_def, what)

    # ------------------------------------------------------------ results

    def _result_types(
        self, node: Node, spec: registry.OpSpec, inputs: list[Any], values: dict[str, Any]
    ) -> list[Attribute]:
        descs = node.op.output_desc
        dynamic = spec.dynamic_outputs
        fixed = len(spec.outputs) - len(dynamic)
        if len(descs) < fixed or (not dynamic and len(descs) != fixed) or len(dynamic) > 1:
            raise ArtifactError(
                "a node has another number of outputs than its operator",
                expected=", ".join(port.name for port in spec.outputs) or "none",
                found=len(descs),
                op=node.label(),
            )
        types: list[Attribute] = []
        for index, desc in enumerate(descs):
            position = output_port(index, len(descs), spec)
            element = self._element(desc, node)
            if is_untrusted(element, spec.outputs[position]):
                element = inferred_element(spec, position, inputs, values) or element
            types.append(self.type_of(desc, node, element=element))
        return [*types, *self._control_types(node)]

    def _element(self, desc: proto.TensorDescriptor, node: Node) -> Attribute:
        found = dtypes.BY_PROTO.get(int(desc.dtype))
        if found is None:
            raise ArtifactError("unknown data type number", found=int(desc.dtype), op=node.label())
        return element_types.from_name(found.name)

    def type_of(
        self,
        desc: proto.TensorDescriptor,
        node: Node,
        *,
        element: Attribute | None = None,
        unset_rank: int | None = None,
    ) -> Attribute:
        """Tensor type of a descriptor; `unset_rank` is the rank when it has no shape at all."""
        element = element or self._element(desc, node)
        sizes = list(desc.shape.dim)
        if sizes == [-2] or (unset_rank is None and not desc.HasField("shape")):
            return interned.unranked(element)
        symbols = None
        if keys.SYMBOLS in desc.attr:
            symbols = [text_of(s, keys.SYMBOLS) for s in desc.attr[keys.SYMBOLS].list.s]
        try:
            return keys.tensor_type(
                [DYNAMIC if size == -1 else size for size in sizes], element, symbols
            )
        except ValueError as error:
            raise ArtifactError(f"a descriptor has {error}", op=node.label()) from error

    # ------------------------------------------------------------ special nodes

    def _constant(self, node: Node) -> Operation:
        attr = node.op.attr
        if "value" not in attr or attr["value"].WhichOneof("value") != "t":
            raise ArtifactError("a constant has no value", op=node.label())
        tensor = attr["value"].t
        type_ = self.type_of(tensor.desc, node, unset_rank=0)
        if not tensor.data and interned.shape_of(type_) == ():
            type_ = interned.tensor([0], interned.element_type(type_))
        is_weight = keys.WEIGHT in attr
        key = text_of(attr[keys.WEIGHT].s, keys.WEIGHT) if is_weight else node.op.name
        value = constants.read_constant(
            tensor, type_, key, is_weight=is_weight, is_foreign=self.is_foreign
        )
        return self._const_op(node, value, type_)

    def _file_constant(self, node: Node) -> Operation:
        """A weight that ``emit`` wrote to a file."""
        attr = node.op.attr
        if not node.op.output_desc:
            raise ArtifactError("a constant has one output", op=node.label())
        type_ = self.type_of(node.op.output_desc[0], node, unset_rank=0)
        nbytes = constants.storage_bytes(type_)
        path = text_of(attr["file_path"].s, "file_path")
        if nbytes is None or not path:
            raise ArtifactError("a file constant names no file or no size", op=node.label())
        key = text_of(attr[keys.WEIGHT].s, keys.WEIGHT)
        return self._const_op(node, constants.file_weight(key, path, nbytes), type_)

    def _const_op(self, node: Node, value: Attribute, type_: Attribute) -> Operation:
        if len(node.op.output_desc) != 1 or any(node.inputs):
            raise ArtifactError("a constant has one output and no input", op=node.label())
        if not self.is_foreign:
            declared = self.type_of(node.op.output_desc[0], node, unset_rank=0)
            if interned.shape_of(declared) == interned.shape_of(type_):
                type_ = declared
        spec = registry.lookup(node.op.type)
        attributes = self.attributes(node, spec, skipped=("value",))[1]
        cls = class_of("Const")
        types = [type_, *self._control_types(node)]
        return cls.build_call([value], types, self.location(node), self.controls(node), attributes)

    def _unknown(self, node: Node) -> Operation:
        """An unregistered operation that keeps ports and attributes by name."""
        name = f"ge.{node.op.type}"
        attributes = self.attributes(node, None)[1]
        linked = [(slot, source) for slot, source in enumerate(node.inputs) if source is not None]
        for key, names in (
            ("ge.input_names", [node.op.input_desc[slot].name for slot, _ in linked]),
            ("ge.output_names", [desc.name for desc in node.op.output_desc]),
        ):
            keys.check_text(names, "the name of a port")
            attributes[key] = ArrayAttr([interned.string(n) for n in names])
        attributes["op_name__"] = interned.string(name)
        operands = [*[self.value(*source) for _, source in linked], *self.controls(node)]
        types = [self.type_of(desc, node) for desc in node.op.output_desc]
        types += self._control_types(node)
        cls = _unregistered(name)
        return create_op(cls, operands, types, {}, self.location(node), attributes)


_unregistered_classes: dict[str, type[Operation]] = {}


def _unregistered(name: str) -> type[Operation]:
    found = _unregistered_classes.get(name)
    if found is None:
        if len(_unregistered_classes) > 1000:
            _unregistered_classes.clear()
        found = _unregistered_classes[name] = UnregisteredOp.with_name(name)
    return found


def _key(node: Node) -> bytes:
    """What decides how a node of ``emit`` is decoded: all of it but names, sources and places."""
    bare = proto.OpDef()
    bare.CopyFrom(node.op)
    bare.ClearField("name")
    bare.ClearField("input")
    bare.attr.pop(keys.LOCATION, None)
    for desc in bare.output_desc:
        desc.attr.pop(keys.FX_NAME, None)
        desc.attr.pop(keys.VALUE_NAME, None)
    bare.ClearField("input_i")
    bare.id = len(node.inputs) * 2 + node.waited_for
    bare.input_i.extend(slot for slot, source in enumerate(node.inputs) if source is None)
    return bare.SerializeToString(deterministic=True)


def class_of(ge_type: str) -> type[GeOp]:
    """Class of an operator that loading itself builds."""
    found = lookup_op(ge_type)
    assert found is not None, "the registry has it"
    return found


def set_value_name(value: SSAValue, name: str) -> None:
    """Name a value; text that is no value name is ignored."""
    if _VALUE_NAME.fullmatch(name):
        set_name(value, name)


def location_of(text: str) -> Attribute:
    """A location from untrusted text."""
    try:
        return deserialize(text)
    except ValueError as error:
        raise ArtifactError(f"'{keys.LOCATION}' is not a location", found=shorten(text)) from error
