"""The public converter API: what a user's converter gets, builds and returns, and its errors."""

from __future__ import annotations

import operator
from typing import Any

import pytest
import torch
from family_check import build, check
from torch._dynamo.exc import BackendCompilerFailed
from user_operators import define

import torchair
from torchair import ge
from torchair._ge_concrete_graph import ge_apis
from torchair.dialects.ge import builder
from torchair.errors import ArtifactError, ConfigError, ConversionError
from torchair.passes.convert_aten_to_ge import registry

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


# ---------------------------------------------------------------- custom_op


ge.define_operator(
    """UnitMixed(x: float16|float32 as T, bias?: float16|float32 as T, more*: float16|float32 as T)
       -> (y: float16|float32 as T, z*: any, n: int32)
       {axis: Int, scale: Float = 1.0, kind: Type = float32, name: String = "a", dims: ListInt = []
       }"""
)


ge.define_operator("UnitPair(a: any as T, b?: any as T) -> (c: any as T) {k: Int = 1, d: Int = 0}")


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
