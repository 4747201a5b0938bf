"""Flat options of torch.compile(options=...), and the public functions that process them."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType

import pytest
from config_cases import ACLGRAPH, CASES

from torchair.config import (
    CompilerConfig,
    ConfigTypeError,
    FrozenDict,
    NpuGraphExConfig,
    apply_options,
)
from torchair.config.torch_compile_options import flat_options
from torchair.configs import compiler_config as public_compiler_config
from torchair.configs import npugraphex_config as public_npugraphex_config
from torchair.errors import ConfigError

# options= of torch.compile


def test_apply_options_changes_a_copy() -> None:
    config = CompilerConfig()
    changed = apply_options(
        config,
        {
            "inplace_pass": False,
            "input_inplace_pass": True,
            "reuse_graph_pool_in_same_fx": False,
            "capture_limit": 4,
            "_vllm_aclnn_static_kernel_sym_range": [1, 2],
            "super_kernel_optimize_options": {"dcci_disable_on_kernel": [".*"]},
            "ge_config.oo_level": "O1",
            "numerics": "eager",
        },
    )
    assert config == CompilerConfig()
    assert changed.changed_values() == {
        "debug.aclgraph.disable_reinplace_inplaceable_ops_pass": True,
        "debug.aclgraph.disable_mempool_reuse_in_same_fx": True,
        "debug.aclgraph.static_capture_size_limit": 4,
        ACLGRAPH + "_aclnn_static_shape_kernel_sym_value_range": (1, 2),
        ACLGRAPH + "_super_kernel_optimize_options": FrozenDict(
            {"dcci_disable_on_kernel": (".*",)}
        ),
        "ge_config.oo_level": "O1",
        "numerics": "eager",
    }


@pytest.mark.parametrize("name", flat_options())
def test_flat_option(name: str) -> None:
    option = flat_options()[name]
    for value in CASES[option.path][1]:
        flat = NpuGraphExConfig()
        setattr(flat, name, value)
        expected = not value if option.negated else value
        assert flat.plain_values()[name] == value
        assert flat.compiler_config().get_option(option.path) == expected
        applied = apply_options(CompilerConfig(), {name: value})
        assert applied.get_option(option.path) == expected
        applied.mode = "npugraph_ex"
        assert applied == flat.compiler_config()
    for value, error in CASES[option.path][2]:
        with pytest.raises(error, match=name):
            apply_options(CompilerConfig(), {name: value})


def test_every_name_of_the_public_map_is_known() -> None:
    assert set(flat_options()) >= {
        "static_kernel_compile",
        "_vllm_aclnn_static_kernel_sym_index",
        "_vllm_aclnn_static_kernel_sym_range",
        "super_kernel_optimize",
        "super_kernel_optimize_options",
        "super_kernel_debug_options",
        "inplace_pass",
        "input_inplace_pass",
        "remove_noop_ops",
        "pattern_fusion_pass",
        "frozen_parameter",
        "remove_cat_ops",
        "clone_input",
        "clone_output",
        "capture_limit",
        "reuse_graph_pool_in_same_fx",
        "force_eager",
        "use_graph_pool",
        "post_grad_custom_pre_pass",
        "post_grad_custom_post_pass",
        "dump_tensor_data",
        "data_dump_stage",
        "data_dump_dir",
    }


def test_flat_defaults_are_the_defaults_of_the_tree() -> None:
    flat = NpuGraphExConfig()
    assert flat.compiler_config().changed_values() == {"mode": "npugraph_ex"}
    assert flat.snapshot().mode == "npugraph_ex"
    with pytest.raises(ConfigError, match="wrong value for option 'mode'"):
        flat.mode = "max-autotune"


def test_unknown_name_in_options() -> None:
    with pytest.raises(ConfigError) as raised:
        apply_options(CompilerConfig(), {"clone_inputs": False})
    assert "no option 'clone_inputs'" in str(raised.value)
    assert "static_kernel_compile" in str(raised.value)
    assert str(raised.value).endswith("Try: 'clone_input' (did you mean that?)")
    with pytest.raises(ConfigTypeError, match="options= takes a dict"):
        apply_options(CompilerConfig(), [("clone_input", False)])  # pyright: ignore


def test_one_option_set_twice() -> None:
    path = "debug.aclgraph.disable_reinplace_inplaceable_ops_pass"
    with pytest.raises(ConfigError, match=f"sets '{path}' twice"):
        apply_options(CompilerConfig(), {"inplace_pass": False, path: False})
    assert apply_options(CompilerConfig(), {"inplace_pass": False, path: True}).get_option(path)


@pytest.mark.parametrize("module", [public_compiler_config, public_npugraphex_config])
def test_process_kwargs_options_changes_the_config_it_is_given(module: ModuleType) -> None:
    options = {"force_eager": True, "inplace_pass": False, "static_kernel_compile": True}
    tree, flat = CompilerConfig(), NpuGraphExConfig()
    for config in (tree, flat):
        module._process_kwargs_options(config, {"options": options})
        module._process_kwargs_options(config, {})
        module._process_kwargs_options(config, {"options": None})
    tree.mode = "npugraph_ex"
    assert tree == flat.compiler_config()
    assert tree.debug.run_eagerly
    assert not flat.inplace_pass


@pytest.mark.parametrize("make", [CompilerConfig, NpuGraphExConfig])
def test_process_kwargs_options_changes_all_or_nothing(
    make: Callable[[], CompilerConfig | NpuGraphExConfig],
) -> None:
    config = make()
    with pytest.raises(ConfigError):
        public_compiler_config._process_kwargs_options(
            config, {"options": {"force_eager": True, "clone_input": "maybe"}}
        )
    assert config == make()
