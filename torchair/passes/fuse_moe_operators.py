"""The operators that sort tokens by expert and bring them back, built for a fusion."""

from __future__ import annotations

from dataclasses import dataclass

from xdsl.ir import Attribute, SSAValue

from torchair.ir import interned
from torchair.ir.calls import CallOp
from torchair.ir.rewrite import Rewriter, defining_op
from torchair.passes.canonicalize.casts import CASTS
from torchair.passes.fusion_forms import Size, create, element_of, sizes_of, type_with_sizes

_BY_TOKEN = 2
"""``drop_pad_mode``: nothing is dropped, and the index lists the choices of each token together."""
_ENDS = 0
"""``expert_tokens_num_type``: where the rows of each expert end."""
_ONE_RESULT, _ROWS = 3, 0
"""``split_item`` and ``group_type`` of a grouped product of rows."""


@dataclass(frozen=True, slots=True)
class Routing:
    """Tokens sorted by expert.

    Args:
        rows: the row of ``x`` for each choice of an expert, ``[tokens * k, H]``.
        places: where the choices of each token went, ``[tokens * k]`` int32.
        ends: where the rows of each expert end, ``[experts]`` int64.
    """

    rows: SSAValue
    places: SSAValue
    ends: SSAValue


def route(
    x: SSAValue, ids: SSAValue, experts: int, count: Size, before: CallOp, rewriter: Rewriter
) -> Routing:
    """Sort the tokens ``x[tokens, H]`` by the numbers of experts ``ids[tokens, k]``; ``count`` is
    the size ``tokens * k``."""
    width = (sizes_of(x) or [])[1:]
    types: list[Attribute] = [
        type_with_sizes(x.type, [count, *width]),
        type_with_sizes(interned.tensor([], interned.i32), [count]),
        interned.tensor([experts], interned.i64),
        type_with_sizes(interned.tensor([], interned.f32), [count]),
    ]
    values = [x, _narrow(ids), None, None, -1, -1, experts, 0, _ENDS, True, -1, [0, experts]]
    fused = create(rewriter, "npu.npu_moe_init_routing_v2", values, types, before)
    return Routing(*fused.results[:3])


def combine(
    rows: SSAValue, weights: SSAValue, routing: SSAValue, root: CallOp, rewriter: Rewriter
) -> None:
    """Replace a call by the sum of each token's rows times ``weights[tokens, k]``; ``routing`` is
    where the choices went."""
    scales = cast_to(weights, element_of(rows), root, rewriter)
    choices = (sizes_of(weights) or [])[-1]
    values = [rows, None, None, None, scales, routing, None, _BY_TOKEN, choices]
    types = [root.results[0].type]
    fused = create(rewriter, "npu.npu_moe_finalize_routing", values, types, root)
    rewriter.replace(root, fused.results)


def grouped_product(
    rows: SSAValue, weight: SSAValue, ends: SSAValue, before: CallOp, rewriter: Rewriter
) -> SSAValue:
    """Rows of each expert times its matrix of ``weight[experts, K, N]``."""
    sizes = [(sizes_of(rows) or [])[0], (sizes_of(weight) or [])[2]]
    values = [[rows], [weight], *[None] * 6, ends, None, None, None, _ONE_RESULT, _ROWS]
    types = [type_with_sizes(rows.type, sizes)]
    return create(rewriter, "npu.npu_grouped_matmul", values, types, before).results[0]


def cast_to(found: SSAValue, element: Attribute, before: CallOp, rewriter: Rewriter) -> SSAValue:
    """A tensor of known sizes in another element type."""
    if element_of(found) == element:
        return found
    type_ = type_with_sizes(interned.tensor([], element), sizes_of(found) or [])
    name = "prims.convert_element_type"
    return create(rewriter, name, [found, element], [type_], before).results[0]


def _narrow(ids: SSAValue) -> SSAValue:
    """Numbers of experts before they were widened."""
    cast = defining_op(ids, *CASTS)
    is_wide = cast is not None and element_of(cast.operands[0]) == interned.i32
    return cast.operands[0] if cast is not None and is_wide else ids
