"""PyTorch's matrix products of groups, whose sizes are data: GE's ``GroupedMatmul``."""

from __future__ import annotations

from typing import Any

from xdsl.ir import Attribute, Operation, SSAValue

from torchair.dialects.ge import builder as ge
from torchair.ir import interned
from torchair.passes.convert_aten_to_ge.geometry import rank, shape
from torchair.passes.convert_aten_to_ge.matmul import bmm
from torchair.passes.convert_aten_to_ge.npu_matmul import turned
from torchair.passes.convert_aten_to_ge.recipes import like, require, untransposed
from torchair.passes.convert_aten_to_ge.registry import converts

_ROWS, _INNER = 0, 2
"""``group_type``: groups of rows of x, groups of what is summed over."""
_ONE_RESULT = 3
"""``split_item``: all groups in one tensor."""


@converts(
    "_grouped_mm(Tensor self, Tensor mat2, Tensor? offs=None, Tensor? bias=None,"
    " ScalarType? out_dtype=None) -> Tensor"
)
def grouped_mm(self: Any, mat2: Any, offs: Any, out_dtype: Any, out: Any) -> Any:
    """Groups are rows of ``self``, what is summed over, columns of ``mat2``, or matrices, as the
    ranks say; ``offs`` is where each group ends."""
    del out_dtype  # the result type says it
    require("GroupedMatmul", self, mat2)
    if rank(self) == rank(mat2) == 3:
        return bmm(self, mat2, out)
    ends = ge.cast_to(_before_narrowing(offs), interned.i64)
    if rank(self) == 2:
        return _grouped(self, mat2, ends, _ROWS if rank(mat2) == 3 else _INNER, out)
    rows = _grouped(turned(mat2), turned(self), ends, _ROWS, like(out, shape(out)[::-1]))
    return turned(rows)


def _before_narrowing(ends: SSAValue) -> SSAValue:
    """The int64 that were cast to the int32 which PyTorch wants."""
    cast = ends.owner
    if isinstance(cast, Operation) and cast.name == "ge.Cast":
        source = cast.operands[0]
        return source if ge.element(source) == interned.i64 else ends
    return ends


def _grouped(x: SSAValue, weight: SSAValue, ends: SSAValue, kind: int, out: Attribute) -> Any:
    weight, is_turned = untransposed(weight)
    [result] = ge.call(
        "GroupedMatmul",
        [x],
        [weight],
        group_list=ends,
        split_item=_ONE_RESULT,
        group_type=kind,
        transpose_weight=is_turned,
        out=(out,),
    )
    return result
