"""Kernels that normalise, rotate and store keys and values, after the GE operators' definitions.

The operators write caches in place; the kernels give the new contents, and whoever assigns them to
a graph input does the write. A place of -1 is written nowhere.
"""

from __future__ import annotations

import torch
from torch import Tensor

from torchair.backend_ge.host.kernels.npu_normalization import rms_norm
from torchair.backend_ge.host.kernels.npu_rotary import rotate
from torchair.backend_ge.host.kernels.registry import kernel
from torchair.backend_ge.host.narrow_types import quantized
from torchair.errors import EngineError

_NZ_WIDTH = {torch.int8: 32, torch.float16: 16, torch.bfloat16: 16, torch.float32: 8}
"""Elements of 32 bytes: the innermost dimension of FRACTAL_NZ."""

CACHE_MODES = ("Norm", "PA", "PA_BNSD", "PA_NZ", "PA_BLK_BNSD", "PA_BLK_NZ")


@kernel("ApplyRotaryPosEmb")
def apply_rotary_pos_emb(
    query: Tensor,
    key: Tensor,
    cos: Tensor,
    sin: Tensor,
    layout: int = 1,
    rotary_mode: str = "half",
) -> tuple[Tensor, Tensor]:
    """Rotates query and key; cosines narrower than them rotate their first elements only.

    Args:
        cos: broadcasts to both, whatever ``layout`` (it names the dimensions only).
    """
    return _rotated_head(query, cos, sin, rotary_mode), _rotated_head(key, cos, sin, rotary_mode)


def _rotated_head(x: Tensor, cos: Tensor, sin: Tensor, mode: str) -> Tensor:
    width = cos.size(-1)
    if width == x.size(-1):
        return rotate(x, cos, sin, mode).to(x.dtype)
    head = rotate(x[..., :width], cos, sin, mode).to(x.dtype)
    return torch.cat((head, x[..., width:]), -1)


@kernel("InterleaveRope")
def interleave_rope(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Even elements move to the front half, then halves are rotated; ``x[B, N, S, D]``."""
    return rotate(x, cos, sin, "interleave-half").to(x.dtype)


def scaled(
    x: Tensor, scale: Tensor | None, offset: Tensor | None, dtype: torch.dtype, divides: bool
) -> Tensor:
    """Values in float32 as a cache of ``dtype`` holds them.

    Raises:
        EngineError: a cache of integers without a scale.
    """
    if scale is None:
        if not dtype.is_floating_point:
            raise EngineError(f"a cache of {dtype} needs a scale")
        return x.to(dtype)
    values = x / scale.float() if divides else x * scale.float()
    return quantized(values if offset is None else values + offset.float(), dtype)


def stored(cache: Tensor, rows: Tensor, places: Tensor) -> Tensor:
    """The rows ``cache[n, ...]`` with some replaced; places of -1 are skipped."""
    flat = cache.flatten(1)
    spare = torch.cat((flat, flat[:1]))
    target = torch.where(places < 0, cache.size(0), places)
    written = torch.ops.aten.index_put.default(
        spare, [target], rows.reshape(places.size(0), flat.size(1)).to(cache.dtype), False
    )
    return written.narrow(0, 0, cache.size(0)).reshape(cache.shape)


def paged(cache: Tensor, rows: Tensor, places: Tensor, fractal: bool, block_size: int) -> Tensor:
    """A cache of blocks with rows ``[tokens, ...]`` stored at slots ``block * block_size + row``.

    Args:
        fractal: each block lies in memory as ``[columns / w, block_size, w]``, ``w`` elements of 32
            bytes.
    """
    blocks = cache.size(0)
    if not fractal:
        flat = cache.reshape(blocks * block_size, -1)
        return stored(flat, rows, places).reshape(cache.shape)
    width = _NZ_WIDTH[cache.dtype]
    memory = cache.reshape(blocks, -1, block_size, width).transpose(1, 2)
    flat = memory.reshape(blocks * block_size, -1)
    new = stored(flat, rows, places).reshape(memory.shape).transpose(1, 2)
    return new.reshape(cache.shape)


def _slots(index: Tensor, mode: str, batch: int, tokens: int, block_size: int) -> Tensor:
    """Slot of each token ``[batch * tokens]``; -1 for none.

    Args:
        index: a slot per token, or in the modes of blocks one per block of tokens.
    """
    if "BLK" not in mode:
        return index.reshape(-1)
    token = torch.arange(tokens, device=index.device)
    entry = index.reshape(batch, -1).index_select(1, token // block_size)
    slot = entry // block_size * block_size + token % block_size
    return torch.where(entry < 0, -1, slot).reshape(-1)


def _kept(cache: Tensor, values: Tensor, index: Tensor, mode: str) -> Tensor:
    """A cache with ``values[B, N, S, D]`` stored."""
    batch, heads, tokens = values.shape[:3]
    if mode == "Norm":
        length = cache.size(2)
        flat = cache.flatten(0, 2)
        row = torch.arange(batch * heads, device=index.device).reshape(batch, heads, 1) * length
        place = index.reshape(batch, 1, tokens)
        slots = torch.where(place < 0, -1, row + place)
        return stored(flat, values, slots.reshape(-1)).reshape(cache.shape)
    size = cache.size(1)
    slots = _slots(index, mode, batch, tokens, size)
    return paged(cache, values.transpose(1, 2), slots, mode.endswith("NZ"), size)


@kernel("KvRmsNormRopeCache")
def kv_rms_norm_rope_cache(
    kv: Tensor,
    gamma: Tensor,
    cos: Tensor,
    sin: Tensor,
    index: Tensor,
    k_cache: Tensor,
    ckv_cache: Tensor,
    k_rope_scale: Tensor | None = None,
    c_kv_scale: Tensor | None = None,
    k_rope_offset: Tensor | None = None,
    c_kv_offset: Tensor | None = None,
    v: Tensor | None = None,
    epsilon: float = 1e-5,
    cache_mode: str = "Norm",
    is_output_kv: bool = False,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Keys and latents of one tensor: the latents are normalised, the keys rotated, both stored.

    Args:
        kv: ``[B, N, S, Dv + Dk]``: latents, then keys (interleave-half rotation).
        gamma: ``[Dv]``.
        cos: ``[B, 1, S or 1, Dk]``.
        index: ``[B, S]`` places in ``[B, N, length, D]`` (``Norm``), else slots ``[B * S]`` in
            ``[blocks, block size, N, D]`` or, with ``BLK``, one per block of tokens.
        k_rope_scale: factors of a quantised cache, as ``c_kv_scale``.
        is_output_kv: whether the device writes the last two results.

    Returns:
        New k_cache and ckv_cache, rotated keys, normalised latents.

    Raises:
        EngineError: an unknown cache mode, or separate values ``v``.
    """
    if v is not None or cache_mode not in CACHE_MODES:
        raise EngineError(
            "the host kernel of KvRmsNormRopeCache does not implement this call",
            expected=f"no v, and a cache mode of {', '.join(CACHE_MODES)}",
            found=f"cache_mode {cache_mode}, v {'absent' if v is None else 'given'}",
        )
    width = gamma.size(0)
    latent, _ = rms_norm(kv[..., :width].float(), gamma, epsilon)
    key = rotate(kv[..., width:], cos, sin, "interleave-half")
    k_rows = scaled(key, k_rope_scale, k_rope_offset, k_cache.dtype, False)
    c_rows = scaled(latent, c_kv_scale, c_kv_offset, ckv_cache.dtype, False)
    return (
        _kept(k_cache, k_rows, index, cache_mode),
        _kept(ckv_cache, c_rows, index, cache_mode),
        key.to(kv.dtype),
        latent.to(kv.dtype),
    )


@kernel("QkvRmsNormRopeCache")
def qkv_rms_norm_rope_cache(
    qkv: Tensor,
    q_gamma: Tensor,
    k_gamma: Tensor,
    cos: Tensor,
    sin: Tensor,
    index: Tensor,
    q_out: Tensor,
    k_cache: Tensor,
    v_cache: Tensor,
    k_scale: Tensor | None = None,
    v_scale: Tensor | None = None,
    k_offset: Tensor | None = None,
    v_offset: Tensor | None = None,
    qkv_size: list[int] | None = None,
    head_nums: list[int] | None = None,
    epsilon: float = 1e-6,
    cache_mode: str = "PA_NZ",
    is_output_qkv: bool = False,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Queries and keys are normalised per head and rotated by halves; keys and values stored.

    Args:
        qkv: ``[tokens, heads * D]``: queries, keys, values.
        cos: ``[tokens, D]``.
        index: slots ``[tokens]`` in caches ``[blocks, N * D / w, block size, w]``, ``w`` elements
            of 32 bytes.
        k_scale: ``[N, D]``; what is stored is divided by it, as for ``v_scale``.
        qkv_size: B, S, heads, D; ``head_nums`` splits the heads.

    Returns:
        Queries, k_cache, v_cache, and queries, keys and values before quantisation (0-d unless
        ``is_output_qkv``).

    Raises:
        EngineError: an unknown cache mode, or sizes are missing.
    """
    if qkv_size is None or head_nums is None or cache_mode != "PA_NZ":
        raise EngineError(
            "the host kernel of QkvRmsNormRopeCache does not implement this call",
            expected="qkv_size, head_nums and cache_mode PA_NZ",
            found=cache_mode,
        )
    tokens, size = qkv.size(0), qkv_size[3]
    heads = qkv.reshape(tokens, sum(head_nums), size).float()
    q, k, v = heads.split(head_nums, 1)
    turn = (cos.unsqueeze(1), sin.unsqueeze(1), "half")
    q = rotate(rms_norm(q, q_gamma, epsilon)[0], *turn)
    k = rotate(rms_norm(k, k_gamma, epsilon)[0], *turn)
    block = k_cache.size(2)
    k_rows = scaled(k, k_scale, k_offset, k_cache.dtype, True)
    v_rows = scaled(v, v_scale, v_offset, v_cache.dtype, True)
    flat = [part.flatten(1).to(qkv.dtype) for part in (q, k, v)]
    none = torch.zeros([], dtype=qkv.dtype, device=qkv.device)
    before = flat if is_output_qkv else [none, none, none]
    return (
        flat[0].to(q_out.dtype),
        paged(k_cache, k_rows, index, True, block),
        paged(v_cache, v_rows, index, True, block),
        before[0],
        before[1],
        before[2],
    )


@kernel("DequantRopeQuantKvcache")
def dequant_rope_quant_kvcache(
    x: Tensor,
    cos: Tensor,
    sin: Tensor,
    k_cache: Tensor,
    v_cache: Tensor,
    indices: Tensor,
    scale_k: Tensor,
    scale_v: Tensor,
    offset_k: Tensor | None = None,
    offset_v: Tensor | None = None,
    weight_scale: Tensor | None = None,
    activation_scale: Tensor | None = None,
    bias: Tensor | None = None,
    size_splits: list[int] | None = None,
    quant_mode: str = "static",
    layout: str = "BSND",
    kv_output: bool = False,
    cache_mode: str = "contiguous",
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Queries and keys rotated by halves; keys and values quantised and stored.

    Args:
        x: ``[B, S, H]`` or ``[B, H]``: queries, keys, values by ``size_splits``; int32 is first
            dequantised: (x + integer bias) * weight_scale * activation_scale + other bias.
        cos: one row of ``D`` per token.
        k_cache: int8 ``[B, length, N, D]`` with the first place per batch in ``indices``, or
            (``page``) ``[blocks, block size, N, D]`` with a slot per token; as ``v_cache``.
        scale_k: what is stored is ``round(key * scale_k + offset_k)``.

    Returns:
        Queries, keys and values (empty unless ``kv_output``) ``[B, S, N, D]`` or ``[B, N, D]``, and
        the new caches.

    Raises:
        EngineError: a mode that the host device does not implement.
    """
    if size_splits is None or quant_mode != "static" or cache_mode not in ("contiguous", "page"):
        raise EngineError(
            "the host kernel of DequantRopeQuantKvcache does not implement this call",
            expected="quant_mode static, cache_mode contiguous or page",
            found=f"{quant_mode}, {cache_mode}",
        )
    wide, dtype = _dequantised(x, weight_scale, activation_scale, bias), cos.dtype
    batch, tokens = x.size(0), x.size(1) if x.dim() == 3 else 1
    size = k_cache.size(3)
    parts = [
        p.reshape(batch, tokens, p.size(-1) // size, size) for p in wide.split(size_splits, -1)
    ]
    turn = [t.reshape(batch, tokens, 1, size) for t in (cos, sin)]
    q, k = (rotate(part, turn[0], turn[1], "half") for part in parts[:2])
    caches: list[Tensor] = []
    settings = ((k_cache, k, scale_k, offset_k), (v_cache, parts[2], scale_v, offset_v))
    for cache, values, scale, offset in settings:
        rows = scaled(values, scale, offset, cache.dtype, False).flatten(0, 1)
        places = _places(indices.long(), batch, tokens, cache.size(1), cache_mode)
        flat = cache.flatten(0, 1)
        caches.append(stored(flat, rows, places).reshape(cache.shape))
    results = [q, k, parts[2]] if x.dim() == 3 else [t.squeeze(1) for t in (q, k, parts[2])]
    none = torch.zeros([0], dtype=dtype, device=x.device)
    keys, values = (r.to(dtype) if kv_output else none for r in results[1:])
    return results[0].to(dtype), keys, values, caches[0], caches[1]


def _dequantised(
    x: Tensor, weight_scale: Tensor | None, activation_scale: Tensor | None, bias: Tensor | None
) -> Tensor:
    """``x`` in float32; integers times the scales that are given."""
    integer_bias = bias is not None and not bias.is_floating_point()
    wide = (x + bias if bias is not None and integer_bias else x).float()
    if weight_scale is not None:
        wide = wide * weight_scale.float()
    if activation_scale is not None:
        wide = wide * activation_scale.float().reshape([*x.shape[:-1], 1])
    return wide if bias is None or integer_bias else wide + bias.float()


def _places(indices: Tensor, batch: int, tokens: int, length: int, mode: str) -> Tensor:
    """Row of each token in a cache whose first two dimensions are one."""
    if mode == "page":
        return indices.reshape(-1)
    row = torch.arange(batch, device=indices.device).unsqueeze(-1) * length
    token = torch.arange(tokens, device=indices.device)
    first = indices.reshape(batch, 1)
    return torch.where(first < 0, -1, row + first + token).reshape(-1)
