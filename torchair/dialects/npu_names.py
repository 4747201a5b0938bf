"""Names of GE operators' inputs and attributes that torch_npu's schemas call otherwise.

GE name -> name in the schema; names that are equal are not listed. Eager implementations and
converters read the same table.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

PROMPT_FLASH_ATTENTION: Final[Mapping[str, str]] = {
    "dequant_scale1": "deq_scale1",
    "dequant_scale2": "deq_scale2",
    "scale": "scale_value",
}
"""As FusedInferAttentionScore; PromptFlashAttention's own names are the schema's."""

INCRE_FLASH_ATTENTION: Final[Mapping[str, str]] = {
    "actual_seq_lengths_kv": "actual_seq_lengths",
    "actual_seq_lengths": "",
    "scale": "scale_value",
}
"""As FusedInferAttentionScore; IncreFlashAttention's own names are the schema's."""

FUSED_INFER_ATTENTION_SCORE_V2: Final[Mapping[str, str]] = {
    "actual_seq_lengths": "actual_seq_qlen",
    "actual_seq_lengths_kv": "actual_seq_kvlen",
    "key_antiquant_scale": "dequant_scale_key",
    "key_antiquant_offset": "dequant_offset_key",
    "value_antiquant_scale": "dequant_scale_value",
    "value_antiquant_offset": "dequant_offset_value",
    "key_rope_antiquant_scale": "dequant_scale_key_rope",
    "quant_scale2": "quant_scale_out",
    "quant_offset2": "quant_offset_out",
    "quant_scale1": "quant_scale_p",
    "num_heads": "num_query_heads",
    "scale": "softmax_scale",
    "softmax_lse_flag": "return_softmax_lse",
    "key_antiquant_mode": "key_quant_mode",
    "value_antiquant_mode": "value_quant_mode",
}
