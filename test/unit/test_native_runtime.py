"""Streams, events, capture and replay of the host device."""

from __future__ import annotations

import ctypes
import gc
import json
import threading
import time
from collections.abc import Callable

import psutil
import pytest
import torch  # noqa: F401  (before the native module, which looks for libtorch in the process)

from torchair._native import runtime

STREAM_CAPTURED = 107027


@pytest.fixture
def device() -> runtime.Device:
    return runtime.Device("host")


@pytest.fixture
def stream(device) -> runtime.Stream:
    return device.create_stream()


class Log:
    """Tasks that write down when they ran."""

    def __init__(self) -> None:
        self.entries: list[object] = []

    def task(self, entry: object, seconds: float = 0.0) -> Callable[[int], None]:
        def run(native_stream: int) -> None:
            assert native_stream == 0
            time.sleep(seconds)
            self.entries.append(entry)

        return run

    def take(self) -> list[object]:
        taken, self.entries = self.entries, []
        return taken


@pytest.fixture
def log() -> Log:
    return Log()


def refuses(code: int, call: Callable[..., object], *args: object) -> str:
    """The text of the refusal, after its code was checked."""
    with pytest.raises(runtime.DeviceError) as caught:
        call(*args)
    found, name, text = caught.value.args
    assert found == code, text
    assert f"({name}, {code}): " in text
    return text


def capture(
    stream: runtime.Stream, body: Callable[[], object], mode: str = "global"
) -> runtime.Graph:
    stream.begin_capture(mode)
    body()
    return stream.end_capture()


def fail(_: int) -> None:
    raise ValueError("broken task")


def test_unknown_device():
    with pytest.raises(ValueError, match="no device tpu"):
        runtime.Device("tpu")


def test_tasks_of_a_stream_run_in_order(stream, log):
    for entry in range(100):
        stream.launch(log.task(entry))
    stream.synchronize()
    assert log.entries == list(range(100))
    assert stream.query()


def test_events_order_streams(device, log):
    first, second = device.create_stream(), device.create_stream()
    event = device.create_event()
    assert event.query()
    first.launch(log.task("slow", 0.05))
    first.record(event)
    second.wait(event)
    second.launch(log.task("after"))
    assert not event.query()
    second.synchronize()
    assert log.entries == ["slow", "after"]
    event.synchronize()


def test_a_wait_is_for_the_record_before_it(device, log):
    first, second = device.create_stream(), device.create_stream()
    event = device.create_event()
    second.wait(event)  # never recorded: nothing to wait for
    first.record(event)
    second.wait(event)
    first.launch(log.task("later record", 0.05))
    first.record(event)
    second.launch(log.task("first record"))
    device.synchronize()
    assert log.entries == ["first record", "later record"]


def test_timeouts(stream, device, log):
    event = device.create_event()
    stream.launch(log.task("slow", 0.2))
    stream.record(event)
    assert "limit was 10 ms" in refuses(107019, stream.synchronize, 10)
    refuses(107019, event.synchronize, 10)
    stream.synchronize(5000)


def test_failure_skips_tasks_but_not_records(device, log):
    first, second = device.create_stream(), device.create_stream()
    event = device.create_event()
    first.launch(fail, "my task")
    first.launch(log.task("skipped"))
    first.record(event)
    second.wait(event)
    second.launch(log.task("other stream"))
    second.synchronize()
    with pytest.raises(RuntimeError, match="my task: ValueError: broken task"):
        first.synchronize()
    first.launch(log.task("again"))
    first.synchronize()
    assert log.entries == ["other stream", "again"]


def test_external_event_is_set_and_reset(device, log):
    first, second = device.create_stream(), device.create_stream()
    event = device.create_event(external=True)
    assert event.external and not event.query()
    first.wait(event)
    first.reset(event)
    first.launch(log.task("held"))
    time.sleep(0.02)
    assert log.entries == []
    second.record(event)
    first.synchronize()
    assert log.take() == ["held"] and not event.query()
    refuses(107000, first.reset, device.create_event())


def test_capture_stores_and_replay_runs(stream, log):
    graph = capture(stream, lambda: [stream.launch(log.task(i)) for i in range(3)])
    stream.synchronize()
    assert log.take() == []
    assert graph.task_count == 3 and graph.id > 0
    for _ in range(4):
        graph.replay(stream)
    stream.synchronize()
    assert log.take() == [0, 1, 2] * 4


def test_replay_on_any_stream_keeps_the_order_of_replays(device, log):
    first, second = device.create_stream(), device.create_stream()
    graph = capture(
        first,
        lambda: [first.launch(log.task("begin", 0.01)), first.launch(log.task("end", 0.01))],
    )
    graph.replay(first)
    graph.replay(second)
    device.synchronize()
    assert log.entries == ["begin", "end"] * 2


def fork_and_join(device, origin, side, log) -> None:
    fork, join = device.create_event(), device.create_event()
    origin.launch(log.task("before"))
    origin.record(fork)
    side.wait(fork)
    side.launch(log.task("side", 0.02))
    side.record(join)
    origin.wait(join)
    origin.launch(log.task("after"))


def test_a_forked_stream_joins_the_capture(device, stream, log):
    side = device.create_stream()
    stream.begin_capture()
    fork_and_join(device, stream, side, log)
    assert stream.capture_info == side.capture_info
    assert stream.capture_info[0] == "active"
    graph = stream.end_capture()
    assert stream.capture_info == ("none", 0) == side.capture_info
    for _ in range(20):
        graph.replay(stream)
    stream.synchronize()
    assert log.entries == ["before", "side", "after"] * 20


def test_lanes_of_a_graph_run_at_the_same_time(device, stream):
    side = device.create_stream()
    fork, join = device.create_event(), device.create_event()
    barrier = threading.Barrier(2, timeout=10)
    stream.begin_capture()
    stream.record(fork)
    side.wait(fork)
    side.launch(lambda _: barrier.wait())
    side.record(join)
    stream.launch(lambda _: barrier.wait())
    stream.wait(join)
    graph = stream.end_capture()
    for _ in range(3):
        graph.replay(stream)
    stream.synchronize()
    assert not barrier.broken


def test_unjoined_stream_is_refused(device, stream, log):
    side = device.create_stream()
    fork = device.create_event()
    stream.begin_capture()
    stream.record(fork)
    side.wait(fork)
    side.launch(log.task("lost"))
    assert "1 of its 2 streams" in refuses(107025, stream.end_capture)
    for usable in (stream, side):
        usable.launch(log.task("usable"))
        usable.synchronize()
    assert log.entries == ["usable"] * 2


def test_task_after_the_join_is_refused(device, stream, log):
    side = device.create_stream()
    stream.begin_capture()
    fork_and_join(device, stream, side, log)
    side.launch(log.task("late"))
    refuses(107025, stream.end_capture)


def test_begin_and_end_are_paired(device, stream):
    other = device.create_stream()
    refuses(107029, stream.end_capture)
    stream.begin_capture()
    refuses(STREAM_CAPTURED, stream.begin_capture)
    fork, join = device.create_event(), device.create_event()
    stream.record(fork)
    other.wait(fork)
    refuses(107036, other.end_capture)
    other.record(join)
    stream.wait(join)
    assert stream.end_capture().task_count == 0


@pytest.mark.parametrize("mode", ["global", "thread_local", "relaxed"])
def test_capture_ends_on_its_thread_unless_relaxed(stream, mode):
    stream.begin_capture(mode)
    codes: list[int] = []

    def end() -> None:
        try:
            stream.end_capture()
        except runtime.DeviceError as error:
            codes.append(error.args[0])

    thread = threading.Thread(target=end)
    thread.start()
    thread.join()
    assert codes == ([] if mode == "relaxed" else [107038])
    if mode != "relaxed":
        stream.end_capture()
    assert stream.capture_info == ("none", 0)


def test_unknown_mode(stream):
    with pytest.raises(ValueError, match="not eager"):
        stream.begin_capture("eager")


@pytest.mark.parametrize("call", ["query", "synchronize"])
def test_no_wait_while_capturing(device, stream, log, call):
    stream.begin_capture("relaxed")
    refuses(107030, getattr(stream, call))
    assert stream.capture_info[0] == "invalidated"
    assert "Reason: a stream cannot be" in refuses(507903, stream.end_capture)
    stream.launch(log.task("usable"))
    stream.synchronize()
    assert log.entries == ["usable"]


def test_no_device_wait_while_capturing(device, stream):
    stream.begin_capture()
    refuses(107030, device.synchronize)
    refuses(507903, stream.end_capture)
    device.synchronize()


@pytest.mark.parametrize("call", ["query", "synchronize"])
def test_no_wait_for_a_captured_event(device, stream, call):
    event = device.create_event()
    stream.begin_capture()
    stream.record(event)
    refuses(107028, getattr(event, call))
    refuses(507903, stream.end_capture)
    assert event.query()


def test_default_stream_stays_out_of_captures(device, stream, log):
    default = device.default_stream
    refuses(107031, default.begin_capture)
    stream.begin_capture()
    refuses(107031, default.launch, log.task("implicit"))
    refuses(107031, default.record, device.create_event())
    stream.end_capture()
    default.launch(log.task("fine"))
    default.synchronize()
    assert log.entries == ["fine"]


def test_wait_for_an_event_from_outside_is_refused(device, stream):
    event = device.create_event()
    device.create_stream().record(event)
    stream.begin_capture()
    assert "external event" in refuses(107024, stream.wait, event)
    refuses(507903, stream.end_capture)


def test_two_captures_stay_apart(device, stream):
    other = device.create_stream()
    event = device.create_event()
    stream.begin_capture()
    other.begin_capture()
    stream.record(event)
    refuses(107032, other.wait, event)
    refuses(507903, stream.end_capture)
    refuses(507903, other.end_capture)


def copy_code(device: runtime.Device, thread_mode: str, in_thread: bool) -> int:
    """The code that a blocking copy gets, 0 when it is made."""
    source, target = ctypes.create_string_buffer(b"abc"), ctypes.create_string_buffer(4)
    codes: list[int] = []

    def copy() -> None:
        previous = device.exchange_thread_mode(thread_mode)
        try:
            device.copy(ctypes.addressof(target), ctypes.addressof(source), 4)
            codes.append(0 if target.value == b"abc" else -1)
        except runtime.DeviceError as error:
            codes.append(error.args[0])
        finally:
            assert device.exchange_thread_mode(previous) == thread_mode

    if in_thread:
        thread = threading.Thread(target=copy)
        thread.start()
        thread.join()
    else:
        copy()
    return codes[0]


@pytest.mark.parametrize(
    ("mode", "thread_mode", "own", "other"),
    [
        ("global", "global", 107030, 107030),
        ("global", "thread_local", 107030, 0),
        ("global", "relaxed", 0, 0),
        ("thread_local", "global", 107030, 0),
        ("thread_local", "relaxed", 0, 0),
        ("relaxed", "global", 0, 0),
    ],
)
def test_modes_decide_about_blocking_copies(device, stream, mode, thread_mode, own, other):
    for in_thread, code in ((False, own), (True, other)):
        stream.begin_capture(mode)
        assert copy_code(device, thread_mode, in_thread) == code
        if code:
            refuses(507903, stream.end_capture)
        else:
            stream.end_capture()


def test_a_graph_may_be_destroyed_when_idle(stream, log):
    graph = capture(stream, lambda: stream.launch(log.task("slow", 0.1)))
    graph.replay(stream)
    refuses(107037, graph.destroy)
    stream.synchronize()
    graph.destroy()
    refuses(107017, graph.replay, stream)
    assert log.entries == ["slow"]


def test_a_dropped_graph_finishes_its_replays(device, stream, log):
    side = device.create_stream()
    stream.begin_capture()
    fork_and_join(device, stream, side, log)
    graph = stream.end_capture()
    for _ in range(3):
        graph.replay(stream)
    del graph, side
    gc.collect()
    stream.synchronize()
    assert log.entries == ["before", "side", "after"] * 3


def test_dropped_stream_and_capture(device, log):
    stream, side = device.create_stream(), device.create_stream()
    event = device.create_event()
    stream.begin_capture()
    stream.record(event)
    side.wait(event)
    del stream
    gc.collect()
    assert side.capture_info == ("none", 0)
    side.launch(log.task("usable"))
    side.synchronize()
    device.synchronize()
    assert log.entries == ["usable"]


def test_failed_replay_is_reported_and_the_next_one_works(device, stream, log):
    side = device.create_stream()
    broken = [True]

    def sometimes(_: int) -> None:
        if broken[0]:
            raise ValueError("no luck")
        log.entries.append("lucky")

    fork, join = device.create_event(), device.create_event()
    stream.begin_capture()
    stream.record(fork)
    side.wait(fork)
    side.launch(sometimes, "sometimes")
    side.record(join)
    stream.wait(join)
    stream.launch(log.task("end"))
    graph = stream.end_capture()
    graph.replay(stream)
    with pytest.raises(RuntimeError, match="sometimes: ValueError: no luck"):
        stream.synchronize()
    assert log.entries == []
    broken[0] = False
    graph.replay(stream)
    stream.synchronize()
    assert log.entries == ["lucky", "end"]


def grouped(device, stream, log) -> tuple[runtime.Graph, runtime.TaskGroup, runtime.Event]:
    """A wait for an external event, then a group of one task."""
    event = device.create_event(external=True)
    stream.begin_capture()
    stream.wait(event)
    stream.reset(event)
    stream.begin_task_group()
    stream.launch(log.task("old"), "op")
    group = stream.end_task_group()
    return stream.end_capture(), group, event


def test_task_group_is_updated_in_front_of_a_waiting_replay(device, stream, log):
    graph, group, event = grouped(device, stream, log)
    updates = device.create_stream()
    for value in range(3):
        graph.replay(stream)
        updates.begin_update(group)
        updates.launch(log.task(value), "op")
        updates.end_update()
        updates.record(event)  # one for every replay
        stream.synchronize()
    assert log.take() == [0, 1, 2]
    graph.replay(stream)
    updates.record(event)
    stream.synchronize()
    assert log.take() == [2]


def test_illegal_groups_and_updates(device, stream, log):
    refuses(107029, stream.begin_task_group)
    refuses(107033, stream.end_update)
    stream.begin_capture()
    refuses(107033, stream.end_task_group)
    stream.begin_task_group()
    refuses(107033, stream.begin_task_group)
    refuses(107034, stream.record, device.create_event())
    refuses(507903, stream.end_capture)
    stream.begin_capture()
    stream.begin_task_group()
    refuses(107033, stream.end_capture)

    graph, group, event = grouped(device, stream, log)
    other = device.create_stream()
    other.begin_update(group)
    refuses(107033, other.begin_update, group)
    refuses(107033, stream.begin_update, group)
    refuses(107033, other.begin_capture)
    assert "has 1 tasks, the update launched 0" in refuses(107040, other.end_update)
    other.begin_update(group)
    other.launch(log.task("new"), "another op")
    assert "Task 0 is op" in refuses(107040, other.end_update)
    stream.begin_capture()
    refuses(STREAM_CAPTURED, stream.begin_update, group)
    stream.end_capture()
    graph.replay(stream)
    other.record(event)
    stream.synchronize()
    assert log.entries == ["old"]
    del graph
    gc.collect()
    refuses(107017, other.begin_update, group)


def test_update_of_a_running_group_is_refused(stream, device, log):
    stream.begin_capture()
    stream.launch(log.task("slow", 0.1), "slow")
    stream.begin_task_group()
    stream.launch(log.task("old"), "op")
    group = stream.end_task_group()
    graph = stream.end_capture()
    graph.replay(stream)
    other = device.create_stream()
    other.begin_update(group)
    other.launch(log.task("new"), "op")
    assert "Nothing holds the running replay" in refuses(107037, other.end_update)
    stream.synchronize()
    assert log.take() == ["slow", "old"]


def test_pool_gives_freed_memory_again(device):
    pool = device.create_pool()
    first = pool.allocate(1000)
    assert first % 64 == 0 and pool.bytes_in_use == 1024
    pool.free(first)
    assert pool.allocate(900) == first
    second = pool.allocate(5000)
    assert pool.bytes_reserved == pool.bytes_peak == pool.bytes_in_use
    pool.free(second)
    assert pool.bytes_in_use == 1024
    refuses(107000, pool.free, second)


def test_graph_is_written_as_a_trace(stream, log, tmp_path):
    graph = capture(stream, lambda: stream.launch(log.task(0), 'name with "quotes"'))
    path = tmp_path / "graph.json"
    graph.write_json(str(path))
    events = json.loads(path.read_text())["traceEvents"]
    assert [event["name"] for event in events] == ['name with "quotes"']
    refuses(107000, graph.write_json, str(tmp_path / "no" / "graph.json"))


def test_ten_thousand_replays_leak_nothing(device, stream):
    side = device.create_stream()
    stream.begin_capture()
    fork_and_join(device, stream, side, _Silent())
    graph = stream.end_capture()

    def replay(count: int) -> None:
        for _ in range(count // 100):
            for _ in range(100):
                graph.replay(stream)
            stream.synchronize()

    replay(1000)
    before = psutil.Process().memory_info().rss
    replay(10_000)
    assert psutil.Process().memory_info().rss - before < 1 << 20


class _Silent(Log):
    def task(self, entry: object, seconds: float = 0.0) -> Callable[[int], None]:
        return lambda _: None
