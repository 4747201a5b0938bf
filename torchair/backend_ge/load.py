"""Loading: GE protobuf as a ge module, the inverse of ``emit``.

Graphs of other writers load as well: in any node order, without port names, with defaults written
out. What their descriptors say beyond type and layout is not kept. The result is not verified: an
operator may have element types that the registry does not allow.
"""

from __future__ import annotations

from typing import Any, cast

from google.protobuf.message import DecodeError
from xdsl.dialects.builtin import DictionaryAttr, ModuleOp
from xdsl.dialects.func import FuncOp
from xdsl.ir import Attribute, Block, Operation, SSAValue

from torchair.backend_ge import graph_attrs as keys
from torchair.backend_ge import proto
from torchair.backend_ge.emit import FORMAT_VERSION
from torchair.backend_ge.graph_ports import inputs_by_index, text_of
from torchair.backend_ge.graph_structure import (
    Node,
    Structure,
    check_types,
    read_structure,
    shorten,
)
from torchair.backend_ge.load_nodes import (
    NodeLoader,
    class_of,
    location_of,
    set_value_name,
)
from torchair.errors import ArtifactError
from torchair.ir import interned
from torchair.ir.conversion import build_function, set_result_types
from torchair.ir.private import UNKNOWN_LOCATION, append_op
from torchair.ir.schema import REQUIRED_VALUE


def load(
    data: bytes | bytearray | memoryview | proto.ModelDef,
    name: str = "<bytes>",
    *,
    allow_unknown: bool = False,
) -> ModuleOp:
    """The ge module of a serialized or parsed model.

    Args:
        data: a ``ModelDef``; weights stay in it and are read when asked for.
        name: what to call it in messages, e.g. its path.
        allow_unknown: keep operators that the registry lacks as unregistered operations.

    Raises:
        ArtifactError: the data is not a well-formed GE graph.
    """
    try:
        model = data if isinstance(data, proto.ModelDef) else _parse(bytes(data))
        return _Loader(_only_graph(model), allow_unknown).run()
    except ArtifactError as error:
        raise ArtifactError(
            f"{name} is not a GE graph: {error.what}",
            expected=error.expected,
            found=error.found,
            op=error.op,
            loc=error.loc,
            hint=error.hint,
        ) from error


def _parse(data: bytes) -> proto.ModelDef:
    if not data:
        raise ArtifactError("it is empty")
    try:
        return proto.ModelDef.FromString(data)
    except DecodeError as error:
        raise ArtifactError(
            "it is not a protobuf ModelDef",
            found=shorten(str(error)),
            hint="the file may be truncated; write it again",
        ) from error


def _only_graph(model: proto.ModelDef) -> proto.GraphDef:
    if len(model.graph) != 1:
        raise ArtifactError(
            "it holds subgraphs, which are not supported" if model.graph else "it holds no graph",
            expected="one graph",
            found=len(model.graph),
        )
    return model.graph[0]


class _Loader:
    def __init__(self, graph: proto.GraphDef, allow_unknown: bool) -> None:
        self.graph = graph
        self.allow_unknown = allow_unknown
        self.described = self._module_attribute()
        self.is_foreign = self.described is None
        self.nodes = NodeLoader(is_foreign=self.is_foreign)
        self.block = Block()
        self.body: list[Operation] = []

    def run(self) -> ModuleOp:
        structure = read_structure(self.graph)
        if not self.allow_unknown:
            check_types(structure.body)
        function = self._function(structure)
        for node in structure.body:
            op = self.nodes.build(node)
            append_op(self.block, op)
            self.body.append(op)
        self._finish(structure, function)
        return ModuleOp([function])

    # ------------------------------------------------------------ the graph

    def _module_attribute(self) -> dict[str, Any] | None:
        """What ``emit`` wrote about the module, None for a graph of another writer."""
        if keys.MODULE not in self.graph.attr:
            return None
        text = text_of(self.graph.attr[keys.MODULE].s, keys.MODULE)
        found = keys.read_json(text, keys.MODULE)
        if not isinstance(found, dict):
            raise ArtifactError(f"'{keys.MODULE}' is not an object")
        described = cast("dict[str, Any]", found)
        if described.get("version") != FORMAT_VERSION:
            raise ArtifactError(
                "the graph was written in another version of the format",
                expected=FORMAT_VERSION,
                found=shorten(str(described.get("version"))),
                hint="emit it again",
            )
        return described

    def _function(self, structure: Structure) -> FuncOp:
        described = self.described or {}
        inputs = inputs_by_index(structure.inputs)
        types = [self._input_type(node) for node in inputs]
        entries = [self._input_attributes(node) for node in inputs]
        name = described.get("function", self.graph.name)
        if not isinstance(name, str):
            raise ArtifactError(f"'{keys.MODULE}' does not name the function")
        keys.check_text(name, keys.MODULE)
        function, self.block = build_function(
            name or "graph", types, [], [DictionaryAttr(entry) for entry in entries]
        )
        function.attributes.update(
            keys.dict_from_json(described.get("attributes", {}), keys.MODULE)
        )
        for node, argument in zip(inputs, self.block.args, strict=True):
            self.nodes.values[node, 0] = argument
            if node.op.output_desc:
                self.nodes.name_value(argument, node.op.output_desc[0])
        return function

    def _input_type(self, node: Node) -> Attribute:
        op = node.op
        if not op.output_desc and not op.input_desc:
            raise ArtifactError("a graph input has no descriptor", op=node.label())
        desc = op.output_desc[0] if op.output_desc else op.input_desc[0]
        return self.nodes.type_of(desc, node, unset_rank=0)

    def _input_attributes(self, node: Node) -> dict[str, Attribute]:
        op = node.op
        if not self.is_foreign and keys.ATTRIBUTES in op.attr:
            text = text_of(op.attr[keys.ATTRIBUTES].s, keys.ATTRIBUTES)
            return keys.dict_from_json(keys.read_json(text, keys.ATTRIBUTES), keys.ATTRIBUTES)
        desc = op.output_desc[0] if op.output_desc else op.input_desc[0]
        entries: dict[str, Attribute] = {
            "torchair.name": interned.string(op.name),
            "torchair.index": interned.integer(op.attr["index"].i),
            "torchair.placement": interned.string("CPU" if desc.device_type == "CPU" else "NPU"),
        }
        if op.type != "Data":
            entries["ge.type"] = interned.string(op.type)
        if desc.layout not in ("", "ND"):
            entries["ge.layout"] = interned.string(desc.layout)
        for key in sorted(op.attr):
            if key != "index":
                self.nodes.add_discardable(entries, key, op.attr[key], node)
        return entries

    def _finish(self, structure: Structure, function: FuncOp) -> None:
        values = [self.nodes.value(node, output) for node, output in structure.outputs]
        described = self.described or {}
        aliases = self._aliases(values)
        returned = described.get("outputs", len(values))
        if type(returned) is not int or not 0 <= returned <= len(values):
            raise ArtifactError(f"'{keys.MODULE}' counts more outputs than there are")
        end = structure.end
        cls = class_of("NetOutput")
        controls = [] if end is None else self.nodes.controls(end)
        location = UNKNOWN_LOCATION if end is None else self.nodes.location(end)
        attributes = {} if end is None else self.nodes.attributes(end, cls.spec)[1]
        kept = values[:returned]
        op = cls.build_call([kept], [], location, controls, attributes)
        append_op(self.block, op)
        self._restore_assigns(aliases, values)
        set_result_types(function, [value.type for value in kept])

    def _aliases(self, values: list[SSAValue]) -> list[tuple[int, int]]:
        """(output, input) pairs: outputs that are written to the memory of inputs."""
        if keys.REF_OUTPUTS not in self.graph.attr:
            return []
        flat = list(self.graph.attr[keys.REF_OUTPUTS].list.i)
        pairs = list(zip(flat[0::2], flat[1::2], strict=False))
        inputs = len(self.block.args)
        for output, index in pairs:
            if not (0 <= output < len(values) and 0 <= index < inputs):
                raise ArtifactError(
                    f"'{keys.REF_OUTPUTS}' names an output or input that does not exist",
                    found=(output, index),
                )
        if len(flat) % 2 or len({i for _, i in pairs}) != len(pairs):
            raise ArtifactError(f"'{keys.REF_OUTPUTS}' is not a list of distinct pairs")
        return pairs

    def _restore_assigns(self, aliases: list[tuple[int, int]], values: list[SSAValue]) -> None:
        """Put the assignments where they were: after what they need, else right before the end."""
        if not aliases:
            return
        end = self.block.last_op
        assert end is not None, "the NetOutput is there"
        position: dict[object, int] = {op: index for index, op in enumerate(self.body)}
        for number, (output, index) in enumerate(aliases):
            entry = self._described(number)
            op = self._assign(values[output], index, entry)
            users = [use.operation for use in self.block.args[index].uses]
            needed = [position.get(other, -1) for other in (values[output].owner, *users)]
            place = entry.get("place")
            if type(place) is not int or not max(needed) < place < len(self.body):
                self.block.insert_op_before(op, end)
            else:
                self.block.insert_op_before(op, self.body[place])

    def _assign(self, value: SSAValue, index: int, entry: dict[str, Any]) -> Operation:
        """The assignment to an input that ``emit`` turned into an output."""
        target = self.block.args[index]
        if interned.element_type(target.type) != interned.element_type(value.type):
            raise ArtifactError(
                f"'{keys.REF_OUTPUTS}' pairs an output and an input of different element types",
                expected=target.type,
                found=value.type,
            )
        result = target.type
        if entry.get("type"):
            result = keys.from_json({"type": entry["type"]}, keys.MODULE)
        if interned.element_type(result) != interned.element_type(target.type):
            raise ArtifactError(f"'{keys.MODULE}' describes an assignment of another type")
        cls = class_of("Assign")
        op = cls.build_call(
            [target, value, *[REQUIRED_VALUE] * len(cls.spec.attrs)],
            [result],
            location_of(entry.get("location", "")),
            attributes=keys.dict_from_json(entry.get("attributes", {}), keys.MODULE),
        )
        set_value_name(op.results[0], entry.get("name", ""))
        return op

    def _described(self, number: int) -> dict[str, Any]:
        """What ``emit`` wrote about an assignment: location, name, result type, attributes."""
        assigns = (self.described or {}).get("assigns", [])
        if not isinstance(assigns, list):
            raise ArtifactError(f"'{keys.MODULE}' does not list the assignments")
        entries = cast("list[Any]", assigns)
        entry: Any = entries[number] if number < len(entries) else {}
        if not isinstance(entry, dict):
            raise ArtifactError(f"'{keys.MODULE}' does not describe an assignment")
        found = cast("dict[str, Any]", entry)
        for key in ("location", "name"):
            if not isinstance(found.get(key, ""), str):
                raise ArtifactError(f"the {key} of an assignment is not text")
        return found
