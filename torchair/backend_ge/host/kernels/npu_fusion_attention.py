"""Kernels of training attention, FlashAttentionScore and its gradient.

What plain attention needs is computed by PyTorch's own flash attention, so that
``scaled_dot_product_attention`` keeps eager's bits; everything else in float32, rounded once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from torchair.backend_ge.host.kernels import attention as plain
from torchair.backend_ge.host.kernels import npu_attention_layout as layouts
from torchair.backend_ge.host.kernels.npu_attention import weigh
from torchair.backend_ge.host.kernels.npu_attention_tokens import (
    LEFT_UP_CAUSAL,
    Masking,
    Tokens,
    packed,
    padded,
    visible,
)
from torchair.backend_ge.host.kernels.registry import kernel
from torchair.errors import EngineError

STATISTICS = 8
"""How often a row's maximum and sum are repeated."""
ADD_THEN_SCALE = 1
"""``pse_type`` of ``scale * (query key^T + shift)``; 0 is ``scale * query key^T + shift``."""


@dataclass(frozen=True, slots=True)
class Training:
    """Optional inputs (in the forward operator's order) and attributes."""

    shift: Tensor | None = None
    drop_mask: Tensor | None = None
    padding_mask: Tensor | None = None
    atten_mask: Tensor | None = None
    prefix: Tensor | None = None
    actual_seq_qlen: Tensor | None = None
    actual_seq_kvlen: Tensor | None = None
    q_start_idx: Tensor | None = None
    kv_start_idx: Tensor | None = None
    d_scale_q: Tensor | None = None
    d_scale_k: Tensor | None = None
    d_scale_v: Tensor | None = None
    query_rope: Tensor | None = None
    key_rope: Tensor | None = None
    sink: Tensor | None = None
    p_scale: Tensor | None = None
    scale_value: float = 1.0
    keep_prob: float = 1.0
    pre_tockens: int = 2147483647
    next_tockens: int = 2147483647
    head_num: int = 1
    input_layout: str = "BSH"
    inner_precise: int = 0
    sparse_mode: int = 0
    pse_type: int = ADD_THEN_SCALE
    seed: int = 0
    offset: int = 0
    out_dtype: int = 0
    softmax_out_layout: str = ""
    name: str = "FlashAttentionScore"

    def check(self) -> None:
        """Raise ``EngineError`` for what is not implemented."""
        absent = (self.drop_mask, self.padding_mask, self.d_scale_q, self.d_scale_k, self.d_scale_v)
        if self.keep_prob != 1.0 or any(t is not None for t in absent):
            raise EngineError(
                f"the host kernel of {self.name} does not implement dropout, padding masks or "
                "quantised inputs",
                hint="apply dropout outside of attention (keep_prob=1), or run on an NPU",
            )
        if self.pse_type not in (0, ADD_THEN_SCALE) or self.softmax_out_layout:
            raise EngineError(
                f"the host kernel of {self.name} does not implement generated position encodings "
                "or another layout of the statistics",
                expected='pse_type 0 or 1, softmax_layout ""',
                found=f'{self.pse_type}, "{self.softmax_out_layout}"',
                hint="pass the encoding as pse with pse_type 0",
            )

    def is_plain(self, query: Tensor, value: Tensor) -> bool:
        """Whether PyTorch's flash attention computes it."""
        absent = (self.prefix, self.actual_seq_qlen, self.query_rope, self.sink)
        return (
            all(t is None for t in absent)
            and (self.shift is None or (self.pse_type == 0 and self.shift.dim() == 4))
            and (self.atten_mask is None or (self.is_causal() and self.shift is None))
            and self.input_layout != "TND"
            and query.shape[-1] == value.shape[-1]
        )

    def is_causal(self) -> bool:
        """Whether a token sees those up to its own, from the first on."""
        return self.sparse_mode == LEFT_UP_CAUSAL and self.atten_mask is not None

    def masking(self) -> Masking:
        window = (self.pre_tockens, self.next_tockens)
        return Masking(self.atten_mask, self.sparse_mode, *window, self.name, self.prefix)

    def heads(self, tensor: Tensor, key_heads: int = 0) -> Tensor:
        return layouts.to_heads(tensor, self.input_layout, key_heads or self.head_num, self.name)

    def key_heads(self, query: Tensor, key: Tensor) -> int:
        """Key heads, which layouts without a head dimension do not tell."""
        if self.input_layout in ("BSH", "SBH"):
            return key.shape[-1] // (query.shape[-1] // self.head_num)
        return key.shape[self.input_layout.index("N")]

    def places(self, q: Tensor, k: Tensor) -> tuple[Tokens, Tokens]:
        if self.input_layout != "TND":
            return padded(q.shape[2], None, None, q), padded(k.shape[2], None, None, k)
        if self.actual_seq_qlen is None or self.actual_seq_kvlen is None:
            raise EngineError("packed sequences need actual_seq_qlen and actual_seq_kvlen")
        return packed(q.shape[2], self.actual_seq_qlen, q), packed(
            k.shape[2], self.actual_seq_kvlen, k
        )

    def scores(self, q: Tensor, k: Tensor) -> Tensor:
        """Scores of hidden tokens included."""
        products = torch.matmul(q.float(), layouts.repeat_heads(k.float(), q.shape[1]).mT)
        if self.shift is None:
            return products * self.scale_value
        if self.pse_type == ADD_THEN_SCALE:
            return (products + self.shift.float()) * self.scale_value
        return products * self.scale_value + self.shift.float()


@kernel("FlashAttentionScore")
def flash_attention_score(
    query: Tensor, key: Tensor, value: Tensor, *optional: Any, **rest: Any
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Each row's maximum and sum of exponentials, an empty tensor, and the attention.

    The statistics are ``[batch, heads, tokens, 8]`` float32, ``[tokens, heads, 8]`` when packed.
    """
    given = Training(*optional, **rest)
    given.check()
    if given.is_plain(query, value):
        return plain.forward(query, key, value, given)
    q, k, v = _parts(query, key, value, given)
    shown = visible(*given.places(q, k), given.masking())
    found = weigh(given.scores(q, k), v, shown, given.sink)
    output = layouts.from_heads(found.output.to(query.dtype), given.input_layout, given.name)
    maximum, total = (_statistics(t, given) for t in (found.maximum, found.total))
    return maximum, total, query.new_empty(0), output.contiguous()


def _parts(query: Tensor, key: Tensor, value: Tensor, given: Training) -> list[Tensor]:
    """Query, key and value by heads, rotary parts appended."""
    heads = given.key_heads(query, key)
    q, k, v = given.heads(query), given.heads(key, heads), given.heads(value, heads)
    if given.query_rope is not None and given.key_rope is not None:
        q = torch.cat([q, given.heads(given.query_rope)], -1)
        k = torch.cat([k, given.heads(given.key_rope, heads)], -1)
    return [q, k, v]


def _statistics(rows: Tensor, given: Training) -> Tensor:
    wide = rows.expand(*rows.shape[:-1], STATISTICS)
    return (wide[0].transpose(0, 1) if given.input_layout == "TND" else wide).contiguous()


def _rows(statistics: Tensor, given: Training) -> Tensor:
    """``[batch, heads, tokens, 1]`` of statistics."""
    first = statistics[..., :1]
    return first.transpose(0, 1)[None] if given.input_layout == "TND" else first


_GRADIENT_ONLY = ("dy", "softmax_max", "softmax_sum", "softmax_in", "attention_in")
_GRADIENT_INPUTS = (
    "shift",
    "drop_mask",
    "padding_mask",
    "atten_mask",
    *_GRADIENT_ONLY[1:],
    "prefix",
    "actual_seq_qlen",
    "actual_seq_kvlen",
    "q_start_idx",
    "kv_start_idx",
    "d_scale_q",
    "d_scale_k",
    "d_scale_v",
    "d_scale_dy",
    "d_scale_o",
    "query_rope",
    "key_rope",
    "sink",
)


@kernel("FlashAttentionScoreGrad")
def flash_attention_score_grad(
    query: Tensor, key: Tensor, value: Tensor, dy: Tensor, *optional: Tensor | None, **rest: Any
) -> tuple[Tensor, ...]:
    """Gradients of query, key, value, an empty tensor, those of both rotary parts and the sink.

    GE has no gradient of the shift. What was not given has an empty gradient.
    """
    named = dict(zip(_GRADIENT_INPUTS, optional, strict=False))
    rest["softmax_out_layout"] = rest.pop("softmax_in_layout", "")
    saved = [named.pop(name, None) for name in _GRADIENT_ONLY[1:]]
    scales = [named.pop(name, None) for name in ("d_scale_dy", "d_scale_o")]
    given = Training(**named, **rest, name="FlashAttentionScoreGrad")
    given.check()
    maximum, total, _, forward = saved
    if maximum is None or total is None or forward is None or scales != [None, None]:
        raise EngineError(
            f"{given.name} needs softmax_max, softmax_sum and attention_in, and no scales"
        )
    is_grouped = given.key_heads(query, key) != given.head_num
    if given.is_plain(query, value) and not is_grouped:
        inputs = (query, key, value, dy, forward)
        return *plain.backward(inputs, maximum, total, given), *_empty(query, 4)
    return _gradients((query, key, value), dy, forward, (maximum, total), given)


def _empty(like: Tensor, count: int) -> list[Tensor]:
    dtypes = [like.dtype] * (count - 1) + [torch.float32]
    return [like.new_empty(0, dtype=d) for d in dtypes]


def _gradients(
    inputs: tuple[Tensor, Tensor, Tensor],
    dy: Tensor,
    forward: Tensor,
    statistics: tuple[Tensor, Tensor],
    given: Training,
) -> tuple[Tensor, ...]:
    """With P the weights: dV = P^T dY, dS = P (dY V^T - sum(dY Y)), dQ = dS K, dK = dS^T Q."""
    q, k, v = _parts(*inputs, given)
    grad, output = given.heads(dy).float(), given.heads(forward).float()
    maximum, total = (_rows(t, given) for t in statistics)
    shown = visible(*given.places(q, k), given.masking())
    scores = given.scores(q, k)
    if shown is not None:
        scores = torch.where(shown, scores, float("-inf"))
    finite = torch.where(maximum == float("-inf"), 0.0, maximum)
    divisor = torch.where(total > 0, total, 1.0)
    weights = torch.exp(scores - finite) / divisor
    delta = (grad * output).sum(-1, keepdim=True)
    keys, values = (layouts.repeat_heads(t.float(), q.shape[1]) for t in (k, v))
    grad_scores = weights * (torch.matmul(grad, values.mT) - delta)
    dq = torch.matmul(grad_scores, keys) * given.scale_value
    dk = _grouped(torch.matmul(grad_scores.mT, q.float()) * given.scale_value, k)
    dv = _grouped(torch.matmul(weights.mT, grad), v)
    parts = _rope_parts(dq, dk, inputs, given)
    back = [_back(t, given, inputs[0].dtype) for t in (parts[0], parts[1], dv)]
    empty = inputs[0].new_empty(0)
    ropes = [empty if t is None else _back(t, given, empty.dtype) for t in parts[2:]]
    dsink = empty.float()
    if given.sink is not None:
        share = torch.exp(given.sink.float().reshape(1, -1, 1, 1) - finite) / divisor
        dsink = -(share * delta).sum((0, 2, 3))
    return *back, empty, *ropes, dsink


def _rope_parts(
    dq: Tensor, dk: Tensor, inputs: tuple[Tensor, Tensor, Tensor], given: Training
) -> tuple[Tensor, Tensor, Tensor | None, Tensor | None]:
    if given.query_rope is None:
        return dq, dk, None, None
    size = given.heads(inputs[0]).shape[-1]
    return dq[..., :size], dk[..., :size], dq[..., size:], dk[..., size:]


def _grouped(grad: Tensor, like: Tensor) -> Tensor:
    """Sum over the query heads that share a key head."""
    groups = grad.shape[1] // like.shape[1]
    return grad if groups == 1 else grad.unflatten(1, (-1, groups)).sum(2)


def _back(grad: Tensor, given: Training, dtype: torch.dtype) -> Tensor:
    return layouts.from_heads(grad.to(dtype), given.input_layout, given.name).contiguous()
