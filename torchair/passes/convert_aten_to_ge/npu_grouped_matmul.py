"""torch_npu's matrix products of groups."""

from __future__ import annotations

from typing import Any, cast

from xdsl.ir import Attribute, SSAValue

from torchair.dialects.ge import builder as ge
from torchair.ir import element_types, interned
from torchair.passes.convert_aten_to_ge.npu_calls import build, listed
from torchair.passes.convert_aten_to_ge.npu_matmul import four_bits
from torchair.passes.convert_aten_to_ge.recipes import untransposed
from torchair.passes.convert_aten_to_ge.registry import converts

_RESULTS = {"int8": -1, "float16": 0, "bfloat16": 1, "int32": 2}
"""``GroupedMatmul.dtype`` of int8 inputs."""
_NO_GROUPS, _ROWS = -1, 0


@converts(listed("npu_grouped_matmul"))
def npu_grouped_matmul(out: Any, **named: Any) -> Any:
    group_type = named["group_type"]
    kind = _NO_GROUPS if group_type is None else group_type
    return _grouped("npu_grouped_matmul", named, out, kind)


@converts(listed("npu_grouped_matmul.List"))
def npu_grouped_matmul_list(out: Any, **named: Any) -> Any:
    group_type = named["group_type"]
    if group_type is None:
        group_type = _ROWS if named["group_list"] else _NO_GROUPS
    return _grouped("npu_grouped_matmul.List", named, out, group_type)


def _untransposed(weight: list[SSAValue]) -> tuple[list[SSAValue], bool]:
    """The weights before a transpose that all of them have, and whether they have."""
    pairs = [untransposed(matrix) for matrix in weight]
    if not all(is_turned for _, is_turned in pairs):
        return weight, False
    return [matrix for matrix, _ in pairs], True


def _grouped(name: str, named: dict[str, Any], out: Any, group_type: int) -> Any:
    x, weight, is_turned = named["x"], [four_bits(w) for w in named["weight"]], False
    if not named["antiquant_scale"]:
        weight, is_turned = _untransposed(weight)
    types = cast("list[Attribute]", out if isinstance(out, list) else [out])
    result = element_types.to_name(interned.element_type(types[0]))
    is_quantised = ge.element(x[0]) == interned.i8
    groups = named["group_list"]
    per_token = named["per_token_scale"] or [None]
    return build(
        name,
        "GroupedMatmul",
        named,
        types,
        ignored=("output_dtype",),
        weight=weight,
        transpose_weight=is_turned,
        group_list=None if groups == [] else groups,
        per_token_scale=per_token[0],
        group_type=group_type,
        dtype=_RESULTS[result] if is_quantised else 0,
    )
