"""The canonicalize pass: one module of small patterns per family."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from xdsl.dialects.builtin import ModuleOp

from torchair.ir.rewrite import sweep
from torchair.passes.canonicalize import arithmetic, casts, copies, symbolic, views
from torchair.passes.rewrite_pass import RewritePass

PATTERNS = (
    *copies.PATTERNS,
    *casts.PATTERNS,
    *arithmetic.PATTERNS,
    *symbolic.PATTERNS,
)


@dataclass(frozen=True)
class CanonicalizePass(RewritePass):
    """Removes operators that compute what is already there, and merges chains of views.

        %1 = aten._unsafe_view(%0, size = [2, 12])
        %2 = aten.view(%1, size = [2, 3, 4])        ->   %2 = aten.view(%0, size = [2, 3, 4])
        %3 = aten.mul.Tensor(%2, 1.0)                    use(%2)
        use(%3)

    A copy stays when its source or the copy itself is written, or when it leaves the function.
    Without `views`, views stay as they are.
    Numeric class: exact. Shown by: test/lit/passes/canonicalize.mlir
    """

    name = "canonicalize"
    numeric_class: ClassVar[str] = "exact"
    views: bool = True

    def rewrite(self, module: ModuleOp) -> bool:
        return sweep(module, (*views.PATTERNS, *PATTERNS) if self.views else PATTERNS)
