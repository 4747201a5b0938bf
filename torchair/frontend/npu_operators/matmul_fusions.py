"""Matrix products fused with what surrounds them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from torchair.backend_ge.host.kernels import npu_matmul_fusions as kernels
from torchair.errors import UnsupportedOpError
from torchair.frontend.npu_operators.matmul import ge_number, unused
from torchair.frontend.npu_operators.registry import implements


@implements("npu_transpose_batchmatmul")
def npu_transpose_batchmatmul(
    input: Tensor, weight: Tensor, *, bias: Tensor | None = None, **named: Any
) -> Tensor:
    return kernels.transpose_batch_mat_mul(
        input,
        weight,
        bias,
        named.get("scale"),
        perm_x1=list(named.get("perm_x1") or (0, 1, 2)),
        perm_x2=list(named.get("perm_x2") or (0, 1, 2)),
        perm_y=list(named.get("perm_y") or (1, 0, 2)),
        batch_split_factor=named.get("batch_split_factor") or 1,
    )


@implements("npu_transpose_quant_batchmatmul")
def npu_transpose_quant_batchmatmul(
    x1: Tensor, x2: Tensor, dtype: int, *, bias: Tensor | None = None, **named: Any
) -> Tensor:
    unused("npu_transpose_quant_batchmatmul", named, ("group_sizes", "x1_dtype", "x2_dtype"))
    return kernels.transpose_quant_batch_mat_mul(
        x1,
        x2,
        bias,
        named.get("x1_scale"),
        named.get("x2_scale"),
        dtype=ge_number(dtype, "npu_transpose_quant_batchmatmul"),
        perm_x1=list(named.get("perm_x1") or (1, 0, 2)),
        perm_x2=list(named.get("perm_x2") or (0, 1, 2)),
        perm_y=list(named.get("perm_y") or (1, 0, 2)),
        batch_split_factor=named.get("batch_split_factor") or 1,
    )


@implements("npu_quant_matmul_dequant")
def npu_quant_matmul_dequant(
    x: Tensor, quantized_weight: Tensor, weight_scale: Tensor, **named: Any
) -> Tensor:
    mode = named.pop("quant_mode", None) or "pertoken"
    weights = (quantized_weight, weight_scale)
    return kernels.quant_matmul_dequant(x, *weights, x_quant_mode=mode, **named)


@implements("npu_quant_grouped_matmul_dequant")
def npu_quant_grouped_matmul_dequant(
    x: Tensor, quantized_weight: Tensor, weight_scale: Tensor, group_list: Tensor, **named: Any
) -> Tensor:
    mode = named.pop("quant_mode", None) or "pertoken"
    weights = (quantized_weight, weight_scale, group_list)
    return kernels.quant_grouped_matmul_dequant(x, *weights, x_quant_mode=mode, **named)


@implements("npu_quant_matmul_reduce_sum")
def npu_quant_matmul_reduce_sum(
    x1: Tensor, x2: Tensor, *, x1_scale: Tensor | None = None, x2_scale: Tensor | None = None
) -> Tensor:
    dims = torch.zeros(1, dtype=torch.int64)
    scales = {"x1_scale": x1_scale, "x2_scale": x2_scale}
    number = ge_number(15, "npu_quant_matmul_reduce_sum")
    return kernels.quant_matmul_reduce_sum(x1, x2, dims, dtype=number, **scales)


@implements("npu_fused_matmul")
def npu_fused_matmul(
    x1: Tensor,
    x2: Tensor,
    *,
    bias: Tensor | None = None,
    x3: Tensor | None = None,
    fused_op_type: str = "",
) -> Tensor:
    return kernels.fused_mat_mul(x1, x2, bias, x3, fused_op_type=fused_op_type)


@implements("npu_batch_gather_matmul")
def npu_batch_gather_matmul(
    input: Tensor,
    x: Tensor,
    weight_b: Tensor,
    indices: Tensor,
    weight_a: Tensor | None = None,
    layer_idx: int = 0,
    scale: float = 1e-3,
    y_offset: int = 0,
    y_slice_size: int = -1,
) -> Tensor:
    return kernels.add_lora(
        input,
        x,
        weight_b,
        indices,
        weight_a,
        layer_idx=layer_idx,
        scale=scale,
        y_offset=y_offset,
        y_slice_size=y_slice_size,
    )


@implements("npu_batch_gather_matmul_")
def npu_batch_gather_matmul_(input: Tensor, *others: Any) -> Tensor:
    return input.copy_(npu_batch_gather_matmul(input, *others))


@implements("npu_grouped_matmul_finalize_routing")
def npu_grouped_matmul_finalize_routing(
    x: Tensor, w: Tensor, group_list: Tensor, **named: Any
) -> Tensor:
    types = ("x_dtype", "w_dtype", "scale_dtype", "pertoken_scale_dtype")
    unused("npu_grouped_matmul_finalize_routing", named, types)
    if named.pop("dtype", None) not in (None, torch.float32):
        raise UnsupportedOpError("npu_grouped_matmul_finalize_routing gives float32")
    named.pop("tuning_config", None)
    given = {name: value for name, value in named.items() if value is not None}
    return kernels.grouped_matmul_finalize_routing(x, w, group_list=group_list, **given)


@implements("npu_grouped_matmul_swiglu_quant")
def npu_grouped_matmul_swiglu_quant(
    x: Tensor,
    weight: Tensor,
    group_list: Tensor,
    weight_scale: Tensor,
    x_scale: Tensor,
    **named: Any,
) -> tuple[Tensor, Tensor, Tensor]:
    unused("npu_grouped_matmul_swiglu_quant", named, ("bias", "offset"))
    found = kernels.grouped_matmul_swiglu_quant(x, weight, weight_scale, x_scale, group_list)
    return *found, found[1].new_empty([])


@implements("npu_grouped_matmul_swiglu_quant_v2")
def npu_grouped_matmul_swiglu_quant_v2(
    x: Tensor,
    weight: Sequence[Tensor],
    weight_scale: Sequence[Tensor],
    x_scale: Tensor,
    group_list: Tensor,
    **named: Any,
) -> tuple[Tensor, Tensor]:
    name = "npu_grouped_matmul_swiglu_quant_v2"
    types = ("x_dtype", "weight_dtype", "weight_scale_dtype", "x_scale_dtype")
    unused(name, named, (*types, "bias", "smooth_scale", "weight_assist_matrix"))
    if x.dtype is not torch.int8 or named.get("quant_dtype", 1) != 1:
        raise UnsupportedOpError(f"{name} runs on the host device for int8 only")
    return kernels.grouped_matmul_swiglu_quant_v2(
        x,
        x_scale,
        group_list,
        list(weight),
        list(weight_scale),
        [],
        dequant_mode=named.get("dequant_mode") or 0,
        group_list_type=named.get("group_list_type") or 0,
    )


@implements("npu_quant_conv2d")
def npu_quant_conv2d(
    input: Tensor,
    weight: Tensor,
    scale: Tensor,
    strides: Sequence[int] = (1, 1),
    pads: Sequence[int] = (0, 0),
    dilations: Sequence[int] = (1, 1),
    groups: int = 1,
    offset_x: int = 0,
    round_mode: str = "rint",
    output_dtype: int | None = None,
    bias: Tensor | None = None,
    offset: Tensor | None = None,
    input_dtype: int | None = None,
    weight_dtype: int | None = None,
) -> Tensor:
    types = {"input_dtype": input_dtype, "weight_dtype": weight_dtype}
    unused("npu_quant_conv2d", types, tuple(types))
    number = ge_number(5 if output_dtype is None else output_dtype, "npu_quant_conv2d")
    return kernels.quant_conv2d(
        input,
        weight,
        scale,
        bias,
        offset,
        dtype=number,
        strides=[1, 1, *strides],
        pads=[pads[0], pads[0], pads[1], pads[1]],
        dilations=[1, 1, *dilations],
        groups=groups,
        data_format="NCHW",
        offset_x=offset_x,
        round_mode=round_mode,
    )
