"""CPU time from FX graph to serialized GE bytes, per FX node and stage, at 2, 8, 32 and 128 layers.

    python bench/compile_time.py [--layers 2 8 32 128] [--repeat 3] [--detail]

Prints microseconds per FX node (minimum over the repeats; verification after every pass is on), and
the ratio of the cost per node at the largest and the 8-layer model, static and dynamic.
"""

from __future__ import annotations

import argparse
import gc
import sys
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
    best = min(runs, key=lambda run: sum(stage.seconds for stage in run[0]))
    total = 1e6 * sum(stage.seconds for stage in best[0]) / count
    kind = "dynamic" if dynamic else "static"
    sizes = f"{count:6d} FX nodes -> {best[1]:6d} GE nodes"
    print(f"{layers:4d} layers {kind:8s} {sizes}  {total:7.1f} us/node")
    if detail:
        for stage in best[0]:
            print(f"        {stage.name:24s} {1e6 * stage.seconds / count:7.2f}")
    return total


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--layers", type=int, nargs="+", default=[2, 8, 32, 128])
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--detail", action="store_true")
    options = parser.parse_args()
    for dynamic in (False, True):
        costs = {n: measure(n, dynamic, options.repeat, options.detail) for n in options.layers}
        base = costs.get(8, next(iter(costs.values())))
        largest = max(options.layers)
        print(f"     cost per node at {largest} layers / at 8: {costs[largest] / base:.2f}\n")


if __name__ == "__main__":
    main()
