"""Trains a module one step, eagerly and compiled, and compares everything it leaves behind."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from family_check import Compiled, build

from torchair.frontend.whole_operators import whole_operators


def check_training(
    make: Callable[[], torch.nn.Module],
    x: torch.Tensor,
    *,
    dynamic: bool = False,
    tolerance: float | None = None,
) -> list[Compiled]:
    """Compare the result, the gradients of input and parameters, and the buffers.

    Args:
        make: makes the module; its parameters are drawn with a fixed seed.
        x: the input; the module is cast to its dtype.
        dynamic: compile with symbolic sizes.
        tolerance: relative and absolute; None demands equal bits.

    Returns:
        The graphs that were compiled, forward first.
    """
    wanted = _step(make, x, lambda module: module)
    built: list[list[Compiled]] = []

    def compiled(module: torch.nn.Module) -> Callable[..., Any]:
        function, graphs = build(lambda value: module(value), dynamic=dynamic)
        built.append(graphs)
        return function

    found = _step(make, x, compiled)
    bound = 0.0 if tolerance is None else tolerance
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=bound, atol=bound, equal_nan=True)
    return built[0]


def _step(
    make: Callable[[], torch.nn.Module], x: torch.Tensor, prepare: Callable[..., Any]
) -> list[torch.Tensor]:
    torch.manual_seed(1)
    module = make().to(x.dtype)
    given = x.detach().clone().requires_grad_()
    with whole_operators():
        y = prepare(module)(given)
        weights = torch.linspace(-1, 1, y.numel(), dtype=y.dtype).reshape(y.shape)
        (y * weights).sum().backward()
    grads = [p.grad for p in module.parameters() if p.grad is not None]
    assert given.grad is not None
    return [y.detach(), given.grad, *grads, *module.buffers()]
