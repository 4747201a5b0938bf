"""Streams, events, capture and replay through ACL, on the strict fake, with ACL's own codes."""

from __future__ import annotations

import gc
import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from fake_cann.build import compiler
from fake_cann.device import FakeCann
from fake_cann.fixtures import engine_on, loaded_fake
from fake_cann.kernels import SIZE, Kernels

from torchair import _native
from torchair.backend_ge.cann import process

pytestmark = pytest.mark.skipif(compiler() is None, reason="no C++ compiler to build the fake CANN")

runtime = _native.runtime


@pytest.fixture
def fake(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Iterator[FakeCann]:
    loaded = loaded_fake(tmp_path_factory.mktemp("cann"))
    with engine_on(loaded, "session", monkeypatch):
        yield loaded
        gc.collect()  # what a caught exception's frames hold
        process.close_device()


@pytest.fixture
def kernels(fake: FakeCann) -> Iterator[Kernels]:
    made = Kernels(fake.folder, process.open_device())
    yield made
    del made.pool, made.device


def code_of(error: pytest.ExceptionInfo[runtime.DeviceError]) -> int:
    return int(error.value.args[0])


# ---------------------------------------------------------------- streams and events


def test_work_is_done_in_order(kernels: Kernels) -> None:
    stream = kernels.device.create_stream()
    a, b, c = kernels.buffer(1), kernels.buffer(2), kernels.buffer(3)
    kernels.copy(stream, b, a)
    kernels.copy(stream, c, b)
    assert kernels.value(c) == 3, "nothing is done before somebody waits"
    assert not stream.query()
    stream.synchronize()
    assert stream.query() and kernels.value(c) == 1


def test_events_order_streams(kernels: Kernels) -> None:
    first, second = kernels.device.create_stream(), kernels.device.create_stream(1)
    assert first.id != second.id
    event = kernels.device.create_event()
    assert event.query(), "never recorded"
    a, b, c = kernels.buffer(1), kernels.buffer(2), kernels.buffer(3)
    second.wait(event)
    kernels.copy(first, b, a)
    first.record(event)
    assert not event.query()
    second.wait(event)
    kernels.copy(second, c, b)
    second.synchronize()
    assert kernels.value(c) == 1 and event.query()


def test_waits_have_limits(fake: FakeCann, kernels: Kernels) -> None:
    stream, event = kernels.device.create_stream(), kernels.device.create_event()
    fake.set_delay(200)
    kernels.copy(stream, kernels.buffer(1), kernels.buffer(2))
    stream.record(event)
    for wait in (stream.synchronize, event.synchronize):
        with pytest.raises(runtime.DeviceError) as caught:
            wait(20)
        assert code_of(caught) == 107019
    event.synchronize()
    stream.synchronize(2000)


def test_failed_launch_leaves_the_stream_usable(kernels: Kernels) -> None:
    stream = kernels.device.create_stream()

    def fail(_: int) -> None:
        raise ValueError("no kernel")

    with pytest.raises(RuntimeError, match=r"aten\.mm: ValueError: no kernel"):
        stream.launch(fail, "aten.mm")
    a, b = kernels.buffer(1), kernels.buffer(2)
    kernels.copy(stream, b, a)
    stream.synchronize()
    assert kernels.value(b) == 1


def test_pool_reuses_memory(kernels: Kernels) -> None:
    pool = kernels.device.create_pool()
    a = pool.allocate(1000)
    assert a % 512 == 0 and pool.bytes_in_use == pool.bytes_reserved == pool.bytes_peak == 1024
    pool.free(a)
    assert pool.allocate(900) == a and pool.bytes_reserved == 1024
    with pytest.raises(runtime.DeviceError) as caught:
        pool.free(a + 1)
    assert code_of(caught) == 107000


# ---------------------------------------------------------------- capture and replay


def test_captured_work_runs_at_replay(kernels: Kernels) -> None:
    stream = kernels.device.create_stream()
    a, b = kernels.buffer(1), kernels.buffer(2)
    stream.begin_capture()
    assert stream.capture_info[0] == "active"
    kernels.copy(stream, b, a)
    graph = stream.end_capture()
    assert graph.task_count == 1 and stream.capture_info == ("none", 0)
    stream.synchronize()
    assert kernels.value(b) == 2
    other = kernels.device.create_stream()
    for target in (stream, other):
        graph.replay(target)
        target.synchronize()
        assert kernels.value(b) == 1
    graph.destroy()
    with pytest.raises(runtime.DeviceError) as caught:
        graph.replay(stream)
    assert code_of(caught) == 107017


def test_side_stream_joins_and_leads_back(kernels: Kernels) -> None:
    main, side = kernels.device.create_stream(), kernels.device.create_stream()
    fork, back = kernels.device.create_event(), kernels.device.create_event()
    a, b, c = kernels.buffer(1), kernels.buffer(2), kernels.buffer(3)
    main.begin_capture("thread_local", kernels.device.create_pool())
    main.record(fork)
    side.wait(fork)
    assert side.capture_info == main.capture_info
    kernels.copy(side, b, a)
    side.record(back)
    main.wait(back)
    kernels.copy(main, c, b)
    graph = main.end_capture()
    assert graph.task_count == 2
    del side, fork, back  # the graph keeps them
    graph.replay(main)
    main.synchronize()
    assert kernels.value(c) == 1


def begin(kernels: Kernels, mode: str = "global") -> tuple[runtime.Stream, int, int]:
    stream = kernels.device.create_stream()
    a, b = kernels.buffer(1), kernels.buffer(2)
    stream.begin_capture(mode)
    kernels.copy(stream, b, a)
    return stream, a, b


def test_default_stream_cannot_be_captured(kernels: Kernels) -> None:
    with pytest.raises(runtime.DeviceError) as caught:
        kernels.device.default_stream.begin_capture()
    assert code_of(caught) == 107031


def test_capture_twice_and_not_at_all(kernels: Kernels) -> None:
    stream, _, _ = begin(kernels)
    with pytest.raises(runtime.DeviceError) as caught:
        stream.begin_capture()
    assert code_of(caught) == 107027
    graph = stream.end_capture()
    with pytest.raises(runtime.DeviceError) as caught:
        stream.end_capture()
    assert code_of(caught) == 107029
    del graph


@pytest.mark.parametrize("forbidden", ["synchronize", "query", "device", "event"])
def test_waiting_breaks_a_capture(kernels: Kernels, forbidden: str) -> None:
    stream, _, _ = begin(kernels)
    event = kernels.device.create_event()
    stream.record(event)
    wait = {
        "synchronize": stream.synchronize,
        "query": stream.query,
        "device": kernels.device.synchronize,
        "event": event.query,
    }[forbidden]
    with pytest.raises(runtime.DeviceError) as caught:
        wait()
    assert code_of(caught) == (107028 if forbidden == "event" else 107030)
    assert stream.capture_info[0] == "invalidated"
    with pytest.raises(runtime.DeviceError) as caught:
        stream.end_capture()
    assert code_of(caught) == 507903
    assert stream.capture_info == ("none", 0)
    stream.synchronize()


@pytest.mark.parametrize(
    ("mode", "own", "other"),
    [("global", False, False), ("thread_local", False, True), ("relaxed", True, True)],
)
def test_modes_decide_about_blocking_copies(
    kernels: Kernels, mode: str, own: bool, other: bool
) -> None:
    for allowed, in_thread in ((own, False), (other, True)):
        stream, a, b = begin(kernels, mode)
        outcome: list[int] = []

        def copy(a: int = a, b: int = b, outcome: list[int] = outcome) -> None:
            try:
                kernels.device.copy(b, a, SIZE)
                outcome.append(0)
            except runtime.DeviceError as error:
                outcome.append(error.args[0])

        if in_thread:
            thread = threading.Thread(target=copy)
            thread.start()
            thread.join()
        else:
            copy()
        assert outcome == [0 if allowed else 107030]
        if allowed:
            stream.end_capture()
            continue
        with pytest.raises(runtime.DeviceError):
            stream.end_capture()


def test_relaxed_thread_may_copy(kernels: Kernels) -> None:
    stream, a, b = begin(kernels)
    assert kernels.device.exchange_thread_mode("relaxed") == "global"
    try:
        kernels.device.copy(b, a, SIZE)
    finally:
        assert kernels.device.exchange_thread_mode("global") == "relaxed"
    graph = stream.end_capture()
    assert graph.task_count == 1


def test_loose_side_stream(kernels: Kernels) -> None:
    main, a, b = begin(kernels)
    side, fork = kernels.device.create_stream(), kernels.device.create_event()
    main.record(fork)
    side.wait(fork)
    kernels.copy(side, a, b)
    with pytest.raises(runtime.DeviceError) as caught:
        main.end_capture()
    assert code_of(caught) == 107025
    assert side.capture_info == ("none", 0)


def test_end_on_another_stream_and_thread(kernels: Kernels) -> None:
    main, _, _ = begin(kernels)
    side, fork, back = (
        kernels.device.create_stream(),
        kernels.device.create_event(),
        kernels.device.create_event(),
    )
    main.record(fork)
    side.wait(fork)
    with pytest.raises(runtime.DeviceError) as caught:
        side.end_capture()
    assert code_of(caught) == 107036
    codes: list[int] = []

    def end() -> None:
        try:
            main.end_capture()
        except runtime.DeviceError as error:
            codes.append(error.args[0])

    thread = threading.Thread(target=end)
    thread.start()
    thread.join()
    assert codes == [107038]
    side.record(back)
    main.wait(back)
    assert main.end_capture().task_count == 1


def test_wait_for_an_event_of_nobody(kernels: Kernels) -> None:
    stream, _, _ = begin(kernels)
    with pytest.raises(runtime.DeviceError) as caught:
        stream.wait(kernels.device.create_event())
    assert code_of(caught) == 107024
    with pytest.raises(runtime.DeviceError):
        stream.end_capture()


def test_destroy_while_running(fake: FakeCann, kernels: Kernels) -> None:
    stream, _, b = begin(kernels)
    graph = stream.end_capture()
    fake.set_delay(100)
    graph.replay(stream)
    with pytest.raises(runtime.DeviceError) as caught:
        graph.destroy()
    assert code_of(caught) == 107037
    stream.synchronize()
    assert kernels.value(b) == 1
    graph.destroy()
    fake.set_delay(0)


def test_graph_that_is_dropped_while_running(fake: FakeCann, kernels: Kernels) -> None:
    stream, _, b = begin(kernels)
    graph = stream.end_capture()
    fake.set_delay(50)
    graph.replay(stream)
    del graph
    fake.set_delay(0)
    stream.synchronize()
    assert kernels.value(b) == 1


def test_json(kernels: Kernels, tmp_path: Path) -> None:
    stream, _, _ = begin(kernels)
    graph = stream.end_capture()
    graph.write_json(str(tmp_path / "graph.json"))
    assert [t["name"] for t in json.loads((tmp_path / "graph.json").read_text())] == [
        "aclrtMemcpyAsync"
    ]
    with pytest.raises(runtime.DeviceError):
        graph.write_json(str(tmp_path / "absent" / "graph.json"))
