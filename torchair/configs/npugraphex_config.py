"""The options= map of torch.compile under its public module path."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

from torchair.config import CompilerConfig, NpuGraphExConfig, apply_options_in_place

__all__ = ["NpuGraphExConfig", "_NpuGraphExConfig", "_process_kwargs_options"]

_NpuGraphExConfig = NpuGraphExConfig


def _process_kwargs_options(
    config: CompilerConfig | NpuGraphExConfig, kwargs: Mapping[str, object]
) -> None:
    """Applies ``kwargs["options"]``, if given, to `config` itself.

    Raises:
        ConfigError: an option is unknown or its value is wrong; `config` is unchanged then.
    """
    options = kwargs.get("options")
    if options is not None:
        apply_options_in_place(config, cast(Mapping[str, object], options))
