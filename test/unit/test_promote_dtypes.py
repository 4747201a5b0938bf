"""The promotion lattice and promote-dtypes against PyTorch's own rules."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
from aten_eager import EagerBuilder, block_of, run, same_bits
from pass_samples import PROMOTED, words

from torchair.errors import ConversionError
from torchair.ir import element_types, interned
from torchair.ir.calls import CallOp
from torchair.ir.interned import element_type
from torchair.passes.driver import run_passes
from torchair.passes.dtype_rules import Category, loses_nothing, promote_types, result_type
from torchair.passes.promote_dtypes import PromoteDtypesPass
from torchair.tools.context import make_context

DTYPES = {
    name: getattr(torch, name)
    for name in words(
        "bool uint8 int8 int16 int32 int64 uint16 uint32 uint64 float16 bfloat16 float32 float64 "
        "float8_e5m2 float8_e4m3fn complex32 complex64 complex128"
    )
}
NUMBERS: list[tuple[Any, str]] = [
    (True, "bool"),
    (2, "int64"),
    (2.5, "float64"),
    (1j, "complex128"),
]
pytestmark = pytest.mark.filterwarnings("ignore:ComplexHalf support is experimental")


def torch_name(compute: Any, *values: Any) -> str:
    try:
        return str(compute(*values)).removeprefix("torch.")
    except RuntimeError:
        return "error"


def our_name(compute: Any, *values: Any) -> str:
    try:
        return element_types.to_name(compute(*values))
    except ConversionError:
        return "error"


def test_promotion_of_every_pair_of_types() -> None:
    for a, b in itertools.product(DTYPES, DTYPES):
        expected = torch_name(torch.promote_types, DTYPES[a], DTYPES[b])
        pair = element_types.from_name(a), element_types.from_name(b)
        assert our_name(promote_types, *pair) == expected, (a, b)


def operands() -> list[tuple[Any, tuple[Any, Category]]]:
    found: list[tuple[Any, tuple[Any, Category]]] = []
    for name, dtype in DTYPES.items():
        element = element_types.from_name(name)
        found.append((torch.empty(2, dtype=dtype), (element, Category.DIMENSIONED)))
        found.append((torch.empty((), dtype=dtype), (element, Category.ZERO_DIM)))
    for number, name in NUMBERS:
        found.append((number, (element_types.from_name(name), Category.NUMBER)))
    return found


def test_result_type_of_every_pair_of_operands() -> None:
    for (a, ours_a), (b, ours_b) in itertools.product(operands(), operands()):
        expected = torch_name(torch.result_type, a, b)
        assert our_name(result_type, [ours_a, ours_b]) == expected, (ours_a, ours_b)


@pytest.mark.parametrize("default", [torch.float64, torch.float16, torch.bfloat16])
def test_result_type_with_another_default(default: torch.dtype) -> None:
    element = element_types.from_name(str(default).removeprefix("torch."))
    before = torch.get_default_dtype()
    torch.set_default_dtype(default)
    try:
        for (a, ours_a), (number, name) in itertools.product(operands(), NUMBERS):
            ours = [ours_a, (element_types.from_name(name), Category.NUMBER)]
            expected = torch_name(torch.result_type, a, number)
            assert our_name(result_type, ours, element) == expected, ours
    finally:
        torch.set_default_dtype(before)


def test_no_operand_has_no_type() -> None:
    with pytest.raises(ConversionError, match="no operand has a type"):
        result_type([])


LIMITS = {
    name: [0, 1, 255, -128, 2**11, 2**24 - 1, -(2**31), 2**53 - 1, 2**63 - 1]
    for name in ("int8", "uint8", "int16", "int32", "int64")
} | {
    name: [0.0, 1.5, -3.0e-5, 65504.0, 1e30, 1e300, 5e-324, float("inf")]
    for name in ("float16", "bfloat16", "float32", "float64")
}


@pytest.mark.parametrize("source", LIMITS)
def test_casts_that_lose_nothing_come_back(source: str) -> None:
    """The values of a type survive every cast that is said to lose nothing, and no other."""
    info: Any = torch.iinfo if "int" in source else torch.finfo
    limits = info(DTYPES[source])
    extremes = [limits.min, limits.max, *([limits.tiny] if info is torch.finfo else [])]
    inside = [v for v in LIMITS[source] if limits.min <= v <= limits.max] + extremes
    values = torch.tensor(inside, dtype=DTYPES[source])
    for target in LIMITS:
        if not ("float" in source and "int" in target):
            back = values.to(DTYPES[target]).to(DTYPES[source])
            kept = bool((back == values).all()) and not _saturates(values, target)
            pair = element_types.from_name(source), element_types.from_name(target)
            assert loses_nothing(*pair) == kept, (source, target)


def _saturates(values: torch.Tensor, target: str) -> bool:
    """Whether the round trip is an accident of wrapping or of rounding the largest integer."""
    if values.is_floating_point():
        return False
    plain = values.tolist()
    if "int" in target:
        limits = torch.iinfo(DTYPES[target])
        return any(not limits.min <= v <= limits.max for v in plain)
    return [int(v) for v in values.to(DTYPES[target]).tolist()] != plain


BINARY = words(
    "add.Tensor sub.Tensor mul.Tensor div.Tensor maximum minimum pow.Tensor_Tensor atan2 "
    "remainder.Tensor floor_divide eq.Tensor lt.Tensor ge.Tensor logical_and logical_xor "
    "bitwise_and.Tensor copysign.Tensor xlogy.Tensor rsub.Tensor fmod.Tensor"
)
UNARY = words(
    "sigmoid exp sqrt rsqrt tanh relu neg abs logical_not isnan sum mean any all prod reciprocal "
    "floor sign"
)


def sample(dtype: str, shape: tuple[int, ...], seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    values = torch.randint(0, 6, shape, generator=generator).to(torch.float64)
    if "float" in dtype:
        values = values - 2.5
    return values.to(DTYPES[dtype])


def promoted_run(arguments: list[Any], name: str, *values: Any) -> None:
    """Builds a call, promotes it, and compares with eager; the call must then be of one type."""
    eager = EagerBuilder(arguments)
    inputs = [eager.arguments[v] if isinstance(v, int) else v[0] for v in values]
    try:
        results = eager.call(f"aten.{name}", *inputs)
    except RuntimeError:
        return  # eager has no such kernel
    expected = [eager.values[r] for r in results]
    module = eager.finish(*results)
    run_passes(make_context(), module, [PromoteDtypesPass()])
    op = block_of(module).last_op
    assert op is not None
    op = op.prev_op
    assert isinstance(op, CallOp)
    types = {str(element_type(o.type)) for o in op.operands if o.type != interned.i64}
    assert len(types) <= 1, module
    for found, wanted in zip(run(module, arguments), expected, strict=True):
        assert same_bits(found, wanted), f"{module}\n{arguments}\n{found}\n{wanted}"


@pytest.mark.parametrize("name", BINARY)
def test_promoted_binary_operators_equal_eager(name: str) -> None:
    shapes = [((5,), (5,)), ((5,), ()), ((), (5,)), ((2, 5), (5,))]
    for (a, b), (left, right) in itertools.product(itertools.product(PROMOTED, PROMOTED), shapes):
        if {a, b} & {"float16", "bfloat16"} and () in (left, right) and a != b:
            continue  # eager keeps the 0-d operand in float32
        promoted_run([sample(a, left, 1), sample(b, right, 2)], name, 0, 1)


@pytest.mark.parametrize(
    "name", [n for n in BINARY if n not in ("copysign.Tensor", "xlogy.Tensor")]
)
def test_promoted_operators_with_numbers_equal_eager(name: str) -> None:
    for dtype, number in itertools.product(PROMOTED, [True, 3, 2.5]):
        promoted_run([sample(dtype, (5,), 3)], name, 0, (number,))


@pytest.mark.parametrize("name", UNARY)
def test_promoted_unary_operators_equal_eager(name: str) -> None:
    for dtype in PROMOTED:
        promoted_run([sample(dtype, (6,), 4)], name, 0)


@pytest.mark.parametrize("dtype", PROMOTED)
@pytest.mark.parametrize("target", ["float32", "float64", "int32", "int64"])
@pytest.mark.parametrize("name", ["sum", "mean", "prod"])
def test_promoted_reductions_with_dtype_equal_eager(name: str, dtype: str, target: str) -> None:
    promoted_run([sample(dtype, (6,), 5)], name, 0, (element_types.from_name(target),))


@pytest.mark.parametrize(
    ("a", "b"), [("int64", "float32"), ("bfloat16", "float32"), ("bool", "uint8")]
)
def test_promoted_selections_equal_eager(a: str, b: str) -> None:
    mask = torch.tensor([True, False, True, False, True])
    promoted = [PromoteDtypesPass()]
    for build in (
        lambda e: e.call("aten.where.self", e.arguments[2], e.arguments[0], e.arguments[1]),
        lambda e: e.call("aten.cat", [e.arguments[0], e.arguments[1]], 0),
        lambda e: e.call("aten.clamp.Tensor", e.arguments[0], None, e.arguments[1]),
        lambda e: e.call("aten.copy", e.arguments[0], e.arguments[1]),
    ):
        arguments = [sample(a, (5,), 1), sample(b, (5,), 2), mask]
        eager = EagerBuilder(arguments)
        results = build(eager)
        module = eager.finish(*results)
        run_passes(make_context(), module, promoted)
        assert same_bits(run(module, arguments)[0], eager.values[results[0]])
        kinds = {str(element_type(o.type)) for o in last_call(module).operands}
        assert len(kinds - {"i1"}) <= 1


def last_call(module: Any) -> CallOp:
    terminator = block_of(module).last_op
    assert terminator is not None
    op = terminator.prev_op
    assert isinstance(op, CallOp)
    return op


def test_a_symbolic_scalar_becomes_a_tensor() -> None:
    arguments = [sample("int32", (5,), 1), 3]
    eager = EagerBuilder(arguments)
    results = eager.call("aten.div.Tensor", eager.arguments[0], eager.arguments[1])
    module = eager.finish(*results)
    run_passes(make_context(), module, [PromoteDtypesPass()])
    assert same_bits(run(module, arguments)[0], eager.values[results[0]])
    assert [o.name for o in block_of(module).ops][:2] == [
        "prims.convert_element_type",
        "aten.scalar_tensor",
    ]


def test_types_without_a_common_type_are_named_with_their_source() -> None:
    from torchair.ir.text import parse_module

    text = """
func.func @f(%x: tensor<4xf8E5M2>, %y: tensor<4xf32>) {
  %0 = aten.eq.Tensor(%x, %y) : (tensor<4xf8E5M2>, tensor<4xf32>) -> tensor<4xi1> loc("m.py":7:0)
  func.return
}
"""
    module = parse_module(make_context(), text)
    with pytest.raises(ConversionError, match="float8_e5m2 and float32 have no common") as caught:
        PromoteDtypesPass().apply(make_context(), module)
    assert caught.value.loc == "m.py:7"
