"""torch_npu's RMS normalisation that ends in quantisation."""

from __future__ import annotations

from typing import Any

from torchair.dialects.ge import builder as ge
from torchair.ir import element_types, interned
from torchair.passes.convert_aten_to_ge.npu_packing import hidden, number_type, visible
from torchair.passes.convert_aten_to_ge.recipes import empty
from torchair.passes.convert_aten_to_ge.registry import converts


@converts(
    "npu::npu_rms_norm_quant(Tensor x, Tensor gamma, Tensor beta, Tensor scale, Tensor offset,"
    " float epsilon=1e-06, *, int? dst_dtype=None) -> Tensor"
)
def npu_rms_norm_quant(
    x: Any,
    gamma: Any,
    beta: Any,
    scale: Any,
    offset: Any,
    epsilon: Any,
    dst_dtype: Any,
    out: Any,
) -> Any:
    name, number = number_type("npu_rms_norm_quant", dst_dtype)
    y = ge.RmsNormQuant(
        x, gamma, beta, scale, offset, epsilon=epsilon, dst_type=number, out=hidden(out, name)
    )
    return visible(y, out)


@converts(
    "npu::npu_add_rms_norm_quant(Tensor x1, Tensor x2, Tensor gamma, Tensor scales1,"
    " Tensor? zero_points1, Tensor? beta=None, Tensor? scales2=None, Tensor? zero_points2=None,"
    " *, int axis=-1, float epsilon=1e-06, bool div_mode=True, int? dst_type=None)"
    " -> (Tensor, Tensor, Tensor)"
)
def npu_add_rms_norm_quant(
    x1: Any, x2: Any, gamma: Any, scales1: Any, dst_type: Any, out: Any, **rest: Any
) -> Any:
    _, number = number_type("npu_add_rms_norm_quant", dst_type)
    return ge.AddRmsNormQuant(x1, x2, gamma, scales1, dst_type=number, out=tuple(out), **rest)


@converts(
    "npu::npu_add_rms_norm_dynamic_quant(Tensor x1, Tensor x2, Tensor gamma, *,"
    " Tensor? smooth_scale1=None, Tensor? smooth_scale2=None, Tensor? beta=None,"
    " float epsilon=1e-6, bool[2]? output_mask=None, int? y_dtype=None)"
    " -> (Tensor, Tensor, Tensor, Tensor, Tensor)"
)
def npu_add_rms_norm_dynamic_quant(
    x1: Any,
    x2: Any,
    gamma: Any,
    smooth_scale1: Any,
    smooth_scale2: Any,
    beta: Any,
    epsilon: Any,
    output_mask: Any,
    y_dtype: Any,
    out: Any,
) -> Any:
    name, number = number_type("npu_add_rms_norm_dynamic_quant", y_dtype)
    wanted = output_mask or [True, smooth_scale1 is not None and smooth_scale2 is not None]
    narrow = interned.unranked(element_types.from_name(name))
    scale = interned.unranked(interned.f32)
    first, second = (hidden(out[i], name) if wanted[i] else narrow for i in range(2))
    scales = [out[3 + i] if wanted[i] else scale for i in range(2)]
    found = ge.AddRmsNormDynamicQuant(
        x1,
        x2,
        gamma,
        smooth_scale1,
        smooth_scale2,
        beta,
        epsilon=epsilon,
        output_mask=output_mask or [],
        dst_type=number,
        out=(first, second, out[2], *scales),
    )
    none = empty(interned.f32)
    ys = [
        visible(found[i], out[i]) if wanted[i] else empty(interned.element_type(out[i]))
        for i in range(2)
    ]
    return *ys, found[2], *(found[3 + i] if wanted[i] else none for i in range(2))


@converts(
    "npu::_npu_rms_norm_backward_quant(Tensor dy, Tensor x, Tensor rstd, Tensor gamma,"
    ' Tensor scale_x, *, Tensor? offset_x=None, bool? div_mode=True, str quant_mode="static",'
    " int? dst_type=1) -> (Tensor, Tensor)"
)
def rms_norm_backward_quant(
    dy: Any,
    x: Any,
    rstd: Any,
    gamma: Any,
    scale_x: Any,
    offset_x: Any,
    div_mode: Any,
    quant_mode: Any,
    dst_type: Any,
    out: Any,
) -> Any:
    _, number = number_type("_npu_rms_norm_backward_quant", dst_type)
    return ge.RmsNormGradQuant(
        dy,
        x,
        rstd,
        gamma,
        scale_x,
        offset_x,
        div_mode=div_mode is None or div_mode,
        quant_mode=quant_mode,
        dst_type=number,
        out=tuple(out),
    )
