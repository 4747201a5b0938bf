"""Attention as models write it: which operator it becomes, and that the numbers are eager's."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from test_fusions import compile_and_count
from torch import Tensor, nn
from torch.nn import functional

import torchair
from torchair.backend_ge.graph_text import read_graph_file

HIDDEN = torch.ones(6, 6, dtype=torch.bool).triu(2).expand(2, 1, 6, 6)
SCAFFOLD = {"Data", "Const", "NetOutput", "Reshape", "Unsqueeze", "Shape", "Gather", "Pack"}


def attention(q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> Tensor:
    scores = torch.matmul(q, k.transpose(-1, -2)) / math.sqrt(q.shape[-1]) + mask
    return torch.matmul(torch.softmax(scores, dim=-1, dtype=torch.float32).to(q.dtype), v)


def attention_of_scaled_queries(q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> Tensor:
    scores = (q * 0.25) @ k.permute(0, 1, 3, 2) + mask
    return functional.softmax(scores.float(), dim=-1).type_as(q) @ v


def attention_with_hidden_places(q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> Tensor:
    hidden = torch.ones_like(mask, dtype=torch.bool).triu(1)
    scores = torch.matmul(q, k.transpose(2, 3)) * 0.25
    return torch.softmax(scores.masked_fill(hidden, float("-inf")), -1) @ v


def attention_with_shown_places(q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> Tensor:
    scores = torch.matmul(q, k.transpose(2, 3)) / 4.0
    scores = torch.where(mask > -1.0, scores, float("-inf"))
    return torch.softmax(scores, -1, dtype=torch.float32).to(q.dtype) @ v


WRITTEN_OUT = (
    attention,
    attention_of_scaled_queries,
    attention_with_hidden_places,
    attention_with_shown_places,
)


@pytest.mark.parametrize(("dtype", "dynamic"), [(torch.float16, False), (torch.bfloat16, True)])
@pytest.mark.parametrize("form", WRITTEN_OUT)
def test_written_out(form: Any, dtype: torch.dtype, dynamic: bool, tmp_path: Any) -> None:
    torch.manual_seed(0)
    q, k, v = (torch.randn(2, 4, 6, 16, dtype=dtype) for _ in range(3))
    mask = torch.zeros(2, 1, 6, 6, dtype=dtype).masked_fill(HIDDEN, -1e4)
    with torch.no_grad():
        expected = form(q, k, v, mask)
    found, nodes = compile_and_count(form, (q, k, v, mask), tmp_path, dynamic=dynamic)
    torch.testing.assert_close(found, expected, rtol=3e-2, atol=3e-2)
    assert "FusedInferAttentionScore" in nodes
    assert not {"BatchMatMul", "SoftmaxV2", "Transpose", "SelectV2"} & set(nodes)


def repeat_kv(x: Tensor, times: int) -> Tensor:
    batch, heads, rows, size = x.shape
    wide = x[:, :, None].expand(batch, heads, times, rows, size)
    return wide.reshape(batch, heads * times, rows, size)


def by_repeating(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
    wide = (repeat_kv(k, 4), repeat_kv(v, 4))
    return functional.scaled_dot_product_attention(q, *wide, attn_mask=mask)


def by_repeating_elements(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
    wide = (k.repeat_interleave(4, 1), v.repeat_interleave(4, 1))
    return functional.scaled_dot_product_attention(q, *wide, attn_mask=mask)


def by_groups(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
    return functional.scaled_dot_product_attention(q, k, v, attn_mask=mask, enable_gqa=True)


def written_out(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
    scores = torch.matmul(q, repeat_kv(k, 4).transpose(2, 3)) * q.shape[-1] ** -0.5
    if mask is not None and mask.dtype is torch.bool:
        scores = scores.masked_fill(~mask, -math.inf)
    elif mask is not None:
        scores = scores + mask
    weights = functional.softmax(scores, dim=-1, dtype=torch.float32).to(q.dtype)
    return torch.matmul(weights, repeat_kv(v, 4))


GROUPED = (by_repeating, by_repeating_elements, by_groups, written_out)


def grouped(rows: int) -> tuple[Tensor, Tensor, Tensor]:
    torch.manual_seed(1)
    q = torch.randn(2, 8, rows, 16, dtype=torch.bfloat16)
    k, v = (torch.randn(2, 2, 12, 16, dtype=torch.bfloat16) for _ in range(2))
    return q, k, v


def check_inference(form: Callable[..., Tensor], inputs: Any, folder: Path, types: str) -> None:
    """Check numbers, and the GE operators that compute."""
    expected = form(*inputs)
    found, nodes = compile_and_count(form, inputs, folder)
    torch.testing.assert_close(found, expected, rtol=3e-2, atol=3e-2)
    assert set(nodes) - SCAFFOLD == set(types.split())


@pytest.mark.parametrize("rows", [1, 5])
@pytest.mark.parametrize("form", GROUPED)
def test_groups_under_a_boolean_mask(form: Any, rows: int, tmp_path: Path) -> None:
    mask = torch.rand(2, 1, rows, 12) > 0.4
    mask[..., 0] = True
    inputs = (*grouped(rows), mask)
    check_inference(form, inputs, tmp_path, "LogicalNot FusedInferAttentionScore")


@pytest.mark.parametrize(("form", "rows"), [(by_groups, 1), (written_out, 5)])
def test_groups_with_an_added_mask(form: Any, rows: int, tmp_path: Path) -> None:
    mask = torch.zeros(2, 1, rows, 12, dtype=torch.bfloat16)
    mask = mask.masked_fill(torch.rand(2, 1, rows, 12) > 0.6, torch.finfo(torch.bfloat16).min)
    inputs = (*grouped(rows), mask)
    check_inference(form, inputs, tmp_path, "BroadcastTo FusedInferAttentionScore")


@pytest.mark.parametrize("rows", [1, 5])
def test_slopes_of_heads(rows: int, tmp_path: Path) -> None:
    slopes = -torch.rand(1, 8, 1, 1) * torch.arange(12.0)
    inputs = (*grouped(rows), slopes.expand(1, 8, rows, 12).bfloat16())
    check_inference(by_groups, inputs, tmp_path, "FusedInferAttentionScore")


@pytest.mark.parametrize("shape", [(5, 12), (1, 12), (1, 1, 5, 12), (2, 1, 1, 12)])
def test_mask_of_any_rank(shape: tuple[int, ...], tmp_path: Path) -> None:
    torch.manual_seed(2)
    mask = torch.rand(shape) > 0.3
    inputs = (*grouped(5), mask)
    expected = by_groups(*inputs)
    found, nodes = compile_and_count(by_groups, inputs, tmp_path)
    torch.testing.assert_close(found, expected)
    assert "FusedInferAttentionScore" in nodes and "SelectV2" not in nodes


def zeros_and_infinities(q: Tensor, k: Tensor, v: Tensor, shown: Tensor) -> Tensor:
    numbers = torch.zeros(5, 12, dtype=q.dtype).masked_fill(~shown, -math.inf)
    return by_groups(q, k, v, numbers)


def infinities_where_hidden(q: Tensor, k: Tensor, v: Tensor, shown: Tensor) -> Tensor:
    numbers = torch.zeros_like(shown, dtype=q.dtype).masked_fill_(shown.logical_not(), -math.inf)
    return by_groups(q, k, v, numbers)


def triangle_of_infinities(q: Tensor, k: Tensor, v: Tensor, shown: Tensor) -> Tensor:
    numbers = torch.full((5, 12), -math.inf, dtype=q.dtype).triu(1)
    return by_groups(q, k, v, numbers)


@pytest.mark.parametrize(
    "form", [zeros_and_infinities, infinities_where_hidden, triangle_of_infinities]
)
def test_masks_made_of_numbers(form: Any, tmp_path: Path) -> None:
    shown = torch.rand(5, 12) > 0.3
    inputs = (*grouped(5), shown)
    found, nodes = compile_and_count(form, inputs, tmp_path)
    torch.testing.assert_close(found, form(*inputs))
    assert "FusedInferAttentionScore" in nodes
    assert not {"MaskedFill", "SelectV2", "BroadcastTo"} & set(nodes)


def test_row_that_sees_nothing_is_zero(tmp_path: Path) -> None:
    mask = torch.ones(2, 1, 5, 12, dtype=torch.bool)
    mask[0, :, 2] = False
    inputs = (*grouped(5), mask)
    found, _ = compile_and_count(by_groups, inputs, tmp_path)
    assert found[0, :, 2].abs().max() == 0 and found[1, :, 2].abs().min() > 0


class Cached(nn.Module):
    """Attention of a decoder layer with a static cache, written as transformers does it."""

    def __init__(self, dtype: torch.dtype, heads: int = 8, groups: int = 2, size: int = 16) -> None:
        super().__init__()
        self.heads, self.groups, self.size = heads, groups, size
        wide, narrow = heads * size, groups * size
        self.q, self.o = (nn.Linear(wide, wide, bias=False, dtype=dtype) for _ in range(2))
        self.k, self.v = (nn.Linear(wide, narrow, bias=False, dtype=dtype) for _ in range(2))
        for name in ("keys", "values"):
            self.register_buffer(name, torch.zeros(2, groups, 12, size, dtype=dtype))

    def forward(self, x: Tensor, places: Tensor) -> Tensor:
        batch, rows, _ = x.shape
        q = self.q(x).view(batch, rows, self.heads, self.size).transpose(1, 2)
        k = self.k(x).view(batch, rows, self.groups, self.size).transpose(1, 2)
        v = self.v(x).view(batch, rows, self.groups, self.size).transpose(1, 2)
        self.keys.index_copy_(2, places, k)
        self.values.index_copy_(2, places, v)
        mask = (torch.arange(12) <= places[:, None])[None, None]
        times = self.heads // self.groups
        y = functional.scaled_dot_product_attention(
            q, repeat_kv(self.keys, times), repeat_kv(self.values, times), attn_mask=mask
        )
        return self.o(y.transpose(1, 2).reshape(batch, rows, -1))


def graphs_of(folder: Path) -> list[str]:
    """GE operator types of all graphs that were compiled."""
    paths = folder.rglob("*graph.pbtxt")
    return [node.type for path in paths for node in read_graph_file(path).graph[0].op]


def backend_into(folder: Path) -> Any:
    config = torchair.CompilerConfig()
    config.debug.ir_dump.path = str(folder)
    return torchair.get_npu_backend(compiler_config=config)


@pytest.mark.parametrize("dynamic", [False, True])
def test_prompt_and_decode_over_a_cache(dynamic: bool, tmp_path: Path) -> None:
    torch.manual_seed(3)
    model, again = Cached(torch.bfloat16), Cached(torch.bfloat16)
    again.load_state_dict(model.state_dict())
    torch._dynamo.reset()
    compiled = torch.compile(model, backend=backend_into(tmp_path), fullgraph=True, dynamic=dynamic)
    with torch.no_grad():
        for places in (torch.arange(5), torch.tensor([5]), torch.tensor([6])):
            x = torch.randn(2, len(places), 128, dtype=torch.bfloat16)
            expected, found = again(x, places), compiled(x, places)
            torch.testing.assert_close(found, expected, rtol=3e-2, atol=3e-2)
    torch.testing.assert_close(model.keys, again.keys)
    nodes = graphs_of(tmp_path)
    assert nodes.count("FusedInferAttentionScore") == 2
    assert not {"SelectV2", "SoftmaxV2", "FlashAttentionScore"} & set(nodes)


def test_encoder_needs_no_transposes(tmp_path: Path) -> None:
    def encoder(x: Tensor, w: Tensor, mask: Tensor) -> Tensor:
        q, k, v = (x @ w).view(2, 6, 3, 4, 16).unbind(2)
        given = [t.transpose(1, 2) for t in (q, k, v)]
        y = functional.scaled_dot_product_attention(*given, attn_mask=mask)
        return y.transpose(1, 2).reshape(2, 6, 64)

    inputs = (
        torch.randn(2, 6, 64, dtype=torch.float16),
        torch.randn(64, 192, dtype=torch.float16) * 0.1,
        torch.ones(2, 1, 1, 6, dtype=torch.bool),
    )
    found, nodes = compile_and_count(encoder, inputs, tmp_path)
    torch.testing.assert_close(found, encoder(*inputs), rtol=4e-3, atol=4e-3)
    assert "FusedInferAttentionScore" in nodes and "Transpose" not in nodes


@pytest.mark.parametrize("rows", [1, 5, 12])
def test_causal(rows: int, tmp_path: Path) -> None:
    def causal(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return functional.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)

    inputs = grouped(rows)
    found, nodes = compile_and_count(causal, inputs, tmp_path)
    torch.testing.assert_close(found, causal(*inputs))
    assert ("FusedInferAttentionScore" in nodes) is (rows > 1)


def test_training_keeps_statistics(tmp_path: Path) -> None:
    def loss(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return functional.scaled_dot_product_attention(q, k, v).float().square().sum()

    torch.manual_seed(4)
    values = [torch.randn(2, 4, 6, 16, dtype=torch.bfloat16) for _ in range(3)]
    expected, found = ([t.clone().requires_grad_() for t in values] for _ in range(2))
    loss(*expected).backward()
    torch._dynamo.reset()
    torch.compile(loss, backend=backend_into(tmp_path), fullgraph=True)(*found).backward()
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a.grad, b.grad, rtol=3e-2, atol=3e-2)
    nodes = graphs_of(tmp_path)
    assert {"FlashAttentionScore", "FlashAttentionScoreGrad"} <= set(nodes)
    assert "FusedInferAttentionScore" not in nodes


@pytest.mark.parametrize("form", [by_groups, written_out])
def test_groups_in_float32(form: Any, tmp_path: Path) -> None:
    q, k, v = (t.float() for t in grouped(1))
    inputs = (q, k, v, torch.arange(12)[None, None, None] < 7)
    found, nodes = compile_and_count(form, inputs, tmp_path)
    torch.testing.assert_close(found, form(*inputs), rtol=2e-6, atol=2e-6)
    assert not {"FusedInferAttentionScore", "FlashAttentionScore"} & set(nodes)


@pytest.mark.parametrize("dynamic", [False, True])
def test_attention_in_float32_keeps_its_rank(dynamic: bool, tmp_path: Any) -> None:
    def plain(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return torch.softmax(q @ k.transpose(-1, -2) * 0.25, -1) @ v

    inputs = tuple(torch.randn(2, 4, 6, 16) for _ in range(3))
    found, nodes = compile_and_count(plain, inputs, tmp_path, dynamic=dynamic)
    torch.testing.assert_close(found, plain(*inputs), rtol=2e-6, atol=2e-6)
    assert not {"Reshape", "Transpose"} & set(nodes)
