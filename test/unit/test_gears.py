"""Gears: validation, guards, and captures made ahead."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from replay_check import captured, compile_for_replay, same_bits
from torch import Tensor

import torchair
from torchair.errors import ConfigError
from torchair.inference import set_dim_gears


@pytest.mark.parametrize(
    ("gears", "message"),
    [
        ({2: [4, 8]}, "a dimension that the tensor does not have"),
        ({"0": [4, 8]}, "a dimension that the tensor does not have"),
        ({0: 4}, "must be a list of ints"),
        ({0: [4, 8.0]}, "must be a list of ints"),
        ({0: [4]}, "gears of dimension 0 are illegal"),
        ({0: [0, 4]}, "gears of dimension 0 are illegal"),
        ({0: list(range(1, 102))}, "gears of dimension 0 are illegal"),
    ],
)
def test_illegal_gears_are_refused(gears: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        set_dim_gears(torch.zeros(4, 8), gears)


def test_gears_are_set_once() -> None:
    x = torch.zeros(4, 8)
    set_dim_gears(x, {0: [4, 8]})
    set_dim_gears(x, {0: [4, 8]})
    with pytest.raises(ConfigError, match="set already"):
        set_dim_gears(x, {0: [4, 16]})


def f(x: Tensor, y: Tensor) -> Tensor:
    return (x @ y).sum(-1, keepdim=True) * x.shape[0] + x


def geared(gears: dict[int, list[int]]) -> Tensor:
    x = torch.randn(4, 8)
    set_dim_gears(x, gears)
    return x


@torch.no_grad()
def test_every_gear_is_captured_at_the_first_call() -> None:
    compiled, backend = compile_for_replay(f, dynamic=True)
    y = torch.randn(8, 8)
    x = geared({0: [4, 16, 9]})
    assert same_bits(compiled(x, y), f(x, y))
    graph = captured(backend)
    assert graph.counts.captures == 3
    for rows in (16, 9, 4, 16):
        x = torch.randn(rows, 8)
        assert same_bits(compiled(x, y), f(x, y))
    assert (graph.counts.captures, len(backend.reports)) == (3, 1)


@torch.no_grad()
def test_a_size_between_gears_is_refused() -> None:
    compiled, backend = compile_for_replay(f, dynamic=True)
    y = torch.randn(8, 8)
    compiled(geared({0: [4, 16]}), y)
    x = torch.randn(9, 8)
    set_dim_gears(x, {0: [4, 16]})
    with pytest.raises(ConfigError, match=r"size 9 of dimension 0 of input 'l_x_'[\s\S]*\[4, 16\]"):
        compiled(x, y)
    x = torch.randn(9, 8)  # without gears it is a graph of its own
    assert same_bits(compiled(x, y), f(x, y))
    assert len(backend.reports) == 2


def two_gears(policy: str, gears: dict[int, list[int]]) -> Any:
    torch._dynamo.reset()
    config = torchair.CompilerConfig()
    config.mode = "reduce-overhead"
    config.inference_config.dynamic_gears_merge_policy = policy
    backend = torchair.get_npu_backend(compiler_config=config)
    compiled = torch.compile(lambda x: x * 2 + 1, backend=backend, dynamic=True, fullgraph=True)
    with torch.no_grad():
        assert compiled(geared(gears)).shape == (4, 8)
    return captured(backend)


def test_gears_of_several_dimensions() -> None:
    gears = {0: [4, 6], 1: [8, 10]}
    assert two_gears("zip", gears).counts.captures == 2
    assert two_gears("product", gears).counts.captures == 4


def test_zip_needs_equal_lengths_and_products_are_bounded() -> None:
    with pytest.raises(ConfigError, match="needs as many gears"):
        two_gears("zip", {0: [4, 6], 1: [8, 10, 12]})
    with pytest.raises(ConfigError, match="too many combinations"):
        two_gears("product", {0: list(range(1, 20)), 1: list(range(1, 20))})
