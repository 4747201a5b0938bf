"""torch_npu's keys and values normalised, rotated and stored in caches."""

from __future__ import annotations

from typing import Any

from torchair.dialects.ge import builder as ge
from torchair.passes.convert_aten_to_ge.npu_calls import listed
from torchair.passes.convert_aten_to_ge.npu_kv_cache import moved
from torchair.passes.convert_aten_to_ge.registry import converts

_LAYOUTS = {"SBND": 2, "BNSD": 3, "TND": 4}
"""``ApplyRotaryPosEmb.layout`` by name, where it is not 1."""


@converts(listed("npu_apply_rotary_pos_emb"))
def npu_apply_rotary_pos_emb(
    query: Any, key: Any, cos: Any, sin: Any, layout: Any, rotary_mode: Any
) -> Any:
    number = _LAYOUTS.get(layout, 1)
    return ge.ApplyRotaryPosEmb(
        moved(query),
        moved(key),
        cos,
        sin,
        layout=number,
        rotary_mode=rotary_mode,
        out=(query.type, key.type),
    )


@converts(listed("npu_interleave_rope"))
def npu_interleave_rope(x: Any, cos: Any, sin: Any) -> Any:
    return ge.InterleaveRope(x, cos, sin)


@converts(listed("npu_kv_rmsnorm_rope_cache"))
def npu_kv_rmsnorm_rope_cache(k_cache: Any, ckv_cache: Any, out: Any, **rest: Any) -> Any:
    caches = {"k_cache": moved(k_cache), "ckv_cache": moved(ckv_cache)}
    return ge.KvRmsNormRopeCache(**caches, out=tuple(out), **rest)


@converts(listed("npu_kv_rmsnorm_rope_cache_v2_functional"))
def npu_kv_rmsnorm_rope_cache_v2_functional(
    k_cache: Any, ckv_cache: Any, k_cache_dtype: Any, ckv_cache_dtype: Any, out: Any, **rest: Any
) -> Any:
    del k_cache_dtype, ckv_cache_dtype  # refused by the operator
    caches = {"k_cache": moved(k_cache), "ckv_cache": moved(ckv_cache)}
    types = (out[2], out[3], out[0], out[1])
    found = ge.KvRmsNormRopeCache(**caches, out=types, **rest)
    return found[2], found[3], found[0], found[1]


@converts(listed("npu_kv_rmsnorm_rope_cache_v2"))
def npu_kv_rmsnorm_rope_cache_v2(
    k_cache: Any, ckv_cache: Any, k_cache_dtype: Any, ckv_cache_dtype: Any, out: Any, **rest: Any
) -> Any:
    del k_cache_dtype, ckv_cache_dtype  # refused by the operator
    caches = {"k_cache": k_cache, "ckv_cache": ckv_cache}
    types = (k_cache.type, ckv_cache.type, *out)
    return ge.KvRmsNormRopeCache(**caches, out=types, **rest)[2:]


@converts(listed("npu_qkv_rms_norm_rope_cache_functional"))
def npu_qkv_rms_norm_rope_cache_functional(
    q_out: Any, k_cache: Any, v_cache: Any, out: Any, **rest: Any
) -> Any:
    written = {"q_out": moved(q_out), "k_cache": moved(k_cache), "v_cache": moved(v_cache)}
    found = ge.QkvRmsNormRopeCache(**written, out=(*out[3:], *out[:3]), **rest)
    return *found[3:], *found[:3]


@converts(listed("npu_qkv_rms_norm_rope_cache"))
def npu_qkv_rms_norm_rope_cache(
    q_out: Any, k_cache: Any, v_cache: Any, out: Any, **rest: Any
) -> Any:
    written = {"q_out": q_out, "k_cache": k_cache, "v_cache": v_cache}
    types = (*(value.type for value in written.values()), *out)
    return ge.QkvRmsNormRopeCache(**written, out=types, **rest)[3:]


@converts(listed("npu_rope_quant_kvcache"), listed("npu_dequant_rope_quant_kvcache"))
def npu_rope_quant_kvcache(
    k_cache: Any, v_cache: Any, quant_mode: Any, input_layout: Any, out: Any, **rest: Any
) -> Any:
    del quant_mode  # refused by the operator
    caches = {"k_cache": moved(k_cache), "v_cache": moved(v_cache)}
    return ge.DequantRopeQuantKvcache(**caches, layout=input_layout, out=tuple(out), **rest)
