"""Streams of captured graphs: placement of calls, events, and results."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from replay_check import captured, same_bits
from torch import Tensor

import torchair
from torchair.backend_ge.host.program import AtenCall, Slot
from torchair.backend_ge.runtime.aten_graph import AtenGraph, Call, Mark
from torchair.backend_ge.runtime.placement import place_on_streams
from torchair.scope import npu_stream_switch


def replayed(function: Any, **options: Any) -> tuple[Any, Any]:
    torch._dynamo.reset()
    config = torchair.CompilerConfig()
    config.mode = "reduce-overhead"
    config.engine = "host"
    for name, value in options.items():
        setattr(config, name, value)
    backend = torchair.get_npu_backend(compiler_config=config)
    return torch.compile(function, backend=backend, fullgraph=True), backend


def two_chains(x: Tensor, w: Tensor) -> Tensor:
    with npu_stream_switch("side"):
        y = x
        for _ in range(3):
            y = torch.tanh(y @ w)
    z = x
    for _ in range(3):
        z = torch.relu(z @ w)
    return y + z


@torch.no_grad()
def test_scopes_place_calls_on_streams() -> None:
    compiled, backend = replayed(two_chains)
    w = torch.randn(32, 32) / 8
    for _ in range(4):
        x = torch.randn(32, 32)
        assert same_bits(compiled(x, w), two_chains(x, w))
    capture = captured(backend).captures[0]
    assert sorted(set(capture.streams)) == [0, 1]
    assert capture.streams.count(1) == 6


@torch.no_grad()
def test_automatic_streams() -> None:
    def f(x: Tensor, w: Tensor) -> Tensor:
        y = z = x
        for _ in range(3):
            y, z = torch.tanh(y @ w), torch.relu(z @ w)
        return y + z

    compiled, backend = replayed(f, streams=2)
    w = torch.randn(256, 256) / 16
    for _ in range(3):
        x = torch.randn(256, 256)
        assert same_bits(compiled(x, w), f(x, w))
    assert set(captured(backend).captures[0].streams) == {0, 1}


@torch.no_grad()
def test_a_cache_that_another_stream_reads_is_not_written_too_soon() -> None:
    def f(cache: Tensor, x: Tensor, i: Tensor) -> Tensor:
        with npu_stream_switch("side"):
            old = torch.tanh(cache @ cache.t()).sum()
        new = cache.index_copy(0, i, x)
        cache.copy_(new)
        return old + x.sum()

    compiled, _ = replayed(f)
    caches = [torch.randn(64, 64)]
    caches.append(caches[0].clone())
    i = torch.tensor([1, 5])
    for _ in range(20):
        x = torch.randn(2, 64)
        assert same_bits(compiled(caches[0], x, i), f(caches[1], x, i))
        assert same_bits(*caches)


def happens_before(calls: list[AtenCall]) -> set[tuple[int, int]]:
    """Pairs of origins (a, b) such that a is over before b starts, by transitive closure."""
    recorded = {event: n for n, call in enumerate(calls) for event in call.records}
    order = {
        (a, b)
        for b, call in enumerate(calls)
        for a in [
            *(recorded[event] for event in call.waits),
            *(n for n in range(b) if calls[n].stream == call.stream),
        ]
    }
    size = len(calls)
    for middle in range(size):
        before = [a for a in range(size) if (a, middle) in order]
        after = [b for b in range(size) if (middle, b) in order]
        order |= {(a, b) for a in before for b in after}
    return {(calls[a].origin, calls[b].origin) for a, b in order}


@st.composite
def schedules(draw: st.DrawFn) -> tuple[AtenGraph, set[int]]:
    """A legal schedule of calls that do nothing, and the calls that vanish."""
    graph = AtenGraph([])
    recorded: list[int] = []
    for index in range(draw(st.integers(2, 9))):
        stream = draw(st.integers(0, 2))
        marks = graph.marks.setdefault(index, [])
        for event in draw(st.lists(st.sampled_from(recorded), unique=True)) if recorded else []:
            marks.append(Mark(True, stream, event))
        graph.calls.append(Call("aten.neg", torch.ops.aten.neg.default, (), {}, [], False, stream))
        if draw(st.booleans()):
            graph.marks.setdefault(index + 1, []).append(Mark(False, stream, len(recorded)))
            recorded.append(len(recorded))
    gone = draw(st.sets(st.integers(0, len(graph.calls) - 1)))
    return graph, gone


def trace_of(graph: AtenGraph, gone: set[int]) -> list[AtenCall]:
    op = torch.ops.aten.neg.default
    slot = Slot(0)
    return [
        AtenCall(op, (slot,), {}, [None], index)
        for index in range(len(graph.calls))
        if index not in gone
    ]


@settings(max_examples=300)
@given(schedules())
def test_calls_that_vanish_keep_the_order_of_the_others(case: tuple[AtenGraph, set[int]]) -> None:
    graph, gone = case
    whole, rest = trace_of(graph, set()), trace_of(graph, gone)
    place_on_streams(whole, graph)
    place_on_streams(rest, graph)
    kept = set(range(len(graph.calls))) - gone
    wanted = {(a, b) for a, b in happens_before(whole) if a in kept and b in kept}
    assert wanted <= happens_before(rest)


@pytest.mark.parametrize("streams", ["user", 2])
def test_training_on_streams(streams: str | int) -> None:
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(16, 16), torch.nn.GELU(), torch.nn.Linear(16, 4))
    reference = copy.deepcopy(model)
    compiled, _ = replayed(model, streams=streams)
    for _ in range(3):
        x = torch.randn(8, 16)
        for call, m in ((compiled, model), (reference, reference)):
            m.zero_grad()
            call(x).square().sum().backward()
        for p, q in zip(model.parameters(), reference.parameters(), strict=True):
            assert p.grad is not None and q.grad is not None and same_bits(p.grad, q.grad)
