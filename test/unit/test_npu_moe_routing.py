"""npu routing of tokens against loops over tokens, eager and compiled, static and dynamic."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from npu_operator_check import check_compiled
from npu_quantization_reference import dynamic_reference, near
from torch import Tensor

from torchair.errors import TorchairError

npu = torch.ops.npu


def test_init_routing() -> None:
    x = torch.tensor([[0.1] * 4, [0.2] * 4, [0.3] * 4])
    rows = torch.tensor([[0, 3], [1, 4], [2, 5]], dtype=torch.int32)
    experts = torch.tensor([[1, 2], [0, 1], [0, 2]], dtype=torch.int32)
    found = check_compiled(lambda *a: npu.npu_moe_init_routing(*a, active_num=3), x, rows, experts)
    order = sorted(range(6), key=lambda i: experts.flatten()[i].item())
    sources = [rows.flatten()[i].item() for i in order]
    assert torch.equal(found[0], x[[s % 3 for s in sources]])
    assert [found[1][s].item() for s in sources] == list(range(6))
    assert found[2].tolist() == [experts.flatten()[i].item() for i in order]
    few, _, _ = check_compiled(lambda *a: npu.npu_moe_init_routing(*a, 2), x, rows, experts)
    assert torch.equal(few, found[0][:4])


def sources_by_expert(experts: Tensor, first: int, end: int) -> list[int]:
    flat = experts.flatten().tolist()
    return [i for e in range(first, end) for i, found in enumerate(flat) if found == e]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.int8])
@pytest.mark.parametrize(("active", "span"), [(-1, [0, 6]), (7, [0, 6]), (0, [2, 4])])
def test_init_routing_v2(dtype: torch.dtype, active: int, span: list[int]) -> None:
    torch.manual_seed(3)
    x = torch.randint(-9, 9, (5, 4)).to(dtype)
    experts = torch.randint(0, 6, (5, 3), dtype=torch.int32)
    scale = torch.rand(5)
    rows, index, counts, scales = check_compiled(
        lambda x, e, s: npu.npu_moe_init_routing_v2(
            x,
            e,
            scale=s,
            active_num=active,
            expert_num=6,
            expert_tokens_num_type=1,
            expert_tokens_num_flag=True,
            active_expert_range=span,
        ),
        x,
        experts,
        scale,
    )
    sources = sources_by_expert(experts, *span)
    length = 15 if active <= 0 else min(active, 15)
    assert rows.shape == (length, 4) and scales.shape == (length,)
    went = [-1] * 15
    for place, source in enumerate(sources[:length]):
        assert torch.equal(rows[place], x[source // 3]) and scales[place] == scale[source // 3]
        went[source] = place
    assert index.tolist() == went
    flat = experts.flatten().tolist()
    assert counts.tolist() == [flat.count(e) for e in range(*span)]


def test_init_routing_v2_tells_tokens_in_three_ways() -> None:
    x, experts = torch.randn(4, 2), torch.tensor([[1, 4], [4, 1], [1, 2], [4, 1]]).int()

    def call(kind: int, flag: bool = True) -> Any:
        return lambda x, e: npu.npu_moe_init_routing_v2(
            x,
            e,
            expert_num=6,
            expert_tokens_num_type=kind,
            expert_tokens_num_flag=flag,
            row_idx_type=1,
        )

    _, index, sums, _ = check_compiled(call(0), x, experts)
    assert sums.tolist() == [0, 4, 5, 5, 8, 8] and sums.dtype is torch.int64
    assert index.tolist() == sources_by_expert(experts, 0, 6)
    pairs = check_compiled(call(2), x, experts)[2]
    assert pairs.tolist() == [[1, 4], [2, 1], [4, 3], [0, 0], [0, 0], [0, 0]]
    assert check_compiled(call(1, False), x, experts)[2].shape == ()


@pytest.mark.parametrize("smooth", [0, 1, 6])
def test_init_routing_v2_with_dynamic_quantisation(smooth: int) -> None:
    torch.manual_seed(4)
    x, experts = torch.randn(5, 8).bfloat16(), torch.randint(0, 6, (5, 2), dtype=torch.int32)
    factors = torch.rand(max(smooth, 1), 8) + 0.5
    rows, _, _, scales = check_compiled(
        lambda x, e, f: npu.npu_moe_init_routing_v2(
            x, e, scale=f if smooth else None, expert_num=6, quant_mode=1
        ),
        x,
        experts,
        factors,
    )
    sources = sources_by_expert(experts, 0, 6)
    wide = x[[s // 2 for s in sources]].float()
    if smooth:
        chosen = [experts.flatten()[s].item() if smooth > 1 else 0 for s in sources]
        wide = wide * factors[chosen]
    expected, wanted = dynamic_reference(wide)
    near(rows, expected)
    torch.testing.assert_close(scales.double(), wanted.double(), rtol=1e-5, atol=0)


def test_init_routing_v2_with_static_quantisation() -> None:
    x, experts = torch.randn(5, 8) * 9, torch.randint(0, 3, (5, 1), dtype=torch.int32)
    scale, offset = torch.tensor([4.0]), torch.tensor([1.0])
    rows, _, _, scales = check_compiled(
        lambda x, e, s, o: npu.npu_moe_init_routing_v2(
            x, e, scale=s, offset=o, expert_num=3, quant_mode=0
        ),
        x,
        experts,
        scale,
        offset,
    )
    wide = x[sources_by_expert(experts, 0, 3)]
    assert torch.equal(rows, (wide * 4 + 1).round().clamp(-128, 127).to(torch.int8))
    assert scales.shape == ()
    with pytest.raises(TorchairError, match="does not run on the host device"):
        npu.npu_moe_init_routing_v2(x, experts, expert_num=3, quant_mode=2)


def test_init_routing_v2_with_capacity_and_back() -> None:
    x = torch.randn(4, 3)
    experts = torch.tensor([[0, 1], [0, 2], [0, 1], [1, 0]], dtype=torch.int32)
    rows, index, _, _ = check_compiled(
        lambda x, e: npu.npu_moe_init_routing_v2(
            x, e, expert_num=3, expert_capacity=2, drop_pad_mode=1
        ),
        x,
        experts,
    )
    assert rows.shape == (3, 2, 3)
    filled = [0] * 3
    for source, expert in enumerate(experts.flatten().tolist()):
        place = filled[expert]
        filled[expert] += 1
        assert index[source] == (expert * 2 + place if place < 2 else -1)
        if place < 2:
            assert torch.equal(rows[expert, place], x[source // 2])
    assert rows[2, 1].abs().sum() == 0
    scales = torch.rand(4, 2)
    back = check_compiled(
        lambda r, i, s: npu.npu_moe_finalize_routing(r, None, None, None, s, i, None, 3),
        rows,
        index,
        scales,
    )
    weight = torch.where(index.reshape(4, 2) >= 0, scales, 0).sum(1, keepdim=True)
    torch.testing.assert_close(back, x * weight)


def test_compute_expert_tokens() -> None:
    experts = torch.tensor([0, 0, 1, 3, 3, 3], dtype=torch.int32)
    found = check_compiled(lambda e: npu.npu_moe_compute_expert_tokens(e, 5), experts)
    assert found.tolist() == [2, 3, 3, 6, 6] and found.dtype is torch.int32


@pytest.mark.parametrize(
    ("dtype", "skips", "with_bias"),
    [
        (torch.float16, 2, True),
        (torch.float16, 1, True),
        (torch.float32, 1, True),
        (torch.float32, 0, True),
        (torch.float32, 0, False),
        (torch.bfloat16, 2, True),
    ],
)
def test_finalize_routing(dtype: torch.dtype, skips: int, with_bias: bool) -> None:
    torch.manual_seed(5)
    rows, scales = torch.randn(24, 7, dtype=dtype), torch.rand(12, 2, dtype=dtype)
    skip, bias = torch.randn(2, 12, 7, dtype=dtype), torch.randn(3, 7, dtype=dtype)
    index = torch.randperm(24).int()
    experts = torch.randint(0, 3, (12, 2)).int()
    y = check_compiled(
        lambda r, s, b, c, i, e: npu.npu_moe_finalize_routing(
            r,
            s[0] if skips > 0 else None,
            s[1] if skips > 1 else None,
            b if with_bias else None,
            c,
            i,
            e if with_bias else None,
        ),
        rows,
        skip,
        bias,
        scales,
        index,
        experts,
    )
    expected = skip[:skips].double().sum(0) + torch.zeros(12, 7).double()
    for row in range(12):
        for choice in range(2):
            term = rows[index[row + choice * 12].item()].double()
            if with_bias:
                term = term + bias[experts[row, choice].item()].double()
            expected[row] += scales[row, choice].double() * term
    limit = {torch.float32: 1e-5, torch.float16: 4e-3, torch.bfloat16: 3e-2}[dtype]
    torch.testing.assert_close(y.double(), expected, rtol=limit, atol=limit)


@pytest.mark.parametrize(("idx_type", "kind"), [(0, 1), (1, 0)])
def test_re_routing(idx_type: int, kind: int) -> None:
    counts = torch.tensor([[2, 0, 1], [1, 3, 0]])
    tokens, scales = torch.randn(7, 4).half(), torch.rand(7)
    found = check_compiled(
        lambda t, c, s: npu.npu_moe_re_routing(
            t, c, per_token_scales=s, expert_token_num_type=kind, idx_type=idx_type
        ),
        tokens,
        counts,
        scales,
    )
    blocks, place = {}, 0
    for rank in range(2):
        for expert in range(3):
            size = int(counts[rank, expert])
            blocks[rank, expert] = list(range(place, place + size))
            place += size
    order = [s for expert in range(3) for rank in range(2) for s in blocks[rank, expert]]
    assert torch.equal(found[0], tokens[order]) and torch.equal(found[1], scales[order])
    assert found[2].tolist() == ([order.index(i) for i in range(7)] if idx_type else order)
    assert found[3].tolist() == ([3, 3, 1] if kind else [3, 6, 7])


@pytest.mark.parametrize("kept", [None, 5, -2])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_token_permute_and_back(kept: int | None, dtype: torch.dtype) -> None:
    tokens = torch.randn(4, 3, dtype=dtype)
    indices = torch.tensor([[0, 4], [4, 3], [4, 2], [1, 1]])
    rows, places = check_compiled(
        lambda t, i: npu.npu_moe_token_permute(t, i, kept), tokens, indices
    )
    order = [0, 6, 7, 5, 3, 1, 2, 4]
    count = {None: 8, 5: 5, -2: 6}[kept]
    assert torch.equal(rows, tokens[[o // 2 for o in order[:count]]])
    assert places.tolist() == [order.index(i) for i in range(8)]
    probs = torch.rand(4, 2).to(dtype)
    back = check_compiled(npu.npu_moe_token_unpermute, rows, places, probs)
    weight = [
        sum(probs[t, c].double() for c in range(2) if order.index(2 * t + c) < count)
        for t in range(4)
    ]
    expected = tokens.double() * torch.tensor(weight).reshape(4, 1)
    torch.testing.assert_close(back.double(), expected, rtol=2e-2, atol=2e-2)


def test_token_permute_gradients() -> None:
    tokens = torch.randn(4, 3, requires_grad=True)
    probs = torch.rand(4, 2, requires_grad=True)
    indices = torch.tensor([[0, 4], [4, 3], [4, 2], [1, 1]])
    factor = torch.randn(8, 3)

    def plain() -> Tensor:
        order = indices.flatten().argsort(stable=True)
        rows = tokens[order // 2] * factor
        back = torch.empty_like(rows).index_copy(0, order, rows).reshape(4, 2, 3)
        return (back * probs.unsqueeze(-1)).sum(1)

    rows, places = npu.npu_moe_token_permute(tokens, indices)
    y = npu.npu_moe_token_unpermute(rows * factor, places, probs)
    torch.testing.assert_close(y, plain())
    found = torch.autograd.grad(y.square().sum(), (tokens, probs))
    expected = torch.autograd.grad(plain().square().sum(), (tokens, probs))
    torch.testing.assert_close(found, expected)


def test_token_gradient_operators_compile() -> None:
    tokens, indices = torch.randn(4, 3), torch.tensor([[0, 4], [4, 3], [4, 2], [1, 1]])
    probs, dy, d_rows = torch.rand(4, 2), torch.randn(4, 3), torch.randn(8, 3)

    def backward(tokens: Tensor, indices: Tensor, probs: Tensor, dy: Tensor, dr: Tensor) -> Any:
        rows, places = npu.npu_moe_token_permute(tokens, indices)
        return (
            npu.npu_moe_token_permute_grad(tokens, dr, indices, places),
            npu.npu_moe_token_unpermute_grad(rows, dy, places, probs),
        )

    check_compiled(backward, tokens, indices, probs, dy, d_rows, dynamic=False)
