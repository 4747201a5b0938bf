"""Kernels of tensors made from numbers and shapes, copies and conversions."""

from __future__ import annotations

import torch
from torch import Tensor

from torchair.backend_ge.host.kernels.numbers import value_of, written
from torchair.backend_ge.host.kernels.registry import ints, kernel, torch_dtype
from torchair.backend_ge.host.narrow_types import converted


@kernel("Fill")
def fill(dims: Tensor, value: Tensor) -> Tensor:
    return value.expand(ints(dims)).contiguous()


@kernel("FillV2")
def fill_v2(dims: Tensor, value: float) -> Tensor:
    return torch.full(ints(dims), value, dtype=torch.float32)


@kernel("Fills")
def fills(x: Tensor, value: float) -> Tensor:
    return torch.full_like(x, written(value) if x.is_floating_point() else int(value))


@kernel("ZerosLike")
def zeros_like(x: Tensor) -> Tensor:
    return torch.zeros_like(x)


@kernel("OnesLike")
def ones_like(x: Tensor) -> Tensor:
    return torch.ones_like(x)


@kernel("Empty")
def empty(shape: Tensor, dtype: int, init: bool) -> Tensor:
    make = torch.zeros if init else torch.empty
    return make(ints(shape), dtype=torch_dtype(dtype))


@kernel("Range")
def range_(start: Tensor, limit: Tensor, delta: Tensor) -> Tensor:
    numbers = [value_of(v) for v in (start, limit, delta)]
    return torch.arange(*numbers, dtype=start.dtype)


@kernel("LinSpace")
def lin_space(start: Tensor, stop: Tensor, num: Tensor) -> Tensor:
    return torch.linspace(value_of(start), value_of(stop), ints(num)[0], dtype=start.dtype)


@kernel("Eye")
def eye(num_rows: int, num_columns: int, batch_shape: list[int], dtype: int) -> Tensor:
    columns = num_columns or num_rows
    matrix = torch.eye(num_rows, columns, dtype=torch_dtype(dtype))
    return matrix.expand([*batch_shape, num_rows, columns]) if batch_shape else matrix


@kernel("Tril")
def tril(x: Tensor, diagonal: int) -> Tensor:
    return torch.tril(x, diagonal)


@kernel("Triu")
def triu(x: Tensor, diagonal: int) -> Tensor:
    return torch.triu(x, diagonal)


@kernel("Cast")
def cast(x: Tensor, dst_type: int) -> Tensor:
    return converted(x, torch_dtype(dst_type))


@kernel("Identity")
def identity(x: Tensor) -> Tensor:
    return x
