"""Texts of operator prototypes, parsed."""

from __future__ import annotations

from typing import Any

from torchair.tools.reg_op import parse_header


def one(chain: str, name: str = "Demo") -> Any:
    """The prototype of ``REG_OP(Demo)`` with these macros."""
    (prototype,) = parse_header(f"REG_OP({name})\n{chain}\n.OP_END_FACTORY_REG({name})", "demo.h")
    return prototype
