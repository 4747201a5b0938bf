"""npu attention for training: against autograd of the formula in float64, eager and compiled."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from npu_operator_check import check_compiled
from torch import Tensor

import torchair
from torchair.errors import TorchairError

npu = torch.ops.npu

TOLERANCE = {torch.float32: 1e-5, torch.float16: 3e-3, torch.bfloat16: 3e-2}


def formula(q: Tensor, k: Tensor, v: Tensor, scale: float, **other: Any) -> Tensor:
    """Attention of ``[batch, heads, tokens, head]`` tensors in their own precision."""
    groups = q.shape[1] // k.shape[1]
    k, v = k.repeat_interleave(groups, 1), v.repeat_interleave(groups, 1)
    scores = q @ k.transpose(2, 3)
    shift, hidden, sink = (other.get(name) for name in ("shift", "hidden", "sink"))
    if other.get("add_first", True) and shift is not None:
        scores = (scores + shift) * scale
    else:
        scores = scores * scale + (0 if shift is None else shift)
    if hidden is not None:
        scores = scores.masked_fill(hidden, float("-inf"))
    if sink is not None:
        column = sink.reshape(1, -1, 1, 1).expand(*scores.shape[:3], 1)
        return torch.cat([scores, column], -1).softmax(-1)[..., :-1] @ v
    return scores.softmax(-1) @ v


def tensors(dtype: torch.dtype, *shapes: tuple[int, ...]) -> list[Tensor]:
    torch.manual_seed(0)
    return [torch.randn(shape).to(dtype) for shape in shapes]


def to_layout(x: Tensor, layout: str) -> Tensor:
    places = {"BNSD": (0, 1, 2, 3), "BSND": (0, 2, 1, 3), "BSH": (0, 2, 1, 3), "SBH": (2, 0, 1, 3)}
    moved = x.permute(places[layout])
    return (moved.flatten(2) if layout.endswith("H") else moved).contiguous()


def close(found: Tensor, expected: Tensor) -> None:
    limit = TOLERANCE[found.dtype]
    torch.testing.assert_close(found.double(), expected.double(), rtol=limit, atol=limit)


def check_gradients(inputs: list[Tensor], function: Any, expected: Any) -> None:
    """Gradients of a weighted sum, in eager and in a compiled training step."""
    wide = [t.double().detach().requires_grad_() for t in inputs]
    weight = torch.randn(expected(*wide).shape)
    wanted = torch.autograd.grad((expected(*wide) * weight).sum(), wide)
    backend = torchair.get_npu_backend(compiler_config=torchair.CompilerConfig())
    torch._dynamo.reset()
    compiled = torch.compile(function, backend=backend, fullgraph=True, dynamic=False)
    results = []
    for run in (function, compiled):
        leaves = [t.detach().clone().requires_grad_() for t in inputs]
        found = torch.autograd.grad((run(*leaves).float() * weight).sum(), leaves)
        results.append(found)
        for one, other in zip(found, wanted, strict=True):
            close(one, other)
    for one, other in zip(*results, strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("dtype", list(TOLERANCE))
@pytest.mark.parametrize("layout", ["BNSD", "BSND", "BSH", "SBH"])
def test_layouts(dtype: torch.dtype, layout: str) -> None:
    q, k, v = tensors(dtype, (2, 4, 5, 8), (2, 2, 6, 8), (2, 2, 6, 8))
    given = [to_layout(t, layout) for t in (q, k, v)]
    out, maximum, total, _, *state = check_compiled(
        lambda *t: npu.npu_fusion_attention(*t, 4, layout, scale=0.4), *given
    )
    assert state == [0, 0, 0]
    close(out, to_layout(formula(q.double(), k.double(), v.double(), 0.4), layout))
    scores = q.double() @ k.double().repeat_interleave(2, 1).transpose(2, 3) * 0.4
    lse = torch.logsumexp(scores, -1, keepdim=True).expand(-1, -1, -1, 8)
    torch.testing.assert_close((maximum + total.log()).double(), lse, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("dtype", list(TOLERANCE))
@pytest.mark.parametrize("heads", [2, 4])
def test_gradients(dtype: torch.dtype, heads: int) -> None:
    inputs = tensors(dtype, (2, 4, 5, 8), (2, heads, 6, 8), (2, heads, 6, 8))
    check_gradients(
        inputs,
        lambda q, k, v: npu.npu_fusion_attention(q, k, v, 4, "BNSD", scale=0.4)[0],
        lambda q, k, v: formula(q, k, v, 0.4),
    )


HIDDEN = {
    2: lambda i, j: j > i,
    3: lambda i, j: j > i + 2,
    4: lambda i, j: (j > i + 2 + 1) | (j < i + 2 - 2),
    6: lambda i, j: (j > i + 2) & (j >= 3),
}


@pytest.mark.parametrize("mode", [0, 1, 2, 3, 4, 6])
def test_sparse_modes(mode: int) -> None:
    q, k, v = tensors(torch.float16, (1, 2, 4, 8), (1, 2, 6, 8), (1, 2, 6, 8))
    mask = torch.rand(4, 6) < 0.3
    mask[:, 0] = False
    i, j = torch.arange(4)[:, None], torch.arange(6)[None]
    hidden = HIDDEN[mode](i, j) if mode in HIDDEN else mask
    given = mask if mode < 2 else torch.ones(2048, 2048, dtype=torch.bool).triu(1)
    window = {"pre_tockens": 2, "next_tockens": 1} if mode == 4 else {}
    prefix = [3] if mode == 6 else None

    def attention(q: Tensor, k: Tensor, v: Tensor, m: Tensor) -> Tensor:
        named = {"atten_mask": m, "sparse_mode": mode, "prefix": prefix, **window}
        return npu.npu_fusion_attention(q, k, v, 2, "BNSD", **named)[0]

    out = check_compiled(attention, q, k, v, given)
    close(out, formula(q.double(), k.double(), v.double(), 1.0, hidden=hidden))
    check_gradients(
        [q, k, v],
        lambda q, k, v: attention(q, k, v, given),
        lambda q, k, v: formula(q, k, v, 1.0, hidden=hidden),
    )


@pytest.mark.parametrize("pse_type", [0, 1])
def test_order_of_shift_and_scale(pse_type: int) -> None:
    q, k, v, shift = tensors(torch.bfloat16, (2, 2, 4, 8), (2, 2, 6, 8), (2, 2, 6, 8), (1, 2, 4, 6))
    out = check_compiled(
        lambda q, k, v, s: npu.npu_fusion_attention_v2(
            q, k, v, 2, "BNSD", pse=s, scale=0.5, pse_type=pse_type
        )[0],
        q,
        k,
        v,
        shift,
    )
    wide = [t.double() for t in (q, k, v)]
    close(out, formula(*wide, 0.5, shift=shift.double(), add_first=pse_type == 1))


def test_first_version_adds_before_it_scales() -> None:
    q, k, v, shift = tensors(torch.float16, (1, 2, 4, 8), (1, 2, 6, 8), (1, 2, 6, 8), (1, 2, 4, 6))
    check_gradients(
        [q, k, v],
        lambda q, k, v: npu.npu_fusion_attention(q, k, v, 2, "BNSD", shift, scale=0.5)[0],
        lambda q, k, v: formula(q, k, v, 0.5, shift=shift.double()),
    )


def packed_formula(q: Tensor, k: Tensor, v: Tensor, causal: bool) -> Tensor:
    parts = []
    for a, b, c, d in ((0, 3, 0, 4), (3, 4, 4, 5), (4, 9, 5, 12)):
        one = [t[x:y].transpose(0, 1)[None] for t, x, y in ((q, a, b), (k, c, d), (v, c, d))]
        hidden = torch.ones(b - a, d - c, dtype=torch.bool).triu(1 + (d - c) - (b - a))
        parts.append(formula(*one, 0.5, hidden=hidden if causal else None)[0].transpose(0, 1))
    return torch.cat(parts)


@pytest.mark.parametrize("causal", [False, True])
def test_packed_sequences(causal: bool) -> None:
    inputs = tensors(torch.float16, (9, 4, 8), (12, 2, 8), (12, 2, 8))
    mask = torch.ones(2048, 2048, dtype=torch.bool).triu(1) if causal else None
    lengths = {"actual_seq_qlen": [3, 4, 9], "actual_seq_kvlen": [4, 5, 12]}

    def attention(q: Tensor, k: Tensor, v: Tensor) -> Any:
        mode = 3 if causal else 0
        return npu.npu_fusion_attention(
            q, k, v, 4, "TND", atten_mask=mask, scale=0.5, sparse_mode=mode, **lengths
        )

    out, maximum, *_ = check_compiled(attention, *inputs)
    assert maximum.shape == (9, 4, 8)
    close(out, packed_formula(*(t.double() for t in inputs), causal))
    check_gradients(
        inputs,
        lambda *t: attention(*t)[0],
        lambda *t: packed_formula(*t, causal),
    )


def test_packed_sequences_with_tensors_of_lengths() -> None:
    inputs = tensors(torch.float16, (9, 4, 8), (12, 2, 8), (12, 2, 8))
    lengths = torch.tensor([3, 4, 9]), torch.tensor([4, 5, 12])
    out = check_compiled(
        lambda q, k, v, a, b: npu.npu_fusion_attention_v3(
            q, k, v, 4, "TND", scale=0.5, actual_seq_qlen=a, actual_seq_kvlen=b
        )[0],
        *inputs,
        *lengths,
    )
    close(out, packed_formula(*(t.double() for t in inputs), False))


def test_sink_and_rotary_part() -> None:
    shapes = ((1, 2, 4, 8), (1, 2, 6, 8), (1, 2, 6, 8), (2,))
    q, k, v, sink = tensors(torch.float32, *shapes)
    check_gradients(
        [q, k, v, sink],
        lambda q, k, v, s: npu.npu_fusion_attention(q, k, v, 2, "BNSD", scale=0.5, sink=s)[0],
        lambda q, k, v, s: formula(q, k, v, 0.5, sink=s),
    )
    q_rope, k_rope = tensors(torch.float32, (1, 2, 4, 4), (1, 2, 6, 4))
    out = check_compiled(
        lambda q, k, v, a, b: npu.npu_fusion_attention_v2(
            q, k, v, 2, "BNSD", query_rope=a, key_rope=b, scale=0.5
        )[0],
        q,
        k,
        v,
        q_rope,
        k_rope,
    )
    close(out, formula(torch.cat([q, q_rope], -1), torch.cat([k, k_rope], -1), v, 0.5))


def test_gradient_of_rotary_part() -> None:
    shapes = ((1, 2, 4, 8), (1, 2, 6, 8), (1, 2, 6, 8), (1, 2, 4, 4), (1, 2, 6, 4))
    inputs = [t.requires_grad_() for t in tensors(torch.float32, *shapes)]
    q, k, v, q_rope, k_rope = inputs
    ropes = {"query_rope": q_rope.detach(), "key_rope": k_rope.detach()}
    named = {"scale": 0.5, **ropes}
    plain = [t.detach() for t in (q, k, v)]
    out, maximum, total, *_ = npu.npu_fusion_attention_v2(*plain, 2, "BNSD", **named)
    found = npu.npu_fusion_attention_grad_v2(
        *plain,
        torch.ones_like(out),
        2,
        "BNSD",
        softmax_max=maximum,
        softmax_sum=total,
        attention_in=out,
        scale_value=0.5,
        **ropes,
    )
    value = formula(torch.cat([q, q_rope], -1), torch.cat([k, k_rope], -1), v, 0.5)
    expected = torch.autograd.grad(value.sum(), inputs)
    for index, one in enumerate((*found[:3], found[4], found[5])):
        close(one, expected[index])


def test_dropout_is_refused() -> None:
    q = torch.randn(1, 2, 4, 8)
    with pytest.raises(TorchairError, match="dropout"):
        npu.npu_fusion_attention(q, q, q, 2, "BNSD", keep_prob=0.9)
