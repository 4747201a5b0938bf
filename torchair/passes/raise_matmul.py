"""Products of stacks of matrices keep their rank: the views around ``bmm`` go."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from xdsl.ir import SSAValue

from torchair.ir.graph_pattern import Hole, Match, call, rewrites, value
from torchair.ir.rewrite import Pattern, Rewriter, defining_op
from torchair.passes.fusion_forms import VIEWS, Size, create, sizes_of, type_with_sizes
from torchair.passes.rewrite_pass import PatternPass

_PRODUCT = call(
    VIEWS,
    call(
        "aten.bmm", call(VIEWS, value("x"), Hole("x_size")), call(VIEWS, value("y"), Hole("y_size"))
    ),
    Hole("size"),
)


def _stacks(match: Match) -> tuple[list[Size], list[Size], list[Size]] | None:
    """Sizes of both factors and of the product at the product's rank, as types say them."""
    bmm = defining_op(match.root.operands[0], "aten.bmm")
    assert bmm is not None, "the pattern says so"
    product = sizes_of(match.root.results[0])
    x_rows, y_rows = (sizes_of(factor) for factor in bmm.operands)
    if product is None or x_rows is None or y_rows is None or len(product) < 4:
        return None
    batch, (rows, columns) = product[:-2], product[-2:]
    if (rows, columns) != (x_rows[1], y_rows[2]):
        return None
    return [*batch, *x_rows[1:]], [*batch, *y_rows[1:]], product


def _keeps_one_factor(match: Match) -> bool:
    """Whether a factor already has the product's rank: else nothing is gained."""
    stacks = _stacks(match)
    if stacks is None:
        return False
    return sizes_of(match["x"]) == stacks[0] or sizes_of(match["y"]) == stacks[1]


@rewrites(_PRODUCT, where=_keeps_one_factor)
def raise_bmm(match: Match, rewriter: Rewriter) -> None:
    stacks = _stacks(match)
    assert stacks is not None
    batch = match["size"][:-2]
    factors: list[SSAValue] = []
    for name, sizes in (("x", stacks[0]), ("y", stacks[1])):
        factor = match[name]
        if sizes_of(factor) != sizes:
            type_ = type_with_sizes(factor.type, sizes)
            values: list[Any] = [factor, [*batch, *match[f"{name}_size"][-2:]]]
            factor = create(rewriter, "aten.view", values, [type_], match.root).results[0]
        factors.append(factor)
    types = [match.root.results[0].type]
    product = create(rewriter, "aten.matmul", factors, types, match.root)
    rewriter.replace(match.root, product.results)


@dataclass(frozen=True)
class RaiseMatmulPass(PatternPass):
    """Turns ``bmm`` between views into a product of stacks of any rank.

        %1 = aten.view(%x, size = [8, 6, 16])
        %2 = aten.view(%y, size = [8, 16, 6])
        %3 = aten.bmm(%1, %2)                         ->      %z = aten.matmul(%x, %y)
        %z = aten.view(%3, size = [2, 4, 6, 6])

    Numeric class: exact. Shown by: test/lit/passes/raise-matmul.mlir
    """

    name = "raise-matmul"
    numeric_class: ClassVar[str] = "exact"
    patterns: ClassVar[tuple[Pattern, ...]] = (raise_bmm,)
