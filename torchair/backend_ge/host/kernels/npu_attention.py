"""Kernels of inference attention, after the public definitions of the GE operators.

``softmax(query key^T scale + shift, masked) value``: computed in float32 and rounded once. Rows
that see no token give zeros, and infinity as log-sum-exp.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor

from torchair.backend_ge.host.kernels import npu_attention_layout as layouts
from torchair.backend_ge.host.kernels.npu_attention_tokens import (
    LEFT_UP_CAUSAL,
    Masking,
    Tokens,
    flattened,
    packed,
    padded,
    visible,
)
from torchair.backend_ge.host.kernels.npu_quantization_values import dequant_factor
from torchair.backend_ge.host.kernels.registry import ints, kernel, torch_dtype
from torchair.backend_ge.host.narrow_types import quantized
from torchair.errors import EngineError

_LARGEST_SCORES = 1 << 25
"""Scores that are held at once: 128 MiB."""


@dataclass(frozen=True, slots=True)
class Weighted:
    """Attention of every query token.

    Args:
        output: ``[batch, heads, tokens, head]`` float32.
        maximum, total: maximum of a row of scores and the sum of its exponentials, ``[..., 1]``.
    """

    output: Tensor
    maximum: Tensor
    total: Tensor

    def log_sum_exp(self) -> Tensor:
        """``[batch, heads, tokens, 1]`` float32, infinite for rows that see no token."""
        value = self.maximum + torch.log(self.total)
        return torch.where(self.total > 0, value, float("inf"))


def score(query: Tensor, key: Tensor, scale: float, shift: Tensor | None) -> Tensor:
    """``query key^T scale + shift`` in float32."""
    scores = torch.matmul(query.float(), layouts.repeat_heads(key.float(), query.shape[1]).mT)
    scores = scores * scale
    if shift is None:
        return scores
    return scores + shift[..., : scores.shape[-2], : scores.shape[-1]].float()


def weigh(
    scores: Tensor,
    value: Tensor,
    shown: Tensor | None,
    sink: Tensor | None = None,
    factors: tuple[Tensor, Tensor] | None = None,
) -> Weighted:
    """Softmax of the scores of the shown tokens, times the values.

    Args:
        scores: ``[batch, heads, query tokens, key tokens]`` float32.
        value: ``[batch, key heads, key tokens, head]``.
        shown: None shows all.
        sink: one more score per head that takes a share and has no value, ``[heads]``.
        factors: weights are quantised to int8 with the first and products scaled by the second.
    """
    if shown is not None:
        scores = torch.where(shown, scores, float("-inf"))
    if scores.shape[-1] == 0:
        rows = [*scores.shape[:-1], 1]
        empty = scores.new_zeros([*scores.shape[:-1], value.shape[-1]])
        return Weighted(empty, scores.new_full(rows, float("-inf")), scores.new_zeros(rows))
    maximum = scores.amax(-1, keepdim=True)
    if sink is not None:
        maximum = torch.maximum(maximum, sink.float().reshape(1, -1, 1, 1))
    finite = torch.where(maximum == float("-inf"), 0.0, maximum)
    weights = torch.exp(scores - finite)
    total = weights.sum(-1, keepdim=True)
    if sink is not None:
        total = total + torch.exp(sink.float().reshape(1, -1, 1, 1) - finite)
    weights = weights / torch.where(total > 0, total, 1.0)
    if factors is not None:
        weights = quantized(weights * factors[0], torch.int8).float()
    output = torch.matmul(weights, layouts.repeat_heads(value.float(), scores.shape[1]))
    return Weighted(output if factors is None else output * factors[1], maximum, total)


@dataclass(frozen=True, slots=True)
class Side:
    """Keys and values of all sequences, ``[batch, heads, tokens, head]``, and their places."""

    key: Tensor
    value: Tensor
    tokens: Tokens


@dataclass(frozen=True, slots=True)
class Inference:
    """Optional inputs (in GE's order) and attributes of FusedInferAttentionScore."""

    pse_shift: Tensor | None = None
    atten_mask: Tensor | None = None
    actual_seq_lengths: Tensor | None = None
    actual_seq_lengths_kv: Tensor | None = None
    dequant_scale1: Tensor | None = None
    quant_scale1: Tensor | None = None
    dequant_scale2: Tensor | None = None
    quant_scale2: Tensor | None = None
    quant_offset2: Tensor | None = None
    antiquant_scale: Tensor | None = None
    antiquant_offset: Tensor | None = None
    block_table: Tensor | None = None
    query_padding_size: Tensor | None = None
    kv_padding_size: Tensor | None = None
    key_antiquant_scale: Tensor | None = None
    key_antiquant_offset: Tensor | None = None
    value_antiquant_scale: Tensor | None = None
    value_antiquant_offset: Tensor | None = None
    key_shared_prefix: Tensor | None = None
    value_shared_prefix: Tensor | None = None
    actual_shared_prefix_len: Tensor | None = None
    query_rope: Tensor | None = None
    key_rope: Tensor | None = None
    key_rope_antiquant_scale: Tensor | None = None
    dequant_scale_query: Tensor | None = None
    learnable_sink: Tensor | None = None
    q_start_idx: Tensor | None = None
    kv_start_idx: Tensor | None = None
    num_heads: int = 1
    scale: float = 1.0
    pre_tokens: int = 2147483647
    next_tokens: int = 2147483647
    input_layout: str = "BSH"
    num_key_value_heads: int = 0
    sparse_mode: int = 0
    inner_precise: int = 0
    block_size: int = 0
    antiquant_mode: int = 0
    softmax_lse_flag: bool = False
    key_antiquant_mode: int = 0
    value_antiquant_mode: int = 0
    query_quant_mode: int = 0
    pse_type: int = 0
    out_dtype: int = 0
    name: str = "FusedInferAttentionScore"

    def key_heads(self) -> int:
        return self.num_key_value_heads or self.num_heads

    def masking(self) -> Masking:
        window = (self.pre_tokens, self.next_tokens)
        return Masking(self.atten_mask, self.sparse_mode, *window, self.name)

    def is_plain(self, query: Tensor, key: list[Tensor], value: list[Tensor]) -> bool:
        """Whether PyTorch's flash attention computes it."""
        absent = [getattr(self, name) is None for name in _BEYOND_PLAIN]
        return (
            all(absent)
            and query.dtype in _HALVES
            and len(key) == len(value) == 1
            and query.dtype == key[0].dtype
            and key[0].shape == value[0].shape
            and query.numel() > 0
            and key[0].numel() > 0
            and self.input_layout in _PLAIN_LAYOUTS
            and (self.pse_shift is None or self.pse_shift.dim() == 4)
            and (self.pse_shift is None or self.atten_mask is None)
            and not self.softmax_lse_flag
        )


_BEYOND_PLAIN = tuple(
    field.name
    for field in fields(Inference)
    if field.default is None and field.name not in ("pse_shift", "atten_mask")
)
_PLAIN_LAYOUTS = ("BNSD", "BSND", "BNSD_BSND")
_HALVES = (torch.float16, torch.bfloat16)


@kernel("FusedInferAttentionScore")
def fused_infer_attention_score(
    query: Tensor, key: list[Tensor], value: list[Tensor], *optional: Any, **rest: Any
) -> tuple[Tensor, Tensor]:
    """``attention_out`` in the layout that ``input_layout`` ends with, and ``softmax_lse``.

    The log-sum-exp is ``[batch, heads, tokens, 1]``, or ``[tokens, heads, 1]`` of packed sequences.
    """
    given = Inference(*optional, **rest)
    _refuse(given)
    if given.is_plain(query, key, value):
        return _plain(query, key[0], value[0], given), query.new_empty(0, dtype=torch.float32)
    source, target = layouts.split(given.input_layout)
    q = layouts.to_heads(query, source, given.num_heads, given.name)
    side = _key_side(_joined(key, given.name), _joined(value, given.name), source, given)
    k = side.key
    if given.query_rope is not None and given.key_rope is not None:
        rope = layouts.to_heads(given.query_rope, source, given.num_heads, given.name)
        q = torch.cat([q, rope], -1)
    tokens = _query_tokens(q, source, given)
    shown = visible(tokens, side.tokens, given.masking())
    found = _by_heads(q, k, side.value, shown, given)
    out = _quantized_output(found.output, given.quant_scale2, given.quant_offset2)
    if out is None:
        out = found.output.to(_result_dtype(query, given.query_rope, given.out_dtype))
    attention = layouts.from_heads(out, target, given.name).contiguous()
    if not given.softmax_lse_flag:
        return attention, found.total.new_empty(0)
    lse = found.log_sum_exp()
    return attention, (lse[0].transpose(0, 1) if source in layouts.PACKED else lse).contiguous()


def _plain(query: Tensor, key: Tensor, value: Tensor, given: Inference) -> Tensor:
    """``scaled_dot_product_attention``, with eager's bits."""
    source, target = layouts.split(given.input_layout)
    heads = (given.num_heads, given.key_heads(), given.key_heads())
    parts = zip((query, key, value), heads, strict=True)
    q, k, v = (layouts.to_heads(t, source, n, given.name) for t, n in parts)
    is_causal = given.atten_mask is not None and given.sparse_mode == LEFT_UP_CAUSAL
    shift = given.pse_shift
    if not is_causal:
        rows, columns = (padded(t.shape[2], None, None, t) for t in (q, k))
        shown = visible(rows, columns, given.masking())
        if shown is not None:
            shift = torch.where(shown, 0.0, float("-inf")).to(q.dtype)
    found = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(
        q, k, v, 0.0, is_causal, attn_mask=shift, scale=given.scale
    )[0]
    return layouts.from_heads(found, target, given.name).contiguous()


def _by_heads(q: Tensor, k: Tensor, v: Tensor, shown: Tensor | None, given: Inference) -> Weighted:
    """Attention of as many heads at a time as ``_LARGEST_SCORES`` allows."""
    groups = q.shape[1] // k.shape[1]
    unit = 1 if k.shape[1] == 1 else groups
    per_unit = max(1, unit * q.shape[0] * q.shape[2] * k.shape[2])
    step = max(1, _LARGEST_SCORES // per_unit) * unit
    parts: list[Weighted] = []
    for start in range(0, q.shape[1], step):
        heads = slice(start, start + step)
        keys = slice(start // groups, -(-(start + step) // groups))
        some = replace(given, pse_shift=_heads_of(given.pse_shift, heads))
        sink = None if given.learnable_sink is None else given.learnable_sink[heads]
        scores = _scores(q[:, heads], k[:, keys], some)
        parts.append(weigh(scores, v[:, keys], _heads_of(shown, heads), sink, _factors(given)))
    if len(parts) == 1:
        return parts[0]
    rows = [[p.output for p in parts], [p.maximum for p in parts], [p.total for p in parts]]
    return Weighted(*(torch.cat(row, 1) for row in rows))


def _heads_of(tensor: Tensor | None, heads: slice) -> Tensor | None:
    """Some heads of ``[batch, heads or 1, ...]``."""
    return tensor if tensor is None or tensor.shape[1] == 1 else tensor[:, heads]


def _scores(q: Tensor, k: Tensor, given: Inference) -> Tensor:
    if given.dequant_scale1 is None:
        return score(q, k, given.scale, given.pse_shift)
    products = score(q, k, 1.0, None) * dequant_factor(given.dequant_scale1) * given.scale
    if given.pse_shift is None:
        return products
    return products + given.pse_shift[..., : products.shape[-2], : products.shape[-1]].float()


def _factors(given: Inference) -> tuple[Tensor, Tensor] | None:
    if given.quant_scale1 is None or given.dequant_scale2 is None:
        return None
    return given.quant_scale1.float(), dequant_factor(given.dequant_scale2)


def _result_dtype(query: Tensor, rope: Tensor | None, number: int) -> torch.dtype:
    """Of quantised queries the rope's type, ``out_dtype`` or float16; else the query's."""
    if query.dtype is not torch.int8:
        return query.dtype
    if number:
        return torch_dtype(number)
    return torch.float16 if rope is None else rope.dtype


def _refuse(given: Inference) -> None:
    absent = (
        given.dequant_scale_query,
        given.key_rope_antiquant_scale,
        given.q_start_idx,
        given.kv_start_idx,
    )
    if any(t is not None for t in absent) or given.pse_type or given.query_quant_mode:
        raise EngineError(
            f"the host kernel of {given.name} does not implement per-token quantised queries, "
            "quantised rotary keys, start indices or generated position encodings",
            hint="run this graph on an NPU",
        )


def _joined(tensors: list[Tensor], name: str) -> Tensor:
    if len(tensors) == 1:
        return tensors[0]
    raise EngineError(
        f"the host kernel of {name} takes keys and values as one tensor",
        found=f"{len(tensors)} tensors",
        hint="pad the sequences to one length and concatenate them",
    )


def _half(scale: Tensor, offset: Tensor | None, index: int) -> tuple[Tensor, Tensor | None]:
    """The keys' (0) or values' (1) part of joint factors."""
    return scale[index], None if offset is None else offset[index]


@dataclass(frozen=True, slots=True)
class _Cache:
    """How keys and values are stored."""

    layout: str
    heads: int
    table: Tensor | None
    name: str

    def tensor(
        self, stored: Tensor, scale: Tensor | None, offset: Tensor | None, mode: int
    ) -> Tensor:
        """``[batch, heads, tokens, head]``; int8 caches with factors become float32."""
        if self.table is None:
            found = layouts.to_heads(stored, self.layout, self.heads, self.name)
        else:
            found = layouts.gather_pages(stored, self.table, self.heads)
        if scale is None:
            return found
        wide = found.float()
        if offset is not None:
            wide = wide + self._factors(offset, wide, mode)
        return wide * self._factors(scale, wide, mode)

    def _factors(self, factors: Tensor, like: Tensor, mode: int) -> Tensor:
        """Factors that broadcast to ``[batch, heads, tokens, head]``.

        Modes: 0 per channel or tensor, 1 per token, 2 per head, 3 per token and head, 4 and 5 as 1
        and 3 with the pages of the cache.
        """
        wide = factors.float()
        if mode == 0:
            if wide.numel() == 1:
                return wide.reshape(1, 1, 1, 1)
            return wide.reshape(1, self.heads, 1, -1)
        if mode == 1:
            return wide.reshape(like.shape[0], 1, -1, 1)[:, :, : like.shape[2]]
        if mode == 2:
            return wide.reshape(1, self.heads, 1, 1)
        if mode == 3:
            return wide.reshape(like.shape[0], self.heads, -1, 1)[:, :, : like.shape[2]]
        if mode in (4, 5) and self.table is not None:
            pages = wide if mode == 5 else wide.reshape(wide.shape[0], 1, -1)
            return layouts.gather_pages(pages[..., None], self.table, pages.shape[1])
        raise EngineError(
            f"the host kernel of {self.name} does not know the antiquant mode {mode}",
            expected="0 to 3, or 4 and 5 with a block table",
        )


def _query_tokens(q: Tensor, layout: str, given: Inference) -> Tokens:
    lengths = given.actual_seq_lengths
    if layout not in layouts.PACKED:
        return padded(q.shape[2], lengths, given.query_padding_size, q)
    if lengths is None:
        raise EngineError("packed sequences need actual_seq_lengths", found=layout)
    return packed(q.shape[2], lengths, q)


def _key_side(key: Tensor, value: Tensor, layout: str, given: Inference) -> Side:
    """Keys and values with rotary part and shared prefix, padding of values made zero."""
    cache = _Cache(layout, given.key_heads(), given.block_table, given.name)
    joint = given.antiquant_scale
    if joint is None:
        k_factors = (given.key_antiquant_scale, given.key_antiquant_offset)
        v_factors = (given.value_antiquant_scale, given.value_antiquant_offset)
        modes = (given.key_antiquant_mode, given.value_antiquant_mode)
    else:
        k_factors = _half(joint, given.antiquant_offset, 0)
        v_factors = _half(joint, given.antiquant_offset, 1)
        modes = (given.antiquant_mode, given.antiquant_mode)
    k, v = cache.tensor(key, *k_factors, modes[0]), cache.tensor(value, *v_factors, modes[1])
    if given.query_rope is not None and given.key_rope is not None:
        k = torch.cat([k, cache.tensor(given.key_rope, None, None, 0)], -1)
    side = _with_prefix(_placed(k, v, layout, given), layout, given)
    if not side.tokens.is_limited:
        return side
    padding = torch.logical_not(side.tokens.valid())[:, None, :, None]
    return Side(side.key, side.value.masked_fill(padding, 0), side.tokens)


def _placed(k: Tensor, v: Tensor, layout: str, given: Inference) -> Side:
    """Packed keys end where the lengths say; paged ones have one length per sequence."""
    lengths, padding = given.actual_seq_lengths_kv, given.kv_padding_size
    if given.block_table is not None and lengths is None:
        raise EngineError(
            f"{given.name} with a block table needs the lengths of the keys",
            expected="actual_seq_lengths_kv (actual_seq_lengths of npu_incre_flash_attention)",
            hint="pages hold more than the sequences do, so their lengths must be given",
        )
    if layout not in layouts.PACKED:
        return Side(k, v, padded(k.shape[2], lengths, padding, k))
    if lengths is None:
        raise EngineError("packed sequences need actual_seq_lengths_kv", found=layout)
    if given.block_table is None:
        return Side(k, v, packed(k.shape[2], lengths, k))
    tokens = flattened(padded(k.shape[2], lengths, padding, k), k.shape[0])
    return Side(layouts.merge_batch(k), layouts.merge_batch(v), tokens)


def _with_prefix(side: Side, layout: str, given: Inference) -> Side:
    """A prefix that all sequences share, in front of each."""
    if given.key_shared_prefix is None or given.value_shared_prefix is None:
        return side
    stored = (given.key_shared_prefix, given.value_shared_prefix)
    parts = [layouts.to_heads(t, layout, given.key_heads(), given.name) for t in stored]
    if given.actual_shared_prefix_len is not None:
        parts = [t[:, :, : ints(given.actual_shared_prefix_len)[0]] for t in parts]
    batch, tokens = side.key.shape[0], parts[0].shape[2]
    before = [t.expand(batch, -1, -1, -1) for t in parts]
    first = padded(tokens, None, None, side.key)
    places = first.position.expand(side.tokens.position.shape[0], -1)
    position = torch.cat([places, side.tokens.position + tokens], -1)
    joined = Tokens(position, side.tokens.length + tokens, None, side.tokens.is_limited)
    return Side(torch.cat([before[0], side.key], 2), torch.cat([before[1], side.value], 2), joined)


def _quantized_output(output: Tensor, scale: Tensor | None, offset: Tensor | None) -> Tensor | None:
    """int8 when there is a factor, ``[1]`` or one per head and channel."""
    if scale is None:
        return None
    heads = output.shape[1]
    shape = (1, 1, 1, 1) if scale.numel() == 1 else (1, heads, 1, output.shape[-1])
    scaled = output * scale.float().reshape(shape)
    if offset is not None:
        scaled = scaled + offset.float().reshape(shape)
    return quantized(scaled, torch.int8)


@kernel("PromptFlashAttention")
def prompt_flash_attention(
    query: Tensor, key: Tensor, value: Tensor, *optional: Tensor | None, **rest: Any
) -> Tensor:
    """Attention of whole prompts: FusedInferAttentionScore without a cache."""
    named = dict(zip(_PROMPT_INPUTS, optional, strict=False))
    rest["scale"] = rest.pop("scale_value", 1.0)
    rest.setdefault("next_tokens", 0)
    rest["name"] = "PromptFlashAttention"
    return fused_infer_attention_score(query, [key], [value], **named, **rest)[0]


_PROMPT_INPUTS = (
    "pse_shift",
    "atten_mask",
    "actual_seq_lengths",
    "actual_seq_lengths_kv",
    "dequant_scale1",
    "quant_scale1",
    "dequant_scale2",
    "quant_scale2",
    "quant_offset2",
)
_INCREMENTAL_INPUTS = (
    "pse_shift",
    "atten_mask",
    "actual_seq_lengths_kv",
    *_PROMPT_INPUTS[4:],
    "antiquant_scale",
    "antiquant_offset",
    "block_table",
    "kv_padding_size",
)
"""Optional inputs by the names that FusedInferAttentionScore has for them."""


@kernel("IncreFlashAttention")
def incre_flash_attention(
    query: Tensor, key: list[Tensor], value: list[Tensor], *optional: Tensor | None, **rest: Any
) -> Tensor:
    """Attention of one new token per sequence; the lengths are those of the keys."""
    named = dict(zip(_INCREMENTAL_INPUTS, optional, strict=False))
    rest["scale"] = rest.pop("scale_value", 1.0)
    rest["name"] = "IncreFlashAttention"
    return fused_infer_attention_score(query, key, value, **named, **rest)[0]
