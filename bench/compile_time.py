"""CPU time from FX graph to serialized GE bytes, per FX node and stage, at 2, 8, 32 and 128 layers.

    python bench/compile_time.py [--layers 2 8 32 128] [--repeat 5] [--detail]

Prints microseconds of CPU time per FX node: import, all passes but the conversion, conversion and
emission, each the minimum over the repeats (every pass is verified where it changed the module);
with ``--detail`` a row per pass, the dearest first. Then the ratio of the cost per node at the
largest and the 8-layer model, static and dynamic, and the time of a fixed loop of Python, by which
numbers of different machines, and of a busy one, can be compared.
"""

from __future__ import annotations

import argparse
import gc
import sys
import time
from pathlib import Path

import torch
from torch._dynamo.backends.common import aot_autograd

sys.path.insert(0, str(Path(__file__).parent.parent / "test"))
from models import Llama

from torchair.backend_ge.emit import emit, serialize
from torchair.frontend.compile import StageClock
from torchair.frontend.decompositions import default_decompositions
from torchair.frontend.fx_import import import_graph
from torchair.frontend.module_constants import fix_module_constants
from torchair.frontend.outputs import plan_outputs
from torchair.ir.garbage import quiet_gc
from torchair.passes import pipelines
from torchair.passes.driver import StageTime, run_passes
from torchair.tools.context import make_context


def capture(layers: int, dynamic: bool) -> torch.fx.GraphModule:
    """The AOT graph of a Llama-style model."""
    graphs: list[torch.fx.GraphModule] = []

    def keep(gm: torch.fx.GraphModule, inputs: object) -> object:
        graphs.append(gm)
        return gm.forward

    torch._dynamo.reset()
    torch._dynamo.config.cache_size_limit = 64
    model = Llama(layers=layers).eval()
    trace = aot_autograd(
        fw_compiler=keep, inference_compiler=keep, decompositions=default_decompositions()
    )

    def backend(gm: torch.fx.GraphModule, inputs: object) -> object:
        fix_module_constants(gm)
        return trace(gm, inputs)

    with torch.no_grad():
        torch.compile(model, backend=backend, dynamic=dynamic)(torch.randint(0, 128, (2, 16)))
    return graphs[0]


def compile_once(gm: torch.fx.GraphModule) -> tuple[list[StageTime], int]:
    """Stage times of one compile, and the number of GE nodes."""
    stages: list[StageTime] = []
    gc.collect()
    gc.freeze()
    with quiet_gc():
        clock = StageClock(stages)
        outputs = plan_outputs(gm)
        imported = import_graph(gm, outputs.computed)
        clock.lap("import")
        passes = pipelines.build(pipelines.MAX_AUTOTUNE)
        stages += run_passes(make_context(), imported.module, passes)
        clock.reset()
        model = emit(imported.module, "bench")
        serialize(model)
        clock.lap("emit")
    return stages, len(model.graph[0].op)


def measure(layers: int, dynamic: bool, repeat: int, detail: bool) -> float:
    """Microseconds per FX node; prints one line (and one per stage with ``detail``)."""
    gm = capture(layers, dynamic)
    count = sum(node.op == "call_function" for node in gm.graph.nodes)
    runs = [compile_once(gm) for _ in range(repeat)]
    stages = fastest([stages for stages, _ in runs])
    costs = [(name, 1e6 * seconds / count) for name, seconds in stages]
    total = sum(cost for _, cost in costs)
    shares = {name: sum(c for n, c in costs if group_of(n) == name) for name in GROUPS}
    kind = "dynamic" if dynamic else "static"
    sizes = f"{count:6d} FX nodes -> {runs[0][1]:6d} GE nodes"
    listed = "  ".join(f"{name} {cost:5.1f}" for name, cost in shares.items())
    print(f"{layers:4d} layers {kind:8s} {sizes}  {total:7.1f} us/node: {listed}")
    if detail:
        for name, cost in sorted(costs, key=lambda item: -item[1]):
            print(f"        {name:28s} {cost:7.2f}  {100 * cost / total:5.1f} %")
    return total


GROUPS = ("import", "passes", "convert", "emit")


def group_of(stage: str) -> str:
    """The column that a stage counts for."""
    return {"convert-aten-to-ge": "convert"}.get(stage, stage if stage in GROUPS else "passes")


def fastest(runs: list[list[StageTime]]) -> list[tuple[str, float]]:
    """Each stage with its least time over several runs, in seconds; a busy machine disturbs some
    stages of every run."""
    return [
        (same[0].name, min(stage.seconds for stage in same)) for same in zip(*runs, strict=True)
    ]


def loop_time() -> float:
    """CPU milliseconds of a fixed loop of Python, the least of several."""
    best = float("inf")
    for _ in range(10):
        start = time.process_time()
        counts: dict[int, int] = {}
        for number in range(20_000):
            counts[number & 255] = counts.get(number & 255, 0) + len(str(number))
        best = min(best, time.process_time() - start)
    return 1e3 * best


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--layers", type=int, nargs="+", default=[2, 8, 32, 128])
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--detail", action="store_true", help="a row per pass")
    options = parser.parse_args()
    for dynamic in (False, True):
        costs = {n: measure(n, dynamic, options.repeat, options.detail) for n in options.layers}
        base = costs.get(8, next(iter(costs.values())))
        largest = max(options.layers)
        print(f"     cost per node at {largest} layers / at 8: {costs[largest] / base:.2f}\n")
    print(f"     a fixed loop of 20,000 steps: {loop_time():.2f} ms")


if __name__ == "__main__":
    main()
