"""Quantisation to int8, int4 and 8-bit floats, and back."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from torchair.backend_ge.host import narrow_types
from torchair.backend_ge.host.kernels import npu_quantization as kernels
from torchair.backend_ge.host.kernels.registry import torch_dtype
from torchair.dialects.ge import dtypes
from torchair.dialects.ge.npu_types import ge_number, type_name
from torchair.errors import ConversionError
from torchair.frontend.npu_operators.narrow_results import require_default, visible
from torchair.frontend.npu_operators.registry import gradient, implements

_INT8 = 1
"""torch_npu's number of int8."""


@implements("npu_quantize")
def npu_quantize(
    input: Tensor,
    scales: Tensor,
    zero_points: Tensor | None,
    dtype: int,
    axis: int = 1,
    div_mode: bool = True,
) -> Tensor:
    if div_mode:
        name = f"torch.{quantize_type(dtype)}"
        return kernels.quantize(input, scales, zero_points, name, axis)
    number = ge_number(dtype, "npu_quantize")
    axis = min(axis, -1)
    return visible(kernels.ascend_quant_v2(input, scales, zero_points, dst_type=number, axis=axis))


def quantize_type(number: int) -> str:
    """How ``Quantize`` spells the type of a result.

    Raises:
        ConversionError: it cannot write this type.
    """
    name = type_name(number, "npu_quantize")
    spelled = {"int8": "qint8", "uint8": "quint8", "int32": "qint32"}.get(name, name)
    if f"torch.{spelled}" not in kernels.QUANTIZE_TYPES:
        raise ConversionError(
            "npu_quantize cannot divide into this type",
            expected="int8, uint8, int32, float8_e5m2 or float8_e4m3fn",
            found=name,
            hint="pass div_mode=False with the reciprocal scales",
        )
    return spelled


@implements("npu_anti_quant")
def npu_anti_quant(
    x: Tensor,
    scale: Tensor,
    *,
    offset: Tensor | None = None,
    dst_dtype: int | None = None,
    src_dtype: int | None = None,
) -> Tensor:
    if src_dtype is not None:
        _check_source(x, type_name(src_dtype, "npu_anti_quant"))
    if x.dtype is torch.int32:
        x = narrow_types.unfolded(x, narrow_types.INT4)
    number = ge_number(5 if dst_dtype is None else dst_dtype, "npu_anti_quant")
    return kernels.ascend_anti_quant_v2(x, scale, offset, number)


def _check_source(x: Tensor, name: str) -> None:
    """Refuse a source type that the tensor cannot hold."""
    held = {torch.int32: "int4", torch.uint8: "hifloat8"}.get(x.dtype)
    held = held or str(x.dtype).removeprefix("torch.")
    if name != held:
        raise ConversionError("npu_anti_quant: src_dtype is not what x holds", expected=held)


@implements("npu_dynamic_quant")
def npu_dynamic_quant(
    input: Tensor,
    *,
    smooth_scales: Tensor | None = None,
    group_index: Tensor | None = None,
    dst_type: int | None = None,
    quant_mode: str = "pertoken",
    dst_type_max: float = 0.0,
) -> tuple[Tensor, Tensor]:
    require_default("npu_dynamic_quant", dst_type_max=(dst_type_max, 0.0))
    number = ge_number(_INT8 if dst_type is None else dst_type, "npu_dynamic_quant")
    y, scale, _ = kernels.dynamic_quant_v2(
        input, smooth_scales, group_index, number, True, quant_mode
    )
    return visible(y), scale


@implements("npu_dynamic_quant_asymmetric")
def npu_dynamic_quant_asymmetric(
    input: Tensor,
    *,
    smooth_scales: Tensor | None = None,
    group_index: Tensor | None = None,
    dst_type: int | None = None,
    quant_mode: str = "pertoken",
    dst_type_max: float = 0.0,
) -> tuple[Tensor, Tensor, Tensor]:
    require_default("npu_dynamic_quant_asymmetric", dst_type_max=(dst_type_max, 0.0))
    number = ge_number(_INT8 if dst_type is None else dst_type, "npu_dynamic_quant_asymmetric")
    y, scale, offset = kernels.dynamic_quant_v2(
        input, smooth_scales, group_index, number, False, quant_mode
    )
    return visible(y), scale, offset


@implements("npu_group_quant")
def npu_group_quant(
    x: Tensor,
    scale: Tensor,
    group_index: Tensor,
    *,
    offset: Tensor | None = None,
    dst_dtype: torch.dtype | None = None,
) -> Tensor:
    kinds = {None: 2, torch.int8: 2, torch.qint8: 2, torch.quint4x2: 29}
    if dst_dtype not in kinds:
        raise ConversionError(
            "npu_group_quant cannot write this type", expected="qint8, quint4x2", found=dst_dtype
        )
    return visible(kernels.group_quant(x, scale, group_index, offset, kinds[dst_dtype]))


@implements("npu_trans_quant_param")
def npu_trans_quant_param(
    scale: Tensor, offset: Tensor | None = None, round_mode: int | None = 0
) -> Tensor:
    if round_mode not in (None, 0, 1):
        raise ConversionError(
            "npu_trans_quant_param has no such round_mode", expected="0 or 1", found=round_mode
        )
    return kernels.trans_quant_param_v2(scale, offset, round_mode or 0)


@implements("npu_dequant_bias")
def npu_dequant_bias(
    x: Tensor,
    weight_scale: Tensor,
    activation_scale: Tensor | None,
    bias: Tensor | None,
    *,
    output_dtype: torch.dtype | None = None,
) -> Tensor:
    numbers = {None: 1, torch.float16: 1, torch.bfloat16: 27}
    if output_dtype not in numbers:
        raise ConversionError(
            "npu_dequant_bias cannot write this type",
            expected="float16 or bfloat16",
            found=output_dtype,
        )
    number = numbers[output_dtype]
    return kernels.dequant_bias(x, weight_scale, activation_scale, bias, number)


@implements("npu_quant_max")
def npu_quant_max(
    x: Tensor,
    scale: Tensor,
    *,
    round_mode: str = "rint",
    dst_dtype: int = 291,
    group_list: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    number = ge_number(dst_dtype, "npu_quant_max")
    return kernels.quant_max(x, scale, group_list, round_mode, number)


@implements("npu_rotate_quant")
def npu_rotate_quant(
    x: Tensor,
    rotation: Tensor,
    *,
    alpha: Any = None,
    dst_dtype: int | None = None,
    axis: int | None = -1,
    round_mode: str | None = "rint",
    scale_alg: int | None = 0,
    dst_type_max: float | None = 0.0,
    transpose_y: bool | None = False,
) -> tuple[Tensor, Tensor]:
    name = type_name(_INT8 if dst_dtype is None else dst_dtype, "npu_rotate_quant")
    require_default(
        "npu_rotate_quant",
        round_mode=(round_mode, "rint"),
        scale_alg=(scale_alg, 0),
        dst_type_max=(dst_type_max, 0.0),
        transpose_y=(transpose_y, False),
    )
    if name not in ("int8", "int4") or x.dim() != 2 or axis not in (-1, 1):
        raise ConversionError(
            "npu_rotate_quant runs on the host device for int8 and int4, two dimensions and the"
            " last axis only",
            found=f"{name}, {x.dim()} dimensions, axis {axis}",
        )
    y, scale = kernels.rotate_quant(x, rotation, None, 2 if name == "int8" else 29)
    return visible(y), scale


@implements("npu_kronecker_quant")
def npu_kronecker_quant(
    x: Tensor,
    kronecker_p1: Tensor,
    kronecker_p2: Tensor,
    clip_ratio: float | None = None,
    dst_dtype: int | None = None,
    dst_type_max: float | None = None,
) -> tuple[Tensor, Tensor]:
    require_default(
        "npu_kronecker_quant",
        dst_dtype=(3 if dst_dtype is None else dst_dtype, 3),
        dst_type_max=(dst_type_max or 0.0, 0.0),
    )
    ratio = 1.0 if clip_ratio is None else clip_ratio
    y, scale = kernels.flat_quant(x, kronecker_p1, kronecker_p2, ratio)
    return visible(y), scale


@implements("npu_dtype_cast")
def npu_dtype_cast(input: Tensor, dtype: int, input_dtype: int | None = None) -> Tensor:
    return cast(input, type_name(dtype, "npu_dtype_cast"), _held(input_dtype, "npu_dtype_cast"))


@implements("npu_dtype_cast_backward")
def npu_dtype_cast_backward(
    grad: Tensor,
    dtype: torch.dtype,
    grad_dtype: int | None = None,
    input_dtype: int | None = None,
) -> Tensor:
    operator = "npu_dtype_cast_backward"
    name = str(dtype).removeprefix("torch.")
    if input_dtype is not None:
        name = type_name(input_dtype, operator)
    return cast(grad, name, _held(grad_dtype, operator))


@implements("_npu_dtype_cast")
def plain_dtype_cast(input: Tensor, dtype: torch.dtype) -> Tensor:
    return input.to(dtype)


@implements("_npu_dtype_cast_backward")
def plain_dtype_cast_backward(grad: Tensor, dtype: torch.dtype) -> Tensor:
    return grad.to(dtype)


def _held(number: int | None, operator: str) -> str | None:
    return None if number is None else type_name(number, operator)


def cast(x: Tensor, target: str, held: str | None) -> Tensor:
    """``x``, whose bits are of type ``held``, as another type.

    Returns:
        A new tensor; 4-bit types are packed two a uint8.
    """
    if held is not None:
        carrier = _carrier(held)
        four = narrow_types.is_four_bit(carrier)
        x = narrow_types.unfolded(x, carrier) if four else x.view(carrier)
    y = narrow_types.converted(x, _carrier(target))
    if narrow_types.is_four_bit(y.dtype):
        return narrow_types.folded(y, torch.uint8)
    return y.clone() if y is x else y


def _carrier(name: str) -> torch.dtype:
    return torch_dtype(dtypes.BY_NAME[name].ge)


def _save_dtype(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    ctx.dtype = inputs[0].dtype
    ctx.held = inputs[1:]


@gradient("npu_dtype_cast", save=_save_dtype)
def dtype_cast_gradient(ctx: Any, dy: Tensor) -> tuple[Tensor, None, None]:
    return torch.ops.npu.npu_dtype_cast_backward(dy, ctx.dtype), None, None


@gradient("_npu_dtype_cast", save=_save_dtype)
def plain_dtype_cast_gradient(ctx: Any, dy: Tensor) -> tuple[Tensor, None]:
    return torch.ops.npu._npu_dtype_cast_backward(dy, ctx.dtype), None
