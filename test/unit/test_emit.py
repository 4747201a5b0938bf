"""Emission to GE protobuf and loading back: conventions, mutation, constants, the identity."""

from __future__ import annotations

import pytest
from emit_graphs import (
    F32,
    MATRIX,
    Graph,
    assert_same,
    function_of,
    names,
    nodes_of,
    round_trip,
)
from xdsl.dialects.builtin import (
    ArrayAttr,
    DictionaryAttr,
    FloatAttr,
    ModuleOp,
    StringAttr,
)
from xdsl.ir import Attribute, Operation

from torchair.backend_ge import graph_attrs
from torchair.backend_ge.emit import NodeNames, emit
from torchair.dialects.ge import builder as ge
from torchair.errors import VerifyError
from torchair.ir import interned
from torchair.ir.call_verify import control_type
from torchair.ir.conversion import build_function
from torchair.ir.interned import DYNAMIC
from torchair.ir.location import file_location, named_location
from torchair.ir.private import append_op, create_op
from torchair.ir.weights import WeightAttr, WeightHandle

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
