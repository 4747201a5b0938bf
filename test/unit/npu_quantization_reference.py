"""References for tests of npu quantisation: loops over Python numbers."""

from __future__ import annotations

import torch
from torch import Tensor


def clamp_round(value: float, low: int = -128, high: int = 127) -> int:
    """Half to even, as Python rounds."""
    return max(low, min(high, round(value)))


def int4_values(x: Tensor, width: int = 32) -> Tensor:
    """The signed nibbles of packed numbers, lowest first."""
    digits: list[int] = []
    for number in x.flatten().tolist():
        for place in range(0, width, 4):
            nibble = (number >> place) & 0xF
            digits.append(nibble - 16 if nibble >= 8 else nibble)
    return torch.tensor(digits).reshape(*x.shape[:-1], -1)


def near(found: Tensor, expected: Tensor, ties: int = 1) -> None:
    """Integers equal up to a tie that float32 and float64 round differently."""
    assert found.shape == expected.shape
    assert (found.long() - expected.long()).abs().max() <= ties
    assert (found.long() != expected.long()).float().mean() < 0.02


def dynamic_reference(x: Tensor, largest: float = 127.0) -> tuple[Tensor, Tensor]:
    rows = x.double().flatten(0, -2)
    scale = [max(abs(v) for v in row) / largest for row in rows.tolist()]
    y = [
        [clamp_round(v / (s or 1.0), -int(largest) - 1, int(largest)) for v in row]
        for row, s in zip(rows.tolist(), scale, strict=True)
    ]
    return torch.tensor(y).reshape(x.shape), torch.tensor(scale).reshape(x.shape[:-1])
