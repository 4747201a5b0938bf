"""Graphs of other writers: nodes in any order, other names, unknown operators."""

from __future__ import annotations

import pytest
from emit_graphs import (
    F32,
    MATRIX,
    Graph,
    foreign,
    function_of,
    handle_of,
    nodes_of,
    ops_of,
)
from xdsl.dialects.builtin import (
    ArrayAttr,
    StringAttr,
    UnregisteredOp,
)

from torchair.backend_ge import graph_attrs, proto
from torchair.backend_ge.emit import emit, serialize
from torchair.backend_ge.load import load
from torchair.errors import ArtifactError
from torchair.ir import interned
from torchair.ir.call_verify import control_type
from torchair.ir.location import serialize as location_text
from torchair.ir.verify import verify_module


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
