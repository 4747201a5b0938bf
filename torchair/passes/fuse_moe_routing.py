"""Rows sorted by expert for grouped products, and brought back: the routing around the experts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from xdsl.ir import SSAValue

from torchair.ir.calls import CallOp
from torchair.ir.graph_pattern import (
    ANY,
    Call,
    Hole,
    Match,
    call,
    erase_unused,
    match_outputs,
    result,
    shared,
    static,
    value,
)
from torchair.ir.rewrite import Pattern, Rewriter, defining_op, pattern
from torchair.passes.canonicalize.casts import CASTS
from torchair.passes.fuse_moe_operators import cast_to, combine, route
from torchair.passes.fusion_forms import (
    FLOATS,
    VIEWS,
    cast_of,
    element_of,
    mul,
    sizes_of,
)
from torchair.passes.rewrite_pass import PatternPass

_LAST = Hole("", True, lambda dim: dim in (-1, 1))
_FLAT_IDS = shared(call(VIEWS, value("ids"), ANY))
_SORT = shared(call("aten.sort", _FLAT_IDS, ANY))
_STABLE_SORT = shared(call("aten.sort.stable", _FLAT_IDS, stable=ANY, dim=ANY))


def _created(name: str, *arguments: Any) -> Call:
    """A call whose result's type says all about its dtype."""
    names = ("dtype", "layout", "device", "pin_memory", "memory_format")
    return call(name, *arguments, **dict.fromkeys(names, ANY))


def _counts(experts: Call) -> Call:
    """How often each number occurs, as ``torch.histc`` is decomposed."""
    wide = cast_of(experts)
    low, high = _created("aten.new_full", wide, [], 0), _created("aten.new_full", wide, [], _TOP)
    inside = call(
        "aten.bitwise_and.Tensor",
        call("aten.ge.Tensor", wide, low),
        call("aten.le.Tensor", wide, high),
    )
    part = call(
        "aten.div.Tensor", call("aten.sub.Tensor", wide, low), call("aten.sub.Tensor", high, low)
    )
    place = call("aten.clamp", call("aten.floor", mul(part, static("experts"))), 0, _TOP)
    where = call("aten.where.self", inside, place, _created("aten.zeros_like", place))
    zeros = _created("aten.new_zeros", wide, ANY)
    return call("aten.scatter_add", zeros, 0, cast_of(where), cast_of(inside))


_TOP = static("top")
"""The largest number of an expert."""


def _outputs(sort: Call) -> tuple[Call, Call, Call]:
    """What is left of the experts' rows, where each expert's rows end, and those rows."""
    order = result(sort, 1)
    weights = call("aten.index.Tensor", call(VIEWS, value("weights"), ANY), [order])
    weighted = mul(value("rows"), call("aten.unsqueeze", weights, _LAST))
    places = _created("aten.arange", Hole("count"))
    inverse = call("aten.index_put", _created("aten.empty_like", order), [order], places)
    back = call(VIEWS, call("aten.index.Tensor", weighted, [inverse]), ANY)
    total = call("aten.sum.dim_IntList", back, [1])
    ends = shared(call("aten.cumsum", _counts(sort), 0, dtype=ANY))
    tokens = call("aten.floor_divide", order, static("choices"))
    return total, ends, shared(call("aten.index.Tensor", value("x"), [tokens]))


_FORMS = tuple((sort, *_outputs(sort)) for sort in (_SORT, _STABLE_SORT))
_TOTAL = "aten.sum.dim_IntList"


def _is_routing(match: Match, sort: Call) -> bool:
    """Whether shapes are those of tokens that go to several experts each, and only the routing
    reads their order."""
    ids, rows, x = (sizes_of(match[name]) for name in ("ids", "rows", "x"))
    order, weights, root = match.operation(sort), match["weights"], match.root.results[0]
    if ids is None or rows is None or x is None or order is None:
        return False
    return (
        len(ids) == len(x) == len(rows) == 2
        and x[0] == ids[0]
        and sizes_of(weights) == ids
        and ids[1] == match["choices"]
        and match["top"] == match["experts"] - 1
        and sizes_of(root) == [ids[0], rows[1]]
        and all(_is_flat(op) for op in match.calls if {match["ids"], weights} & {*op.operands})
        and element_of(match["x"]) in FLOATS
        and element_of(root) == element_of(match["rows"]) in FLOATS
        and all(use.operation in match.calls for use in order.results[1].uses)
    )


def _is_flat(view: CallOp) -> bool:
    return len(sizes_of(view.results[0]) or []) == 1


@pattern(*CASTS, _TOTAL)
def fuse_routing(op: CallOp, rewriter: Rewriter) -> None:
    is_cast = op.name != _TOTAL
    if is_cast and defining_op(op.operands[0], _TOTAL) is None:
        return
    for sort, total, ends, picked in _FORMS:
        root = cast_of(total) if is_cast else total
        match = Match(op)
        if not match_outputs(
            (root, ends, picked), match, lambda found, sort=sort: _is_routing(found, sort)
        ):
            continue
        fetch, counted = match.operation(picked), match.operation(ends)
        assert fetch is not None and counted is not None, "they are outputs of the pattern"
        if fetch.is_before_in_block(counted):
            _fuse(match, fetch, counted, rewriter)
        return


def _fuse(match: Match, fetch: CallOp, counted: CallOp, rewriter: Rewriter) -> None:
    count = (sizes_of(fetch.results[0]) or [])[0]
    routing = route(match["x"], match["ids"], match["experts"], count, fetch, rewriter)
    rewriter.replace(fetch, [routing.rows])
    _replace_ends(counted, routing.ends, rewriter)
    combine(match["rows"], match["weights"], routing.places, match.root, rewriter)
    erase_unused(match.calls, rewriter)


def _replace_ends(counted: CallOp, tokens: SSAValue, rewriter: Rewriter) -> None:
    ends = counted.results[0]
    for use in list(ends.uses):
        user = use.operation
        if user.name in CASTS and user.results[0].type == tokens.type:
            rewriter.replace(user, [tokens])
    rewriter.replace(counted, [cast_to(tokens, element_of(ends), counted, rewriter)])


@dataclass(frozen=True)
class FuseMoeRoutingPass(PatternPass):
    """Recognises the routing around grouped products: rows sorted by expert, and brought back.

        %s, %p = aten.sort(%ids)                       %r, %i, %ends, %_ =
        %r = aten.index.Tensor(%x, [%p // k])            npu.npu_moe_init_routing_v2(%x, %ids)
        %ends = aten.cumsum(counts of %s)          ->    ...
        ...                                            %y = npu.npu_moe_finalize_routing(
        %y = sum of the k rows of each token,              %rows, scales = %weights,
             times %weights                                expanded_src_to_dst_row = %i)

    Numeric class: approximates (products are not rounded before they are added; weights are rounded
    to the rows' type). Shown by: test/lit/passes/fuse-moe-routing.mlir
    """

    name = "fuse-moe-routing"
    numeric_class: ClassVar[str] = "approximates"
    patterns: ClassVar[tuple[Pattern, ...]] = (fuse_routing,)
