"""The API of package npugraph_ex: capture and replay with a flat configuration."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch.fx import GraphModule

from torchair.config import CompilerConfig, NpuGraphExConfig, apply_options_in_place
from torchair.frontend.dynamo import NpuBackend, NpuFxCompiler
from torchair.frontend.dynamo import get_npu_backend as get_tree_backend

Config = NpuGraphExConfig | CompilerConfig


def get_npu_backend(
    *,
    compiler_config: Config | None = None,
    custom_decompositions: dict[Any, Callable[..., Any]] | None = None,
) -> NpuBackend:
    """Make a backend for ``torch.compile`` that captures and replays.

    Args:
        compiler_config: options; defaults when None. Never modified.
        custom_decompositions: ``{OpOverload: function}``; torch's operators stay whole otherwise.
    """
    return get_tree_backend(
        compiler_config=_tree(compiler_config), custom_decompositions=custom_decompositions
    )


def get_compiler(compiler_config: Config | None = None) -> NpuFxCompiler:
    """Make a compiler ``(gm, example_inputs) -> callable`` of AOT graphs."""
    return NpuFxCompiler(_tree(compiler_config).snapshot())


def compile_fx(
    gm: GraphModule, example_inputs: Any = None, options: Mapping[str, object] | None = None
) -> Callable[..., Any]:
    """Compile one AOT graph; for backends that call ``aot_module_simplified`` themselves.

    Args:
        gm: an AOT-functional graph whose nodes carry ``meta["val"]``.
        example_inputs: handed to custom passes only.
        options: flat options, e.g. ``{"capture_limit": 8}``.

    Raises:
        ConfigError: an option is unknown or has a wrong value.
    """
    config = NpuGraphExConfig()
    apply_options_in_place(config, options or {})
    return get_compiler(config)(gm, example_inputs)


def npugraph_ex_backend(gm: GraphModule, example_inputs: Any, **kwargs: Any) -> Callable[..., Any]:
    """Entry point for ``torch.compile(backend="npugraph_ex", options={...})``."""
    return get_npu_backend()(gm, example_inputs, **kwargs)


def _tree(config: Config | None) -> CompilerConfig:
    if isinstance(config, CompilerConfig):
        return config
    return (config or NpuGraphExConfig()).compiler_config()
