"""Graphs on several streams of the host device: bit for bit as eager, whatever the timing."""

from __future__ import annotations

import random
import time
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

import torchair
from torchair import scope
from torchair.backend_ge.host.program import Program
from torchair.backend_ge.host.stream_plan import order_calls
from torchair.backend_ge.host.timed_run import timed_run
from torchair.backend_ge.host.trace import AtenCall, Slot, Trace
from torchair.errors import ConfigError

_library = torch.library.Library("torchair_test_streams", "FRAGMENT")
_library.define("late_neg(Tensor x, int microseconds) -> Tensor")


def _late_neg(x: Tensor, microseconds: int) -> Tensor:
    time.sleep(microseconds * 1e-6)
    return -x


_library.impl("late_neg", _late_neg, "CompositeExplicitAutograd")
LATE_NEG = torch.ops.torchair_test_streams.late_neg.default
aten = torch.ops.aten


class RandomTrace:
    """Calls on streams at random: uses, views, writes to inputs and values, random numbers."""

    def __init__(self, seed: int, size: int, streams: int) -> None:
        self.random = random.Random(seed)
        self.streams = streams
        self.count = 0
        self.memory: dict[Slot, Slot] = {}
        self.inputs = [self.new() for _ in range(3)]
        self.values = list(self.inputs)
        self.calls: list[AtenCall] = []
        for _ in range(size):
            self.add()

    def new(self, like: Slot | None = None) -> Slot:
        slot = Slot(self.count)
        self.count += 1
        self.memory[slot] = slot if like is None else self.memory[like]
        return slot

    def add(self) -> None:
        r = self.random
        first, second = r.choice(self.values), r.choice(self.values)
        kind = r.random()
        if kind < 0.3:
            self.call(aten.mm.default, (first, second), self.new())
        elif kind < 0.5:
            self.call(aten.sin.default, (first,), self.new())
        elif kind < 0.65:
            self.call(LATE_NEG, (first, r.choice((0, 50, 300))), self.new())
        elif kind < 0.75:
            self.call(aten.t.default, (first,), self.new(first))
        elif kind < 0.9:
            self.call(aten.add_.Tensor, (first, 1), first)
        else:
            self.call(aten.rand_like.default, (first,), self.new())

    def call(self, op: object, args: tuple[object, ...], result: Slot) -> None:
        stream = self.random.randrange(self.streams)
        number = len(self.calls)
        self.calls.append(AtenCall(op, args, {}, [result], number, stream))
        self.values.append(result)

    def trace(self) -> Trace:
        return Trace(self.inputs, {}, self.calls, [self.values[-1], *self.values[3::5]])


def on_one_stream(trace: Trace) -> Trace:
    calls = [AtenCall(c.op, c.args, c.kwargs, c.results, c.origin) for c in trace.calls]
    return Trace(trace.inputs, {}, calls, trace.outputs)


def inputs() -> list[Tensor]:
    torch.manual_seed(3)
    return [torch.rand(8, 8) * 0.1 for _ in range(3)]


def results(run: Callable[[list[Tensor]], list[Tensor]]) -> list[Tensor]:
    """Outputs and what became of the inputs."""
    given = inputs()
    torch.manual_seed(5)
    return [t.clone() for t in (*run(given), *given)]


def assert_same(found: list[Tensor], expected: list[Tensor]) -> None:
    assert len(found) == len(expected)
    for number, (a, b) in enumerate(zip(found, expected, strict=True)):
        assert torch.equal(a, b) or torch.equal(a.isnan(), b.isnan()), number


@pytest.mark.parametrize("seed", range(16))
def test_random_programs_with_delays(seed: int) -> None:
    made = RandomTrace(seed, 40, 1 + seed % 4)
    expected = results(lambda given: timed_run(on_one_stream(made.trace()), given)[1])
    order_calls(made.calls, made.memory.__getitem__)
    program = Program(made.trace())
    for _ in range(3):
        assert_same(results(program.run), expected)
    delays = random.Random(seed)
    slow = {n: delays.choice((0.0, 0.0, 0.0004)) for n in range(len(made.calls))}
    assert_same(
        results(lambda given: timed_run(made.trace(), given, slow.__getitem__)[1]), expected
    )


def test_a_missing_event_is_seen_by_the_stress_test() -> None:
    """The delays do find races: without its event a late value is read too early."""
    made = RandomTrace(0, 0, 2)
    late, used = made.new(), made.new()
    made.calls += [
        AtenCall(aten.sin.default, (made.inputs[0],), {}, [late], 0, 1),
        AtenCall(aten.cos.default, (late,), {}, [used], 1, 0),
    ]
    made.values += [late, used]
    with pytest.raises(KeyError):
        timed_run(made.trace(), inputs(), lambda number: 0.05 * (number == 0))
    order_calls(made.calls, made.memory.__getitem__)
    assert made.calls[0].records == made.calls[1].waits == (0,)
    _, outputs = timed_run(made.trace(), inputs(), lambda number: 0.05 * (number == 0))
    assert torch.equal(outputs[0], inputs()[0].sin().cos())


def test_one_stream_needs_no_events() -> None:
    made = RandomTrace(1, 30, 1)
    order_calls(made.calls, made.memory.__getitem__)
    assert not any(call.waits or call.records for call in made.calls)


def random_function(seed: int) -> Callable[..., tuple[Tensor, ...]]:
    """Operations in scopes at random, with a write to an input."""
    r = random.Random(seed)
    steps = [
        (r.choice(("mm", "add", "sin", "softmax")), r.randrange(3 + n), r.randrange(3 + n))
        for n in range(25)
    ]
    tags = [f"s{r.randrange(6)}" for _ in steps]

    def f(x: Tensor, y: Tensor, state: Tensor) -> tuple[Tensor, ...]:
        values = [x, y, state]
        for number, ((operation, first, second), tag) in enumerate(zip(steps, tags, strict=True)):
            a, b = values[first], values[second]
            with scope.npu_stream_switch(tag):
                if operation == "mm":
                    values.append(torch.mm(a, b))
                elif operation == "add":
                    values.append(a + b)
                else:
                    values.append(torch.softmax(a, 0) if operation == "softmax" else a.sin())
            if number == 12:
                state.add_(values[-1])
        return tuple(values[-4:])

    return f


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("streams", ["user", 3])
@pytest.mark.parametrize("mode", ["max-autotune", "reduce-overhead"])
def test_random_models_in_scopes(seed: int, streams: str | int, mode: str) -> None:
    f = random_function(seed)
    config = torchair.CompilerConfig()
    config.mode = mode
    config.streams = streams
    torch._dynamo.reset()
    compiled = torch.compile(
        f, backend=torchair.get_npu_backend(compiler_config=config), fullgraph=True
    )
    with torch.no_grad():
        for _ in range(3):
            given, other = inputs(), inputs()
            assert_same([*compiled(*given), *given], [*f(*other), *other])


@pytest.mark.parametrize("mode", ["max-autotune", "reduce-overhead"])
def test_symbolic_sizes_in_scopes(mode: str) -> None:
    def f(x: Tensor, y: Tensor) -> Tensor:
        with scope.npu_stream_switch("side"):
            rows = x.shape[0] * 2
            z = torch.cat([x, x]).reshape(rows, -1)
        w = y.expand(rows, y.shape[0])
        return z.sum(1) + w.sum(1)

    config = torchair.CompilerConfig()
    config.mode = mode
    torch._dynamo.reset()
    backend = torchair.get_npu_backend(compiler_config=config)
    compiled = torch.compile(f, backend=backend, fullgraph=True, dynamic=True)
    with torch.no_grad():
        for rows, columns in ((3, 4), (5, 7), (3, 4)):
            x, y = torch.randn(rows, columns), torch.randn(columns)
            assert torch.equal(compiled(x, y), f(x, y))


@pytest.mark.parametrize("streams", ["auto", 2])
def test_automatic_streams_on_a_model(streams: str | int) -> None:
    layers = torch.nn.ModuleList([torch.nn.Linear(256, 256) for _ in range(8)]).eval()

    def towers(x: Tensor, y: Tensor) -> Tensor:
        for left, right in zip(layers[:4], layers[4:], strict=True):
            x, y = torch.relu(left(x)), torch.relu(right(y))
        return x @ y.t()

    config = torchair.CompilerConfig()
    config.streams = streams
    backend = torchair.get_npu_backend(compiler_config=config)
    torch._dynamo.reset()
    compiled = torch.compile(towers, backend=backend, fullgraph=True)
    x, y = torch.randn(256, 256), torch.randn(256, 256)
    with torch.no_grad():
        assert torch.equal(compiled(x, y), towers(x, y))
    assert len(backend.reports[-1].schedule.labels) == 2
    assert backend.reports[-1].schedule.speed_up > 1.5


def test_contradicting_options_are_refused() -> None:
    config = torchair.CompilerConfig()
    config.streams = "auto"
    config.ge_config.enable_single_stream = True
    torch._dynamo.reset()
    backend = torchair.get_npu_backend(compiler_config=config)
    with pytest.raises(ConfigError, match="set one of them only"):
        torch.compile(torch.sin, backend=backend)(torch.ones(2))
