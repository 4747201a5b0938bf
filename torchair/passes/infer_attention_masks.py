"""What hides keys in attention, and how the operator of inference is told so."""

from __future__ import annotations

import math
from typing import Any

from xdsl.ir import SSAValue

from torchair.ir import interned
from torchair.ir.calls import CallOp
from torchair.ir.graph_pattern import ANY, Call, Hole, Match, call, one_of, shared, value
from torchair.ir.rewrite import Rewriter
from torchair.passes.fusion_forms import (
    Size,
    create,
    element_of,
    read_size,
    scalar,
    sizes_of,
    type_with_sizes,
)

_TRIANGLE = 2048
"""Side of the mask that ``sparse_mode`` 2 (causal from the upper left) wants."""
_CAUSAL = 2
_WHOLE_ROWS = 2
"""``inner_precise`` that gives zeros for rows whose mask hides every key, as PyTorch does."""


def _is_boolean(mask: SSAValue) -> bool:
    return element_of(mask) == interned.i1


_HIDDEN = shared(call(("aten.logical_not", "aten.bitwise_not"), value("hidden")))
_OPTIONS = {"dtype": ANY, "layout": ANY, "device": ANY, "pin_memory": ANY}
_ZEROS = one_of(
    shared(Call(("aten.full",), (ANY, 0.0), _OPTIONS)),
    shared(Call(("aten.zeros",), (ANY,), _OPTIONS)),
    shared(Call(("aten.zeros_like",), (ANY,), {**_OPTIONS, "memory_format": ANY})),
)
_LATER = shared(call("aten.triu", shared(Call(("aten.full",), (ANY, -math.inf), _OPTIONS)), 1))
MASK = one_of(
    shared(call("aten.where.self", _HIDDEN, scalar(0.0), scalar(-math.inf))),
    shared(call("aten.where.self", value("shown"), scalar(0.0), scalar(-math.inf))),
    shared(call("aten.where.self", value("hidden"), scalar(-math.inf), scalar(0.0))),
    shared(call("aten.masked_fill.Scalar", _ZEROS, value("hidden"), -math.inf)),
    _LATER,
    _HIDDEN,
    value("shown", _is_boolean),
    Hole("mask"),
)
"""PyTorch makes numbers of a boolean mask, where True shows; the operator takes what hides."""


def rows_of(query: list[Size]) -> int:
    """Query tokens, if certain to be several; 1 when there is one, or a symbolic number."""
    return query[2] if isinstance(query[2], int) else 1


def is_causal(match: Match) -> bool:
    """Whether tokens see those up to their own, from the first on."""
    return bool(match["is_causal"]) or match.operation(_LATER) is not None


def has_fitting_mask(match: Match) -> bool:
    """Whether the mask is one for all heads, or numbers to add, and no other hides keys too."""
    query, key = (sizes_of(match[name]) or [] for name in ("query", "key"))
    later = match.operation(_LATER)
    if later is not None:
        sizes = sizes_of(later.results[0]) or []
        return sizes == [query[2], key[2]] and not match["is_causal"]
    boolean = match.get("hidden") or match.get("shown")
    mask = match.get("mask") if boolean is None else boolean
    if mask is None:
        return True
    sizes, element = sizes_of(mask), element_of(mask)
    if sizes is None or len(sizes) > 4 or match["is_causal"]:
        return False
    whole = [query[0], 1 if boolean is not None else query[1], query[2], key[2]]
    fits = all(s in (1, w) for s, w in zip(reversed(sizes), reversed(whole), strict=False))
    return fits and element == (interned.i1 if boolean is not None else element_of(match["query"]))


def mask_arguments(match: Match, rewriter: Rewriter) -> dict[str, Any]:
    """The arguments that hide keys."""
    if is_causal(match):
        return {"atten_mask": _triangle(match.root, rewriter), "sparse_mode": _CAUSAL}
    hidden, shown, mask = (match.get(name) for name in ("hidden", "shown", "mask"))
    if shown is not None:
        hidden = create(rewriter, "aten.logical_not", [shown], [shown.type], match.root).results[0]
    if hidden is not None:
        rows = (sizes_of(match["query"]) or [])[2]
        exact = {} if rows == 1 else {"inner_precise": _WHOLE_ROWS}
        return {"atten_mask": _widened(hidden, 1, match, rewriter), **exact}
    if mask is None:
        return {}
    heads = (sizes_of(match["query"]) or [])[1]
    return {"pse_shift": _widened(mask, heads, match, rewriter)}


def _triangle(root: CallOp, rewriter: Rewriter) -> SSAValue:
    """True strictly above the diagonal."""
    type_ = interned.tensor([_TRIANGLE, _TRIANGLE], interned.i1)
    values = [[_TRIANGLE, _TRIANGLE], True, interned.i1]
    ones = create(rewriter, "aten.full", values, [type_], root).results
    return create(rewriter, "aten.triu", [*ones, 1], [type_], root).results[0]


def _widened(mask: SSAValue, heads: Size, match: Match, rewriter: Rewriter) -> SSAValue:
    """A mask over ``[batch or 1, heads, query tokens, key tokens]``, or over the tokens alone.

    A row that may be the only one needs the whole batch: the operator has a branch for it that
    takes no other mask.
    """
    root, query, key = match.root, match["query"], match["key"]
    query_sizes, key_sizes = sizes_of(query) or [], sizes_of(key) or []
    several_rows = rows_of(query_sizes) > 1
    if several_rows and _is_boolean(mask) and sizes_of(mask) == [query_sizes[2], key_sizes[2]]:
        return mask
    for _ in range(4 - len(sizes_of(mask) or [])):
        type_ = type_with_sizes(mask.type, [1, *(sizes_of(mask) or [])])
        mask = create(rewriter, "aten.unsqueeze", [mask, 0], [type_], root).results[0]
    sizes = sizes_of(mask) or []
    batch = sizes[0] if several_rows or heads != 1 else query_sizes[0]
    wanted = [batch, heads, query_sizes[2], key_sizes[2]]
    if wanted == sizes:
        return mask
    sources = [(query, 0), (query, 1), (query, 2), (key, 2)]
    target: list[Any] = [
        -1 if have == want else read_size(rewriter, source, dim, root)
        for have, want, (source, dim) in zip(sizes, wanted, sources, strict=True)
    ]
    type_ = type_with_sizes(mask.type, wanted)
    return create(rewriter, "aten.expand", [mask, target], [type_], root).results[0]
