"""Measures the host device and prints its line for ``passes/scheduling/costs.py``.

One intra-op thread. Each rate is fitted to operations of growing size, so that launch cost and
throughput are told apart; the time of an event is half a round trip between two streams.
"""

from __future__ import annotations

import argparse
import itertools
import time
from collections.abc import Callable

import torch
from stream_speed import best_of

from torchair.backend_ge.host.program import Program
from torchair.backend_ge.host.stream_plan import order_calls
from torchair.backend_ge.host.trace import AtenCall, Slot, Trace
from torchair.passes.scheduling.costs import TARGETS

aten = torch.ops.aten
REPEATS = 30
BINARY = (aten.mm.default, aten.add.Tensor)


def best(run: Callable[[], object], repeats: int = REPEATS) -> float:
    """Shortest time of a call in microseconds."""
    found = float("inf")
    for _ in range(repeats):
        start = time.perf_counter_ns()
        run()
        found = min(found, (time.perf_counter_ns() - start) / 1e3)
    return found


def chain(op: object, length: int, *shape: int) -> Callable[[], object]:
    """A program that applies an operator over and over."""
    slots = [Slot(n) for n in range(length + 1)]
    calls = [
        AtenCall(op, (a, slots[0]) if op in BINARY else (a,), {}, [b], 0)  # pyright: ignore
        for a, b in itertools.pairwise(slots)
    ]
    program = Program(Trace([slots[0]], {}, calls, [slots[-1]]))
    x = torch.rand(*shape) / max(shape)
    for _ in range(3):
        program.run([x])
    return lambda: program.run([x])


def per_call(op: object, *shape: int, length: int = 20) -> float:
    """Microseconds of one call inside a program."""
    long, short = best(chain(op, length, *shape)), best(chain(op, 1, *shape))
    return max(0.01, (long - short) / (length - 1))


def gain_of_two(op: object, *shape: int, length: int = 12) -> float:
    """How much faster two chains run on two streams than one after the other."""
    slots = [Slot(n) for n in range(2 * length + 1)]

    def program(streams: int) -> Program:
        calls: list[AtenCall] = []
        for branch in range(2):
            value = slots[0]
            for n in range(length):
                result = slots[1 + branch * length + n]
                values = (value, slots[0]) if op in BINARY else (value,)
                stream = branch % streams
                calls.append(AtenCall(op, values, {}, [result], 0, stream))  # pyright: ignore
                value = result
        order_calls(calls, lambda slot: slot)
        return Program(Trace([slots[0]], {}, calls, [slots[length], slots[-1]]))

    one, two = program(1), program(2)
    x = torch.rand(*shape) / max(shape)
    alone, together = best_of([lambda: one.run([x]), lambda: two.run([x])], REPEATS)
    return alone / together


def event_time() -> float:
    """Microseconds from a record to the start of what waits for it on another stream."""
    length = 20
    slots = [Slot(n) for n in range(length + 1)]
    calls = []
    for number in range(length):
        waits = (number - 1,) if number else ()
        call = AtenCall(
            aten.neg.default,
            (slots[number],),
            {},
            [slots[number + 1]],
            0,
            number % 2,
            waits,
            (number,),
        )
        calls.append(call)
    program = Program(Trace([slots[0]], {}, calls, [slots[-1]]))
    x = torch.rand(4)
    for _ in range(3):
        program.run([x])
    crossing = best(lambda: program.run([x])) / length
    return max(0.1, crossing - per_call(aten.neg.default, 4))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=512, help="side of the large matrices")
    size = parser.parse_args().size
    torch.set_num_threads(1)
    launch = per_call(aten.neg.default, 4)
    cube = 2.0 * size**3 / (per_call(aten.mm.default, size, size) - launch)
    cached = per_call(aten.exp.default, 64, 64)
    vector = 2.0 * 64 * 64 / max(0.1, cached - launch)
    large = per_call(aten.add.Tensor, 4 * size, 4 * size, length=6)
    memory = 3.0 * 4 * (4 * size) ** 2 / large
    event = event_time()
    known = TARGETS["host"]
    rows = (
        ("launch, us", launch, known.launch),
        ("cube, flop/us", cube, known.cube),
        ("vector, elements/us", vector, known.vector),
        ("memory, bytes/us", memory, known.memory),
        ("event, us", event, known.event),
    )
    for name, measured, used in rows:
        print(f"{name:<22} measured {measured:12.1f}   in the table {used:12.1f}")
    for name, op, side in (
        ("products", aten.mm.default, size),
        ("sums", aten.add.Tensor, 4 * size),
    ):
        gain = gain_of_two(op, side, side)
        print(f"two chains of {name} of {side} x {side} on two streams: {gain:.2f} x")
    print(
        f'"host": Target({launch:.1f}, {cube:.1e}, {vector:.1e}, {memory:.1e}, '
        f"{known.link:.1e}, {known.link_latency}, {event:.1f}, {known.copies}),"
    )


if __name__ == "__main__":
    main()
