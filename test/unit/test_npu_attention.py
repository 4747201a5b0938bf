"""npu inference attention: against loops over tokens in float64, eager and compiled."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from npu_attention_reference import (
    TOLERANCE,
    Shown,
    check,
    everything,
    from_bnsd,
    reference,
    tensors,
)
from npu_operator_check import check_compiled

from torchair.errors import TorchairError

npu = torch.ops.npu


@pytest.mark.parametrize("dtype", list(TOLERANCE))
@pytest.mark.parametrize("layout", ["BSH", "BNSD", "BSND"])
def test_prompt_layouts(dtype: torch.dtype, layout: str) -> None:
    q, k, v = tensors(dtype, (2, 4, 5, 8), (2, 4, 7, 8), (2, 4, 7, 8))
    given = [from_bnsd(t, layout) for t in (q, k, v)]
    function = npu.npu_prompt_flash_attention
    out = check_compiled(
        lambda *t: function(*t, num_heads=4, input_layout=layout, scale_value=0.3), *given
    )
    assert out.dtype == dtype
    check(out, from_bnsd(reference(q, k, v, 0.3, everything)[0], layout))


@pytest.mark.parametrize(
    ("layout", "shape"), [("BSH", (1, 48, 40 * 16)), ("BNSD", (1, 40, 48, 16))]
)
def test_public_prompt_cases(layout: str, shape: tuple[int, ...]) -> None:
    q, k, v = tensors(torch.float16, shape, shape, shape)
    out = npu.npu_prompt_flash_attention(q, k, v, num_heads=40, input_layout=layout)
    assert out.shape == q.shape and bool(out.isfinite().all())


SEEN: dict[int, Shown] = {
    2: lambda b, i, j: j <= i,
    3: lambda b, i, j: j <= i + 3,
    4: lambda b, i, j: -2 <= j - (i + 3) <= 1,
}


@pytest.mark.parametrize("mode", [0, 1, 2, 3, 4])
@pytest.mark.parametrize("name", ["npu_prompt_flash_attention", "npu_fused_infer_attention_score"])
def test_sparse_modes(mode: int, name: str) -> None:
    q, k, v = tensors(torch.float16, (2, 2, 4, 8), (2, 2, 7, 8), (2, 2, 7, 8))
    whole = torch.rand(4, 7) < 0.4
    mask = whole if mode < 2 else torch.triu(torch.ones(2048, 2048, dtype=torch.bool), 1)

    def shown(b: int, i: int, j: int) -> bool:
        if mode >= 2:
            return SEEN[mode](b, i, j)
        return not whole[i, j] and (mode == 1 or -2 <= j - i <= 1)

    def function(*t: Any) -> Any:
        named = {"pre_tokens": 2, "next_tokens": 1, "sparse_mode": mode, "atten_mask": t[3]}
        return getattr(npu, name)(*t[:3], num_heads=2, input_layout="BNSD", **named)

    out = check_compiled(function, q, k, v, mask)
    check(out[0] if isinstance(out, tuple) else out, reference(q, k, v, 1.0, shown)[0])


def test_mode_says_nothing_without_a_mask() -> None:
    q, k, v = tensors(torch.float16, (1, 2, 4, 8), (1, 2, 4, 8), (1, 2, 4, 8))
    out = npu.npu_fused_infer_attention_score(
        q, k, v, num_heads=2, input_layout="BNSD", next_tokens=0, sparse_mode=0
    )[0]
    check(out, reference(q, k, v, 1.0, everything)[0])


@pytest.mark.parametrize("shape", [(4, 7), (1, 4, 7), (2, 4, 7), (2, 1, 4, 7), (1, 1, 4, 7)])
def test_mask_shapes(shape: tuple[int, ...]) -> None:
    q, k, v = tensors(torch.float16, (2, 2, 4, 8), (2, 2, 7, 8), (2, 2, 7, 8))
    mask = torch.rand(shape) < 0.4
    full = mask.reshape(-1, 4, 7).expand(2, 4, 7)
    out, lse = check_compiled(
        lambda q, k, v, mask: npu.npu_fused_infer_attention_score(
            q,
            k,
            v,
            atten_mask=mask,
            num_heads=2,
            input_layout="BNSD",
            sparse_mode=1,
            softmax_lse_flag=True,
        ),
        q,
        k,
        v,
        mask,
    )
    expected = reference(q, k, v, 1.0, lambda b, i, j: not full[b, i, j])
    check(out, expected[0])
    check(lse, expected[1])


def test_row_that_sees_nothing() -> None:
    q, k, v = tensors(torch.float16, (1, 1, 2, 8), (1, 1, 3, 8), (1, 1, 3, 8))
    mask = torch.tensor([[True, True, True], [False, True, False]])
    out, lse = npu.npu_fused_infer_attention_score(
        q, k, v, atten_mask=mask, num_heads=1, input_layout="BNSD", softmax_lse_flag=True
    )
    assert bool((out[0, 0, 0] == 0).all()) and lse[0, 0, 0, 0] == math.inf
    assert bool(out.isfinite().all())


@pytest.mark.parametrize("layout", ["BNSD_BSND", "BSH_NBSD", "BSND_NBSD", "BNSD_NBSD"])
def test_result_layouts(layout: str) -> None:
    q, k, v = tensors(torch.bfloat16, (2, 4, 3, 8), (2, 2, 6, 8), (2, 2, 6, 8))
    source, target = layout.split("_")
    given = [from_bnsd(t, source) for t in (q, k, v)]
    out, _ = check_compiled(
        lambda *t: npu.npu_fused_infer_attention_score(
            *t, num_heads=4, num_key_value_heads=2, input_layout=layout
        ),
        *given,
    )
    check(out, from_bnsd(reference(q, k, v, 1.0, everything)[0], target))


def test_lengths_of_padded_sequences() -> None:
    q, k, v = tensors(torch.float16, (3, 2, 4, 8), (3, 2, 7, 8), (3, 2, 7, 8))
    v[0, :, 5:] = math.nan  # what lies beyond a sequence must not matter
    queries, keys = [4, 2, 3], [5, 7, 1]
    out = check_compiled(
        lambda q, k, v: npu.npu_prompt_flash_attention(
            q,
            k,
            v,
            num_heads=2,
            input_layout="BNSD",
            actual_seq_lengths=queries,
            actual_seq_lengths_kv=keys,
        ),
        q,
        k,
        v,
    )
    expected = reference(q, k, v, 1.0, lambda b, i, j: i < queries[b] and j < keys[b])[0]
    check(out, expected)


@pytest.mark.parametrize("layout", ["TND", "NTD", "NTD_TND"])
def test_packed_sequences(layout: str) -> None:
    q, k, v = tensors(torch.float16, (9, 4, 8), (12, 2, 8), (12, 2, 8))
    starts, ends, key_starts, key_ends = [0, 3, 3], [3, 3, 9], [0, 4, 5], [4, 5, 12]
    mask = torch.ones(2048, 2048, dtype=torch.bool).triu(1)
    source, target = layout.split("_") if "_" in layout else (layout, layout)
    given = [t if source == "TND" else t.transpose(0, 1).contiguous() for t in (q, k, v)]
    out, lse = check_compiled(
        lambda q, k, v, mask: npu.npu_fused_infer_attention_score(
            q,
            k,
            v,
            atten_mask=mask,
            actual_seq_lengths=ends,
            actual_seq_lengths_kv=key_ends,
            num_heads=4,
            num_key_value_heads=2,
            input_layout=layout,
            sparse_mode=3,
            softmax_lse_flag=True,
        ),
        *given,
        mask,
    )
    out = out if target == "TND" else out.transpose(0, 1)
    for a, b, c, d in zip(starts, ends, key_starts, key_ends, strict=True):
        parts = [t[x:y].transpose(0, 1)[None] for t, x, y in ((q, a, b), (k, c, d), (v, c, d))]
        lag = (d - c) - (b - a)
        expected = reference(*parts, 1.0, lambda _, i, j: j <= i + lag)  # noqa: B023
        check(out[a:b], expected[0][0].transpose(0, 1))
        check(lse[a:b], expected[1][0].transpose(0, 1))


def test_shift_and_sink() -> None:
    q, k, v, shift, sink = tensors(
        torch.bfloat16, (2, 2, 3, 8), (2, 2, 6, 8), (2, 2, 6, 8), (1, 2, 3, 6), (2,)
    )
    out, lse = check_compiled(
        lambda q, k, v, s, sink: npu.npu_fused_infer_attention_score_v2(
            q,
            k,
            v,
            pse_shift=s,
            learnable_sink=sink,
            num_query_heads=2,
            input_layout="BNSD",
            softmax_scale=0.5,
            return_softmax_lse=True,
        ),
        q,
        k,
        v,
        shift,
        sink,
    )
    plain, sums = reference(q, k, v, 0.5, everything, shift)
    rows = sink.double().reshape(1, 2, 1, 1)
    total = torch.logaddexp(sums, rows.expand_as(sums))
    check(out, plain * torch.exp(sums - total))
    check(lse, total)


def test_rotary_part() -> None:
    shapes = ((1, 4, 2, 16), (1, 1, 5, 16), (1, 4, 2, 8), (1, 1, 5, 8))
    q, k, q_rope, k_rope = tensors(torch.bfloat16, *shapes)
    out, _ = check_compiled(
        lambda q, k, qr, kr: npu.npu_fused_infer_attention_score(
            q,
            k,
            k,
            query_rope=qr,
            key_rope=kr,
            num_heads=4,
            num_key_value_heads=1,
            input_layout="BNSD",
            scale=0.2,
        ),
        q,
        k,
        q_rope,
        k_rope,
    )
    wide = torch.cat([q, q_rope], -1), torch.cat([k, k_rope], -1)
    check(out, reference(*wide, k, 0.2, everything)[0])


def test_empty_keys() -> None:
    q, k, v = tensors(torch.float16, (1, 2, 3, 8), (1, 2, 0, 8), (1, 2, 0, 8))
    out = npu.npu_prompt_flash_attention(q, k, v, num_heads=2, input_layout="BNSD")
    assert torch.equal(out, torch.zeros_like(q))


def test_refusals() -> None:
    q, k, v = tensors(torch.float16, (3, 2, 8), (3, 2, 8), (3, 2, 8))
    with pytest.raises(TorchairError, match="packed sequences need actual_seq_lengths"):
        npu.npu_fused_infer_attention_score(q, k, v, num_heads=2, input_layout="TND")
    pages, table = torch.zeros(4, 4, 16).half(), torch.zeros(2, 2, dtype=torch.int32)
    with pytest.raises(TorchairError, match="needs the lengths of the keys"):
        npu.npu_incre_flash_attention(q[:2, :1], pages, pages, block_table=table, num_heads=2)
    with pytest.raises(TorchairError, match="layout XYZ"):
        npu.npu_fused_infer_attention_score(q, k, v, num_heads=2, input_layout="XYZ")


@pytest.mark.parametrize("key_heads", [1, 2, 4])
def test_scores_larger_than_what_is_held_at_once(key_heads: int) -> None:
    shapes = ((1, 4, 2100, 8), (1, key_heads, 4200, 8), (1, key_heads, 4200, 8), (1, 4, 2100, 1))
    q, k, v, shift = tensors(torch.float16, *shapes)
    shift = shift.expand(1, 4, 2100, 4200)
    out, lse = npu.npu_fused_infer_attention_score(
        q,
        k,
        v,
        pse_shift=shift,
        num_heads=4,
        num_key_value_heads=key_heads,
        input_layout="BNSD",
        scale=0.4,
        softmax_lse_flag=True,
    )
    k, v = (t.repeat_interleave(4 // key_heads, 1).float() for t in (k, v))
    exact = torch.nn.functional.scaled_dot_product_attention(q.float(), k, v, scale=0.4)
    torch.testing.assert_close(out.float(), exact, rtol=2e-3, atol=2e-3)
    rows = slice(0, 2100, 700)
    scores = q[:, :, rows].float() @ k.mT * 0.4 + shift[:, :, rows].float()
    torch.testing.assert_close(lse[:, :, rows, 0], scores.logsumexp(-1), rtol=1e-4, atol=1e-4)
