"""register_replacement: what can be registered, and in which graphs it is looked for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from replacement_runs import (
    EXAMPLE,
    cosine_for_sine,
    fused_norm,
    matches,
    norm,
    run,
    torch_sine,
)
from torch import Tensor, nn
from torch._inductor import pattern_matcher as inductor
from torch.nn import functional

import torchair
from torchair.errors import ConfigError
from torchair.frontend.replacement.registry import clear_replacements, registered_replacements


@pytest.fixture(autouse=True)
def _nothing_registered() -> Iterator[None]:
    clear_replacements()
    yield
    clear_replacements()


def test_registration_is_idempotent() -> None:
    assert torchair.register_replacement(torch_sine, cosine_for_sine, [torch.randn(3)])
    assert torchair.register_replacement(torch_sine, torch.exp, [torch.randn(3)])
    assert [item.replace_fn for item in registered_replacements()] == [torch.exp]

    def same(y: Tensor) -> Tensor:
        return torch.sin(y)

    with pytest.raises(ConfigError, match="'same' is the same pattern as 'torch_sine'"):
        torchair.register_replacement(same, torch.exp, [torch.randn(3)])
    assert not torchair.register_replacement(
        same, torch.tan, [torch.randn(3)], skip_duplicates=True
    )
    assert len(registered_replacements()) == 1


def test_one_function_with_several_constants() -> None:
    for constant in (1.5, 2.5):
        register_scaled(constant)
    assert len(registered_replacements()) == 2
    x = torch.randn(3)
    _, report = run(lambda x: x.sin() * 2.5, x)
    assert [item.matches for item in report.replacements] == [0, 1]


def register_scaled(constant: float) -> None:
    def search(x: Tensor) -> Tensor:
        return x.sin() * constant

    torchair.register_replacement(search, cosine_for_sine, [torch.randn(3)])


def test_dropped_and_exact_only() -> None:
    torchair.register_replacement(torch_sine, cosine_for_sine, [torch.randn(3)])
    for option in ("drop", "numerics"):
        config = torchair.CompilerConfig()
        if option == "drop":
            config.passes.drop = ("apply-replacements",)
        else:
            config.numerics = "eager"
        torch._dynamo.reset()
        backend = torchair.get_npu_backend(compiler_config=config)
        x = torch.randn(3)
        torch.testing.assert_close(torch.compile(torch.sin, backend=backend)(x), x.sin())
        assert backend.reports[0].replacements == []


@pytest.mark.parametrize(
    ("search", "replace", "example", "options", "message"),
    [
        (norm, lambda x, w: x.sum(-1), EXAMPLE, {}, "returns something else than 'norm'"),
        (norm, lambda x, w: (x, w), EXAMPLE, {}, "2 results instead of 1"),
        (norm, fused_norm, (torch.randn(4, 8), torch.randn(7)), {}, "cannot be traced with"),
        (norm, fused_norm, EXAMPLE[:1], {}, "do not fit 'norm'"),
        (lambda x, w: x.sin(), lambda x, w: x, EXAMPLE, {}, "does not use all of its arguments"),
        (lambda x: x.shape[0], lambda x: 1, EXAMPLE[:1], {}, "something else than tensors"),
        (lambda x: x, lambda x: x, EXAMPLE[:1], {}, "returns an argument"),
        (lambda x, w: (x.sin(), w.sin()), lambda x, w: (x, w), EXAMPLE, {}, "nothing in common"),
        (
            lambda x, p: x.sin(),
            lambda x, p: x,
            EXAMPLE[:1],
            {"scalar_workaround": {"p": 0.5}},
            "does not appear in the traced calls",
        ),
    ],
)
def test_refused_registrations(
    search: Any, replace: Any, example: Any, options: Any, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        torchair.register_replacement(search, replace, example, **options)
    assert registered_replacements() == ()


def test_inductors_tracer() -> None:
    torchair.register_replacement(norm, fused_norm, EXAMPLE, inductor.fwd_only)
    x, w = torch.randn(2, 3, 16), torch.randn(16)
    found, report = run(norm, x, w, dynamic=True)
    assert matches(report) == 1
    torch.testing.assert_close(found, norm(x, w))


@pytest.mark.parametrize("mode", ["reduce-overhead", "npugraph_ex"])
def test_capture_modes(mode: str) -> None:
    """They keep torch's operators whole; the pattern is traced alike."""

    def search(x: Tensor, w: Tensor) -> Tensor:
        return functional.silu(functional.layer_norm(x, (8,), w))

    assert torchair.npugraph_ex.register_replacement is torchair.register_replacement
    torchair.register_replacement(search, lambda x, w: (x * w).sin(), EXAMPLE)
    x, w = torch.randn(3, 8), torch.randn(8)
    found, report = run(lambda x, w: search(x, w) + 1, x, w, mode=mode)
    assert matches(report) == 1
    torch.testing.assert_close(found, (x * w).sin() + 1)


def test_exported_program() -> None:
    class Sine(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.sin() * 2

    torchair.register_replacement(torch_sine, cosine_for_sine, [torch.randn(3)])
    x = torch.randn(4)
    compiled = torchair.compile_exported_program(torch.export.export(Sine(), (x,)))
    torch.testing.assert_close(compiled(x), x.cos() * 2)


def test_later_replacements_see_earlier_ones_but_never_themselves() -> None:
    def grow(x: Tensor) -> Tensor:
        return x.sin().sin()

    torchair.register_replacement(torch_sine, grow, [torch.randn(3)])
    torchair.register_replacement(grow, cosine_for_sine, [torch.randn(3)])
    x = torch.randn(4)
    found, report = run(lambda x: x.sin() + 1, x)
    assert [item.matches for item in report.replacements] == [1, 1]
    torch.testing.assert_close(found, x.cos() + 1)


def test_custom_decompositions_of_the_backend() -> None:
    """The functions are traced with those of the graph they are looked for in."""

    def by_hand(x: Tensor) -> Tensor:
        return x.cos() * 2

    torchair.register_replacement(torch_sine, lambda x: x.exp(), [torch.randn(3)])
    x = torch.randn(4)
    found, report = run(lambda x: x.sin() + 1, x)
    assert matches(report) == 1
    table = {torch.ops.aten.sin.default: by_hand}
    found, report = run(lambda x: x.sin() + 1, x, decompositions=table)
    assert matches(report) == 1
    torch.testing.assert_close(found, x.exp() + 1)


@pytest.mark.parametrize("mode", ["", "reduce-overhead"])
def test_replacements_are_decomposed_too(mode: str) -> None:
    def half(x: Tensor) -> Tensor:
        return x * 0.5

    torchair.register_replacement(torch_sine, torch.tan, [torch.randn(3)])
    x = torch.randn(4)
    table = {torch.ops.aten.tan.default: half}
    found, report = run(lambda x: x.sin() + 1, x, mode=mode, decompositions=table)
    assert matches(report) == 1
    torch.testing.assert_close(found, x * 0.5 + 1)
