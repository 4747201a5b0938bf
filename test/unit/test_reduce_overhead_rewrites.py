"""Rewrites of a captured trace: writes in place, and what is computed once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from replay_check import captured, compile_for_replay, same_bits
from torch import Tensor

State = list[Tensor]
Step = Callable[[State, list[Tensor]], None]
ROWS = torch.tensor([2, 0])


def _add_slice(s: State, out: list[Tensor]) -> None:
    s[0][1:3] += s[1][:2]


def _copy_rows(s: State, out: list[Tensor]) -> None:
    s[0].index_copy_(0, ROWS, s[1][1:3] * 2)


def _copy_own_rows(s: State, out: list[Tensor]) -> None:
    s[1].copy_(s[1].index_copy(0, ROWS, s[1][1:3]))


def _scale(s: State, out: list[Tensor]) -> None:
    s[0].mul_(0.5).add_(1)


def _exchange(s: State, out: list[Tensor]) -> None:
    kept = s[0].clone()
    s[0].copy_(s[1])
    s[1].copy_(kept)


def _mask(s: State, out: list[Tensor]) -> None:
    s[1].masked_fill_(s[1] > 0.5, -1.0)


def _select(s: State, out: list[Tensor]) -> None:
    s[0][:, 1] = s[1][:, 0]


def _columns(s: State, out: list[Tensor]) -> None:
    s[0].t().add_(s[0].sum(0)[:, None])


def _put(s: State, out: list[Tensor]) -> None:
    s[1][ROWS] = s[0][:2]


def _scatter(s: State, out: list[Tensor]) -> None:
    s[0].scatter_add_(0, ROWS[:, None].expand(2, 3), s[1][:2])


def _diagonal(s: State, out: list[Tensor]) -> None:
    s[1].diagonal().fill_(3.0)


def _read(s: State, out: list[Tensor]) -> None:
    out.append(s[0].sum(0) + s[1][0])


def _keep(s: State, out: list[Tensor]) -> None:
    out.append(s[0].clone())


def _view(s: State, out: list[Tensor]) -> None:
    out.append(s[1][1:])


def _temporary(s: State, out: list[Tensor]) -> None:
    value = s[0] * 2
    part = value[1:]
    value.index_fill_(0, ROWS[:1], 7.0)
    out.append(part.sum(0))
    out.append(value)


STEPS: list[Step] = [
    *(_add_slice, _copy_rows, _copy_own_rows, _scale, _exchange, _mask, _select, _columns),
    *(_put, _scatter, _diagonal, _read, _keep, _view, _temporary),
]


@settings(max_examples=15)
@given(st.lists(st.sampled_from(STEPS), min_size=1, max_size=6))
@torch.no_grad()
def test_any_mixture_of_writes_and_reads_is_eager(steps: list[Step]) -> None:
    def f(a: Tensor, b: Tensor) -> list[Tensor]:
        state, out = [a, b], [a[0] + 0]
        for step in steps:
            step(state, out)
        return out

    compiled, _ = compile_for_replay(f)
    states = [[torch.arange(12.0).view(4, 3) / 8, torch.linspace(-1, 1, 12).view(4, 3)]]
    states.append([t.clone() for t in states[0]])
    for _ in range(2):
        got, expected = compiled(*states[0]), f(*states[1])
        assert len(got) == len(expected)
        for mine, theirs in zip([*got, *states[0]], [*expected, *states[1]], strict=True):
            assert same_bits(mine, theirs), [step.__name__ for step in steps]


def operators_of(function: Callable[..., Any], *inputs: Tensor, **options: Any) -> list[str]:
    """Names of the calls of a replay, after checking two calls against eager."""
    compiled, backend = compile_for_replay(function, **options)
    reference = [t.clone() for t in inputs]
    with torch.no_grad():
        for _ in range(2):
            assert same_bits(compiled(*inputs), function(*reference))
    assert all(same_bits(a, b) for a, b in zip(inputs, reference, strict=True))
    return [name.removeprefix("aten::") for name in captured(backend).captures[0].operators]


def test_a_chain_of_writes_ends_in_the_input() -> None:
    def f(cache: Tensor, x: Tensor) -> Tensor:
        cache[:, 2] = x
        cache.mul_(2).index_copy_(0, ROWS, x.expand(2, 4))
        return cache.sum()

    names = operators_of(f, torch.randn(4, 4), torch.randn(4))
    assert "copy_" in names and "mul_.Tensor" in names and "index_copy_" in names
    assert not {"select_scatter", "clone", "mul.Tensor"} & set(names)


def test_negative_the_old_value_is_read_after_the_write() -> None:
    def f(cache: Tensor, x: Tensor) -> Tensor:
        old = cache[:2]
        new = cache.index_copy(0, ROWS, x)
        result = new.sum() + old.sum() * 2
        cache.copy_(new)
        return result

    names = operators_of(f, torch.randn(4, 3), torch.randn(2, 3))
    assert "index_copy" in names and "index_copy_" not in names


def test_negative_the_new_value_is_returned() -> None:
    def f(cache: Tensor, x: Tensor) -> Tensor:
        new = cache.index_copy(0, ROWS, x)
        cache.copy_(new)
        return new

    names = operators_of(f, torch.randn(4, 3), torch.randn(2, 3))
    assert "index_copy_" not in names and "copy_" in names


def test_negative_the_source_is_a_view_of_the_target() -> None:
    def f(cache: Tensor) -> Tensor:
        cache.copy_(cache.index_copy(0, ROWS, cache[1:3]))
        return cache.sum()

    assert "index_copy_" not in operators_of(f, torch.randn(4, 3))


def test_tables_are_computed_once() -> None:
    def f(x: Tensor) -> Tensor:
        steps = torch.arange(x.shape[1]).float() / 8
        mask = torch.ones(x.shape[1], x.shape[1]).tril() == 0
        return (x * steps.cos()).masked_fill(mask, -1.0)

    assert operators_of(f, torch.randn(5, 5)) == ["mul.Tensor", "masked_fill_.Scalar"]


def test_negative_random_numbers_and_written_tables_are_not_folded() -> None:
    def f(x: Tensor) -> Tensor:
        table = torch.zeros(4)
        table[0] = x.sum()
        return table + torch.rand(4)

    compiled, _ = compile_for_replay(f)
    with torch.no_grad():
        for x in (torch.ones(3), torch.zeros(3), torch.ones(3)):
            drawn = []
            for call in (compiled, f):
                torch.manual_seed(0)
                drawn.append((call(x), call(x)))
            assert same_bits(drawn[0][0], drawn[1][0]) and same_bits(drawn[0][1], drawn[1][1])


def test_views_of_frozen_parameters_are_taken_once() -> None:
    model = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.Linear(4, 2))
    names = []
    for frozen in (False, True):
        compiled, backend = compile_for_replay(model, frozen_parameter=frozen)
        x = torch.randn(3, 4)
        with torch.no_grad():
            assert same_bits(compiled(x), model(x))
            model[0].weight.mul_(2)
            assert same_bits(compiled(x), model(x))
        names.append([n.split("::")[1] for n in captured(backend).captures[0].operators])
    assert names[0] == ["t", "addmm", "t", "addmm"]
    assert names[1] == ["addmm", "addmm"]
