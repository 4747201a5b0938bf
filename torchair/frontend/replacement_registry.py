"""The replacements that are registered in this process."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torchair.frontend.replacement import Replacement

by_pattern: dict[tuple[str, str], Replacement] = {}
"""Replacements by the search function's name and the text of what it computes."""


def registered_replacements() -> tuple[Replacement, ...]:
    """All replacements in the order of their registration."""
    return tuple(by_pattern.values())


def clear_replacements() -> None:
    """Forget all replacements."""
    by_pattern.clear()
