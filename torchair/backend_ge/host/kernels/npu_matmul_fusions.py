"""Kernels of matrix products fused with what surrounds them, after GE's definitions."""

from __future__ import annotations

import torch
from torch import Tensor

from torchair.backend_ge.host.kernels.npu_grouped_matmul import group_ends
from torchair.backend_ge.host.kernels.npu_grouped_rows import row_groups
from torchair.backend_ge.host.kernels.npu_matmul import product
from torchair.backend_ge.host.kernels.npu_quantization_values import dequant_factor
from torchair.backend_ge.host.kernels.registry import kernel, torch_dtype
from torchair.backend_ge.host.narrow_types import quantized
from torchair.errors import EngineError

_INT8_MAX = 127.0


def split_batches(y: Tensor, factor: int) -> Tensor:
    """``[rows, batch, columns]`` as ``[factor, rows, batch * columns / factor]``."""
    if factor <= 1:
        return y
    return y.flatten(1).unflatten(1, (factor, -1)).transpose(0, 1).contiguous()


@kernel("TransposeBatchMatMul")
def transpose_batch_mat_mul(
    x1: Tensor,
    x2: Tensor,
    bias: Tensor | None = None,
    scale: Tensor | None = None,
    *,
    perm_x1: list[int],
    perm_x2: list[int],
    perm_y: list[int],
    enable_hf32: bool = False,
    batch_split_factor: int = 1,
) -> Tensor:
    """Batched product of transposed matrices, transposed; int8 ``[rows, 1, batch * columns]`` when
    there is a scale per batch and column."""
    if bias is not None:
        raise EngineError("TransposeBatchMatMul takes no bias")
    y = torch.matmul(
        x1.float().permute(perm_x1 or [0, 1, 2]), x2.float().permute(perm_x2 or [0, 1, 2])
    )
    y = y.permute(perm_y or [1, 0, 2])
    if scale is not None:
        return quantized(y.flatten(1) * dequant_factor(scale), torch.int8)[:, None]
    return split_batches(y.to(x1.dtype), batch_split_factor).contiguous()


@kernel("TransposeQuantBatchMatMul")
def transpose_quant_batch_mat_mul(
    x1: Tensor,
    x2: Tensor,
    bias: Tensor | None = None,
    x1_scale: Tensor | None = None,
    x2_scale: Tensor | None = None,
    *,
    dtype: int,
    group_size: int = 0,
    perm_x1: list[int],
    perm_x2: list[int],
    perm_y: list[int],
    batch_split_factor: int = 1,
) -> Tensor:
    """As TransposeBatchMatMul, of 8-bit floats with a scale per row (x1) and column (x2)."""
    if group_size or bias is not None:
        raise EngineError("the host kernel of TransposeQuantBatchMatMul takes no groups or bias")
    y = torch.matmul(x1.float().permute(perm_x1), x2.float().permute(perm_x2)).permute(perm_y)
    if x1_scale is not None:
        y = y * x1_scale.float().reshape(-1, 1, 1)
    if x2_scale is not None:
        y = y * x2_scale.float().reshape(1, 1, -1)
    return split_batches(y.to(torch_dtype(dtype)), batch_split_factor).contiguous()


@kernel("QuantMatmulDequant")
def quant_matmul_dequant(
    x: Tensor,
    quantized_weight: Tensor,
    weight_scale: Tensor,
    bias: Tensor | None = None,
    x_scale: Tensor | None = None,
    x_offset: Tensor | None = None,
    smooth_scale: Tensor | None = None,
    *,
    x_quant_mode: str = "pertoken",
    transpose_weight: bool = True,
) -> Tensor:
    """``x`` quantised to int8, times an int8 weight ``[columns, inner]``, dequantised.

    Without ``x_scale`` each row of ``x`` gets the scale ``max |x| / 127``.
    """
    weight = quantized_weight.mT if transpose_weight else quantized_weight
    numbers, scale = _quantised_rows(x, x_scale, x_offset, smooth_scale, x_quant_mode)
    found = product(numbers, weight)
    if bias is not None:
        found = found + bias.double()
    return (found.float() * scale * weight_scale.float()).to(x.dtype)


@kernel("QuantGroupedMatmulDequant")
def quant_grouped_matmul_dequant(
    x: Tensor,
    quantized_weight: Tensor,
    weight_scale: Tensor,
    group_list: Tensor,
    bias: Tensor | None = None,
    x_scale: Tensor | None = None,
    x_offset: Tensor | None = None,
    smooth_scale: Tensor | None = None,
    *,
    x_quant_mode: str = "pertoken",
    transpose_weight: bool = True,
) -> Tensor:
    """QuantMatmulDequant with a weight ``[groups, columns, inner]`` per group of rows.

    ``group_list`` tells where each group's rows end; weight scales are ``[groups, columns]``.
    """
    weight = quantized_weight.mT if transpose_weight else quantized_weight
    owner = _owner(group_list, x)
    if smooth_scale is not None and smooth_scale.dim() == 2:
        smooth_scale = smooth_scale[owner]
    numbers, scale = _quantised_rows(x, x_scale, x_offset, smooth_scale, x_quant_mode)
    found = row_groups(numbers, weight, group_list)
    if bias is not None:
        found = found + bias.double()[owner]
    return (found.float() * scale * weight_scale.float()[owner]).to(x.dtype)


def _owner(ends: Tensor, x: Tensor) -> Tensor:
    """Group of every row."""
    places = torch.arange(x.shape[0], device=x.device)
    return torch.searchsorted(ends, places, right=True).clamp_max(ends.shape[0] - 1)


def _quantised_rows(
    x: Tensor, scale: Tensor | None, offset: Tensor | None, smooth: Tensor | None, mode: str
) -> tuple[Tensor, Tensor]:
    """int8 numbers and the scale of every row or of all."""
    wide = x.float() if smooth is None else x.float() * smooth.float()
    if scale is not None:
        factor = scale.float().reshape(-1, 1)
    elif mode == "pertoken":
        factor = wide.abs().amax(-1, keepdim=True) / _INT8_MAX
    else:
        factor = (wide.abs().amax() / _INT8_MAX).reshape(1, 1)
    numbers = wide / torch.where(factor == 0, 1.0, factor)
    if offset is not None:
        numbers = numbers + offset.float().reshape(-1, 1)
    return quantized(numbers, torch.int8), factor


@kernel("QuantMatmulReduceSum")
def quant_matmul_reduce_sum(
    x1: Tensor,
    x2: Tensor,
    dims: Tensor,
    bias: Tensor | None = None,
    x1_scale: Tensor | None = None,
    x2_scale: Tensor | None = None,
    y_scale: Tensor | None = None,
    x1_offset: Tensor | None = None,
    x2_offset: Tensor | None = None,
    y_offset: Tensor | None = None,
    x2_table: Tensor | None = None,
    *,
    dtype: int,
    transpose_x1: bool = False,
    transpose_x2: bool = False,
) -> Tensor:
    """Sum over the batch of int8 products with a scale per row (x1) and column (x2)."""
    if transpose_x1 or transpose_x2 or x1_scale is None or x2_scale is None:
        raise EngineError("the host kernel of QuantMatmulReduceSum needs two scales, no transposes")
    if any(t is not None for t in (bias, y_scale, x1_offset, x2_offset, y_offset, x2_table)):
        raise EngineError("the host kernel of QuantMatmulReduceSum takes no bias or offsets")
    found = product(x1, x2).float() * x1_scale.float()[..., None] * x2_scale.float()
    return found.sum(0).to(torch_dtype(dtype))


@kernel("FusedMatMul")
def fused_mat_mul(
    x1: Tensor,
    x2: Tensor,
    bias: Tensor | None = None,
    x3: Tensor | None = None,
    *,
    transpose_x1: bool = False,
    transpose_x2: bool = False,
    enable_hf32: bool = False,
    fused_op_type: str = "",
) -> Tensor:
    """``op(x1 x2 + bias)``, ``op`` nothing, relu, gelu, or the sum or product with ``x3``."""
    left, right = (x1.mT if transpose_x1 else x1), (x2.mT if transpose_x2 else x2)
    found = torch.matmul(left.float(), right.float())
    if bias is not None:
        found = found + bias.float()
    if fused_op_type in ("add", "mul"):
        if x3 is None:
            raise EngineError(f"FusedMatMul needs x3 for '{fused_op_type}'")
        found = found + x3.float() if fused_op_type == "add" else found * x3.float()
    elif fused_op_type in ("gelu_erf", "gelu_tanh"):
        kind = "tanh" if fused_op_type == "gelu_tanh" else "none"
        found = torch.nn.functional.gelu(found, approximate=kind)
    elif fused_op_type == "relu":
        found = torch.relu(found)
    elif fused_op_type:
        raise EngineError(
            f"the host kernel of FusedMatMul does not know '{fused_op_type}'",
            expected="add, mul, gelu_erf, gelu_tanh, relu",
        )
    return found.to(x1.dtype)


@kernel("AddLora")
def add_lora(
    y: Tensor,
    x: Tensor,
    weightB: Tensor,
    indices: Tensor,
    weightA: Tensor | None = None,
    *,
    layer_idx: int = 0,
    scale: float = 0.001,
    y_offset: int = 0,
    y_slice_size: int = -1,
) -> Tensor:
    """Adds ``scale * x A^T B^T`` to columns of ``y``, with the matrices that an index names.

    Args:
        y: ``[batch, columns]``.
        x: ``[batch, inner]``.
        weightB: ``[adapters, layers, width, rank]``.
        indices: adapter per row; of negative ones the row stays.
        weightA: ``[adapters, layers, rank, inner]``; without it ``x`` has ``rank`` columns.
    """
    width = y.shape[1] if y_slice_size == -1 else y_slice_size
    row = indices.long()
    pick = row.clamp(0, weightB.shape[0] - 1)
    wide = x.float()[..., None]
    if weightA is not None:
        wide = torch.matmul(weightA[:, layer_idx].float()[pick], wide)
    update = torch.matmul(weightB[:, layer_idx].float()[pick], wide)[..., 0] * scale
    update = torch.where((row >= 0)[:, None], update[:, :width], 0.0)
    tail = y.shape[1] - y_offset - update.shape[1]
    return (y.float() + torch.nn.functional.pad(update, (y_offset, tail))).to(y.dtype)


@kernel("GroupedMatmulFinalizeRouting")
def grouped_matmul_finalize_routing(
    x: Tensor,
    w: Tensor,
    scale: Tensor | None = None,
    bias: Tensor | None = None,
    pertoken_scale: Tensor | None = None,
    group_list: Tensor | None = None,
    shared_input: Tensor | None = None,
    logit: Tensor | None = None,
    row_index: Tensor | None = None,
    offset: Tensor | None = None,
    *,
    dtype: int = 0,
    shared_input_weight: float = 1.0,
    shared_input_offset: int = 0,
    transpose_x: bool = False,
    transpose_w: bool = False,
    output_bs: int = 0,
    group_list_type: int = 1,
    tuning_config: list[int] | None = None,
) -> Tensor:
    """Int8 products of groups, scaled, weighted by ``logit`` and added to the rows ``row_index``.

    ``shared_input`` times its weight is added to the rows from ``shared_input_offset`` on.
    """
    if group_list is None or bias is not None or offset is not None or transpose_x:
        raise EngineError("the host kernel of GroupedMatmulFinalizeRouting needs group_list only")
    ends = group_ends(group_list, group_list_type, w.shape[0])
    found = row_groups(x, w.mT if transpose_w else w, ends).float()
    if scale is not None:
        found = found * dequant_factor(scale).reshape(w.shape[0], -1)[_owner(ends, x)]
    if pertoken_scale is not None:
        found = found * pertoken_scale.float()[:, None]
    if logit is not None:
        found = found * logit.float()[:, None]
    if row_index is not None:
        result = found.new_zeros(output_bs or x.shape[0], found.shape[1])
        valid = torch.arange(x.shape[0], device=x.device) < ends[-1]
        found = torch.index_add(
            result, 0, row_index.long(), torch.where(valid[:, None], found, 0.0)
        )
    if shared_input is None:
        return found
    tail = found.shape[0] - shared_input_offset - shared_input.shape[0]
    shared = shared_input.float() * shared_input_weight
    return found + torch.nn.functional.pad(shared, (0, 0, shared_input_offset, tail))


def grouped_matmul_swiglu_quant(
    x: Tensor,
    weight: Tensor,
    weight_scale: Tensor,
    x_scale: Tensor,
    group_list: Tensor,
) -> tuple[Tensor, Tensor]:
    """Int8 products of groups, scaled, gated by ``silu(a) b``, quantised per row.

    Returns:
        int8 ``[rows, columns / 2]`` and the scale of each row, ``max |.| / 127``.
    """
    owner = _owner(group_list, x)
    found = row_groups(x, weight, group_list).float()
    found = found * weight_scale.float()[owner] * x_scale.float()[:, None]
    gate, value = found.chunk(2, -1)
    numbers, scale = _quantised_rows(
        torch.nn.functional.silu(gate) * value, None, None, None, "pertoken"
    )
    return numbers, scale[:, 0]


@kernel("GroupedMatmulSwigluQuantV2")
def grouped_matmul_swiglu_quant_v2(
    x: Tensor,
    x_scale: Tensor,
    group_list: Tensor,
    weight: list[Tensor],
    weight_scale: list[Tensor],
    weight_assist_matrix: list[Tensor],
    bias: Tensor | None = None,
    smooth_scale: Tensor | None = None,
    *,
    dequant_mode: int = 0,
    dequant_dtype: int = 0,
    quant_mode: int = 0,
    quant_dtype: int = 0,
    transpose_weight: bool = False,
    group_list_type: int = 0,
    tuning_config: list[int] | None = None,
) -> tuple[Tensor, Tensor]:
    """As GroupedMatmulSwigluQuant, with group sizes of either kind."""
    if weight_assist_matrix or bias is not None or smooth_scale is not None or dequant_mode:
        raise EngineError(
            "the host kernel of GroupedMatmulSwigluQuantV2 takes int8 with scales per channel and "
            "row only",
            hint="run this graph on an NPU",
        )
    matrix = weight[0].mT if transpose_weight else weight[0]
    ends = group_ends(group_list, group_list_type, matrix.shape[0])
    return grouped_matmul_swiglu_quant(x, matrix, weight_scale[0], x_scale, ends)


@kernel("QuantConv2D")
def quant_conv2d(
    x: Tensor,
    filter: Tensor,
    scale: Tensor,
    bias: Tensor | None = None,
    offset: Tensor | None = None,
    *,
    dtype: int,
    strides: list[int],
    pads: list[int],
    dilations: list[int],
    groups: int = 1,
    data_format: str = "NHWC",
    offset_x: int = 0,
    round_mode: str = "rint",
) -> Tensor:
    """``(conv(x, filter) + bias) scale`` of int8, with a scale per result channel."""
    if data_format != "NCHW" or offset is not None:
        raise EngineError("the host kernel of QuantConv2D takes NCHW without offset")
    top, bottom, left, right = pads
    padded = torch.nn.functional.pad(x.double(), (left, right, top, bottom), value=offset_x)
    found = torch.nn.functional.conv2d(
        padded, filter.double(), None, strides[2:], 0, dilations[2:], groups
    )
    if bias is not None:
        found = found + bias.double().reshape(1, -1, 1, 1)
    return (found.float() * dequant_factor(scale).reshape(1, -1, 1, 1)).to(torch_dtype(dtype))
