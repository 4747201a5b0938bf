"""Cost of emission and loading per operation, at two graph sizes, as a ratio.

Run: python bench/emit.py [--repeat N]. The graph is a chain of what a decoder layer is made of:
matrix multiplications, element-wise operations, a cast, a reduction, small constants.
"""

from __future__ import annotations

import argparse
import gc
import time
from collections.abc import Callable

from xdsl.dialects.builtin import DictionaryAttr, ModuleOp, StringAttr
from xdsl.ir import Block, SSAValue

from torchair.backend_ge.emit import emit, serialize
from torchair.backend_ge.load import load
from torchair.dialects.ge import builder as ge
from torchair.ir import interned
from torchair.ir.conversion import build_function
from torchair.ir.garbage import quiet_gc
from torchair.ir.location import file_location, named_location

OPS_PER_LAYER = 10
SIZES = (2_000, 20_000)


def build_graph(ops: int) -> ModuleOp:
    """A ge module of about `ops` operations."""
    hidden = interned.tensor([64, 128], interned.f16)
    weight = interned.tensor([128, 128], interned.f16)
    entries = [
        DictionaryAttr({"torchair.name": StringAttr(name), "torchair.placement": StringAttr("NPU")})
        for name in ("x", "w")
    ]
    function, block = build_function("graph", [hidden, weight], [hidden], entries)
    builder = ge.GraphBuilder(block)
    with ge.building(builder):
        value: SSAValue = block.args[0]
        for layer in range(ops // OPS_PER_LAYER):
            value = add_layer(builder, layer, value, block)
        cls = ge.op_class("NetOutput")
        builder.append("NetOutput", [[value]], [])
        assert cls is type(block.last_op)
    return ModuleOp([function])


def add_layer(builder: ge.GraphBuilder, layer: int, x: SSAValue, block: Block) -> SSAValue:
    """Ten operations from x to a value of the same type."""
    type_ = x.type
    wide = interned.tensor([64, 128], interned.f32)
    column = interned.tensor([64, 1], interned.f32)

    def at(name: str, line: int) -> None:
        source = file_location("model.py", line)
        builder.location = named_location(f"{name}_{layer}-aten.{name}", source)

    at("linear", 10)
    y = ge.call("MatMulV2", x, block.args[1], transpose_x2=True, out=type_)
    at("silu", 11)
    z = ge.call("Swish", y, scale=1.0, out=type_)
    z = ge.call("Mul", z, y, out=type_)
    at("add", 12)
    z = ge.call("Add", z, x, out=type_)
    at("mean", 13)
    f = ge.call("Cast", z, dst_type=0, out=wide)
    squares = ge.call("Square", f, out=wide)
    mean = ge.call("ReduceMean", squares, [1], keep_dims=True, out=column)
    at("rsqrt", 14)
    scale = ge.call("Rsqrt", mean, out=column)
    f = ge.call("Mul", f, scale, out=wide)
    return ge.call("Cast", f, dst_type=1, out=type_)


def cost(action: Callable[[], object], ops: int, repeat: int) -> float:
    """Microseconds of CPU time per operation, the best of several runs, collector off."""
    best = float("inf")
    for _ in range(repeat):
        gc.collect()
        with quiet_gc():
            start = time.process_time()
            action()
            best = min(best, time.process_time() - start)
    return best / ops * 1e6


def main() -> None:
    """Measure and print one line per step."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeat", type=int, default=5)
    repeat = parser.parse_args().repeat
    table: dict[str, list[float]] = {"emit": [], "serialize": [], "load": []}
    for ops in SIZES:
        module = build_graph(ops)
        model = emit(module)
        data = serialize(model)
        table["emit"].append(cost(lambda m=module: emit(m), ops, repeat))
        table["serialize"].append(cost(lambda m=model: serialize(m), ops, repeat))
        table["load"].append(cost(lambda d=data: load(d), ops, repeat))
    print(f"{'us per op':<12}{SIZES[0]:>10,}{SIZES[1]:>10,}{'ratio':>8}")
    for name, (small, large) in table.items():
        print(f"{name:<12}{small:>10.2f}{large:>10.2f}{large / small:>8.2f}")


if __name__ == "__main__":
    main()
