"""Task groups, their updates, failures and ends of the device, through ACL on the fake."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import suppress

import pytest
import torch
from fake_cann.build import compiler
from fake_cann.device import FakeCann
from fake_cann.fixtures import compile_text, engine_on, loaded_fake, unary_graph
from fake_cann.kernels import Kernels

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


# ---------------------------------------------------------------- updates


def capture_group(kernels: Kernels) -> tuple[runtime.Stream, runtime.Graph, runtime.TaskGroup, int]:
    stream = kernels.device.create_stream()
    source, target = kernels.buffer(1), kernels.buffer(0)
    stream.begin_capture()
    stream.begin_task_group()
    kernels.copy(stream, target, source)
    group = stream.end_task_group()
    return stream, stream.end_capture(), group, target


def test_group_is_updated_between_replays(kernels: Kernels) -> None:
    stream, graph, group, target = capture_group(kernels)
    for value in (5, 6):
        source = kernels.buffer(value)
        stream.begin_update(group)
        kernels.copy(stream, target, source)
        stream.end_update()
        graph.replay(stream)
        stream.synchronize()
        assert kernels.value(target) == value
    graph.destroy()
    with pytest.raises(runtime.DeviceError) as caught:
        stream.begin_update(group)
    assert code_of(caught) == 107017


def test_external_event_holds_a_replay_until_the_update(kernels: Kernels) -> None:
    """Wait for and reset the event in front of the group; update on another stream; signal."""
    main, updates = kernels.device.create_stream(), kernels.device.create_stream()
    signal = kernels.device.create_event(external=True)
    source, target = kernels.buffer(1), kernels.buffer(0)
    main.begin_capture()
    main.wait(signal)
    main.reset(signal)
    main.begin_task_group()
    kernels.copy(main, target, source)
    group = main.end_task_group()
    graph = main.end_capture()
    for value in (7, 8):
        fresh = kernels.buffer(value)
        graph.replay(main)
        updates.begin_update(group)
        kernels.copy(updates, target, fresh)
        updates.end_update()
        updates.record(signal)
        updates.synchronize()
        main.synchronize()
        assert kernels.value(target) in (1, 7, value)
    with pytest.raises(runtime.DeviceError) as caught:
        main.reset(kernels.device.create_event())
    assert code_of(caught) == 107000


def test_update_of_another_size(kernels: Kernels) -> None:
    stream, graph, group, target = capture_group(kernels)
    stream.begin_update(group)
    with pytest.raises(runtime.DeviceError) as caught:
        stream.end_update()
    assert code_of(caught) == 107040
    graph.replay(stream)
    stream.synchronize()
    assert kernels.value(target) == 1, "the group keeps what it had"


def test_group_rules(kernels: Kernels) -> None:
    stream, graph, group, _ = capture_group(kernels)
    with pytest.raises(runtime.DeviceError) as caught:
        stream.begin_task_group()
    assert code_of(caught) == 107029
    with pytest.raises(runtime.DeviceError) as caught:
        stream.end_update()
    assert code_of(caught) == 107033
    stream.begin_capture()
    with pytest.raises(runtime.DeviceError) as caught:
        stream.begin_update(group)
    assert code_of(caught) == 107027
    stream.begin_task_group()
    with pytest.raises(runtime.DeviceError) as caught:
        stream.begin_task_group()
    assert code_of(caught) == 107033
    with pytest.raises(runtime.DeviceError) as caught:
        stream.end_capture()
    assert code_of(caught) == 107033
    del graph


# ---------------------------------------------------------------- failures and ends


@pytest.mark.parametrize(
    "function",
    [
        "aclrtCreateStreamWithConfig", "aclrtCreateEventExWithFlag", "aclrtRecordEvent",
        "aclrtStreamWaitEvent", "aclmdlRICaptureBegin", "aclmdlRICaptureEnd",
        "aclmdlRICaptureGetInfo", "aclmdlRIExecuteAsync", "aclmdlRICaptureTaskGrpBegin",
        "aclmdlRICaptureTaskGrpEnd", "aclmdlRICaptureTaskUpdateBegin",
        "aclmdlRICaptureTaskUpdateEnd", "aclrtSynchronizeStreamWithTimeout", "aclmdlRIGetId",
    ],
)  # fmt: skip
def test_every_call_may_fail(fake: FakeCann, kernels: Kernels, function: str) -> None:
    """The failing call says its name; the stream works again once its capture has ended."""
    source, target = kernels.buffer(1), kernels.buffer(0)
    streams: list[runtime.Stream] = []

    def work() -> None:
        stream, event = kernels.device.create_stream(), kernels.device.create_event()
        streams.append(stream)
        stream.begin_capture()
        stream.begin_task_group()
        kernels.copy(stream, target, source)
        group = stream.end_task_group()
        graph = stream.end_capture()
        stream.begin_update(group)
        kernels.copy(stream, target, source)
        stream.end_update()
        graph.replay(stream)
        stream.record(event)
        stream.wait(event)
        stream.synchronize()

    fake.inject(function, 507899, 1)
    with pytest.raises(runtime.DeviceError) as caught:
        work()
    assert code_of(caught) == 507899 and function in caught.value.args[2]
    del caught
    gc.collect()
    for stream in streams:
        end_whatever_is_open(stream)
        kernels.copy(stream, target, source)
        stream.synchronize()
    work()
    assert kernels.value(target) == 1


def end_whatever_is_open(stream: runtime.Stream) -> None:
    if stream.capture_info[0] != "none":
        with suppress(runtime.DeviceError):
            stream.end_task_group()
        with suppress(runtime.DeviceError):
            stream.end_capture()
    with suppress(runtime.DeviceError):
        stream.end_update()


def test_device_is_shared_with_the_engine(fake: FakeCann, kernels: Kernels) -> None:

    x = torch.randn(2, 3)
    assert torch.equal(compile_text(unary_graph()).run([x])[0], torch.relu(x))
    assert fake.count("aclInit") == 1
    process.close()
    assert fake.count("aclrtResetDevice") == 0, "the runtime still uses it"
    stream, graph, _, target = capture_group(kernels)
    graph.replay(stream)
    stream.synchronize()
    assert kernels.value(target) == 1


def test_closed_device_is_refused(fake: FakeCann) -> None:
    device = process.open_device()
    process.close_device()
    assert fake.count("aclFinalize") == 1
    with pytest.raises(runtime.DeviceError) as caught:
        device.create_stream()
    assert code_of(caught) == 107017
