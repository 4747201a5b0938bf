"""Keys and values normalised, rotated and stored in caches.

Operators whose names end in ``_functional``, and those whose schemas write nothing, return new
caches.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor

from torchair.backend_ge.host.kernels import npu_rope_cache as kernels
from torchair.errors import ConversionError
from torchair.frontend.npu_operators.narrow_results import require_default
from torchair.frontend.npu_operators.registry import implements

_MODES = ("half", "quarter", "interleave")


@implements("npu_apply_rotary_pos_emb")
def npu_apply_rotary_pos_emb(
    query: Tensor,
    key: Tensor,
    cos: Tensor,
    sin: Tensor,
    layout: str = "BSND",
    rotary_mode: str = "half",
) -> tuple[Tensor, Tensor]:
    if layout not in ("BSH", "BSND", "SBND", "BNSD", "TND") or rotary_mode not in _MODES:
        raise ConversionError(
            "npu_apply_rotary_pos_emb has no such layout or mode",
            expected=f"BSND, SBND, BNSD or TND; {', '.join(_MODES)}",
            found=f"{layout}; {rotary_mode}",
        )
    return kernels.apply_rotary_pos_emb(query, key, cos, sin, rotary_mode=rotary_mode)


@implements("npu_interleave_rope")
def npu_interleave_rope(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    return kernels.interleave_rope(x, cos, sin)


@implements("npu_kv_rmsnorm_rope_cache")
def npu_kv_rmsnorm_rope_cache(
    kv: Tensor,
    gamma: Tensor,
    cos: Tensor,
    sin: Tensor,
    index: Tensor,
    k_cache: Tensor,
    ckv_cache: Tensor,
    *,
    v: Tensor | None = None,
    cache_mode: str = "Norm",
    **rest: Any,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    require_default("npu_kv_rmsnorm_rope_cache", v=(v is not None, False))
    if cache_mode not in kernels.CACHE_MODES:
        raise ConversionError(
            "npu_kv_rmsnorm_rope_cache has no such cache_mode",
            expected=", ".join(kernels.CACHE_MODES),
            found=cache_mode,
        )
    return kernels.kv_rms_norm_rope_cache(
        kv, gamma, cos, sin, index, k_cache, ckv_cache, cache_mode=cache_mode, **rest
    )


@implements("npu_kv_rmsnorm_rope_cache_v2_functional")
def npu_kv_rmsnorm_rope_cache_v2_functional(
    *tensors: Tensor,
    k_cache_dtype: int | None = None,
    ckv_cache_dtype: int | None = None,
    **rest: Any,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Returns rotated keys, normalised latents, k_cache, ckv_cache."""
    require_default(
        "npu_kv_rmsnorm_rope_cache_v2",
        k_cache_dtype=(k_cache_dtype, None),
        ckv_cache_dtype=(ckv_cache_dtype, None),
    )
    k_cache, ckv_cache, key, latent = npu_kv_rmsnorm_rope_cache(*tensors, **rest)
    return key, latent, k_cache, ckv_cache


@implements("npu_kv_rmsnorm_rope_cache_v2")
def npu_kv_rmsnorm_rope_cache_v2(*tensors: Tensor, **rest: Any) -> tuple[Tensor, Tensor]:
    key, latent, k_cache, ckv_cache = npu_kv_rmsnorm_rope_cache_v2_functional(*tensors, **rest)
    tensors[5].copy_(k_cache)
    tensors[6].copy_(ckv_cache)
    return key, latent


@implements("npu_qkv_rms_norm_rope_cache_functional")
def npu_qkv_rms_norm_rope_cache_functional(
    qkv: Tensor,
    q_gamma: Tensor,
    k_gamma: Tensor,
    cos: Tensor,
    sin: Tensor,
    index: Tensor,
    q_out: Tensor,
    k_cache: Tensor,
    v_cache: Tensor,
    qkv_size: list[int],
    head_nums: list[int],
    *,
    cache_mode: str = "PA_NZ",
    **rest: Any,
) -> tuple[Tensor, ...]:
    """Returns what is before quantisation, then q_out, k_cache, v_cache."""
    if cache_mode != "PA_NZ":
        raise ConversionError(
            "npu_qkv_rms_norm_rope_cache has one cache_mode", expected="PA_NZ", found=cache_mode
        )
    found = kernels.qkv_rms_norm_rope_cache(
        qkv,
        q_gamma,
        k_gamma,
        cos,
        sin,
        index,
        q_out,
        k_cache,
        v_cache,
        qkv_size=qkv_size,
        head_nums=head_nums,
        **rest,
    )
    return *(value.clone() for value in found[3:]), *found[:3]


@implements("npu_qkv_rms_norm_rope_cache")
def npu_qkv_rms_norm_rope_cache(*arguments: Any, **rest: Any) -> tuple[Tensor, ...]:
    found = npu_qkv_rms_norm_rope_cache_functional(*arguments, **rest)
    for target, value in zip(arguments[6:9], found[3:], strict=True):
        target.copy_(value)
    return found[:3]


@implements("npu_rope_quant_kvcache")
def npu_rope_quant_kvcache(
    *tensors: Any, quant_mode: int = 0, input_layout: str = "BSND", **rest: Any
) -> tuple[Tensor, ...]:
    *inputs, size_splits = tensors
    require_default("npu_rope_quant_kvcache", quant_mode=(quant_mode, 0))
    return kernels.dequant_rope_quant_kvcache(
        *inputs, size_splits=size_splits, layout=input_layout, **rest
    )


@implements("npu_dequant_rope_quant_kvcache")
def npu_dequant_rope_quant_kvcache(*tensors: Any, **rest: Any) -> tuple[Tensor, ...]:
    return npu_rope_quant_kvcache(*tensors, **rest)
