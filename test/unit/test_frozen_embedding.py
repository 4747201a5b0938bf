"""The factor of an embedding folded into its table where parameters are frozen."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from test_frozen_batch_norm import compile_frozen
from torch import Tensor, nn

from torchair.frontend import frozen_embedding


class Scaled(nn.Module):
    """Embeddings as transformers scale them, with a projection of the same weights or not."""

    def __init__(
        self, dtype: torch.dtype, *, tied: bool = False, factor: float = 24.0**0.5
    ) -> None:
        super().__init__()
        self.table = nn.Embedding(11, 24, padding_idx=0, dtype=dtype)
        nn.init.normal_(self.table.weight)
        self.tied, self.factor = tied, factor

    def forward(self, ids: Tensor) -> Tensor:
        found = self.table(ids) * self.factor
        return found @ self.table.weight.T if self.tied else found


IDS = torch.tensor([[3, 0, 10], [7, 7, 1]])


@pytest.mark.parametrize("numerics", ["fast", "eager"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_any_factor_keeps_every_bit(dtype: torch.dtype, numerics: str, tmp_path: Path) -> None:
    model = Scaled(dtype)
    found, types = compile_frozen(model, IDS, tmp_path, numerics=numerics)
    assert torch.equal(found, model(IDS))
    assert not {"Mul", "Muls"} & set(types)


def test_any_number_of_tokens(tmp_path: Path) -> None:
    model = Scaled(torch.bfloat16, factor=math.pi)
    found, types = compile_frozen(model, IDS, tmp_path, dynamic=True)
    assert torch.equal(found, model(IDS)) and not {"Mul", "Muls"} & set(types)


def test_tied_weights_stay(tmp_path: Path) -> None:
    model = Scaled(torch.float32, tied=True)
    found, types = compile_frozen(model, IDS, tmp_path)
    torch.testing.assert_close(found, model(IDS))
    assert {"Mul", "Muls"} & set(types)


def test_large_tables_stay(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    model = Scaled(torch.float32)
    monkeypatch.setattr(frozen_embedding, "_LARGEST", model.table.weight.nbytes - 1)
    found, types = compile_frozen(model, IDS, tmp_path)
    assert torch.equal(found, model(IDS)) and {"Mul", "Muls"} & set(types)


def test_parameters_that_may_change_stay(tmp_path: Path) -> None:
    model = Scaled(torch.float32)
    found, types = compile_frozen(model, IDS, tmp_path, frozen=False)
    assert torch.equal(found, model(IDS)) and {"Mul", "Muls"} & set(types)
