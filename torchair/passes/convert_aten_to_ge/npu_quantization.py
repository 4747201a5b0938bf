"""torch_npu's quantisation to int8, int4 and 8-bit floats, and back."""

from __future__ import annotations

from typing import Any

from torchair.dialects.ge import builder as ge
from torchair.dialects.ge import dtypes
from torchair.errors import ConversionError
from torchair.ir import element_types, interned
from torchair.passes.convert_aten_to_ge.geometry import axis as from_front
from torchair.passes.convert_aten_to_ge.geometry import rank
from torchair.passes.convert_aten_to_ge.npu_packing import (
    hidden,
    number_type,
    unpacked,
    visible,
)
from torchair.passes.convert_aten_to_ge.recipes import element_name, require, unsqueeze
from torchair.passes.convert_aten_to_ge.registry import converts


@converts(
    "npu::npu_quantize(Tensor input, Tensor scales, Tensor? zero_points, int dtype, int axis=1,"
    " bool div_mode=True) -> Tensor"
)
def npu_quantize(
    input: Any, scales: Any, zero_points: Any, dtype: Any, axis: Any, div_mode: Any, out: Any
) -> Any:
    name, number = number_type("npu_quantize", dtype)
    if div_mode:
        return _divided(input, scales, zero_points, axis, out)
    y = ge.AscendQuantV2(
        input,
        scales,
        zero_points,
        dst_type=number,
        axis=min(axis, -1),
        out=hidden(out, name),
    )
    return visible(y, out)


def _divided(input: Any, scales: Any, zero_points: Any, axis: Any, out: Any) -> Any:
    """``Quantize`` wants scales that broadcast."""
    others = [d for d in range(rank(input)) if d != from_front(axis, rank(input))]
    points = None if zero_points is None else unsqueeze(zero_points, others)
    name = element_types.to_name(interned.element_type(out))
    spelled = {"int8": "qint8", "uint8": "quint8", "int32": "qint32"}.get(name, name)
    scales = unsqueeze(ge.cast_to(scales, interned.f32), others)
    return ge.Quantize(input, scales, points, dtype=f"torch.{spelled}", axis=axis, out=out)


@converts(
    "npu::npu_anti_quant(Tensor x, Tensor scale, *, Tensor? offset=None, int? dst_dtype=None,"
    " int? src_dtype=None) -> Tensor"
)
def npu_anti_quant(
    x: Any, scale: Any, offset: Any, dst_dtype: Any, src_dtype: Any, out: Any
) -> Any:
    del src_dtype  # what x holds follows from its type
    held = {"int32": "int4", "uint8": "hifloat8"}.get(element_name(x), element_name(x))
    _, number = number_type("npu_anti_quant", dst_dtype, "float16")
    return ge.AscendAntiQuantV2(unpacked(x, held), scale, offset, dst_type=number, out=out)


@converts(
    "npu::npu_dynamic_quant(Tensor input, *, Tensor? smooth_scales=None, Tensor? group_index=None,"
    ' int? dst_type=None, str quant_mode="pertoken", float dst_type_max=0.0) -> (Tensor, Tensor)'
)
def npu_dynamic_quant(
    input: Any,
    smooth_scales: Any,
    group_index: Any,
    dst_type: Any,
    quant_mode: Any,
    dst_type_max: Any,
    out: Any,
) -> Any:
    require("DynamicQuant", input)
    name, number = number_type("npu_dynamic_quant", dst_type)
    types = (hidden(out[0], name), out[1])
    if quant_mode == "pertoken" and dst_type_max == 0:
        y, scale = ge.DynamicQuant(input, smooth_scales, group_index, dst_type=number, out=types)
        return visible(y, out[0]), scale
    y, scale, _ = ge.DynamicQuantV2(
        input,
        smooth_scales,
        group_index,
        dst_type=number,
        is_symmetrical=True,
        quant_mode=quant_mode,
        dst_type_max=dst_type_max,
        out=(*types, out[1]),
    )
    return visible(y, out[0]), scale


@converts(
    "npu::npu_dynamic_quant_asymmetric(Tensor input, *, Tensor? smooth_scales=None,"
    ' Tensor? group_index=None, int? dst_type=None, str quant_mode="pertoken",'
    " float dst_type_max=0.0) -> (Tensor, Tensor, Tensor)"
)
def npu_dynamic_quant_asymmetric(
    input: Any, smooth_scales: Any, group_index: Any, dst_type: Any, out: Any, **modes: Any
) -> Any:
    require("DynamicQuantV2", input)
    name, number = number_type("npu_dynamic_quant_asymmetric", dst_type)
    types = (hidden(out[0], name), out[1], out[2])
    y, scale, offset = ge.DynamicQuantV2(
        input, smooth_scales, group_index, dst_type=number, out=types, **modes
    )
    return visible(y, out[0]), scale, offset


@converts(
    "npu::npu_group_quant(Tensor x, Tensor scale, Tensor group_index, *, Tensor? offset=None,"
    " ScalarType? dst_dtype=None) -> Tensor"
)
def npu_group_quant(
    x: Any, scale: Any, group_index: Any, offset: Any, dst_dtype: Any, out: Any
) -> Any:
    del dst_dtype  # the result type says it
    name = "int4" if element_types.to_name(interned.element_type(out)) == "int32" else "int8"
    number = dtypes.BY_NAME[name].ge
    y = ge.GroupQuant(x, scale, group_index, offset, dst_type=number, out=hidden(out, name))
    return visible(y, out)


@converts(
    "npu::npu_trans_quant_param(Tensor scale, Tensor? offset=None, int? round_mode=0) -> Tensor"
)
def npu_trans_quant_param(scale: Any, offset: Any, round_mode: Any, out: Any) -> Any:
    return ge.TransQuantParamV2(scale, offset, round_mode=round_mode or 0, out=out)


@converts(
    "npu::npu_dequant_bias(Tensor x, Tensor weight_scale, Tensor? activation_scale, Tensor? bias,"
    " *, ScalarType? output_dtype=None) -> Tensor"
)
def npu_dequant_bias(
    x: Any, weight_scale: Any, activation_scale: Any, bias: Any, output_dtype: Any, out: Any
) -> Any:
    del output_dtype  # the result type says it
    number = dtypes.BY_NAME[element_types.to_name(interned.element_type(out))].ge
    return ge.DequantBias(x, weight_scale, activation_scale, bias, output_dtype=number, out=out)


@converts(
    'npu::npu_quant_max(Tensor x, Tensor scale, *, str round_mode="rint", int dst_dtype=291,'
    " Tensor? group_list=None) -> (Tensor, Tensor)"
)
def npu_quant_max(
    x: Any, scale: Any, round_mode: Any, dst_dtype: Any, group_list: Any, out: Any
) -> Any:
    name, number = number_type("npu_quant_max", dst_dtype)
    types = (hidden(out[0], name), out[1])
    y, amax = ge.QuantMax(x, scale, group_list, round_mode=round_mode, dst_type=number, out=types)
    return visible(y, out[0]), amax


@converts(
    "npu::npu_rotate_quant(Tensor x, Tensor rotation, *, Tensor? alpha=None,"
    ' int? dst_dtype=None, int? axis=-1, str? round_mode="rint", int? scale_alg=0,'
    " float? dst_type_max=0.0, bool? transpose_y=False) -> (Tensor, Tensor)"
)
def npu_rotate_quant(x: Any, rotation: Any, alpha: Any, dst_dtype: Any, axis: Any, out: Any) -> Any:
    name, number = number_type("npu_rotate_quant", dst_dtype)
    if name not in ("int8", "int4") or rank(x) != 2 or axis not in (-1, 1):
        raise ConversionError(
            "npu_rotate_quant is converted for int8 and int4, two dimensions and the last axis",
            found=f"{name}, {rank(x)} dimensions, axis {axis}",
        )
    types = (hidden(out[0], name), out[1])
    y, scale = ge.RotateQuant(x, rotation, alpha, y_dtype=number, out=types)
    return visible(y, out[0]), scale


@converts(
    "npu::npu_kronecker_quant(Tensor x, Tensor kronecker_p1, Tensor kronecker_p2,"
    " float? clip_ratio=None, int? dst_dtype=None, float? dst_type_max=None)"
    " -> (Tensor out, Tensor quant_scale)"
)
def npu_kronecker_quant(
    x: Any, kronecker_p1: Any, kronecker_p2: Any, clip_ratio: Any, dst_dtype: Any, out: Any
) -> Any:
    if dst_dtype not in (None, 3):
        raise ConversionError("npu_kronecker_quant is converted for int4 only", found=dst_dtype)
    ratio = 1.0 if clip_ratio is None else clip_ratio
    types = (hidden(out[0], "int4"), out[1])
    y, scale = ge.FlatQuant(x, kronecker_p1, kronecker_p2, clip_ratio=ratio, out=types)
    return visible(y, out[0]), scale


@converts("npu::npu_dtype_cast(Tensor input, int dtype, int? input_dtype=None) -> Tensor")
def npu_dtype_cast(input: Any, dtype: Any, input_dtype: Any, out: Any) -> Any:
    name, _ = number_type("npu_dtype_cast", dtype)
    return _cast(input, input_dtype, name, out)


@converts(
    "npu::npu_dtype_cast_backward(Tensor grad, ScalarType dtype, int? grad_dtype=None,"
    " int? input_dtype=None) -> Tensor"
)
def npu_dtype_cast_backward(
    grad: Any, dtype: Any, grad_dtype: Any, input_dtype: Any, out: Any
) -> Any:
    name = element_types.to_name(dtype)
    if input_dtype is not None:
        name, _ = number_type("npu_dtype_cast_backward", input_dtype)
    return _cast(grad, grad_dtype, name, out)


def _cast(x: Any, held: Any, name: str, out: Any) -> Any:
    """``Cast`` from the type that ``x`` holds to a named one."""
    if held is not None:
        x = unpacked(x, number_type("npu_dtype_cast", held)[0])
    number = dtypes.BY_NAME[name].ge
    return visible(ge.Cast(x, dst_type=number, out=hidden(out, name)), out)


@converts(
    "npu::_npu_dtype_cast(Tensor input, ScalarType dtype) -> Tensor",
)
def plain_dtype_cast(input: Any, dtype: Any, out: Any) -> Any:
    return ge.Cast(input, dst_type=dtypes.BY_NAME[element_types.to_name(dtype)].ge, out=out)


@converts("npu::_npu_dtype_cast_backward(Tensor grad, ScalarType dtype) -> Tensor")
def plain_dtype_cast_backward(grad: Any, dtype: Any, out: Any) -> Any:
    return ge.Cast(grad, dst_type=dtypes.BY_NAME[element_types.to_name(dtype)].ge, out=out)
