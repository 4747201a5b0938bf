"""Products of quantised tensors fused with an exchange between ranks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from torchair.backend_ge.host.kernels import npu_collectives as kernels
from torchair.dialects.ge.npu_types import type_name
from torchair.frontend.npu_operators.matmul import ge_number, unused
from torchair.frontend.npu_operators.registry import implements

_FLOAT32 = 6
_UNUSED = (
    "group_sizes",
    "common_scale",
    "x1_offset",
    "x2_offset",
    "x1_dtype",
    "x2_dtype",
    "x1_scale_dtype",
    "x2_scale_dtype",
    "output_scale_dtype",
    "comm_scale_dtype",
    "comm_quant_dtype",
    "x1_quant_dtype",
)
_EXPERTS_UNUSED = (
    "group_size",
    "comm_quant_scale",
    "comm_quant_dtype",
    "gmm_x_dtype",
    "gmm_weight_dtype",
    "gmm_x_scale_dtype",
    "gmm_weight_scale_dtype",
    "mm_x_dtype",
    "mm_weight_dtype",
    "mm_x_scale_dtype",
    "mm_weight_scale_dtype",
)


def _dtype(number: int | None, name: str) -> torch.dtype:
    return getattr(torch, type_name(_FLOAT32 if number is None else number, name))


def _scales(name: str, named: dict[str, Any]) -> tuple[Any, ...]:
    unused(name, named, _UNUSED)
    return named.get("bias"), named.get("x1_scale"), named.get("x2_scale")


@implements("npu_quant_matmul_all_to_all")
def npu_quant_matmul_all_to_all(
    x1: Tensor,
    x2: Tensor,
    hcom: str,
    world_size: int,
    bias: Tensor | None = None,
    x1_scale: Tensor | None = None,
    x2_scale: Tensor | None = None,
    *others: Any,
    **named: Any,
) -> Tensor:
    name = "npu_quant_matmul_all_to_all"
    given = {**dict(zip(_ORDER, others, strict=False)), **named}
    unused(name, given, _UNUSED)
    number = given.get("y_dtype")
    if x1.device.type == "meta":
        sizes = [x1.shape[0] * world_size, x2.shape[1] // world_size]
        return x1.new_empty(sizes, dtype=_dtype(number, name))
    number = ge_number(_FLOAT32 if number is None else number, name)
    scales = (bias, x1_scale, x2_scale)
    return kernels.matmul_all_to_all(x1, x2, *scales, world_size=world_size, y_dtype=number)


_ORDER = (
    "common_scale",
    "x1_offset",
    "x2_offset",
    "x1_quant_mode",
    "x2_quant_mode",
    "common_quant_mode",
    "group_sizes",
    "all2all_axes",
    "comm_quant_dtype",
    "x1_dtype",
    "x2_dtype",
    "x1_scale_dtype",
    "x2_scale_dtype",
    "output_scale_dtype",
    "comm_scale_dtype",
    "y_dtype",
    "comm_mode",
)


@implements("npu_all_to_all_quant_matmul")
def npu_all_to_all_quant_matmul(
    x1: Tensor, x2: Tensor, hcom: str, world_size: int, **named: Any
) -> tuple[Tensor, Tensor]:
    name = "npu_all_to_all_quant_matmul"
    optional = _scales(name, named)
    number = named.get("y_dtype")
    if x1.device.type == "meta":
        rows = x1.shape[0] // world_size
        exchanged = x1.new_empty([rows, x1.shape[1] * world_size])
        return x1.new_empty([rows, x2.shape[1]], dtype=_dtype(number, name)), exchanged
    number = ge_number(_FLOAT32 if number is None else number, name)
    return kernels.all_to_all_matmul(x1, x2, *optional, world_size=world_size, y_dtype=number)


@implements("npu_alltoallv_quant_gmm")
def npu_alltoallv_quant_gmm(*inputs: Any, **named: Any) -> tuple[Tensor, Tensor, Tensor]:
    return _experts("npu_alltoallv_quant_gmm", inputs, named)


@implements("npu_quant_gmm_alltoallv")
def npu_quant_gmm_alltoallv(*inputs: Any, **named: Any) -> tuple[Tensor, Tensor]:
    return _experts("npu_quant_gmm_alltoallv", inputs, named)[:2]


def _experts(
    name: str, inputs: tuple[Any, ...], named: dict[str, Any]
) -> tuple[Tensor, Tensor, Tensor]:
    """Rows, weights and their scales come first, then group, its size, counts, result type."""
    unused(name, named, _EXPERTS_UNUSED)
    x, weight = inputs[:2]
    _, ranks, sent, received, number = inputs[4:]
    numbers = {"y_dtype": ge_number(number, name)}
    if named.get("mm_y_dtype") is not None:
        numbers["mm_dtype"] = ge_number(named["mm_y_dtype"], name)
    if x.device.type == "meta":
        return _shapes(name, x, weight, received, number, named)
    tensors = ("mm_x", "mm_weight", "mm_x_scale", "mm_weight_scale")
    given: dict[str, Any] = {key: named.get(key) for key in tensors}
    flag = bool(named.get("permute_out_flag"))
    if name == "npu_alltoallv_quant_gmm":
        return kernels.all_to_allv_quant_grouped_mat_mul(
            *inputs[:4],
            ep_world_size=ranks,
            recv_counts=list(received),
            permute_out_flag=flag,
            **given,
            **numbers,
        )
    pair = kernels.quant_grouped_mat_mul_all_to_allv(
        *inputs[:4], ep_world_size=ranks, send_counts=list(sent), **given, **numbers
    )
    return *pair, x.new_empty(0)


def _shapes(
    name: str, x: Tensor, weight: Tensor, received: Sequence[int], number: int, named: Any
) -> tuple[Tensor, Tensor, Tensor]:
    rows = sum(received)
    found = x.new_empty([rows, weight.shape[-1]], dtype=_dtype(number, name))
    shared = x.new_empty(0, dtype=torch.float16)
    if named.get("mm_x") is not None:
        sizes = [named["mm_x"].shape[0], named["mm_weight"].shape[-1]]
        shared = x.new_empty(sizes, dtype=_dtype(named.get("mm_y_dtype"), name))
    moved = x.new_empty([rows, x.shape[1]] if named.get("permute_out_flag") else [0])
    return found, shared, moved
