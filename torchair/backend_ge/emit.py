"""Emission: a ge module as GE protobuf, what an engine loads. ``load`` is the inverse.

Operations that differ only in names and sources share one prepared node, which is copied; so the
cost of an operation does not depend on its attributes.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, Literal, cast

from xdsl.dialects.builtin import IntegerAttr, ModuleOp, StringAttr
from xdsl.dialects.func import FuncOp
from xdsl.ir import Attribute, BlockArgument, Operation, SSAValue

from torchair.backend_ge import constants, proto
from torchair.backend_ge import graph_attrs as keys
from torchair.backend_ge.constants import serialize
from torchair.backend_ge.mutation import MutationPlan, plan_mutations
from torchair.backend_ge.node_templates import (
    NodePreparer,
    Prepared,
    malformed,
)
from torchair.dialects.ge.dialect import GeOp
from torchair.errors import VerifyError
from torchair.ir import interned
from torchair.ir.call_verify import control_type
from torchair.ir.conversion import argument_attributes
from torchair.ir.location import name_of
from torchair.ir.location import serialize as location_text
from torchair.ir.private import UNKNOWN_LOCATION, iter_ops, operands_of
from torchair.ir.weights import WeightAttr

__all__ = ["Weights", "emit", "serialize"]

Weights = Literal["inline", "external"]
FORMAT_VERSION: Final = 1
_JSON: Final = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False)
_UNKNOWN_OP_KEYS: Final = frozenset({"op_name__", "ge.input_names", "ge.output_names"})
"""Attributes of unregistered operations that are written as type and port names."""


def emit(
    module: ModuleOp,
    name: str = "graph",
    *,
    weights: Weights = "inline",
    directory: Path | None = None,
) -> proto.ModelDef:
    """GE protobuf of a verified ge module.

    Args:
        module: one function of ge operations that ends with ``ge.NetOutput``.
        name: name of the graph.
        weights: ``inline`` copies weights into ``Const`` nodes; ``external`` writes them to files
            in `directory` and refers to these from ``FileConstant`` nodes.
        directory: an existing folder for weight files.

    Raises:
        VerifyError: the module is not a ge graph.
        ArtifactError: the weights are not available, or too large to be inline.
    """
    function = _only_function(module)
    if weights == "external" and directory is None:
        raise VerifyError(
            "external weights need a directory", hint="pass directory=<an existing folder>"
        )
    folder = directory if weights == "external" else None
    return _Emitter(module, function, name, folder).run()


def _only_function(module: ModuleOp) -> FuncOp:
    functions = [op for op in module.ops if isinstance(op, FuncOp) and not op.is_declaration]
    if len(functions) != 1:
        raise VerifyError("a ge module to emit has one function", found=len(functions))
    end = functions[0].body.block.last_op
    if end is None or end.name != "ge.NetOutput":
        raise VerifyError(
            "a ge graph ends with ge.NetOutput",
            found="nothing" if end is None else end.name,
            hint="run convert-aten-to-ge first",
        )
    return functions[0]


class NodeNames:
    """Unique node names: ``Add``, ``Add_1``... and names that were asked for."""

    def __init__(self) -> None:
        self._taken: set[str] = set()
        self._next: dict[str, int] = {}

    def reserve(self, wanted: str) -> str:
        """The wanted name, or it with a number when it is taken."""
        wanted = wanted.replace(":", "_") or "node"
        name, number = wanted, self._next.get(wanted, 0)
        while name in self._taken:
            number += 1
            name = f"{wanted}_{number}"
        self._next[wanted] = number
        self._taken.add(name)
        return name

    def numbered(self, ge_type: str) -> str:
        """The next name of a node of this type."""
        number = self._next.get(ge_type, 0)
        while True:
            name = f"{ge_type}_{number}" if number else ge_type
            number += 1
            if name not in self._taken:
                break
        self._next[ge_type] = number
        self._taken.add(name)
        return name


class _Emitter:
    def __init__(self, module: ModuleOp, function: FuncOp, name: str, folder: Path | None) -> None:
        self.module = module
        self.function = function
        self.block = function.body.block
        self.folder = folder
        self.model = proto.ModelDef(name=name)
        self.graph = self.model.graph.add(name=name)
        self.names = NodeNames()
        self.explicit: dict[Operation, str] = {}
        self.references: dict[SSAValue, str] = {}
        self.preparer = NodePreparer(folder)
        self.placed: dict[Operation, str] = {}
        self.source: Attribute = UNKNOWN_LOCATION
        self.source_text = b""
        self.source_name = ""
        self.plan = MutationPlan()

    def run(self) -> proto.ModelDef:
        entries = argument_attributes(self.function)
        data_names = [self._data_name(i, entry) for i, entry in enumerate(entries)]
        self._survey()
        for index, argument in enumerate(self.block.args):
            self._data(index, argument, entries[index], data_names[index])
        before = self.plan.before
        for op in iter_ops(self.block):
            if op in self.plan.folded or op.name == "ge.NetOutput":
                continue
            node = self._add_node(op, self.preparer.find(op))
            if before:
                self.placed[op] = node.name
                self._add_order(node, op)
        self._finish(entries)
        return self.model

    def _survey(self) -> None:
        """One look at every operation: explicit names, writers, weight sizes."""
        writers: list[GeOp] = []
        writes: dict[type[Operation], bool] = {}
        weights: list[tuple[int, str]] = []
        for op in iter_ops(self.block):
            if op.attributes and keys.NODE_NAME in op.attributes:
                wanted = op.attributes[keys.NODE_NAME]
                if not isinstance(wanted, StringAttr):
                    raise malformed(op, f"{keys.NODE_NAME} must be a string")
                self.explicit[op] = self.names.reserve(wanted.data)
            if op.__class__ not in writes:
                writes[op.__class__] = isinstance(op, GeOp) and bool(op.spec.refs)
            if writes[op.__class__]:
                writers.append(cast(GeOp, op))
            elif op.name == "ge.Const" and isinstance(op.properties.get("value"), WeightAttr):
                handle = cast(WeightAttr, op.properties["value"]).data
                size = constants.storage_bytes(op.results[0].type) or handle.nbytes
                weights.append((size, handle.key))
        self.plan = plan_mutations(self.block, writers)
        if self.folder is None:
            constants.check_inline_size(weights)

    # ------------------------------------------------------------ inputs

    def _data_name(self, index: int, entry: dict[str, Attribute]) -> str:
        wanted = entry.get("torchair.name")
        return self.names.reserve(wanted.data if isinstance(wanted, StringAttr) else f"arg{index}")

    def _data(
        self, index: int, argument: BlockArgument, entry: dict[str, Attribute], name: str
    ) -> None:
        kind = entry.get("ge.type")
        node = self.graph.op.add(
            name=name, type=kind.data if isinstance(kind, StringAttr) else "Data"
        )
        node.attr["index"].i = index
        layout = entry.get("ge.layout")
        layout = layout.data if isinstance(layout, StringAttr) else "ND"
        for descs, port in ((node.input_desc, "x"), (node.output_desc, "y")):
            desc = descs.add()
            desc.CopyFrom(
                self.preparer.descriptor(argument.type, port, layout, symbols=port == "y")
            )
            desc.device_type = placement_of(entry)
            _write_storage_format(desc, port, entry)
        self.preparer.write_port_names(node)
        node.attr[keys.ATTRIBUTES].s = _dump({k: keys.to_json(v) for k, v in entry.items()})
        for key, value in entry.items():
            self._write_discardable(node, key, value)
        self._name_value(node.output_desc[0], argument)
        self.references[argument] = f"{name}:0"

    # ------------------------------------------------------------ nodes

    def _add_node(self, op: Operation, prepared: Prepared) -> proto.OpDef:
        """Copy a prepared node and add what belongs to this operation alone."""
        node = self.graph.op.add()
        node.CopyFrom(prepared.node)
        name = self.explicit.get(op) or self.names.numbered(node.type)
        node.name = name
        try:
            inputs = [self.references[v] for v in operands_of(op)]
        except KeyError as error:
            raise malformed(op, "it uses a value before its definition") from error
        for place in prepared.unfed:
            inputs.insert(place, "")
        if inputs:
            node.input.extend(inputs)
        if op.location is not self.source:
            self._look_at(op.location)
        if self.source_text:
            node.attr[keys.LOCATION].s = self.source_text
        if prepared.results:
            self._bind_results(op, node, name, prepared)
        if prepared.has_control:
            self._bind_control(op, node, name)
        if op.attributes:
            self._write_attributes(op, node)
        return node

    def _look_at(self, location: Attribute) -> None:
        self.source = location
        self.source_text = location_text(location).encode()
        self.source_name = name_of(location) or ""

    def _bind_results(
        self, op: Operation, node: proto.OpDef, name: str, prepared: Prepared
    ) -> None:
        source_name = self.source_name
        references = self.references
        for index, (result, desc) in enumerate(zip(op.results, node.output_desc, strict=False)):
            references[result] = f"{name}:{index}"
            if source_name:
                desc.attr[keys.FX_NAME].s = f"{source_name}.OUTPUT.{index}".encode()
            hint = result.name_hint
            if hint is not None:
                desc.attr[keys.VALUE_NAME].s = hint.encode()

    def _name_value(self, desc: proto.TensorDescriptor, value: SSAValue) -> None:
        if value.name_hint is not None:
            desc.attr[keys.VALUE_NAME].s = value.name_hint.encode()

    def _bind_control(self, op: Operation, node: proto.OpDef, name: str) -> None:
        control = op.results[-1]
        self.references[control] = f"{name}:-1"
        if control.first_use is None:
            node.attr[keys.CONTROL_RESULT].b = True

    def _add_order(self, node: proto.OpDef, op: Operation) -> None:
        earlier = self.plan.before.get(op)
        if earlier:
            node.input.extend(f"{self.placed[other]}:-1" for other in earlier)
            node.attr[keys.ORDER_EDGES].i = len(earlier)

    # ------------------------------------------------------------ discardable attributes

    def _write_attributes(self, op: Operation, node: proto.OpDef) -> None:
        rest: dict[str, Any] = {}
        for key, value in op.attributes.items():
            if key == keys.NODE_NAME:
                node.attr[keys.NAMED].b = True
            elif key in _UNKNOWN_OP_KEYS:
                continue
            elif not self._write_discardable(node, key, value):
                rest[key] = keys.to_json(value)
        if rest:
            node.attr[keys.ATTRIBUTES].s = _dump(rest)

    def _write_discardable(self, node: proto.OpDef, key: str, value: Attribute) -> bool:
        """Write an attribute that GE shall see; says whether ``load`` can restore it from there."""
        name = key.removeprefix(keys.PLAIN_PREFIX)
        if name is key and not key.startswith("_"):
            return False
        if name in keys.RESERVED or name in node.attr:
            raise VerifyError(
                f"discardable attribute '{key}' has the name of an attribute that emission writes",
                op=f"{node.name} ({node.type})",
                hint="rename it",
            )
        kind = keys.discardable_kind(value)
        if kind is None:
            return False
        target = node.attr[name]
        keys.write_typed(target, kind, keys.property_value(kind, value))
        return keys.read_discardable(target, f"attribute '{key}'") == value

    # ------------------------------------------------------------ outputs

    def _finish(self, entries: list[dict[str, Attribute]]) -> None:
        end = self.block.last_op
        assert isinstance(end, GeOp), "checked by _only_function"
        operands = operands_of(end)
        tensors = [v for v in operands if v.type != control_type]
        outputs, aliases = self._fold(tensors)
        node = proto.OpDef(type="NetOutput")
        for index, value in enumerate(outputs):
            node.input_desc.append(self.preparer.tensor(value.type, f"input{index}", {}))
        self.preparer.write_port_names(node)
        self._add_node(end, Prepared(node, (), 0, False))
        placed = self.graph.op[-1]
        extra = [self.references[value] for value in outputs[len(tensors) :]]
        inputs = list(placed.input)
        del placed.input[:]
        placed.input.extend([*inputs[: len(tensors)], *extra, *inputs[len(tensors) :]])
        self._add_order(placed, end)
        self._write_graph_attributes(entries, outputs, aliases, len(tensors))

    def _fold(self, tensors: list[SSAValue]) -> tuple[list[SSAValue], list[int]]:
        """The outputs with the folded assignments added, and (output, input) pairs in one list."""
        outputs = list(tensors)
        places: dict[SSAValue, int] = {}
        for index, value in enumerate(tensors):
            places.setdefault(value, index)
        aliases: list[int] = []
        for assign in self.plan.folded:
            target, value = operands_of(assign)
            place = places.pop(value, None)
            if place is None:
                place = len(outputs)
                outputs.append(value)
            aliases += [place, cast(BlockArgument, target).index]
        return outputs, aliases

    def _write_graph_attributes(
        self,
        entries: list[dict[str, Attribute]],
        outputs: Sequence[SSAValue],
        aliases: list[int],
        returned: int,
    ) -> None:
        attr = self.graph.attr
        placements = [int(placement_of(entry) == "NPU") for entry in entries]
        keys.write_typed(attr["_input_placements"], "ListInt", placements)
        numbers = [keys.type_number(interned.element_type(value.type)) for value in outputs]
        keys.write_typed(attr["_output_dtypes"], "ListInt", numbers)
        attr["_executor_type"].i = int(not placements or any(placements))
        if aliases:
            keys.write_typed(attr[keys.REF_OUTPUTS], "ListInt", aliases)
        attr[keys.MODULE].s = _dump(
            {
                "version": FORMAT_VERSION,
                "function": self.function.sym_name.data,
                "attributes": {k: keys.to_json(v) for k, v in self.function.attributes.items()},
                "outputs": returned,
                "assigns": self._folded_to_json(),
            }
        )

    def _folded_to_json(self) -> list[dict[str, Any]]:
        """What ``load`` needs to restore the assignments that became outputs, and where."""
        found: list[dict[str, Any]] = []
        place = 0
        for op in iter_ops(self.block) if self.plan.folded else ():
            if op not in self.plan.folded:
                place += 1
                continue
            found.append(
                {
                    "place": place,
                    "location": location_text(op.location),
                    "attributes": {k: keys.to_json(v) for k, v in op.attributes.items()},
                    "type": keys.type_to_json(op.results[0].type),
                    "name": op.results[0].name_hint or "",
                }
            )
        return found


def placement_of(entry: dict[str, Attribute]) -> str:
    """``NPU`` or ``CPU``: where the tensor of an argument lives."""
    placement = entry.get("torchair.placement")
    return "CPU" if isinstance(placement, StringAttr) and placement.data == "CPU" else "NPU"


def _dump(value: Any) -> bytes:
    return _JSON.encode(value).encode()


def _write_storage_format(
    desc: proto.TensorDescriptor, port: str, entry: dict[str, Attribute]
) -> None:
    """Say in which internal format an argument is stored, if it is."""
    stored = entry.get("torchair.format")
    if not isinstance(stored, IntegerAttr):
        return
    desc.attr["format_for_int"].i = stored.value.data
    if port == "y":
        desc.attr["origin_format_for_int"].i = _ORIGIN_FORMATS.get(stored.value.data, _FORMAT_ND)


_FORMAT_ND = 2
_ORIGIN_FORMATS = {3: 0, 4: 0, 32: 30, 33: 30}
"""Internal format -> format of the logical tensor: NCHW or NCDHW for convolutions, else ND."""
