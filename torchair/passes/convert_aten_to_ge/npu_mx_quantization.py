"""torch_npu's microscaling (MX) formats."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from xdsl.ir import Attribute, SSAValue

from torchair.dialects.ge import builder as ge
from torchair.passes.convert_aten_to_ge.npu_calls import listed
from torchair.passes.convert_aten_to_ge.npu_packing import hidden, number_type, unpacked, visible
from torchair.passes.convert_aten_to_ge.recipes import element_name
from torchair.passes.convert_aten_to_ge.registry import converts

_SCALE = "float8_e8m0"


def _types(out: Sequence[Attribute], *names: str | None) -> tuple[Attribute, ...]:
    """Types that GE gives results, by element type name (None: as PyTorch sees them)."""
    return tuple(
        type_ if name is None else hidden(type_, name)
        for type_, name in zip(out, names, strict=True)
    )


def _visible(found: Sequence[SSAValue], out: Sequence[Attribute]) -> list[SSAValue]:
    return [visible(value, type_) for value, type_ in zip(found, out, strict=True)]


@converts(listed("npu_dynamic_mx_quant"))
def npu_dynamic_mx_quant(input: Any, dst_type: Any, scale_alg: Any, out: Any, **rest: Any) -> Any:
    name, number = number_type("npu_dynamic_mx_quant", dst_type)
    types = _types(out, name, _SCALE)
    found = ge.DynamicMxQuant(input, dst_type=number, scale_alg=scale_alg or 0, out=types, **rest)
    return _visible(found, out)


@converts(listed("npu_anti_mx_quant"))
def npu_anti_mx_quant(
    x: Any, mxscale: Any, axis: Any, dst_type: Any, src_type: Any, out: Any
) -> Any:
    held = element_name(x)
    if held == "uint8":
        held, _ = number_type("npu_anti_mx_quant", src_type, "float8_e4m3fn")
    _, number = number_type("npu_anti_mx_quant", dst_type, "bfloat16")
    scale = unpacked(mxscale, _SCALE)
    place = -1 if axis is None else axis
    return ge.AntiMxQuant(unpacked(x, held), scale, axis=place, dst_type=number, out=out)


@converts(listed("npu_dynamic_mx_quant_with_dual_axis"))
def npu_dynamic_mx_quant_with_dual_axis(
    input: Any, dst_type: Any, dst_type_max: Any, out: Any, **rest: Any
) -> Any:
    name, number = number_type("npu_dynamic_mx_quant_with_dual_axis", dst_type)
    types = _types(out, name, _SCALE, name, _SCALE)
    largest = dst_type_max or 0.0
    found = ge.DynamicMxQuantWithDualAxis(
        input, dst_type=number, dst_type_max=largest, out=types, **rest
    )
    return _visible(found, out)


@converts(listed("npu_dynamic_block_mx_quant"))
def npu_dynamic_block_mx_quant(input: Any, dst_type: Any, out: Any, **rest: Any) -> Any:
    name, number = number_type("npu_dynamic_block_mx_quant", dst_type)
    types = _types(out, name, _SCALE, _SCALE)
    return _visible(ge.DynamicBlockMxQuant(input, dst_type=number, out=types, **rest), out)


@converts(listed("npu_dynamic_dual_level_mx_quant"))
def npu_dynamic_dual_level_mx_quant(
    input: Any, smooth_scale: Any, round_mode: Any, out: Any
) -> Any:
    types = _types(out, "float4_e2m1", None, _SCALE)
    found = ge.DynamicDualLevelMxQuant(input, smooth_scale, round_mode=round_mode, out=types)
    return _visible(found, out)


@converts(listed("npu_grouped_dynamic_mx_quant"))
def npu_grouped_dynamic_mx_quant(
    x: Any,
    group_index: Any,
    dst_type: Any,
    scale_alg: Any,
    dst_type_max: Any,
    out: Any,
    **rest: Any,
) -> Any:
    name, number = number_type("npu_grouped_dynamic_mx_quant", dst_type)
    found = ge.GroupedDynamicMxQuant(
        x,
        group_index,
        dst_type=number,
        scale_alg=scale_alg or 0,
        dst_type_max=dst_type_max or 0.0,
        out=_types(out, name, _SCALE),
        **rest,
    )
    return _visible(found, out)


@converts(listed("npu_rms_norm_dynamic_mx_quant"))
def npu_rms_norm_dynamic_mx_quant(x: Any, gamma: Any, dst_type: Any, out: Any, **rest: Any) -> Any:
    name, number = number_type("npu_rms_norm_dynamic_mx_quant", dst_type)
    types = _types(out, name, _SCALE, None)
    found = ge.RmsNormDynamicMxQuant(x, gamma, dst_type=number, output_rstd=True, out=types, **rest)
    return _visible(found, out)


@converts(listed("npu_add_rms_norm_dynamic_mx_quant"))
def npu_add_rms_norm_dynamic_mx_quant(
    x1: Any, x2: Any, gamma: Any, dst_type: Any, out: Any, **rest: Any
) -> Any:
    name, number = number_type("npu_add_rms_norm_dynamic_mx_quant", dst_type)
    types = _types(out, name, None, _SCALE, None)
    found = ge.AddRmsNormDynamicMxQuant(
        x1, x2, gamma, dst_type=number, output_rstd=True, out=types, **rest
    )
    return _visible(found, out)
