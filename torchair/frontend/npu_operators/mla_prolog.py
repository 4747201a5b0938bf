"""What precedes multi-head latent attention: projections, normalisation, rotation, caches."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from torchair.backend_ge.host.kernels import npu_mla_prolog as kernels
from torchair.frontend.npu_operators.matmul import unused
from torchair.frontend.npu_operators.registry import implements

_SCALES = (
    "dequant_scale_x",
    "dequant_scale_w_dq",
    "dequant_scale_w_uq_qr",
    "dequant_scale_w_dkv_kr",
    "quant_scale_ckv",
    "quant_scale_ckr",
    "smooth_scales_cq",
)
_V3_SCALES = (*_SCALES, "actual_seq_len", "k_nope_clip_alpha")
_V3_TYPES = (
    "token_x_dtype",
    "weight_dq_dtype",
    "weight_uq_qr_dtype",
    "weight_dkv_kr_dtype",
    "kv_cache_dtype",
)


@implements("npu_mla_prolog")
def npu_mla_prolog(*inputs: Tensor, **named: Any) -> tuple[Tensor, ...]:
    scales = [named.pop(name, None) for name in _SCALES]
    return kernels.mla_prolog(*inputs, *scales, **named)


@implements("npu_mla_prolog_v2")
def npu_mla_prolog_v2(*inputs: Tensor, **named: Any) -> tuple[Tensor, ...]:
    scales = [named.pop(name, None) for name in _SCALES]
    return kernels.mla_prolog_v2(*inputs, *scales, **named)


@implements("npu_mla_prolog_v3_functional")
def npu_mla_prolog_v3_functional(*inputs: Tensor, **named: Any) -> tuple[Tensor, ...]:
    unused("npu_mla_prolog_v3", named, _V3_TYPES)
    index = named.pop("cache_index", None)
    scales = [named.pop(name, None) for name in _V3_SCALES]
    found = kernels.mla_prolog_v3(*inputs, index, *scales, **named)
    query, rope, kv_cache, kr_cache, *rest = found
    return query, rope, *rest, kv_cache, kr_cache


@implements("npu_mla_prolog_v3")
def npu_mla_prolog_v3(*inputs: Tensor, **named: Any) -> tuple[Tensor, ...]:
    *found, kv_cache, kr_cache = npu_mla_prolog_v3_functional(*inputs, **named)
    inputs[9].copy_(kv_cache)
    inputs[10].copy_(kr_cache)
    return tuple(found)
