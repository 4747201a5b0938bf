"""GE nodes of operations without what differs between equal calls: ports, descriptors, attributes.

Operations of one class with equal types and properties share one prepared node, which ``emit``
copies; a model of thousands of operations has a few hundred.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, cast

from xdsl.dialects.builtin import (
    DenseIntOrFPElementsAttr,
    StringAttr,
    TensorType,
    UnregisteredOp,
)
from xdsl.ir import Attribute, Operation

from torchair.backend_ge import constants, proto
from torchair.backend_ge import graph_attrs as keys
from torchair.dialects.ge import dtypes
from torchair.dialects.ge.dialect import GeOp
from torchair.errors import ConversionError, VerifyError
from torchair.ir import element_types, interned
from torchair.ir.call_verify import control_type, operand_counts
from torchair.ir.interned import DYNAMIC
from torchair.ir.location import describe
from torchair.ir.private import operands_of
from torchair.ir.weights import WeightAttr

_LAYOUT_RANKS: Final = {"NCHW": 4, "NHWC": 4, "HWCN": 4, "NCDHW": 5, "NDHWC": 5}
_UNKNOWN_RANK: Final = -2


@dataclass(frozen=True, slots=True)
class Prepared:
    """A node without what differs between equal calls.

    Args:
        node: everything but name, inputs, source and value names.
        unfed: places in the input list of absent optional inputs.
        results: number of tensor results.
        has_control: whether there is a control result too.
    """

    node: proto.OpDef
    unfed: tuple[int, ...]
    results: int
    has_control: bool


class NodePreparer:
    """Prepares the nodes of one graph.

    Args:
        folder: where weights go as files; None keeps them in ``Const`` nodes.
    """

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder
        self.prepared: dict[tuple[Any, ...], Prepared] = {}
        self.descriptors: dict[tuple[int, str, str, bool], proto.TensorDescriptor] = {}
        self.port_names: dict[tuple[str, ...], tuple[proto.AttrDef, proto.AttrDef]] = {}

    def find(self, op: Operation) -> Prepared:
        """The prepared node of an operation.

        Raises:
            VerifyError: the operation has no form in a GE graph.
        """
        properties = op.properties
        if op.name == "ge.Const" and isinstance(op, GeOp) and "value" in properties:
            return self._prepare_constant(op, properties["value"])
        key = (
            op.__class__,
            *[id(v.type) for v in operands_of(op)],
            0,
            *[id(r.type) for r in op.results],
            *properties,
            *map(id, properties.values()),
        )
        found = self.prepared.get(key)
        if found is not None:
            return found
        if isinstance(op, UnregisteredOp):
            return self._prepare_unknown(op)
        if not isinstance(op, GeOp):
            raise malformed(op, "it is not a GE operation")
        found = self.prepared[key] = self._prepare(op)
        return found

    def _prepare(self, op: GeOp) -> Prepared:
        spec = op.spec
        if spec.name in ("Data", "RefData"):
            raise malformed(op, "an input of a graph is an argument of the function")
        node = proto.OpDef(type=spec.name)
        try:
            unfed = self._write_inputs(op, node)
            results = self._write_outputs(op, node)
            self._write_properties(op, node)
        except ConversionError as error:
            raise malformed(op, str(error)) from error
        self.write_port_names(node)
        has_control = bool(op.results) and op.results[-1].type == control_type
        return Prepared(node, unfed, results, has_control)

    def _write_inputs(self, op: GeOp, node: proto.OpDef) -> tuple[int, ...]:
        """Descriptors of the inputs; absent optional ones count only before a present one."""
        counts = operand_counts(op)[: len(op.spec.inputs)]
        last = max((i for i, count in enumerate(counts) if count), default=-1)
        layouts = _layouts(op)
        types = iter([v.type for v in operands_of(op)])
        unfed: list[int] = []
        for port, count in zip(op.spec.inputs[: last + 1], counts, strict=False):
            if count == 0 and port.kind == "optional":
                unfed.append(len(node.input_desc))
                node.input_desc.add(name=port.name).attr[keys.UNFED].i = 1
            for index in range(count):
                name = f"{port.name}{index}" if port.kind == "dynamic" else port.name
                node.input_desc.append(self.tensor(next(types), name, layouts))
        return tuple(unfed)

    def _write_outputs(self, op: GeOp, node: proto.OpDef) -> int:
        types = [result.type for result in op.results]
        if types and types[-1] == control_type:
            types.pop()
        for name, type_ in zip(_output_names(op, len(types)), types, strict=True):
            node.output_desc.append(self.tensor(type_, name, _layouts(op), symbols=True))
        return len(types)

    def _write_properties(self, op: GeOp, node: proto.OpDef) -> None:
        first = len(op.spec.inputs)
        for spec, parameter in zip(
            op.spec.attrs.values(), op.schema.parameters[first:], strict=True
        ):
            value = op.properties.get(parameter.name)
            if value is None:
                continue
            if spec.type == "Tensor":
                self._write_tensor(node.attr[spec.name].t, value, op, None)
            else:
                keys.write_typed(
                    node.attr[spec.name], spec.type, keys.property_value(spec.type, value)
                )

    def _prepare_unknown(self, op: UnregisteredOp) -> Prepared:
        """A node of an unknown type, as ``load(allow_unknown=True)`` represents it."""
        node = proto.OpDef(type=op.op_name.data.removeprefix("ge."))
        types = [v.type for v in operands_of(op) if v.type != control_type]
        results = [r.type for r in op.results if r.type != control_type]
        for descs, names, port_types in (
            (node.input_desc, op.attributes.get("ge.input_names"), types),
            (node.output_desc, op.attributes.get("ge.output_names"), results),
        ):
            given: list[Any] = keys.to_json(names) if names is not None else []
            for index, type_ in enumerate(port_types):
                name = str(given[index]) if index < len(given) else f"port{index}"
                is_output = descs is node.output_desc
                descs.append(self.tensor(type_, name, {}, symbols=is_output))
        self.write_port_names(node)
        return Prepared(node, (), len(results), len(results) < len(op.results))

    # ------------------------------------------------------------ constants

    def _prepare_constant(self, op: GeOp, value: Attribute) -> Prepared:
        type_ = op.results[0].type
        if isinstance(value, WeightAttr) and self.folder is not None:
            return self._prepare_file_constant(op, value)
        key = ("Const", id(type_), len(op.results))
        base = self.prepared.get(key)
        if base is None:
            bare = proto.OpDef(type="Const")
            bare.output_desc.append(self.tensor(type_, "y", {}, symbols=True))
            self.write_port_names(bare)
            base = self.prepared[key] = Prepared(bare, (), 1, len(op.results) > 1)
        node = proto.OpDef()
        node.CopyFrom(base.node)
        self._write_tensor(node.attr["value"].t, value, op, type_)
        if isinstance(value, WeightAttr):
            node.attr[keys.WEIGHT].s = value.data.key.encode()
        else:
            text = constants.readable(cast("DenseIntOrFPElementsAttr[Any]", value))
            if text is not None:
                node.attr[keys.READABLE].s = text.encode()
        return Prepared(node, (), 1, base.has_control)

    def _prepare_file_constant(self, op: GeOp, value: WeightAttr) -> Prepared:
        type_ = op.results[0].type
        data = constants.read_weight(value.data, type_, op.name)
        assert self.folder is not None, "the caller has a folder"
        path = constants.write_weight_file(self.folder, data)
        node = proto.OpDef(type="FileConstant")
        node.output_desc.append(self.tensor(type_, "y", {}, symbols=True))
        self.write_port_names(node)
        element = interned.element_type(type_)
        keys.write_typed(node.attr["shape"], "ListInt", list(interned.shape_of(type_) or ()))
        node.attr["dtype"].dt = keys.type_number(element)
        node.attr["file_path"].s = str(path).encode()
        node.attr["file_id"].s = b""
        node.attr[keys.WEIGHT].s = value.data.key.encode()
        return Prepared(node, (), 1, len(op.results) > 1)

    def _write_tensor(
        self, target: proto.TensorDef, value: Attribute, op: GeOp, type_: Attribute | None
    ) -> None:
        if isinstance(value, WeightAttr) and type_ is not None:
            target.desc.CopyFrom(self.tensor(type_, "", {}))
            target.data = constants.read_weight(value.data, type_, op.name)
            return
        if not isinstance(value, DenseIntOrFPElementsAttr):
            raise malformed(op, f"a tensor attribute cannot be {value.name}")
        dense = cast("DenseIntOrFPElementsAttr[Any]", value)
        if type_ is not None and _bare(dense.type) != _bare(type_):
            raise malformed(op, f"its value has type {dense.type}, its result {type_}")
        target.desc.CopyFrom(self.tensor(dense.type, "", {}))
        target.data = constants.dense_bytes(dense)

    # ------------------------------------------------------------ descriptors

    def write_port_names(self, node: proto.OpDef) -> None:
        """Write the lists of port names that GE reads: exactly the ports that have a descriptor."""
        attr = node.attr
        for descs, key, value in (
            (node.input_desc, keys.INPUT_NAMES, keys.INPUT_INDEXES),
            (node.output_desc, keys.OUTPUT_NAMES, keys.OUTPUT_INDEXES),
        ):
            names = tuple([desc.name for desc in descs])
            if names:
                lists = self.port_names.get(names) or self._port_lists(names, node.type)
                attr[key].CopyFrom(lists[0])
                attr[value].CopyFrom(lists[1])

    def _port_lists(
        self, names: tuple[str, ...], ge_type: str
    ) -> tuple[proto.AttrDef, proto.AttrDef]:
        if len(set(names)) != len(names):
            raise VerifyError(
                f"two ports of one {ge_type} node have one name; GE cannot tell them apart",
                found=", ".join(names),
            )
        lists = (proto.AttrDef(), proto.AttrDef())
        keys.write_typed(lists[0], "ListString", names)
        keys.write_typed(lists[1], "ListInt", range(len(names)))
        self.port_names[names] = lists
        return lists

    def tensor(
        self, type_: Attribute, name: str, layouts: dict[int, str], *, symbols: bool = False
    ) -> proto.TensorDescriptor:
        layout = "ND"
        if layouts:
            layout = layouts.get(len(interned.shape_of(type_) or ()), "ND")
        return self.descriptor(type_, name, layout, symbols)

    def descriptor(
        self, type_: Attribute, name: str, layout: str, symbols: bool
    ) -> proto.TensorDescriptor:
        key = (id(type_), name, layout, symbols)
        found = self.descriptors.get(key)
        if found is None:
            found = self.descriptors[key] = describe_tensor(type_, name, layout, symbols)
        return found


def describe_tensor(
    type_: Attribute, name: str, layout: str = "ND", symbols: bool = False
) -> proto.TensorDescriptor:
    """Descriptor of a tensor type: -1 is an unknown size, ``[-2]`` an unknown rank.

    Raises:
        ConversionError: GE has no such element type.
    """
    data_type = dtypes.BY_NAME.get(element_types.to_name(interned.element_type(type_)))
    if data_type is None:
        raise ConversionError(f"GE has no data type for {type_}")
    desc = proto.TensorDescriptor(name=name, dtype=cast(Any, data_type.proto), layout=layout)
    sizes = interned.shape_of(type_)
    desc.shape.SetInParent()
    if sizes is None:
        desc.shape.dim.append(_UNKNOWN_RANK)
    else:
        desc.shape.dim.extend([-1 if size == DYNAMIC else size for size in sizes])
    if symbols and isinstance(type_, TensorType):
        written = keys.symbols_of(cast("TensorType[Any]", type_))
        if written is not None:
            keys.write_typed(desc.attr[keys.SYMBOLS], "ListString", written)
    return desc


def _output_names(op: GeOp, count: int) -> list[str]:
    """One name per result; the tensors of a dynamic output are numbered."""
    ports = op.spec.outputs
    dynamic = len(op.spec.dynamic_outputs)
    if dynamic > 1 and count != len(ports):
        raise malformed(op, "operators with two dynamic outputs are not supported")
    each = count - len(ports) + 1 if dynamic == 1 else 1
    names: list[str] = []
    for port in ports:
        if port.kind == "dynamic":
            names += [f"{port.name}{i}" for i in range(each)]
        else:
            names.append(port.name)
    if len(names) != count:
        raise malformed(op, f"it has {count} results, {len(names)} are registered")
    return names


def _layouts(op: GeOp) -> dict[int, str]:
    """Layout by rank of an operation with a ``data_format``; every other tensor is ``ND``."""
    spec = op.spec.attrs.get("data_format")
    if spec is None:
        return {}
    value = op.properties.get("data_format")
    layout = value.data if isinstance(value, StringAttr) else str(spec.default)
    rank = _LAYOUT_RANKS.get(layout)
    return {} if rank is None else {rank: layout}


def _bare(type_: Attribute) -> tuple[Attribute, tuple[int, ...] | None]:
    return interned.element_type(type_), interned.shape_of(type_)


def malformed(op: Operation, message: str) -> VerifyError:
    """The error about an operation that cannot be emitted."""
    label, source = describe(op)
    return VerifyError(
        f"'{op.name}' cannot be emitted: {message}",
        op=label,
        loc=source,
        hint="verify the module (torchair-opt --verify) to find the pass that built it",
    )
