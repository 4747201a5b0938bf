"""register_replacement: what matches, what is put in its place, and what the report says."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch._inductor import pattern_matcher as inductor
from torch.nn import functional

import torchair
from torchair import ge
from torchair.errors import ConfigError
from torchair.frontend.replacement_registry import clear_replacements, registered_replacements
from torchair.frontend.replacement_sizes import TracedSizes, is_same_size
from torchair.frontend.report import CompileReport
from torchair.ir import interned

EXAMPLE = (torch.randn(4, 8), torch.randn(8))
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


def norm(x: Tensor, w: Tensor) -> Tensor:
    return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6) * w


def wide_norm(x: Tensor, w: Tensor) -> Tensor:
    wide = x.float()
    return (wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + 1e-6)).to(x.dtype) * w


def fused_norm(x: Tensor, w: Tensor) -> Tensor:
    return torch.ops.npu.npu_rms_norm(x, w, 1e-6)[0]


def cosine_for_sine(x: Tensor) -> Tensor:
    return x.cos()


def run(
    function: Callable[..., Any], *inputs: Any, dynamic: bool | None = False, mode: str = ""
) -> tuple[Any, CompileReport]:
    """Results of the compiled function, and the report of its (only) graph."""
    torch._dynamo.reset()
    config = torchair.CompilerConfig()
    if mode:
        config.mode = mode
    backend = torchair.get_npu_backend(compiler_config=config)
    with torch.no_grad():
        compiled = torch.compile(function, backend=backend, fullgraph=True, dynamic=dynamic)
        found = compiled(*inputs)
    [report] = backend.reports
    return found, report


def matches(report: CompileReport) -> int:
    [statistics] = report.replacements
    return statistics.matches


def miss(report: CompileReport) -> str:
    [statistics] = report.replacements
    assert statistics.matches == 0
    return str(statistics.closest_miss)


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


def test_used_outside_is_no_match() -> None:
    torchair.register_replacement(norm, fused_norm, EXAMPLE)

    def model(x: Tensor, w: Tensor) -> tuple[Tensor, Tensor]:
        square = x.pow(2)
        return x * torch.rsqrt(square.mean(-1, keepdim=True) + 1e-6) * w, square.exp()

    _, report = run(model, torch.randn(3, 8), torch.randn(8))
    text = miss(report)
    assert "used outside of the pattern, by aten.exp" in text
    assert "test_replacement.py:" in text


def test_closest_miss_names_the_dtype() -> None:
    def search(x: Tensor) -> Tensor:
        return x.sum(-1, dtype=torch.float32).sin()

    torchair.register_replacement(search, lambda x: x[..., 0].float().cos(), EXAMPLE[:1])
    _, report = run(lambda x: x.sum(-1, dtype=torch.float64).sin(), torch.randn(2, 3))
    assert "2 of 2 calls at aten.sum.dim_IntList" in miss(report)
    assert "dtype: expected f32, found f64" in miss(report)
    assert "replaced search: 0 times; closest: 2 of 2 calls" in str(report)


def test_closest_miss_in_another_dtype() -> None:
    half = [t.bfloat16() for t in EXAMPLE]
    torchair.register_replacement(wide_norm, fused_norm, half)
    _, report = run(wide_norm, torch.randn(2, 8), torch.randn(8))
    assert "expected aten._to_copy, found an argument of the graph (tensor<2x8xf32>)" in miss(
        report
    )


def test_closest_miss_with_another_operator() -> None:
    torchair.register_replacement(norm, fused_norm, EXAMPLE)
    x, w = torch.randn(2, 8), torch.randn(8)
    _, report = run(lambda x, w: x / torch.sqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6) * w, x, w)
    assert miss(report).startswith("3 of 6 calls at aten.add.Tensor")
    assert "used by aten.sqrt, expected by aten.rsqrt" in miss(report)
    _, report = run(lambda x: x + 1, x)
    assert "closest: none of its calls is in the graph" not in str(report)
    _, report = run(torch.tanh, x)
    assert "closest: none of its calls is in the graph" in str(report)


def test_extra_check() -> None:
    seen: list[Any] = []

    def check(match: Any) -> bool:
        seen.append(match)
        return match.kwargs["x"].meta["val"].shape[0] == 2

    torchair.register_replacement(norm, fused_norm, EXAMPLE, extra_check=check)
    w = torch.randn(8)
    assert matches(run(norm, torch.randn(2, 8), w)[1]) == 1
    match = seen[0]
    assert list(match.kwargs) == ["x", "w"] and match.args[1].meta["val"].shape == (8,)
    assert match.output_node().meta["val"].shape == (2, 8)
    assert torch.ops.aten.rsqrt.default in [node.target for node in match.nodes]
    assert "test_replacement.py:" in match.source
    _, report = run(norm, torch.randn(3, 8), w)
    assert miss(report).endswith("extra_check returned False")
    assert report.replacements[0].refused == {"extra_check returned False": 1}


def test_a_refused_place_is_counted_once() -> None:
    """Both orders of a sum are tried."""
    torchair.register_replacement(
        lambda x, y: x + y, torch.mul, EXAMPLE[:1] * 2, extra_check=lambda match: False
    )
    _, report = run(lambda x, y: (x + y).exp() + y, torch.randn(3), torch.randn(3))
    assert report.replacements[0].refused == {"extra_check returned False": 2}


def test_matches_stay_on_one_stream() -> None:
    torchair.register_replacement(norm, fused_norm, EXAMPLE)

    def apart(x: Tensor, w: Tensor) -> Tensor:
        with torchair.scope.npu_stream_switch("side"):
            square = x.pow(2)
        return x * torch.rsqrt(square.mean(-1, keepdim=True) + 1e-6) * w

    def together(x: Tensor, w: Tensor) -> Tensor:
        with torchair.scope.npu_stream_switch("side"):
            return norm(x, w)

    x, w = torch.randn(3, 8), torch.randn(8)
    found, report = run(apart, x, w)
    assert "stream: expected 'main', found 'side'" in miss(report)
    found, report = run(together, x, w)
    assert matches(report) == 1
    torch.testing.assert_close(found, norm(x, w))


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


def test_joint_patterns_are_refused() -> None:
    with pytest.raises(ConfigError, match="forward and backward together never matches"):
        torchair.register_replacement(norm, fused_norm, EXAMPLE, inductor.joint_fwd_bwd)


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


def test_later_replacements_see_earlier_ones_but_never_themselves() -> None:
    def grow(x: Tensor) -> Tensor:
        return x.sin().sin()

    torchair.register_replacement(torch_sine, grow, [torch.randn(3)])
    torchair.register_replacement(grow, cosine_for_sine, [torch.randn(3)])
    x = torch.randn(4)
    found, report = run(lambda x: x.sin() + 1, x)
    assert [item.matches for item in report.replacements] == [1, 1]
    torch.testing.assert_close(found, x.cos() + 1)


def torch_sine(x: Tensor) -> Tensor:
    return x.sin()


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
        (norm, fused_norm, EXAMPLE, {"search_fn_pattern": "x"}, "Inductor's pattern classes"),
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


def test_bisect_finds_the_replacement() -> None:
    torchair.register_replacement(torch_sine, cosine_for_sine, [torch.randn(3)])
    text = str(torchair.bisect(lambda x: x.sin() + 1, torch.randn(4)))
    assert "pass 'apply-replacements' changes graph 0" in text
    assert "rewrite 1 of 1: torch_sine" in text
    assert "test_replacement.py:" in text


def test_sizes_that_depend_on_data() -> None:
    torchair.register_replacement(torch_sine, cosine_for_sine, [torch.randn(3)])
    x = torch.randn(8)
    with torch._dynamo.config.patch(capture_dynamic_output_shape_ops=True):
        found, report = run(lambda x: x[x > 0].sin(), x)
    assert matches(report) == 1
    torch.testing.assert_close(found, x[x > 0].cos())


def test_exported_program() -> None:
    class Sine(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.sin() * 2

    torchair.register_replacement(torch_sine, cosine_for_sine, [torch.randn(3)])
    x = torch.randn(4)
    compiled = torchair.compile_exported_program(torch.export.export(Sine(), (x,)))
    torch.testing.assert_close(compiled(x), x.cos() * 2)


def test_new_calls_have_the_place_of_the_old_ones(tmp_path: Path) -> None:
    torchair.register_replacement(norm, fused_norm, EXAMPLE)
    config = torchair.CompilerConfig()
    config.debug.ir_dump.path = str(tmp_path)
    torch._dynamo.reset()
    backend = torchair.get_npu_backend(compiler_config=config)
    with torch.no_grad():
        torch.compile(norm, backend=backend)(torch.randn(3, 8), torch.randn(8))
    [path] = tmp_path.rglob("*apply-replacements.mlir")
    [line] = [line for line in path.read_text().splitlines() if "npu.npu_rms_norm" in line]
    assert "aten.mul.Tensor" in line and "test_replacement.py" in line
