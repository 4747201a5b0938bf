"""Inference attention: whole prompts, one token at a time, and both with every option."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from torchair.backend_ge.host.kernels import npu_attention as kernels
from torchair.backend_ge.host.kernels.npu_attention_layout import PACKED, split
from torchair.dialects import npu_names
from torchair.errors import UnsupportedOpError
from torchair.frontend.npu_operators.registry import implements

_LENGTHS = ("actual_seq_lengths", "actual_seq_lengths_kv", "actual_shared_prefix_len")
_PLACES = {
    "BSH": ("B", "S", "H"),
    "SH": ("S", "H"),
    "BSND": ("B", "S", "N", "D"),
    "BNSD": ("B", "N", "S", "D"),
    "NBSD": ("N", "B", "S", "D"),
    "TND": ("S", "N", "D"),
    "NTD": ("N", "S", "D"),
    "NSD": ("N", "S", "D"),
}


@implements("npu_prompt_flash_attention")
def npu_prompt_flash_attention(query: Tensor, key: Tensor, value: Tensor, **named: Any) -> Tensor:
    named.setdefault("next_tokens", 0)
    return _attention(query, key, value, named, npu_names.PROMPT_FLASH_ATTENTION)[0]


@implements("npu_incre_flash_attention")
def npu_incre_flash_attention(query: Tensor, key: Tensor, value: Tensor, **named: Any) -> Tensor:
    return _attention(query, key, value, named, npu_names.INCRE_FLASH_ATTENTION)[0]


@implements("npu_fused_infer_attention_score")
def npu_fused_infer_attention_score(
    query: Tensor, key: Tensor, value: Tensor, **named: Any
) -> tuple[Tensor, Tensor]:
    return _attention(query, key, value, named, {})


@implements("npu_fused_infer_attention_score_v2")
def npu_fused_infer_attention_score_v2(
    query: Tensor, key: Tensor, value: Tensor, **named: Any
) -> tuple[Tensor, Tensor]:
    names = npu_names.FUSED_INFER_ATTENTION_SCORE_V2
    return _attention(query, key, value, named, names)


def _attention(
    query: Tensor, key: Tensor, value: Tensor, named: dict[str, Any], names: Mapping[str, str]
) -> tuple[Tensor, Tensor]:
    given = _ge_arguments(named, names)
    if query.device.type == "meta":
        return _shapes(query, value, given)
    for name in _LENGTHS:
        if given.get(name) is not None:
            given[name] = torch.tensor(given[name], dtype=torch.int64)
    return kernels.fused_infer_attention_score(query, [key], [value], **given)


def _ge_arguments(named: dict[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    """Arguments by the names that FusedInferAttentionScore has for them."""
    back = {theirs: ours for ours, theirs in names.items()}
    fields = kernels.Inference.__dataclass_fields__
    given = {back.get(name, name): value for name, value in named.items() if value is not None}
    unknown = [name for name in given if name not in fields and not name.endswith("_dtype")]
    if unknown:
        raise UnsupportedOpError(f"attention does not use '{unknown[0]}'", hint="leave it out")
    return {name: value for name, value in given.items() if name in fields and name != "out_dtype"}


def _shapes(query: Tensor, value: Tensor, given: dict[str, Any]) -> tuple[Tensor, Tensor]:
    """Results of the right shapes, without contents: lengths may be symbolic here."""
    source, target = split(given.get("input_layout", "BSH"))
    if source not in _PLACES or target not in _PLACES:
        raise UnsupportedOpError(
            f"attention has no layout '{given.get('input_layout')}'", expected=", ".join(_PLACES)
        )
    heads = given.get("num_heads", 1)
    key_heads = given.get("num_key_value_heads", 0) or heads
    sizes = dict(zip(_PLACES[source], query.shape, strict=True))
    sizes.setdefault("B", 1)
    sizes["N"] = heads
    sizes["D"] = _value_size(value, source, key_heads, given.get("block_table"))
    sizes["H"] = heads * sizes["D"]
    attention = query.new_empty(_picked(sizes, target), dtype=_result_dtype(query, given))
    if not given.get("softmax_lse_flag", False):
        return attention, query.new_empty([0], dtype=torch.float32)
    rows = [sizes["S"], heads, 1] if source in PACKED else [sizes["B"], heads, sizes["S"], 1]
    return attention, query.new_empty(rows, dtype=torch.float32)


def _picked(sizes: Mapping[str, Any], layout: str) -> list[Any]:
    return [sizes[letter] for letter in _PLACES[layout]]


def _value_size(value: Tensor, layout: str, heads: int, table: Tensor | None) -> Any:
    """Channels of a value head; caches are ``[pages, page, H]``, 4-D or tiled."""
    if table is None:
        is_flat = _PLACES[layout][-1] == "H"
        return value.shape[-1] // heads if is_flat else value.shape[-1]
    if value.dim() == 3:
        return value.shape[2] // heads
    return value.shape[3] if value.dim() == 4 else value.shape[2] * value.shape[4]


def _result_dtype(query: Tensor, given: Mapping[str, Any]) -> torch.dtype:
    if given.get("quant_scale2") is not None:
        return torch.int8
    if query.dtype is not torch.int8:
        return query.dtype
    rope: Tensor | None = given.get("query_rope")
    return torch.float16 if rope is None else rope.dtype
