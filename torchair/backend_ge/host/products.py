"""Which matrix products the native program computes itself: of one row, by rows of the matrix.

``x[1, k] @ w[n, k].T`` reads every number of w once, so it is as slow as the BLAS library reads
memory. MKL has no wide kernel for some processors and reads at a third of the speed there; the code
of ``native/program/row_product.h`` adds in the same order, faster. Nobody promises that order, so
it is tried, per shape and number of threads: where one bit differs, torch makes the call.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch.utils._python_dispatch import _disable_current_modes

from torchair import _native

if TYPE_CHECKING:
    from torch._ops import OpOverload

Layout = tuple[int, list[int], list[int]]
"""torch's number of the dtype, sizes and strides in elements."""

TRIED_ELEMENTS = 1 << 16
"""Size of the matrix that an order is tried with: every row is added up alike."""

_mkldnn: Any = torch.backends.mkldnn  # some of its attributes are made at run time
_FULL_PRECISION = ("none", "ieee")

_ROWS = 4
"""Rows in a block of MKL's; those that are left over are added in another order."""


@dataclass(frozen=True, slots=True)
class RowProduct:
    """A product of one row with the transpose of a matrix, all of float32 and without gaps.

    Args:
        rows, columns: of the matrix.
        has_bias: whether a vector is added.
        threads: torch's number of threads.
    """

    rows: int
    columns: int
    has_bias: bool
    threads: int


def row_product(
    op: OpOverload, operands: Sequence[Layout], kwargs: dict[str, object]
) -> RowProduct | None:
    """The product that a call is, when the native program computes its very bits.

    Args:
        op: the operator.
        operands: layouts of its tensors in schema order.
        kwargs: its keyword arguments.
    """
    has_bias = op is torch.ops.aten.addmm.default
    if not has_bias and op is not torch.ops.aten.mm.default:
        return None
    if any(kwargs.get(name, 1) != 1 for name in ("alpha", "beta")) or len(operands) != 2 + has_bias:
        return None
    *bias, vector, matrix = operands
    if len(matrix[1]) != 2 or _mkldnn.matmul.fp32_precision not in _FULL_PRECISION:
        return None
    columns, rows = matrix[1]
    expected = [(vector, [1, columns], [columns, 1]), (matrix, [columns, rows], [1, columns])]
    expected += [(found, [rows], [1]) for found in bias]
    if not all(_is_laid_out(*layout) for layout in expected):
        return None
    product = RowProduct(rows, columns, has_bias, torch.get_num_threads())
    return product if rows % _ROWS == 0 and adds_like_torch(product) else None


def _is_laid_out(layout: Layout, sizes: list[int], strides: list[int]) -> bool:
    """Whether a tensor is of float32 and has these sizes and strides, save those of dimensions of
    one element."""
    dtype, found_sizes, found_strides = layout
    return (
        dtype == _native.torch_enumerator("aoti_torch_dtype_float32")
        and found_sizes == sizes
        and all(
            size == 1 or found == wanted
            for size, found, wanted in zip(sizes, found_strides, strides, strict=True)
        )
    )


@functools.cache
def adds_like_torch(product: RowProduct) -> bool:
    """Whether torch computes the same bits of such a product, tried with random numbers."""
    with _disable_current_modes(), torch._C._DisableAutocast(), torch.inference_mode(False):
        return _adds_like_torch(product)


def _adds_like_torch(product: RowProduct) -> bool:
    rows = min(product.rows, max(_ROWS, TRIED_ELEMENTS // max(product.columns, 1) // 8 * 8))
    generator = torch.Generator().manual_seed(product.columns)
    kind: Any = {"dtype": torch.float32, "device": "cpu"}
    matrix = torch.randn(rows, product.columns, generator=generator, **kind)
    vector = torch.randn(1, product.columns, generator=generator, **kind)
    bias = torch.randn(rows, generator=generator, **kind)
    found = torch.empty(1, rows, **kind)
    computed = _native.multiply_rows(
        (rows, product.columns, product.has_bias, False, product.threads),
        matrix.data_ptr(),
        vector.data_ptr(),
        bias.data_ptr() if product.has_bias else 0,
        found.data_ptr(),
    )
    if not computed:
        return False
    expected = torch.mm(vector, matrix.t())
    if product.has_bias:
        expected = torch.addmm(bias, vector, matrix.t())
    return torch.equal(found, expected)
