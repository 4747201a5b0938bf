"""The models that must work, in mode reduce-overhead: bit for bit what eager computes."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from models import Llama, ResNet, make_encoder, make_mlp
from replay_check import captured, compile_for_replay, same_bits

MODELS: dict[str, tuple[Callable[[], torch.nn.Module], Callable[[int], torch.Tensor]]] = {
    "mlp": (make_mlp, lambda n: torch.randn(2 + n, 16)),
    "llama": (Llama, lambda n: torch.randint(0, 128, (2, 6 + n))),
    "encoder": (make_encoder, lambda n: torch.randn(2, 5 + n, 64)),
    "resnet": (ResNet, lambda n: torch.randn(2 + n, 3, 32, 32)),
}


def prepare(name: str, dtype: torch.dtype, count: int) -> tuple[torch.nn.Module, list[Any]]:
    torch.manual_seed(0)
    make, sample = MODELS[name]
    model = make().to(dtype)
    inputs = [sample(n) for n in range(count)]
    return model, [x.to(dtype) if x.is_floating_point() else x for x in inputs]


@pytest.mark.parametrize(
    ("dynamic", "dtype"),
    [(False, torch.float32), (True, torch.float32), (False, torch.bfloat16)],
    ids=["static", "dynamic", "bfloat16"],
)
@pytest.mark.parametrize("name", MODELS)
@torch.no_grad()
def test_forward_is_eager_bit_for_bit(name: str, dynamic: bool, dtype: torch.dtype) -> None:
    model, inputs = prepare(name, dtype, 3 if dynamic else 1)
    model.eval()
    compiled, backend = compile_for_replay(model, dynamic=dynamic)
    for x in (*inputs, *inputs):
        assert same_bits(compiled(x), model(x))
    counts = captured(backend).counts
    assert (counts.captures, counts.eager, len(backend.reports)) == (len(inputs), 0, 1)


@pytest.mark.parametrize(("name", "dynamic"), [*((name, False) for name in MODELS), ("mlp", True)])
def test_training_is_eager_bit_for_bit(name: str, dynamic: bool) -> None:
    """Two steps of training with dropout: outputs, gradients, buffers, parameters."""
    model, inputs = prepare(name, torch.float32, 2 if dynamic else 1)
    reference = copy.deepcopy(model)
    compiled, _ = compile_for_replay(model, dynamic=dynamic)
    optimizers = [torch.optim.SGD(m.parameters(), lr=0.01) for m in (model, reference)]
    for x in (*inputs, *inputs):
        for call, optimizer in zip((compiled, reference), optimizers, strict=True):
            torch.manual_seed(1)
            optimizer.zero_grad()
            output = call(torch.dropout(x, 0.1, True) if x.is_floating_point() else x)
            (output.square().mean() + output.sum()).backward()
            optimizer.step()
        for (label, p), q in zip(model.state_dict().items(), reference.state_dict().values()):  # noqa: B905
            assert same_bits(p, q), label


@torch.no_grad()
def test_the_llama_example_decodes_the_same_tokens() -> None:
    from examples.llama_decode import Decoder, decode

    torch.manual_seed(0)
    model = Decoder().eval()
    compiled, backend = compile_for_replay(model)
    assert decode(compiled, model, 12)[0] == decode(model, model, 12)[0]
    operators = captured(backend).captures[0].operators
    assert operators.count("aten::index_copy_") == 2 * len(model.layers)
    assert "aten::copy_" not in operators
