"""Higher-order operators become plain ones: results and gradients equal eager's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch._higher_order_ops.associative_scan import associative_scan
from torch._higher_order_ops.flex_attention import (
    create_fw_bw_graph,
    flex_attention_backward,
    sdpa_dense,
)
from torch._higher_order_ops.map import map as torch_map
from torch._higher_order_ops.scan import scan
from torch._higher_order_ops.while_loop import while_loop
from torch.fx.experimental.proxy_tensor import make_fx
from torch.nn.attention.flex_attention import create_block_mask, flex_attention

import torchair
from torchair.errors import UnsupportedOpError
from torchair.frontend.decompositions import default_decompositions
from torchair.frontend.exported_program import import_exported_program
from torchair.frontend.higher_order import expand_higher_order

Function = Callable[[Tensor, Tensor], Any]


def leaves(value: Any) -> list[Tensor]:
    return [value] if isinstance(value, Tensor) else [one for item in value for one in leaves(item)]


def run(call: Function, x: Tensor, w: Tensor) -> list[Tensor]:
    """Results, then gradients where a result has one."""
    x, w = x.clone().requires_grad_(), w.clone().requires_grad_()
    results = leaves(call(x, w))
    total = sum(r.sin().sum() for r in results if r.requires_grad)
    found = [r.detach() for r in results]
    if isinstance(total, Tensor):
        gradients = torch.autograd.grad(total, (x, w), allow_unused=True)
        pairs = zip((x, w), gradients, strict=True)
        found += [torch.zeros_like(leaf) if g is None else g for leaf, g in pairs]
    return found


def check(function: Function, *rows: int, dynamic: bool = False) -> None:
    torch._dynamo.reset()
    backend = torchair.get_npu_backend()
    compiled = torch.compile(function, backend=backend, dynamic=dynamic, fullgraph=True)
    for count in rows if dynamic else rows[:1]:
        generator = torch.Generator().manual_seed(count)
        for sign in (1.0, -1.0):
            x = torch.randn(count, 4, generator=generator).abs() * sign
            w = torch.randn(4, 4, generator=generator)
            torch.testing.assert_close(run(compiled, x, w), run(function, x, w))


def nested(x: Tensor, w: Tensor) -> Tensor:
    def positive(x: Tensor) -> Tensor:
        return torch.cond(x.max() > 1, lambda x: x @ w, lambda x: x - 1, (x,))

    return torch.cond(x.sum() > 0, positive, lambda x: x * 2, (x,))


def cumulated(a: tuple[Tensor, Tensor], b: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    return a[0] * b[0], a[1] * b[0] + b[1]


FUNCTIONS: dict[str, Function] = {
    "cond": lambda x, w: torch.cond(x.sum() > 0, lambda x: x.sin() @ w, lambda x: x.cos(), (x,)),
    "cond of two results": lambda x, w: torch.cond(
        x.sum() > 0, lambda x: (x + 1, x.sum()), lambda x: (x * 2, x.mean()), (x,)
    ),
    "cond in cond": nested,
    "cond of a size": lambda x, w: torch.cond(
        x.shape[0] > 3, lambda x: x @ w, lambda x: x * 2, (x,)
    ),
    "scan": lambda x, w: scan(lambda c, y: (c * 0.5 + y, c @ w), torch.zeros(4), x),
    "map": lambda x, w: torch_map(lambda row, w: (row @ w).sin(), x, w),
    "associative_scan": lambda x, w: associative_scan(
        cumulated, (x.sigmoid(), x), 0, combine_mode="generic"
    ),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_results_and_gradients(name: str) -> None:
    check(FUNCTIONS[name], 3)


@pytest.mark.parametrize("name", ["cond", "cond of a size", "scan"])
def test_symbolic_sizes(name: str) -> None:
    check(FUNCTIONS[name], 3, 4, dynamic=True)


def test_a_region_compiled_once_is_inlined() -> None:
    region = torch.compiler.nested_compile_region(lambda x, w: (x @ w).relu())
    check(lambda x, w: region(region(x, w), w), 5)


def heads(x: Tensor, w: Tensor) -> tuple[Tensor, Tensor]:
    return x.view(1, 2, -1, 4) @ w, x.view(1, 2, -1, 4)


def biased(x: Tensor, w: Tensor) -> Tensor:
    q, k = heads(x, w)
    table = w.flatten()
    return flex_attention(q, k, k, score_mod=lambda s, b, h, i, j: s + table[(i - j) % 16])


def masked(x: Tensor, w: Tensor) -> Tensor:
    q, k = heads(x, w)
    size = q.shape[2]
    mask = create_block_mask(lambda b, h, i, j: i >= j, None, None, size, size, device="cpu")
    return flex_attention(q, k, k, block_mask=mask)


@pytest.mark.parametrize(("function", "dynamic"), [(biased, False), (masked, True)])
def test_flex_attention(function: Function, dynamic: bool) -> None:
    torch._dynamo.reset()
    backend = torchair.get_npu_backend()
    compiled = torch.compile(function, backend=backend, dynamic=dynamic, fullgraph=True)
    for rows in (8, 12) if dynamic else (8,):
        x, w = torch.randn(rows, 4), torch.randn(4, 4)
        torch.testing.assert_close(compiled(x, w), function(x, w))


def test_gradient_of_flex_attention() -> None:
    """Called below its Python interface, which has no gradient on the CPU."""

    def score(s: Tensor, b: Tensor, h: Tensor, i: Tensor, j: Tensor) -> Tensor:
        return s + 0.5 * (i - j)

    def whole(b: Tensor, h: Tensor, i: Tensor, j: Tensor) -> Tensor:
        return i >= j

    q, k, v, upstream = (torch.randn(1, 2, 6, 4) for _ in range(4))
    block = (*[None] * 10, 128, 128, whole)
    out, logsumexp, _ = sdpa_dense(q, k, v, score, block, 0.5, {})
    place = torch.zeros((), dtype=torch.int32)
    example = (q.new_zeros((), requires_grad=True), place, place, place, place)
    graphs = create_fw_bw_graph(score, example, ())

    def backward(*values: Tensor) -> Any:
        given: Any = (*values, torch.zeros_like(values[4]), *graphs, block, 0.5, {}, (), ())
        return flex_attention_backward(*given)[:3]

    arguments = (q, k, v, out, logsumexp, upstream)
    graph = make_fx(backward, tracing_mode="fake")(*arguments)
    assert "flex_attention_backward" in graph.code
    expand_higher_order(graph, default_decompositions)
    assert "flex_attention_backward" not in graph.code
    torch.testing.assert_close(list(graph(*arguments)), list(backward(*arguments)))


def test_exported_program() -> None:
    class Branches(torch.nn.Module):
        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            return torch.cond(x.sum() > 0, lambda x: (x + 1, x.sin()), lambda x: (x * 2, -x), (x,))

    program = torch.export.export(Branches(), (torch.randn(3),))
    text = str(import_exported_program(program).module)
    assert text.count("aten.where.self") == 2


def test_branches_of_different_shapes_are_refused() -> None:
    def function(x: Tensor, w: Tensor) -> Tensor:
        return torch.cond(x.sum() > 0, lambda x: x[:2].clone(), lambda x: x[:3].clone(), (x,)) + 1

    compiled = torch.compile(function, backend=torchair.get_npu_backend(), fullgraph=True)
    with pytest.raises(UnsupportedOpError, match=r"cond cannot be expressed(.|\n)*test_higher"):
        compiled(torch.randn(4, 4), torch.randn(4, 4))


def test_loops_of_unknown_length_are_refused() -> None:
    def function(x: Tensor) -> Any:
        return while_loop(lambda i, x: i < 3, lambda i, x: (i + 1, x * 2), (torch.tensor(0), x))

    compiled = torch.compile(function, backend=torchair.get_npu_backend(), fullgraph=True)
    with pytest.raises(UnsupportedOpError, match=r"until its data says stop(.|\n)*Try: write"):
        compiled(torch.randn(4))
