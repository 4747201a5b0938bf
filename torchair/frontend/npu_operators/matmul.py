"""Quantised and fused matrix products."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from torchair.backend_ge.host.kernels import npu_matmul as kernels
from torchair.backend_ge.host.narrow_types import INT4, unfolded
from torchair.dialects.ge import dtypes
from torchair.dialects.ge.npu_types import type_name
from torchair.errors import UnsupportedOpError
from torchair.frontend.npu_operators.narrow_results import require_default
from torchair.frontend.npu_operators.registry import gradient, implements


@implements("npu_linear")
def npu_linear(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    return torch.nn.functional.linear(input, weight, bias)


@implements("npu_linear_backward")
def npu_linear_backward(grad: Tensor, input: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    return grad @ weight, grad.mT @ input


def _save_linear(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    ctx.save_for_backward(inputs[0], inputs[1])
    ctx.arguments = len(inputs)


@gradient("npu_linear", save=_save_linear)
def linear_gradient(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
    input, weight = ctx.saved_tensors
    pair = torch.ops.npu.npu_linear_backward(dy, input, weight)
    bias = dy.sum(0) if ctx.needs_input_grad[2:3] == (True,) else None
    return (*pair, bias)[: ctx.arguments]


def four_bits(x: Tensor) -> Tensor:
    """The int4 elements that an int32 tensor holds; other tensors as they are."""
    return unfolded(x, INT4) if x.dtype is torch.int32 else x


def four_bit_matrix(x: Tensor, is_packed_by_rows: bool) -> Tensor:
    """A weight ``[rows, columns]`` whose int4 elements are packed along rows or columns."""
    if x.dtype is not torch.int32 or not is_packed_by_rows:
        return four_bits(x)
    return unfolded(x.mT, INT4).view(torch.int8).mT.contiguous().view(INT4)


def ge_number(number: int, operator: str) -> int:
    """``ge::DataType`` number of one of torch_npu's type numbers."""
    return dtypes.BY_NAME[type_name(number, operator)].ge


@implements("npu_quant_matmul")
def npu_quant_matmul(
    x1: Tensor,
    x2: Tensor,
    scale: Tensor,
    *,
    offset: Tensor | None = None,
    pertoken_scale: Tensor | None = None,
    bias: Tensor | None = None,
    output_dtype: int | None = None,
    group_sizes: Sequence[int] | None = None,
    y_scale: Tensor | None = None,
    **types: int | None,
) -> Tensor:
    name = "npu_quant_matmul"
    group = list(group_sizes or [])
    require_default(name, group_sizes=(any(group), False), y_scale=(y_scale, None))
    for key, value in types.items():
        require_default(name, **{key: (value, None)})
    by_rows = x1.dtype is torch.int32 and x1.shape[-1] == x2.shape[-2]
    number = ge_number(1 if output_dtype is None else output_dtype, name)
    matrices = (four_bits(x1), four_bit_matrix(x2, by_rows))
    optional = (offset, bias, pertoken_scale)
    return kernels.quant_batch_matmul_v3(*matrices, scale, *optional, dtype=number)


@implements("npu_weight_quant_batchmatmul")
def npu_weight_quant_batchmatmul(
    x: Tensor,
    weight: Tensor,
    antiquant_scale: Tensor,
    antiquant_offset: Tensor | None = None,
    quant_scale: Tensor | None = None,
    quant_offset: Tensor | None = None,
    bias: Tensor | None = None,
    antiquant_group_size: int = 0,
    inner_precise: int = 0,
    weight_dtype: int | None = None,
) -> Tensor:
    require_default("npu_weight_quant_batchmatmul", weight_dtype=(weight_dtype, None))
    matrix = four_bit_matrix(weight, not weight.is_contiguous())
    return kernels.weight_quant_batch_matmul_v2(
        x,
        matrix,
        antiquant_scale,
        antiquant_offset,
        quant_scale,
        quant_offset,
        bias,
        antiquant_group_size=antiquant_group_size,
    )


@implements("npu_ffn")
def npu_ffn(
    x: Tensor,
    weight1: Tensor,
    weight2: Tensor,
    activation: str,
    *,
    expert_tokens: Sequence[int] | None = None,
    expert_tokens_index: Sequence[int] | None = None,
    inner_precise: int | None = None,
    output_dtype: torch.dtype | None = None,
    **tensors: Tensor | None,
) -> Tensor:
    if expert_tokens is not None and expert_tokens_index is not None:
        raise UnsupportedOpError("npu_ffn takes expert_tokens or expert_tokens_index, not both")
    tokens = expert_tokens_index if expert_tokens is None else expert_tokens
    return kernels.ffn(
        x,
        four_bits(weight1),
        four_bits(weight2),
        None if tokens is None else torch.tensor(tokens, dtype=torch.int64, device=x.device),
        activation=activation,
        output_dtype=1 if output_dtype is torch.bfloat16 else 0,
        tokens_index_flag=expert_tokens is None and tokens is not None,
        **tensors,
    )


def unused(operator: str, named: dict[str, Any], names: Sequence[str]) -> None:
    """Refuse arguments that the host device does not implement."""
    for name in names:
        require_default(operator, **{name: (named.pop(name, None), None)})
