"""Scaled dot product attention that is written out, in 16-bit floats."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from xdsl.ir import Attribute, SSAValue

from torchair.ir import interned
from torchair.ir.graph_pattern import ANY, Match, call, one_of, rewrites, static, value
from torchair.ir.rewrite import Pattern, Rewriter
from torchair.passes.canonicalize.permutations import order_of
from torchair.passes.fusion_forms import (
    HALVES,
    add,
    create,
    div,
    element_of,
    is_last_dim,
    maybe_cast,
    mul,
    permuted,
    scalar,
    shape_of,
    sizes_of,
)
from torchair.passes.rewrite_pass import PatternPass

_SDPA = "aten._scaled_dot_product_flash_attention_for_cpu"

_FACTOR, _DIVISOR = static("factor"), static("divisor")
_KEYS = permuted(value("key"))
_PRODUCTS = call("aten.matmul", value("query"), _KEYS)
_SCALED = one_of(
    mul(_PRODUCTS, _FACTOR),
    div(_PRODUCTS, _DIVISOR),
    call("aten.matmul", mul(value("query"), _FACTOR), _KEYS),
    call("aten.matmul", div(value("query"), _DIVISOR), _KEYS),
    _PRODUCTS,
)
_SCORES = one_of(
    call("aten.masked_fill.Scalar", maybe_cast(_SCALED), value("hidden"), -math.inf),
    call("aten.where.self", value("shown"), maybe_cast(_SCALED), scalar(-math.inf)),
    add(maybe_cast(_SCALED), value("mask")),
    _SCALED,
)
_WEIGHTS = call("aten._softmax", maybe_cast(_SCORES), static("dim"), ANY)
_ATTENTION = call("aten.matmul", maybe_cast(_WEIGHTS), value("value"))


def _is_attention(match: Match) -> bool:
    """Whether types and shapes are those of attention over ``[batch, heads, rows, size]``."""
    query, key, val = match["query"], match["key"], match["value"]
    root, swaps = match.root.results[0], match.operation(_KEYS)
    sizes = [sizes_of(v) for v in (query, key, val, root)]
    if any(s is None or len(s) != 4 for s in sizes) or element_of(query) not in HALVES:
        return False
    wanted = {element_of(v) for v in (query, key, val, root)}
    q, k, v, out = (s or [] for s in sizes)
    return (
        len(wanted) == 1
        and q[:2] == k[:2] == v[:2]
        and k[2:] == [v[2], q[3]]
        and out == [*q[:3], v[3]]
        and v[3] == q[3]
        and swaps is not None
        and order_of(swaps) == [0, 1, 3, 2]
        and is_last_dim(match["dim"], query)
        and _is_fitting_mask(match, query)
    )


def _is_fitting_mask(match: Match, query: SSAValue) -> bool:
    found = [match.get(name) for name in ("mask", "hidden", "shown")]
    mask = next((value for value in found if value is not None), None)
    if mask is None:
        return True
    wanted = element_of(query) if mask is found[0] else interned.i1
    return element_of(mask) == wanted and len(shape_of(mask) or ()) in (2, 4)


def _scale(match: Match) -> float:
    if match.get("factor") is not None:
        return float(match["factor"])
    return 1.0 / float(match["divisor"]) if match.get("divisor") is not None else 1.0


@rewrites(_ATTENTION, where=_is_attention)
def fuse_written_out(match: Match, rewriter: Rewriter) -> None:
    query, root = match["query"], match.root
    mask, hidden = match.get("mask") or match.get("shown"), match.get("hidden")
    if hidden is not None:
        types = [hidden.type]
        mask = create(rewriter, "aten.logical_not", [hidden], types, root).results[0]
    values = [query, match["key"], match["value"], 0.0, False, mask, _scale(match)]
    rows: list[Attribute] = [root.results[0].type, _rows_type(query)]
    fused = create(rewriter, _SDPA, values, rows, root)
    rewriter.replace(root, fused.results[:1])


def _rows_type(query: SSAValue) -> Attribute:
    """One float32 number per row of the query."""
    shape, symbols = shape_of(query), interned.symbols_of(query.type)
    assert shape is not None
    return interned.tensor(shape[:-1], interned.f32, None if symbols is None else symbols[:-1])


@dataclass(frozen=True)
class FuseAttentionPass(PatternPass):
    """Fuses attention in float16 and bfloat16, for which GE has a flash attention.

        %1 = aten.matmul(%q, aten.transpose.int(%k, 2, 3))
        %2 = aten.mul.Tensor(%1, 0.25) + %mask      ->      %y, %lse = aten._scaled_dot_product
        %3 = aten._softmax(%2, -1)                              _flash_attention_for_cpu(%q, %k,
        %y = aten.matmul(%3, %v)                                %v, attn_mask = %mask, ...)

    Runs after ``raise-matmul``. Where no gradient is wanted, ``fuse-infer-attention`` goes on.
    Numeric class: approximates. Shown by: test/lit/passes/fuse-attention.mlir
    """

    name = "fuse-attention"
    numeric_class: ClassVar[str] = "approximates"
    patterns: ClassVar[tuple[Pattern, ...]] = (fuse_written_out,)
