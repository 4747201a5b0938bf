"""Launch cost of an operator: a chain of tiny additions, as a native program and in eager.

Usage: python bench/launch_cost.py [number of additions]

Prints microseconds per operator, minimum of many runs, and their ratio. One thread; the variants
are timed one after the other because alternating them evicts each other's code.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

import torch

from torchair.backend_ge.host.program import AtenCall, Program, Slot, Trace


def add_chain(n_calls: int) -> Program:
    add = torch.ops.aten.add.Tensor
    calls = [AtenCall(add, (Slot(i), Slot(0)), {}, [Slot(i + 1)], i) for i in range(n_calls)]
    return Program(Trace([Slot(0)], {}, calls, [Slot(n_calls)]))


def microseconds_per_call(run: Callable[[], object], n_calls: int, seconds: float = 1.0) -> float:
    best = float("inf")
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        start = time.perf_counter()
        run()
        best = min(best, time.perf_counter() - start)
    return best / n_calls * 1e6


def main() -> None:
    torch.set_num_threads(1)
    n_calls = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    x = torch.ones(16)
    start = time.perf_counter()
    program = add_chain(n_calls)
    build = (time.perf_counter() - start) / n_calls * 1e6

    def eager() -> torch.Tensor:
        y = x
        for _ in range(n_calls):
            y = y + x
        return y

    assert torch.equal(program.run([x])[0], eager())
    with torch.no_grad():
        eager_cost = microseconds_per_call(eager, n_calls)
    program_cost = microseconds_per_call(lambda: program.run([x]), n_calls)
    print(f"build    {build:7.2f} us/op (first program of the process)")
    print(f"eager    {eager_cost:7.3f} us/op")
    print(f"program  {program_cost:7.3f} us/op   {program_cost / eager_cost:.2f} of eager")


if __name__ == "__main__":
    main()
