"""Emission to GE protobuf and loading back: conventions, mutation, constants, the identity."""

from __future__ import annotations

import json
import os
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from xdsl.dialects.builtin import (
    ArrayAttr,
    DictionaryAttr,
    FloatAttr,
    IntegerAttr,
    ModuleOp,
    StringAttr,
    UnregisteredOp,
)
from xdsl.dialects.func import FuncOp
from xdsl.ir import Attribute, Operation, SSAValue

from torchair.backend_ge import graph_attrs, proto
from torchair.backend_ge.constants import PROTOBUF_LIMIT
from torchair.backend_ge.emit import NodeNames, emit, serialize
from torchair.backend_ge.graph_text import graph_text, read_graph_file, write_graph_file
from torchair.backend_ge.load import load
from torchair.dialects.ge import builder as ge
from torchair.errors import ArtifactError, VerifyError
from torchair.ir import element_types, interned
from torchair.ir.call_verify import control_type
from torchair.ir.conversion import build_function
from torchair.ir.interned import DYNAMIC
from torchair.ir.location import file_location, named_location
from torchair.ir.location import serialize as location_text
from torchair.ir.private import UNKNOWN_LOCATION, append_op, create_op
from torchair.ir.text import print_module
from torchair.ir.verify import verify_module
from torchair.ir.weights import WeightAttr, WeightHandle

F32 = interned.f32
MATRIX = interned.tensor([4, 4], F32)


class Graph:
    """A ge module under construction."""

    def __init__(self, *types: Attribute, **more: Attribute) -> None:
        names = [f"arg{i}" for i in range(len(types))] + list(more)
        entries = [
            DictionaryAttr(
                {
                    "torchair.name": StringAttr(name),
                    "torchair.kind": StringAttr("input"),
                    "torchair.index": interned.integer(2 * index),
                }
            )
            for index, name in enumerate(names)
        ]
        self.function, self.block = build_function("forward", [*types, *more.values()], [], entries)
        for name, argument in zip(names, self.block.args, strict=True):
            argument.name_hint = name
        self.builder = ge.GraphBuilder(self.block)

    @property
    def args(self) -> Sequence[SSAValue]:
        return self.block.args

    def call(self, name: str, *inputs: Any, out: Any = None, **named: Any) -> Any:
        with ge.building(self.builder):
            return ge.call(name, *inputs, out=out, **named)

    def append(
        self, name: str, values: Sequence[Any], types: Sequence[Attribute], **more: Any
    ) -> Any:
        return self.builder.append(name, values, types, **more)

    def finish(self, *outputs: SSAValue, controls: Sequence[SSAValue] = ()) -> ModuleOp:
        self.append("NetOutput", [list(outputs)], [], controls=controls)
        self.function.function_type = self.function.function_type.from_lists(
            [a.type for a in self.block.args], [v.type for v in outputs]
        )
        module = ModuleOp([self.function])
        verify_module(module)
        return module


def nodes_of(module: ModuleOp, **options: Any) -> dict[str, proto.OpDef]:
    return {node.name: node for node in emit(module, **options).graph[0].op}


def round_trip(module: ModuleOp, **options: Any) -> ModuleOp:
    loaded = load(serialize(emit(module, **options)))
    verify_module(loaded)
    return loaded


def function_of(module: ModuleOp) -> FuncOp:
    (function,) = module.ops
    assert isinstance(function, FuncOp)
    return function


def assert_same(left: ModuleOp, right: ModuleOp) -> None:
    """The modules are equal in structure, in what xDSL compares and in what it does not."""
    assert left.is_structurally_equivalent(right), f"{left}\n{right}"
    pairs = list(zip(left.walk(), right.walk(), strict=True))
    for one, other in pairs:
        assert location_text(one.location) == location_text(other.location)
        assert [r.name_hint for r in one.results] == [r.name_hint for r in other.results]
    one, other = function_of(left), function_of(right)
    assert one.arg_attrs == other.arg_attrs
    assert [a.name_hint for a in one.body.block.args] == [
        a.name_hint for a in other.body.block.args
    ]
    assert print_module(left) == print_module(right)


def names(node: proto.OpDef, key: str) -> list[str]:
    return [name.decode() for name in node.attr[key].list.s]


# ---------------------------------------------------------------- conventions


def test_a_graph_has_data_first_and_net_output_last() -> None:
    graph = Graph(MATRIX, MATRIX)
    module = graph.finish(graph.call("Add", *graph.args, out=MATRIX))
    model = emit(module, "net")
    assert model.name == model.graph[0].name == "net"
    assert [(n.name, n.type) for n in model.graph[0].op] == [
        ("arg0", "Data"),
        ("arg1", "Data"),
        ("Add", "Add"),
        ("NetOutput", "NetOutput"),
    ]
    data, _, add, end = model.graph[0].op
    assert data.attr["index"].i == 0
    assert [(d.name, list(d.shape.dim), d.layout, d.device_type) for d in data.input_desc] == [
        ("x", [4, 4], "ND", "NPU")
    ]
    assert [(d.name, list(d.shape.dim), d.device_type) for d in data.output_desc] == [
        ("y", [4, 4], "NPU")
    ]
    assert list(add.input) == ["arg0:0", "arg1:0"]
    assert names(add, "_input_name_key") == ["x1", "x2"]
    assert list(add.attr["_input_name_value"].list.i) == [0, 1]
    assert names(add, "_output_name_key") == ["y"]
    assert list(end.input) == ["Add:0"]
    assert [d.name for d in end.input_desc] == ["input0"]
    assert not end.output_desc


def test_graph_attributes() -> None:
    graph = Graph(MATRIX, interned.tensor([], interned.i64))
    entries = [dict(e.data) for e in function_of(ModuleOp([graph.function])).arg_attrs or ()]
    graph.function.detach()
    entries[1]["torchair.placement"] = StringAttr("CPU")
    graph.function.arg_attrs = ArrayAttr([DictionaryAttr(e) for e in entries])
    half = graph.call("Cast", graph.args[0], dst_type=1, out=interned.tensor([4, 4], interned.f16))
    attr = emit(graph.finish(half, graph.args[1])).graph[0].attr
    assert list(attr["_input_placements"].list.i) == [1, 0]
    assert list(attr["_output_dtypes"].list.i) == [1, 9]
    assert attr["_executor_type"].i == 1


def test_descriptors_use_proto_numbers_and_attributes_ge_numbers() -> None:
    graph = Graph(MATRIX)
    module = graph.finish(
        graph.call("Cast", graph.args[0], dst_type=12, out=interned.tensor([4, 4], interned.i1))
    )
    cast = nodes_of(module)["Cast"]
    assert cast.output_desc[0].dtype == 11
    assert cast.attr["dst_type"].i == 12


def test_unknown_sizes_and_ranks() -> None:
    ragged = interned.tensor([DYNAMIC, 4], F32, ["s0", "4"])
    graph = Graph(ragged)
    anything = graph.call("Abs", graph.args[0], out=interned.unranked(F32))
    scalar = graph.call("ReduceSum", anything, [0], out=interned.tensor([], F32))
    module = graph.finish(scalar)
    nodes = nodes_of(module)
    assert list(nodes["arg0"].output_desc[0].shape.dim) == [-1, 4]
    assert list(nodes["Abs"].output_desc[0].shape.dim) == [-2]
    assert nodes["ReduceSum"].output_desc[0].HasField("shape")
    assert list(nodes["ReduceSum"].output_desc[0].shape.dim) == []
    assert_same(round_trip(module), module)


def test_trailing_absent_inputs_are_left_out() -> None:
    graph = Graph(MATRIX, MATRIX)
    module = graph.finish(graph.call("MatMulV2", *graph.args, out=MATRIX))
    node = nodes_of(module)["MatMulV2"]
    assert list(node.input) == ["arg0:0", "arg1:0"]
    assert len(node.input_desc) == 2
    assert names(node, "_input_name_key") == ["x1", "x2"]


def test_an_absent_input_before_a_present_one_is_an_empty_slot() -> None:
    graph = Graph(interned.tensor([4, 4], interned.f16), interned.tensor([4, 4], interned.f16))
    offset = graph.append(
        "Const", [ge.dense([0], interned.i8, [])], [interned.tensor([], interned.i8)]
    )[0]
    out = interned.tensor([4, 4], interned.f16)
    module = graph.finish(graph.call("MatMulV2", *graph.args, None, offset, out=out))
    node = nodes_of(module)["MatMulV2"]
    assert list(node.input) == ["arg0:0", "arg1:0", "", "Const:0"]
    unfed = node.input_desc[2]
    assert (unfed.name, unfed.dtype, unfed.layout) == ("bias", 0, "")
    assert unfed.attr["_is_unfed_optional"].i == 1
    assert names(node, "_input_name_key") == ["x1", "x2", "bias", "offset_w"]
    assert_same(round_trip(module), module)


def test_dynamic_ports_are_numbered() -> None:
    graph = Graph(MATRIX, MATRIX)
    packed = graph.call("Pack", list(graph.args), axis=0, N=2, out=interned.tensor([2, 4, 4], F32))
    parts = graph.call("Split", 0, packed, num_split=2, out=[interned.tensor([1, 4, 4], F32)] * 2)
    module = graph.finish(*parts)
    nodes = nodes_of(module)
    assert [d.name for d in nodes["Pack"].input_desc] == ["x0", "x1"]
    assert [d.name for d in nodes["Split"].output_desc] == ["y0", "y1"]
    assert list(nodes["NetOutput"].input) == ["Split:0", "Split:1"]
    assert_same(round_trip(module), module)


def test_dynamic_port_names_that_are_prefixes_of_each_other() -> None:
    many = [MATRIX] * 10
    graph = Graph(*many, *many, *many, interned.tensor([10], F32))
    lists = [list(graph.args[i : i + 10]) for i in (0, 10, 20)]
    parts = graph.call("ForeachAddcdivList", *lists, graph.args[30], out=many)
    module = graph.finish(*parts)
    assert_same(round_trip(module), module)


def test_two_ports_that_would_share_a_name_are_refused() -> None:
    many = [MATRIX] * 11
    graph = Graph(*many, *many, *many, interned.tensor([11], F32))
    lists = [list(graph.args[i : i + 11]) for i in (0, 11, 22)]
    module = graph.finish(*graph.call("ForeachAddcdivList", *lists, graph.args[33], out=many))
    with pytest.raises(VerifyError, match="have one name"):
        emit(module)


def test_control_edges_come_last_and_have_no_descriptor() -> None:
    graph = Graph(MATRIX, MATRIX)
    left, control = graph.append("Abs", [graph.args[0]], [MATRIX, control_type])
    (right,) = graph.append("Add", [graph.args[0], graph.args[1]], [MATRIX], controls=[control])
    module = graph.finish(left, right, controls=[control])
    nodes = nodes_of(module)
    assert list(nodes["Add"].input) == ["arg0:0", "arg1:0", "Abs:-1"]
    assert len(nodes["Add"].input_desc) == 2
    assert list(nodes["NetOutput"].input) == ["Abs:0", "Add:0", "Abs:-1"]
    assert len(nodes["Abs"].output_desc) == 1
    assert_same(round_trip(module), module)


def test_an_unused_control_result_is_kept() -> None:
    graph = Graph(MATRIX)
    left, _ = graph.append("Abs", [graph.args[0]], [MATRIX, control_type])
    module = graph.finish(left)
    assert_same(round_trip(module), module)


@pytest.mark.parametrize(
    ("data_format", "layout"), [("NCHW", "NCHW"), ("NHWC", "NHWC"), (None, "NHWC")]
)
def test_data_format_is_the_layout_of_images(data_format: str | None, layout: str) -> None:
    image = interned.tensor([1, 8, 8, 8], F32)
    graph = Graph(image, image, interned.tensor([8], F32))
    named = {} if data_format is None else {"data_format": data_format}
    attributes = {"strides": [1, 1, 1, 1], "pads": [0, 0, 0, 0], **named}
    module = graph.finish(graph.call("Conv2D", *graph.args, out=image, **attributes))
    node = nodes_of(module)["Conv2D"]
    assert [d.layout for d in node.input_desc] == [layout, layout, "ND"]
    assert node.output_desc[0].layout == layout
    assert_same(round_trip(module), module)


def test_defaults_are_left_out_and_required_attributes_written() -> None:
    graph = Graph(MATRIX, MATRIX)
    product = graph.call("MatMulV2", *graph.args, transpose_x1=False, transpose_x2=True, out=MATRIX)
    module = graph.finish(graph.call("Cast", product, dst_type=0, out=MATRIX))
    nodes = nodes_of(module)
    assert nodes["MatMulV2"].attr["transpose_x2"].b is True
    assert "transpose_x1" not in nodes["MatMulV2"].attr
    assert nodes["Cast"].attr["dst_type"].WhichOneof("value") == "i"


def test_every_list_says_its_type() -> None:
    graph = Graph(MATRIX)
    module = graph.finish(graph.call("Abs", graph.args[0], out=MATRIX))
    graph.block.first_op.attributes["_labels"] = ArrayAttr([StringAttr("a")])  # pyright: ignore
    for node in nodes_of(module).values():
        for name, value in node.attr.items():
            if value.WhichOneof("value") == "list":
                assert value.list.val_type != 0, (node.name, name)


def test_locations_and_tensor_names() -> None:
    graph = Graph(MATRIX)
    graph.builder.location = named_location("relu-aten.relu", file_location("model.py", 7))
    value = graph.call("Relu", graph.args[0], out=MATRIX)
    value.name_hint = "relu"
    module = graph.finish(value)
    node = nodes_of(module)["Relu"]
    assert node.attr["_torchair_location"].s == b"relu-aten.relu|model.py:7"
    assert node.output_desc[0].attr["_fx_tensor_name"].s == b"relu-aten.relu.OUTPUT.0"
    assert_same(round_trip(module), module)


# ---------------------------------------------------------------- names and discardable attributes


def test_node_names_are_numbered_by_type_and_avoid_what_is_taken() -> None:
    graph = Graph(MATRIX, Add=MATRIX)
    value = graph.args[0]
    for name in (None, "Add_1", None, None):
        value = graph.call("Add", value, value, out=MATRIX)
        if name is not None:
            value.owner.attributes["ge.node_name"] = StringAttr(name)
    module = graph.finish(value)
    assert list(nodes_of(module)) == [
        "arg0", "Add", "Add_2", "Add_1", "Add_3", "Add_4", "NetOutput",
    ]  # fmt: skip
    assert_same(round_trip(module), module)


def test_taken_explicit_names_get_a_number() -> None:
    names = NodeNames()
    assert [names.reserve("a"), names.reserve("a"), names.reserve("a:b")] == ["a", "a_1", "a_b"]
    assert [names.numbered("a"), names.numbered("a")] == ["a_2", "a_3"]


SCOPES: dict[str, Attribute] = {
    "_user_stream_label": StringAttr("s1"),
    "_enable_inner_parallel": interned.true,
    "_count": interned.integer(-3),
    "_scale": interned.floating(0.1, single=True),
    "_exact": interned.floating(0.1),
    "_sizes": interned.int_list([1, 2]),
    "_empty_sizes": interned.int_list([]),
    "_names": ArrayAttr([StringAttr("a"), StringAttr("b")]),
    "_nothing": ArrayAttr([]),
    "_flags": ArrayAttr([interned.true, interned.false]),
    "_type": interned.bf16,
    "_types": ArrayAttr([interned.bf16, interned.i1]),
    "_rows": ArrayAttr([interned.int_list([1]), interned.int_list([])]),
    "_mixed": ArrayAttr([StringAttr("a"), interned.integer(1)]),
    "_unicode": StringAttr("h\u00e9"),
    "_unit": interned.unit,
    "_inf": interned.floating(float("-inf"), single=True),
    "stream": interned.integer(2),
    "nested": DictionaryAttr({"a": ArrayAttr([interned.none_type, interned.i32])}),
    "narrow": interned.canonical(graph_attrs.from_json({"int": ["int32", 7]}, "test")),
    "small": FloatAttr(0.5, interned.f16),
    "ge.attr.torchair_enable_data_dump": StringAttr("True"),
    "weight": WeightAttr(WeightHandle("w")),
    "shape": interned.tensor([DYNAMIC, 2], F32, ["s0", "2"]),
}


def test_discardable_attributes_come_back() -> None:
    graph = Graph(MATRIX)
    value = graph.call("Abs", graph.args[0], out=MATRIX)
    value.owner.attributes.update(SCOPES)
    module = graph.finish(value)
    loaded = round_trip(module)
    found = function_of(loaded).body.block.first_op
    assert found is not None
    assert found.attributes == SCOPES
    assert loaded.is_structurally_equivalent(module)


def test_underscore_attributes_are_node_attributes() -> None:
    graph = Graph(MATRIX)
    value = graph.call("Abs", graph.args[0], out=MATRIX)
    value.owner.attributes.update(SCOPES)
    attr = nodes_of(graph.finish(value))["Abs"].attr
    assert attr["_user_stream_label"].s == b"s1"
    assert attr["_enable_inner_parallel"].b is True
    assert attr["_count"].i == -3
    assert attr["_type"].dt == 27
    assert list(attr["_sizes"].list.i) == [1, 2]
    assert attr["torchair_enable_data_dump"].s == b"True"
    assert "stream" not in attr


@pytest.mark.parametrize("name", ["_input_name_key", "_torchair_location", "_readable_value"])
def test_discardable_attributes_cannot_take_reserved_names(name: str) -> None:
    graph = Graph(MATRIX)
    value = graph.call("Abs", graph.args[0], out=MATRIX)
    value.owner.attributes[name] = StringAttr("x")
    with pytest.raises(VerifyError, match="name of an attribute that emission writes"):
        emit(graph.finish(value))


def test_function_attributes_and_name_come_back() -> None:
    graph = Graph(MATRIX)
    graph.function.attributes["torchair.numerics"] = StringAttr("eager")
    module = graph.finish(graph.args[0])
    assert_same(round_trip(module), module)
    assert function_of(round_trip(module)).sym_name.data == "forward"


# ---------------------------------------------------------------- constants

CONSTANTS = [
    ([1.5, -2.0], interned.f32, [2], b"\0\0\xc0\x3f\0\0\0\xc0", "[1.5, -2.0]"),
    ([1, 0, 1], interned.i1, [3], b"\1\0\1", "[True, False, True]"),
    ([3], interned.i64, [], b"\3\0\0\0\0\0\0\0", "3"),
    ([1.0], interned.bf16, [1, 1], b"\x80\x3f", "[1.0]"),
    ([], interned.f32, [0], b"", None),
    ([1, -2, 3], element_types.from_name("int4"), [3], b"\xe1\3", "[1, -2, 3]"),
    ([255], interned.ui8, [1], b"\xff", "[255]"),
]


@pytest.mark.parametrize(("values", "element", "shape", "data", "text"), CONSTANTS)
def test_constants(
    values: list[Any], element: Attribute, shape: list[int], data: bytes, text: str | None
) -> None:
    graph = Graph()
    module = graph.finish(graph.builder.constant_attribute(ge.dense(values, element, shape)))
    node = nodes_of(module)["Const"]
    assert node.attr["value"].t.data == data
    assert list(node.attr["value"].t.desc.shape.dim) == shape
    assert node.attr["value"].t.desc.layout == "ND"
    assert (node.attr["_readable_value"].s.decode() or None) == text
    assert_same(round_trip(module), module)


def weight_graph(read: Callable[[], bytes] | None, shape: Sequence[int] = (2, 2)) -> ModuleOp:
    graph = Graph()
    type_ = interned.tensor(shape, F32)
    handle = WeightAttr(WeightHandle("layer.w", 16, read))
    return graph.finish(graph.append("Const", [handle], [type_])[0])


def handle_of(module: ModuleOp) -> WeightHandle:
    op = function_of(module).body.block.first_op
    assert op is not None
    value = op.properties["value"]
    assert isinstance(value, WeightAttr)
    return value.data


def test_weights_inline() -> None:
    data = bytes(range(16))
    module = weight_graph(lambda: data)
    assert nodes_of(module)["Const"].attr["value"].t.data == data
    loaded = round_trip(module)
    assert_same(loaded, module)
    handle = handle_of(loaded)
    assert handle.nbytes == 16
    assert handle.read is not None and handle.read() == data


def test_weights_in_files(tmp_path: Path) -> None:
    data = bytes(range(16))
    module = weight_graph(lambda: data)
    node = nodes_of(module, weights="external", directory=tmp_path)["FileConstant"]
    assert list(node.attr["shape"].list.i) == [2, 2]
    assert node.attr["dtype"].dt == 0
    path = Path(node.attr["file_path"].s.decode())
    assert path.parent == tmp_path and path.read_bytes() == data
    assert [p.name for p in tmp_path.iterdir()] == [path.name]
    loaded = round_trip(module, weights="external", directory=tmp_path)
    assert_same(loaded, module)
    handle = handle_of(loaded)
    assert handle.read is not None and handle.read() == data
    path.write_bytes(data[:8])
    with pytest.raises(ArtifactError, match="is not the weight that the graph names"):
        handle.read()
    emit(module, weights="external", directory=tmp_path)
    assert handle.read() == data


def test_external_weights_need_a_directory(tmp_path: Path) -> None:
    module = weight_graph(lambda: bytes(16))
    with pytest.raises(VerifyError, match="need a directory"):
        emit(module, weights="external")
    with pytest.raises(ArtifactError, match="cannot write"):
        emit(module, weights="external", directory=tmp_path / "absent")


@pytest.mark.parametrize(
    ("read", "message"),
    [(None, "'layer.w' are not available"), (lambda: b"abc", "another size than its type")],
)
def test_weights_that_cannot_be_written(read: Callable[[], bytes] | None, message: str) -> None:
    with pytest.raises(ArtifactError, match=message):
        emit(weight_graph(read))


def test_weights_over_the_protobuf_limit_are_refused_before_they_are_read() -> None:
    def read() -> bytes:
        raise AssertionError("a weight was read")

    module = weight_graph(read, shape=[1024, 1024, 513])
    with pytest.raises(ArtifactError) as caught:
        emit(module)
    text = str(caught.value)
    assert f"{1024 * 1024 * 513 * 4:,}" in text and "layer.w" in text
    assert f"{PROTOBUF_LIMIT:,}" in text and "FileConstant" in text


def test_serialize_measures_by_descriptors() -> None:
    model = proto.ModelDef(name="m")
    desc = model.graph.add().op.add(name="c", type="Const").attr["value"].t.desc
    desc.dtype = 1  # pyright: ignore[reportAttributeAccessIssue]
    desc.shape.dim.extend([1024, 1024, 512])
    with pytest.raises(ArtifactError, match="more than one protobuf message holds"):
        serialize(model)


def test_serialization_is_deterministic() -> None:
    graph = Graph(MATRIX)
    module = graph.finish(graph.call("Abs", graph.args[0], out=MATRIX))
    assert serialize(emit(module)) == serialize(emit(round_trip(module)))


# ---------------------------------------------------------------- mutation


def ref_outputs(graph: proto.GraphDef) -> list[int]:
    key = "_torchair_ref_outputs"
    return list(graph.attr[key].list.i) if key in graph.attr else []


def aliases(module: ModuleOp) -> list[int]:
    return ref_outputs(emit(module).graph[0])


def test_a_final_assign_becomes_an_output() -> None:
    graph = Graph(MATRIX, MATRIX)
    total = graph.call("Add", *graph.args, out=MATRIX)
    doubled = graph.call("Abs", total, out=MATRIX)
    graph.builder.location = named_location("copy_-aten.copy_", file_location("m.py", 3))
    graph.call("Assign", graph.args[1], total, out=MATRIX)
    graph.builder.location = UNKNOWN_LOCATION
    module = graph.finish(doubled)
    nodes = nodes_of(module)
    assert "Assign" not in nodes
    assert list(nodes["NetOutput"].input) == ["Abs:0", "Add:0"]
    assert aliases(module) == [1, 1]
    assert list(emit(module).graph[0].attr["_output_dtypes"].list.i) == [0, 0]
    assert_same(round_trip(module), module)


def test_an_assign_comes_back_where_it_was() -> None:
    graph = Graph(MATRIX, MATRIX)
    total = graph.call("Add", *graph.args, out=MATRIX)
    graph.call("Assign", graph.args[0], total, out=MATRIX)
    late = graph.call("Abs", total, out=MATRIX)
    module = graph.finish(graph.call("Neg", late, out=MATRIX))
    assert aliases(module) == [1, 0]
    assert_same(round_trip(module), module)


@pytest.mark.parametrize("place", [0, -1, 99, "x", None])
def test_an_assign_at_an_impossible_place_comes_last(place: object) -> None:
    graph = Graph(MATRIX, MATRIX)
    total = graph.call("Add", *graph.args, out=MATRIX)
    graph.call("Assign", graph.args[0], total, out=MATRIX)
    model = emit(graph.finish(graph.call("Abs", total, out=MATRIX)))
    described = json.loads(model.graph[0].attr["_torchair_module"].s)
    edit_module(model, "assigns", [{**described["assigns"][0], "place": place}])
    module = load(model)
    verify_module(module)
    assert ops_of(module) == ["ge.Add", "ge.Abs", "ge.Assign", "ge.NetOutput"]


def test_an_assigned_output_keeps_its_slot() -> None:
    graph = Graph(MATRIX, MATRIX)
    total = graph.call("Add", *graph.args, out=MATRIX)
    graph.call("Assign", graph.args[0], total, out=MATRIX)
    graph.call("Assign", graph.args[1], total, out=MATRIX)
    module = graph.finish(total)
    assert list(nodes_of(module)["NetOutput"].input) == ["Add:0", "Add:0"]
    assert aliases(module) == [0, 0, 1, 1]
    assert_same(round_trip(module), module)


def test_control_edges_of_net_output_stay_behind_added_outputs() -> None:
    graph = Graph(MATRIX, MATRIX)
    total, control = graph.append("Add", list(graph.args), [MATRIX, control_type])
    graph.call("Assign", graph.args[0], total, out=MATRIX)
    module = graph.finish(graph.args[1], controls=[control])
    assert list(nodes_of(module)["NetOutput"].input) == ["arg1:0", "Add:0", "Add:-1"]
    assert_same(round_trip(module), module)


def test_an_argument_read_after_its_assign_is_read_after_it() -> None:
    graph = Graph(MATRIX, MATRIX)
    before = graph.call("Abs", graph.args[0], out=MATRIX)
    graph.call("Assign", graph.args[0], graph.args[1], out=MATRIX)
    after = graph.call("Neg", graph.args[0], out=MATRIX)
    module = graph.finish(before, after)
    nodes = nodes_of(module)
    assert aliases(module) == []
    assert list(nodes["Assign"].input) == ["arg0:0", "arg1:0", "Abs:-1"]
    assert list(nodes["Neg"].input) == ["arg0:0", "Assign:-1"]
    assert_same(round_trip(module), module)


def test_a_returned_argument_is_returned_after_its_assign() -> None:
    graph = Graph(MATRIX, MATRIX)
    graph.call("Assign", graph.args[0], graph.args[1], out=MATRIX)
    module = graph.finish(graph.args[0])
    assert list(nodes_of(module)["NetOutput"].input) == ["arg0:0", "Assign:-1"]
    assert_same(round_trip(module), module)


def test_a_used_assign_stays() -> None:
    graph = Graph(MATRIX, MATRIX)
    result = graph.call("Assign", graph.args[0], graph.args[1], out=MATRIX)
    module = graph.finish(result)
    assert list(nodes_of(module)["NetOutput"].input) == ["Assign:0"]
    assert aliases(module) == []
    assert_same(round_trip(module), module)


def test_an_assign_that_overwrites_another_keeps_both_in_order() -> None:
    graph = Graph(MATRIX, MATRIX)
    graph.call("Assign", graph.args[0], graph.args[1], out=MATRIX)
    other = graph.call("Abs", graph.args[1], out=MATRIX)
    graph.call("Assign", graph.args[0], other, out=MATRIX)
    module = graph.finish(other)
    nodes = nodes_of(module)
    assert aliases(module) == []
    assert list(nodes["Assign_1"].input) == ["arg0:0", "Abs:0", "Assign:-1"]
    assert list(nodes["NetOutput"].input) == ["Abs:0", "Assign_1:-1"]
    assert_same(round_trip(module), module)


def test_swapping_two_arguments_stays_in_order() -> None:
    graph = Graph(MATRIX, MATRIX)
    saved = graph.call("TensorMove", graph.args[0], out=MATRIX)
    graph.call("Assign", graph.args[0], graph.args[1], out=MATRIX)
    graph.call("Assign", graph.args[1], saved, out=MATRIX)
    module = graph.finish(saved)
    nodes = nodes_of(module)
    assert list(nodes["Assign"].input) == ["arg0:0", "arg1:0", "TensorMove:-1"]
    assert list(nodes["NetOutput"].input)[:1] == ["TensorMove:0"]
    assert "Assign:-1" in nodes["NetOutput"].input
    assert_same(round_trip(module), module)


def test_an_assign_to_an_intermediate_stays() -> None:
    graph = Graph(MATRIX, MATRIX)
    copy = graph.call("TensorMove", graph.args[0], out=MATRIX)
    graph.call("Assign", copy, graph.args[1], out=MATRIX)
    module = graph.finish(copy)
    nodes = nodes_of(module)
    assert list(nodes["Assign"].input) == ["TensorMove:0", "arg1:0"]
    assert list(nodes["NetOutput"].input) == ["TensorMove:0", "Assign:-1"]
    assert_same(round_trip(module), module)


def test_an_in_place_operator_and_the_assign_of_its_result() -> None:
    updates = interned.tensor([1, 4], F32)
    graph = Graph(MATRIX, interned.tensor([1], interned.i64), updates)
    before = graph.call("Abs", graph.args[0], out=MATRIX)
    cache = graph.call("ScatterUpdate", *graph.args, out=MATRIX)
    graph.call("Assign", graph.args[0], cache, out=MATRIX)
    module = graph.finish(before)
    nodes = nodes_of(module)
    assert list(nodes["ScatterUpdate"].input)[-1] == "Abs:-1"
    assert list(nodes["NetOutput"].input) == ["Abs:0", "ScatterUpdate:0"]
    assert aliases(module) == [1, 0]
    assert_same(round_trip(module), module)


def test_folded_assigns_keep_their_attributes() -> None:
    graph = Graph(MATRIX, MATRIX)
    total = graph.call("Add", *graph.args, out=MATRIX)
    result = graph.call("Assign", graph.args[0], total, out=interned.unranked(F32))
    result.name_hint = "copied"
    result.owner.attributes.update({"_user_stream_label": StringAttr("s"), "n": interned.unit})
    module = graph.finish(total)
    assert_same(round_trip(module), module)


Step = tuple[str, int, int]
STEPS = st.tuples(
    st.sampled_from(["Add", "Neg", "TensorMove", "Assign", "Assign", "InplaceUpdate"]),
    st.integers(0, 50),
    st.integers(0, 50),
)
ROW = interned.tensor([1], interned.i32)


def build_program(
    steps: list[Step], finals: list[tuple[int, int]], returned: list[int]
) -> ModuleOp:
    """A graph of reads and writes of two arguments and of what is computed from them.

    Args:
        steps: operators and their operands, as places in the list of values.
        finals: arguments and the values that they are assigned in the end.
        returned: values that the graph returns.
    """
    graph = Graph(MATRIX, MATRIX, ROW)
    values: list[SSAValue] = list(graph.args[:2])
    for name, left, right in steps:
        x, y = values[left % len(values)], values[right % len(values)]
        if name == "InplaceUpdate":
            values.append(graph.call("ScatterUpdate", x, graph.args[2], y, out=MATRIX))
        elif name in ("Add", "Assign"):
            values.append(graph.call(name, x, y, out=MATRIX))
        else:
            values.append(graph.call(name, x, out=MATRIX))
    for argument, index in finals:
        graph.call("Assign", values[argument], values[index % len(values)], out=MATRIX)
    return graph.finish(*[values[index % len(values)] for index in returned])


def compute(name: str, number: int, cells: list[list[int]]) -> list[int]:
    """Result memory of an operator; values are integers, so that every mix-up shows."""
    if name == "Assign":
        cells[0][0] = cells[1][0]
        return cells[0]
    if name == "ScatterUpdate":
        cells[0][0] += 31 * cells[2][0] + number
        return cells[0]
    return [sum(cell[0] * (5 + i) for i, cell in enumerate(cells)) + number]


def run_in_block_order(module: ModuleOp) -> list[int]:
    """Outputs, then what the arguments hold, when operations run one after the other."""
    block = function_of(module).body.block
    cells: dict[SSAValue, list[int]] = {a: [100 + 7 * i] for i, a in enumerate(block.args)}
    for op in block.ops:
        held = [cells[v] for v in op.operands]
        if op.name == "ge.NetOutput":
            return [*[c[0] for c in held], *[cells[a][0] for a in block.args]]
        identity = op.attributes["_id"]
        assert isinstance(identity, IntegerAttr)
        cells[op.results[0]] = compute(op.name[3:], identity.value.data, held)
    raise AssertionError("no NetOutput")


def run_in_some_order(graph: proto.GraphDef, rng: random.Random) -> list[int]:
    """The same for the emitted graph, in a random order that its edges allow."""
    cells: dict[str, list[int]] = {}
    inputs: list[list[int]] = []
    done: set[str] = set()
    waiting = list(graph.op)
    outputs: list[list[int]] = []
    while waiting:
        ready = [n for n in waiting if {i.rpartition(":")[0] for i in n.input} <= done]
        node = rng.choice(ready)
        waiting.remove(node)
        done.add(node.name)
        held = [cells[i] for i in node.input if not i.endswith(":-1")]
        if node.type == "Data":
            inputs.append([100 + 7 * node.attr["index"].i])
            cells[f"{node.name}:0"] = inputs[-1]
        elif node.type == "NetOutput":
            outputs = [list(cell) for cell in held]
        else:
            cells[f"{node.name}:0"] = compute(node.type, node.attr["_id"].i, held)
    order = {n.name: n.attr["index"].i for n in graph.op if n.type == "Data"}
    final = [cells[f"{name}:0"] for name in sorted(order, key=order.__getitem__)]
    flat = ref_outputs(graph)
    for output, index in zip(flat[0::2], flat[1::2], strict=True):
        final[index][0] = outputs[output][0]
    returned = json.loads(graph.attr["_torchair_module"].s)["outputs"]
    return [*[o[0] for o in outputs[:returned]], *[cell[0] for cell in final]]


@settings(max_examples=150)
@given(
    st.lists(STEPS, max_size=14),
    st.lists(st.tuples(st.integers(0, 1), st.integers(0, 50)), max_size=2),
    st.lists(st.integers(0, 20), min_size=1, max_size=3),
    st.integers(0, 10**6),
)
def test_any_order_that_the_edges_allow_gives_the_result_of_the_block(
    steps: list[Step], finals: list[tuple[int, int]], returned: list[int], seed: int
) -> None:
    module = build_program(steps, finals, returned)
    for number, op in enumerate(function_of(module).body.block.ops):
        op.attributes["_id"] = interned.integer(number)
    expected = run_in_block_order(module)
    model = emit(module)
    rng = random.Random(seed)
    for _ in range(3):
        assert run_in_some_order(model.graph[0], rng) == expected
    loaded = round_trip(module)
    assert run_in_block_order(loaded) == expected
    assert serialize(emit(loaded)) == serialize(model)


# ---------------------------------------------------------------- what cannot be emitted


def test_a_module_needs_one_function() -> None:
    with pytest.raises(VerifyError, match="has one function"):
        emit(ModuleOp([]))


def test_a_graph_needs_a_net_output() -> None:
    function, _ = build_function("f", [MATRIX], [])
    with pytest.raises(VerifyError, match=r"ends with ge\.NetOutput"):
        emit(ModuleOp([function]))


class Foreign(Operation):
    """An operation of no dialect."""

    name = "test.foreign"


def test_other_operations_are_refused_with_their_source() -> None:
    graph = Graph(MATRIX)
    location = named_location("x-aten.foo", file_location("model.py", 12))
    append_op(graph.block, create_op(Foreign, [], [], {}, location))
    graph.append("NetOutput", [[graph.args[0]]], [])
    with pytest.raises(VerifyError) as caught:
        emit(ModuleOp([graph.function]))
    assert "not a GE operation" in str(caught.value)
    assert "model.py:12" in str(caught.value)


def test_data_in_the_body_is_refused() -> None:
    graph = Graph(MATRIX)
    extra = graph.append("Data", [None, 0], [MATRIX])[0]
    with pytest.raises(VerifyError, match="argument of the function"):
        emit(graph.finish(extra))


# ---------------------------------------------------------------- graphs of other writers


def foreign(text_edit: Callable[[proto.GraphDef], None]) -> ModuleOp:
    """The module of an emitted graph after all traces of our own writer are removed."""
    graph = Graph(MATRIX, MATRIX)
    product = graph.call("MatMulV2", *graph.args, transpose_x2=True, out=MATRIX)
    model = emit(graph.finish(graph.call("Add", product, graph.args[0], out=MATRIX)))
    proto_graph = model.graph[0]
    del proto_graph.attr[graph_attrs.MODULE]
    for node in proto_graph.op:
        for key in list(node.attr):
            if key.startswith("_torchair"):
                del node.attr[key]
    text_edit(proto_graph)
    loaded = load(model)
    verify_module(loaded)
    return loaded


def ops_of(module: ModuleOp) -> list[str]:
    return [op.name for op in function_of(module).body.block.ops]


def test_nodes_in_any_order() -> None:
    def reverse(graph: proto.GraphDef) -> None:
        nodes = list(graph.op)[::-1]
        del graph.op[:]
        graph.op.extend(nodes)

    module = foreign(reverse)
    assert ops_of(module) == ["ge.MatMulV2", "ge.Add", "ge.NetOutput"]
    entries = [entry.data["torchair.name"] for entry in function_of(module).arg_attrs or ()]
    assert entries == [StringAttr("arg0"), StringAttr("arg1")]


def test_port_names_are_optional() -> None:
    def strip(graph: proto.GraphDef) -> None:
        for node in graph.op:
            for key in ("_input_name_key", "_input_name_value", "_output_name_key"):
                node.attr.pop(key, None)
            for desc in (*node.input_desc, *node.output_desc):
                desc.name = ""

    assert ops_of(foreign(strip)) == ["ge.MatMulV2", "ge.Add", "ge.NetOutput"]


def test_permuted_port_names_are_followed() -> None:
    def swap(graph: proto.GraphDef) -> None:
        names = graph.op[2].attr["_input_name_key"].list.s
        names[0], names[1] = names[1], names[0]

    function = function_of(foreign(swap))
    first = function.body.block.first_op
    assert first is not None
    assert list(first.operands) == [function.body.block.args[1], function.body.block.args[0]]


def test_written_defaults_are_dropped_and_names_kept() -> None:
    def edit(graph: proto.GraphDef) -> None:
        graph.op[2].attr["transpose_x1"].b = False
        graph.op[2].attr["_super_kernel_scope"].s = b"sp"
        graph.op[2].attr["_ir_attr_names"].list.s.append(b"x")
        graph.op[2].name = "mm/1"
        graph.op[3].input[0] = "mm/1:0"

    op = function_of(foreign(edit)).body.block.first_op
    assert op is not None
    assert set(op.properties) - {"operandSegmentSizes"} == {"transpose_x2"}
    assert op.attributes == {
        "_super_kernel_scope": StringAttr("sp"),
        "ge.node_name": StringAttr("mm/1"),
    }


def test_ref_data_keeps_its_kind() -> None:
    def edit(graph: proto.GraphDef) -> None:
        graph.op[1].type = "RefData"
        graph.op[1].attr["_origin_data_name"].s = b"cache"
        graph.op[1].output_desc[0].layout = "FRACTAL_NZ"

    module = foreign(edit)
    entry = (function_of(module).arg_attrs or ArrayAttr([])).data[1].data
    assert entry["ge.type"] == StringAttr("RefData")
    node = nodes_of(module)["arg1"]
    assert node.type == "RefData"
    assert node.attr["_origin_data_name"].s == b"cache"
    assert node.output_desc[0].layout == "FRACTAL_NZ"


def test_undefined_and_impossible_element_types_are_inferred() -> None:
    def edit(graph: proto.GraphDef) -> None:
        graph.op[2].output_desc[0].dtype = 0  # pyright: ignore[reportAttributeAccessIssue]
        graph.op[2].output_desc[0].ClearField("shape")
        graph.op[3].output_desc[0].dtype = 23  # pyright: ignore[reportAttributeAccessIssue]

    ops = list(function_of(foreign(edit)).body.block.ops)
    assert [op.results[0].type for op in ops[:2]] == [interned.unranked(F32), MATRIX]


def test_constant_nodes_and_listed_outputs() -> None:
    graph = Graph()
    model = emit(graph.finish(graph.builder.constant([1.0, 2.0], F32)))
    del model.graph[0].attr[graph_attrs.MODULE]
    model.graph[0].op[0].type = "Constant"
    del model.graph[0].op[1]
    model.graph[0].output.append("Const:0")
    module = load(model)
    verify_module(module)
    assert ops_of(module) == ["ge.Const", "ge.NetOutput"]


def test_large_constants_of_other_writers_are_weights() -> None:
    graph = Graph()
    model = emit(graph.finish(graph.builder.constant([0.5] * 300, F32)))
    del model.graph[0].attr[graph_attrs.MODULE]
    module = load(serialize(model))
    assert handle_of(module).key == "Const"
    assert (
        nodes_of(module)["Const"].attr["value"].t.data == model.graph[0].op[0].attr["value"].t.data
    )


def test_the_tensor_names_of_other_writers_become_locations() -> None:
    def edit(graph: proto.GraphDef) -> None:
        graph.op[2].output_desc[0].attr["_fx_tensor_name"].s = b"mm-aten.mm.default.OUTPUT.0"

    op = function_of(foreign(edit)).body.block.first_op
    assert op is not None
    assert location_text(op.location) == "mm-aten.mm.default|"


def test_control_edges_from_inputs_are_dropped() -> None:
    def edit(graph: proto.GraphDef) -> None:
        graph.op[3].input.append("arg1:-1")
        graph.op[3].input.append("MatMulV2:-1")

    ops = list(function_of(foreign(edit)).body.block.ops)
    assert [v.type for v in ops[1].operands] == [MATRIX, MATRIX, control_type]


def test_unknown_operators_are_listed_with_similar_names() -> None:
    with pytest.raises(ArtifactError) as caught:
        foreign(lambda graph: setattr(graph.op[2], "type", "MatmulV2"))
    assert "'MatmulV2' at 'MatMulV2'" in str(caught.value)
    assert "did you mean MatMulV2 for MatmulV2" in str(caught.value)


def test_unknown_operators_can_be_kept() -> None:
    graph = Graph(MATRIX, MATRIX)
    value, control = graph.append("Add", list(graph.args), [MATRIX, control_type])
    model = emit(graph.finish(value, controls=[control]))
    node = model.graph[0].op[2]
    node.type = "MyOwnAdd"
    node.attr["mode"].s = b"fast"
    node.attr["_scope"].i = 3
    module = load(model, allow_unknown=True)
    verify_module(module)
    op = function_of(module).body.block.first_op
    assert isinstance(op, UnregisteredOp)
    assert op.op_name.data == "ge.MyOwnAdd"
    again = emit(module)
    assert again.graph[0].op[2].type == "MyOwnAdd"
    assert again.graph[0].op[2].attr["mode"].s == b"fast"
    assert serialize(emit(load(again, allow_unknown=True))) == serialize(again)


# ---------------------------------------------------------------- damaged graphs


def damage(edit: Callable[[proto.ModelDef], object]) -> str:
    """Message of the error that loading an edited graph raises."""
    graph = Graph(MATRIX, MATRIX)
    total = graph.call("Add", *graph.args, out=MATRIX)
    scaled = graph.call("Mul", total, 2.0, out=MATRIX)
    graph.call("Assign", graph.args[0], scaled, out=MATRIX)
    model = emit(graph.finish(total))
    edit(model)
    with pytest.raises(ArtifactError) as caught:
        load(model.SerializeToString(), "model.pb")
    assert str(caught.value).startswith("model.pb is not a GE graph: ")
    return str(caught.value)


def node(model: proto.ModelDef, name: str) -> proto.OpDef:
    return next(op for op in model.graph[0].op if op.name == name)


def value_of(model: proto.ModelDef) -> proto.TensorDef:
    return node(model, "Const").attr["value"].t


def input_list(model: proto.ModelDef, which: str) -> proto.AttrDef.ListValue:
    return node(model, "Add").attr[f"_input_name_{which}"].list


def set_item(items: Any, value: object) -> None:
    items[0] = value


def set_json(model: proto.ModelDef, text: bytes) -> None:
    node(model, "Add").attr["_torchair_attributes"].s = text


DAMAGE: list[tuple[str, Callable[[proto.ModelDef], object]]] = [
    ("no graph", lambda m: m.graph.pop()),
    ("subgraphs", lambda m: m.graph.add(name="branch")),
    ("control flow", lambda m: node(m, "Add").subgraph_name.append("branch")),
    ("same name", lambda m: setattr(node(m, "Mul"), "name", "Add")),
    ("does not exist", lambda m: node(m, "Add").input.append("nobody:0")),
    ("does not have", lambda m: set_item(node(m, "Mul").input, "Add:1")),
    ("does not have", lambda m: set_item(node(m, "Mul").input, "Add:99999999999")),
    ("does not have", lambda m: set_item(node(m, "Mul").input, "Add:-2")),
    ("does not say which output", lambda m: set_item(node(m, "Mul").input, "Add")),
    ("not connected", lambda m: set_item(node(m, "Mul").input, "")),
    ("more inputs than input descriptors", lambda m: node(m, "Mul").input.append("Add:0")),
    ("has a cycle", lambda m: node(m, "Add").input.append("Mul:-1")),
    ("neither a NetOutput", lambda m: setattr(node(m, "NetOutput"), "type", "Identity")),
    ("input from NetOutput", lambda m: node(m, "Add").input.append("NetOutput:-1")),
    ("no integer 'index'", lambda m: node(m, "arg0").attr.pop("index")),
    ("negative index", lambda m: setattr(node(m, "arg0").attr["index"], "i", -1)),
    ("same index", lambda m: setattr(node(m, "arg0").attr["index"], "i", 1)),
    ("no descriptor", lambda m: (node(m, "arg0").ClearField("input_desc"),
                                 node(m, "Add").ClearField("input"),
                                 node(m, "arg0").ClearField("output_desc"))),
    ("has no value", lambda m: node(m, "Const").attr.pop("value")),
    ("other bytes than its type", lambda m: setattr(value_of(m), "data", b"1")),
    ("other bytes", lambda m: value_of(m).desc.shape.dim.extend([2**62, 2**62])),
    ("dimension of size -3", lambda m: node(m, "arg0").output_desc[0].shape.dim.append(-3)),
    ("33 dimensions", lambda m: node(m, "Add").output_desc[0].shape.dim.extend([1] * 31)),
    ("unknown data type", lambda m: setattr(node(m, "Add").output_desc[0], "dtype", 99)),
    ("more control edges", lambda m: setattr(node(m, "Add").attr["_torchair_order_edges"], "i", 4)),
    ("another number of outputs", lambda m: node(m, "Add").output_desc.add()),
    ("does not have", lambda m: node(m, "Add").output_desc.pop()),
    ("lists an input without", lambda m: set_item(input_list(m, "value").i, 7)),
    ("have one name", lambda m: set_item(input_list(m, "key").s, b"x2")),
    ("does not have", lambda m: set_item(input_list(m, "key").s, b"zz")),
    ("not UTF-8", lambda m: setattr(node(m, "Add").attr["_scope"], "s", b"\xff")),
    ("holds a Graph", lambda m: node(m, "Add").attr["_sub"].g.SetInParent()),
    ("is not JSON", lambda m: set_json(m, b"{")),
    ("is not JSON", lambda m: set_json(m, b"[" * 100_000)),
    ("describe an attribute", lambda m: set_json(m, b'{"a":{"int":["int8",300]}}')),
    ("another version", lambda m: edit_module(m, "version", 9)),
    ("distinct pairs", lambda m: m.graph[0].attr["_torchair_ref_outputs"].list.i.append(0)),
    ("does not exist", lambda m: set_item(m.graph[0].attr["_torchair_ref_outputs"].list.i, 9)),
    ("outputs than there are", lambda m: edit_module(m, "outputs", 7)),
]  # fmt: skip


def edit_module(model: proto.ModelDef, key: str, value: object) -> None:
    attr = model.graph[0].attr["_torchair_module"]
    attr.s = json.dumps({**json.loads(attr.s), key: value}).encode()


@pytest.mark.parametrize(("message", "edit"), DAMAGE)
def test_damage_is_named(message: str, edit: Callable[[proto.ModelDef], object]) -> None:
    assert message in damage(edit)


def test_wrong_attribute_types_are_named() -> None:
    def edit(graph: proto.GraphDef) -> None:
        graph.op[2].attr["transpose_x2"].i = 1

    with pytest.raises(ArtifactError, match="'transpose_x2' has the wrong type") as caught:
        foreign(edit)
    assert "expected: Bool" in str(caught.value) and "found:    Int" in str(caught.value)


@pytest.mark.parametrize("data", [b"", b"\x08", b"\0" * 100, bytes(range(256))])
def test_other_bytes_are_not_a_graph(data: bytes) -> None:
    with pytest.raises(ArtifactError):
        load(data)


# ---------------------------------------------------------------- graph files


def sample_model() -> proto.ModelDef:
    graph = Graph(MATRIX)
    graph.builder.location = named_location("h\u00e9-aten.mul", file_location("m.py", 1))
    value = graph.call("Mul", graph.args[0], float("inf"), out=MATRIX)
    value.owner.attributes["_scale"] = interned.floating(0.1, single=True)
    return emit(graph.finish(value))


@pytest.mark.parametrize("suffix", ["pb", "air", "pbtxt", "txt", "PBTXT"])
def test_graph_files_read_back(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"graph.{suffix}"
    write_graph_file(sample_model(), path)
    assert read_graph_file(path) == sample_model()
    assert [p.name for p in tmp_path.iterdir()] == [path.name]
    assert path.stat().st_mode & 0o600 == 0o600


@pytest.mark.parametrize("suffix", ["pb", "txt"])
def test_bare_graphs_are_models_of_their_name(suffix: str, tmp_path: Path) -> None:
    graph = sample_model().graph[0]
    path = tmp_path / f"graph.{suffix}"
    data = graph_text(graph).encode() if suffix == "txt" else graph.SerializeToString()
    path.write_bytes(data)
    assert read_graph_file(path) == sample_model()


def test_text_is_deterministic() -> None:
    assert graph_text(sample_model()) == graph_text(sample_model())


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("g.pbtxt", b'node {\n name: "a"\n op: "Add"\n}\n', "TensorFlow-like dump"),
        ("g.txt", b"\xff\xfe", "is not text"),
        ("g.txt", b'name: "m"', "holds no graph"),
        ("g.txt", b"graph { op { nmae: 1 } }", "not the protobuf text"),
        ("g.pb", b"", "neither a GE ModelDef nor a GraphDef"),
        ("g.pb", b"graph {}", "neither a GE ModelDef nor a GraphDef"),
        ("g.onnx", b"", "no suffix of a graph file"),
    ],
)
def test_files_that_are_no_graphs(name: str, data: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(data)
    with pytest.raises(ArtifactError, match=message):
        read_graph_file(path)


def test_missing_and_irregular_files(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="cannot be read"):
        read_graph_file(tmp_path / "absent.pb")
    (tmp_path / "folder.pb").mkdir()
    with pytest.raises(ArtifactError, match=r"cannot be read|not a regular file"):
        read_graph_file(tmp_path / "folder.pb")
    os.mkfifo(tmp_path / "pipe.pb")
    with pytest.raises(ArtifactError, match="not a regular file"):
        read_graph_file(tmp_path / "pipe.pb")
    with pytest.raises(ArtifactError, match="cannot write"):
        write_graph_file(sample_model(), tmp_path / "absent" / "graph.pb")
