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
    "fuse-rms-norm": ("fuse_rms_norm", "FuseRmsNormPass"),
    "narrow-permutations": ("narrow_permutations", "NarrowPermutationsPass"),
    "raise-matmul": ("raise_matmul", "RaiseMatmulPass"),
    "fuse-attention": ("fuse_attention", "FuseAttentionPass"),
    "fuse-infer-attention": ("fuse_infer_attention", "FuseInferAttentionPass"),
    "fuse-masked-softmax": ("fuse_masked_softmax", "FuseMaskedSoftmaxPass"),
    "fuse-transpose-matmul": ("fuse_transpose_matmul", "FuseTransposeMatmulPass"),
    "fuse-activation": ("fuse_activation", "FuseActivationPass"),
    "fuse-layer-norm": ("fuse_layer_norm", "FuseLayerNormPass"),
    "fuse-dynamic-quant": ("fuse_dynamic_quant", "FuseDynamicQuantPass"),
    "fuse-static-quant": ("fuse_static_quant", "FuseStaticQuantPass"),
    "fuse-norm-output": ("fuse_norm_output", "FuseNormOutputPass"),
    "fuse-moe-gather": ("fuse_moe_gather", "FuseMoeGatherPass"),
    "fuse-moe-routing": ("fuse_moe_routing", "FuseMoeRoutingPass"),
    "fuse-moe-gating": ("fuse_moe_gating", "FuseMoeGatingPass"),
    "fuse-quant-linear": ("fuse_quant_linear", "FuseQuantLinearPass"),
    "fuse-quant-matmul": ("fuse_quant_matmul", "FuseQuantMatmulPass"),
    "fuse-weight-quant-matmul": ("fuse_weight_quant_matmul", "FuseWeightQuantMatmulPass"),
    "fuse-gated-activation": ("fuse_gated_activation", "FuseGatedActivationPass"),
    "fuse-rotary-embedding": ("fuse_rotary_embedding", "FuseRotaryEmbeddingPass"),
    "promote-dtypes": ("promote_dtypes", "PromoteDtypesPass"),
    "reinplace": ("reinplace", "ReinplacePass"),
    "resolve-scopes": ("resolve_scopes", "ResolveScopesPass"),
    "schedule-streams": ("schedule_streams", "ScheduleStreamsPass"),
    "verify-schedule": ("verify_schedule", "VerifySchedulePass"),
    "convert-aten-to-ge": ("convert_aten_to_ge", "ConvertAtenToGePass"),
    "ge-reinplace": ("ge_reinplace", "GeReinplacePass"),
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
