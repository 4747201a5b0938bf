"""torch_npu's inference attention."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from xdsl.ir import Attribute, SSAValue

from torchair.dialects import npu_names
from torchair.dialects.ge import builder as ge
from torchair.ir import element_types, interned
from torchair.passes.convert_aten_to_ge.geometry import is_value
from torchair.passes.convert_aten_to_ge.npu_calls import build, ge_type, listed
from torchair.passes.convert_aten_to_ge.registry import converts

_FUSED = "FusedInferAttentionScore"
_HINTS = ("inner_precise", "padding_mask")
_TYPE_NAMES = (
    "query_dtype",
    "key_dtype",
    "value_dtype",
    "query_rope_dtype",
    "key_rope_dtype",
    "key_shared_prefix_dtype",
    "value_shared_prefix_dtype",
    "dequant_scale_query_dtype",
    "dequant_scale_key_dtype",
    "dequant_scale_value_dtype",
    "dequant_scale_key_rope_dtype",
    "out_dtype",
)


@converts(listed("npu_prompt_flash_attention"))
def npu_prompt_flash_attention(out: Any, **named: Any) -> Any:
    """PromptFlashAttention where it takes the types, else the operator that includes it."""
    name = "npu_prompt_flash_attention"
    heads = _key_heads(named, "num_heads")
    if _fits("PromptFlashAttention", named, out):
        return build(
            name,
            "PromptFlashAttention",
            named,
            out,
            ignored=_HINTS,
            num_key_value_heads=heads,
        )
    return _fused(name, named, out, npu_names.PROMPT_FLASH_ATTENTION, heads)


@converts(listed("npu_incre_flash_attention"))
def npu_incre_flash_attention(out: Any, **named: Any) -> Any:
    """IncreFlashAttention where it takes the types, else the operator that includes it."""
    name = "npu_incre_flash_attention"
    heads = _key_heads(named, "num_heads")
    if _fits("IncreFlashAttention", named, out):
        return build(
            name,
            "IncreFlashAttention",
            named,
            out,
            ignored=_HINTS,
            num_key_value_heads=heads,
        )
    return _fused(name, named, out, npu_names.INCRE_FLASH_ATTENTION, heads)


def _fused(name: str, named: Mapping[str, Any], out: Any, names: Any, heads: int) -> SSAValue:
    lse = interned.tensor([0], interned.f32)
    results = build(
        name,
        _FUSED,
        _with_packed_scales(named),
        [out, lse],
        renamed=names,
        ignored=_HINTS,
        num_key_value_heads=heads,
    )
    return results[0]


@converts(listed("npu_fused_infer_attention_score"))
def npu_fused_infer_attention_score(out: Any, **named: Any) -> Any:
    heads = _key_heads(named, "num_heads")
    return build("npu_fused_infer_attention_score", _FUSED, named, out, num_key_value_heads=heads)


@converts(listed("npu_fused_infer_attention_score_v2"))
def npu_fused_infer_attention_score_v2(out: Any, **named: Any) -> Any:
    return build(
        "npu_fused_infer_attention_score_v2",
        _FUSED,
        named,
        out,
        renamed=npu_names.FUSED_INFER_ATTENTION_SCORE_V2,
        ignored=_TYPE_NAMES,
        num_key_value_heads=_key_heads(named, "num_query_heads"),
        out_dtype=0 if named["out_dtype"] is None else ge_type(out[0]),
    )


def _with_packed_scales(named: Mapping[str, Any]) -> dict[str, Any]:
    """Dequantisation factors packed in int64 as the uint64 that GE takes."""
    wanted = element_types.from_name("uint64")
    given = dict(named)
    for name, value in named.items():
        is_packed = name.startswith(("deq_scale", "dequant_scale")) and is_value(value)
        if is_packed and ge.element(value) == interned.i64:
            sizes = interned.shape_of(value.type)
            type_ = interned.unranked(wanted) if sizes is None else interned.tensor(sizes, wanted)
            given[name] = ge.Bitcast(value, type=wanted, out=type_)
    return given


def _key_heads(named: Mapping[str, Any], heads: str) -> int:
    return named["num_key_value_heads"] or named[heads]


def _fits(op: str, named: Mapping[str, Any], out: Attribute) -> bool:
    """Whether a GE operator takes the types of all given tensors and gives that of the result."""
    spec = ge.op_class(op).spec
    pairs = [(port, named.get(port.name)) for port in spec.inputs]
    found = [(port, ge.element(v)) for port, v in pairs if is_value(v)]
    found.append((spec.outputs[0], interned.element_type(out)))
    return all(not p.dtypes or element_types.to_name(e) in p.dtypes for p, e in found)
