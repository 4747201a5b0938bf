"""Decompositions of the grouped matrix product that transformers' experts call where PyTorch's own
cannot be traced: while compiling, for every element type but bfloat16."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

_MODULE = "transformers.integrations.moe"
"""Registers the operators; nothing of them is in a graph unless the user's program imported it."""
_ROWS, _INNER = 0, 2
"""``group_type``: groups of rows, groups of what is summed over."""


def _grouped(x: Tensor, weight: Tensor, offs: Tensor, group_type: int) -> Tensor:
    ends = offs.to(torch.int64)
    [result] = torch.ops.npu.npu_grouped_matmul(
        [x], [weight], group_list=ends, split_item=3, group_type=group_type
    )
    return result


def _forward(input: Tensor, weight: Tensor, offs: Tensor) -> Tensor:
    """Rows of ``input[S, K]``, sorted by expert, times ``weight[experts, K, N]``; ``offs`` is where
    the rows of each expert end."""
    return _grouped(input, weight, offs, _ROWS)


def _backward(
    input: Tensor, weight: Tensor, offs: Tensor, grad_output: Tensor
) -> tuple[Tensor, Tensor]:
    by_input = _grouped(grad_output, weight.mT.contiguous(), offs, _ROWS)
    return by_input, _grouped(input.mT.contiguous(), grad_output, offs, _INNER)


def transformers_experts() -> dict[Any, Callable[..., Any]]:
    """Decompositions by OpOverload, when the program knows the operators."""
    module = sys.modules.get(_MODULE)
    space = torch.ops.transformers
    if module is None or not hasattr(space, "grouped_mm_fallback"):
        return {}
    return {
        space.grouped_mm_fallback.default: _forward,
        space.grouped_mm_fallback_backward.default: _backward,
    }
