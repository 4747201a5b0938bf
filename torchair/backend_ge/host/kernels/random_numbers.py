"""Kernels of random tensors and dropout: they draw from PyTorch's default generator.

A seed attribute other than 0 asks for a sequence of its own, which the host device does not have:
that is an error, as with any attribute that a kernel does not declare.
"""

from __future__ import annotations

import torch
from torch import Tensor

from torchair.backend_ge.host.kernels.numbers import in_type, known_number, value_of
from torchair.backend_ge.host.kernels.registry import ints, kernel


@kernel("RandomUniform", random=True)
def random_uniform(shape: Tensor, dtype: torch.dtype) -> Tensor:
    return torch.rand(ints(shape), dtype=dtype)


@kernel("RandomStandardNormal", random=True)
def random_standard_normal(shape: Tensor, dtype: torch.dtype) -> Tensor:
    return torch.randn(ints(shape), dtype=dtype)


@kernel("RandomUniformInt", random=True)
def random_uniform_int(shape: Tensor, min: Tensor, max: Tensor) -> Tensor:
    low, high = ints(min)[0], ints(max)[0]
    return torch.randint(low, high, ints(shape), dtype=min.dtype)


@kernel("Randperm", random=True)
def randperm(n: int, dtype: torch.dtype) -> Tensor:
    return torch.randperm(n, dtype=dtype)


@kernel("MultinomialWithReplacement", random=True)
def multinomial(
    x: Tensor, seed: Tensor, offset: Tensor, numsamples: int, replacement: bool
) -> Tensor:
    """The generator takes the place of the seed and the offset."""
    return torch.multinomial(x, numsamples, replacement)


@kernel("DropOutGenMaskV4", random=True)
def drop_out_gen_mask_v4(shape: Tensor, prob: Tensor, dtype: torch.dtype) -> Tensor:
    """Bools, as ``native_dropout`` draws them; the other type, packed bits, has no PyTorch form."""
    blank = torch.empty(ints(shape), dtype=dtype)
    return torch.ops.aten.bernoulli.p(blank, value_of(prob))


@kernel("DropOutDoMaskV3")
def drop_out_do_mask_v3(x: Tensor, mask: Tensor, keep_prob: Tensor) -> Tensor:
    """The factor is rounded to the type of x first, as eager dropout does."""
    keep = known_number(keep_prob)
    if keep is None:
        return x * mask / keep_prob
    return x * mask * in_type(1.0 / keep if keep else 0.0, x.dtype)
