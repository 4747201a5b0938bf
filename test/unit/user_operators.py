"""Operators of users, defined for tests."""

from __future__ import annotations

from typing import Any

import torch

LIBRARY = torch.library.Library("unit_uc", "DEF")


def define(schema: str, function: Any, meta: Any = None) -> Any:
    """A custom torch operator of this module's namespace."""
    LIBRARY.define(schema)
    name = schema.partition("(")[0]
    LIBRARY.impl(name, function, "CPU")
    torch.library.register_fake(f"unit_uc::{name}", meta or function, lib=LIBRARY)
    return getattr(torch.ops.unit_uc, name).default
