"""Attention without a gradient: the operator of inference, which keeps no statistics of rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from xdsl.ir import Attribute, SSAValue

from torchair.ir import interned
from torchair.ir.calls import CallOp
from torchair.ir.graph_pattern import ANY, Call, Hole, Match, call, one_of, rewrites, shared, value
from torchair.ir.rewrite import Pattern, Rewriter
from torchair.passes.canonicalize.permutations import order_of
from torchair.passes.fusion_forms import (
    HALVES,
    VIEWS,
    Size,
    create,
    create_named,
    element_of,
    permuted,
    sizes_of,
    type_with_sizes,
)
from torchair.passes.infer_attention_masks import (
    MASK,
    has_fitting_mask,
    is_causal,
    mask_arguments,
    rows_of,
)
from torchair.passes.rewrite_pass import PatternPass

_FUSED = "npu.npu_fused_infer_attention_score"
_SWAP = [0, 2, 1, 3]
_LARGEST_HEAD, _HEAD_UNIT = 512, 16
_MOST_HEADS, _LARGEST_GROUP = 256, 64


def _repeated(name: str) -> Call:
    """Heads repeated side by side, as ``repeat_kv`` and ``repeat_interleave`` do it."""
    column = shared(call("aten.unsqueeze", value(name), 2))
    grown = shared(call("aten.expand", column, ANY, implicit=ANY))
    copied = one_of(shared(call("aten.clone", grown, memory_format=ANY)), grown)
    return shared(call(VIEWS, copied, ANY))


def _is_half(query: SSAValue) -> bool:
    return element_of(query) in HALVES


_ATTENTION = call(
    "aten._scaled_dot_product_flash_attention_for_cpu",
    value("query", _is_half),
    one_of(_repeated("key"), value("key")),
    one_of(_repeated("value"), value("value")),
    0.0,
    Hole("is_causal", True),
    attn_mask=MASK,
    scale=Hole("scale"),
)


_SWAPPED = permuted(_ATTENTION)
"""Heads next to what they hold again, as the projection of the result wants them."""


def _attention(match: Match) -> CallOp:
    attention = match.operation(_ATTENTION)
    assert attention is not None, "all patterns have it"
    return attention


def _is_inference(match: Match) -> bool:
    """Whether nobody reads the statistics, and the operator takes types, sizes and mask."""
    values = [match[name] for name in ("query", "key", "value")]
    query, key, val = (sizes_of(v) for v in values)
    root = _attention(match)
    return (
        root.results[1].first_use is None
        and len({element_of(v) for v in (*values, root.results[0])}) == 1
        and query is not None
        and key is not None
        and val is not None
        and query == sizes_of(root.results[0])
        and _are_a_pair(key, val)
        and _has_fitting_heads(query, key)
        and _scale(match) is not None
        and (not is_causal(match) or rows_of(query) > 1 or query[2] == key[2])
        and has_fitting_mask(match)
    )


def _are_a_pair(key: list[Size], val: list[Size]) -> bool:
    """Whether keys and values have equal sizes; how many there are may have two symbols, for
    PyTorch takes no other pairs and does not compare them when it traces."""
    if len(key) != 4 or len(val) != 4 or (*key[:2], key[3]) != (*val[:2], val[3]):
        return False
    return key[2] == val[2] or isinstance(key[2], str) or isinstance(val[2], str)


def _has_fitting_heads(query: list[Size], key: list[Size]) -> bool:
    if len(query) != 4 or len(key) != 4:
        return False
    (batch, heads, _, size), groups = query, key[1]
    return (
        isinstance(heads, int)
        and isinstance(groups, int)
        and isinstance(size, int)
        and (batch, size) == (key[0], key[3])
        and size <= _LARGEST_HEAD
        and size % _HEAD_UNIT == 0
        and heads <= _MOST_HEADS
        and heads % groups == 0
        and heads <= groups * _LARGEST_GROUP
    )


def _scale(match: Match) -> float | None:
    given = match["scale"]
    if given is None:
        size = (sizes_of(match["query"]) or [""])[-1]
        return float(size) ** -0.5 if isinstance(size, int) else None
    return float(given) if isinstance(given, int | float) else None


def _is_swapped_inference(match: Match) -> bool:
    return order_of(match.root) == _SWAP and _is_inference(match)


@rewrites(_SWAPPED, where=_is_swapped_inference)
def fuse_swapped_inference(match: Match, rewriter: Rewriter) -> None:
    """Attention whose result alone is swapped: the operator writes it so, where it can."""
    root, attention = match.root, _attention(match)
    values, layout = _inputs(match)
    if layout == "BNSD" and rows_of(sizes_of(match["query"]) or []) > 1:
        layout = "BNSD_BSND"
    type_ = attention.results[0].type if layout == "BNSD" else root.results[0].type
    fused = _create(values, layout, type_, match, rewriter)
    if layout == "BNSD":
        types = [root.results[0].type]
        fused = create(rewriter, "aten.transpose.int", [fused, 1, 2], types, root).results[0]
    rewriter.replace(root, [fused])


def _is_inference_as_it_is(match: Match) -> bool:
    """Whether no single swap follows, which the other pattern takes along."""
    result = match.root.results[0]
    use = result.first_use
    is_swapped = result.has_one_use() and use is not None and _is_swap(use.operation, match.root)
    return not is_swapped and _is_inference(match)


@rewrites(_ATTENTION, where=_is_inference_as_it_is)
def fuse_inference(match: Match, rewriter: Rewriter) -> None:
    result = match.root.results[0]
    values, layout = _inputs(match)
    if layout == "BNSD":
        fused = _create(values, layout, result.type, match, rewriter)
    else:
        swapped = _create(values, layout, _swapped_type(result), match, rewriter)
        types = [result.type]
        fused = create(rewriter, "aten.transpose.int", [swapped, 1, 2], types, match.root)
        fused = fused.results[0]
    rewriter.replace(match.root, [fused, None])


def _inputs(match: Match) -> tuple[list[SSAValue], str]:
    """Query, key and value, and their layout: as they were before all were swapped."""
    values: list[SSAValue] = [match[name] for name in ("query", "key", "value")]
    owners = [v.owner for v in values]
    if all(_is_swap(owner, match.root) for owner in owners):
        return [owner.operands[0] for owner in owners if isinstance(owner, CallOp)], "BSND"
    return values, "BNSD"


def _is_swap(op: Any, root: CallOp) -> bool:
    """Whether an operation swaps the heads and the tokens, in the place of the root."""
    return isinstance(op, CallOp) and op.attributes == root.attributes and order_of(op) == _SWAP


def _create(
    values: list[SSAValue], layout: str, type_: Attribute, match: Match, rewriter: Rewriter
) -> SSAValue:
    """The fused call in front of the root."""
    query, key = (sizes_of(match[name]) or [] for name in ("query", "key"))
    named: dict[str, Any] = dict(zip(("query", "key", "value"), values, strict=True))
    named |= {"num_heads": query[1], "num_key_value_heads": key[1], "input_layout": layout}
    named |= {"scale": _scale(match), **mask_arguments(match, rewriter)}
    types: list[Attribute] = [type_, interned.tensor([0], interned.f32)]
    return create_named(rewriter, _FUSED, named, types, match.root).results[0]


def _swapped_type(source: SSAValue) -> Attribute:
    sizes = sizes_of(source)
    assert sizes is not None, "checked when it matched"
    return type_with_sizes(source.type, [sizes[0], sizes[2], sizes[1], sizes[3]])


@dataclass(frozen=True)
class FuseInferAttentionPass(PatternPass):
    """Turns attention without a gradient into the operator that inference has for it.

        %n = aten.where.self(%shown, 0.0, -inf)           %m = aten.logical_not(%shown)
        %y, %lse = aten._scaled_dot_product         ->    %y = npu.npu_fused_infer_attention_score
          _flash_attention_for_cpu(%q, repeat(%k),          (%q, %k, %v, atten_mask = %m,
          repeat(%v), attn_mask = %n)                       num_key_value_heads = 2, ...)

    Keys and values are not repeated for groups of heads, a boolean mask stays one byte per pair of
    tokens, and swaps of heads and tokens become the operator's layout. Runs after
    ``fuse-attention``, which makes one operator of attention that is written out.
    Numeric class: approximates. Shown by: test/lit/passes/fuse-infer-attention.mlir
    """

    name = "fuse-infer-attention"
    numeric_class: ClassVar[str] = "approximates"
    patterns: ClassVar[tuple[Pattern, ...]] = (
        fuse_swapped_inference,
        fuse_inference,
    )
