"""Passes against eager torch: promotion over all type pairs, canonical forms of random programs."""

from __future__ import annotations

import random
import subprocess
import sys
from typing import Any

import pytest
import torch
from aten_eager import EagerBuilder, block_of, overload_of, run, same_bits
from pass_samples import PROMOTED
from xdsl.ir import SSAValue

from torchair.ir import element_types, interned
from torchair.ir.interned import element_type
from torchair.ir.verify import verify_module
from torchair.passes import ALL_PASSES
from torchair.passes.canonicalize import CanonicalizePass
from torchair.passes.cse import CsePass
from torchair.passes.dce import DcePass
from torchair.passes.driver import run_passes
from torchair.passes.fold_constants import FoldConstantsPass
from torchair.passes.promote_dtypes import PromoteDtypesPass
from torchair.tools.context import make_context

pytestmark = pytest.mark.filterwarnings("ignore:ComplexHalf support is experimental")


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
