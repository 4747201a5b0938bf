"""Passes that say whether they changed the module: what is unchanged is not verified again."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.passes import ModulePass

from torchair.ir.rewrite import Pattern, sweep


@dataclass(frozen=True)
class RewritePass(ModulePass):
    """A pass that reports changes.

    Attributes:
        numeric_class: what it may do to results: ``exact``, ``reassociates`` or ``approximates``.
    """

    numeric_class: ClassVar[str] = "exact"

    @abstractmethod
    def rewrite(self, module: ModuleOp) -> bool:
        """Rewrite a module; returns whether anything changed."""

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        self.rewrite(op)


@dataclass(frozen=True)
class PatternPass(RewritePass):
    """A pass that is a set of patterns, applied until none fires."""

    patterns: ClassVar[tuple[Pattern, ...]] = ()

    def rewrite(self, module: ModuleOp) -> bool:
        return sweep(module, self.patterns)
