"""Runs a function of npu operators in eager and compiled, static and dynamic, and compares bits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

import torchair
from torchair.frontend.npu_operators import define_operators

define_operators()  # where torchair was imported before torch, nothing else has


def check_compiled(function: Callable[..., Any], *args: Any, dynamic: bool = True) -> Any:
    """Check that the compiled function gives eager's results.

    Args:
        function: called with copies of ``args``.
        args: tensors and Python values.
        dynamic: whether to compile with ``dynamic=True`` as well.

    Returns:
        The results of eager.
    """
    expected = function(*_copies(args))
    for mode in (False, True) if dynamic else (False,):
        torch._dynamo.reset()
        backend = torchair.get_npu_backend(compiler_config=torchair.CompilerConfig())
        compiled = torch.compile(
            lambda *inputs: function(*inputs), backend=backend, fullgraph=True, dynamic=mode
        )
        found = compiled(*_copies(args))
        torch.testing.assert_close(found, expected, rtol=0, atol=0, equal_nan=True)
    return expected


def _copies(args: tuple[Any, ...]) -> list[Any]:
    return [a.clone() if isinstance(a, torch.Tensor) else a for a in args]
