"""The ordered pass lists. Reading this file is reading the compiler's table of contents."""

from __future__ import annotations

from xdsl.passes import ModulePass

from torchair.passes import ALL_PASSES

CLEAN = ("canonicalize", "cse", "dce")
SHAPE = ("sym-inputs-to-sizes",)
FUSE = ("fuse-rms-norm", "fuse-gated-activation", "fuse-rotary-embedding")
TYPE = ("promote-dtypes",)
LOWER = ("convert-aten-to-ge",)

ATEN = (*SHAPE, *CLEAN, *FUSE, *TYPE, "cse", "dce")
"""What every mode runs on the aten module."""
MAX_AUTOTUNE = (*ATEN, *LOWER, "cse", "dce")
"""From the imported aten module to the ge module that is emitted."""


def build(names: tuple[str, ...]) -> list[ModulePass]:
    """Instances of the named passes with their default options."""
    return [ALL_PASSES[name]()() for name in names]
