"""``ge_apis.Add(x, y)``: a builder function per GE operator."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torchair.dialects.ge.registry import suggest
from torchair.ge.builders import builder_names, builder_of


def __getattr__(name: str) -> Callable[..., Any]:
    found = None if name.startswith("__") else builder_of(name)
    if found is None:
        near = ", ".join(suggest(name)) or "none"
        raise AttributeError(f"GE has no operator '{name}' (similar: {near})")
    return found


def __dir__() -> list[str]:
    return sorted(builder_names())
