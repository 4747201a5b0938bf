"""The models that must work, against eager: static and dynamic, float32 and bfloat16, and
training."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from models import Llama, ResNet, make_encoder, make_mlp

import torchair


def token_ids(batch: int, length: int) -> torch.Tensor:
    return torch.randint(0, 128, (batch, length))


def images(batch: int, size: int) -> torch.Tensor:
    return torch.randn(batch, 3, size, size)


MODELS: dict[str, tuple[Callable[[], torch.nn.Module], Callable[[int], torch.Tensor]]] = {
    "mlp": (make_mlp, lambda n: torch.randn(2 + n, 16)),
    "llama": (Llama, lambda n: token_ids(2, 6 + n)),
    "encoder": (make_encoder, lambda n: torch.randn(2, 5 + n, 64)),
    "resnet": (ResNet, lambda n: images(2 + n, 32)),
}
TOLERANCE = {torch.float32: 1e-5, torch.bfloat16: 2e-2}


def prepare(name: str, dtype: torch.dtype, count: int) -> tuple[torch.nn.Module, list[Any]]:
    torch._dynamo.reset()
    torch.manual_seed(0)
    make, sample = MODELS[name]
    model = make().to(dtype)
    inputs = [sample(n) for n in range(count)]
    return model, [x.to(dtype) if x.is_floating_point() else x for x in inputs]


def relative_error(got: torch.Tensor, expected: torch.Tensor) -> float:
    scale = expected.abs().max().float().clamp_min(1e-30)
    return ((got.float() - expected.float()).abs().max() / scale).item()


def weighted_loss(output: torch.Tensor) -> torch.Tensor:
    """A loss whose gradient does not vanish behind a normalisation."""
    weight = torch.randn(output.shape, generator=torch.Generator().manual_seed(1))
    return (output * weight).sum()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["float32", "bfloat16"])
@pytest.mark.parametrize("dynamic", [False, True], ids=["static", "dynamic"])
@pytest.mark.parametrize("name", MODELS)
def test_forward_equals_eager(name: str, dynamic: bool, dtype: torch.dtype) -> None:
    model, inputs = prepare(name, dtype, 3 if dynamic else 1)
    model.eval()
    compiled = torch.compile(
        model, backend=torchair.get_npu_backend(), dynamic=dynamic, fullgraph=True
    )
    with torch.no_grad():
        for x in inputs:
            assert relative_error(compiled(x), model(x)) <= TOLERANCE[dtype]


@pytest.mark.parametrize("dynamic", [False, True], ids=["static", "dynamic"])
@pytest.mark.parametrize("name", MODELS)
def test_training_step_equals_eager(name: str, dynamic: bool) -> None:
    model, inputs = prepare(name, torch.float32, 1)
    reference, _ = prepare(name, torch.float32, 1)
    model.train()
    reference.train()
    compiled = torch.compile(
        model, backend=torchair.get_npu_backend(), dynamic=dynamic, fullgraph=True
    )
    loss = weighted_loss(compiled(inputs[0]))
    expected = weighted_loss(reference(inputs[0]))
    loss.backward()
    expected.backward()
    assert relative_error(loss, expected) <= 1e-5
    for (label, p), q in zip(model.named_parameters(), reference.parameters(), strict=True):
        assert p.grad is not None and q.grad is not None, label
        assert relative_error(p.grad, q.grad) <= 1e-4, label
    for (label, a), b in zip(model.named_buffers(), reference.buffers(), strict=True):
        assert relative_error(a, b) <= 1e-5, label
