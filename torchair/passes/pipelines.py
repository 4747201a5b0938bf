"""The ordered pass lists. Reading this file is reading the compiler's table of contents."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from xdsl.passes import ModulePass

from torchair.passes import ALL_PASSES

CLEAN = ("canonicalize", "cse", "dce")
SCOPE = ("resolve-scopes",)
SHAPE = ("sym-inputs-to-sizes",)
FUSE = (
    "narrow-permutations",
    "raise-matmul",
    "fuse-attention",
    "fuse-infer-attention",
    "fuse-masked-softmax",
    "fuse-transpose-matmul",
    "fuse-activation",
    "fuse-layer-norm",
    "fuse-rms-norm",
    "fuse-dynamic-quant",
    "fuse-static-quant",
    "fuse-norm-output",
    "fuse-moe-gating",
    "fuse-moe-routing",
    "fuse-moe-gather",
    "fuse-quant-linear",
    "fuse-quant-matmul",
    "fuse-weight-quant-matmul",
    "fuse-gated-activation",
    "fuse-rotary-embedding",
)
FOLD = ("fold-constants",)
TYPE = ("promote-dtypes",)
SCHEDULE = ("schedule-streams", "verify-schedule")
LOWER = ("convert-aten-to-ge",)

ATEN = (*SHAPE, *CLEAN, *FUSE, *FOLD, *TYPE, "dce")
"""What every mode runs on the aten module."""
MAX_AUTOTUNE = (*SCOPE, *ATEN, *SCHEDULE, *LOWER, "cse", "ge-reinplace", "dce")
"""From the imported aten module to the ge module that is emitted."""

REPLAY = (*SCOPE, *SHAPE, *CLEAN, "reinplace", *SCHEDULE)
"""From the imported aten module to what is captured: torch's kernels promote types themselves, and
expand on the host what a fusion would join."""


def build(
    names: tuple[str, ...], options: Mapping[str, Mapping[str, Any]] | None = None
) -> list[ModulePass]:
    """Instances of the named passes.

    Args:
        names: in order.
        options: options by pass name, for those that do not have their defaults.
    """
    given = options or {}
    return [ALL_PASSES[name]()(**given.get(name, {})) for name in names]
