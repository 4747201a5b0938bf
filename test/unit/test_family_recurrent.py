"""Recurrent layers and cells, which PyTorch unrolls over time, against eager."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from family_check import build, check, compare
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

import torchair

FEATURES, HIDDEN, STEPS, BATCH = 5, 4, 6, 3

LAYERS: dict[str, Callable[[], nn.Module]] = {
    "rnn tanh": lambda: nn.RNN(FEATURES, HIDDEN),
    "rnn relu": lambda: nn.RNN(FEATURES, HIDDEN, nonlinearity="relu", bias=False),
    "lstm": lambda: nn.LSTM(FEATURES, HIDDEN),
    "lstm of two layers": lambda: nn.LSTM(FEATURES, HIDDEN, 2, batch_first=True),
    "lstm both ways": lambda: nn.LSTM(FEATURES, HIDDEN, bidirectional=True),
    "lstm with projections": lambda: nn.LSTM(FEATURES, HIDDEN, proj_size=2),
    "lstm with dropout": lambda: nn.LSTM(FEATURES, HIDDEN, 2, dropout=0.5),
    "gru": lambda: nn.GRU(FEATURES, HIDDEN),
    "gru both ways": lambda: nn.GRU(FEATURES, HIDDEN, 2, bidirectional=True, batch_first=True),
}


def layer(name: str) -> nn.Module:
    torch.manual_seed(0)
    return LAYERS[name]().eval()


def sequence(*sizes: int) -> torch.Tensor:
    return torch.randn(sizes, generator=torch.Generator().manual_seed(sum(sizes)))


@pytest.fixture(autouse=True)
def frozen() -> Any:
    with torch.no_grad(), torch._dynamo.config.patch(allow_rnn=True):
        yield


@pytest.mark.parametrize("name", LAYERS)
def test_layer(name: str) -> None:
    check(layer(name), sequence(STEPS, BATCH, FEATURES), exact=False)


@pytest.mark.parametrize("name", ["rnn tanh", "lstm both ways", "gru"])
def test_layer_of_any_batch(name: str) -> None:
    """Time is unrolled, so only the batch is symbolic: one graph serves all."""
    module = layer(name)
    compiled, graphs = build(module, dynamic=None)
    for batch in (3, 5, 7):
        x = sequence(STEPS, batch, FEATURES)
        torch._dynamo.mark_dynamic(x, 1)
        compare(compiled(x), module(x), exact=False)
    assert len(graphs) == 1


@pytest.mark.parametrize("name", ["lstm", "gru"])
def test_layer_with_a_given_state(name: str) -> None:
    module, state = layer(name), sequence(1, BATCH, HIDDEN)

    def function(x: torch.Tensor, state: torch.Tensor) -> Any:
        return module(x, (state, state * 2) if name == "lstm" else state)

    check(function, sequence(STEPS, BATCH, FEATURES), state, exact=False)


def test_gradient() -> None:
    module, x = layer("lstm"), sequence(STEPS, BATCH, FEATURES)

    def gradients(function: Callable[..., Any]) -> list[torch.Tensor]:
        given = x.clone().requires_grad_()
        with torch.enable_grad():
            function(given)[0].square().sum().backward()
        found = [given.grad, *(p.grad for p in module.parameters())]
        module.zero_grad()
        return [g for g in found if g is not None]

    compiled, _ = build(module)
    compare(gradients(compiled), gradients(module), exact=False)


@pytest.mark.parametrize("name", ["rnn tanh", "lstm", "gru both ways"])
def test_packed_sequences(name: str) -> None:
    """Lengths are data that dynamo does not capture: the recurrence runs between two graphs."""
    module, first = layer(name), nn.Linear(FEATURES, FEATURES)
    lengths = torch.tensor([6, 4, 1])
    is_batch_first = name == "gru both ways"

    def function(x: torch.Tensor) -> Any:
        packed = pack_padded_sequence(first(x).relu(), lengths, batch_first=is_batch_first)
        result, state = module(packed)
        return pad_packed_sequence(result, batch_first=is_batch_first)[0] * 2, state

    sizes = (BATCH, STEPS) if is_batch_first else (STEPS, BATCH)
    x = sequence(*sizes, FEATURES)
    backend = torchair.get_npu_backend()
    torch._dynamo.reset()
    compare(torch.compile(function, backend=backend)(x), function(x), exact=False)
    assert len(backend.reports) >= 2


CELLS: dict[str, Callable[[], nn.Module]] = {
    "rnn": lambda: nn.RNNCell(FEATURES, HIDDEN),
    "relu": lambda: nn.RNNCell(FEATURES, HIDDEN, nonlinearity="relu"),
    "lstm": lambda: nn.LSTMCell(FEATURES, HIDDEN),
    "gru": lambda: nn.GRUCell(FEATURES, HIDDEN, bias=False),
}


@pytest.mark.parametrize("dynamic", [False, True], ids=["static", "dynamic"])
@pytest.mark.parametrize("name", CELLS)
def test_cell(name: str, dynamic: bool) -> None:
    torch.manual_seed(0)
    cell = CELLS[name]()

    def function(x: torch.Tensor, state: torch.Tensor) -> Any:
        return cell(x, (state, state + 1) if name == "lstm" else state)

    x, state = sequence(BATCH, FEATURES), sequence(BATCH, HIDDEN)
    check(function, x, state, dynamic=dynamic, exact=False)
