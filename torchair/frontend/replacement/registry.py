"""The replacements that are registered in this process."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torchair.frontend.replacement.joint import JointReplacement
    from torchair.frontend.replacement.rule import Replacement

by_pattern: dict[tuple[str, str], Replacement] = {}
"""Replacements by the search function's name and the text of what it computes."""
joint_by_function: dict[str, JointReplacement] = {}
"""Replacements in training graphs, by the search function's name."""


def registered_replacements() -> tuple[Replacement, ...]:
    """All replacements in the order of their registration."""
    return tuple(by_pattern.values())


def is_any_registered() -> bool:
    """Whether there is a replacement, for training graphs or others."""
    return bool(by_pattern or joint_by_function)


def clear_replacements() -> None:
    """Forget all replacements."""
    by_pattern.clear()
    joint_by_function.clear()
