"""Converters of ``_foreach_*`` and of whole optimizer steps, against eager."""

from __future__ import annotations

import pytest
import torch
from family_check import check

UNARY = """abs acos asin atan ceil cos cosh erf erfc exp expm1 floor log log10 log1p log2 neg
reciprocal round rsqrt sigmoid sign sin sinh sqrt tan tanh trunc frac norm"""
BINARY = "add sub mul div maximum minimum clamp_min clamp_max pow"


def foreach(name):
    return getattr(torch, f"_foreach_{name}")


def unary(*tensors):
    return [result for name in UNARY.split() for result in foreach(name)(tensors)]


def binary(a, b, c, d):
    x, y = [a, b], [c, d]
    results = []
    for name in BINARY.split():
        function = foreach(name)
        results += function(y, x) + function(y, 0.3) + function(y, [0.3, 0.4])
    return results


def fused(a, b, c, d):
    x, y = [a, b], [c, d]
    return [
        *torch._foreach_add(x, y, alpha=0.3),
        *torch._foreach_mul(x, torch.tensor(2.0)),
        *torch._foreach_addcmul(x, y, y, value=0.2),
        *torch._foreach_addcdiv(x, y, y, [0.2, 0.3]),
        *torch._foreach_lerp(x, y, 0.3),
        *torch._foreach_lerp(x, y, y),
        *torch._foreach_pow(2.0, y),
        *torch._foreach_sub(x, y, alpha=2),
    ]


def operands(dtype=torch.float32):
    generator = torch.Generator().manual_seed(0)
    shapes = ((3, 4), (5,), (3, 4), (5,))
    return [(torch.rand(s, generator=generator) + 0.1).to(dtype) for s in shapes]


@pytest.mark.parametrize("dynamic", (False, True))
@pytest.mark.parametrize("dtype", (torch.float32, torch.float16))
def test_foreach(dtype, dynamic):
    check(unary, *operands(dtype)[:2], dynamic=dynamic)
    check(binary, *operands(dtype), dynamic=dynamic)
    check(fused, *operands(dtype), dynamic=dynamic)


def test_written_operands():
    def step(p1, p2, g1, g2):
        parameters = [p1, p2]
        torch._foreach_mul_(parameters, 0.9)
        torch._foreach_add_(parameters, [g1, g2], alpha=-0.1)
        torch._foreach_zero_([g1, g2])
        return p1 * 2

    check(step, *operands())


@pytest.mark.parametrize("foreach", (False, True))
@pytest.mark.parametrize("name", ("SGD", "Adam", "AdamW", "RMSprop"))
def test_optimizers(name, foreach):
    import torchair

    settings = {"lr": 0.01, "foreach": foreach, "weight_decay": 0.01}
    if name == "SGD":
        settings["momentum"] = 0.9
    torch.manual_seed(0)
    models = [torch.nn.Linear(4, 3), torch.nn.Linear(4, 3)]
    models[1].load_state_dict(models[0].state_dict())
    optimizers = [getattr(torch.optim, name)(m.parameters(), **settings) for m in models]
    torch._dynamo.reset()
    steps = [
        optimizers[0].step,
        torch.compile(optimizers[1].step, backend=torchair.get_npu_backend()),
    ]
    for _ in range(3):
        x = torch.randn(5, 4)
        for model, optimizer, step in zip(models, optimizers, steps, strict=True):
            optimizer.zero_grad()
            model(x).square().sum().backward()
            step()
    torch.testing.assert_close(models[1].weight, models[0].weight)
