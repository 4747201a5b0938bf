"""Planned memory: results equal eager bit for bit, blocks never overlap, fallbacks."""

from __future__ import annotations

import threading
import warnings
from collections import Counter
from itertools import islice

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from recorded_programs import UNSTABLE, X, assert_identical, copies, record
from torch.testing._internal.common_methods_invocations import op_db
from torch.utils._pytree import tree_flatten, tree_unflatten

from torchair.backend_ge.host.arena import ALIGNMENT, Block, plan_arena
from torchair.backend_ge.host.program import AtenCall, Program, Slot, Trace
from torchair.backend_ge.host.schedule import schedule_of

aten = torch.ops.aten


def planned(function, *inputs: torch.Tensor) -> Program:
    """The program after it was planned; every run is compared with eager."""
    eager_inputs = copies(inputs)
    trace, expected = record(function, eager_inputs)
    program = Program(trace)
    for _ in range(4):
        program_inputs = copies(inputs)
        found = program.run(program_inputs)
        for pair in zip(found + program_inputs, expected + eager_inputs, strict=True):
            assert_identical(*pair)
    assert program.is_planned
    return program


@st.composite
def blocks(draw) -> list[Block]:
    sizes = draw(st.lists(st.integers(1, 5000), min_size=1, max_size=40))
    result = []
    for size in sizes:
        first = draw(st.integers(0, 60))
        uses = draw(st.lists(st.integers(first, 80), max_size=4))
        result.append(Block(size, first, (first, *uses)))
    return result


def overlap(plan, sizes: list[int], left: int, right: int) -> bool:
    a, b = plan.offsets[left], plan.offsets[right]
    return a < b + sizes[right] and b < a + sizes[left]


@settings(max_examples=200, deadline=None)
@given(blocks())
def test_blocks_alive_together_never_overlap(found):
    plan = plan_arena(found)
    sizes = [block.size for block in found]
    for i, left in enumerate(found):
        assert plan.offsets[i] % ALIGNMENT == 0
        assert plan.offsets[i] + left.size <= plan.size
        for j, right in enumerate(found[:i]):
            if left.first <= right.last and right.first <= left.last:
                assert not overlap(plan, sizes, i, j)
    assert plan.max_live <= plan.size


@st.composite
def scheduled(draw) -> tuple[list[AtenCall], list[Block]]:
    """Calls on three streams with random events, and blocks that some of them use."""
    n_calls = draw(st.integers(2, 25))
    calls: list[AtenCall] = []
    for index in range(n_calls):
        waits = draw(st.sets(st.integers(0, index - 1), max_size=2)) if index else set()
        calls.append(
            AtenCall(
                *(aten.relu.default, (), {}, [], index),
                stream=draw(st.integers(0, 2)),
                waits=tuple(sorted(waits)),
                records=(index,),
            )
        )
    found = []
    for _ in range(draw(st.integers(1, 15))):
        first = draw(st.integers(0, n_calls - 1))
        uses = draw(st.lists(st.integers(first, n_calls - 1), max_size=3))
        found.append(Block(draw(st.integers(1, 500)), first, (first, *uses)))
    return calls, found


def reachable(calls: list[AtenCall]) -> list[set[int]]:
    """Per call, the calls that are done before it: by transitive closure."""
    before: list[set[int]] = []
    for index, call in enumerate(calls):
        direct = {i for i in range(index) if calls[i].stream == call.stream} | set(call.waits)
        before.append(direct.union(*(before[i] for i in direct)))
    return before


@settings(max_examples=200, deadline=None)
@given(scheduled())
def test_blocks_of_unordered_calls_never_overlap(case):
    calls, found = case
    schedule = schedule_of(calls)
    before = reachable(calls)
    for i in range(len(calls)):
        for j in range(len(calls)):
            if i != j:
                assert schedule.is_before(i, j) == (i in before[j])
    plan = plan_arena(found, schedule.is_before if schedule.n_streams > 1 else None)
    sizes = [block.size for block in found]
    for i, left in enumerate(found):
        for j, right in enumerate(found[:i]):
            ordered = all(use in before[right.first] for use in left.uses) or all(
                use in before[left.first] for use in right.uses
            )
            assert ordered or not overlap(plan, sizes, i, j)


def test_a_chain_needs_two_blocks():
    def chain(x):
        for _ in range(20):
            x = aten.add.Tensor(x, 1.5)
        return x

    program = planned(chain, torch.randn(1000))
    assert program.arena_bytes == program.max_live_bytes == 2 * 4032


def test_views_are_made_once():
    def body(x, w):
        y = aten.mm.default(x, w.t())
        a, b = y.view(4, 2, 3).transpose(0, 1).unbind(0)
        return (a + b).sum(0), w[1:].cos() * 2

    program = planned(body, torch.randn(4, 5), torch.randn(6, 5))
    assert program.instructions == [
        *("aten.mm.default", "aten.add.Tensor", "aten.sum.dim_IntList"),
        *("aten.cos.default", "aten.mul.Tensor"),
    ]


def test_views_of_a_written_input_are_made_once():
    def body(cache, x):
        written = aten.index_copy_.default(cache, 0, torch.tensor([1, 3]), x)
        return aten.mm.default(x, written.t()[:, 1:]) * 2

    program = planned(body, torch.randn(5, 6), torch.randn(2, 6))
    assert program.instructions == [
        *("aten.index_copy_.default", "aten.mm.default", "aten.mul.Tensor")
    ]


def test_another_layout_runs_unplanned():
    trace, _ = record(lambda x: (x.cos() + 1).sin(), [X])
    program = Program(trace)
    for tensor in (X, X, X, X.t(), X.double(), X[:2], X[:, ::2], X):
        assert_identical(program.run([tensor])[0], (tensor.cos() + 1).sin())
    assert program.is_planned


def test_sparse_inputs_run_unplanned():
    trace, _ = record(lambda x: aten.add.Tensor(x, x) * 2, [X])
    program = Program(trace)
    for _ in range(3):
        program.run([X])
    assert program.is_planned
    found = program.run([X.to_sparse()])[0]
    assert found.is_sparse and torch.equal(found.to_dense(), X * 4)


def test_moved_inputs_move_their_views():
    trace, _ = record(lambda x: x.t()[1:].cos() * 2, [X])
    program = Program(trace)
    for seed in range(6):
        x = torch.randn(X.shape, generator=torch.Generator().manual_seed(seed))
        assert_identical(program.run([x])[0], x.t()[1:].cos() * 2)
    base = torch.randn(40)
    for start in (0, 3, 16):
        x = base[start : start + 24].view(X.shape)
        assert_identical(program.run([x])[0], x.t()[1:].cos() * 2)


def test_negated_and_conjugate_inputs():
    trace, _ = record(lambda x: x.t()[1:].cos() * 2, [X])
    program = Program(trace)
    for _ in range(3):
        program.run([X])
    negated = aten._neg_view.default(X)
    assert_identical(program.run([negated])[0], negated.t()[1:].cos() * 2)
    z = torch.randn(4, 6, dtype=torch.complex64)
    planned(lambda z: z.t()[1:].exp() * 2, z.conj())


def test_outputs_are_new_tensors_every_time():
    def body(x):
        y = x + 1
        return y.view(-1)[2:], y, y * 2

    program = planned(body, X)
    first, second = program.run([X]), program.run([X * 2])
    for tensor, value in zip(first, body(X), strict=True):
        assert_identical(tensor, value)
    assert first[0].untyped_storage().data_ptr() == first[1].untyped_storage().data_ptr()
    assert first[1].data_ptr() != second[1].data_ptr()


def test_shapes_that_depend_on_data():
    def body(x):
        chosen = aten.nonzero.default(x + 0.0)
        return (chosen * 2 + 1).float().sum() * 2, (x * 3).relu()

    trace, _ = record(body, [X])
    program = Program(trace)
    for x in (X, X, X, X.relu(), torch.zeros_like(X), X):
        for pair in zip(program.run([x]), body(x), strict=True):
            assert_identical(*pair)
    assert program.is_planned and program.arena_bytes > 0


def test_python_code_may_keep_what_it_is_given():
    kept: list[torch.Tensor] = []

    @torch.library.custom_op("torchair_test::keep", mutates_args=())
    def keep(x: torch.Tensor) -> torch.Tensor:
        kept.append(x)
        return x + 1

    calls = [
        AtenCall(aten.cos.default, (Slot(0),), {}, [Slot(1)], 0),
        AtenCall(aten.view.default, (Slot(1), [-1]), {}, [Slot(2)], 1),
        AtenCall(torch.ops.torchair_test.keep.default, (Slot(2),), {}, [Slot(3)], 2),
        AtenCall(aten.sin.default, (Slot(3),), {}, [Slot(4)], 3),
    ]
    program = Program(Trace([Slot(0)], {}, calls, [Slot(4)]))
    inputs = [torch.full((4,), float(i)) for i in range(5)]
    for x in inputs:
        program.run([x])
    assert program.is_planned
    del program
    for x, tensor in zip(inputs, kept, strict=True):
        assert_identical(tensor, x.cos())


def test_constants_may_be_exchanged():
    weight = torch.nn.Parameter(torch.randn(3, 4), requires_grad=False)
    trace = Trace(
        [Slot(0)],
        {Slot(1): weight},
        [
            AtenCall(aten.t.default, (Slot(1),), {}, [Slot(2)], 0),
            AtenCall(aten.mm.default, (Slot(0), Slot(2)), {}, [Slot(3)], 1),
        ],
        [Slot(3)],
    )
    program, x = Program(trace), torch.randn(2, 4)
    for _ in range(4):
        assert_identical(program.run([x])[0], x @ weight.t())
    weight.data = torch.randn(3, 4)
    assert_identical(program.run([x])[0], x @ weight.t())


def test_negated_constants():
    constant = torch._neg_view(torch.randn(4, 6))
    call = AtenCall(aten.view.default, (Slot(1), [24]), {}, [Slot(2)], 0)
    calls = [call, AtenCall(aten.mul.Tensor, (Slot(0), Slot(2)), {}, [Slot(3)], 1)]
    program = Program(Trace([Slot(0)], {Slot(1): constant}, calls, [Slot(3)]))
    for _ in range(4):
        assert_identical(program.run([X.reshape(-1)])[0], X.reshape(-1) * constant.view(24))


def test_bound_inputs():
    trace, _ = record(lambda x, w, b: aten.addmm.default(b, x, w.t()).relu(), [X, X + 1, X[:, 0]])
    program = Program(trace)
    weight, bias = torch.randn(4, 6), torch.randn(4)
    bound = program.bind({1: weight, 2: bias})
    for seed in range(5):
        x = torch.randn(4, 6, generator=torch.Generator().manual_seed(seed))
        assert_identical(bound.run([x])[0], torch.addmm(bias, x, weight.t()).relu())
    assert program.is_planned
    x = torch.randn(7, 6)
    assert_identical(bound.run([x])[0], torch.addmm(bias, x, weight.t()).relu())
    with pytest.raises(ValueError, match="takes 1 more inputs, not 0"):
        bound.run([])
    with pytest.raises(ValueError, match="has 3 inputs"):
        program.bind({3: bias})


def test_bound_inputs_may_be_written_and_free_ones_negated():
    trace, _ = record(updating, [X, X.clone()])
    program = Program(trace)
    cache, expected = X.clone(), X.clone()
    bound = program.bind({1: cache})
    for x in (X, X + 1, X + 2, torch._neg_view(X), X + 3):
        version = cache._version
        assert_identical(bound.run([x])[0], updating(x, expected))
        assert_identical(cache, expected)
        assert cache._version > version
    assert program.is_planned
    bound = program.bind({0: X})
    for cache in (X.clone(), torch._neg_view(X.clone())):
        expected = cache.resolve_neg().clone()
        assert_identical(bound.run([cache])[0], updating(X, expected))
        assert_identical(cache.resolve_neg(), expected)


def test_plan_without_a_run_leaves_inputs_and_generator_alone():
    def body(x, cache):
        cache.add_(x)
        return aten.rand_like.default(x) + (cache.cos() * 2).sin()

    trace, _ = record(body, [X, X.clone()])
    program = Program(trace)
    cache = X.clone()
    state = torch.default_generator.get_state()
    assert program.plan([X, cache]) and program.arena_bytes > 0
    assert torch.equal(torch.default_generator.get_state(), state)
    assert_identical(cache, X)


def updating(x: torch.Tensor, cache: torch.Tensor) -> torch.Tensor:
    """Arena values written by out= and in place, and a view of an input that is written."""
    y = (x.cos() + x).add_(1)
    cache[1:].mul_(y[1:])
    return y.view(-1) * 2 + cache.sum()


@pytest.mark.parametrize("planned_in_inference_mode", [True, False])
def test_plans_serve_callers_in_every_mode(planned_in_inference_mode):
    trace, _ = record(updating, [X, X.clone()])
    program = Program(trace)
    with torch.inference_mode(planned_in_inference_mode):
        for _ in range(3):
            assert_identical(program.run([X, X.clone()])[0], updating(X, X.clone()))
    assert program.is_planned
    with torch.inference_mode():
        made_there = X.clone()
    weight = torch.nn.Parameter(X.clone())
    for x, cache in ((X, X.clone()), (weight, X.clone()), (made_there, X.clone())):
        with torch.enable_grad():
            result = program.run([x, cache])[0]
        assert not result.requires_grad
        with torch.inference_mode():
            result = program.run([x, made_there.clone()])[0]
        assert_identical(result, updating(X, X.clone()))
    with torch.autocast("cpu", torch.bfloat16):
        assert_identical(program.run([X, X.clone()])[0], updating(X, X.clone()))


def test_threads_run_while_memory_is_planned():
    trace, _ = record(lambda x: ((x @ x).relu() + x).sum(0) * 2, [torch.ones(8, 8)])
    for _ in range(10):
        program = Program(trace)
        failures: list[int] = []

        def work(seed: int, program: Program = program, failures: list[int] = failures) -> None:
            generator = torch.Generator().manual_seed(seed)
            for _ in range(8):
                x = torch.randn(8, 8, generator=generator)
                if not torch.equal(program.run([x])[0], ((x @ x).relu() + x).sum(0) * 2):
                    failures.append(seed)

        threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert failures == [] and program.is_planned


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.int64], ids=str)
def test_torch_s_own_samples_as_intermediate_values(dtype):
    counts: Counter[str] = Counter()
    for info in op_db:
        if dtype not in info.dtypes or info.name in UNSTABLE:
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            samples = info.sample_inputs_func(info, "cpu", dtype, requires_grad=False)
            for sample in islice(samples, 1):
                _check_intermediate(info, sample, counts)
    assert counts["planned"] > {torch.float32: 250, torch.bfloat16: 200, torch.int64: 150}[dtype]


def _check_intermediate(info, sample, counts: Counter[str]) -> None:
    leaves, spec = tree_flatten((sample.input, sample.args, sample.kwargs))
    places = [i for i, leaf in enumerate(leaves) if isinstance(leaf, torch.Tensor)]
    inputs = [leaves[place] for place in places]
    if any(type(x) is not torch.Tensor or x.layout != torch.strided for x in inputs):
        return

    def call(*tensors: torch.Tensor) -> object:
        filled = list(leaves)
        for place, tensor in zip(places, tensors, strict=True):
            filled[place] = tensor
        first, args, kwargs = tree_unflatten(filled, spec)
        results = tree_flatten(info.op(first, *args, **kwargs))[0]
        return [r.clone() for r in results if type(r) is torch.Tensor and not r.is_sparse]

    eager_inputs = copies(inputs)
    torch.default_generator.manual_seed(42)
    try:
        trace, expected = record(call, eager_inputs)
    except (AssertionError, RuntimeError, NotImplementedError):
        return
    program = Program(trace)
    program.plan(copies(inputs))
    for _ in range(2):
        program_inputs = copies(inputs)
        torch.default_generator.manual_seed(42)
        found = program.run(program_inputs)
        for pair in zip(found + program_inputs, expected + eager_inputs, strict=True):
            if pair[1].layout == torch.strided:
                assert_identical(*pair)
    counts["planned"] += program.arena_bytes > 0
