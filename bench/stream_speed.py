"""Speed-up of two streams of the host device, for ``bench/streams.py``."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import torch

from torchair.backend_ge.host.program import Program
from torchair.backend_ge.host.stream_plan import order_calls
from torchair.backend_ge.host.trace import AtenCall, Slot, Trace

SIDE, LENGTH = 256, 4
ROUNDS = 5
QUIET = 1.9
"""Gain at which nothing disturbed the measurement, so that no further round is needed."""


def two_chains(streams: int) -> Program:
    """Two independent chains of matrix products on one or two streams."""
    inputs = [Slot(0), Slot(1)]
    calls: list[AtenCall] = []
    ends: list[Slot] = []
    product = torch.ops.aten.mm.default
    for branch in range(2):
        value = inputs[0]
        for _ in range(LENGTH):
            result = Slot(2 + len(calls))
            stream = branch % streams
            calls.append(AtenCall(product, (value, inputs[1]), {}, [result], 0, stream))
            value = result
        ends.append(value)
    order_calls(calls, lambda slot: slot)
    return Program(Trace(inputs, {}, calls, ends))


def best_of(
    runs: list[Callable[[], object]], repeats: int, known: list[float] | None = None
) -> list[float]:
    """Shortest time of each in milliseconds, taking turns; `known` are times of earlier rounds."""
    best = known or [float("inf")] * len(runs)
    for _ in range(repeats):
        for number, run in enumerate(runs):
            start = time.perf_counter()
            run()
            best[number] = min(best[number], 1e3 * (time.perf_counter() - start))
    return best


def host_speed_up(repeats: int) -> tuple[float, float]:
    """Gain of two streams over one, and of two plain threads over one on this machine now.

    The best of all runs counts. Other programs on the machine take a core away for a while, so
    there are several rounds until one was quiet.
    """
    torch.set_num_threads(1)
    x, w = (torch.rand(SIDE, SIDE) / SIDE for _ in range(2))
    one, two = two_chains(1), two_chains(2)

    def plain_chain() -> None:
        value = x
        for _ in range(LENGTH):
            value = torch.mm(value, w)

    def in_turn() -> None:
        plain_chain()
        plain_chain()

    worker = ThreadPoolExecutor(1)

    def at_once() -> None:
        other = worker.submit(plain_chain)
        plain_chain()
        other.result()

    runs = [lambda: one.run([x, w]), lambda: two.run([x, w]), in_turn, at_once]
    times: list[float] | None = None
    speed_up = possible = 0.0
    for _ in range(ROUNDS):
        times = best_of(runs, repeats, times)
        speed_up, possible = times[0] / times[1], times[2] / times[3]
        if min(speed_up, possible) >= QUIET:
            break
    assert times is not None
    print(
        f"host: two chains of {LENGTH} products {SIDE} x {SIDE}: {times[0]:.2f} ms on one stream, "
        f"{times[1]:.2f} ms on two, {speed_up:.2f} x; two plain threads {possible:.2f} x"
        + ("" if possible > 1.7 else " (the machine has no second core to spare)")
    )
    return speed_up, possible
