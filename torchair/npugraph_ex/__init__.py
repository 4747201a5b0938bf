"""Public namespace of mode npugraph_ex: capture and replay, with flat options.

backend = torchair.npugraph_ex.get_npu_backend()
torch.compile(model, backend=backend, options={"clone_input": False})
"""

from __future__ import annotations

import importlib
from typing import Any

_EXPORTS = {
    "CompilerConfig": ("torchair.config", "NpuGraphExConfig"),
    "compile_fx": ("torchair.frontend.npugraph_ex", "compile_fx"),
    "get_compiler": ("torchair.frontend.npugraph_ex", "get_compiler"),
    "get_npu_backend": ("torchair.frontend.npugraph_ex", "get_npu_backend"),
    "register_replacement": ("torchair.frontend.replacement", "register_replacement"),
    "logger": ("torchair.core.utils", "logger"),
}

__all__ = ["CompilerConfig", "compile_fx", "get_compiler", "get_npu_backend"]  # pyright: ignore
__all__ += ["logger", "register_replacement"]  # pyright: ignore


def __getattr__(name: str) -> Any:
    if name not in _EXPORTS:
        raise AttributeError(f"module 'torchair.npugraph_ex' has no attribute '{name}'")
    module, attribute = _EXPORTS[name]
    return getattr(importlib.import_module(module), attribute)


def __dir__() -> list[str]:
    return sorted(__all__)
