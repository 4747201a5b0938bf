"""Aten modules whose parts can run side by side, for ``bench/streams.py``."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

from stream_graph_writer import GraphWriter
from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import SSAValue

from torchair.ir import interned


def mixture_of_experts(rows: int, hidden: int, inner: int, experts: int, shared: int) -> ModuleOp:
    """Every routed expert takes the rows that chose it, and adds its results to theirs."""
    g = GraphWriter()
    x = g.value(rows, hidden)
    weights, chosen = _route(g, x, experts)
    total = g.call("zeros_like", [x], (rows, hidden))
    for expert in range(experts):
        mine = max(1, 2 * rows // experts)
        is_mine = g.call("eq.Scalar", [chosen, expert], (rows, 2), interned.i1)
        count = g.call("sum.dim_IntList", [is_mine, [-1]], (rows,), interned.i64)
        both = ((mine,), interned.i64)
        index = g.calls("topk", [count, mine], [both, both])[1]
        weight = g.call("mul.Tensor", [weights, is_mine], (rows, 2))
        weight = g.call("sum.dim_IntList", [weight, [-1]], (rows,))
        weight = g.view(g.call("index_select", [weight, 0, index], (mine,)), mine, 1)
        part = g.mlp(g.call("index_select", [x, 0, index], (mine, hidden)), inner)
        total = g.call("index_add", [total, 0, index, g.mul(part, weight)], (rows, hidden))
    for _ in range(shared):
        total = g.add(total, g.mlp(x, inner))
    return g.finish(total)


def experts_on_all_rows(rows: int, hidden: int, inner: int, experts: int) -> ModuleOp:
    """Every expert computes all rows, weighted by the router; one shared expert beside them."""
    g = GraphWriter()
    x = g.value(rows, hidden)
    weights, chosen = _route(g, x, experts)
    total = g.mlp(x, inner)
    for expert in range(experts):
        is_mine = g.call("eq.Scalar", [chosen, expert], (rows, 2), interned.i1)
        weight = g.call("mul.Tensor", [weights, is_mine], (rows, 2))
        weight = g.call("sum.dim_IntList", [weight, [-1], True], (rows, 1))
        total = g.add(total, g.mul(g.mlp(x, inner), weight))
    return g.finish(total)


def experts_of_one_copy(rows: int, hidden: int, inner: int) -> ModuleOp:
    """Rows are sorted by expert at once and back at once: nothing but the shared expert runs beside
    the router, the sort and the combination."""
    g = GraphWriter()
    x = g.value(rows, hidden)
    weights, chosen = _route(g, x, 8)
    both = ((2 * rows,), interned.i64)
    order = g.calls("sort", [g.view(chosen, 2 * rows)], [both, ((2 * rows,), interned.i64)])[1]
    taken = g.call("index_select", [x, 0, order], (2 * rows, hidden))
    share = rows // 4
    parts = [
        g.mlp(
            g.call("slice.Tensor", [taken, 0, n * share, (n + 1) * share], (share, hidden)), inner
        )
        for n in range(8)
    ]
    joined = g.call("cat", [parts], (2 * rows, hidden))
    joined = g.mul(joined, g.view(weights, 2 * rows, 1))
    empty = g.call("zeros_like", [x], (rows, hidden))
    total = g.call("index_add", [empty, 0, order, joined], (rows, hidden))
    return g.finish(g.add(total, g.mlp(x, inner)))


def _route(g: GraphWriter, x: SSAValue, experts: int) -> tuple[SSAValue, SSAValue]:
    """Weights and numbers of the two experts of each row."""
    rows = g.shape(x)[0]
    scores = g.call("_softmax", [g.linear(x, experts), -1, False], (rows, experts))
    best, chosen = g.calls(
        "topk", [scores, 2], [((rows, 2), interned.f16), ((rows, 2), interned.i64)]
    )
    total = g.call("sum.dim_IntList", [best, [-1], True], (rows, 1))
    return g.call("div.Tensor", [best, total], (rows, 2)), chosen


def latent_attention(rows: int, hidden: int, heads: int, layers: int) -> ModuleOp:
    """Attention on compressed queries and keys, rotary parts and an indexer at the side."""
    g = GraphWriter()
    x = g.value(rows, hidden)
    for _ in range(layers):
        x = g.add(x, g.linear(_latent_layer(g, g.normalized(x), heads), hidden))
    return g.finish(x)


def _latent_layer(g: GraphWriter, x: SSAValue, heads: int) -> SSAValue:
    rows, plain, turned, both = g.shape(x)[0], 128, 64, 192
    query = g.linear(g.normalized(g.linear(x, 1536)), heads * both)
    query = g.view(query, rows, heads, both)
    latent = g.linear(x, 512 + turned)
    keys = g.view(g.linear(g.normalized(g.part(latent, 0, 512)), heads * 256), rows, heads, 256)
    side = g.rotated(g.view(g.part(latent, 512, 576), rows, 1, turned))
    side = g.call("expand", [side, [rows, heads, turned]], (rows, heads, turned))
    query = g.joined(g.part(query, 0, plain), g.rotated(g.part(query, plain, both)))
    key, value = g.joined(g.part(keys, 0, plain), side), g.part(keys, plain, 256)
    return g.attention(query, key, value, _indexer(g, x))


def _indexer(g: GraphWriter, x: SSAValue) -> SSAValue:
    """Scores that choose the keys of each query, from small projections."""
    rows = g.shape(x)[0]
    query = g.permuted(g.view(g.linear(x, 512), rows, 8, 64), 1, 0, 2)
    key = g.call("expand", [g.permuted(g.linear(x, 64), 1, 0), [8, 64, rows]], (8, 64, rows))
    scores = g.unary("relu", g.call("bmm", [query, key], (8, rows, rows)))
    weight = g.permuted(g.view(g.linear(x, 8), rows, 8, 1), 1, 0, 2)
    return g.call("sum.dim_IntList", [g.mul(scores, weight), [0]], (rows, rows))


def two_towers(rows: int, user: Sequence[int], item: Sequence[int]) -> ModuleOp:
    """Two networks that meet at the end."""
    g = GraphWriter()
    ends: list[SSAValue] = []
    for first, *widths in (user, item):
        x = g.value(rows, first)
        for width in widths:
            x = g.unary("relu", g.linear(x, width))
        ends.append(x)
    score = g.call("sum.dim_IntList", [g.mul(*ends), [-1], True], (rows, 1))
    return g.finish(g.unary("sigmoid", score))


def inception(images: int, blocks: int) -> ModuleOp:
    """Blocks of four branches: 1x1, 3x3 and 5x5 convolutions, and a pool."""
    g = GraphWriter()
    x = g.value(images, 256, 28, 28)
    for _ in range(blocks):
        shape = g.shape(x)
        pooled = g.calls(
            "max_pool2d_with_indices",
            [x, [3, 3], [1, 1], [1, 1]],
            [(shape, interned.f16), (shape, interned.i64)],
        )[0]
        branches = [
            g.convolution(x, 64, 1),
            g.convolution(g.convolution(x, 96, 1), 128, 3),
            g.convolution(g.convolution(x, 16, 1), 32, 5),
            g.convolution(pooled, 32, 1),
        ]
        x = g.call("cat", [branches, 1], (images, 256, 28, 28))
    return g.finish(x)


def llama_prefill(rows: int, hidden: int, inner: int, layers: int) -> ModuleOp:
    """Decoder layers with separate projections."""
    g = GraphWriter()
    x, mask, heads = g.value(rows, hidden), g.value(rows, rows), hidden // 128
    for _ in range(layers):
        normal = g.normalized(x)
        query, key, value = (g.view(g.linear(normal, hidden), rows, heads, 128) for _ in range(3))
        mixed = g.attention(g.rotated(query), g.rotated(key), value, mask)
        x = g.add(x, g.linear(mixed, hidden))
        x = g.add(x, g.mlp(g.normalized(x), inner))
    return g.finish(x)


def layered(layers: int, width: int, seed: int) -> ModuleOp:
    """Layers of operations of random size that read one or two of the layer before."""
    r = random.Random(seed)
    g = GraphWriter()
    x = [g.value(512, 512) for _ in range(width)]
    for _ in range(layers):
        x = [_random_call(g, r, x) for _ in range(r.randint(max(1, width // 2), width))]
    return g.finish(_sum(g, x))


def random_graph(size: int, seed: int) -> ModuleOp:
    """Operations of random size that read some of the forty before."""
    r = random.Random(seed)
    g = GraphWriter()
    x = [g.value(512, 512) for _ in range(8)]
    for _ in range(size):
        x.append(_random_call(g, r, x[-40:]))
    return g.finish(_sum(g, [value for value in x[8:] if value.first_use is None]))


def _random_call(g: GraphWriter, r: random.Random, sources: Sequence[SSAValue]) -> SSAValue:
    first, second = r.choice(sources), r.choice(sources)
    kind = r.random()
    if kind < 0.4:
        return g.linear(g.linear(first, r.choice((256, 512, 1024, 4096))), 512)
    return g.add(first, second) if kind < 0.6 else g.unary(r.choice(("exp", "gelu", "relu")), first)


def _sum(g: GraphWriter, x: list[SSAValue]) -> SSAValue:
    while len(x) > 1:
        x = [g.add(*x[i : i + 2]) if i + 1 < len(x) else x[i] for i in range(0, len(x), 2)]
    return x[0]


WIDE, NARROW = (768, 1024, 512, 256, 128), (512, 512, 256, 128)

GRAPHS: dict[str, Callable[[], ModuleOp]] = {
    "MoE, 8 small experts": lambda: mixture_of_experts(512, 1024, 512, 8, 1),
    "MoE, 8 large experts": lambda: mixture_of_experts(4096, 4096, 14336, 8, 1),
    "MoE, 64 experts and 2 shared": lambda: mixture_of_experts(4096, 2048, 1408, 64, 2),
    "MoE, all rows": lambda: experts_on_all_rows(256, 2048, 1408, 8),
    "MoE, one copy": lambda: experts_of_one_copy(2048, 2048, 1408),
    "MLA attention, 1 layer": lambda: latent_attention(512, 2048, 16, 1),
    "MLA attention, 8 layers": lambda: latent_attention(512, 2048, 16, 8),
    "two towers": lambda: two_towers(4096, WIDE, NARROW),
    "two deep towers": lambda: two_towers(1024, (512,) * 64, (1024, *(1024,) * 62, 512)),
    "inception, 1 block": lambda: inception(16, 1),
    "inception, 9 blocks": lambda: inception(16, 9),
    "Llama prefill, 1 layer": lambda: llama_prefill(512, 2048, 5632, 1),
    "Llama prefill, 16 layers": lambda: llama_prefill(2048, 4096, 11008, 16),
    "layered, 10 x 4": lambda: layered(10, 4, 1),
    "layered, 20 x 8": lambda: layered(20, 8, 2),
    "layered, 50 x 8": lambda: layered(50, 8, 3),
    "layered, 100 x 16": lambda: layered(100, 16, 4),
    "layered, 200 x 32": lambda: layered(200, 32, 5),
    "random, 300": lambda: random_graph(300, 6),
}
"""Name -> builder."""
