"""Compiling in mode reduce-overhead, for the tests of that mode."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

import torchair
from torchair.frontend.dynamo import NpuBackend


def compile_for_replay(
    function: Callable[..., Any], *, dynamic: bool | None = False, **options: Any
) -> tuple[Callable[..., Any], NpuBackend]:
    """The compiled function and its backend; options by flat name (``capture_limit=2``)."""
    torch._dynamo.reset()
    config = torchair.CompilerConfig()
    config.mode = "reduce-overhead"
    config.debug.check_replay = True
    backend = torchair.get_npu_backend(compiler_config=config)
    own = options.pop("check_replay", True)
    config.debug.check_replay = own
    torch_options = options or None
    compiled = torch.compile(
        function, backend=backend, dynamic=dynamic, fullgraph=True, options=torch_options
    )
    return compiled, backend


def captured(backend: NpuBackend, index: int = -1) -> Any:
    """The captured graph of one report."""
    return backend.reports[index].captured


def same_bits(a: torch.Tensor, b: torch.Tensor) -> bool:
    """Equal shape, strides, dtype and bytes."""
    if (a.shape, a.stride(), a.dtype) != (b.shape, b.stride(), b.dtype):
        return False
    raw = [t.detach().contiguous().reshape(-1).view(torch.uint8) for t in (a, b)]
    return torch.equal(*raw)
