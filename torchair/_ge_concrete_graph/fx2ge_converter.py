"""``register_fx_node_ge_converter`` and ``declare_supported`` under their customary path."""

from __future__ import annotations

import importlib
from typing import Any

_NAMES = ("Converter", "declare_supported", "register_fx_node_ge_converter")


def __getattr__(name: str) -> Any:
    if name not in _NAMES:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    return getattr(importlib.import_module("torchair.frontend.user_converters"), name)


def __dir__() -> list[str]:
    return list(_NAMES)
