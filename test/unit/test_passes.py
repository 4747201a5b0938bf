"""Passes against eager torch: promotion over all type pairs, canonical forms of random programs."""

from __future__ import annotations

import itertools
import random
import subprocess
import sys
from typing import Any

import pytest
import torch
from aten_eager import EagerBuilder, block_of, overload_of, run, same_bits
from xdsl.ir import SSAValue

from torchair.errors import ConversionError
from torchair.ir import element_types, interned
from torchair.ir.calls import CallOp
from torchair.ir.interned import element_type
from torchair.ir.verify import verify_module
from torchair.passes import ALL_PASSES
from torchair.passes.canonicalize import CanonicalizePass
from torchair.passes.cse import CsePass
from torchair.passes.dce import DcePass
from torchair.passes.driver import run_passes
from torchair.passes.dtype_rules import Category, loses_nothing, promote_types, result_type
from torchair.passes.fold_constants import FoldConstantsPass
from torchair.passes.promote_dtypes import PromoteDtypesPass
from torchair.tools.context import make_context


def words(text: str) -> list[str]:
    return text.split()


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


# ---------------------------------------------------------------- promotion lattice


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


# ---------------------------------------------------------------- promote-dtypes

PROMOTED = words("bool uint8 int32 int64 float16 bfloat16 float32 float64")
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


# ---------------------------------------------------------------- canonicalize


def random_program(draw: random.Random) -> tuple[EagerBuilder, list[torch.Tensor], list[SSAValue]]:
    """Operators that canonicalize knows, on arguments with plain and with odd strides."""
    arguments = [torch.randn(2, 3, 4), torch.randn(4, 3, 2).permute(2, 1, 0), torch.randn(2, 3, 4)]
    arguments[0][0, 0, 0] = -0.0
    eager = EagerBuilder([a.clone() for a in arguments])
    pool = list(eager.arguments)
    for _ in range(draw.randint(3, 14)):
        value = draw.choice(pool[-4:])
        shape = interned.shape_of(value.type)
        assert shape is not None
        name, *rest = draw.choice(menu(draw, shape, value, pool))
        try:
            pool.append(eager.call(f"aten.{name}", *rest)[0])
        except RuntimeError:
            continue  # a view that the strides do not allow
    return eager, arguments, pool


def menu(
    draw: random.Random, shape: tuple[int, ...], value: SSAValue, pool: list[SSAValue]
) -> list[tuple[Any, ...]]:
    rank = len(shape)
    order = draw.sample(range(rank), rank)
    other = draw.choice([v for v in pool if v.type == value.type])
    flat = torch.Size(shape).numel()
    shapes = [[flat], [2, 12], [3, 8], [2, 3, 4], [1, flat], [4, 3, 2]]
    return [
        ("relu", value),
        ("neg", value),
        ("alias", value),
        ("clone", value),
        ("clone", value, "contiguous_format"),
        ("mul.Tensor", value, 1.0),
        ("sub.Tensor", value, 0),
        ("add.Tensor", value, 0),
        ("add.Tensor", value, other),
        ("permute", value, order),
        ("transpose.int", value, -1, 0),
        ("view", value, draw.choice(shapes)),
        ("_unsafe_view", value, draw.choice(shapes)),
        ("reshape", value, draw.choice(shapes)),
        ("unsqueeze", value, 0),
        ("squeeze", value),
        ("expand", value, list(shape)),
        ("slice.Tensor", value, 0, 0, 9223372036854775807),
        ("slice_scatter", value, other, 0, 0, 9223372036854775807),
        ("copy", value, other),
        ("cat", [value], 0),
        ("repeat", value, [1] * rank),
        ("constant_pad_nd", value, [0, 0]),
        ("_to_copy", value, element_type(value.type)),
        (
            "_to_copy",
            value,
            interned.f64 if element_type(value.type) == interned.f32 else interned.f32,
        ),
        ("native_dropout", value, 0.5, False),
    ]


def write_all(tensors: list[torch.Tensor]) -> None:
    """Writes every tensor in place, so that storage they share shows."""
    for index, tensor in enumerate(tensors):
        tensor.add_(index + 1)


@pytest.mark.parametrize("block", range(10))
def test_canonical_programs_equal_eager(block: int) -> None:
    """Values, written arguments, and which results share storage stay as they are in eager."""
    for seed in range(block * 60, block * 60 + 60):
        draw = random.Random(seed)
        torch.manual_seed(seed)
        eager, arguments, pool = random_program(draw)
        if draw.random() < 0.6:
            target = eager.arguments[draw.randrange(2)]
            sources = [v for v in pool if v.type == target.type]
            eager.call("aten.copy_", target, draw.choice(sources))
            if draw.random() < 0.5:
                pool.append(eager.call("aten.neg", draw.choice(pool))[0])
        results = draw.sample(pool[3:], min(3, len(pool) - 3)) if len(pool) > 3 else []
        module = eager.finish(*results)
        before = [a.clone() for a in arguments]
        expected = run(module, before)
        run_passes(make_context(), module, [CanonicalizePass(), DcePass()])
        after = [a.clone() for a in arguments]
        found = run(module, after)
        for _ in range(2):
            for a, b in zip([*before, *expected], [*after, *found], strict=True):
                assert same_bits(a, b), f"seed {seed}\n{module}"
            if any(_overlaps(t) for t in [*expected, *found]):
                break
            write_all(expected)
            write_all(found)


def _overlaps(tensor: torch.Tensor) -> bool:
    return any(s == 0 and n > 1 for s, n in zip(tensor.stride(), tensor.shape, strict=True))


def test_canonicalize_reaches_a_fixpoint_at_once() -> None:
    for seed in range(40):
        draw = random.Random(seed)
        eager, _, pool = random_program(draw)
        module = eager.finish(pool[-1])
        run_passes(make_context(), module, [CanonicalizePass(), DcePass()])
        text = str(module)
        run_passes(make_context(), module, [CanonicalizePass(), DcePass()])
        assert str(module) == text


def test_cse_and_dce_keep_values() -> None:
    for seed in range(40):
        draw = random.Random(seed)
        torch.manual_seed(seed)
        eager, arguments, pool = random_program(draw)
        results = draw.sample(pool, min(3, len(pool)))
        module = eager.finish(*results)
        expected = run(module, [a.clone() for a in arguments])
        run_passes(make_context(), module, [CsePass(), DcePass()])
        found = run(module, [a.clone() for a in arguments])
        assert all(same_bits(a, b) for a, b in zip(expected, found, strict=True))


# ---------------------------------------------------------------- fold-constants


@pytest.mark.parametrize("dtype", PROMOTED)
def test_folded_factories_equal_eager(dtype: str) -> None:
    element = element_types.from_name(dtype)
    for name, *values in (
        ("zeros", [2, 3], element),
        ("ones", [3], element),
        ("full", [2], 0.1, element),
        ("full", [2], -3, element),
        ("full", [2], True, element),
        ("full", [1], float("-inf"), element),
        ("scalar_tensor", 70000.0, element),
        ("arange", 5, element),
        ("arange.start", -3, 4, element),
        ("arange.start_step", 300, 0, -50, element),
    ):
        compare_folded(f"aten.{name}", *values)


def compare_folded(name: str, *values: Any) -> None:
    eager = EagerBuilder([])
    try:
        made = eager.call(name, *values)[0]
    except RuntimeError:
        return
    shifted = eager.call("aten.unsqueeze", made, 0)[0]
    copied = eager.call("aten.clone", shifted)[0]
    result = eager.call("aten.sum", copied)[0]
    module = eager.finish(result)
    wanted = run(module, [])[0]
    run_passes(make_context(), module, [FoldConstantsPass(), DcePass()])
    assert same_bits(run(module, [])[0], wanted), module


@pytest.mark.parametrize("source", PROMOTED)
@pytest.mark.parametrize("target", PROMOTED)
def test_folded_casts_equal_eager(source: str, target: str) -> None:
    eager = EagerBuilder([])
    made = (
        eager.call("aten.arange", 7, element_types.from_name(source))[0]
        if source != "bool"
        else None
    )
    if made is None:
        made = eager.call("aten.ones", [3], interned.i1)[0]
    cast = eager.call("prims.convert_element_type", made, element_types.from_name(target))[0]
    result = eager.call("aten.cat", [cast, cast], 0)[0]
    module = eager.finish(result)
    wanted = run(module, [])[0]
    run_passes(make_context(), module, [FoldConstantsPass(), DcePass()])
    assert next(op.name for op in block_of(module).ops) == "aten.constant"
    assert same_bits(run(module, [])[0], wanted)


@pytest.mark.parametrize("name", ["add.Tensor", "sub.Tensor", "mul.Tensor", "div.Tensor"])
@pytest.mark.parametrize("dtype", ["float32", "float64", "int64"])
def test_folded_arithmetic_equals_eager(name: str, dtype: str) -> None:
    for number in (3, 7, 0.1, 1e-3) if "float" in dtype else (3, 7):
        eager = EagerBuilder([])
        made = eager.call("aten.arange", 64, element_types.from_name(dtype))[0]
        first = eager.call(f"aten.{name}", made, number)[0]
        second = eager.call(f"aten.{name}", first, first if "div" not in name else number)[0]
        result = eager.call("aten.cat", [second, second], 0)[0]
        module = eager.finish(result)
        wanted = run(module, [])[0]
        run_passes(make_context(), module, [FoldConstantsPass(), DcePass()])
        assert same_bits(run(module, [])[0], wanted), module


# ---------------------------------------------------------------- model graphs


class Convolutional(torch.nn.Module):
    """Convolution, batch norm, pooling, classifier."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = torch.nn.Conv2d(3, 8, 3, padding=1)
        self.norm = torch.nn.BatchNorm2d(8)
        self.classifier = torch.nn.Linear(8, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        hidden = torch.nn.functional.relu(self.norm(self.convolution(x)))
        pooled = torch.nn.functional.adaptive_avg_pool2d(hidden, 1).flatten(1)
        return torch.nn.functional.log_softmax(self.classifier(pooled), -1)


class Attention(torch.nn.Module):
    """One transformer block with a mask, written out."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = torch.nn.LayerNorm(16)
        self.projection = torch.nn.Linear(16, 48)
        self.output = torch.nn.Linear(16, 16)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        batch, length, _ = x.shape
        heads = self.projection(self.norm(x)).view(batch, length, 3, 2, 8).permute(2, 0, 3, 1, 4)
        scores = heads[0] @ heads[1].transpose(-1, -2) / 8**0.5
        mask = torch.ones(length, length, dtype=torch.bool).tril()
        weights = scores.masked_fill(~mask, float("-inf")).softmax(-1)
        mixed = (weights @ heads[2]).transpose(1, 2).reshape(batch, length, 16)
        return x + torch.nn.functional.gelu(self.output(mixed)) * 1.0


@pytest.mark.parametrize(
    ("model", "shape", "autocast"),
    [
        (Convolutional, (2, 3, 8, 8), False),
        (Attention, (2, 5, 16), False),
        (Attention, (2, 5, 16), True),
    ],
)
def test_model_graphs_keep_their_values(
    model: type[torch.nn.Module], shape: tuple[int, ...], autocast: bool
) -> None:
    """Forward and backward graphs of training steps, operator by operator, before and after."""
    from torch._dynamo.backends.common import aot_autograd

    checked: list[int] = []

    def compare(graph: torch.fx.GraphModule, example: list[Any]) -> Any:
        def call(*inputs: Any) -> Any:
            checked.append(compare_passes(graph, list(inputs)))
            return graph(*inputs)

        return call

    torch.manual_seed(0)
    torch._dynamo.reset()
    step = torch.compile(model(), backend=aot_autograd(fw_compiler=compare, bw_compiler=compare))
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        loss = step(torch.randn(shape)).float().square().sum()
    loss.backward()
    assert len(checked) == 2
    assert min(checked) > 5


def compare_passes(graph: torch.fx.GraphModule, inputs: list[Any]) -> int:
    """Compares a graph with what the aten passes make of it; returns its number of operators."""
    from torchair.frontend.fx_import import import_graph

    module = import_graph(graph).module
    before = [i.clone() if isinstance(i, torch.Tensor) else i for i in inputs]
    after = [i.clone() if isinstance(i, torch.Tensor) else i for i in inputs]
    expected = run(module, before)
    passes = [CanonicalizePass(), FoldConstantsPass(), CsePass(), PromoteDtypesPass(), DcePass()]
    run_passes(make_context(), module, passes)
    found = run(module, after)
    for a, b in zip([*before, *expected], [*after, *found], strict=True):
        assert same_bits(a, b), str(module)
    return sum(1 for _ in block_of(module).ops)


# ---------------------------------------------------------------- all passes


def test_passes_of_a_pipeline_exist() -> None:
    from torchair.passes import pipelines

    for names in (pipelines.ATEN, pipelines.MAX_AUTOTUNE):
        assert [item.name for item in pipelines.build(names)] == list(names)
    assert all(factory().name == name for name, factory in ALL_PASSES.items())


def test_the_reference_runs_what_it_says() -> None:
    """The eager interpreter of these tests, held against direct calls."""
    eager = EagerBuilder([torch.arange(6.0).reshape(2, 3)])
    (first,) = eager.call("aten.sum.dim_IntList", eager.arguments[0], [1], True, interned.f64)
    module = eager.finish(first)
    verify_module(module)
    (found,) = run(module, [torch.arange(6.0).reshape(2, 3)])
    assert same_bits(found, torch.tensor([[3.0], [12.0]], dtype=torch.float64))
    assert overload_of("aten.relu") is torch.ops.aten.relu.default
    assert not same_bits(torch.tensor([0.0]), torch.tensor([-0.0]))


def test_opt_starts_without_torch() -> None:
    script = (
        "import sys, torchair.tools.opt, torchair.tools.universe\nassert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
