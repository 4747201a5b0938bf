"""register_replacement: what the report says, and what extra_check is given."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
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
    wide_norm,
)
from torch import Tensor

import torchair
from torchair.frontend.replacement.registry import clear_replacements


@pytest.fixture(autouse=True)
def _nothing_registered() -> Iterator[None]:
    clear_replacements()
    yield
    clear_replacements()


def test_used_outside_is_no_match() -> None:
    torchair.register_replacement(norm, fused_norm, EXAMPLE)

    def model(x: Tensor, w: Tensor) -> tuple[Tensor, Tensor]:
        square = x.pow(2)
        return x * torch.rsqrt(square.mean(-1, keepdim=True) + 1e-6) * w, square.exp()

    _, report = run(model, torch.randn(3, 8), torch.randn(8))
    text = miss(report)
    assert "used outside of the pattern, by aten.exp" in text
    assert "test_replacement_reports.py:" in text


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
    assert "replacement_runs.py:" in match.source
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


def test_bisect_finds_the_replacement() -> None:
    torchair.register_replacement(torch_sine, cosine_for_sine, [torch.randn(3)])
    text = str(torchair.bisect(lambda x: x.sin() + 1, torch.randn(4)))
    assert "pass 'apply-replacements' changes graph 0" in text
    assert "rewrite 1 of 1: torch_sine" in text
    assert "test_replacement_reports.py:" in text


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
    assert "aten.mul.Tensor" in line and "replacement_runs.py" in line
