"""The `options=` dict of torch.compile, and the flat configuration with the same names.

Each flat name stands for one path of CompilerConfig, some with the opposite sense. `options=` also
takes the full path of any option, e.g. ``{"ge_config.oo_level": "O1"}``.
"""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from typing import cast

from torchair.config.compiler_config import CompilerConfig
from torchair.config.groups import choice
from torchair.config.option_group import Option, OptionGroup
from torchair.config.options import ConfigTypeError
from torchair.config.snapshot import Snapshot
from torchair.errors import ConfigError

_DECLARED: Mapping[str, Option] = dict(CompilerConfig.walk())


class FlatOption(Option):
    """A flat name for the option at `path`, which is its opposite when `negated`."""

    def __init__(self, path: str, *, negated: bool = False) -> None:
        target = _DECLARED[path]
        super().__init__(
            target.kind,
            not target.default if negated else target.default,
            target.doc,
            modes=target.modes,
            in_cache_key=target.in_cache_key,
            own=target.own,
        )
        self.path = path
        self.negated = negated

    def target_value(self, plain: object) -> object:
        """Returns the plain value of the option at `path` for a plain value of this one."""
        return not plain if self.negated else plain


class NpuGraphExConfig(OptionGroup):
    """Flat configuration of mode npugraph_ex; `compiler_config()` gives the tree."""

    mode = choice(("npugraph_ex",), "npugraph_ex", "The only mode of this configuration.")
    force_eager = FlatOption("debug.run_eagerly")
    deadlock_check = FlatOption("debug.deadlock_check")
    use_graph_pool = FlatOption("aclgraph_config.use_custom_pool")
    reuse_graph_pool_in_same_fx = FlatOption(
        "debug.aclgraph.disable_mempool_reuse_in_same_fx", negated=True
    )
    capture_limit = FlatOption("debug.aclgraph.static_capture_size_limit")
    clone_input = FlatOption("debug.aclgraph.clone_input")
    clone_output = FlatOption("debug.aclgraph.enable_output_clone")
    capture_error_mode = FlatOption("npugraphex_config.capture_error_mode")
    force_recapture = FlatOption("npugraphex_config.force_recapture")
    frozen_parameter = FlatOption("experimental_config.frozen_parameter")
    static_kernel_compile = FlatOption("experimental_config.aclgraph._aclnn_static_shape_kernel")
    disable_static_kernel_compile_cache = FlatOption(
        "npugraphex_config.disable_static_kernel_compile_cache"
    )
    _vllm_aclnn_static_kernel_sym_index = FlatOption(
        "experimental_config.aclgraph._aclnn_static_shape_kernel_sym_index"
    )
    _vllm_aclnn_static_kernel_sym_range = FlatOption(
        "experimental_config.aclgraph._aclnn_static_shape_kernel_sym_value_range"
    )
    remove_noop_ops = FlatOption("experimental_config.remove_noop_ops")
    remove_cat_ops = FlatOption("debug.aclgraph.remove_cat_ops")
    inplace_pass = FlatOption("debug.aclgraph.disable_reinplace_inplaceable_ops_pass", negated=True)
    input_inplace_pass = FlatOption(
        "debug.aclgraph.disable_reinplace_input_mutated_ops_pass", negated=True
    )
    pattern_fusion_pass = FlatOption("experimental_config.pattern_fusion_pass")
    post_grad_custom_pre_pass = FlatOption("post_grad_custom_pre_pass")
    post_grad_custom_post_pass = FlatOption("post_grad_custom_post_pass")
    dump_tensor_data = FlatOption("dump_config.enable_dump")
    data_dump_stage = FlatOption("dump_config.data_dump_stage")
    data_dump_dir = FlatOption("dump_config.dump_path")
    super_kernel_optimize = FlatOption("experimental_config.aclgraph._super_kernel_optimize")
    super_kernel_optimize_options = FlatOption(
        "experimental_config.aclgraph._super_kernel_optimize_options"
    )
    super_kernel_debug_options = FlatOption(
        "experimental_config.aclgraph._super_kernel_debug_options"
    )
    unsafe_skip_npugraph_capture_validation = FlatOption(
        "npugraphex_config.unsafe_skip_npugraph_capture_validation"
    )
    record_statistics_debug_info = FlatOption("npugraphex_config.record_statistics_debug_info")
    graph_dump_type = FlatOption("debug.graph_dump.type")
    graph_dump_path = FlatOption("debug.graph_dump.path")

    def __init__(self) -> None:
        super().__init__()

    def compiler_config(self) -> CompilerConfig:
        """Returns the CompilerConfig that says the same, in mode npugraph_ex."""
        config = CompilerConfig()
        config.mode = "npugraph_ex"
        for name, option in flat_options().items():
            config.set_option(option.path, option.target_value(self.plain_values()[name]))
        return config

    def snapshot(self) -> Snapshot:
        """Returns the snapshot of `compiler_config()`."""
        return self.compiler_config().snapshot()


def flat_options() -> dict[str, FlatOption]:
    """Returns the flat options by name."""
    declared = NpuGraphExConfig.declared_options
    return {name: option for name, option in declared.items() if isinstance(option, FlatOption)}


def apply_options(config: CompilerConfig, options: Mapping[str, object]) -> CompilerConfig:
    """Returns a copy of `config` with `options`, the dict given to torch.compile, applied.

    Raises:
        ConfigError: an unknown name, a wrong value, or two names that set one option differently.
    """
    changed = config.copy()
    for path, plain in parse_options(options).items():
        changed.set_option(path, plain)
    return changed


def apply_options_in_place(
    config: CompilerConfig | NpuGraphExConfig, options: Mapping[str, object]
) -> None:
    """Applies `options` to `config` itself, or changes nothing and raises ConfigError."""
    if isinstance(config, CompilerConfig):
        config.assign(apply_options(config, options))
        return
    changed = config.copy()
    for name, value in options.items():
        setattr(changed, name, value)
    config.assign(changed)


def parse_options(options: Mapping[str, object]) -> dict[str, object]:
    """Returns the plain value to store at each path that `options` sets."""
    if not isinstance(options, Mapping):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise ConfigTypeError(
            "options= takes a dict", expected="dict of option name to value", found=repr(options)
        )
    values: dict[str, object] = {}
    for name, raw in options.items():
        path, plain = _parse_option(name, raw)
        if path in values and values[path] != plain:
            raise ConfigError(
                f"options= sets '{path}' twice, to different values",
                found=f"{values[path]!r} and {plain!r}",
                hint=f"keep one of the names that stand for '{path}'",
            )
        values[path] = plain
    return values


def _parse_option(name: str, raw: object) -> tuple[str, object]:
    flat = flat_options()
    if name in flat:
        option = flat[name]
        label = name if name == option.path else f"{name} ({option.path})"
        return option.path, option.target_value(option.kind.parse(raw, label))
    if name in _DECLARED:
        return name, _DECLARED[name].kind.parse(raw, name)
    candidates = (*flat, *_DECLARED)
    near = get_close_matches(str(cast(object, name)), candidates, n=1)
    raise ConfigError(
        f"no option '{name}' for options= of torch.compile",
        expected=f"one of {', '.join(sorted(flat))}, or the full path of an option",
        found=repr(name),
        hint=f"'{near[0]}' (did you mean that?)" if near else None,
    )
