"""Reference of npu inference attention: loops over tokens in float64."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

TOLERANCE = {torch.float32: 1e-5, torch.float16: 2e-3, torch.bfloat16: 2e-2}
Shown = Callable[[int, int, int], bool]
"""(sequence, query token, key token) -> whether the key token is seen."""


def reference(
    q: Tensor, k: Tensor, v: Tensor, scale: float, shown: Shown, shift: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Output and log-sum-exp of ``[batch, heads, tokens, head]`` tensors, one row at a time."""
    batch, heads, rows, _ = q.shape
    groups = heads // k.shape[1]
    out = torch.zeros(batch, heads, rows, v.shape[-1], dtype=torch.float64)
    lse = torch.full((batch, heads, rows, 1), math.inf, dtype=torch.float64)
    for b in range(batch):
        for n in range(heads):
            for i in range(rows):
                columns = [j for j in range(k.shape[2]) if shown(b, i, j)]
                if not columns:
                    continue
                keys, values = k[b, n // groups, columns], v[b, n // groups, columns]
                scores = keys.double() @ q[b, n, i].double() * scale
                if shift is not None:
                    scores = scores + shift[min(b, shift.shape[0] - 1), n, i, columns].double()
                out[b, n, i] = torch.softmax(scores, 0) @ values.double()
                lse[b, n, i, 0] = torch.logsumexp(scores, 0)
    return out, lse


def everything(b: int, i: int, j: int) -> bool:
    return True


def check(found: Tensor, expected: Tensor) -> None:
    limit = TOLERANCE[found.dtype]
    torch.testing.assert_close(found.double(), expected, rtol=limit, atol=limit)


def tensors(dtype: torch.dtype, *shapes: tuple[int, ...]) -> list[Tensor]:
    torch.manual_seed(0)
    return [torch.randn(shape).to(dtype) for shape in shapes]


def from_bnsd(x: Tensor, layout: str) -> Tensor:
    if layout == "BSH":
        return x.transpose(1, 2).flatten(2)
    return {"BNSD": x, "BSND": x.transpose(1, 2), "NBSD": x.transpose(0, 1)}[layout].contiguous()


def pages_of(x: Tensor, size: int, order: list[list[int]]) -> Tensor:
    """``[pages, heads, page, head]`` with page ``order[b][i]`` holding part ``i`` of sequence b."""
    pages = torch.full((12, x.shape[1], size, x.shape[3]), math.nan, dtype=x.dtype)
    for b, row in enumerate(order):
        for i, page in enumerate(row):
            part = x[b, :, i * size : (i + 1) * size]
            pages[page, :, : part.shape[1]] = part
    return pages
