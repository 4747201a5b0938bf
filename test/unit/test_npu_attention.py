"""npu inference attention: against loops over tokens in float64, eager and compiled."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from npu_operator_check import check_compiled
from torch import Tensor

from torchair.errors import TorchairError

npu = torch.ops.npu

TOLERANCE = {torch.float32: 1e-5, torch.float16: 2e-3, torch.bfloat16: 2e-2}
Shown = Callable[[int, int, int], bool]
"""(sequence, query token, key token) -> whether the key token is seen."""


def reference(
    q: Tensor, k: Tensor, v: Tensor, scale: float, shown: Shown, shift: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Output and log-sum-exp of ``[batch, heads, tokens, head]`` tensors, one row at a time."""
    batch, heads, rows, _ = q.shape
    groups = heads // k.shape[1]
    out = torch.zeros(batch, heads, rows, v.shape[-1], dtype=torch.float64)
    lse = torch.full((batch, heads, rows, 1), math.inf, dtype=torch.float64)
    for b in range(batch):
        for n in range(heads):
            for i in range(rows):
                columns = [j for j in range(k.shape[2]) if shown(b, i, j)]
                if not columns:
                    continue
                keys, values = k[b, n // groups, columns], v[b, n // groups, columns]
                scores = keys.double() @ q[b, n, i].double() * scale
                if shift is not None:
                    scores = scores + shift[min(b, shift.shape[0] - 1), n, i, columns].double()
                out[b, n, i] = torch.softmax(scores, 0) @ values.double()
                lse[b, n, i, 0] = torch.logsumexp(scores, 0)
    return out, lse


def everything(b: int, i: int, j: int) -> bool:
    return True


def check(found: Tensor, expected: Tensor) -> None:
    limit = TOLERANCE[found.dtype]
    torch.testing.assert_close(found.double(), expected, rtol=limit, atol=limit)


def tensors(dtype: torch.dtype, *shapes: tuple[int, ...]) -> list[Tensor]:
    torch.manual_seed(0)
    return [torch.randn(shape).to(dtype) for shape in shapes]


def from_bnsd(x: Tensor, layout: str) -> Tensor:
    if layout == "BSH":
        return x.transpose(1, 2).flatten(2)
    return {"BNSD": x, "BSND": x.transpose(1, 2), "NBSD": x.transpose(0, 1)}[layout].contiguous()


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


@pytest.mark.parametrize("dtype", list(TOLERANCE))
@pytest.mark.parametrize("layout", ["BSH", "BNSD", "BSND"])
def test_incremental(dtype: torch.dtype, layout: str) -> None:
    q, k, v = tensors(dtype, (3, 4, 1, 8), (3, 2, 9, 8), (3, 2, 9, 8))
    mask = torch.rand(3, 9) < 0.3
    given = [from_bnsd(t, layout) for t in (q, k, v)]
    out = check_compiled(
        lambda q, k, v, mask: npu.npu_incre_flash_attention(
            q,
            k,
            v,
            atten_mask=mask,
            actual_seq_lengths=[9, 4, 1],
            num_heads=4,
            num_key_value_heads=2,
            input_layout=layout,
            scale_value=0.5,
        ),
        *given,
        mask,
    )
    lengths = [9, 4, 1]
    shown = lambda b, i, j: j < lengths[b] and not mask[b, j]  # noqa: E731
    check(out, from_bnsd(reference(q, k, v, 0.5, shown)[0], layout))


def test_symbolic_lengths() -> None:
    """The lengths of a decoder's cache grow from call to call without new graphs."""
    q, k, v = tensors(torch.float16, (2, 2, 1, 8), (2, 2, 9, 8), (2, 2, 9, 8))
    import torchair

    torch._dynamo.reset()
    backend = torchair.get_npu_backend(compiler_config=torchair.CompilerConfig())

    def decode(q: Tensor, k: Tensor, v: Tensor, lengths: list[int]) -> Tensor:
        return npu.npu_fused_infer_attention_score(
            q, k, v, actual_seq_lengths_kv=lengths, num_heads=2, input_layout="BNSD"
        )[0]

    compiled = torch.compile(decode, backend=backend, fullgraph=True, dynamic=True)
    for lengths in ([3, 4], [4, 5], [9, 2], [5, 6]):
        found = compiled(q, k, v, lengths)
        assert torch.equal(found, decode(q, k, v, lengths))
        check(found, reference(q, k, v, 1.0, lambda b, i, j: j < lengths[b])[0])  # noqa: B023
    assert len(backend.reports) <= 2


def pages_of(x: Tensor, size: int, order: list[list[int]]) -> Tensor:
    """``[pages, heads, page, head]`` with page ``order[b][i]`` holding part ``i`` of sequence b."""
    pages = torch.full((12, x.shape[1], size, x.shape[3]), math.nan, dtype=x.dtype)
    for b, row in enumerate(order):
        for i, page in enumerate(row):
            part = x[b, :, i * size : (i + 1) * size]
            pages[page, :, : part.shape[1]] = part
    return pages


@pytest.mark.parametrize("form", ["BNBD", "BBH", "NZ"])
@pytest.mark.parametrize("rows", [1, 3])
def test_paged_cache(form: str, rows: int) -> None:
    q, k, v = tensors(torch.float16, (2, 4, rows, 32), (2, 2, 11, 32), (2, 2, 11, 32))
    order = [[7, 2, 5], [0, 9, 3]]
    caches = [pages_of(t, 4, order) for t in (k, v)]
    if form == "BBH":
        caches = [c.transpose(1, 2).flatten(2) for c in caches]
    elif form == "NZ":
        caches = [c.unflatten(-1, (-1, 16)).transpose(2, 3).contiguous() for c in caches]
    table = torch.tensor(order, dtype=torch.int32)
    mask = torch.ones(2048, 2048, dtype=torch.bool).triu(1)
    out = check_compiled(
        lambda q, k, v, table, mask: npu.npu_fused_infer_attention_score(
            q,
            k,
            v,
            atten_mask=mask,
            block_table=table,
            block_size=4,
            actual_seq_lengths_kv=[11, 6],
            num_heads=4,
            num_key_value_heads=2,
            input_layout="BNSD",
            sparse_mode=3,
        )[0],
        q,
        *caches,
        table,
        mask,
    )
    lengths = [11, 6]
    shown = lambda b, i, j: j <= i + lengths[b] - rows  # noqa: E731
    check(out, reference(q, k, v, 1.0, shown)[0])


def test_paged_incremental() -> None:
    q, k, v = tensors(torch.float16, (2, 2, 1, 16), (2, 2, 11, 16), (2, 2, 11, 16))
    order = [[7, 2, 5], [0, 9, 3]]
    caches = [pages_of(t, 4, order).transpose(1, 2).flatten(2) for t in (k, v)]
    out = check_compiled(
        lambda q, k, v, table: npu.npu_incre_flash_attention(
            q,
            k,
            v,
            block_table=table,
            block_size=4,
            actual_seq_lengths=[11, 6],
            num_heads=2,
            input_layout="BSH",
        ),
        from_bnsd(q, "BSH"),
        *caches,
        torch.tensor(order, dtype=torch.int32),
    )
    lengths = [11, 6]
    expected = reference(q, k, v, 1.0, lambda b, i, j: j < lengths[b])[0]
    check(out, from_bnsd(expected, "BSH"))


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


def test_packed_queries_of_a_paged_cache() -> None:
    q, k, v = tensors(torch.bfloat16, (5, 2, 16), (2, 2, 11, 16), (2, 2, 11, 16))
    order = [[7, 2, 5], [0, 9, 3]]
    caches = [pages_of(t, 4, order) for t in (k, v)]
    out, _ = check_compiled(
        lambda q, k, v, table: npu.npu_fused_infer_attention_score_v2(
            q,
            k,
            v,
            block_table=table,
            block_size=4,
            actual_seq_qlen=[2, 5],
            actual_seq_kvlen=[11, 6],
            num_query_heads=2,
            input_layout="TND",
            softmax_scale=0.25,
        ),
        q,
        *caches,
        torch.tensor(order, dtype=torch.int32),
    )
    for b, (start, end, length) in enumerate([(0, 2, 11), (2, 5, 6)]):
        part = q[start:end].transpose(0, 1)[None]
        keys, values = k[b : b + 1, :, :length], v[b : b + 1, :, :length]
        expected = reference(part, keys, values, 0.25, everything)[0]
        check(out[start:end], expected[0].transpose(0, 1))


def test_left_padding() -> None:
    q, k, v = tensors(torch.float16, (2, 2, 1, 8), (2, 2, 9, 8), (2, 2, 9, 8))
    padding = torch.tensor([2])
    out = check_compiled(
        lambda q, k, v, p: npu.npu_incre_flash_attention(
            q,
            k,
            v,
            kv_padding_size=p,
            actual_seq_lengths=[5, 3],
            num_heads=2,
            input_layout="BNSD",
        ),
        q,
        k,
        v,
        padding,
    )
    lengths = [5, 3]
    check(out, reference(q, k, v, 1.0, lambda b, i, j: 7 - lengths[b] <= j < 7)[0])


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


def test_shared_prefix() -> None:
    shapes = ((2, 2, 3, 8), (2, 2, 5, 8), (1, 2, 6, 8), (1, 2, 6, 8))
    q, k, prefix_k, prefix_v = tensors(torch.float16, *shapes)
    out, _ = check_compiled(
        lambda q, k, pk, pv: npu.npu_fused_infer_attention_score(
            q,
            k,
            k,
            key_shared_prefix=pk,
            value_shared_prefix=pv,
            actual_shared_prefix_len=[4],
            actual_seq_lengths_kv=[5, 2],
            num_heads=2,
            input_layout="BNSD",
        ),
        q,
        k,
        prefix_k,
        prefix_v,
        dynamic=False,
    )
    keys = torch.cat([prefix_k[:, :, :4].expand(2, -1, -1, -1), k], 2)
    values = torch.cat([prefix_v[:, :, :4].expand(2, -1, -1, -1), k], 2)
    check(out, reference(q, keys, values, 1.0, lambda b, i, j: j < 4 + [5, 2][b])[0])


@pytest.mark.parametrize("mode", [0, 1])
def test_int8_cache(mode: int) -> None:
    q = tensors(torch.float16, (2, 2, 1, 8))[0]
    k, v = (torch.randint(-100, 100, (2, 2, 6, 8), dtype=torch.int8) for _ in range(2))
    shape = (2, 2, 1, 8) if mode == 0 else (2, 2, 6)
    scale = torch.rand(shape).to(torch.float16 if mode == 0 else torch.float32) / 50
    offset = torch.randint(-5, 5, shape).to(scale.dtype)
    out, _ = check_compiled(
        lambda q, k, v, s, o: npu.npu_fused_infer_attention_score(
            q,
            k,
            v,
            antiquant_scale=s,
            antiquant_offset=o,
            antiquant_mode=mode,
            num_heads=2,
            input_layout="BNSD",
        ),
        q,
        k,
        v,
        scale,
        offset,
    )
    wide = [
        (t.double() + o) * s
        for t, s, o in zip(
            (k, v),
            scale.double() if mode == 0 else scale.double()[:, :, None, :, None],
            offset.double() if mode == 0 else offset.double()[:, :, None, :, None],
            strict=True,
        )
    ]
    check(out, reference(q, wide[0], wide[1], 1.0, everything)[0])


def test_quantized_result() -> None:
    q, k, v = tensors(torch.float16, (1, 2, 3, 8), (1, 2, 6, 8), (1, 2, 6, 8))
    scale, offset = torch.rand(2, 8) * 40, torch.rand(2, 8)
    out = check_compiled(
        lambda q, k, v, s, o: npu.npu_prompt_flash_attention(
            q, k, v, quant_scale2=s, quant_offset2=o, num_heads=2, input_layout="BNSD"
        ),
        q,
        k,
        v,
        scale,
        offset,
        dynamic=False,
    )
    plain = reference(q, k, v, 1.0, everything)[0]
    expected = (plain * scale[None, :, None].double() + offset[None, :, None]).round()
    assert out.dtype == torch.int8
    assert int((out.double() - expected.clamp(-128, 127)).abs().max()) <= 1


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
