"""Assignments to arguments: outputs that reuse an input's memory, in the order of the block."""

from __future__ import annotations

import json
import random

import pytest
from emit_graphs import (
    F32,
    MATRIX,
    Graph,
    assert_same,
    edit_module,
    function_of,
    nodes_of,
    ops_of,
    round_trip,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from xdsl.dialects.builtin import (
    IntegerAttr,
    ModuleOp,
    StringAttr,
)
from xdsl.ir import SSAValue

from torchair.backend_ge import proto
from torchair.backend_ge.emit import emit, serialize
from torchair.backend_ge.load import load
from torchair.ir import interned
from torchair.ir.call_verify import control_type
from torchair.ir.location import file_location, named_location
from torchair.ir.private import UNKNOWN_LOCATION
from torchair.ir.verify import verify_module


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
