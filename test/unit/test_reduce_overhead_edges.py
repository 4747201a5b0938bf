"""Inputs, outputs and modes at the edge, in mode reduce-overhead."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from replay_check import captured, compile_for_replay, same_bits
from torch import Tensor

Case = tuple[Callable[..., Any], Callable[[], tuple[Tensor, ...]]]
CASES: dict[str, Case] = {
    "input_returned": (lambda x: x, lambda: (torch.randn(3),)),
    "view_returned": (lambda x: x.view(-1)[1:], lambda: (torch.randn(2, 3),)),
    "constant_returned": (lambda x: torch.ones(3), lambda: (torch.randn(3),)),
    "tensor_literal": (lambda x: torch.tensor([1.0, 2.0, 3.0]), lambda: (torch.randn(3),)),
    "sizes_returned": (lambda x: (x.shape[0], x + 1, None), lambda: (torch.randn(3),)),
    "no_elements": (lambda x: (x * 2).sum(0), lambda: (torch.randn(0, 4),)),
    "no_dimensions": (lambda x: x * 2, lambda: (torch.tensor(3.0),)),
    "same_output_twice": (lambda x: (y := x + 1, y, y[1:]), lambda: (torch.randn(3),)),
    "channels_last": (
        lambda x: torch.relu(x) + 1,
        lambda: (torch.randn(2, 3, 4, 4).to(memory_format=torch.channels_last),),
    ),
    "transposed": (lambda x: (x + 1).t(), lambda: (torch.randn(3, 4).t(),)),
    "expanded": (lambda x: x * 2 + x.sum(0), lambda: (torch.randn(4).expand(3, 4),)),
    "with_gaps": (lambda x: x.cumsum(0), lambda: (torch.randn(4, 6)[:, ::2],)),
    "conjugated": (lambda x: x * 2, lambda: (torch.randn(3, dtype=torch.complex64).conj(),)),
    "negated": (lambda x: x + 1, lambda: (torch.randn(3, dtype=torch.complex64).conj().imag,)),
    "real_of_complex": (lambda x: x.real * 2, lambda: (torch.randn(3, dtype=torch.complex64),)),
    "complex_numbers": (
        lambda x: (x * (1 + 2j) + torch.full((3,), 3 - 1j)).sum(),
        lambda: (torch.randn(3, dtype=torch.complex64),),
    ),
    "bool": (lambda x: ~x & True, lambda: (torch.tensor([True, False]),)),
    "uint8": (lambda x: x + 250, lambda: (torch.arange(10, dtype=torch.uint8),)),
    "bit_cast": (lambda x: x.view(torch.int32) + 1, lambda: (torch.randn(3),)),
    "bit_cast_returned": (lambda x: x.view(torch.int32), lambda: (torch.randn(3),)),
    "list_of_tensors": (lambda x: torch.stack(x.split(1)).sum(0), lambda: (torch.randn(4, 2),)),
    "as_strided": (lambda x: x.as_strided((2, 2), (1, 2)) + 0, lambda: (torch.randn(6),)),
    "as_strided_of_part": (
        lambda x: x.as_strided((2, 2), (1, 2), 3) + 0,
        lambda: (torch.randn(12)[2:8],),
    ),
    "argmax_and_sort": (lambda x: (x.argmax(), *x.sort()), lambda: (torch.randn(9),)),
}


def flat(value: Any) -> list[Any]:
    return list(value) if isinstance(value, tuple | list) else [value]


def plain(tensor: Tensor) -> Tensor:
    return tensor.resolve_neg().resolve_conj()


def places(tensor: Tensor, inputs: tuple[Tensor, ...]) -> list[bool]:
    """Which inputs start where the tensor starts."""
    return [x.numel() > 0 and tensor.data_ptr() == x.data_ptr() for x in inputs]


@pytest.mark.parametrize("name", CASES)
@torch.no_grad()
def test_case_is_eager(name: str) -> None:
    function, make = CASES[name]
    compiled, _ = compile_for_replay(function)
    for _ in range(3):
        inputs = make()
        got, expected = flat(compiled(*inputs)), flat(function(*inputs))
        assert len(got) == len(expected)
        for mine, theirs in zip(got, expected, strict=True):
            if isinstance(theirs, Tensor):
                assert same_bits(
                    mine.resolve_neg().resolve_conj(), theirs.resolve_neg().resolve_conj()
                )
                aliases = [theirs.data_ptr() == x.data_ptr() and x.numel() > 0 for x in inputs]
                assert aliases == [
                    mine.data_ptr() == x.data_ptr() and x.numel() > 0 for x in inputs
                ]
            else:
                assert mine == theirs


@torch.no_grad()
def test_a_returned_constant_is_the_callers_own() -> None:
    compiled, _ = compile_for_replay(lambda x: torch.arange(3))
    first = compiled(torch.ones(1))
    first.zero_()
    assert torch.equal(compiled(torch.ones(1)), torch.arange(3))


def test_inference_mode_and_normal_mode_take_turns() -> None:
    def f(x: Tensor, n: int) -> Tensor:
        return x * n + 1

    compiled, _ = compile_for_replay(f, dynamic=True)
    x = torch.randn(4)
    for n in (2, 3, 2, 5):
        with torch.inference_mode():
            y = x + 1
            assert same_bits(compiled(y, n), f(y, n))
        with torch.no_grad():
            assert same_bits(compiled(x, n), f(x, n))


def test_autocast_is_that_of_the_capture() -> None:
    model = torch.nn.Linear(8, 8)
    compiled, _ = compile_for_replay(model)
    x = torch.randn(2, 8)
    for _ in range(3):
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
            assert same_bits(compiled(x), model(x))
    with torch.no_grad():
        assert same_bits(compiled(x), model(x))


@torch.no_grad()
def test_a_failed_capture_leaves_nothing_behind() -> None:
    def f(x: Tensor, n: int) -> Tensor:
        return torch.ops.replay_edges.refuse(x, n) + 1

    library = torch.library.Library("replay_edges", "DEF")
    library.define("refuse(Tensor x, SymInt n) -> Tensor")
    library.impl("refuse", lambda x, n: x.clone(), "CPU")

    def fake(x: Tensor, n: int) -> Tensor:
        torch._check(isinstance(n, torch.SymInt) or n != 7, lambda: "seven is refused")
        return torch.empty_like(x)

    torch.library.register_fake("replay_edges::refuse", fake)
    compiled, backend = compile_for_replay(f, dynamic=True)
    x = torch.randn(4)
    assert same_bits(compiled(x, 3), x + 1)
    with pytest.raises(Exception, match="seven is refused"):
        compiled(x, 7)
    assert same_bits(compiled(x, 4), x + 1)
    assert captured(backend).counts.captures == 2
    library._destroy()


def test_deepcopied_and_shared_modules() -> None:
    inner = torch.nn.Linear(4, 4)
    model = torch.nn.Sequential(inner, torch.nn.ReLU(), inner)
    compiled, backend = compile_for_replay(model, frozen_parameter=True)
    x = torch.randn(2, 4)
    with torch.no_grad():
        for _ in range(3):
            assert same_bits(compiled(x), model(x))
            inner.weight.mul_(0.9)
    assert captured(backend).counts.captures == 1


@torch.no_grad()
def test_sizes_that_are_truncated_products() -> None:
    def f(x: Tensor) -> Tensor:
        return torch.nn.functional.interpolate(x, scale_factor=1.7, mode="bilinear")

    compiled, _ = compile_for_replay(f, dynamic=True)
    for size in (4, 5, 7):
        x = torch.randn(2, 3, size, size + 1)
        assert same_bits(compiled(x), f(x))
