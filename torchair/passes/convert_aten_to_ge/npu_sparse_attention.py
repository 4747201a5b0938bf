"""torch_npu's attention over selected tokens, their selection, and what joins attentions."""

from __future__ import annotations

from typing import Any

from torchair.dialects.ge import builder as ge
from torchair.ir import interned
from torchair.passes.convert_aten_to_ge.npu_calls import build, listed
from torchair.passes.convert_aten_to_ge.registry import converts


@converts(listed("npu_lightning_indexer"))
def npu_lightning_indexer(out: Any, **named: Any) -> Any:
    names = {"return_values": "return_value"}
    return build("npu_lightning_indexer", "LightningIndexer", named, out, renamed=names)


@converts(listed("npu_quant_lightning_indexer"))
def npu_quant_lightning_indexer(out: Any, **named: Any) -> Any:
    return build("npu_quant_lightning_indexer", "QuantLightningIndexer", named, out)


@converts(listed("npu_sparse_flash_attention"))
def npu_sparse_flash_attention(value: Any, out: Any, **named: Any) -> Any:
    """Without values, the keys are the values."""
    values = named["key"] if value is None else value
    sinks = named["sinks"]
    given: dict[str, Any] = {} if sinks is None else {"sinks": ge.cast_to(sinks, interned.f32)}
    name = "npu_sparse_flash_attention"
    return build(name, "SparseFlashAttention", named, out, value=values, **given)


@converts(listed("npu_kv_quant_sparse_flash_attention"))
def npu_kv_quant_sparse_flash_attention(out: Any, **named: Any) -> Any:
    return build("npu_kv_quant_sparse_flash_attention", "KvQuantSparseFlashAttention", named, out)


@converts(listed("npu_attention_update"))
def npu_attention_update(lse: Any, local_out: Any, update_type: Any, out: Any) -> Any:
    count = len(lse)
    return ge.AttentionUpdate(lse, local_out, update_type=update_type, sp=count, out=tuple(out))


@converts(listed("npu_masked_softmax_with_rel_pos_bias"))
def npu_masked_softmax_with_rel_pos_bias(out: Any, **named: Any) -> Any:
    name = "npu_masked_softmax_with_rel_pos_bias"
    return build(name, "MaskedSoftmaxWithRelPosBias", named, out)
