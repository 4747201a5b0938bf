"""register_replacement with ready patterns: what each class of Inductor's matcher means here."""

from __future__ import annotations

import operator
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from replacement_runs import matches, miss, run
from torch import Tensor
from torch._inductor import pattern_matcher as inductor
from torch._inductor.pattern_matcher import (
    MULTIPLE,
    Arg,
    CallFunction,
    CallFunctionVarArgs,
    CallMethod,
    CallModule,
    ExclusiveKeywordArg,
    Ignored,
    KeywordArg,
    ListOf,
    MultiOutputPattern,
    RepeatedExpr,
)

import torchair
from torchair.errors import ConfigError
from torchair.frontend.replacement.registry import clear_replacements, registered_replacements

aten = torch.ops.aten
X = torch.randn(4, 8)


@pytest.fixture(autouse=True)
def _nothing_registered() -> Iterator[None]:
    clear_replacements()
    yield
    clear_replacements()


def never(*inputs: Any) -> Any:
    raise AssertionError("the search function is not traced when its pattern is given")


def unary(x: Tensor) -> Tensor:
    return never(x)


def binary(x: Tensor, y: Tensor) -> Tensor:
    return never(x, y)


def product(*factors: Any, **options: Any) -> Any:
    return CallFunction(aten.mul.Tensor, *factors, **options)


def sine(x: Any, **options: Any) -> Any:
    return CallFunction(aten.sin.default, x, **options)


@pytest.mark.parametrize("dynamic", [False, True])
def test_one_call(dynamic: bool) -> None:
    pattern = product(sine(KeywordArg("x")), KeywordArg("y"))
    torchair.register_replacement(binary, lambda x, y: x + y, [X, X], search_fn_pattern=pattern)
    x, y = torch.randn(3, 5), torch.randn(3, 5)
    found, report = run(lambda x, y: (x.sin() * y).exp(), x, y, dynamic=dynamic)
    assert matches(report) == 1
    torch.testing.assert_close(found, (x + y).exp())
    _, report = run(lambda x, y: x.cos() * y, x, y)
    assert "expected by" in miss(report) or "expected aten.sin" in miss(report)


def test_patterns_that_inductor_makes() -> None:
    """As Inductor's users keep them: generated once from a function, handed over ready."""

    def search(x: Tensor, w: Tensor, eps: float) -> Tensor:
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + eps) * w

    def replace(x: Tensor, w: Tensor, eps: float) -> Tensor:
        return torch.ops.npu.npu_rms_norm(x, w, eps)[0]

    example, number = [X, torch.randn(8)], {"eps": 0.113377}
    pattern = inductor.gen_pattern(search, example, torchair_fwd_only, number)
    torchair.register_replacement(
        search, replace, example, search_fn_pattern=pattern, scalar_workaround=number
    )
    x, w = torch.randn(2, 8), torch.randn(8)
    found, report = run(lambda x, w: search(x, w, 0.25), x, w)
    assert (matches(report), report.nodes["ge"]) == (1, 1)
    torch.testing.assert_close(found, replace(x, w, 0.25))


def torchair_fwd_only(fn: Any, args: Any, **options: Any) -> Any:
    from torchair.frontend.replacement.trace import fwd_only

    return fwd_only(fn, args)


def test_numbers_by_keyword() -> None:
    """A number that a KeywordArg names may be any; it is handed to the replacement."""

    def search(x: Tensor, factor: float) -> Tensor:
        return never(x, factor)

    torchair.register_replacement(
        search,
        lambda x, factor: x.cos() - factor,
        [X, 2.0],
        search_fn_pattern=product(sine(KeywordArg("x")), KeywordArg("factor")),
    )
    x = torch.randn(3)
    found, report = run(lambda x: x.sin() * 7.5, x)
    assert matches(report) == 1
    torch.testing.assert_close(found, x.cos() - 7.5)


def test_ignored_and_literals() -> None:
    pattern = CallFunction(aten.sum.dim_IntList, sine(KeywordArg("x")), Ignored(), True)
    torchair.register_replacement(unary, lambda x: x[:, :1].cos(), [X], search_fn_pattern=pattern)
    x = torch.randn(3, 5)
    found, report = run(lambda x: x.sin().sum([1], keepdim=True) * 2, x)
    assert matches(report) == 1
    torch.testing.assert_close(found, x[:, :1].cos() * 2)
    _, report = run(lambda x: x.sin().sum([1]) * 2, x)
    assert "keepdim: expected True, found False" in miss(report)
    _, report = run(lambda x: x.sin().sum([0], keepdim=True), x)
    assert "replace_fn returns something else" in miss(report)


def test_several_overloads() -> None:
    """A list of functions, or a packet with all of its overloads."""
    either = CallFunction([aten.sin.default, aten.cos.default], KeywordArg("x"))
    pattern = CallFunction(aten.pow, either, 2)
    torchair.register_replacement(unary, torch.exp, [X], search_fn_pattern=pattern)
    x = torch.randn(3)
    found, report = run(lambda x: x.sin().pow(2) + x.cos().pow(2), x)
    assert matches(report) == 2
    torch.testing.assert_close(found, x.exp() * 2)


def test_keyword_arguments_of_calls() -> None:
    """One that the pattern leaves out may be anything, one that it has must be equal."""
    pattern = CallFunction(aten.sum.dim_IntList, sine(KeywordArg("x")), [-1], dtype=torch.float64)
    torchair.register_replacement(unary, lambda x: x[:, 0].double(), [X], search_fn_pattern=pattern)
    x = torch.randn(3, 5)
    found, report = run(lambda x: x.sin().sum(-1, dtype=torch.float64) * 2, x)
    assert matches(report) == 1
    torch.testing.assert_close(found, x[:, 0].double() * 2)
    _, report = run(lambda x: x.sin().sum(-1), x)
    assert "dtype: expected f64, found None" in miss(report)


@pytest.mark.parametrize("users", [1, MULTIPLE])
def test_other_users(users: Any) -> None:
    """MULTIPLE allows users outside of the match; the call stays for them."""
    pattern = CallFunction(aten.exp.default, sine(KeywordArg("x"), _users=users))
    torchair.register_replacement(unary, torch.cos, [X], search_fn_pattern=pattern)
    x = torch.randn(3)

    def model(x: Tensor) -> Tensor:
        sine = x.sin()
        return sine.exp() + sine

    found, report = run(model, x)
    if users is MULTIPLE:
        assert matches(report) == 1
        torch.testing.assert_close(found, x.cos() + x.sin())
    else:
        assert "used outside of the pattern, by aten.add" in miss(report)


def test_a_call_that_is_used_twice() -> None:
    inner = sine(KeywordArg("x"), _users=2)
    pattern = product(inner, CallFunction(aten.exp.default, inner))
    torchair.register_replacement(unary, torch.cos, [X], search_fn_pattern=pattern)
    x, y = torch.randn(3), torch.randn(3)

    def model(x: Tensor) -> Tensor:
        sine = x.sin()
        return sine * sine.exp()

    assert matches(run(model, x)[1]) == 1
    assert miss(run(lambda x, y: x.sin() * y.sin().exp(), x, y)[1])


def test_results_of_several_calls() -> None:
    """None stands for a result of the replacement that nobody asked for."""
    shared = sine(KeywordArg("x"), _users=MULTIPLE)
    pattern = MultiOutputPattern(
        [product(shared, KeywordArg("y")), None, CallFunction(aten.exp.default, shared)]
    )
    torchair.register_replacement(
        binary, lambda x, y: (x - y, x, x + y), [X, X], search_fn_pattern=pattern
    )
    x, y = torch.randn(3), torch.randn(3)

    def model(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        sine = x.sin()
        return sine * y, sine.exp()

    found, report = run(model, x, y)
    assert matches(report) == 1
    torch.testing.assert_close(found, (x - y, x + y))


def test_one_of_several_results() -> None:
    """getitem names a result of a call; the same one twice is one call."""
    split = CallFunction(aten.split_with_sizes.default, KeywordArg("x"), Ignored(), -1, _users=2)
    low, high = (CallFunction(operator.getitem, split, index) for index in (0, 1))
    pattern = product(sine(low), high)
    torchair.register_replacement(
        unary, lambda x: x[:, :4] + x[:, 4:], [X], search_fn_pattern=pattern
    )
    x = torch.randn(3, 8)

    def model(x: Tensor) -> Tensor:
        low, high = aten.split_with_sizes(x, [4, 4], -1)
        return low.sin() * high

    found, report = run(model, x)
    assert matches(report) == 1
    torch.testing.assert_close(found, x[:, :4] + x[:, 4:])


def test_lists() -> None:
    """A list has as many entries as in the example."""

    def search(parts: list[Tensor]) -> Tensor:
        return never(parts)

    pattern = CallFunction(aten.cat.default, ListOf(sine(KeywordArg("parts"))), Ignored())
    torchair.register_replacement(
        search,
        lambda parts: torch.cat([parts[1], parts[0]]),
        [[X, X]],
        search_fn_pattern=pattern,
    )
    x, y = torch.randn(3), torch.randn(3)
    found, report = run(lambda x, y: torch.cat([x.sin(), y.sin()]).exp(), x, y)
    assert matches(report) == 1
    torch.testing.assert_close(found, torch.cat([y, x]).exp())
    assert miss(run(lambda x, y: torch.cat([x.sin(), y.sin(), y.sin()]), x, y)[1])


@pytest.mark.parametrize("is_ready", [False, True])
def test_exclusive_arguments(is_ready: bool) -> None:
    """In both ways of naming them, two of them are never the same value."""

    def search(x: Tensor, y: Tensor) -> Tensor:
        return x.sin() * y

    ready = product(sine(ExclusiveKeywordArg("x")), ExclusiveKeywordArg("y"))
    options: dict[str, Any] = {"exclusive_arg_names": ["x", "y"]}
    if is_ready:
        options = {"search_fn_pattern": ready}
    torchair.register_replacement(search, lambda x, y: x - y, [X, X], **options)
    x, y = torch.randn(3), torch.randn(3)
    found, report = run(lambda x, y: x.sin() * y, x, y)
    assert matches(report) == 1
    torch.testing.assert_close(found, x - y)
    _, report = run(lambda x: x.sin() * x, x)
    assert miss(report).endswith("two exclusive arguments are the same value")


def test_extra_check_of_a_ready_pattern() -> None:
    seen: list[Any] = []

    def check(match: Any) -> bool:
        seen.append(match)
        return match.kwargs["y"].meta["val"].shape[0] == 3

    torchair.register_replacement(
        binary,
        lambda x, y: x - y,
        [X, X],
        extra_check=check,
        search_fn_pattern=product(sine(KeywordArg("x")), KeywordArg("y")),
    )
    x = torch.randn(3)
    assert matches(run(lambda x, y: x.sin() * y, x, x + 1)[1]) == 1
    match = seen[0]
    assert [node.target for node in match.nodes] == [aten.sin.default, aten.mul.Tensor]
    assert match.nodes[1].args == (match.nodes[0], match.kwargs["y"])
    assert match.output_node().meta["val"].shape == (3,)
    assert miss(run(lambda x, y: x.sin() * y, X, X + 1)[1]).endswith("extra_check returned False")


def test_duplicates() -> None:
    def same(x: Tensor) -> Tensor:
        return never(x)

    pattern = sine(KeywordArg("x"))
    assert torchair.register_replacement(unary, torch.cos, [X], search_fn_pattern=pattern)
    again = sine(KeywordArg("x"))
    with pytest.raises(ConfigError, match="'same' is the same pattern as 'unary'"):
        torchair.register_replacement(same, torch.cos, [X], search_fn_pattern=again)
    assert not torchair.register_replacement(
        same, torch.cos, [X], search_fn_pattern=again, skip_duplicates=True
    )
    assert torchair.register_replacement(unary, torch.exp, [X], search_fn_pattern=again)
    assert [item.replace_fn for item in registered_replacements()] == [torch.exp]


ARGUMENT = KeywordArg("x")


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("x", "is no pattern"),
        (sine(Arg()), "has no name"),
        (sine(KeywordArg("z")), "has no parameter of this name"),
        (RepeatedExpr(sine(ARGUMENT)), "any number of results"),
        (CallFunctionVarArgs(aten.sin.default), "without names"),
        (CallMethod("sin", ARGUMENT), "no calls of methods"),
        (CallModule("sin", ARGUMENT), "no calls of modules"),
        (CallFunction(torch.sin, ARGUMENT), "no operator of torch.ops"),
        (sine(Ignored()), "does not use all of its arguments"),
        (CallFunction(aten.cat.default, ListOf(ARGUMENT, partial=True)), "belong to no parameter"),
        (CallFunction(aten.cat.default, ListOf(ARGUMENT)), "its length is that of the list"),
        (MultiOutputPattern([sine(ARGUMENT), ARGUMENT]), "a result must be a call"),
        (MultiOutputPattern([sine(ARGUMENT), sine(ARGUMENT)]), "1 results instead of 2"),
    ],
)
def test_refused_patterns(pattern: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        torchair.register_replacement(unary, torch.cos, [X], search_fn_pattern=pattern)
    assert registered_replacements() == ()


def test_unknown_names_are_refused() -> None:
    pattern = sine(KeywordArg("x"))
    with pytest.raises(ConfigError, match="exclusive_arg_names does not fit 'unary'"):
        torchair.register_replacement(unary, torch.cos, [X], exclusive_arg_names=["z"])

    def search(x: Tensor, p: float) -> Tensor:
        return never(x, p)

    with pytest.raises(ConfigError, match="has no KeywordArg of this name"):
        torchair.register_replacement(
            search,
            lambda x, p: x.cos(),
            [X],
            search_fn_pattern=pattern,
            scalar_workaround={"p": 0.5},
        )
