"""torchair: a graph-mode compiler backend of torch.compile for Ascend NPUs.

    import torch, torchair

    backend = torchair.get_npu_backend(compiler_config=torchair.CompilerConfig())
    model = torch.compile(model, backend=backend, dynamic=True)

Everything is loaded on first use. Importing this package after torch also defines the operators of
``torch.ops.npu`` where torch_npu is not installed (see ``frontend/npu_operators``).
"""

from __future__ import annotations

import importlib
import sys
from typing import Any

_EXPORTS = {
    "CompilerConfig": "torchair.config",
    "get_npu_backend": "torchair.frontend.dynamo",
    "get_compiler": "torchair.frontend.dynamo",
    "npu_format_cast_via_cpu": "torchair.frontend.internal_formats",
    "use_internal_format_weight": "torchair.frontend.internal_formats",
    "bisect": "torchair.frontend.bisect",
    "explain": "torchair.frontend.explain",
    "compile_exported_program": "torchair.frontend.exported_program",
    "import_exported_program": "torchair.frontend.exported_program",
    "logger": "torchair.core.utils",
    "patch_for_hcom": "torchair.frontend.communicators",
    "report": "torchair.frontend.schedule_report",
    "timeline": "torchair.frontend.timeline",
    "register_fx_node_ge_converter": "torchair.frontend.user_converters",
    "register_replacement": "torchair.frontend.replacement",
    "register_update_slots": "torchair.frontend.reduce_overhead",
    "reset": "torchair.frontend.reduce_overhead",
}
_MODULES = ("config", "errors", "experimental", "ge", "npugraph_ex", "ops", "scope", "tools")

__all__ = ["CompilerConfig", "get_compiler", "get_npu_backend"]  # pyright: ignore
__all__ += ["logger", "patch_for_hcom", "register_fx_node_ge_converter"]  # pyright: ignore
__all__ += ["register_replacement", "register_update_slots", "reset"]  # pyright: ignore
__all__ += ["bisect", "explain"]  # pyright: ignore
__all__ += ["report", "timeline"]  # pyright: ignore


def __getattr__(name: str) -> Any:
    if name in _EXPORTS:
        return getattr(importlib.import_module(_EXPORTS[name]), name)
    if name in _MODULES:
        return importlib.import_module(f"torchair.{name}")
    raise AttributeError(f"module 'torchair' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted([*__all__, *_MODULES])


if "torch" in sys.modules:
    importlib.import_module("torchair.frontend.npu_operators").define_operators()
