"""CompilerConfig under its public module path, with two private functions that user code calls."""

from __future__ import annotations

import warnings

from torchair.config import CompilerConfig, NpuGraphExConfig
from torchair.configs.npugraphex_config import (
    _process_kwargs_options,  # pyright: ignore[reportPrivateUsage]
)

__all__ = ["CompilerConfig", "_check_config_support", "_process_kwargs_options"]


def _check_config_support(config: CompilerConfig | NpuGraphExConfig) -> None:
    """Warns, once per call, of options that were changed but do nothing in the configured mode."""
    tree = config if isinstance(config, CompilerConfig) else config.compiler_config()
    idle = tree.options_without_effect()
    if idle:
        warnings.warn(
            f"no effect in mode {tree.mode}: {', '.join(idle)}", UserWarning, stacklevel=2
        )
