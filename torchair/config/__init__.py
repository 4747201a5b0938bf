"""Options: CompilerConfig, its snapshots, and the options= dict of torch.compile. No torch here."""

from __future__ import annotations

from torchair.config.compiler_config import CompilerConfig
from torchair.config.option_group import ALL_MODES, CAPTURE_MODES, GE_MODE, OptionGroup, OptionValue
from torchair.config.options import (
    ConfigAttributeError,
    ConfigFileNotFoundError,
    ConfigTypeError,
    FrozenDict,
)
from torchair.config.snapshot import Snapshot
from torchair.config.torch_compile_options import (
    NpuGraphExConfig,
    apply_options,
    apply_options_in_place,
)

__all__ = [
    "ALL_MODES",
    "CAPTURE_MODES",
    "GE_MODE",
    "CompilerConfig",
    "ConfigAttributeError",
    "ConfigFileNotFoundError",
    "ConfigTypeError",
    "FrozenDict",
    "NpuGraphExConfig",
    "OptionGroup",
    "OptionValue",
    "Snapshot",
    "apply_options",
    "apply_options_in_place",
]
