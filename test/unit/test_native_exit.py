"""Fork, exit, interrupts and shutdown while streams work: no hang and no crash."""

from __future__ import annotations

import signal
import subprocess
import sys
import textwrap
import time

import pytest

PRELUDE = """
import os, signal, sys, threading, time
import torch
from torchair._native import runtime
from torchair.backend_ge.host.program import AtenCall, Program, Slot, Trace
aten = torch.ops.aten
signal.signal(signal.SIGINT, signal.default_int_handler)  # background jobs start with it ignored
device = runtime.Device("host")
stream = device.create_stream()
x = torch.randn(400, 400)

def branches():
    calls = [
        AtenCall(aten.mm.default, (Slot(0), Slot(0)), {}, [Slot(1)], 0, stream=1, records=(0,)),
        AtenCall(aten.mm.default, (Slot(0), Slot(0)), {}, [Slot(2)], 1),
        AtenCall(aten.sub.Tensor, (Slot(1), Slot(2)), {}, [Slot(3)], 2, waits=(0,)),
    ]
    return Program(Trace([Slot(0)], {}, calls, [Slot(3)]))

def is_right(program):
    return program.run([x])[0].abs().max().item() == 0.0
"""


def start(body: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", PRELUDE + textwrap.dedent(body)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process: subprocess.Popen[str], code: int = 0) -> str:
    """What the process prints, after it has ended in time and with this code."""
    try:
        out, err = process.communicate(timeout=60)
    except subprocess.TimeoutExpired:
        process.kill()
        raise
    assert process.returncode == code, (process.returncode, out, err)
    return out


def test_forked_child_has_streams_and_replays_of_its_own():
    body = """
    program = branches()
    ran = []
    stream.launch(lambda _: ran.append(1))
    stream.synchronize()
    assert is_right(program) and is_right(program) and is_right(program)
    replayer, side = device.create_stream(), device.create_stream()
    launch = program.bind({0: x}).launch()
    replayer.begin_capture()
    replayer.launch(lambda _: time.sleep(0.1))
    launch.put_on(device, [replayer, side])
    graph = replayer.end_capture()
    graph.replay(replayer)
    stream.launch(lambda _: time.sleep(0.3))
    event = device.create_event()
    stream.record(event)
    child = os.fork()
    if child == 0:
        assert event.query() and stream.query()
        stream.launch(lambda _: ran.append(2))
        stream.synchronize()
        assert ran == [1, 2] and is_right(program)
        graph.replay(replayer)
        replayer.synchronize()
        assert launch.outputs()[0].abs().max().item() == 0.0
        sys.exit(7)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
    stream.synchronize()
    graph.replay(replayer)
    replayer.synchronize()
    print("parent", ran)
    """
    assert finish(start(body)) == "parent [1]\n"


@pytest.mark.parametrize(
    "work",
    [
        "[stream.launch(lambda _: time.sleep(0.05)) for _ in range(1000)]",
        "stream.wait(device.create_event(external=True))",
        "[launch.put_on(device, [stream, device.create_stream()]) for _ in range(300)]",
        "threading.Thread(target=lambda: [is_right(program) for _ in x], daemon=True).start()",
    ],
    ids=["queue", "external event", "program", "thread"],
)
def test_exit_while_streams_work(work):
    body = f"""
    program = branches()
    launch = program.bind({{0: x}}).launch()
    {work}
    time.sleep(0.1)
    print("end")
    """
    begin = time.monotonic()
    assert finish(start(body)) == "end\n"
    assert time.monotonic() - begin < 40


def test_exit_by_an_exception_in_the_middle_of_a_capture():
    body = """
    stream.begin_capture()
    branches().bind({0: x}).launch().put_on(device, [stream, device.create_stream()])
    raise SystemExit(9)
    """
    finish(start(body), 9)


def test_streams_held_by_modules_survive_the_interpreter():
    body = """
    import types
    keeper = types.ModuleType("keeper")
    sys.modules["keeper"] = keeper
    keeper.all = [stream, device, branches(), branches().bind({0: x})]
    keeper.all.append(keeper)
    stream.launch(lambda _: keeper.all)
    """
    finish(start(body))


def test_interrupt_ends_a_wait():
    body = """
    gate = device.create_event(external=True)
    event = device.create_event()
    stream.wait(gate)
    stream.record(event)
    for wait in (stream.synchronize, event.synchronize):
        print("waiting", flush=True)
        try:
            wait()
        except KeyboardInterrupt:
            print("interrupted", flush=True)
    other = device.create_stream()
    other.record(gate)
    stream.synchronize()
    """
    process = start(body)
    assert process.stdout is not None
    for _ in range(2):
        assert process.stdout.readline() == "waiting\n"
        time.sleep(0.2)
        process.send_signal(signal.SIGINT)
        assert process.stdout.readline() == "interrupted\n"
    finish(process)


def test_interrupt_during_runs():
    body = """
    program = branches()
    print("running", flush=True)
    try:
        while True:
            assert is_right(program)
    except KeyboardInterrupt:
        pass
    assert is_right(program)
    print("usable")
    """
    process = start(body)
    assert process.stdout is not None
    assert process.stdout.readline() == "running\n"
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    assert finish(process) == "usable\n"
