"""The table of implementations: one decorated function per operator of torch_npu.

    @implements("npu_rms_norm")
    def npu_rms_norm(input, gamma, epsilon=1e-6):
        return kernels.rms_norm(input, gamma, epsilon)

Schemas come from ``dialects/aten/npu_table.txt``; a function takes the schema's parameters by name
and position. It is the CPU kernel, the meta function (it runs on fake tensors: no Python control
flow on tensor values) and what the host device runs, at once. Numbers come from the host kernel of
the GE operator that the converter builds, so there is one truth per operator.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch.fx.node import has_side_effect

from torchair.errors import ConfigError
from torchair.frontend.npu_operators.functionalization import define_functionalization

NAMESPACE, COLLECTIVES = "npu", "npu_define"
SCHEMAS = Path(__file__).parents[2] / "dialects" / "aten" / "npu_table.txt"
"""Read as text: importing the dialect would load xDSL for everybody who imports torchair."""

FAMILIES: dict[str, tuple[str, ...]] = {
    "normalization": (
        "npu_rms_norm",
        "npu_rms_norm_backward",
        "npu_add_rms_norm",
        "npu_add_rms_norm_v2",
        "npu_add_rms_norm_v2_functional",
        "npu_add_rms_norm_cast",
        "npu_gemma_rms_norm",
        "npu_layer_norm_eval",
        "npu_add_layer_norm",
        "npu_add_layer_norm_backward",
        "npu_deep_norm",
        "npu_deep_norm_backward",
        "npu_group_norm_silu",
        "npu_group_norm_swish",
        "npu_group_norm_swish_grad",
        "batch_norm_reduce",
        "batch_norm_gather_stats_update",
    ),
    "activation": (
        "npu_swiglu",
        "npu_swiglu_backward",
        "npu_clipped_swiglu",
        "npu_geglu",
        "npu_geglu_grad",
        "npu_gelu",
        "npu_gelu_backward",
        "npu_gelu_mul",
        "npu_fast_gelu",
        "npu_fast_gelu_backward",
        "fast_gelu",
        "npu_silu",
        "npu_silu_backward",
        "npu_mish",
        "npu_mish_backward",
    ),
    "attention": (
        "npu_prompt_flash_attention",
        "npu_incre_flash_attention",
        "npu_fused_infer_attention_score",
        "npu_fused_infer_attention_score_v2",
    ),
    "kv_cache": (
        "scatter_update",
        "scatter_update_",
        "npu_scatter_nd_update",
        "npu_scatter_nd_update_",
        "npu_scatter_list",
        "npu_scatter_list_",
        "npu_quant_scatter",
        "npu_quant_scatter_",
        "npu_scatter_pa_kv_cache",
        "npu_scatter_pa_kv_cache_functional",
        "npu_gather_backward",
    ),
    "matmul": (
        "npu_linear",
        "npu_linear_backward",
        "npu_quant_matmul",
        "npu_weight_quant_batchmatmul",
        "npu_ffn",
    ),
    "matmul_fusions": (
        "npu_transpose_batchmatmul",
        "npu_transpose_quant_batchmatmul",
        "npu_quant_matmul_dequant",
        "npu_quant_grouped_matmul_dequant",
        "npu_quant_matmul_reduce_sum",
        "npu_fused_matmul",
        "npu_batch_gather_matmul",
        "npu_batch_gather_matmul_",
        "npu_grouped_matmul_finalize_routing",
        "npu_grouped_matmul_swiglu_quant",
        "npu_grouped_matmul_swiglu_quant_v2",
        "npu_quant_conv2d",
    ),
    "matmul_accumulation": (
        "npu_add_quant_matmul",
        "npu_add_quant_matmul_",
        "npu_add_quant_gmm",
        "npu_add_quant_gmm_",
    ),
    "sparse_attention": (
        "npu_lightning_indexer",
        "npu_quant_lightning_indexer",
        "npu_sparse_flash_attention",
        "npu_kv_quant_sparse_flash_attention",
        "npu_attention_update",
        "npu_masked_softmax_with_rel_pos_bias",
    ),
    "masked_softmax": (
        "npu_scaled_masked_softmax",
        "npu_scaled_masked_softmax_backward",
    ),
    "mla_prolog": (
        "npu_mla_prolog",
        "npu_mla_prolog_v2",
        "npu_mla_prolog_v3",
        "npu_mla_prolog_v3_functional",
    ),
    "state_space": (
        "npu_masked_causal_conv1d",
        "npu_fused_causal_conv1d",
        "npu_fused_causal_conv1d_v2",
        "npu_recurrent_gated_delta_rule",
        "npu_recurrent_gated_delta_rule_functional",
        "npu_chunk_gated_delta_rule",
        "npu_prefetch",
    ),
    "collectives": (
        "npu_mm_all_reduce_base",
        "npu_all_gather_base_mm",
        "npu_all_gather_quant_mm",
        "npu_mm_reduce_scatter_base",
        "npu_quant_mm_reduce_scatter",
        "npu_matmul_all_to_all",
        "npu_all_to_all_matmul",
        "npu_alltoallv_gmm",
        "npu_gmm_alltoallv",
        "npu_moe_distribute_dispatch",
        "npu_moe_distribute_dispatch_v2",
        "npu_moe_distribute_combine",
        "npu_moe_distribute_combine_v2",
        "npu_moe_distribute_combine_add_rms_norm",
        "_npu_distribute_barrier",
        "attention_worker_scheduler",
        "attention_worker_scheduler_",
        "ffn_worker_scheduler",
        "ffn_worker_scheduler_",
    ),
    "communication": (
        "npu_define::allgather",
        "npu_define::allgather_in_tensor",
        "npu_define::_allgather_in_tensor_shape",
        "npu_define::allgather_in_tensor_uneven",
        "npu_define::reduce_scatter_tensor_uneven",
        "npu_define::all_to_all_single_npu",
        "npu_define::broadcast",
        "npu_define::_send",
        "npu_define::_recv",
        "npu_quant_all_reduce",
        "npu_quant_reduce_scatter",
    ),
    "workers": (
        "npu_attention_to_ffn",
        "npu_ffn_to_attention",
        "npu_attention_worker_combine",
        "npu_ffn_worker_batching",
    ),
    "quantised_collectives": (
        "npu_quant_matmul_all_to_all",
        "npu_all_to_all_quant_matmul",
        "npu_alltoallv_quant_gmm",
        "npu_quant_gmm_alltoallv",
    ),
    "grouped_matmul": ("npu_grouped_matmul", "npu_grouped_matmul.List"),
    "fusion_attention": (
        "npu_fusion_attention",
        "npu_fusion_attention_grad",
        "npu_fusion_attention_v2",
        "npu_fusion_attention_grad_v2",
        "npu_fusion_attention_v3",
        "npu_fusion_attention_grad_v3",
    ),
    "rotary": ("npu_rotary_mul", "npu_rotary_mul_backward"),
    "quantization": (
        "npu_quantize",
        "npu_anti_quant",
        "npu_dynamic_quant",
        "npu_dynamic_quant_asymmetric",
        "npu_group_quant",
        "npu_trans_quant_param",
        "npu_dequant_bias",
        "npu_quant_max",
        "npu_rotate_quant",
        "npu_kronecker_quant",
        "npu_dtype_cast",
        "npu_dtype_cast_backward",
        "_npu_dtype_cast",
        "_npu_dtype_cast_backward",
    ),
    "norm_quantization": (
        "npu_rms_norm_quant",
        "npu_add_rms_norm_quant",
        "npu_add_rms_norm_dynamic_quant",
        "_npu_rms_norm_backward_quant",
    ),
    "moe_gating": (
        "npu_moe_gating_top_k_softmax",
        "npu_moe_gating_top_k_softmax_v2",
        "npu_moe_gating_top_k",
        "npu_moe_update_expert",
    ),
    "moe_routing": (
        "npu_moe_init_routing",
        "npu_moe_init_routing_v2",
        "npu_moe_compute_expert_tokens",
        "npu_moe_finalize_routing",
        "npu_moe_re_routing",
        "npu_moe_token_permute",
        "npu_moe_token_permute_grad",
        "npu_moe_token_unpermute",
        "npu_moe_token_unpermute_grad",
    ),
    "rope_cache": (
        "npu_apply_rotary_pos_emb",
        "npu_interleave_rope",
        "npu_kv_rmsnorm_rope_cache",
        "npu_kv_rmsnorm_rope_cache_v2",
        "npu_kv_rmsnorm_rope_cache_v2_functional",
        "npu_qkv_rms_norm_rope_cache",
        "npu_qkv_rms_norm_rope_cache_functional",
        "npu_rope_quant_kvcache",
        "npu_dequant_rope_quant_kvcache",
    ),
    "mx_quantization": (
        "npu_dynamic_mx_quant",
        "npu_anti_mx_quant",
        "npu_dynamic_mx_quant_with_dual_axis",
        "npu_dynamic_block_mx_quant",
        "npu_dynamic_dual_level_mx_quant",
        "npu_grouped_dynamic_mx_quant",
        "npu_rms_norm_dynamic_mx_quant",
        "npu_add_rms_norm_dynamic_mx_quant",
    ),
    "activation_quantization": (
        "npu_gelu_quant",
        "npu_swiglu_quant",
        "npu_dequant_swiglu_quant",
        "npu_swiglu_mx_quant",
        "npu_dynamic_block_quant",
        "npu_grouped_dynamic_block_quant",
    ),
}
"""Module of this package -> operators it implements; a module is loaded when one is first called.
"""

DIFFERENTIABLE = frozenset(
    (
        "npu_linear",
        "npu_fusion_attention",
        "npu_fusion_attention_v3",
        "npu_rms_norm",
        "npu_swiglu",
        "npu_geglu",
        "npu_gelu",
        "npu_fast_gelu",
        "fast_gelu",
        "npu_silu",
        "npu_mish",
        "npu_rotary_mul",
        "npu_dtype_cast",
        "_npu_dtype_cast",
        "npu_add_layer_norm",
        "npu_deep_norm",
        "npu_group_norm_swish",
        "npu_moe_token_permute",
        "npu_moe_token_unpermute",
    )
)
"""Operators of which a module declares ``gradient``."""

Implementation = Callable[..., Any]


@dataclass(frozen=True, slots=True)
class Gradient:
    """The two functions that ``torch.library.register_autograd`` takes."""

    save: Callable[..., None]
    backward: Callable[..., Any]


_implementations: dict[str, Implementation] = {}
_gradients: dict[str, Gradient] = {}
_libraries: dict[str, torch.library.Library] = {}


def implements(name: str) -> Callable[[Implementation], Implementation]:
    """Declare the implementation of an operator by its name, overload included."""

    def register(function: Implementation) -> Implementation:
        _implementations[name] = function
        return function

    return register


def gradient(
    name: str, *, save: Callable[..., None]
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Declare the backward formula of an operator listed in ``DIFFERENTIABLE``.

    Args:
        name: operator name.
        save: ``setup_context`` of ``torch.library.register_autograd``.
    """

    def register(backward: Callable[..., Any]) -> Callable[..., Any]:
        _gradients[name] = Gradient(save, backward)
        return backward

    return register


def operators() -> list[str]:
    """Names of all operators that have an implementation."""
    return [name for names in FAMILIES.values() for name in names]


@cache
def is_torch_npu_installed() -> bool:
    """Whether torch_npu defines these operators itself."""
    return importlib.util.find_spec("torch_npu") is not None


def define_operators() -> None:
    """Define every operator of ``FAMILIES`` under ``torch.ops``, once.

    Where torch_npu is installed its own operators are used; only collectives that it does not
    define are.

    Raises:
        ConfigError: a name of ``FAMILIES`` is not in the schema table.
    """
    if _libraries:
        return
    schemas = _schemas()
    is_installed = is_torch_npu_installed()
    defined: list[str] = []
    for family, names in FAMILIES.items():
        for name in names:
            if not is_installed or (name.startswith(COLLECTIVES) and _live(name) is None):
                _define(family, name, schemas)
                defined.append(name)
    for namespace, library in _libraries.items():
        prefix = f"{namespace}::"
        own = [schemas[name] for name in defined if _qualified(name).startswith(prefix)]
        define_functionalization(library, namespace, own)


def schema_differences() -> dict[str, tuple[str, str]]:
    """Operators that torch_npu defines with other parameters than the table.

    Returns:
        By name: the schema that is installed, and the table's. Calls of them are converted as long
        as the other parameters have their defaults.
    """
    found: dict[str, tuple[str, str]] = {}
    for name, text in _schemas().items():
        op = _live(name)
        if op is None:
            continue
        known = torch._C.parse_schema(f"{_qualified(name).partition('::')[0]}::{text}")
        if not _is_alike(op._schema, known):
            found[name] = (str(op._schema), str(known))
    return found


def _is_alike(one: Any, other: Any) -> bool:
    first, second = ([_parameter(a) for a in s.arguments] for s in (one, other))
    return first == second and len(one.returns) == len(other.returns)


def _parameter(argument: Any) -> tuple[object, ...]:
    return argument.name, str(argument.type), argument.kwarg_only, repr(argument.default_value)


def _live(name: str) -> Any | None:
    """The overload of a name as ``FAMILIES`` has it, None when nobody defined it."""
    namespace, local = _qualified(name).split("::")
    packet, _, overload = local.partition(".")
    found = getattr(getattr(torch.ops, namespace), packet, None)
    return getattr(found, overload or "default", None)


def _define(family: str, name: str, schemas: dict[str, str]) -> None:
    if name not in schemas:
        raise ConfigError(f"the schema table has no operator {_qualified(name)}")
    namespace, local = _qualified(name).split("::")
    library = _libraries.get(namespace)
    if library is None:
        library = _libraries[namespace] = torch.library.Library(namespace, "FRAGMENT")
    library.define(schemas[name], tags=(torch.Tag.pt2_compliant_tag,))
    library.impl(local, _late(family, name), "CompositeExplicitAutograd")
    if name in DIFFERENTIABLE:
        _define_gradient(library, family, name)
    if namespace == COLLECTIVES:  # other ranks wait for them
        has_side_effect(getattr(getattr(torch.ops, namespace), local).default)


def _qualified(name: str) -> str:
    return name if "::" in name else f"{NAMESPACE}::{name}"


def _schemas() -> dict[str, str]:
    """Schemas without their namespace, by name as ``FAMILIES`` has it."""
    found: dict[str, str] = {}
    for line in SCHEMAS.read_text(encoding="utf-8").splitlines():
        if line[0] != "#":
            name = line[: line.index("(")].removeprefix(f"{NAMESPACE}::")
            found[name] = line.partition("::")[2]
    return found


def _late(family: str, name: str) -> Implementation:
    """The implementation, found when it is called."""

    def call(*args: Any, **kwargs: Any) -> Any:
        _load(family)
        return _implementations[name](*args, **kwargs)

    return call


def _define_gradient(library: torch.library.Library, family: str, name: str) -> None:
    def save(*args: Any, **kwargs: Any) -> None:
        _load(family)
        _gradients[name].save(*args, **kwargs)

    def backward(*args: Any) -> Any:
        return _gradients[name].backward(*args)

    torch.library.register_autograd(
        f"{NAMESPACE}::{name}", backward, setup_context=save, lib=library
    )


def _load(family: str) -> None:
    importlib.import_module(f"torchair.frontend.npu_operators.{family}")
