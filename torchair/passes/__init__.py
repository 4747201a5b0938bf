"""Passes by name, loaded lazily; pipelines are in ``pipelines.py``."""

from __future__ import annotations

import importlib
from collections.abc import Callable

from xdsl.passes import ModulePass

_MODULES = {
    "canonicalize": ("canonicalize", "CanonicalizePass"),
    "cse": ("cse", "CsePass"),
    "dce": ("dce", "DcePass"),
    "fold-constants": ("fold_constants", "FoldConstantsPass"),
    "sym-inputs-to-sizes": ("sym_inputs_to_sizes", "SymInputsToSizesPass"),
    "promote-dtypes": ("promote_dtypes", "PromoteDtypesPass"),
    "convert-aten-to-ge": ("convert_aten_to_ge", "ConvertAtenToGePass"),
}
"""Pass name -> module under ``torchair.passes`` and class."""


def _factory(module: str, name: str) -> Callable[[], type[ModulePass]]:
    def load() -> type[ModulePass]:
        return getattr(importlib.import_module(f"torchair.passes.{module}"), name)

    return load


ALL_PASSES: dict[str, Callable[[], type[ModulePass]]] = {
    name: _factory(*place) for name, place in _MODULES.items()
}
"""Every pass; values load the class."""
