"""Operators that no CPU kernel of PyTorch computes, against their definitions."""

from __future__ import annotations

import operator

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from xdsl.context import Context

from torchair.backend_ge.host.lowering import interpret, read_graph
from torchair.frontend.fx_import import import_graph
from torchair.ir.verify import verify_module
from torchair.passes import ALL_PASSES

aten = torch.ops.aten


def run(op, args, like):
    """One call, imported from a graph whose result types are those of ``like``."""
    mode = FakeTensorMode()
    graph = torch.fx.Graph()
    nodes = []
    for index, value in enumerate(args):
        if isinstance(value, torch.Tensor):
            node = graph.placeholder(f"x{index}")
            node.meta["val"] = mode.from_tensor(value)
            nodes.append(node)
        else:
            nodes.append(value)
    call = graph.call_function(op, tuple(nodes))
    several = isinstance(like, list)
    call.meta["val"] = [mode.from_tensor(v) for v in like] if several else mode.from_tensor(like)
    results = [call]
    if several:
        results = [graph.call_function(operator.getitem, (call, i)) for i in range(len(like))]
    graph.output(tuple(results))
    module = import_graph(torch.fx.GraphModule({}, graph)).module
    for name in ("convert-aten-to-ge", "dce"):
        ALL_PASSES[name]()().apply(Context(), module)
        verify_module(module)
    tensors = [a for a in args if isinstance(a, torch.Tensor)]
    host = read_graph(module)
    assert len(host.arguments) == len(tensors)
    return interpret(host, tensors)


@pytest.fixture
def batch():
    generator = torch.Generator().manual_seed(0)
    x, dy = (torch.randn(4, 3, 5, 2, generator=generator) for _ in range(2))
    weight, bias = torch.rand(3, generator=generator), torch.rand(3, generator=generator)
    mean, variance = x.mean((0, 2, 3)), x.var((0, 2, 3), unbiased=False)
    return x, dy, weight, bias, mean, (variance + 1e-5).rsqrt()


def test_forward(batch):
    x, _, weight, bias, mean, invstd = batch
    args = (x, weight, bias, mean, invstd, 1e-5)
    (found,) = run(aten.batch_norm_elemt.default, args, x)
    wanted = torch.nn.functional.batch_norm(x, None, None, weight, bias, training=True)
    torch.testing.assert_close(found, wanted)


@pytest.mark.parametrize("weighted", (False, True))
def test_backward(batch, weighted):
    x, dy, weight, bias, mean, invstd = batch
    given = x.clone().requires_grad_()
    parameters = [weight.clone().requires_grad_(), bias.clone().requires_grad_()]
    scale = parameters if weighted else [None, None]
    torch.nn.functional.batch_norm(given, None, None, *scale, training=True).backward(dy)
    if weighted:
        sums = run(
            aten.batch_norm_backward_reduce.default,
            (dy, x, mean, invstd, weight, True, True, True),
            [mean, mean, mean, mean],
        )
        torch.testing.assert_close(sums[2:], [parameters[0].grad, parameters[1].grad])
    sum_dy = dy.sum((0, 2, 3))
    sum_dy_xmu = (dy * (x - mean.reshape(3, 1, 1))).sum((0, 2, 3))
    count = torch.tensor([30, 10], dtype=torch.int32)
    known = weight if weighted else None
    args = (dy, x, mean, invstd, known, sum_dy, sum_dy_xmu, count)
    (found,) = run(aten.batch_norm_backward_elemt.default, args, x)
    torch.testing.assert_close(found, given.grad)


@pytest.mark.parametrize("outer", ((), (2, 3)))
def test_gradient_of_matmul(outer):
    generator = torch.Generator().manual_seed(0)
    a = torch.randn(*outer, 4, 5, generator=generator, requires_grad=True)
    b = torch.randn(*outer, 5, 6, generator=generator, requires_grad=True)
    grad = torch.randn(*outer, 4, 6, generator=generator)
    (a @ b).backward(grad)
    args = (grad, a.detach(), b.detach(), [True, True])
    found = run(aten.matmul_backward.default, args, [a.detach(), b.detach()])
    torch.testing.assert_close(found, [a.grad, b.grad])
