"""torchair.ge: constants, casts, builders of GE operators and custom_op."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from family_check import build, check
from user_operators import define
from xdsl.ir import Block

import torchair
from torchair import ge
from torchair._ge_concrete_graph import ge_apis
from torchair._ge_concrete_graph.utils import dtype_promote
from torchair.dialects.ge import builder
from torchair.dialects.ge.builder import GraphBuilder
from torchair.ge._ge_graph import TensorType, auto_convert_to_tensor, torch_dtype_value_to_ge_type
from torchair.ir import interned
from torchair.ir.values import decode
from torchair.ir.verify import verify_module


@pytest.fixture
def graph() -> Iterator[GraphBuilder]:
    """A graph under construction with inputs of float32 [2, 3], float16 [?, 4] and int32 [2]."""
    types = [
        interned.tensor([2, 3], interned.f32),
        interned.tensor([interned.DYNAMIC, 4], interned.f16, ["s0", "4"]),
        interned.tensor([2], interned.i32),
    ]
    made = GraphBuilder(Block(arg_types=types))
    with builder.building(made):
        yield made


@pytest.fixture
def inputs(graph: GraphBuilder) -> list[ge.Tensor]:
    return [ge.Tensor(argument) for argument in graph.block.args]


def operations(graph: GraphBuilder) -> list[str]:
    return [op.name.removeprefix("ge.") for op in graph.block.ops]


def constant(tensor: ge.Tensor) -> Any:
    """Values of a constant."""
    return list(tensor.node.operation.properties["value"].get_values())  # type: ignore


@pytest.mark.parametrize(
    ("value", "dtype", "symbol", "values", "sizes"),
    [
        (1.5, None, "DT_FLOAT", [1.5], []),
        (3, None, "DT_INT64", [3], []),
        (True, None, "DT_BOOL", [-1], []),
        ([], None, "DT_INT32", [], [0]),
        ([1, 2], None, "DT_INT64", [1, 2], [2]),
        ([[1.0, 2.0]], None, "DT_FLOAT", [1.0, 2.0], [1, 2]),
        (2, ge.DataType.DT_FLOAT16, "DT_FLOAT16", [2.0], []),
        (2, torch.bfloat16, "DT_BF16", [2.0], []),
        (np.array([1, 2], np.int8), None, "DT_INT8", [1, 2], [2]),
        (np.float64(2.0), None, "DT_DOUBLE", [2.0], []),
        (np.arange(300), None, "DT_INT64", list(range(300)), [300]),
        (torch.tensor([1.5, -1.0], dtype=torch.bfloat16), None, "DT_BF16", [1.5, -1.0], [2]),
        (torch.tensor([True, False]), None, "DT_BOOL", [-1, 0], [2]),
        (torch.tensor(2.0), ge.DataType.DT_INT32, "DT_INT32", [2], []),
    ],
)
def test_constants(
    graph: GraphBuilder, value: Any, dtype: Any, symbol: str, values: list[Any], sizes: list[int]
) -> None:
    made = ge.Const(value, dtype)
    assert made.dtype == getattr(ge.DataType, symbol)
    assert constant(made) == values
    assert made.symsize == sizes


def test_large_and_complex_constants_run() -> None:
    op = define("table(Tensor x) -> Tensor", lambda x: x + torch.arange(1000.0))
    turn = define("turn(Tensor x) -> Tensor", lambda x: x + torch.tensor([1 + 2j, 3 - 1j]))
    torchair.register_fx_node_ge_converter(op)(
        lambda x: ge_apis.Add(x, ge.Const(np.arange(1000.0), x.dtype))
    )
    torchair.register_fx_node_ge_converter(turn)(
        lambda x: ge_apis.Add(x, ge.Const([1 + 2j, 3 - 1j]))
    )
    check(lambda x: op(x), torch.randn(1000))
    check(lambda x: turn(x), torch.randn(2, dtype=torch.complex64))


def test_equal_constants_are_one_node_unless_they_have_names(graph: GraphBuilder) -> None:
    assert ge.Const(2.0) == ge.Const(2.0)
    named = ge.Const(2.0, node_name="two")
    assert named != ge.Const(2.0)
    assert (named.node.name, named.tensor, named.controller) == ("two", "two:0", "two:-1")
    assert operations(graph) == ["Const", "Const"]


def test_constants_refuse_tensors_of_the_graph_and_other_things(inputs: list[ge.Tensor]) -> None:
    with pytest.raises(ValueError, match="not a constant"):
        ge.Const(inputs[0])
    with pytest.raises(ValueError, match="no constant form"):
        ge.Const("text")
    with pytest.raises(ValueError, match="unequal lengths"):
        ge.Const([[1], [1, 2]])
    with pytest.raises(RuntimeError, match="not the number of a GE data type"):
        ge.Const(1, 12345)


def test_cast_and_clone(graph: GraphBuilder, inputs: list[ge.Tensor]) -> None:
    x = inputs[0]
    assert ge.Cast(x, dst_type=ge.DataType.DT_FLOAT) == x
    assert ge.Cast(x, dst_type=torch.float16).dtype == ge.DataType.DT_FLOAT16
    assert ge.Cast(1.5, dst_type=ge.DataType.DT_INT32).dtype == ge.DataType.DT_INT32
    assert ge.Clone(x).node.type == "TensorMove"
    with pytest.raises(TypeError, match="must be tensors"):
        ge.Clone(1.0)  # type: ignore[arg-type]
    assert operations(graph) == ["Cast", "Const", "Cast", "TensorMove"]


def test_dtype_promote(graph: GraphBuilder, inputs: list[ge.Tensor]) -> None:
    x, h, _ = inputs
    a, b, c = dtype_promote(x, h, 2, target_dtype=torch.float16)
    assert {v.dtype for v in (a, b, c)} == {ge.DataType.DT_FLOAT16}
    assert b == h
    assert dtype_promote(x, target_dtype=ge.DataType.DT_FLOAT) == x
    with pytest.raises(ValueError, match="needs tensors"):
        dtype_promote(target_dtype=0)
    with pytest.raises(ValueError, match="needs tensors"):
        dtype_promote(None, target_dtype=0)


def test_torch_types_have_numbers() -> None:
    assert torch_dtype_value_to_ge_type(torch.float16) == ge.DataType.DT_FLOAT16 == 1
    assert torch_dtype_value_to_ge_type(torch.bool) == 12
    with pytest.raises(RuntimeError, match="no data type"):
        torch_dtype_value_to_ge_type(torch.quint2x4)
    assert ge.Format.FRACTAL_NZ.value == 29


def test_builders_promote_numbers_by_the_tensors_beside_them(
    graph: GraphBuilder, inputs: list[ge.Tensor]
) -> None:
    x, h, i = inputs
    assert ge_apis.Add(h, 2).dtype == h.dtype
    assert ge_apis.Mul(h, 0.5).dtype == h.dtype
    assert ge_apis.Add(i, 2).dtype == i.dtype
    types = [op.results[0].type.element_type for op in graph.block.ops]  # type: ignore
    assert types == [
        interned.f16,
        interned.f16,
        interned.f16,
        interned.f16,
        interned.i32,
        interned.i32,
    ]
    ge_apis.Reshape(x, [3, 2])
    assert operations(graph)[-2:] == ["Const", "Reshape"]


def test_builders_take_attributes_names_and_dynamic_outputs(
    graph: GraphBuilder, inputs: list[ge.Tensor]
) -> None:
    x = inputs[0]
    parts = ge_apis.SplitD(x, split_dim=1, num_split=3)
    assert len(parts) == 3
    assert len(ge_apis._SplitD(x, split_dim=1, num_split=3, size_of_y=3)) == 3
    values, indices = ge_apis.TopKV2(x, ge.Const(2, ge.DataType.DT_INT32), sorted=True)
    assert (values.dtype, indices.dtype, indices.index) == (0, ge.DataType.DT_INT32, 1)
    named = ge_apis.Relu(x, node_name="my_relu")
    assert named.tensor == "my_relu:0"
    with pytest.raises(TypeError, match="attributes are named"):
        ge_apis.Relu(x, x)
    with pytest.raises(TypeError, match="no input or attribute 'alpha'"):
        ge_apis.Relu(x, alpha=1)
    with pytest.raises(TypeError, match="takes a list"):
        ge_apis.Pack(x, N=1)
    with pytest.raises(AttributeError, match="similar"):
        print(ge_apis.Reluu)
    assert "Relu" in dir(ge_apis)


def test_unknown_ranks_are_errors(inputs: list[ge.Tensor]) -> None:
    y = ge_apis.Relu(inputs[0])
    with pytest.raises(AssertionError, match="unknown rank"):
        print(y.rank)
    assert inputs[1].symsize == ["s0", 4]


def test_dependencies_become_control_edges() -> None:
    op = define("ordered(Tensor x) -> Tensor", lambda x: x.exp() + x)

    @torchair.register_fx_node_ge_converter(op)
    def ordered(x: Any) -> Any:
        first = ge_apis.Exp(x, node_name="first")
        second = ge_apis.Relu(x, dependencies=[first, x])
        third = ge.Clone(x, dependencies=[first])
        assert second.node.operation.operands[-1] is third.node.operation.operands[-1]
        return ge_apis.Add(first, third)

    compiled, graphs = build(lambda x: op(x))
    x = torch.randn(4)
    torch.testing.assert_close(compiled(x), x.exp() + x)
    verify_module(graphs[0].module)
    assert "after" in str(graphs[0].module)


def test_auto_convert_to_tensor(inputs: list[ge.Tensor]) -> None:
    @auto_convert_to_tensor(
        [False, False, True],
        [False, True, False],
        inputs_tensor_type=[TensorType.TT_ALL, TensorType.TT_INDEX_NUMBER, TensorType.TT_ALL],
    )
    def make(x: Any, index: Any, more: Any, *, flag: bool = False) -> Any:
        return x, index, more, flag

    x, index, more, flag = make(inputs[0], 3, [inputs[1]], flag=True)
    assert (x, index.dtype, more, flag) == (inputs[0], ge.DataType.DT_INT64, [inputs[1]], True)
    assert make(2.0, None, [])[0].dtype == ge.DataType.DT_FLOAT
    with pytest.raises(TypeError, match="'x' is required"):
        make(None, None, [])
    with pytest.raises(TypeError, match="takes a list"):
        make(1.0, None, inputs[0])


@pytest.mark.parametrize("bias", [False, True])
def test_custom_op_by_name(graph: GraphBuilder, inputs: list[ge.Tensor], bias: bool) -> None:
    x = inputs[0]
    y, z, n = ge.custom_op(
        "UnitMixed",
        inputs={"x": x, "bias": x if bias else None, "more": [x, x]},
        attrs={
            "axis": ge.attr.Int(3),
            "scale": ge.attr.Float(0.5),
            "kind": ge.attr.DataType(ge.DataType.DT_FLOAT16),
            "dims": ge.attr.ListInt([1, 2]),
            "name": None,
            "_note": ge.attr.Str("hello"),
        },
        outputs=["y", ("z", 2), "n"],
        node_name="mixed",
    )
    assert (y.dtype, len(z), n.dtype) == (0, 2, ge.DataType.DT_INT32)
    op: Any = y.node.operation
    op.verify_()
    assert op.argument("axis") == 3
    assert op.argument("kind") == interned.f16
    assert op.argument("name") == "a"
    assert decode(op.attributes["ge.attr._note"]) == "hello"
    assert y.node.name == "mixed"
    assert len(op.operands) == 3 + bias


def test_custom_op_by_position(graph: GraphBuilder, inputs: list[ge.Tensor]) -> None:
    x = inputs[0]
    made = ge.custom_op("UnitPair", x, None, 7, torch.float16)
    op: Any = made.node.operation
    assert (op.argument("k"), op.argument("d"), len(op.operands)) == (7, 1, 1)
    op = ge.custom_op("UnitPair", x, x, None, None).node.operation
    assert (op.argument("k"), op.argument("d"), len(op.operands)) == (1, 0, 2)
    with pytest.raises(IndexError, match=r"expected: 4: a, b, k, d"):
        ge.custom_op("UnitPair", x, None, 7)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"inputs": {"a": 1.0}}, "takes a tensor of the graph"),
        ({"inputs": {}}, "takes a tensor of the graph"),
        ({"inputs": {"a": "x", "z": "x"}}, "no input 'z'"),
        ({"inputs": {"a": "x"}, "outputs": ["w"]}, "no output 'w'"),
        ({"inputs": {"a": "x"}, "outputs": [3]}, "an output is a name"),
        ({"inputs": {"a": "x"}, "attrs": {"k": 3}}, "has no type"),
        ({"inputs": {"a": "x"}, "attrs": {"k": "Float"}}, "another type"),
        ({"inputs": {"a": "x"}, "attrs": {"other": "Float"}}, "no attribute 'other'"),
    ],
)
def test_custom_op_refuses_what_the_operator_does_not_have(
    inputs: list[ge.Tensor], arguments: dict[str, Any], message: str
) -> None:
    given = {
        key: {
            k: inputs[0] if v == "x" else ge.attr.Float(1.0) if v == "Float" else v
            for k, v in d.items()
        }
        if isinstance(d, dict)
        else d
        for key, d in arguments.items()
    }
    with pytest.raises(TypeError, match=message):
        ge.custom_op("UnitPair", **{"outputs": ["c"], **given})


def test_an_unknown_operator_comes_with_its_definition(inputs: list[ge.Tensor]) -> None:
    with pytest.raises(RuntimeError) as caught:
        ge.custom_op(
            "UnitUnknown",
            inputs={"x": inputs[0], "b": None, "l": [inputs[0]]},
            attrs={"k": ge.attr.Int(1), "names": ge.attr.ListStr(["a"])},
            outputs=["y", ("z", 2)],
        )
    line = str(caught.value).splitlines()[-1]
    wanted = (
        "UnitUnknown(x: any, b?: any, l*: any) -> (y: any, z*: any) {k: Int, names: ListString}"
    )
    assert wanted in line
    ge.define_operator(wanted)
    assert builder.lookup_op("UnitUnknown") is not None


def test_an_operator_without_outputs_returns_none(inputs: list[ge.Tensor]) -> None:
    ge.define_operator("UnitSink(x: any) -> ()")
    assert ge.custom_op("UnitSink", inputs={"x": inputs[0]}) is None


@pytest.mark.parametrize(
    ("make", "value"),
    [
        (lambda: ge.attr.Int(1.5), "int"),
        (lambda: ge.attr.Int(True), "int"),
        (lambda: ge.attr.Bool("x"), "bool"),
        (lambda: ge.attr.ListInt(3), "takes a list"),
        (lambda: ge.attr.ListListFloat([1.0]), "takes a list"),
        (lambda: ge.attr.Str(None), "needs a value"),
    ],
)
def test_attributes_check_their_values(make: Any, value: str) -> None:
    with pytest.raises(TypeError, match=value):
        make()


def test_attributes_hold_plain_values() -> None:
    assert ge.attr.Int(np.int64(3)).value == 3
    assert ge.attr.Float(2).value == 2.0
    assert ge.attr.Str(b"abc").value == "abc"
    assert ge.attr.DataType(torch.int8).value == ge.DataType.DT_INT8
    assert ge.attr.ListDataType([torch.bool, 0]).value == [12, 0]
    assert ge.attr.ListListInt([(1, 2), [3]]).value == [[1, 2], [3]]
