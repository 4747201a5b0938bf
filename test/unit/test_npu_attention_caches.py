"""npu attention over caches: pages, paddings, prefixes, int8; against loops in float64."""

from __future__ import annotations

from itertools import accumulate
from random import Random

import pytest
import torch
from npu_attention_reference import (
    TOLERANCE,
    check,
    everything,
    from_bnsd,
    pages_of,
    reference,
    tensors,
)
from npu_operator_check import check_compiled
from torch import Tensor

import torchair

npu = torch.ops.npu


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


@pytest.mark.parametrize("packed", [False, True])
def test_int8_throughout(packed: bool) -> None:
    q, k, v = (torch.randint(-60, 60, (1, 2, n, 16), dtype=torch.int8) for n in (4, 9, 9))
    first, second = torch.tensor([2.0**-10]), torch.tensor([2.0**-6])
    quant = torch.tensor([100.0])

    def function(q: Tensor, k: Tensor, v: Tensor, a: Tensor, b: Tensor, s: Tensor) -> Tensor:
        if packed:
            a, b = npu.npu_trans_quant_param(a), npu.npu_trans_quant_param(b)
        named = {"deq_scale1": a, "quant_scale1": s, "deq_scale2": b}
        return npu.npu_prompt_flash_attention(q, k, v, num_heads=2, input_layout="BNSD", **named)

    out = check_compiled(function, q, k, v, first, second, quant, dynamic=False)
    scores = q.double() @ k.double().mT * 2.0**-10
    weights = (scores.softmax(-1) * 100).round()
    assert out.dtype == torch.float16
    check(out, weights @ v.double() * 2.0**-6)


class RandomCall:
    """A call with any combination of layout, heads, lengths, mode and mask."""

    def __init__(self, seed: int) -> None:
        random = Random(seed)
        torch.manual_seed(seed)
        self.batch, self.heads = random.randint(1, 3), random.choice([1, 2, 4])
        self.key_heads = random.choice([n for n in (1, 2, 4) if self.heads % n == 0])
        self.rows, self.columns = random.randint(1, 5), random.randint(1, 9)
        size = random.choice([8, 16])
        shapes = ((self.heads, self.rows), *[(self.key_heads, self.columns)] * 2)
        self.q, self.k, self.v = (torch.randn(self.batch, *s, size).half() for s in shapes)
        self.layout = random.choice(["BSH", "BNSD", "BSND", "TND", "NTD"])
        self.keys = [random.randint(1, self.columns) for _ in range(self.batch)]
        self.queries = [random.randint(1, self.rows) for _ in range(self.batch)]
        self.mode = random.choice([None, 0, 1, 2, 3, 4])
        self.before, self.after = random.randint(0, 4), random.randint(0, 4)
        self.whole = torch.rand(self.rows, self.columns) < 0.3

    def is_packed(self) -> bool:
        return self.layout in ("TND", "NTD")

    def shown(self, b: int, i: int, j: int) -> bool:
        if i >= self.queries[b] or j >= self.keys[b]:
            return False
        lag = self.keys[b] - self.queries[b]
        return {
            None: True,
            0: not self.whole[i, j] and -self.before <= j - i <= self.after,
            1: not self.whole[i, j],
            2: j <= i,
            3: j <= i + lag,
            4: -self.before <= j - i - lag <= self.after,
        }[self.mode]

    def mask(self) -> dict[str, Tensor]:
        if self.mode is None:
            return {}
        if self.mode >= 2:
            return {"atten_mask": torch.ones(2048, 2048, dtype=torch.bool).triu(1)}
        if self.rows > 1 or self.is_packed():
            return {"atten_mask": self.whole}
        return {"atten_mask": self.whole.expand(self.batch, 1, self.columns).contiguous()}

    def arranged(self, x: Tensor, lengths: list[int]) -> Tensor:
        """``[batch, heads, tokens, head]`` in the call's layout, without padding when packed."""
        if not self.is_packed():
            return from_bnsd(x, self.layout)
        joined = torch.cat([x[b, :, : lengths[b]] for b in range(self.batch)], 1)
        return joined.transpose(0, 1).contiguous() if self.layout == "TND" else joined

    def run(self) -> Tensor:
        tensors = ((self.q, self.queries), (self.k, self.keys), (self.v, self.keys))
        lengths = [self.queries, self.keys]
        if self.is_packed():
            lengths = [list(accumulate(n)) for n in lengths]
        return npu.npu_fused_infer_attention_score(
            *(self.arranged(t, n) for t, n in tensors),
            input_layout=self.layout,
            actual_seq_lengths=lengths[0],
            actual_seq_lengths_kv=lengths[1],
            num_heads=self.heads,
            num_key_value_heads=self.key_heads,
            scale=0.3,
            sparse_mode=self.mode or 0,
            pre_tokens=self.before,
            next_tokens=self.after,
            **self.mask(),
        )[0]


@pytest.mark.parametrize("seed", range(40))
def test_random_calls(seed: int) -> None:
    call = RandomCall(seed)
    expected = reference(call.q, call.k, call.v, 0.3, call.shown)[0]
    check(call.run(), call.arranged(expected, call.queries))
