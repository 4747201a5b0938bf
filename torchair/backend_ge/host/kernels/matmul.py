"""Kernels of matrix products."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from torchair.backend_ge.host.kernels.registry import kernel
from torchair.errors import EngineError


@kernel("MatMul")
def mat_mul(
    x1: Tensor,
    x2: Tensor,
    bias: Tensor | None,
    transpose_x1: bool = False,
    transpose_x2: bool = False,
) -> Tensor:
    left = x1.t() if transpose_x1 else x1
    right = x2.t() if transpose_x2 else x2
    if left.dtype is torch.int8:
        product = torch.ops.aten._int_mm(left, right)
        return product if bias is None else product + bias
    if bias is None:
        return torch.mm(left, right)
    return torch.addmm(bias.to(left.dtype), left, right)


@kernel("MatMulV2")
def mat_mul_v2(
    x1: Tensor,
    x2: Tensor,
    bias: Tensor | None,
    offset_w: Tensor | None,
    transpose_x1: bool = False,
    transpose_x2: bool = False,
) -> Tensor:
    if offset_w is not None:
        raise EngineError("the host kernel of MatMulV2 does not implement offset_w")
    return mat_mul(x1, x2, bias, transpose_x1, transpose_x2)


@kernel("BatchMatMul")
def batch_mat_mul(x1: Tensor, x2: Tensor, adj_x1: bool = False, adj_x2: bool = False) -> Tensor:
    left = x1.mT if adj_x1 else x1
    right = x2.mT if adj_x2 else x2
    if left.dim() == right.dim() == 3 and left.shape[0] == right.shape[0]:
        return torch.bmm(left, right)
    return torch.matmul(left, right)


@kernel("BatchMatMulV2")
def batch_mat_mul_v2(
    x1: Tensor,
    x2: Tensor,
    bias: Tensor | None,
    offset_w: Tensor | None,
    adj_x1: bool = False,
    adj_x2: bool = False,
) -> Tensor:
    if offset_w is not None:
        raise EngineError("the host kernel of BatchMatMulV2 does not implement offset_w")
    if x2.dim() == 2 and x1.dtype is not torch.int8:
        left = x1.mT if adj_x1 else x1
        weight = x2 if adj_x2 else x2.t()
        return functional.linear(left, weight, None if bias is None else bias.to(left.dtype))
    if x1.dtype is torch.int8:
        x1, x2 = x1.int(), x2.int()
    product = batch_mat_mul(x1, x2, adj_x1, adj_x2)
    return product if bias is None else product + bias.to(product.dtype)


@kernel("Dot")
def dot(input_x: Tensor, input_y: Tensor) -> Tensor:
    return torch.dot(input_x, input_y).reshape(1)
