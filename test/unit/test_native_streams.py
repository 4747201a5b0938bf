"""Programs on several streams, launched on devices, captured and replayed."""

from __future__ import annotations

import gc
import random
import threading
import time
from collections.abc import Callable

import psutil
import pytest
import torch
from recorded_programs import X, assert_identical

from torchair._native import OperatorError, runtime
from torchair.backend_ge.host.program import AtenCall, Program, ProgramError, Slot, Trace

aten = torch.ops.aten


@torch.library.custom_op("torchair_test::delayed_add", mutates_args=())
def delayed_add(x: torch.Tensor, milliseconds: int) -> torch.Tensor:
    time.sleep(milliseconds / 1000)
    return x + 1


@delayed_add.register_fake
def _(x: torch.Tensor, milliseconds: int) -> torch.Tensor:
    return torch.empty_like(x)


def two_branches() -> Trace:
    """cos on stream 1, sin on stream 0, their sum on stream 0."""
    calls = [
        AtenCall(aten.mul.Tensor, (Slot(0), Slot(0)), {}, [Slot(1)], 0, records=(7,)),
        AtenCall(aten.cos.default, (Slot(1),), {}, [Slot(2)], 1, stream=1, waits=(7,)),
        AtenCall(aten.sin.default, (Slot(1),), {}, [Slot(3)], 2),
        AtenCall(aten.neg.default, (Slot(2),), {}, [Slot(4)], 3, stream=1, records=(9,)),
        AtenCall(aten.add.Tensor, (Slot(3), Slot(4)), {}, [Slot(5)], 4, waits=(9,)),
    ]
    return Trace([Slot(0)], {}, calls, [Slot(5)])


def eager_branches(x: torch.Tensor) -> torch.Tensor:
    return (x * x).sin() + -(x * x).cos()


def test_two_streams_compute_what_one_does():
    program = Program(two_branches())
    for seed in range(30):
        x = torch.randn(50, generator=torch.Generator().manual_seed(seed))
        assert_identical(program.run([x])[0], eager_branches(x))
    assert program.is_planned and program.arena_bytes > 0


def test_streams_run_at_the_same_time():
    barrier = threading.Barrier(2, timeout=10)

    @torch.library.custom_op("torchair_test::meet", mutates_args=())
    def meet(x: torch.Tensor) -> torch.Tensor:
        barrier.wait()
        return x.clone()

    op = torch.ops.torchair_test.meet.default
    calls = [
        AtenCall(op, (Slot(0),), {}, [Slot(1)], 0, stream=1, records=(0,)),
        AtenCall(op, (Slot(0),), {}, [Slot(2)], 1),
        AtenCall(aten.add.Tensor, (Slot(1), Slot(2)), {}, [Slot(3)], 2, waits=(0,)),
    ]
    program = Program(Trace([Slot(0)], {}, calls, [Slot(3)]))
    for _ in range(3):
        assert_identical(program.run([X])[0], X + X)


def test_failure_on_a_stream_reaches_the_caller():
    calls = [
        AtenCall(aten.mm.default, (Slot(0), Slot(0)), {}, [Slot(1)], 40, stream=1, records=(0,)),
        AtenCall(aten.cos.default, (Slot(1),), {}, [Slot(2)], 41, waits=(0,)),
    ]
    program = Program(Trace([Slot(0)], {}, calls, [Slot(2)]))
    square = torch.randn(3, 3)
    for _ in range(4):
        with pytest.raises(ProgramError, match="cannot be multiplied") as caught:
            program.run([X])
        assert caught.value.origin == 40
        assert_identical(program.run([square])[0], (square @ square).cos())


def event_calls(*placements: tuple[int, tuple[int, ...], tuple[int, ...]]) -> Trace:
    calls = [
        AtenCall(aten.neg.default, (Slot(i),), {}, [Slot(i + 1)], i, stream, waits, records)
        for i, (stream, waits, records) in enumerate(placements)
    ]
    return Trace([Slot(0)], {}, calls, [Slot(len(calls))])


@pytest.mark.parametrize(
    ("trace", "message"),
    [
        (event_calls((0, (3,), ())), "call 0 waits for event 3, which no call records"),
        (event_calls((0, (1,), (0,)), (1, (0,), (1,))), "call 0 waits .* a deadlock"),
        (event_calls((0, (0,), (0,))), "call 0 waits for event 0, which call 0 records"),
        (event_calls((0, (), (0,)), (1, (), (0,))), "recorded by call 0 and again by call 1"),
        (event_calls((0, (), ()), (1, (), ())), "call 1 on stream 1 uses what call 0 on stream 0"),
    ],
)
def test_illegal_schedules_are_refused(trace, message):
    with pytest.raises(ValueError, match=message):
        Program(trace)


def random_schedule(seed: int) -> Trace:
    """A random program on up to four streams, with events where values cross."""
    choose = random.Random(seed)
    n_streams = choose.randint(2, 4)
    calls: list[AtenCall] = []
    where: dict[int, int] = {}  # slot -> call
    for index in range(30):
        operands = [Slot(choose.randint(max(0, index - 6), index)) for _ in range(2)]
        stream = choose.randrange(n_streams)
        waits: list[int] = []
        for operand in operands:
            producer = where.get(operand.index)
            if producer is not None and calls[producer].stream != stream:
                calls[producer].records = (producer,)
                waits.append(producer)
        if choose.random() < 0.15:
            op = torch.ops.torchair_test.delayed_add.default
            arguments: tuple[object, ...] = (operands[0], choose.randint(0, 2))
        else:
            op = choose.choice([aten.add.Tensor, aten.sub.Tensor, aten.maximum.default])
            arguments = tuple(operands)
        results: list[Slot | None] = [Slot(index + 1)]
        calls.append(AtenCall(op, arguments, {}, results, index, stream, tuple(sorted(set(waits)))))
        where[index + 1] = index
    ends = [Slot(index) for index in range(26, 31)]
    return Trace([Slot(0)], {}, calls, ends)


def run_eager(trace: Trace, x: torch.Tensor) -> list[torch.Tensor]:
    values: dict[Slot | None, torch.Tensor] = {Slot(0): x}
    for call in trace.calls:
        arguments = [values[a] if isinstance(a, Slot) else a for a in call.args]
        values[call.results[0]] = call.op(*arguments)
    return [values[slot] for slot in trace.outputs]


@pytest.mark.parametrize("seed", range(12))
def test_random_schedules_equal_eager(seed):
    trace = random_schedule(seed)
    program = Program(trace)
    for run in range(5):
        x = torch.randn(40, generator=torch.Generator().manual_seed(run))
        for pair in zip(program.run([x]), run_eager(trace, x), strict=True):
            assert_identical(*pair)
    assert program.is_planned


def test_threads_share_a_program_of_several_streams():
    program = Program(two_branches())
    failures: list[int] = []

    def work(seed: int) -> None:
        generator = torch.Generator().manual_seed(seed)
        for _ in range(40):
            x = torch.randn(30, generator=generator)
            if not torch.equal(program.run([x])[0], eager_branches(x)):
                failures.append(seed)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


@pytest.fixture
def device() -> runtime.Device:
    return runtime.Device("host")


def test_launch_runs_at_once_on_streams(device):
    x = torch.randn(20)
    launch = Program(two_branches()).bind({0: x}).launch()
    streams = [device.create_stream(), device.create_stream()]
    launch.put_on(device, streams)
    streams[0].synchronize()
    assert_identical(launch.outputs()[0], eager_branches(x))
    with pytest.raises(ValueError, match="takes 2 streams, not 1"):
        launch.put_on(device, streams[:1])
    with pytest.raises(ValueError, match="1 are free"):
        Program(two_branches()).bind({}).launch()


def captured(
    device: runtime.Device,
    program: Program,
    x: torch.Tensor,
    pool: runtime.MemoryPool | None = None,
) -> tuple[runtime.Graph, Callable[[], list[torch.Tensor]], list[runtime.Stream]]:
    launch = program.bind({0: x}, pool).launch()
    streams = [device.create_stream() for _ in range(program.n_streams)]
    streams[0].begin_capture(pool=pool)
    launch.put_on(device, streams)
    launch.share_memory()
    return streams[0].end_capture(), launch.outputs, streams


@pytest.mark.parametrize("is_planned", [True, False])
def test_replay_reads_its_inputs_anew(device, is_planned):
    program = Program(two_branches())
    x = torch.randn(20)
    if is_planned:
        assert program.plan([x])
    graph, outputs, streams = captured(device, program, x)
    assert outputs() == [None]
    for seed in range(5):
        x.copy_(torch.randn(20, generator=torch.Generator().manual_seed(seed)))
        graph.replay(streams[0])
        streams[0].synchronize()
        assert_identical(outputs()[0], eager_branches(x))


def test_replayed_writes_reach_the_input(device):
    calls = [AtenCall(aten.add_.Scalar, (Slot(0), 1), {}, [Slot(0)], 0)]
    x = torch.zeros(4)
    graph, outputs, streams = captured(device, Program(Trace([Slot(0)], {}, calls, [Slot(0)])), x)
    for _ in range(10):
        graph.replay(streams[0])
    streams[0].synchronize()
    assert x.tolist() == [10.0] * 4
    assert outputs()[0].data_ptr() == x.data_ptr()


def test_failed_replay_names_the_call_and_the_next_one_works(device):
    calls = [
        AtenCall(aten.cos.default, (Slot(0),), {}, [Slot(1)], 5),
        AtenCall(aten.index_select.default, (Slot(1), 0, Slot(2)), {}, [Slot(3)], 6),
    ]
    index = torch.tensor([99])
    program = Program(Trace([Slot(0)], {Slot(2): index}, calls, [Slot(3)]))
    launch = program.bind({0: X}).launch()
    stream = device.create_stream()
    stream.begin_capture()
    launch.put_on(device, [stream])
    graph = stream.end_capture()
    graph.replay(stream)
    with pytest.raises(OperatorError) as caught:
        stream.synchronize()
    error = launch.error(caught.value)
    assert error.origin == 6 and error.op == "aten.index_select.default"
    index.fill_(1)
    graph.replay(stream)
    stream.synchronize()
    assert_identical(launch.outputs()[0], X.cos()[1:2])


def test_captures_of_one_pool_share_memory(device):
    pool = device.create_pool()
    program = Program(two_branches())
    inputs = [torch.randn(1000) for _ in range(4)]
    assert program.plan(inputs[:1])
    graphs = [captured(device, program, x, pool) for x in inputs]
    assert pool.bytes_in_use == 0
    assert pool.bytes_reserved == pool.bytes_peak == program.arena_bytes
    for _ in range(3):
        for (graph, outputs, streams), x in zip(graphs, inputs, strict=True):
            graph.replay(streams[0])
            streams[0].synchronize()
            assert_identical(outputs()[0], eager_branches(x))


def test_graph_outlives_everything_else(device):
    x = torch.randn(20)
    program = Program(two_branches())
    program.plan([x])
    graph, outputs, streams = captured(device, program, x, device.create_pool())
    del program
    gc.collect()
    graph.replay(streams[0])
    del graph
    gc.collect()
    streams[0].synchronize()
    assert_identical(outputs()[0], eager_branches(x))


def test_replays_leak_nothing(device):
    x = torch.randn(2000)
    program = Program(two_branches())
    program.plan([x])
    graph, _, streams = captured(device, program, x)

    def replay(count: int) -> None:
        for _ in range(count // 100):
            for _ in range(100):
                graph.replay(streams[0])
            streams[0].synchronize()

    replay(1000)
    before = psutil.Process().memory_info().rss
    replay(10_000)
    assert psutil.Process().memory_info().rss - before < 1 << 20
