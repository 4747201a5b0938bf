"""Products of 8-bit floats added to a float32 tensor: gradients over micro-batches."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from torchair.backend_ge.host.kernels import npu_matmul_accumulation as kernels
from torchair.dialects.ge.npu_types import packed_group_sizes
from torchair.errors import ConversionError
from torchair.frontend.npu_operators.narrow_results import held
from torchair.frontend.npu_operators.registry import implements


@implements("npu_add_quant_matmul")
def npu_add_quant_matmul(
    input: Tensor,
    x1: Tensor,
    x2: Tensor,
    x2_scale: Tensor,
    *,
    x1_scale: Tensor | None = None,
    group_sizes: Sequence[int] | None = None,
    **types: int | None,
) -> Tensor:
    name = "npu_add_quant_matmul"
    x1, x2, x2_scale, x1_scale = _typed(name, (x1, x2, x2_scale, x1_scale), types)
    size = packed_group_sizes(group_sizes, name)
    return kernels.quant_batch_matmul_inplace_add(
        x1, x2, x2_scale, input, x1_scale, group_size=size
    )


@implements("npu_add_quant_matmul_")
def npu_add_quant_matmul_(input: Tensor, *others: Any, **named: Any) -> Tensor:
    return input.copy_(npu_add_quant_matmul(input, *others, **named))


@implements("npu_add_quant_gmm")
def npu_add_quant_gmm(
    input: Tensor,
    x1: Tensor,
    x2: Tensor,
    x2_scale: Tensor,
    group_list: Tensor,
    *,
    x1_scale: Tensor | None = None,
    group_list_type: int | None = 0,
    group_sizes: Sequence[int] | None = None,
    **types: int | None,
) -> Tensor:
    name = "npu_add_quant_gmm"
    if group_sizes is not None:
        raise ConversionError(f"{name} takes no group_sizes", hint="leave group_sizes out")
    x1, x2, x2_scale, x1_scale = _typed(name, (x1, x2, x2_scale, x1_scale), types)
    return kernels.quant_grouped_matmul_inplace_add(
        x1, x2, x2_scale, group_list, input, x1_scale, group_list_type or 0
    )


@implements("npu_add_quant_gmm_")
def npu_add_quant_gmm_(input: Tensor, *others: Any, **named: Any) -> Tensor:
    return input.copy_(npu_add_quant_gmm(input, *others, **named))


_TYPES = ("x1_dtype", "x2_dtype", "x2_scale_dtype", "x1_scale_dtype")


def _typed(name: str, tensors: Sequence[Tensor | None], types: dict[str, int | None]) -> Any:
    """Matrices and scales under the element types that the numbers name."""
    numbers = [types.get(key) for key in _TYPES]
    pairs = zip(tensors, numbers, strict=True)
    return [None if tensor is None else held(tensor, number, name) for tensor, number in pairs]
