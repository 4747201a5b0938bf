"""Time of one call of a model: eager, FX code, inductor, and native programs.

Usage: python bench/replay.py [--threads 1,2] [--seconds S] [--models chain,llama,bert,resnet]
                              [--no-inductor] [--no-cpp-wrapper]

Prints milliseconds per call, the minimum of many, and how much faster than eager that is, the
median of rounds: all variants take turns of a fifth of a second. The clock is CPU time with one
thread (neighbours disturb it less) and wall time with more. "planned" is a program whose parameters
are bound, "replayed" the same captured on a stream, "compiled" the model in torch.compile with
mode="reduce-overhead". Results are compared with eager bit for bit, save inductor's.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # before torch: spinning starves neighbours

import torch
from replay_cases import CASES, Case
from torch.fx.experimental.proxy_tensor import make_fx
from torch.fx.node import map_arg

import torchair
from torchair import _native
from torchair.backend_ge.host.program import AtenCall, BoundProgram, Program, Slot, Trace

Run = Callable[[], object]
clock: Callable[[], float] = time.perf_counter
TURN = 0.2
"""Seconds in which one variant is called again and again."""


def trace_of(graph: torch.fx.GraphModule) -> Trace:
    """The ATen calls of a graph, with the batch norm and loops of eager decomposed by make_fx."""
    slots: dict[torch.fx.Node, Any] = {}
    trace = Trace([], {}, [], [])
    n_slots = 0

    def new_slot() -> Slot:
        nonlocal n_slots
        n_slots += 1
        return Slot(n_slots - 1)

    def use(value: Any) -> Any:
        return map_arg(value, lambda node: slots[node])

    for node in graph.graph.nodes:
        if node.op == "placeholder":
            slots[node] = new_slot()
            trace.inputs.append(slots[node])
        elif node.op == "get_attr":
            slots[node] = new_slot()
            trace.constants[slots[node]] = getattr(graph, node.target)
        elif node.op == "output":
            trace.outputs = [use(node.args[0])]
        elif node.target.__name__ == "getitem":
            slots[node] = slots[node.args[0]][node.args[1]]
        else:
            meta = node.meta["val"]
            several = isinstance(meta, list | tuple)
            results: list[Slot | None] = [new_slot() for _ in (meta if several else [meta])]
            slots[node] = results if several else results[0]
            args, kwargs = plain(use(node.args)), plain(use(node.kwargs))
            trace.calls.append(AtenCall(node.target, args, kwargs, results, len(trace.calls)))
    return trace


def plain(value: Any) -> Any:
    """Lists and dicts of Python's own instead of FX's."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, tuple):
        return tuple(plain(item) for item in value)
    return [plain(item) for item in value] if isinstance(value, list) else value


def fastest(run: Run, seconds: float, prepare: Run = lambda: None) -> float:
    """Milliseconds of the fastest call, by the clock of the options."""
    run()
    best = float("inf")
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        prepare()
        start = clock()
        run()
        best = min(best, clock() - start)
    return best * 1e3


def first_call(run: Run) -> float:
    """Milliseconds of wall time of one call."""
    start = time.perf_counter()
    run()
    return (time.perf_counter() - start) * 1e3


def peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


class Table:
    """Variants of one model."""

    def __init__(self, expected: torch.Tensor) -> None:
        self.expected = expected
        self.first: dict[str, float] = {}
        self._runs: dict[str, Run] = {}
        self._notes: dict[str, str] = {}
        self._rounds: dict[str, list[float]] = {}

    def add(self, label: str, run: Run, exact: bool = True, note: str = "") -> None:
        found: Any = run()
        if exact and found is not None:
            found = found[0] if isinstance(found, list) else found
            assert torch.equal(found, self.expected), f"{label} is not bit-identical to eager"
        self._runs[label], self._notes[label] = run, note

    def measure(self, seconds: float) -> None:
        """Rounds of one turn each, so that a busy minute is everybody's."""
        self._rounds = {label: [] for label in self._runs}
        for _ in range(max(round(seconds / TURN), 1)):
            for label, run in self._runs.items():
                self._rounds[label].append(fastest(run, TURN))
        for label, found in self._rounds.items():
            faster = self.faster(label, "eager")
            print(f"  {label:22} {min(found):9.3f} ms {faster:6.2f} x eager  {self._notes[label]}")

    def faster(self, label: str, other: str) -> float:
        """How many times faster than another variant, the median of the rounds."""
        pairs = zip(self._rounds[other], self._rounds[label], strict=True)
        return statistics.median(a / b for a, b in pairs)


def measure(name: str, options: argparse.Namespace) -> None:
    torch.manual_seed(0)
    case = CASES[name]()
    print(f"\n{name}, threads: {torch.get_num_threads()}")
    with torch.no_grad():
        table = Table(case.run(*case.inputs))
        table.add("eager", lambda: case.run(*case.inputs))
        table.add("eager, inference_mode", lambda: inference(case))
        tensors = [*case.state.values(), *case.inputs]
        traced = make_fx(case.functional, tracing_mode="fake", _allow_non_fake_inputs=True)
        graph = traced(*tensors)
        table.add("FX code", lambda: graph.forward(*tensors))
        programs(table, case, trace_of(graph))
        compiled(table, case)
        if options.inductor:
            inductor(table, case, "inductor", cpp_wrapper=False)
        if options.inductor and options.cpp_wrapper:
            inductor(table, case, "inductor, cpp wrapper", cpp_wrapper=True)
        table.measure(options.seconds)
    if options.inductor:
        first = table.first["inductor"] / table.first["unplanned"]
        print(f"  planned {table.faster('planned', 'inductor'):.2f} x inductor,")
        print(f"  first call of a program {first:.0f} x sooner than inductor's")
    print(f"  peak memory of the process {peak_mib():.0f} MiB")


def inference(case: Case) -> torch.Tensor:
    with torch.inference_mode():
        return case.run(*case.inputs)


def programs(table: Table, case: Case, trace: Trace) -> None:
    """The native program: call by call, in planned memory, captured on a stream."""
    tensors = [*case.state.values(), *case.inputs]
    made: list[Program] = []
    table.first["unplanned"] = first_call(
        lambda: made.append(Program(trace)) or made[0].run(tensors)
    )
    (program,) = made
    unplanned = Program(trace, plan=False)
    note = f"first call {table.first['unplanned']:.1f} ms, {len(program.routes)} calls"
    table.add("unplanned", lambda: unplanned.run(tensors), note=note)
    planning = first_call(lambda: program.plan(tensors))
    bound = program.bind(dict(enumerate(case.state.values())))
    arena = program.arena_bytes / max(program.max_live_bytes, 1)
    note = f"planned in {planning:.1f} ms, arena {program.arena_bytes} bytes, {arena:.3f} x live"
    note += f", {len(program.products)} products by rows"
    table.add("planned", lambda: bound.run(case.inputs), note=note)
    device = _native.runtime.Device("host")
    stream = device.create_stream()
    launch = program.bind(dict(enumerate(tensors))).launch()
    stream.begin_capture()
    launch.put_on(device, [stream])
    replayed = stream.end_capture()

    def replay() -> None:
        replayed.replay(stream)
        stream.synchronize()

    replay()
    assert torch.equal(launch.outputs()[0], table.expected)
    host = fastest(lambda: replayed.replay(stream), TURN, stream.synchronize) * 1e3
    stream.synchronize()
    table.add("replayed", replay, note=f"host {host:.1f} us, {replayed.task_count} tasks")


def compiled(table: Table, case: Case) -> None:
    """What a user calls."""
    config = torchair.CompilerConfig()
    config.mode = "reduce-overhead"
    torch._dynamo.reset()
    backend = torchair.get_npu_backend(compiler_config=config)
    model = torch.compile(case.run, backend=backend, fullgraph=True)
    first = first_call(lambda: model(*case.inputs))
    note = f"first call {first:.0f} ms, of which dynamo and autograd most"
    table.add("compiled", lambda: model(*case.inputs), note=note)


def inductor(table: Table, case: Case, label: str, cpp_wrapper: bool) -> None:
    """The same in inductor, with an empty cache."""
    import torch._inductor.config as config
    from torch._inductor.utils import fresh_cache

    torch._dynamo.reset()
    with config.patch(cpp_wrapper=cpp_wrapper), fresh_cache():
        model = torch.compile(case.run, backend="inductor", fullgraph=True)
        table.first[label] = first_call(lambda: model(*case.inputs))
    note = f"first call {table.first[label]:.0f} ms"
    table.add(label, lambda: model(*case.inputs), exact=False, note=note)


def call_overhead() -> None:
    """A program of one addition, which takes half a microsecond itself."""
    print("\ncall overhead of a bound program, microseconds")
    for n_inputs in (1, 4, 16, 64):
        slots = [Slot(i) for i in range(n_inputs)]
        slots_and_one = [*slots, Slot(n_inputs)]
        call = AtenCall(torch.ops.aten.add.Tensor, (slots[0], slots[0]), {}, [Slot(n_inputs)], 0)
        program = Program(Trace(slots_and_one[:-1], {}, [call], [Slot(n_inputs)]))
        tensors = [torch.ones(4) for _ in slots]
        program.plan(tensors)
        bound = program.bind({})

        def calls(bound: BoundProgram = bound, tensors: list[torch.Tensor] = tensors) -> None:
            for _ in range(100):  # asking the clock takes as long as a few tensors
                bound.run(tensors)

        cost = fastest(calls, 0.5) * 10
        print(f"  {n_inputs:3} tensors {cost:7.2f}   limit {3 + 0.3 * n_inputs:.1f}")


def main() -> None:
    global clock
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--threads", default="1,2")
    parser.add_argument("--seconds", type=float, default=2.0, help="of each variant")
    parser.add_argument("--models", default=",".join(CASES))
    parser.add_argument("--no-cpp-wrapper", dest="cpp_wrapper", action="store_false")
    parser.add_argument("--no-inductor", dest="inductor", action="store_false")
    options = parser.parse_args(sys.argv[1:])
    for threads in map(int, options.threads.split(",")):
        torch.set_num_threads(threads)
        clock = time.process_time if threads == 1 else time.perf_counter
        for name in options.models.split(","):
            measure(name, options)
    torch.set_num_threads(1)
    clock = time.process_time
    call_overhead()


if __name__ == "__main__":
    main()
