"""Compiles functions while replacements are registered, and reads what the report says of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

import torchair
from torchair.frontend.report import CompileReport

EXAMPLE = (torch.randn(4, 8), torch.randn(8))


def run(
    function: Callable[..., Any],
    *inputs: Any,
    dynamic: bool | None = False,
    mode: str = "",
    decompositions: dict[Any, Callable[..., Any]] | None = None,
) -> tuple[Any, CompileReport]:
    """Results of the compiled function, and the report of its (only) graph."""
    torch._dynamo.reset()
    config = torchair.CompilerConfig()
    if mode:
        config.mode = mode
    backend = torchair.get_npu_backend(compiler_config=config, custom_decompositions=decompositions)
    with torch.no_grad():
        compiled = torch.compile(function, backend=backend, fullgraph=True, dynamic=dynamic)
        found = compiled(*inputs)
    [report] = backend.reports
    return found, report


def matches(report: CompileReport) -> int:
    """How often the only replacement matched."""
    [statistics] = report.replacements
    return statistics.matches


def miss(report: CompileReport) -> str:
    """The closest miss of the only replacement, which never matched."""
    [statistics] = report.replacements
    assert statistics.matches == 0
    return str(statistics.closest_miss)


def norm(x: Tensor, w: Tensor) -> Tensor:
    return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6) * w


def wide_norm(x: Tensor, w: Tensor) -> Tensor:
    wide = x.float()
    return (wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + 1e-6)).to(x.dtype) * w


def fused_norm(x: Tensor, w: Tensor) -> Tensor:
    return torch.ops.npu.npu_rms_norm(x, w, 1e-6)[0]


def cosine_for_sine(x: Tensor) -> Tensor:
    return x.cos()


def torch_sine(x: Tensor) -> Tensor:
    return x.sin()
