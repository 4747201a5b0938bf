"""Experts whose matrices are gathered for every token: grouped products of sorted tokens."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from xdsl.ir import SSAValue

from torchair.ir.calls import CallOp
from torchair.ir.graph_pattern import (
    ANY,
    Hole,
    Match,
    call,
    erase_unused,
    match_root,
    rewrites,
    value,
)
from torchair.ir.rewrite import Pattern, Rewriter, defining_op
from torchair.passes.canonicalize.casts import CASTS
from torchair.passes.fuse_moe_operators import Routing, combine, grouped_product, route
from torchair.passes.fusion_forms import (
    FLOATS,
    SPLITS,
    VIEWS,
    Size,
    cast_of,
    create,
    element_of,
    mul,
    sizes_of,
    type_with_sizes,
)
from torchair.passes.rewrite_pass import PatternPass

_LAST = Hole("", True, lambda dim: dim in (-1, 1))
_GATHERED = call("aten.index.Tensor", value("matrices"), [value("flat")])
_OF_COLUMNS = call(
    "aten.squeeze.dim",
    call("aten.bmm", _GATHERED, call("aten.unsqueeze", value("columns"), -1)),
    -1,
)
_OF_ROWS = call(
    "aten.squeeze.dim", call("aten.bmm", call("aten.unsqueeze", value("rows"), 1), _GATHERED), 1
)
_PRODUCTS = (_OF_COLUMNS, _OF_ROWS)
"""A matrix per row: of ``[N, K]``, or of ``[K, N]``."""
_EXPANDED = call("aten.expand", call("aten.unsqueeze", value("x"), 1), ANY)
_REPEATED = call(VIEWS, call("aten.clone", _EXPANDED, memory_format=ANY), ANY)
_WEIGHTS = call("aten.unsqueeze", call(VIEWS, value("weights"), ANY), _LAST)
_TOTAL = call("aten.sum.dim_IntList", call(VIEWS, mul(value("last"), _WEIGHTS), ANY), [1])
_CHOICES = ("aten.topk", "npu.npu_moe_gating_top_k_softmax_v2", "npu.npu_moe_gating_top_k")
_ROW_BY_ROW = (
    *(f"aten.{name}" for name in ("silu", "gelu", "relu", "sigmoid", "tanh", "neg", "clamp")),
    *(f"aten.{name}.{kind}" for name in ("mul", "add", "div") for kind in ("Tensor", "Scalar")),
    *SPLITS,
    *CASTS,
    "aten.slice.Tensor",
)
"""What may stand between the products: it treats each row alike, and alone."""


@dataclass(slots=True)
class _Experts:
    """What a token's experts compute, found backwards from their last product.

    Args:
        total: the sum over the choices of each token.
        products: matched products, of which the first reads the tokens.
        repeated: the token for each choice.
        calls: all operations, their places included.
    """

    total: Match
    products: list[Match] = field(default_factory=list[Match])
    repeated: list[Match] = field(default_factory=list[Match])
    calls: dict[CallOp, bool] = field(default_factory=dict[CallOp, bool])

    @staticmethod
    def of(total: Match) -> _Experts | None:
        """None when anything but experts is found."""
        found = _Experts(total, calls=dict(total.calls))
        pending, seen = [total["last"]], set[SSAValue]()
        while pending:
            tensor = pending.pop()
            if tensor in seen:
                continue
            seen.add(tensor)
            before = found._before(tensor)
            if before is None:
                return None
            pending += before
        return found if found._is_closed() and found._is_of_tokens() else None

    def _before(self, tensor: SSAValue) -> list[SSAValue] | None:
        """The rows that rows are computed from; None if they are not computed row by row."""
        op = tensor.owner
        if not isinstance(op, CallOp) or op.attributes != self.total.root.attributes:
            return None
        product = match_root(_PRODUCTS, op, None)
        if product is not None:
            self.products.append(product)
            self.calls |= product.calls
            return [_rows_of(product)]
        repeated = match_root((_REPEATED,), op, None)
        if repeated is not None:
            self.repeated.append(repeated)
            self.calls |= repeated.calls
            return []
        self.calls[op] = False
        return _inputs_of(op, self.rows) if op.name in _ROW_BY_ROW else None

    @property
    def rows(self) -> Size:
        """Number of rows: one per choice of each token."""
        return (sizes_of(self.total["last"]) or [""])[0]

    def _is_closed(self) -> bool:
        """Whether nobody else sees the rows, whose order changes."""
        inner = (op for op in self.calls if op is not self.total.root)
        return all(
            use.operation in self.calls for op in inner for v in op.results for use in v.uses
        )

    def _is_of_tokens(self) -> bool:
        if not self.products or len(self.repeated) != 1:
            return False
        flat = self.products[0]["flat"]
        view, matrices = defining_op(flat, *VIEWS), sizes_of(self.products[0]["matrices"])
        ids = None if view is None else sizes_of(view.operands[0])
        x, last, root = self.repeated[0]["x"], self.total["last"], self.total.root.results[0]
        tokens, width = sizes_of(x), sizes_of(last)
        if view is None or ids is None or matrices is None or tokens is None or width is None:
            return False
        return (
            isinstance(matrices[0], int)
            and all(_is_like(product, flat, matrices[0]) for product in self.products)
            and _is_choice(view.operands[0])
            and sizes_of(flat) == [self.rows]
            and sizes_of(self.total["weights"]) == ids
            and tokens[:1] == ids[:1]
            and len(tokens) == len(ids) == 2
            and sizes_of(root) == [ids[0], width[-1]]
            and element_of(root) == element_of(last) in FLOATS
        )


def _is_choice(ids: SSAValue) -> bool:
    """Whether numbers of experts come from a choice, so that none is negative."""
    cast = defining_op(ids, *CASTS)
    return defining_op(ids if cast is None else cast.operands[0], *_CHOICES) is not None


def _is_like(product: Match, flat: SSAValue, experts: int) -> bool:
    sizes = sizes_of(product["matrices"])
    return product["flat"] is flat and sizes is not None and len(sizes) == 3 and sizes[0] == experts


def _rows_of(product: Match) -> SSAValue:
    return product["columns"] if product.get("rows") is None else product["rows"]


def _inputs_of(op: CallOp, rows: Size) -> list[SSAValue] | None:
    """The operands that have rows; None if rows are mixed or read as anything but rows."""
    found: list[SSAValue] = []
    for operand in op.operands:
        sizes = sizes_of(operand)
        if sizes is not None and len(sizes) == 2 and sizes[0] == rows:
            found.append(operand)
        elif sizes is None or len(sizes) > 1:
            return None
    is_along_rows = op.name in (*SPLITS, "aten.slice.Tensor") and op.argument("dim") not in (1, -1)
    return None if is_along_rows or not found else found


@rewrites(cast_of(_TOTAL), _TOTAL, where=lambda match: _Experts.of(match) is not None)
def fuse_experts(match: Match, rewriter: Rewriter) -> None:
    experts = _Experts.of(match)
    assert experts is not None, "the guard has found them"
    repeated = experts.repeated[0].root.results[0]
    readers = [p.root for p in experts.products if _rows_of(p) is repeated]
    routing = _routing(experts, _first(readers), rewriter)
    made: dict[SSAValue, SSAValue] = {repeated: routing.rows}
    for product in reversed(experts.products):
        rows, last = _rows_of(product), product.root.results[0]
        new = _grouped(product, _replaced(rows, made), routing, rewriter)
        made[last] = new
        rewriter.replace_value(last, new)
    combine(_replaced(match["last"], made), match["weights"], routing.places, match.root, rewriter)
    erase_unused(experts.calls, rewriter)


def _replaced(rows: SSAValue, made: dict[SSAValue, SSAValue]) -> SSAValue:
    return made.get(rows, rows)


def _first(calls: list[CallOp]) -> CallOp:
    first, *others = calls
    for call_ in others:
        first = call_ if call_.is_before_in_block(first) else first
    return first


def _routing(experts: _Experts, before: CallOp, rewriter: Rewriter) -> Routing:
    product = experts.products[0]
    view = defining_op(product["flat"], *VIEWS)
    count = (sizes_of(product["matrices"]) or [])[0]
    assert view is not None and isinstance(count, int), "the guard says so"
    x = experts.repeated[0]["x"]
    return route(x, view.operands[0], count, experts.rows, before, rewriter)


def _grouped(product: Match, rows: SSAValue, routing: Routing, rewriter: Rewriter) -> SSAValue:
    matrices, before = product["matrices"], product.root
    if product.get("rows") is None:
        experts, columns, inner = sizes_of(matrices) or []
        type_ = type_with_sizes(matrices.type, [experts, inner, columns])
        values = [matrices, -2, -1]
        matrices = create(rewriter, "aten.transpose.int", values, [type_], before).results[0]
    return grouped_product(rows, matrices, routing.ends, before, rewriter)


@dataclass(frozen=True)
class FuseMoeGatherPass(PatternPass):
    """Sorts tokens by expert instead of gathering a matrix for each.

        %1 = aten.index.Tensor(%experts, [%ids])      %r, %i, %ends, %_ =
        %2 = aten.bmm(%1, %rows)                        npu.npu_moe_init_routing_v2(%x, %ids)
        ...                                      ->   %2 = npu.npu_grouped_matmul([%r], [%experts],
        %y = sum of each token's rows,                       group_list = %ends)
             times %weights                           ...
                                                      %y = npu.npu_moe_finalize_routing(%rows, ...)

    Numeric class: approximates (sums of products are taken in another order, weights are rounded to
    the rows' type). Shown by: test/lit/passes/fuse-moe-gather.mlir
    """

    name = "fuse-moe-gather"
    numeric_class: ClassVar[str] = "approximates"
    patterns: ClassVar[tuple[Pattern, ...]] = (fuse_experts,)
