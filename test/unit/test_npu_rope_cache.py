"""npu writes of rotated keys to caches against loops over tokens, eager and compiled."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from npu_operator_check import check_compiled
from npu_quantization_reference import near
from torch import Tensor

from torchair.errors import TorchairError

npu = torch.ops.npu
TOLERANCE = {torch.float32: 1e-5, torch.float16: 5e-3, torch.bfloat16: 4e-2}


def close(found: Tensor, expected: Tensor) -> None:
    if found.dtype is torch.int8:
        return near(found, expected.round().clamp(-128, 127))
    limit = TOLERANCE[found.dtype]
    torch.testing.assert_close(found.double(), expected.double(), rtol=limit, atol=limit)


def halves_rotated(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    first, second = x.double().chunk(2, -1)
    return x.double() * cos.double() + torch.cat((-second, first), -1) * sin.double()


def gathered(x: Tensor) -> Tensor:
    return torch.cat((x[..., ::2], x[..., 1::2]), -1)


def normalized(x: Tensor, gamma: Tensor, epsilon: float) -> Tensor:
    wide = x.double()
    rms = torch.sqrt(wide.square().mean(-1, keepdim=True) + epsilon)
    return wide / rms * gamma.double()


@pytest.mark.parametrize("dtype", list(TOLERANCE))
@pytest.mark.parametrize("width", [8, 4])
def test_apply_rotary_pos_emb(dtype: torch.dtype, width: int) -> None:
    query, key = torch.randn(2, 3, 4, 8, dtype=dtype), torch.randn(2, 3, 1, 8, dtype=dtype)
    cos, sin = torch.randn(2, 3, 1, width, dtype=dtype), torch.randn(2, 3, 1, width, dtype=dtype)
    found = check_compiled(npu.npu_apply_rotary_pos_emb, query, key, cos, sin)
    for one, x in zip(found, (query, key), strict=True):
        close(one[..., :width], halves_rotated(x[..., :width], cos, sin))
        assert torch.equal(one[..., width:], x[..., width:])


def test_apply_rotary_pos_emb_in_other_modes() -> None:
    query, key = torch.randn(6, 4, 8), torch.randn(6, 2, 8)
    cos, sin = torch.randn(6, 1, 8), torch.randn(6, 1, 8)
    for mode in ("interleave", "quarter"):
        found = check_compiled(
            lambda *a, mode=mode: npu.npu_apply_rotary_pos_emb(*a, "TND", mode),
            query,
            key,
            cos,
            sin,
        )
        assert torch.equal(found[0], npu.npu_rotary_mul(query, cos, sin, mode))
    with pytest.raises(TorchairError, match="no such layout or mode"):
        npu.npu_apply_rotary_pos_emb(query, key, cos, sin, "NTD")


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_interleave_rope(dtype: torch.dtype) -> None:
    x = torch.randn(2, 4, 3, 8, dtype=dtype)
    cos, sin = torch.randn(2, 1, 3, 8, dtype=dtype), torch.randn(2, 1, 3, 8, dtype=dtype)
    close(
        check_compiled(npu.npu_interleave_rope, x, cos, sin), halves_rotated(gathered(x), cos, sin)
    )


BLOCKS, SIZE, KEY, LATENT = 6, 4, 32, 64


def paged_places(mode: str) -> tuple[Tensor, list[int]]:
    """Index of two batches of five tokens, and the slot of each token."""
    if "BLK" not in mode:
        slots = [7, 2, -1, 20, 21, 13, 0, 1, 9, 23]
        return torch.tensor(slots), slots
    entries = [8, 16, -1, 4]
    slots = [
        -1 if entries[b * 2 + t // SIZE] < 0 else entries[b * 2 + t // SIZE] + t % SIZE
        for b in range(2)
        for t in range(5)
    ]
    return torch.tensor(entries), slots


def at_slot(cache: Tensor, slot: int, fractal: bool) -> Tensor:
    """The row that a cache of blocks holds in a slot."""
    block = cache[slot // SIZE]
    if not fractal:
        return block[slot % SIZE].flatten()
    width = 32 if cache.dtype is torch.int8 else 32 // cache.dtype.itemsize
    return block.reshape(-1, SIZE, width)[:, slot % SIZE].flatten()


@pytest.mark.parametrize(
    ("mode", "dtype", "quantised"),
    [
        ("PA", torch.bfloat16, False),
        ("PA_BNSD", torch.float16, True),
        ("PA_NZ", torch.float16, False),
        ("PA_NZ", torch.bfloat16, True),
        ("PA_BLK_BNSD", torch.float16, False),
        ("PA_BLK_NZ", torch.float16, True),
    ],
)
def test_kv_rmsnorm_rope_cache_in_pages(mode: str, dtype: torch.dtype, quantised: bool) -> None:
    torch.manual_seed(6)
    kv, gamma = torch.randn(2, 1, 5, LATENT + KEY, dtype=dtype), torch.randn(LATENT, dtype=dtype)
    cos, sin = (torch.randn(2, 1, 5, KEY, dtype=dtype) for _ in range(2))
    held = torch.int8 if quantised else dtype
    k_cache = torch.full((BLOCKS, SIZE, 1, KEY), 9).to(held)
    c_cache = torch.full((BLOCKS, SIZE, 1, LATENT), 9).to(held)
    index, slots = paged_places(mode)
    scales = [torch.rand(KEY) * 30, torch.rand(LATENT) * 30]
    found = check_compiled(
        lambda kv, g, c, s, i, k, n, ks, ls: npu.npu_kv_rmsnorm_rope_cache(
            kv, g, c, s, i, k, n,
            k_rope_scale=ks if quantised else None,
            c_kv_scale=ls if quantised else None,
            cache_mode=mode,
            is_output_kv=True,
        ),
        kv, gamma, cos, sin, index, k_cache, c_cache, *scales,
    )  # fmt: skip
    latent = normalized(kv[..., :LATENT], gamma, 1e-5)
    key = halves_rotated(gathered(kv[..., LATENT:]), cos, sin)
    close(found[2], key)
    close(found[3], latent)
    for cache, values, scale in zip(found[:2], (key, latent), scales, strict=True):
        rows = values.reshape(10, -1)
        for token, slot in enumerate(slots):
            if slot >= 0:
                wanted = rows[token] * scale.double() if quantised else rows[token]
                close(at_slot(cache, slot, mode.endswith("NZ")), wanted)
        for slot in set(range(BLOCKS * SIZE)) - set(slots):
            assert (at_slot(cache, slot, mode.endswith("NZ")) == 9).all()


def test_kv_rmsnorm_rope_cache_by_batch() -> None:
    kv, gamma = torch.randn(2, 1, 3, 24).half(), torch.randn(16).half()
    cos, sin = torch.randn(2, 1, 1, 8).half(), torch.randn(2, 1, 1, 8).half()
    caches = [torch.zeros(2, 1, 7, 8).half(), torch.zeros(2, 1, 7, 16).half()]
    index = torch.tensor([[0, 5, -1], [6, 5, 4]])
    k_cache, c_cache, key, latent = check_compiled(
        npu.npu_kv_rmsnorm_rope_cache, kv, gamma, cos, sin, index, *caches
    )
    for batch in range(2):
        for token in range(3):
            place = int(index[batch, token])
            if place >= 0:
                assert torch.equal(k_cache[batch, 0, place], key[batch, 0, token])
                assert torch.equal(c_cache[batch, 0, place], latent[batch, 0, token])
    assert k_cache[0, 0, 1:5].abs().sum() == 0
    with pytest.raises(TorchairError, match="no such cache_mode"):
        npu.npu_kv_rmsnorm_rope_cache(kv, gamma, cos, sin, index, *caches, cache_mode="PB")


def test_kv_rmsnorm_rope_cache_v2_writes_its_caches() -> None:
    kv, gamma = torch.randn(2, 1, 5, 24).half(), torch.randn(16).half()
    cos, sin = torch.randn(2, 1, 5, 8).half(), torch.randn(2, 1, 5, 8).half()
    caches = [torch.zeros(BLOCKS, SIZE, 1, 8).half(), torch.zeros(BLOCKS, SIZE, 1, 16).half()]
    index, _ = paged_places("PA")
    inputs = (kv, gamma, cos, sin, index, *caches)
    expected = npu.npu_kv_rmsnorm_rope_cache(*inputs, cache_mode="PA")
    found = check_compiled(
        lambda *a: npu.npu_kv_rmsnorm_rope_cache_v2_functional(*a, cache_mode="PA"), *inputs
    )
    assert all(torch.equal(one, expected[i]) for one, i in zip(found, (2, 3, 0, 1), strict=True))

    def write(kv: Tensor, gamma: Tensor, *rest: Tensor) -> Any:
        results = npu.npu_kv_rmsnorm_rope_cache_v2(kv, gamma, *rest, cache_mode="PA")
        return *results, rest[3] + 1, rest[4] + 1

    written = check_compiled(write, *inputs)
    assert torch.equal(written[2], expected[0] + 1) and torch.equal(written[3], expected[1] + 1)


@pytest.mark.parametrize("quantised", [False, True])
@pytest.mark.parametrize("before", [False, True])
def test_qkv_rms_norm_rope_cache(quantised: bool, before: bool) -> None:
    torch.manual_seed(7)
    tokens, size, heads = 6, 32, [4, 2, 2]
    qkv = torch.randn(tokens, sum(heads) * size).half()
    gammas = [torch.randn(size).half() for _ in range(2)]
    cos, sin = torch.randn(tokens, size).half(), torch.randn(tokens, size).half()
    index = torch.tensor([3, -1, 0, 9, 10, 23])
    held, width = (torch.int8, 32) if quantised else (torch.float16, 16)
    caches = [torch.zeros(BLOCKS, 2 * size // width, SIZE, width).to(held) for _ in range(2)]
    factors = [torch.rand(2, size) * 0.05 + 0.01 for _ in range(2)]
    offsets = [torch.randn(2, size) for _ in range(2)]

    def call(*a: Tensor) -> Any:
        *inputs, ks, vs, ko, vo = a
        named = {"k_scale": ks, "v_scale": vs, "k_offset": ko, "v_offset": vo} if quantised else {}
        return npu.npu_qkv_rms_norm_rope_cache_functional(
            *inputs, [1, tokens, sum(heads), size], heads, is_output_qkv=before, **named
        )

    inputs = (qkv, *gammas, cos, sin, index, torch.zeros(tokens, 4 * size).half(), *caches)
    found = check_compiled(call, *inputs, *factors, *offsets)
    q, k, v = qkv.reshape(tokens, sum(heads), size).split(heads, 1)
    turn = cos[:, None], sin[:, None]
    q = halves_rotated(normalized(q, gammas[0], 1e-6), *turn)
    k = halves_rotated(normalized(k, gammas[1], 1e-6), *turn)
    close(found[3], q.reshape(tokens, -1))
    for cache, values, scale, offset in zip(found[4:], (k, v), factors, offsets, strict=True):
        for token, slot in enumerate(index.tolist()):
            wanted = values[token].double()
            if quantised:
                wanted = wanted / scale.double() + offset.double()
            if slot >= 0:
                close(at_slot(cache, slot, True), wanted.flatten())
    for one, values in zip(found[:3], (q, k, v), strict=True):
        if before:
            close(one, values.reshape(tokens, -1))
        assert before or one.shape == ()
    if not quantised and not before:
        targets = [t.clone() for t in inputs[6:]]
        npu.npu_qkv_rms_norm_rope_cache(*inputs[:6], *targets, [1, tokens, sum(heads), size], heads)
        assert all(torch.equal(t, f) for t, f in zip(targets, found[3:], strict=True))


@pytest.mark.parametrize("mode", ["contiguous", "page"])
@pytest.mark.parametrize("rank", [2, 3])
@pytest.mark.parametrize("integers", [False, True])
def test_rope_quant_kvcache(mode: str, rank: int, integers: bool) -> None:
    torch.manual_seed(8)
    batch, tokens, size, splits = 3, 2 if rank == 3 else 1, 8, [16, 8, 8]
    shape = (batch, tokens, 32) if rank == 3 else (batch, 32)
    x = torch.randint(-50, 50, shape, dtype=torch.int32) if integers else torch.randn(shape).half()
    cos, sin = (torch.randn(batch, tokens, 1, size).half() for _ in range(2))
    lengths = (BLOCKS, SIZE) if mode == "page" else (batch, 5)
    caches = [torch.full((*lengths, 1, size), 3, dtype=torch.int8) for _ in range(2)]
    count = batch * tokens
    indices = (
        torch.tensor([5, 0, 23, 7, 12, 1][:count]) if mode == "page" else torch.tensor([3, 0, 1])
    )
    scales = [torch.rand(size) * 20, torch.rand(size) * 20]
    offset, weight, rows = torch.randn(size), torch.rand(32) * 0.1, torch.rand(count)
    bias = torch.randint(-5, 5, (32,), dtype=torch.int32)

    def call(*a: Tensor) -> Any:
        *inputs, offset, weight, rows, bias = a
        named: dict[str, Any] = {"offset_k": offset, "kv_output": True, "cache_mode": mode}
        if not integers:
            return npu.npu_rope_quant_kvcache(*inputs, splits, **named)
        named |= {"weight_scale": weight, "activation_scale": rows, "bias": bias}
        return npu.npu_dequant_rope_quant_kvcache(*inputs, splits, **named)

    found = check_compiled(
        call, x, cos, sin, *caches, indices.int(), *scales, offset, weight, rows, bias
    )
    wide = x.double().reshape(count, 32)
    if integers:
        wide = (wide + bias) * weight.double() * rows.double()[:, None]
    q, k, v = wide.split(splits, -1)
    turn = cos.reshape(count, 1, size), sin.reshape(count, 1, size)
    q, k = (halves_rotated(t.reshape(count, -1, size), *turn) for t in (q, k))
    close(found[0], q.reshape(found[0].shape))
    close(found[1], k.reshape(found[1].shape))
    close(found[2], v.reshape(found[2].shape))
    k_rows = k.reshape(count, size) * scales[0].double() + offset.double()
    for cache, values in zip(found[3:], (k_rows, v * scales[1].double()), strict=True):
        flat = cache.reshape(-1, size)
        for row in range(count):
            place = int(indices[row]) if mode == "page" else 0
            if mode == "contiguous":
                place = row // tokens * 5 + int(indices[row // tokens]) + row % tokens
            close(flat[place], values[row])
        assert int((flat == 3).all(-1).sum()) >= flat.shape[0] - count
