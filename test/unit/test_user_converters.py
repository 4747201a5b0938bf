"""The public converter API: what a user's converter gets, builds and returns, and its errors."""

from __future__ import annotations

import importlib
import json
import math
import operator
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from family_check import build, check
from torch._dynamo.exc import BackendCompilerFailed
from xdsl.ir import Block

import torchair
from torchair import ge
from torchair._ge_concrete_graph import ge_apis
from torchair._ge_concrete_graph.fx2ge_converter import declare_supported
from torchair._ge_concrete_graph.supported_declaration import BF16, BOOL, F32, I32, Support, T
from torchair._ge_concrete_graph.utils import dtype_promote
from torchair.dialects.ge import builder
from torchair.dialects.ge.builder import GraphBuilder
from torchair.errors import ArtifactError, ConfigError, ConversionError
from torchair.frontend import converter_cases, user_converters
from torchair.ge._ge_graph import TensorType, auto_convert_to_tensor, torch_dtype_value_to_ge_type
from torchair.ir import interned
from torchair.ir.values import decode
from torchair.ir.verify import verify_module
from torchair.passes.convert_aten_to_ge import registry
from torchair.tools import converter_test
from torchair.tools.case_text import parse_case

LIBRARY = torch.library.Library("unit_uc", "DEF")


def define(schema: str, function: Any, meta: Any = None) -> Any:
    """A custom torch operator of this module's namespace."""
    LIBRARY.define(schema)
    name = schema.partition("(")[0]
    LIBRARY.impl(name, function, "CPU")
    torch.library.register_fake(f"unit_uc::{name}", meta or function, lib=LIBRARY)
    return getattr(torch.ops.unit_uc, name).default


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


# ---------------------------------------------------------------- what a converter gets


def test_arguments_arrive_as_torch_passes_them() -> None:
    op = define(
        "args(Tensor x, int k=2, *, ScalarType? dtype=None, float[] f=[1.0, 2.0], str mode='a') "
        "-> Tensor",
        lambda x, k=2, dtype=None, f=None, mode="a": x * k,
    )
    seen: list[Any] = []

    @torchair.register_fx_node_ge_converter(op)
    def args(x: Any, k: int = 2, *, dtype: Any = None, f: Any = (1.0,), mode: str = "a") -> Any:
        seen.append((k, dtype, f, mode))
        return ge_apis.Mul(x, k)

    check(lambda x: op(x), torch.randn(3))
    check(lambda x: op(x, 5, dtype=torch.float16, f=[3.0], mode="b"), torch.randn(3))
    assert seen == [(2, None, (1.0,), "a"), (5, torch.float16, [3.0], "b")]


def test_optional_tensors_and_lists_arrive_as_none_and_lists() -> None:
    op = define(
        "lists(Tensor x, Tensor? bias, Tensor[] more) -> Tensor",
        lambda x, bias, more: x + more[0] + more[1],
    )
    seen: list[Any] = []

    @torchair.register_fx_node_ge_converter(op)
    def lists(x: Any, bias: Any, more: Any) -> Any:
        seen.append((bias, len(more)))
        assert all(isinstance(v, ge.Tensor) for v in more)
        return ge_apis.Add(ge_apis.Add(x, more[0]), more[1])

    check(lambda x, y: op(x, None, [y, y]), torch.randn(3), torch.randn(3))
    assert seen == [(None, 2)]


def test_symbolic_sizes_arrive_as_tensors() -> None:
    op = define(
        "resize(Tensor x, SymInt[] size, SymInt n) -> Tensor",
        lambda x, size, n: x.reshape(size) + n,
    )
    seen: list[Any] = []

    @torchair.register_fx_node_ge_converter(op)
    def resize(x: Any, size: Any, n: Any) -> Any:
        seen.append((type(size), type(n)))
        y = ge_apis.Reshape(x, size)
        return ge_apis.Add(y, ge_apis.Cast(n, dst_type=x.dtype) if isinstance(n, ge.Tensor) else n)

    check(lambda x: op(x, [x.shape[1], x.shape[0]], x.shape[0]), torch.randn(3, 5), dynamic=True)
    check(lambda x: op(x, [x.shape[1], x.shape[0]], x.shape[0]), torch.randn(3, 5))
    assert seen == [(ge.Tensor, ge.Tensor), (list, int)]


def test_meta_outputs_describe_the_results() -> None:
    op = define(
        "several(Tensor x) -> (Tensor, Tensor[])",
        lambda x: (x + 1, [x.half(), x.double()]),
    )
    seen: list[Any] = []

    @torchair.register_fx_node_ge_converter(op)
    def several(x: Any, meta_outputs: Any = None) -> Any:
        first, rest = meta_outputs
        seen.append([(s.dtype, s.size, s.rank) for s in [first, *rest]])
        return ge_apis.Add(x, 1.0), [ge.Cast(x, dst_type=spec.dtype) for spec in rest]

    assert several.require_meta
    check(lambda x: (op(x)[0], *op(x)[1]), torch.randn(2, 3))
    assert seen[0] == [(0, [2, 3], 2), (1, [2, 3], 2), (11, [2, 3], 2)]


def test_dynamic_sizes_have_symbols_and_no_size() -> None:
    op = define("dyn(Tensor x) -> Tensor", lambda x: x + 1)
    seen: list[Any] = []

    @torchair.register_fx_node_ge_converter(op)
    def dyn(x: Any, *, meta_outputs: ge.TensorSpec) -> Any:
        seen.append((x.rank, x.symsize[1], isinstance(x.symsize[0], str), meta_outputs.rank))
        with pytest.raises(AssertionError, match="symbolic"):
            print(meta_outputs.size)
        return ge_apis.Add(x, 1)

    def function(x: torch.Tensor) -> torch.Tensor:
        return op(x)

    x = torch.randn(5, 3)
    torch._dynamo.mark_dynamic(x, 0)
    compiled, graphs = build(function, dynamic=None)  # type: ignore[arg-type]
    torch.testing.assert_close(compiled(x), x + 1)
    assert graphs and seen == [(2, 3, True, 2)]


def test_a_user_converter_replaces_the_built_in_one() -> None:
    name = "aten.relu"
    built_in = registry.converters()[name]
    try:

        @torchair.register_fx_node_ge_converter(torch.ops.aten.relu.default)
        def relu(x: Any) -> Any:
            return ge_apis.Maximum(x, 0.0)

        (graph,) = check(torch.relu, torch.randn(4))
        assert graph.node_types == ["Const", "Maximum"]
        assert relu.name == name
    finally:
        registry.add(built_in)
    (graph,) = check(torch.relu, torch.randn(4))
    assert graph.node_types == ["Relu"]


def test_python_functions_on_sizes_can_have_converters() -> None:
    name = "sym.floordiv"
    built_in = registry.converters()[name]
    calls: list[Any] = []
    try:

        @torchair.register_fx_node_ge_converter(operator.floordiv)
        def floordiv(a: Any, b: Any, meta_outputs: Any = None) -> Any:
            calls.append((type(a), b))
            b = ge.Const(b) if isinstance(b, int) else b
            return ge_apis.FloorDiv(a, b)

        check(lambda x: x + x.shape[0] // 2, torch.randn(7), dynamic=True)
    finally:
        registry.add(built_in)
    assert calls == [(ge.Tensor, 2)]


def test_converters_call_converters_and_stack() -> None:
    one = define("stack_one(Tensor x) -> Tensor", lambda x: x + 1)
    two = define("stack_two(Tensor x) -> Tensor", lambda x: x + 1)
    three = define("stack_three(Tensor x) -> Tensor", lambda x: x + 2)

    @torchair.register_fx_node_ge_converter(one)
    @torchair.register_fx_node_ge_converter(two)
    def both(x: Any) -> Any:
        return ge_apis.Add(x, 1.0)

    @torchair.register_fx_node_ge_converter(three)
    def twice(x: Any) -> Any:
        return both(both(x))

    check(lambda x: (one(x), two(x), three(x)), torch.tensor([1.0, 2.0]))


def test_registration_for_none_changes_nothing_and_for_others_is_refused() -> None:
    def function() -> None: ...

    assert torchair.register_fx_node_ge_converter(None)(function) is function
    with pytest.raises(TypeError, match=r"several overloads.*torch\.ops\.aten\.add\.Tensor"):
        torchair.register_fx_node_ge_converter(torch.ops.aten.add)
    with pytest.raises(TypeError, match="cannot be registered"):
        torchair.register_fx_node_ge_converter("aten.add")
    packet = define("packet(Tensor x) -> Tensor", lambda x: x + 1)
    torchair.register_fx_node_ge_converter(packet.overloadpacket)(lambda x: ge_apis.Add(x, 1.0))
    check(lambda x: packet(x), torch.randn(2))


# ---------------------------------------------------------------- errors of converters


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (lambda x: ge_apis.NoSuchOperator(x), "GE has no operator 'NoSuchOperator'"),
        (lambda x: [], "returned 0 values"),
        (lambda x: ge.Cast(x, dst_type=ge.DataType.DT_INT32), "another dtype than the operator"),
        (lambda x: {}["missing"], r"raised KeyError \(.*test_user_converters.py:\d+\): 'missing'"),
        (lambda x: ge.custom_op("UnitNobody", inputs={"x": x}, outputs=["y"]), "define_operator"),
        (lambda x: "text", "no constant form"),
        (lambda: None, "raised TypeError"),
    ],
)
def test_failures_name_the_operator_and_the_converter(body: Any, message: str) -> None:
    op = getattr(torch.ops.unit_uc, "failing", None)
    name = "unit_uc::failing"
    op = (
        op.default
        if torch._C._dispatch_has_kernel(name)
        else define("failing(Tensor x) -> Tensor", lambda x: x + 1)
    )
    torchair.register_fx_node_ge_converter(op)(body)
    compiled, _ = build(lambda x: op(x))
    with pytest.raises(BackendCompilerFailed, match=message) as caught:
        compiled(torch.randn(2))
    inner = caught.value.inner_exception
    assert isinstance(inner, ConversionError)
    assert "unit_uc.failing" in str(inner)
    assert str(inner).splitlines()[-1].startswith("Try: ")


# ---------------------------------------------------------------- constants and casts


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


# ---------------------------------------------------------------- builders


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


# ---------------------------------------------------------------- custom_op


ge.define_operator(
    """UnitMixed(x: float16|float32 as T, bias?: float16|float32 as T, more*: float16|float32 as T)
       -> (y: float16|float32 as T, z*: any, n: int32)
       {axis: Int, scale: Float = 1.0, kind: Type = float32, name: String = "a", dims: ListInt = []
       }"""
)


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


ge.define_operator("UnitPair(a: any as T, b?: any as T) -> (c: any as T) {k: Int = 1, d: Int = 0}")


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


# ---------------------------------------------------------------- operators of users


def test_definitions_are_checked() -> None:
    ge.define_operator("UnitOnce(x: any as T) -> (y: any as T)")
    ge.define_operator("UnitOnce(x: any as T)\n   -> (y: any as T)")
    with pytest.raises(ConfigError, match="another signature"):
        ge.define_operator("UnitOnce(x: any as T) -> (y: any as T) {k: Int = 0}")
    ge.define_operator("UnitOnce(x: any as T) -> (y: any as T) {k: Int = 0}", replace=True)
    assert "k" in builder.op_class("UnitOnce").spec.attrs
    for text in ("UnitBad", "UnitBad(x) -> (y)", "UnitBad(x: float99) -> (y: any)", ""):
        with pytest.raises(ArtifactError, match="definition of a GE operator") as caught:
            ge.define_operator(text)
        assert "Try: " in str(caught.value)


def test_kernels_of_users_win() -> None:
    ge.define_operator("UnitTwice(x: any as T) -> (y: any as T)")
    op = define("twice(Tensor x) -> Tensor", lambda x: x * 2)
    torchair.register_fx_node_ge_converter(op)(lambda x: ge.custom_op("UnitTwice", x))
    ge.register_host_kernel("UnitTwice")(lambda x: x * 3)
    ge.register_host_kernel("UnitTwice")(lambda x: x * 2)
    check(lambda x: op(x), torch.randn(3))


# ---------------------------------------------------------------- converters nobody wrote


def test_a_matching_operator_needs_no_converter() -> None:
    op = define(
        "unit_auto_functional(Tensor x, Tensor? y=None, int[] from=[1], *, ScalarType d=float) "
        "-> Tensor",
        lambda x, y=None, k=(1,), *, d=None: x * sum(k),
    )
    ge.define_operator(
        "UnitAuto(a: any as T, b?: any as T) -> (c: any as T) {k: ListInt = [1], d: Type = int8}"
    )

    @ge.register_host_kernel("UnitAuto")
    def unit_auto(a: torch.Tensor, b: Any, k: list[int], d: Any) -> torch.Tensor:
        assert b is None and d is torch.float16
        return a * sum(k)

    (graph,) = check(lambda x: op(x, None, [2, 3], d=torch.float16), torch.randn(3))
    assert graph.node_types == ["UnitAuto"]


def test_an_in_place_operator_gets_a_copy() -> None:
    op = define("unit_auto_ref(Tensor x, Tensor y) -> Tensor", lambda x, y: x + y)
    ge.define_operator("UnitAutoRef(x: any as T, y: any as T) -> (x: any as T)")
    ge.register_host_kernel("UnitAutoRef")(lambda x, y: x + y)
    (graph,) = check(lambda x, y: op(x, y), torch.randn(3), torch.randn(3))
    assert graph.node_types == ["TensorMove", "UnitAutoRef"]


@pytest.mark.parametrize(
    ("schema", "ge_text", "problem"),
    [
        (
            "unit_m_a(Tensor x, Scalar s) -> Tensor",
            "UnitMA(x: any) -> (y: any) {s: Float}",
            "Scalar",
        ),
        (
            "unit_m_b(Tensor x, Tensor z) -> Tensor",
            "UnitMB(x: any) -> (y: any)",
            "2 tensor arguments",
        ),
        ("unit_m_c(Tensor x, int k) -> Tensor", "UnitMC(x: any) -> (y: any)", "1 other arguments"),
        ("unit_m_d(Tensor x) -> Tensor", "UnitMD(x: any) -> (y: any, z: any)", "1 results for 2"),
        ("unit_m_e(Tensor x) -> Tensor", "UnitME(x: any) -> (y*: any)", "a dynamic output"),
    ],
)
def test_a_signature_that_does_not_match_is_explained(
    schema: str, ge_text: str, problem: str
) -> None:
    op = define(schema, lambda x, *rest: x + 1)
    ge.define_operator(ge_text)
    parameters = schema.count(",")
    value: list[Any] = [torch.randn(2) if "Tensor z" in schema else 2] * parameters
    compiled, _ = build(lambda x: op(x, *value))
    with pytest.raises(BackendCompilerFailed, match=problem):
        compiled(torch.randn(2))


# ---------------------------------------------------------------- declared cases


def test_cases_are_declared_and_run(capsys: pytest.CaptureFixture[str]) -> None:
    op = define("cased(Tensor x, float f=1.0) -> Tensor", lambda x, f=1.0: x * f)

    @declare_supported(
        [Support(F32(2, 2)), Support(BF16(3), 2.0), Support(I32(2, value_range=(0, 9)))]
    )
    @torchair.register_fx_node_ge_converter(op)
    def cased(x: Any, f: float = 1.0, *, meta_outputs: Any = None) -> Any:
        if f == 2.0:
            return x  # wrong: the case that multiplies fails
        return dtype_promote(x, target_dtype=meta_outputs.dtype)

    assert [repr(c) for c in cased.supported_cases][1] == "Support(bfloat16(3), 2.0)"
    assert converter_test.main(["unit_uc.cased", "--verbose"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[:3]] == ["passed", "failed", "passed"]
    assert "not close" in lines[1]
    assert lines[3] == "2 passed, 1 failed, 0 skipped"


def test_case_files_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "cases.json"
    cases = {
        "aten.add.Tensor": ["Support(F32(2, 2), F16(2, 1), alpha=2)", "Support(I8(3), 2)"],
        "aten.div.Tensor": ["Support(T([4, -6], dtype=torch.int32), T(2, dtype=torch.int64))"],
        "aten.index_select.default": ["Support(F32(3, 4), 1, I32(2, value_range=(0, 4)))"],
        "aten.bernoulli.default": ["Support(F32(4, 16, value_range=(0, 1)))"],
        "aten.no_such_op.default": ["Support(F32(2))"],
        "aten.fill.Tensor": ["Support(F32(2), F32(2))"],
        "math.floor": ["Support(32.5)"],
    }
    path.write_text(json.dumps(cases))
    assert converter_test.main(["--cases", str(path), "--largest", "100"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "5 passed, 0 failed, 3 skipped"
    path.write_text('{"aten.add.Tensor": ["__import__(\'os\').getcwd()"]}')
    assert converter_test.main(["--cases", str(path)]) == 2
    assert "not a declared call" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (
            "Support(F16(2, 2), [1, -1], dtype=torch.float16)",
            "Support(float16(2, 2), [1, -1], dtype=torch.float16)",
        ),
        ("Support(BOOL(4 * 2), float('inf'), None)", "Support(bool(8), inf, None)"),
        (
            "Support(T(np.arange(3).astype(np.int32), dtype=torch.int32))",
            "Support(T([0 1 2], dtype=int32))",
        ),
        ("Support(U8([2, 3]), (True, 'x'))", "Support(uint8(2, 3), (True, 'x'))"),
    ],
)
def test_case_texts(text: str, shown: str) -> None:
    assert repr(parse_case(text)) == shown


@pytest.mark.parametrize(
    "text",
    ["F32(2)", "Support(", "open('x')", "Support(torch.save)", "Support(np.load('x'))",
     "Support(x)", "Support(F32.mro())", "Support(F32(2, value_range=(1,)))",
     "Support([i for i in 'a'])"],
)  # fmt: skip
def test_other_texts_are_refused(text: str) -> None:
    with pytest.raises(ArtifactError, match="not a declared call"):
        parse_case(text)


def test_declared_tensors_have_the_values_and_ranges_asked_for() -> None:
    made = converter_cases.make_tensor(I32(50, value_range=(3, 5)))
    assert made.dtype is torch.int32 and set(made.tolist()) <= {3, 4}
    assert converter_cases.make_tensor(T([1, 0], dtype=torch.bool)).tolist() == [True, False]
    assert converter_cases.make_tensor(BOOL(3)).dtype is torch.bool
    spread = converter_cases.make_tensor(F32(100, value_range=(2, 3)))
    assert spread.min() >= 2 and spread.max() <= 3
    assert F32(2).dtype is torch.float32


# ---------------------------------------------------------------- import paths


@pytest.mark.parametrize(
    ("module", "names"),
    [
        ("torchair._ge_concrete_graph.ge_apis", "Add Cast Const Reshape"),
        (
            "torchair._ge_concrete_graph.fx2ge_converter",
            "declare_supported register_fx_node_ge_converter",
        ),
        ("torchair._ge_concrete_graph.utils", "dtype_promote"),
        (
            "torchair._ge_concrete_graph.supported_declaration",
            "_TypedTensor F32 F16 F64 BF16 I64 I32 I16 I8 U8 BOOL Support T",
        ),
        ("torchair.ge", "attr custom_op Tensor TensorSpec DataType Format Const Cast Clone"),
        (
            "torchair.ge._ge_graph",
            "Tensor TensorSpec TensorType DataType auto_convert_to_tensor "
            "torch_dtype_value_to_ge_type",
        ),
        ("torchair.ge_concrete_graph.ge_graph", "mark_static"),
        ("torchair.core.utils", "logger"),
        ("torchair.ge_concrete_graph.ge_converter.experimental.patch_for_hcom_allreduce", ""),
        ("torchair._contrib.custom_torch_ops", ""),
    ],
)
def test_import_paths_of_existing_programs_resolve(module: str, names: str) -> None:
    found = importlib.import_module(module)
    assert [name for name in names.split() if not hasattr(found, name)] == []


def test_the_logger_and_the_decorator_are_public() -> None:
    assert torchair.logger.name == "torchair"
    assert torchair.register_fx_node_ge_converter is user_converters.register_fx_node_ge_converter
    assert math.isclose(ge.DataType.DT_MAX, 42)
