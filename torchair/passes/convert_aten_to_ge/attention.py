"""Scaled-dot-product attention: GE's flash attention for half precision, products and softmax for
float32.

GE's ``FlashAttentionScore`` takes float16 and bfloat16 only. Shapes: query [batch, heads, q, head],
key and
value [batch, kv heads, kv, head]; log-sum-exp [batch, heads, q] in float32.
"""

from __future__ import annotations

from typing import Any

from xdsl.ir import Attribute, SSAValue

from torchair.dialects.ge import builder as ge
from torchair.errors import ConversionError
from torchair.ir import interned
from torchair.passes.convert_aten_to_ge.geometry import all_sizes, rank, shape
from torchair.passes.convert_aten_to_ge.operands import REDUCED
from torchair.passes.convert_aten_to_ge.recipes import filled, like, require, unsqueeze
from torchair.passes.convert_aten_to_ge.recipes import (
    scale as scaled,
)
from torchair.passes.convert_aten_to_ge.registry import converts

_STATISTICS = 8
"""Flash attention repeats each row's maximum and sum this often in a trailing dimension."""
_CAUSAL_MASK = 2048
"""Side of the compressed mask that sparse_mode 2 (causal from the upper left) wants."""
_SCALE_THEN_ADD = 0
"""``pse_type`` of PyTorch's additive masks: GE's default adds before it scales."""


@converts(
    "_scaled_dot_product_flash_attention_for_cpu(Tensor query, Tensor key, Tensor value, "
    "float dropout_p=0., bool is_causal=False, *, Tensor? attn_mask=None, float? scale=None) "
    "-> (Tensor output, Tensor logsumexp)"
)
def attention(
    query: Any,
    key: Any,
    value: Any,
    out: Any,
    dropout_p: Any = 0.0,
    is_causal: bool = False,
    attn_mask: Any = None,
    scale: Any = None,
) -> Any:
    _refuse_dropout(dropout_p)
    factor = _factor(query, scale)
    if ge.element(query) in REDUCED:
        masks = _flash_masks(query, key, is_causal, attn_mask)
        return _flash(query, key, value, factor, masks, out)
    key, value = _match_heads(query, key), _match_heads(query, value)
    scores = _scores(query, key, is_causal, attn_mask, factor)
    weights = _softmax(scores, attn_mask)
    output = ge.BatchMatMul(weights, value, out=out[0])
    return output, ge.ReduceLogSumExp(scores, [-1], out=out[1])


@converts(
    "_scaled_dot_product_flash_attention_for_cpu_backward(Tensor grad_out, Tensor query, "
    "Tensor key, Tensor value, Tensor out, Tensor logsumexp, float dropout_p, bool is_causal, *, "
    "Tensor? attn_mask=None, float? scale=None) "
    "-> (Tensor grad_query, Tensor grad_key, Tensor grad_value)"
)
def attention_backward(
    grad_out: Any,
    query: Any,
    key: Any,
    value: Any,
    logsumexp: Any,
    dropout_p: Any,
    is_causal: bool,
    out_: Any,
    out: Any,
    attn_mask: Any = None,
    scale: Any = None,
) -> Any:
    """With P = exp(S - lse): dV = P^T dO, dS = P (dO V^T - sum(dO O)), dQ = dS K, dK = dS^T Q
    (Dao et al., FlashAttention, appendix B)."""
    _refuse_dropout(dropout_p)
    factor = _factor(query, scale)
    if ge.element(query) in REDUCED:
        masks = _flash_masks(query, key, is_causal, attn_mask)
        return _flash_grad((query, key, value, grad_out), out_, logsumexp, factor, masks, out)
    if shape(query)[1] != shape(key)[1]:
        raise ConversionError(
            "the backward pass of grouped-query attention in float32 is not supported",
            hint="repeat key and value heads before scaled_dot_product_attention",
        )
    scores = _scores(query, key, is_causal, attn_mask, factor)
    weights = ge.Exp(ge.Sub(scores, unsqueeze(logsumexp, [3]), out=scores.type), out=scores.type)
    grad_value = ge.BatchMatMul(weights, grad_out, adj_x1=True, out=out[2])
    rows = like(scores.type, [*shape(scores)[:-1], 1])
    product = ge.Mul(grad_out, out_, out=grad_out.type)
    delta = ge.ReduceSum(product, [-1], keep_dims=True, out=rows)
    grad_weights = ge.BatchMatMul(grad_out, value, adj_x2=True, out=scores.type)
    centred = ge.Sub(grad_weights, delta, out=scores.type)
    grad_scores = scaled(ge.Mul(weights, centred, out=scores.type), factor)
    grad_query = ge.BatchMatMul(grad_scores, key, out=out[0])
    grad_key = ge.BatchMatMul(grad_scores, query, adj_x1=True, out=out[1])
    return grad_query, grad_key, grad_value


def _refuse_dropout(dropout_p: Any) -> None:
    if dropout_p != 0:
        raise ConversionError(
            "dropout inside scaled_dot_product_attention is not supported",
            expected="dropout_p = 0",
            found=dropout_p,
            hint="apply dropout to the attention weights in the model",
        )


def _factor(query: SSAValue, given: Any) -> Any:
    """The factor of the scores: a number, or a 0-d tensor when the head size is symbolic."""
    size = ge.size(query, -1)
    if given is not None:
        return given
    if isinstance(size, int):
        return float(size) ** -0.5
    element = ge.element(query)
    return ge.Rsqrt(ge.cast_to(size, element), out=interned.tensor([], element))


def _static_factor(factor: Any) -> float:
    if isinstance(factor, SSAValue):
        raise ConversionError(
            "flash attention with a symbolic scale or head size",
            hint="make the head size static: torch._dynamo.mark_static(query, -1)",
        )
    return float(factor)


def _static_heads(query: SSAValue) -> int:
    heads = shape(query)[1]
    if heads == interned.DYNAMIC:
        raise ConversionError(
            "flash attention with a symbolic number of heads",
            hint="make it static: torch._dynamo.mark_static(query, 1)",
        )
    return heads


def _match_heads(query: SSAValue, value: SSAValue) -> SSAValue:
    """Repeat key or value heads for grouped-query attention."""
    heads, own = shape(query)[1], shape(value)[1]
    if heads == own:
        return value
    sizes = all_sizes(value)
    static = shape(value)
    groups = heads // own
    wide = like(value.type, [static[0], own, groups, *static[2:]])
    target = ge.sizes([sizes[0], own, groups, *sizes[2:]])
    repeated = ge.BroadcastTo(unsqueeze(value, [2]), target, out=wide)
    result = like(value.type, [static[0], heads, *static[2:]])
    return ge.Reshape(repeated, ge.sizes([sizes[0], heads, *sizes[2:]]), out=result)


def _scores(
    query: SSAValue, key: SSAValue, is_causal: bool, mask: SSAValue | None, factor: Any
) -> SSAValue:
    require("BatchMatMul", query, key)
    type_ = like(query.type, [*shape(query)[:-1], shape(key)[-2]])
    scores = scaled(ge.BatchMatMul(query, key, adj_x2=True, out=type_), factor)
    minus_infinity = ge.current().constant(float("-inf"), ge.element(query))
    if is_causal:
        hidden = _upper_triangle([ge.size(query, -2), ge.size(key, -2)])
        return ge.MaskedFill(scores, hidden, minus_infinity, out=type_)
    if mask is None:
        return scores
    if ge.element(mask) == interned.i1:
        return ge.SelectV2(mask, scores, minus_infinity, out=type_)
    return ge.Add(scores, ge.cast_to(mask, ge.element(query)), out=type_)


def _upper_triangle(sizes: list[Any]) -> SSAValue:
    """True strictly above the diagonal."""
    ones = filled(1, sizes, interned.i1)
    return ge.Triu(ones, diagonal=1, out=ones.type)


def _softmax(scores: SSAValue, mask: SSAValue | None) -> SSAValue:
    """Softmax of the last dimension; rows that a mask hides entirely become zeros, as in
    PyTorch."""
    weights = ge.SoftmaxV2(scores, axes=[-1], out=scores.type)
    if mask is None:
        return weights
    rows = interned.tensor([*shape(scores)[:-1], 1], interned.i1)
    minus_infinity = ge.current().constant(float("-inf"), ge.element(scores))
    hidden = ge.Equal(scores, minus_infinity, out=interned.tensor(shape(scores), interned.i1))
    empty = ge.ReduceAll(hidden, [-1], keep_dims=True, out=rows)
    zero = ge.current().constant(0.0, ge.element(scores))
    return ge.SelectV2(empty, zero, weights, out=scores.type)


def _flash_masks(
    query: SSAValue, key: SSAValue, is_causal: bool, mask: SSAValue | None
) -> dict[str, Any]:
    """The mask as flash attention wants it: True hides; an additive mask is the shift."""
    if is_causal:
        return {"atten_mask": _upper_triangle([_CAUSAL_MASK, _CAUSAL_MASK]), "sparse_mode": 2}
    if mask is None:
        return {}
    if ge.element(mask) == interned.i1:
        return {"atten_mask": ge.LogicalNot(mask, out=mask.type)}
    sizes = [ge.size(query, 0), shape(query)[1], ge.size(query, 2), ge.size(key, 2)]
    mask = ge.cast_to(mask, ge.element(query))
    if rank(mask) < 4:
        mask = unsqueeze(mask, list(range(4 - rank(mask))))
    static = [n if isinstance(n, int) else interned.DYNAMIC for n in sizes]
    if list(shape(mask)) != static:
        mask = ge.BroadcastTo(mask, ge.sizes(sizes), out=like(mask.type, static))
    return {"shift": mask}


def _flash(
    query: SSAValue,
    key: SSAValue,
    value: SSAValue,
    factor: Any,
    masks: dict[str, Any],
    out: list[Attribute],
) -> Any:
    statistics = interned.tensor([*shape(query)[:-1], _STATISTICS], interned.f32)
    types = (statistics, statistics, like(query.type, [0]), out[0])
    shift = masks.pop("shift", None)
    maximum, total, _, output = ge.FlashAttentionScore(
        query,
        key,
        value,
        shift,
        scale_value=_static_factor(factor),
        head_num=_static_heads(query),
        input_layout="BNSD",
        pse_type=_SCALE_THEN_ADD,
        out=types,
        **masks,
    )
    first = interned.tensor(shape(query)[:-1], interned.f32)
    rows = [
        ge.GatherV2(v, 0, ge.current().constant(-1, interned.i64), out=first)
        for v in (maximum, total)
    ]
    return output, ge.Add(rows[0], ge.Log(rows[1], out=first), out=first)


def _flash_grad(
    inputs: tuple[SSAValue, ...],
    forward: SSAValue,
    logsumexp: SSAValue,
    factor: Any,
    masks: dict[str, Any],
    out: list[Attribute],
) -> Any:
    """Any maximum and sum with maximum + log(sum) = log-sum-exp will do: here lse and 1."""
    query = inputs[0]
    statistics = [*shape(query)[:-1], _STATISTICS]
    sizes = [*all_sizes(query)[:-1], _STATISTICS]
    type_ = interned.tensor(statistics, interned.f32)
    maximum = ge.BroadcastTo(unsqueeze(logsumexp, [3]), ge.sizes(sizes), out=type_)
    named = {"pse_shift": masks.pop("shift")} if "shift" in masks else {}
    empty = like(query.type, [0])
    results = ge.FlashAttentionScoreGrad(
        *inputs,
        softmax_max=maximum,
        softmax_sum=filled(1.0, sizes, interned.f32),
        attention_in=forward,
        scale_value=_static_factor(factor),
        head_num=_static_heads(query),
        input_layout="BNSD",
        pse_type=_SCALE_THEN_ADD,
        out=(*out, empty, empty, empty, interned.tensor([0], interned.f32)),
        **named,
        **masks,
    )
    return results[:3]
