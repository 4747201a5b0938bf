"""register_replacement: what matches, and what is put in its place."""

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
    miss,
    norm,
    run,
    torch_sine,
)
from torch import Tensor, nn

import torchair
from torchair import ge
from torchair.frontend.replacement.registry import clear_replacements
from torchair.frontend.replacement.sizes import TracedSizes, is_same_size
from torchair.ir import interned

LIBRARY = torch.library.Library("unit_replace", "DEF")


def define(schema: str, function: Any, shapes: Any = None) -> None:
    """A custom torch operator of this module's namespace."""
    name = schema.partition("(")[0]
    LIBRARY.define(schema)
    LIBRARY.impl(name, function, "CPU")
    torch.library.register_fake(f"unit_replace::{name}", shapes or function, lib=LIBRARY)


define("tripled_norm(Tensor x, Tensor w, float eps) -> Tensor", lambda x, w, eps: norm(x, w) * 3)
ge.define_operator(
    "TripledNorm(x: float32 as T, w: float32 as T) -> (y: float32 as T) {eps: Float}"
)


@torchair.register_fx_node_ge_converter(torch.ops.unit_replace.tripled_norm.default)
def convert_tripled_norm(x: Any, w: Any, eps: float, *, meta_outputs: Any = None) -> Any:
    return ge.custom_op(
        "TripledNorm", inputs={"x": x, "w": w}, attrs={"eps": ge.attr.Float(eps)}, outputs=["y"]
    )


@ge.register_host_kernel("TripledNorm")
def tripled_norm_kernel(x: Tensor, w: Tensor, eps: float) -> Tensor:
    return norm(x, w) * 3


@pytest.fixture(autouse=True)
def _nothing_registered() -> Iterator[None]:
    clear_replacements()
    yield
    clear_replacements()


def test_numbers_are_those_of_the_replacement() -> None:
    """A replacement that computes something else shows that it runs."""

    def other(x: Tensor, w: Tensor) -> Tensor:
        return (x - w).sin()

    assert torchair.register_replacement(norm, other, EXAMPLE)
    x, w = torch.randn(2, 3, 16), torch.randn(16)
    found, report = run(lambda x, w: norm(x, w) + 1, x, w)
    assert matches(report) == 1
    torch.testing.assert_close(found, other(x, w) + 1)
    assert "replaced norm: 1 times" in str(report)


def test_custom_operator_with_converter_and_host_kernel() -> None:
    def fused(x: Tensor, w: Tensor) -> Tensor:
        return torch.ops.unit_replace.tripled_norm(x, w, 1e-6)

    torchair.register_replacement(norm, fused, EXAMPLE)
    x, w = torch.randn(5, 16), torch.randn(16)
    found, report = run(norm, x, w)
    assert (matches(report), report.nodes["ge"]) == (1, 1)
    torch.testing.assert_close(found, 3 * norm(x, w))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("dynamic", [False, True], ids=["static", "dynamic"])
def test_npu_operator_with_another_epsilon(dtype: torch.dtype, dynamic: bool) -> None:
    def search(x: Tensor, w: Tensor, eps: float) -> Tensor:
        wide = x.float()
        return (wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + eps)).to(x.dtype) * w

    def replace(x: Tensor, w: Tensor, eps: float) -> Tensor:
        return torch.ops.npu.npu_rms_norm(x, w, eps)[0]

    example = [t.to(torch.float16) for t in EXAMPLE]
    torchair.register_replacement(search, replace, example, scalar_workaround={"eps": 0.113377})
    x, w = torch.randn(2, 3, 16).to(dtype), torch.randn(16).to(dtype)
    found, report = run(lambda x, w: search(x, w, 0.25), x, w, dynamic=dynamic)
    assert (matches(report), report.nodes["ge"]) == (1, 1)
    torch.testing.assert_close(found, replace(x, w, 0.25))


def test_symbolic_sizes_are_compared_as_expressions() -> None:
    def rows(x: Tensor) -> Tensor:
        return (x.reshape(x.shape[0] * x.shape[1], 4).sin()).view(x.shape)

    torchair.register_replacement(rows, cosine_for_sine, [torch.randn(2, 3, 4)])
    x = torch.randn(5, 6, 4)
    found, report = run(lambda x: rows(x) * 2, x, dynamic=True)
    assert matches(report) == 1
    torch.testing.assert_close(found, x.cos() * 2)

    def columns(x: Tensor) -> Tensor:
        return (x.reshape(x.shape[0] * x.shape[1], 4).sin()).view(x.shape[1], x.shape[0], 4)

    found, report = run(columns, x, dynamic=True)
    torch.testing.assert_close(found, columns(x))
    assert "type of aten.view" in miss(report)


def test_a_size_argument_is_compared() -> None:
    """A size in an argument that the type of no result tells."""

    def search(x: Tensor) -> Tensor:
        return x.sin() * x.shape[0]

    torchair.register_replacement(search, cosine_for_sine, [torch.randn(2, 3)])
    x = torch.randn(6, 7)
    found, report = run(search, x, dynamic=True)
    assert matches(report) == 1
    torch.testing.assert_close(found, x.cos())
    found, report = run(lambda x: x.sin() * x.shape[1], x, dynamic=True)
    torch.testing.assert_close(found, x.sin() * 7)
    assert miss(report).startswith("2 of 2 calls at aten.mul.Tensor")


def test_expressions() -> None:
    assert is_same_size("s0*(s1 + 1)", "s0*s1 + s0")
    assert not is_same_size("s0", "s1")
    assert not is_same_size("(s0//2)", "s0")
    sizes = TracedSizes()
    given = interned.tensor([-9223372036854775808, 4], interned.f32, ["s7 + s8", "4"])
    tensor = sizes.tensor(given, torch.randn(1, 1))
    assert tensor is not None and isinstance(tensor.shape[0], torch.SymInt)
    made = interned.tensor([interned.DYNAMIC, 4], interned.f32, [str(tensor.shape[0] * 2), "4"])
    found = interned.symbols_of(sizes.original_type(made))
    assert found is not None and is_same_size(found[0], "2*s7 + 2*s8")


def test_a_guard_refuses() -> None:
    def search(x: Tensor) -> Tensor:
        return x.sin() if x.shape[0] > 3 else x.sin().cos()

    torchair.register_replacement(search, cosine_for_sine, [torch.randn(5, 2)])
    x = torch.randn(6, 2)
    torch._dynamo.mark_dynamic(x, 0)
    found, report = run(lambda x: x.sin(), x, dynamic=None)
    torch.testing.assert_close(found, x.sin())
    assert "search_fn is another computation when not s" in miss(report)


def test_two_outputs() -> None:
    def search(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        return x.sin() * y, (x + y).exp()

    def replace(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        return x * 10, y * 100

    torchair.register_replacement(search, replace, [torch.randn(3), torch.randn(3)])
    x, y = torch.randn(4), torch.randn(4)

    def model(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        second = (y + x).exp()
        late = second - 1
        return x.sin() * y + 1, late

    found, report = run(model, x, y)
    assert matches(report) == 1
    torch.testing.assert_close(found, (x * 10 + 1, y * 100 - 1))
    assert miss(run(lambda x, y: (x + y).exp(), x, y)[1]).endswith(
        "the other results of the pattern are not computed"
    )


def test_output_inside_of_the_pattern() -> None:
    """Residual addition and norm: the sum is used by what follows too."""

    def search(x: Tensor, r: Tensor, w: Tensor) -> tuple[Tensor, Tensor]:
        total = x + r
        return norm(total, w), total

    def replace(x: Tensor, r: Tensor, w: Tensor) -> tuple[Tensor, Tensor]:
        y, _, total = torch.ops.npu.npu_add_rms_norm(x, r, w, 1e-6)
        return y, total

    torchair.register_replacement(search, replace, [*(EXAMPLE[0],) * 2, EXAMPLE[1]])

    def model(x: Tensor, r: Tensor, w: Tensor) -> Tensor:
        total = x + r
        early = total.exp()
        return norm(total, w) + total + early

    x, r, w = torch.randn(3, 16), torch.randn(3, 16), torch.randn(16)
    found, report = run(model, x, r, w)
    assert matches(report) == 1
    torch.testing.assert_close(found, model(x, r, w))


def test_used_before_all_arguments_are_computed() -> None:
    def search(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        return x.sin() * y, x.sin()

    torchair.register_replacement(search, lambda x, y: (y.cos(), x.cos()), EXAMPLE[:1] * 2)

    def model(x: Tensor) -> Tensor:
        inner = x.sin()
        return inner * inner.exp()

    x = torch.randn(4)
    found, report = run(model, x)
    torch.testing.assert_close(found, model(x))
    assert miss(report).endswith("a result is used before all arguments are computed")


class Layers(nn.Module):
    def __init__(self, count: int, size: int) -> None:
        super().__init__()
        self.weights = nn.ParameterList(torch.rand(size) for _ in range(count))

    def forward(self, x: Tensor) -> Tensor:
        for weight in self.weights:
            x = norm(x, weight) + x
        return x


def test_equal_layers_are_traced_once() -> None:
    traced: list[str] = []

    def counting(x: Tensor, w: Tensor) -> Tensor:
        traced.append("replace")
        return fused_norm(x, w)

    torchair.register_replacement(norm, counting, EXAMPLE)
    traced.clear()
    model, x = Layers(32, 16).eval(), torch.randn(3, 16)
    found, report = run(model, x)
    assert matches(report) == 32
    assert traced == ["replace"]
    torch.testing.assert_close(found, model(x))


def test_training_keeps_what_the_backward_needs() -> None:
    """The forward graph returns what the backward reads: nothing is replaced, and it says why."""
    torchair.register_replacement(norm, fused_norm, EXAMPLE)
    torch._dynamo.reset()
    backend = torchair.get_npu_backend()
    x, w = torch.randn(3, 8, requires_grad=True), torch.randn(8, requires_grad=True)
    torch.compile(norm, backend=backend)(x, w).sum().backward()
    wanted = torch.autograd.grad(norm(x, w).sum(), [x, w])
    torch.testing.assert_close([x.grad, w.grad], list(wanted))
    [statistics] = backend.reports[0].replacements
    assert "used outside of the pattern, by the graph's results" in str(statistics)


def test_lists_of_tensors_and_constants() -> None:
    def search(parts: list[Tensor], scale: float) -> Tensor:
        return torch.cat(parts).sin() * scale

    def replace(parts: list[Tensor], scale: float) -> Tensor:
        return torch.cat([parts[1], parts[0]]) * torch.tensor(scale)

    torchair.register_replacement(search, replace, [[torch.randn(2), torch.randn(3)], 2.5])
    x, y = torch.randn(4), torch.randn(4)
    found, report = run(lambda x, y: torch.cat([x, y]).sin() * 2.5, x, y)
    assert matches(report) == 1
    torch.testing.assert_close(found, torch.cat([y, x]) * 2.5)
    assert miss(run(lambda x, y: torch.cat([x, y]).sin() * 2, x, y)[1]).endswith(
        "other: expected 2.5, found 2"
    )


def test_an_output_right_after_the_root() -> None:
    """Erasing it must not end the visit of the block."""

    def search(x: Tensor) -> tuple[Tensor, Tensor]:
        return x.sin(), x.tan()

    def replace(x: Tensor) -> tuple[Tensor, Tensor]:
        return x.exp(), x.abs()

    torchair.register_replacement(search, replace, [torch.randn(3)])

    def model(x: Tensor) -> Tensor:
        for _ in range(3):
            tangent, sine = x.tan(), x.sin()
            x = tangent - sine
        return x

    x = torch.randn(4)
    found, report = run(model, x)
    assert matches(report) == 3
    for _ in range(3):
        x = x.abs() - x.exp()
    torch.testing.assert_close(found, x)


def test_sizes_that_depend_on_data() -> None:
    torchair.register_replacement(torch_sine, cosine_for_sine, [torch.randn(3)])
    x = torch.randn(8)
    with torch._dynamo.config.patch(capture_dynamic_output_shape_ops=True):
        found, report = run(lambda x: x[x > 0].sin(), x)
    assert matches(report) == 1
    torch.testing.assert_close(found, x[x > 0].cos())
