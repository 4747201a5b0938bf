"""Options: parsing of each, value idioms, errors, as_dict, snapshots, options= of torch.compile."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest
from config_cases import CASES, _assign, _good_cases, _pass_hook

from torchair.config import (
    CompilerConfig,
    ConfigAttributeError,
    ConfigFileNotFoundError,
    ConfigTypeError,
)
from torchair.configs import compiler_config as public_compiler_config
from torchair.errors import ConfigError

ROOT = Path(__file__).resolve().parents[2]


def _bad_cases() -> list[tuple[str, object, type[Exception]]]:
    return [(path, value, error) for path, (_, _, bad) in CASES.items() for value, error in bad]


def _option(config: object, path: str) -> Any:
    for name in path.split("."):
        config = getattr(config, name)
    return config


# Parsing


def test_every_option_has_cases() -> None:
    assert set(CASES) == set(CompilerConfig.paths())


@pytest.mark.parametrize("path", CASES)
def test_default(path: str) -> None:
    config = CompilerConfig()
    assert _option(config, path).get() == CASES[path][0]
    assert config.snapshot()[path] == CASES[path][0]


@pytest.mark.parametrize(("path", "value"), _good_cases())
def test_accepted_value(path: str, value: object) -> None:
    config = CompilerConfig()
    _assign(config, path, value)
    assert type(_option(config, path).get()) is type(value)
    assert _option(config, path).get() == value
    assert config.get_option(path) == value
    assert config.snapshot()[path] == value
    changed = value != CASES[path][0]
    assert config.changed_values() == ({path: value} if changed else {})
    assert (config != CompilerConfig()) == changed


@pytest.mark.parametrize(("path", "value"), _good_cases())
def test_assigning_to_value_is_the_same(path: str, value: object) -> None:
    assigned, through_value = CompilerConfig(), CompilerConfig()
    _assign(assigned, path, value)
    _option(through_value, path).value = value
    assert assigned == through_value
    assert hash(assigned) == hash(through_value)


@pytest.mark.parametrize(("path", "value", "error"), _bad_cases())
def test_rejected_value(path: str, value: object, error: type[Exception]) -> None:
    config = CompilerConfig()
    with pytest.raises(error) as raised:
        _assign(config, path, value)
    assert isinstance(raised.value, ConfigError)
    assert isinstance(raised.value, ValueError)
    assert path in str(raised.value)
    assert _option(config, path).allowed in str(raised.value)
    assert repr(value) in str(raised.value)
    assert config == CompilerConfig()


def test_json_file(tmp_path: Path) -> None:
    file = tmp_path / "dump.json"
    file.write_text("{}")
    config = CompilerConfig()
    config.dump_config.dump_config_path = str(file)
    assert config.dump_config.dump_config_path.value == str(file)
    config.fusion_config.fusion_switch_file = file
    assert config.fusion_config.fusion_switch_file == str(file)


def test_output_path_is_made_absolute_and_not_created(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    config = CompilerConfig()
    config.debug.ir_dump.path = "dump/here"
    assert config.debug.ir_dump.path == str(tmp_path / "dump" / "here")
    assert list(tmp_path.iterdir()) == []


def test_flag_takes_one_and_zero_as_bools() -> None:
    config = CompilerConfig()
    config.debug.run_eagerly = 1
    assert config.debug.run_eagerly.get() is True
    config.debug.run_eagerly = 0
    assert config.debug.run_eagerly.get() is False


# Value idioms


def test_value_reads_as_text() -> None:
    config = CompilerConfig()
    assert config.mode.value == "max-autotune"
    assert config.debug.run_eagerly.value == "0"
    config.debug.run_eagerly.value = True
    assert config.debug.run_eagerly.value == "1"
    assert config.debug.aclgraph.static_capture_size_limit.value == "64"
    assert config.debug.graph_dump.type.value is None
    config.post_grad_custom_pre_pass = _pass_hook
    assert config.post_grad_custom_pre_pass.value is _pass_hook
    config.experimental_config.aclgraph._aclnn_static_shape_kernel_sym_value_range = (1, 2)
    assert config.experimental_config.aclgraph._aclnn_static_shape_kernel_sym_value_range.value == [
        1,
        2,
    ]
    config.aclgraph_config.use_custom_pool = (0, 3)
    assert config.aclgraph_config.use_custom_pool.value == (0, 3)


def test_option_behaves_as_its_plain_value() -> None:
    config = CompilerConfig()
    assert config.mode == "max-autotune"
    assert config.mode != "reduce-overhead"
    assert str(config.mode) == f"{config.mode}" == "max-autotune"
    assert {"max-autotune": 1}[config.mode] == 1  # pyright: ignore[reportArgumentType]
    assert not config.debug.run_eagerly
    assert config.debug.verify
    assert not config.debug.graph_dump.type
    assert int(config.debug.aclgraph.static_capture_size_limit) == 64
    assert config.debug.run_eagerly == config.debug.deadlock_check
    assert "debug.run_eagerly" in repr(config.debug.run_eagerly)


def test_option_handle_is_live() -> None:
    config = CompilerConfig()
    mode = config.mode
    config.mode = "reduce-overhead"
    assert mode.value == "reduce-overhead"


def test_setattr_on_group() -> None:
    config = CompilerConfig()
    wanted = {
        "frozen_parameter": True,
        "tiling_schedule_optimize": True,
        "topology_sorting_strategy": "StableRDFS",
    }
    for name, value in wanted.items():
        setattr(config.experimental_config, name, value)
    assert config.changed_values() == {f"experimental_config.{k}": v for k, v in wanted.items()}


def test_option_takes_the_value_of_another_option() -> None:
    config, other = CompilerConfig(), CompilerConfig()
    other.mode = "npugraph_ex"
    config.mode = other.mode
    assert config.mode.get() == "npugraph_ex"


def test_group_takes_the_values_of_another_group() -> None:
    config, other = CompilerConfig(), CompilerConfig()
    other.debug.graph_dump.type = "py"
    config.debug = other.debug
    assert config == other
    other.debug.graph_dump.type = "txt"
    assert config.debug.graph_dump.type == "py"
    with pytest.raises(ConfigTypeError, match="'debug' is a group"):
        config.debug = True


def test_dict_option_is_copied() -> None:
    config = CompilerConfig()
    options = {"dcci_disable_on_kernel": [".*"]}
    config.experimental_config.aclgraph._super_kernel_optimize_options = options
    options["dcci_disable_on_kernel"].append("late")
    read = config.experimental_config.aclgraph._super_kernel_optimize_options.value
    assert read == {"dcci_disable_on_kernel": [".*"]}
    read["more"] = 1
    assert config.experimental_config.aclgraph._super_kernel_optimize_options.value != read


# Unknown options


@pytest.mark.parametrize(
    ("path", "suggestion"),
    [
        ("moed", "mode"),
        ("experimental_config.frozen_paramter", "experimental_config.frozen_parameter"),
        ("frozen_parameter", "experimental_config.frozen_parameter"),
        ("debug.graph_dump.typ", "debug.graph_dump.type"),
        ("ge_config.run_eagerly", "debug.run_eagerly"),
    ],
)
def test_unknown_option(path: str, suggestion: str) -> None:
    config = CompilerConfig()
    with pytest.raises(ConfigError) as set_error:
        _assign(config, path, True)
    with pytest.raises(ConfigAttributeError) as read_error:
        _option(config, path)
    for text in (str(set_error.value), str(read_error.value)):
        assert f"no option '{path}' in CompilerConfig" in text
        assert text.endswith(f"Try: '{suggestion}' (did you mean that?)")


def test_hasattr() -> None:
    config = CompilerConfig()
    assert hasattr(config.experimental_config, "frozen_parameter")
    assert not hasattr(config.experimental_config, "no_such_thing")


def test_hint_for_a_near_value() -> None:
    with pytest.raises(ConfigError, match="Try: 'StableRDFS'"):
        CompilerConfig().experimental_config.topology_sorting_strategy = "stableRDFS"


def test_set_option_by_path() -> None:
    config = CompilerConfig()
    config.set_option("debug.graph_dump.type", "txt")
    assert config.get_option("debug.graph_dump.type") == "txt"
    with pytest.raises(ConfigError, match=r"debug\.graph_dump\.type"):
        config.set_option("graph_dump.typ", "txt")
    with pytest.raises(ConfigError, match="no option 'debug'"):
        config.set_option("debug", "txt")


# Modes and explanations


def test_options_without_effect_are_warned_about() -> None:
    config = CompilerConfig()
    config.debug.aclgraph.clone_input = False
    config.debug.run_eagerly = True
    with pytest.warns(UserWarning, match=r"no effect in mode max-autotune: .*clone_input$"):
        public_compiler_config._check_config_support(config)
    config.mode = "reduce-overhead"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        public_compiler_config._check_config_support(config)
    config.ge_config.oo_level = "O1"
    assert config.options_without_effect() == ["ge_config.oo_level"]


def test_explain() -> None:
    config = CompilerConfig()
    assert config.explain() == "all options have their defaults"
    config.numerics = "eager"
    config.debug.aclgraph.clone_input = False
    assert config.explain().splitlines() == [
        "numerics = 'eager' (default 'fast')",
        "debug.aclgraph.clone_input = False (default True, no effect in mode max-autotune)",
    ]
    assert repr(config) == "CompilerConfig(numerics='eager', debug.aclgraph.clone_input=False)"


def test_file_not_found_is_a_config_error() -> None:
    with pytest.raises(ConfigFileNotFoundError) as raised:
        CompilerConfig().aoe_config.work_path = "no/such"
    assert "'aoe_config.work_path'" in str(raised.value)
    assert "expected: existing directory" in str(raised.value)


# Module


def test_importing_the_options_imports_no_torch() -> None:
    program = "import sys, torchair.configs.compiler_config; print('torch' in sys.modules)"
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, check=True
    )
    assert result.stdout.strip() == "False"


def test_option_documentation_is_current() -> None:
    script = ROOT / "scripts" / "generate_option_docs.py"
    spec = importlib.util.spec_from_file_location("generate_option_docs", script)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert (ROOT / "docs" / "options.md").read_text(encoding="utf-8") == module.render()
