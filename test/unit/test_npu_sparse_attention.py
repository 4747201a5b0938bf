"""npu attention over selected tokens: against loops in float64, eager and compiled."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from npu_operator_check import check_compiled
from torch import Tensor

npu = torch.ops.npu

TOLERANCE = {torch.float32: 1e-5, torch.float16: 3e-3, torch.bfloat16: 3e-2}


def floats(dtype: torch.dtype, *shape: int) -> Tensor:
    torch.manual_seed(sum(shape))
    return torch.randn(shape).to(dtype)


def close(found: Tensor, expected: Tensor) -> None:
    limit = TOLERANCE[found.dtype]
    torch.testing.assert_close(found.double(), expected.double(), rtol=limit, atol=limit)


def index_scores(q: Tensor, k: Tensor, w: Tensor, i: int, j: int) -> float:
    """Score of one pair of tokens: ``[heads, head]`` and ``[head]``."""
    products = (q[i].double() @ k[j, 0].double()).relu()
    return float((w[i].double() * products).sum())


def best(q: Tensor, k: Tensor, w: Tensor, seen: int, i: int, count: int) -> list[int]:
    scores = [index_scores(q, k, w, i, j) for j in range(seen)]
    order = sorted(range(seen), key=lambda j: -scores[j])[:count]
    return order + [-1] * (count - len(order))


@pytest.mark.parametrize("mode", [0, 3])
def test_lightning_indexer(mode: int) -> None:
    q, k = floats(torch.float16, 2, 4, 8, 16), floats(torch.float16, 2, 9, 1, 16)
    w = floats(torch.float16, 2, 4, 8)
    lengths = torch.tensor([9, 6], dtype=torch.int32)
    found, values = check_compiled(
        lambda q, k, w, n: npu.npu_lightning_indexer(
            q,
            k,
            w,
            actual_seq_lengths_key=n,
            sparse_count=5,
            sparse_mode=mode,
            return_value=True,
        ),
        q,
        k,
        w,
        lengths,
    )
    assert found.shape == (2, 4, 1, 5) and found.dtype == torch.int32
    for b in range(2):
        for i in range(4):
            length = int(lengths[b])
            seen = length if mode == 0 else max(0, min(length, i + 1 + length - 4))
            row = best(q[b], k[b], w[b], seen, i, 5)
            assert found[b, i, 0].tolist() == row
            for place, j in enumerate(row):
                if j >= 0:
                    exact = index_scores(q[b], k[b], w[b], i, j)
                    assert abs(float(values[b, i, 0, place]) - exact) <= 2e-2 * max(1, abs(exact))


def test_packed_lightning_indexer_of_a_paged_cache() -> None:
    q, w = floats(torch.bfloat16, 5, 8, 16), floats(torch.bfloat16, 5, 8)
    keys = floats(torch.bfloat16, 2, 8, 1, 16)
    pages = torch.zeros(6, 4, 1, 16, dtype=torch.bfloat16)
    table = torch.tensor([[4, 1], [0, 3]], dtype=torch.int32)
    for b in range(2):
        for page in range(2):
            pages[table[b, page]] = keys[b, page * 4 : page * 4 + 4]
    ends = torch.tensor([2, 5], dtype=torch.int32)
    lengths = torch.tensor([7, 5], dtype=torch.int32)
    found, _ = check_compiled(
        lambda q, k, w, a, b, t: npu.npu_lightning_indexer(
            q,
            k,
            w,
            actual_seq_lengths_query=a,
            actual_seq_lengths_key=b,
            block_table=t,
            layout_query="TND",
            layout_key="PA_BSND",
            sparse_count=4,
        ),
        q,
        pages,
        w,
        ends,
        lengths,
        table,
    )
    for b, (start, end) in enumerate(((0, 2), (2, 5))):
        for i in range(start, end):
            seen = int(lengths[b]) - (end - 1 - i)
            assert found[i, 0].tolist() == best(q, keys[b], w, seen, i, 4)


def test_quant_lightning_indexer() -> None:
    q = torch.randint(-99, 99, (1, 3, 4, 16), dtype=torch.int8)
    k = torch.randint(-99, 99, (1, 7, 1, 16), dtype=torch.int8)
    w, q_scale, k_scale = (torch.rand(s).half() for s in ((1, 3, 4), (1, 3, 4), (1, 7, 1)))
    found = check_compiled(
        lambda *t: npu.npu_quant_lightning_indexer(*t, 0, 0, sparse_count=3, sparse_mode=0),
        q,
        k,
        w,
        q_scale,
        k_scale,
    )
    factors = w.float()[0] * q_scale.float()[0]
    wide = k.float() * k_scale.float()[..., None]
    for i in range(3):
        assert found[0, i, 0].tolist() == best(q[0].float(), wide[0], factors, 7, i, 3)


@pytest.mark.parametrize("block", [1, 2])
@pytest.mark.parametrize("mode", [0, 3])
def test_sparse_flash_attention(block: int, mode: int) -> None:
    q, k = floats(torch.float16, 2, 4, 8, 32), floats(torch.float16, 2, 9, 1, 32)
    q_rope, k_rope = floats(torch.float16, 2, 4, 8, 16), floats(torch.float16, 2, 9, 1, 16)
    blocks = -(-9 // block)
    indices = torch.stack([torch.randperm(blocks)[:3] for _ in range(8)]).reshape(2, 4, 1, 3)
    indices[0, 1, 0, 2] = -1
    lengths = torch.tensor([9, 7], dtype=torch.int32)

    def function(q: Tensor, k: Tensor, i: Tensor, a: Tensor, b: Tensor, n: Tensor) -> Any:
        return npu.npu_sparse_flash_attention(
            q,
            k,
            k,
            i,
            0.2,
            query_rope=a,
            key_rope=b,
            actual_seq_lengths_kv=n,
            sparse_block_size=block,
            sparse_mode=mode,
            return_softmax_lse=True,
        )

    out, maximum, total = check_compiled(function, q, k, indices.int(), q_rope, k_rope, lengths)
    assert maximum.shape == (2, 1, 4, 8)
    wide_q, wide_k = torch.cat([q, q_rope], -1).double(), torch.cat([k, k_rope], -1).double()
    for b in range(2):
        for i in range(4):
            seen = int(lengths[b]) if mode == 0 else int(lengths[b]) - 3 + i
            chosen = {
                n * block + o for n in indices[b, i, 0].tolist() if n >= 0 for o in range(block)
            }
            places = sorted(j for j in chosen if j < seen)
            scores = wide_q[b, i] @ wide_k[b, places, 0].T * 0.2
            exact = scores.softmax(-1) @ k[b, places, 0].double() if places else torch.zeros(8, 32)
            close(out[b, i], exact)
            if places:
                lse = (maximum + total.log())[b, 0, i]
                torch.testing.assert_close(lse.double(), scores.logsumexp(-1), rtol=1e-3, atol=1e-3)


def test_keys_that_carry_their_scales() -> None:
    tile, size, rope = 16, 32, 8
    q = floats(torch.bfloat16, 1, 3, 4, size + rope)
    numbers = torch.randint(-127, 128, (1, 6, 1, size), dtype=torch.int8)
    scales, k_rope = torch.rand(1, 6, 1, 2), floats(torch.bfloat16, 1, 6, 1, rope)
    parts = [numbers, k_rope.view(torch.int8), (scales / 50).view(torch.int8)]
    stored = torch.cat(parts, -1)
    indices = torch.tensor([[0, 5, 2], [1, 3, 4], [5, 0, 1]], dtype=torch.int32)[None, :, None]
    out = check_compiled(
        lambda q, k, i: npu.npu_kv_quant_sparse_flash_attention(
            q, k, k, i, 0.2, 2, 2, sparse_mode=0, tile_size=tile, rope_head_dim=rope
        ),
        q,
        stored,
        indices,
        dynamic=False,
    )
    value = numbers.double() * (scales / 50).double().repeat_interleave(tile, -1)
    key = torch.cat([value, k_rope.double()], -1)
    for i in range(3):
        places = indices[0, i, 0].tolist()
        scores = q[0, i].double() @ key[0, places, 0].T * 0.2
        close(out[0, i], scores.softmax(-1) @ value[0, places, 0])


@pytest.mark.parametrize("dtype", list(TOLERANCE))
def test_attention_update(dtype: torch.dtype) -> None:
    """Attention over two halves of the keys, joined, is attention over all keys."""
    q, k, v = (floats(torch.float64, 6, n, 16) for n in (1, 10, 10))
    scores = q @ k.mT
    lse = [scores[..., s].logsumexp(-1)[:, 0].float() for s in (slice(0, 4), slice(4, 10))]
    outs = [
        (scores[..., s].softmax(-1) @ v[:, s])[:, 0].to(dtype) for s in (slice(0, 4), slice(4, 10))
    ]
    out, joined = check_compiled(
        lambda a, b, c, d: npu.npu_attention_update([a, b], [c, d], 1), *lse, *outs
    )
    close(out, (scores.softmax(-1) @ v)[:, 0])
    torch.testing.assert_close(joined.double(), scores.logsumexp(-1)[:, 0], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("dtype", list(TOLERANCE))
@pytest.mark.parametrize("shape", [(6, 2, 4, 8), (3, 2, 2, 4, 8)])
@pytest.mark.parametrize("with_mask", [False, True])
def test_masked_softmax_with_rel_pos_bias(
    dtype: torch.dtype, shape: tuple[int, ...], with_mask: bool
) -> None:
    x, bias = floats(dtype, *shape), floats(dtype, 2, 4, 8)
    mask = floats(dtype, 2, 4, 8) if with_mask else None
    out = check_compiled(
        lambda x, m, b: npu.npu_masked_softmax_with_rel_pos_bias(x, m, b, 0.5), x, mask, bias
    )
    wide = x.double().reshape(3, 2, 2, 4, 8) * 0.5 + bias.double()
    if mask is not None:
        wide = wide + mask.double()[:, None]
    close(out, wide.softmax(-1).reshape(shape))


def test_public_case_of_masked_softmax() -> None:
    x = floats(torch.float16, 96, 2, 2, 32, 32)
    others = floats(torch.float16, 2, 32, 32), floats(torch.float16, 2, 32, 32)
    out = npu.npu_masked_softmax_with_rel_pos_bias(x, *others, 1, 0)
    torch.testing.assert_close(out.float().sum(-1), torch.ones(96, 2, 2, 32), rtol=0, atol=5e-3)
