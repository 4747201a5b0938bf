"""Softmax of biased and of masked scores: which operator it becomes, and that numbers are kept."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from test_fusions import TOLERANCE, compile_and_count
from torch import Tensor
from torch.nn import functional


def check(form: Any, inputs: tuple[Tensor, ...], folder: Path) -> set[str]:
    """GE operators of the compiled function, whose numbers are compared with eager."""
    expected = form(*inputs)
    found, nodes = compile_and_count(form, inputs, folder)
    limit = TOLERANCE[inputs[0].dtype]
    torch.testing.assert_close(found, expected, rtol=limit, atol=limit)
    return set(nodes) - {"Data", "Const", "NetOutput"}


def shifted_windows(x: Tensor, bias: Tensor, mask: Tensor) -> Tensor:
    """Scores of Swin as transformers writes them: ``[batch * windows, heads, tokens, tokens]``."""
    scores = x / math.sqrt(32) + bias.unsqueeze(0)
    windows = mask.shape[0]
    scores = scores.view(x.shape[0] // windows, windows, *scores.shape[1:])
    scores = (scores + mask.unsqueeze(1).unsqueeze(0)).view(x.shape)
    return functional.softmax(scores, dim=-1)


def biased(x: Tensor, bias: Tensor, mask: Tensor) -> Tensor:
    return torch.softmax(x * 0.25 + bias, -1)


def biased_from_the_left(x: Tensor, bias: Tensor, mask: Tensor) -> Tensor:
    return torch.softmax(bias[None] + x, -1)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("form", [shifted_windows, biased, biased_from_the_left])
def test_biases_of_heads(form: Any, dtype: torch.dtype, tmp_path: Path) -> None:
    torch.manual_seed(0)
    x, bias = torch.randn(6, 4, 9, 9, dtype=dtype), torch.randn(4, 9, 9, dtype=dtype)
    mask = torch.where(torch.rand(3, 9, 9) > 0.5, 0.0, -100.0).to(dtype)
    nodes = check(form, (x, bias, mask), tmp_path)
    assert "MaskedSoftmaxWithRelPosBias" in nodes
    assert not {"SoftmaxV2", "Add", "Muls"} & nodes


def masked_fill(x: Tensor, hidden: Tensor) -> Tensor:
    return torch.softmax((x * 0.125).masked_fill(hidden, -10000.0), -1)


def least_of_the_type(x: Tensor, hidden: Tensor) -> Tensor:
    least = torch.finfo(x.dtype).min
    scores = (x / 8.0).masked_fill(hidden, least)
    return functional.softmax(scores, dim=-1, dtype=torch.float32).to(x.dtype)


def where(x: Tensor, hidden: Tensor) -> Tensor:
    least = torch.full([], torch.finfo(x.dtype).min, dtype=x.dtype, device=x.device)
    return torch.softmax(torch.where(hidden, least, x), -1)


def where_shown(x: Tensor, hidden: Tensor) -> Tensor:
    return torch.softmax(torch.where(~hidden, x * 0.125, -5e4), -1)


MASKED = (masked_fill, least_of_the_type, where, where_shown)


@pytest.mark.parametrize("shape", [(2, 1, 32, 64), (1, 1, 1, 64), (32, 64)])
@pytest.mark.parametrize(
    ("form", "dtype"),
    [(form, torch.float16) for form in MASKED] + [(least_of_the_type, torch.bfloat16)],
)
def test_masks(form: Any, dtype: torch.dtype, shape: tuple[int, ...], tmp_path: Path) -> None:
    torch.manual_seed(1)
    x, hidden = torch.randn(2, 4, 32, 64, dtype=dtype), torch.rand(shape) > 0.6
    if shape == (2, 1, 32, 64):
        hidden[0, 0, 3] = True  # a row without scores: equal weights
    nodes = check(form, (x, hidden), tmp_path)
    assert "ScaledMaskedSoftmax" in nodes and "SoftmaxV2" not in nodes


@pytest.mark.parametrize(
    ("dtype", "columns"), [(torch.float32, 64), (torch.float16, 60), (torch.float16, 4128)]
)
def test_what_it_does_not_take(dtype: torch.dtype, columns: int, tmp_path: Path) -> None:
    x, hidden = torch.randn(1, 2, 32, columns, dtype=dtype), torch.rand(32, columns) > 0.6
    nodes = check(masked_fill, (x, hidden), tmp_path)
    assert "SoftmaxV2" in nodes and "ScaledMaskedSoftmax" not in nodes


def test_infinity_stays(tmp_path: Path) -> None:
    def zeros_for_empty_rows(x: Tensor, hidden: Tensor) -> Tensor:
        return torch.softmax(x.masked_fill(hidden, -math.inf), -1).nan_to_num()

    x, hidden = torch.randn(1, 2, 32, 32).half(), torch.rand(32, 32) > 0.5
    hidden[4] = True
    assert "SoftmaxV2" in check(zeros_for_empty_rows, (x, hidden), tmp_path)


def test_attention_that_returns_its_weights(tmp_path: Path) -> None:
    def attention(q: Tensor, k: Tensor, v: Tensor, hidden: Tensor) -> tuple[Tensor, Tensor]:
        weights = least_of_the_type(q @ k.transpose(2, 3), hidden)
        return weights @ v, weights

    torch.manual_seed(2)
    q, k, v = (torch.randn(2, 4, 32, 16).half() for _ in range(3))
    nodes = check(attention, (q, k, v, torch.ones(32, 32).triu(1).bool()), tmp_path)
    assert "ScaledMaskedSoftmax" in nodes and not {"SoftmaxV2", "Cast", "Muls"} & nodes
