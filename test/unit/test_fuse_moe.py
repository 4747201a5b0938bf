"""Mixtures of experts as models write them: grouped products, and the routing around them."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from test_fusions import compile_and_count
from torch import Tensor, nn
from torch.nn import functional

import torchair

SCAFFOLD = {"Data", "Const", "NetOutput", "Reshape"}
ENDS = torch.tensor([2, 2, 7, 9], dtype=torch.int32)


def rows_of_groups(x: Tensor, w: Tensor) -> Tensor:
    return functional.grouped_mm(x, w.transpose(-2, -1), offs=ENDS)


def inner_groups(x: Tensor, w: Tensor) -> Tensor:
    return functional.grouped_mm(x.t(), x * 2, offs=ENDS)


def stacks(x: Tensor, w: Tensor) -> Tensor:
    return functional.grouped_mm(w, w.transpose(-2, -1))


@pytest.mark.parametrize("form", [rows_of_groups, inner_groups, stacks])
def test_grouped_product(form: Any, tmp_path: Any) -> None:
    torch.manual_seed(0)
    inputs = (torch.randn(9, 16).bfloat16(), torch.randn(4, 8, 16).bfloat16())
    found, nodes = compile_and_count(form, inputs, tmp_path, dynamic=True)
    torch.testing.assert_close(found, form(*inputs), rtol=2e-2, atol=2e-2)
    assert ("BatchMatMul" if form is stacks else "GroupedMatmul") in nodes


def test_groups_of_columns(tmp_path: Any) -> None:
    def form(stack: Tensor, x: Tensor, ends: Tensor) -> Tensor:
        return functional.grouped_mm(stack, x.t(), offs=ends)

    inputs = (torch.randn(4, 8, 16).bfloat16(), torch.randn(9, 16).bfloat16(), ENDS)
    found, nodes = compile_and_count(form, inputs, tmp_path)
    torch.testing.assert_close(found, form(*inputs), rtol=2e-2, atol=2e-2)
    assert nodes.count("GroupedMatmul") == 1


def test_training_through_grouped_products() -> None:
    torch._dynamo.reset()
    torch.manual_seed(0)
    x, w = torch.randn(9, 16).bfloat16(), torch.randn(4, 8, 16).bfloat16()
    backend = torchair.get_npu_backend(compiler_config=torchair.CompilerConfig())
    compiled = torch.compile(rows_of_groups, backend=backend, fullgraph=True)
    gradients: list[list[Tensor]] = []
    for function in (rows_of_groups, compiled):
        inputs = [t.clone().requires_grad_() for t in (x, w)]
        function(*inputs).float().square().sum().backward()
        gradients.append([t.grad for t in inputs if t.grad is not None])
    torch.testing.assert_close(gradients[1], gradients[0], rtol=3e-2, atol=6e-2)


class Experts(nn.Module):
    """Routing by a stable or another sort, as models with grouped products write it."""

    def __init__(self, dtype: torch.dtype, stable: bool = False, order: bool = False) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.router = nn.Parameter(torch.randn(16, 4))
        self.up = nn.Parameter(torch.randn(4, 24, 16) / 4)
        self.down = nn.Parameter(torch.randn(4, 16, 24) / 4)
        self.stable, self.order = stable, order
        self.to(dtype)

    def product(self, x: Tensor, w: Tensor, ends: Tensor) -> Tensor:
        return functional.grouped_mm(x, w.transpose(-2, -1), offs=ends)

    def forward(self, x: Tensor) -> Any:
        weights, ids = torch.topk(torch.softmax((x @ self.router).float(), -1), 2)
        experts, order = torch.sort(ids.reshape(-1), stable=self.stable)
        rows = x[order // ids.shape[1]]
        counts = torch.histc(experts.float(), bins=4, min=0, max=3)
        ends = torch.cumsum(counts, 0, dtype=torch.int32)
        rows = self.product(torch.relu(self.product(rows, self.up, ends)), self.down, ends)
        rows = rows * weights.reshape(-1)[order].unsqueeze(-1)
        inverse = torch.empty_like(order)
        inverse[order] = torch.arange(order.size(0))
        y = rows[inverse].view(*ids.shape, -1).sum(dim=1).to(x.dtype)
        return (y, order) if self.order else y


@pytest.mark.parametrize(("stable", "dynamic"), [(False, True), (True, False)])
def test_routing(stable: bool, dynamic: bool, tmp_path: Any) -> None:
    model, x = Experts(torch.bfloat16, stable), torch.randn(7, 16).bfloat16()
    with torch.no_grad():
        expected = model(x)
    found, nodes = compile_and_count(model, (x,), tmp_path, dynamic=dynamic)
    torch.testing.assert_close(found, expected, rtol=2e-2, atol=2e-2)
    work = {"MatMul", "MoeInitRoutingV3", "GroupedMatmul", "Relu", "MoeFinalizeRoutingV2", "Cast"}
    assert set(nodes) - SCAFFOLD == work | {"MoeGatingTopKSoftmaxV2"}


def test_experts_without_tokens(tmp_path: Any) -> None:
    model, x = Experts(torch.bfloat16), torch.randn(1, 16).bfloat16().repeat(7, 1)
    found, nodes = compile_and_count(model, (x,), tmp_path)
    with torch.no_grad():
        torch.testing.assert_close(found, model(x), rtol=2e-2, atol=2e-2)
    assert "MoeInitRoutingV3" in nodes


def test_an_order_that_is_returned_is_torchs(tmp_path: Any) -> None:
    model, x = Experts(torch.bfloat16, order=True), torch.randn(7, 16).bfloat16()
    found, nodes = compile_and_count(model, (x,), tmp_path)
    with torch.no_grad():
        assert torch.equal(found[1], model(x)[1])
    assert "MoeInitRoutingV3" not in nodes


@pytest.fixture(scope="module")
def mixtral() -> Any:
    modeling = pytest.importorskip("transformers.models.mixtral.modeling_mixtral")
    from transformers import MixtralConfig

    def build(kind: str, dtype: torch.dtype) -> nn.Module:
        config = MixtralConfig(hidden_size=32, intermediate_size=64, num_local_experts=4)
        config._experts_implementation = kind
        torch.manual_seed(0)
        block = modeling.MixtralSparseMoeBlock(config).eval()
        for parameter in block.parameters():
            nn.init.normal_(parameter, std=0.2)
        return block.to(dtype)

    return build


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("kind", ["grouped_mm", "batched_mm"])
def test_experts_of_transformers(
    mixtral: Any, kind: str, dtype: torch.dtype, tmp_path: Any
) -> None:
    block, x = mixtral(kind, dtype), torch.randn(2, 5, 32).to(dtype)
    with torch.no_grad():
        expected = block(x)
    found, nodes = compile_and_count(block, (x,), tmp_path, dynamic=True)
    limit = 2e-2 if dtype is torch.bfloat16 else 1e-6
    assert (found - expected).abs().max() <= limit * expected.abs().max()
    work = {"MatMul", "MoeGatingTopKSoftmaxV2", "MoeInitRoutingV3", "GroupedMatmul", "SwiGlu"}
    casts = {"Cast"} if dtype is torch.bfloat16 else set[str]()
    assert set(nodes) - SCAFFOLD == work | casts | {"MoeFinalizeRoutingV2"}


def test_training_step_of_transformers_experts(mixtral: Any) -> None:
    torch._dynamo.reset()
    torch.manual_seed(0)
    x = torch.randn(1, 5, 32)
    block = mixtral("grouped_mm", torch.float32)
    backend = torchair.get_npu_backend(compiler_config=torchair.CompilerConfig())
    gradients: list[list[Tensor]] = []
    for function in (block, torch.compile(block, backend=backend, fullgraph=True)):
        block.zero_grad()
        function(x).square().sum().backward()
        gradients.append([p.grad.clone() for p in block.parameters() if p.grad is not None])
    assert len(gradients[0]) == 3
    torch.testing.assert_close(gradients[1], gradients[0], rtol=1e-4, atol=1e-4)
