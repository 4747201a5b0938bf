"""Which calls of converted operators are taken apart while a graph is traced."""

from __future__ import annotations

import pytest
import torch
from torch.fx.experimental.proxy_tensor import make_fx

from torchair.frontend.decompositions.conditional import conditional_decompositions

aten = torch.ops.aten


def traced(function, *args, mode="fake"):
    graph = make_fx(function, decomposition_table=conditional_decompositions(), tracing_mode=mode)(
        *args
    )
    return graph, [n.target for n in graph.graph.nodes if n.op == "call_function"]


@pytest.mark.parametrize("dtype", (torch.float32, torch.float64))
def test_doubles_are_taken_apart(dtype):
    _, ops = traced(lambda x: aten.huber_loss(x, x + 1), torch.ones(3, dtype=dtype))
    assert (aten.huber_loss.default in ops) == (dtype is torch.float32)


def test_symbolic_attributes_become_integers():
    def function(x, w, step):
        return aten.convolution(x, w, None, [step], [0], [1], False, [0], 1)

    graph, ops = traced(function, torch.ones(1, 2, 8), torch.ones(3, 2, 3), 2, mode="symbolic")
    assert ops.count(aten.convolution.default) == 1
    node = next(n for n in graph.graph.nodes if n.target is aten.convolution.default)
    assert node.args[3] == [2]
    assert torch.equal(
        graph(torch.ones(1, 2, 8), torch.ones(3, 2, 3), 2), torch.full((1, 3, 3), 6.0)
    )


def test_entries_are_operators():
    assert all(isinstance(op, torch._ops.OpOverload) for op in conditional_decompositions())
