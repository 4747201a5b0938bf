"""Aten modules whose parts can run side by side, for ``bench/streams.py``."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

from xdsl.dialects.builtin import ModuleOp
from xdsl.dialects.func import ReturnOp
from xdsl.ir import Block, SSAValue

from torchair.dialects import aten
from torchair.ir import interned
from torchair.ir.conversion import build_function
from torchair.ir.private import append_op, create_op


class GraphWriter:
    """Writes float16 aten operations into one function."""

    def __init__(self) -> None:
        self.function, self.block = build_function("forward", [], [])

    def value(self, *shape: int) -> SSAValue:
        """A new argument of the function."""
        type_ = interned.tensor(list(shape), interned.f16)
        return self.block.insert_arg(type_, len(self.block.args))

    def call(self, name: str, values: Sequence[object], *shape: int) -> SSAValue:
        """A call with one result."""
        cls = aten.lookup(name)
        assert cls is not None, name
        rest = [None] * (len(cls.schema.parameters) - len(values))
        defaults = [p.default for p in cls.schema.parameters[len(values) :]]
        op = cls.build_call([*values, *(defaults or rest)], [interned.tensor(shape, interned.f16)])
        append_op(self.block, op)
        return op.results[0]

    def linear(self, x: SSAValue, width: int) -> SSAValue:
        """``x @ w.t()`` with a weight of its own."""
        rows, depth = interned.shape_of(x.type) or (1, 1)
        weight = self.call("aten.t", [self.value(width, depth)], depth, width)
        return self.call("aten.mm", [x, weight], rows, width)

    def unary(self, name: str, x: SSAValue) -> SSAValue:
        return self.call(f"aten.{name}", [x], *(interned.shape_of(x.type) or ()))

    def add(self, x: SSAValue, y: SSAValue) -> SSAValue:
        return self.call("aten.add.Tensor", [x, y], *(interned.shape_of(x.type) or ()))

    def mul(self, x: SSAValue, y: SSAValue) -> SSAValue:
        return self.call("aten.mul.Tensor", [x, y], *(interned.shape_of(x.type) or ()))

    def mlp(self, x: SSAValue, width: int) -> SSAValue:
        """A gated feed-forward network."""
        gate = self.unary("silu", self.linear(x, width))
        hidden = self.mul(gate, self.linear(x, width))
        return self.linear(hidden, (interned.shape_of(x.type) or (1, 1))[1])

    def finish(self, *results: SSAValue) -> ModuleOp:
        append_op(self.block, create_op(ReturnOp, list(results), [], {}))
        inputs = [a.type for a in self.block.args]
        kind = self.function.function_type
        self.function.function_type = kind.from_lists(inputs, [v.type for v in results])
        return ModuleOp([self.function])


def mixture_of_experts(rows: int, experts: int, shared: int) -> ModuleOp:
    """Routed experts next to shared ones."""
    g = GraphWriter()
    x = g.value(rows, 1024)
    total = x
    for _ in range(shared):
        total = g.add(total, g.mlp(x, 1024))
    gate = g.unary("sigmoid", g.linear(x, experts))
    for _ in range(experts):
        part = g.mlp(x, 512)
        weight = g.call("aten.slice.Tensor", [gate, 1, 0, 1], rows, 1)
        total = g.call("aten.addcmul", [total, part, weight], rows, 1024)
    return g.finish(total)


def latent_attention(rows: int, layers: int) -> ModuleOp:
    """Attention on compressed keys, with side projections for positions and indices."""
    g = GraphWriter()
    x = g.value(rows, 1024)
    for _ in range(layers):
        query = g.linear(g.unary("tanh", g.linear(x, 512)), 1024)
        latent = g.unary("tanh", g.linear(x, 256))
        key, value = g.linear(latent, 1024), g.linear(latent, 1024)
        positions = g.unary("sin", g.linear(x, 128))
        index = g.unary("sigmoid", g.linear(x, 256))
        keys = g.call("aten.t", [key], 1024, rows)
        scores = g.unary("sigmoid", g.call("aten.mm", [query, keys], rows, rows))
        mixed = g.call("aten.mm", [scores, value], rows, 1024)
        side = g.linear(g.mul(index, g.linear(positions, 256)), 1024)
        x = g.add(x, g.linear(g.add(mixed, side), 1024))
        x = g.add(x, g.mlp(x, 2048))
    return g.finish(x)


def two_towers(rows: int, depth: int) -> ModuleOp:
    """Two networks that meet at the end, one twice as wide."""
    g = GraphWriter()
    user, item = g.value(rows, 512), g.value(rows, 1024)
    for _ in range(depth):
        user = g.unary("relu", g.linear(user, 512))
        item = g.unary("relu", g.linear(item, 1024))
    return g.finish(g.mul(g.linear(user, 256), g.linear(item, 256)))


def inception(rows: int, blocks: int) -> ModuleOp:
    """Blocks of four branches of different length."""
    g = GraphWriter()
    x = g.value(rows, 512)
    for _ in range(blocks):
        branches: list[SSAValue] = []
        for length in (1, 2, 3, 1):
            y = x
            for _ in range(length):
                y = g.unary("relu", g.linear(y, 512 // length))
            branches.append(g.linear(y, 512))
        x = g.add(g.add(branches[0], branches[1]), g.add(branches[2], branches[3]))
    return g.finish(x)


def llama_prefill(rows: int, layers: int) -> ModuleOp:
    """Decoder layers with separate projections."""
    g = GraphWriter()
    x = g.value(rows, 1024)
    for _ in range(layers):
        normal = g.unary("tanh", x)
        query, key, value = (g.linear(normal, 1024) for _ in range(3))
        query, key = g.unary("cos", query), g.unary("cos", key)
        keys = g.call("aten.t", [key], 1024, rows)
        scores = g.unary("sigmoid", g.call("aten.mm", [query, keys], rows, rows))
        x = g.add(x, g.linear(g.call("aten.mm", [scores, value], rows, 1024), 1024))
        x = g.add(x, g.mlp(g.unary("tanh", x), 2816))
    return g.finish(x)


def layered(layers: int, width: int, seed: int) -> ModuleOp:
    """Layers of operations of random size that read one or two of the layer before."""
    r = random.Random(seed)
    g = GraphWriter()
    x = [g.value(512, 512) for _ in range(width)]
    for _ in range(layers):
        x = [_random_call(g, r, x) for _ in range(r.randint(max(1, width // 2), width))]
    while len(x) > 1:
        x = [g.add(*x[i : i + 2]) if i + 1 < len(x) else x[i] for i in range(0, len(x), 2)]
    return g.finish(x[0])


def _random_call(g: GraphWriter, r: random.Random, sources: Sequence[SSAValue]) -> SSAValue:
    first, second = r.choice(sources), r.choice(sources)
    kind = r.random()
    if kind < 0.4:
        return g.linear(g.linear(first, r.choice((256, 512, 1024, 4096))), 512)
    return g.add(first, second) if kind < 0.6 else g.unary(r.choice(("exp", "gelu", "relu")), first)


def block_of(module: ModuleOp) -> Block:
    """The block of the only function."""
    return module.body.block.first_op.body.block  # pyright: ignore


GRAPHS: dict[str, Callable[[], ModuleOp]] = {
    "MoE, 8 experts and 1 shared": lambda: mixture_of_experts(512, 8, 1),
    "MoE, 32 experts and 2 shared": lambda: mixture_of_experts(256, 32, 2),
    "MLA attention, 1 layer": lambda: latent_attention(512, 1),
    "MLA attention, 8 layers": lambda: latent_attention(512, 8),
    "two towers": lambda: two_towers(1024, 8),
    "two deep towers": lambda: two_towers(1024, 64),
    "inception, 1 block": lambda: inception(2048, 1),
    "inception, 9 blocks": lambda: inception(2048, 9),
    "Llama prefill, 1 layer": lambda: llama_prefill(1024, 1),
    "Llama prefill, 16 layers": lambda: llama_prefill(1024, 16),
    "layered, 10 x 4": lambda: layered(10, 4, 1),
    "layered, 20 x 8": lambda: layered(20, 8, 2),
    "layered, 50 x 8": lambda: layered(50, 8, 3),
    "layered, 100 x 16": lambda: layered(100, 16, 4),
    "layered, 80 x 32": lambda: layered(80, 32, 5),
}
"""Name -> builder."""
