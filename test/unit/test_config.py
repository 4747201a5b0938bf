"""Options: parsing of each, value idioms, errors, as_dict, snapshots, options= of torch.compile."""

from __future__ import annotations

import copy
import importlib.util
import json
import os
import pickle
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from torchair.config import (
    CompilerConfig,
    ConfigAttributeError,
    ConfigFileNotFoundError,
    ConfigTypeError,
    FrozenDict,
    NpuGraphExConfig,
    apply_options,
)
from torchair.config.ge_keys import GLOBAL_KEYS, LOCAL_KEYS
from torchair.config.torch_compile_options import flat_options
from torchair.configs import compiler_config as public_compiler_config
from torchair.configs import npugraphex_config as public_npugraphex_config
from torchair.errors import ConfigError

INT64_MAX = 2**63 - 1
ROOT = Path(__file__).resolve().parents[2]

Case = tuple[object, list[object], list[tuple[object, type[Exception]]]]


def _pass_hook(graph_module: object, example_inputs: object, config: object) -> None:
    """A post-grad pass that does nothing."""


def _flag(default: bool) -> Case:
    return default, [True, False], [("yes", ConfigError), (2, ConfigError), (None, ConfigError)]


def _choice(default: str | None, *values: str) -> Case:
    good: list[object] = [*values, *([None] if default is None else [])]
    bad: list[tuple[object, type[Exception]]] = [("no such", ConfigError), (7, ConfigError)]
    return default, good, [*bad, *([] if default is None else [(None, ConfigError)])]


def _integer(default: int | None, low: int, high: int) -> Case:
    bad: list[tuple[object, type[Exception]]] = [
        (low - 1, ConfigError),
        (high + 1, ConfigError),
        (True, TypeError),
        ("1", TypeError),
        (1.5, TypeError),
    ]
    return default, [low, high, *([None] if default is None else [])], bad


HOOK: Case = (None, [_pass_hook, len, None], [("name", TypeError), (3, TypeError)])
OUTPUT_PATH: Case = (
    None,
    [os.path.realpath("no/such/directory"), None],
    [(3, TypeError), ("", ConfigError)],
)
DIRECTORY: Case = (
    "./",
    [os.path.dirname(__file__), "."],
    [("no/such", FileNotFoundError), (__file__, FileNotFoundError), (None, FileNotFoundError)],
)
FILE: Case = (
    None,
    [__file__, None],
    [("no/such.json", FileNotFoundError), ("", ConfigError), (3, FileNotFoundError)],
)
DICTIONARY: Case = (
    None,
    [FrozenDict({"dcci_disable_on_kernel": (".*",), "split_mode": 1}), None],
    [([1], TypeError), ("a=1", TypeError), ({"a": bytearray()}, ConfigError)],
)
INSERTIONS: Case = (
    FrozenDict({}),
    [FrozenDict({"dce": ("cse",)}), FrozenDict({})],
    [(["cse"], TypeError), ({"dce": "cse"}, TypeError), ({"dce": [3]}, TypeError)],
)


def _pass_names(default: object) -> Case:
    bad: list[tuple[object, type[Exception]]] = [("dce", TypeError), ([1], TypeError)]
    return default, [("dce", "cse"), (), default], bad


TEXT: Case = (None, ["any text", None], [(3, TypeError)])

ACLGRAPH = "experimental_config.aclgraph."

# For every option: its default, plain values it accepts, and what it rejects with which error.
CASES: dict[str, Case] = {
    "mode": _choice("max-autotune", "max-autotune", "reduce-overhead", "npugraph_ex"),
    "numerics": _choice("fast", "fast", "eager"),
    "streams": (
        "user",
        ["user", "auto", 1, 8],
        [(0, ConfigError), (9, ConfigError), ("autp", ConfigError), (True, TypeError)],
    ),
    "engine": _choice("auto", "auto", "host", "cann"),
    "post_grad_custom_pre_pass": HOOK,
    "post_grad_custom_post_pass": HOOK,
    "debug.run_eagerly": _flag(False),
    "debug.deadlock_check": _flag(False),
    "debug.verify": _flag(True),
    "debug.check_replay": _flag(False),
    "debug.graph_dump.type": _choice(None, "txt", "pbtxt", "py"),
    "debug.graph_dump.path": OUTPUT_PATH,
    "debug.data_dump.type": _choice(None, "npy"),
    "debug.data_dump.filter": HOOK,
    "debug.data_dump.path": OUTPUT_PATH,
    "debug.fx_summary.type": _choice(None, "csv"),
    "debug.fx_summary.skip_compile": _flag(True),
    "debug.aclgraph.disable_mempool_reuse_in_same_fx": _flag(False),
    "debug.aclgraph.enable_output_clone": _flag(False),
    "debug.aclgraph.static_capture_size_limit": _integer(64, 1, INT64_MAX),
    "debug.aclgraph.clone_input": _flag(True),
    "debug.aclgraph.disable_reinplace_inplaceable_ops_pass": _flag(False),
    "debug.aclgraph.disable_reinplace_input_mutated_ops_pass": _flag(False),
    "debug.aclgraph.remove_cat_ops": _flag(True),
    "debug.ir_dump.path": OUTPUT_PATH,
    "experimental_config.cc_parallel_enable": _flag(False),
    "experimental_config.keep_inference_input_mutations": _flag(True),
    "experimental_config.memory_efficiency": _flag(False),
    "experimental_config.frozen_parameter": _flag(False),
    "experimental_config.static_model_ops_lower_limit": _integer(None, -1, INT64_MAX),
    "experimental_config.jit_compile": _choice("auto", "auto"),
    "experimental_config.npu_fx_pass": _flag(False),
    "experimental_config.aot_config_enable_joint_graph": _flag(False),
    "experimental_config.aot_config_output_loss_index": _integer(0, 0, INT64_MAX),
    "experimental_config.topology_sorting_strategy": _choice(
        "DFS", "BFS", "DFS", "RDFS", "StableRDFS"
    ),
    "experimental_config.enable_ref_data": _flag(False),
    "experimental_config.enable_view_optimize": _flag(True),
    "experimental_config.remove_noop_ops": _flag(True),
    "experimental_config.tiling_schedule_optimize": _flag(False),
    "experimental_config.pattern_fusion_pass": _flag(True),
    ACLGRAPH + "_aclnn_static_shape_kernel": _flag(False),
    ACLGRAPH + "_aclnn_static_shape_kernel_build_dir": TEXT,
    ACLGRAPH + "_aclnn_static_shape_kernel_sym_value_range": (
        None,
        [(1, 2, 4), (), None],
        [(3, TypeError), (["a"], TypeError), ([True], TypeError)],
    ),
    ACLGRAPH + "_aclnn_static_shape_kernel_sym_index": _integer(0, 0, INT64_MAX),
    ACLGRAPH + "_super_kernel_optimize": _flag(False),
    ACLGRAPH + "_super_kernel_optimize_options": DICTIONARY,
    ACLGRAPH + "_super_kernel_debug_options": DICTIONARY,
    "ge_config.enable_single_stream": _flag(False),
    "ge_config.oo_level": _choice("O3", "O1", "O3"),
    "ge_config.oo_constant_folding": (None, [True, False, None], [("on", ConfigError)]),
    "ge_config.oo_dead_code_elimination": (None, [True, False, None], [("on", ConfigError)]),
    "ge_config.export_compile_stat": _choice("2", "0", "1", "2"),
    "ge_config.aicore_num": (
        None,
        ["24|48", "10", "24|", "|48", None],
        [("24,48", ConfigError), ("", ConfigError), (24, TypeError)],
    ),
    "ge_config.optimization_switch": (
        None,
        ["PassA:on;PassB:off", "PassA:off;", "", None],
        [("PassA=on", ConfigError), ("PassA:onn", ConfigError), (1, TypeError)],
    ),
    "inference_config.dynamic_gears_merge_policy": _choice("zip", "zip", "product"),
    "fusion_config.fusion_switch_file": FILE,
    "aoe_config.aoe_mode": _choice(None, "2"),
    "aoe_config.work_path": DIRECTORY,
    "aoe_config.aoe_config_file": FILE,
    "dump_config.enable_dump": _flag(False),
    "dump_config.dump_path": DIRECTORY,
    "dump_config.dump_mode": _choice("all", "all", "input", "output"),
    "dump_config.quant_dumpable": _flag(False),
    "dump_config.dump_step": (
        "",
        ["", "0", "0|3|5-9", "12|", None],
        [("a", ConfigError), ("1-", ConfigError), ("1,2", ConfigError), (1, TypeError)],
    ),
    "dump_config.dump_layer": (
        "",
        ["", "Add_1 MatMul/2", None],
        [("a;b", ConfigError), (1, TypeError)],
    ),
    "dump_config.dump_data": _choice("tensor", "tensor", "stats"),
    "dump_config.dump_config_path": (
        None,
        [None],
        [("no/such.json", FileNotFoundError), (__file__, FileNotFoundError), ("", ConfigError)],
    ),
    "dump_config.data_dump_stage": _choice("optimized", "optimized", "original"),
    "export.export_mode": _flag(False),
    "export.export_path_dir": ("./", ["somewhere"], [(None, TypeError), (1, TypeError)]),
    "export.export_name": TEXT,
    "export.weight_name": DICTIONARY,
    "export.inputs_name": DICTIONARY,
    "export.experimental.auto_atc_config_generated": _flag(False),
    "export.experimental.enable_record_nn_module_stack": _flag(False),
    "export.experimental.enable_lite_export": _flag(False),
    "aclgraph_config.use_custom_pool": (
        None,
        [(0, 1), (5, 0), None],
        [((1, 2), TypeError), ((0,), TypeError), (3, TypeError), ((0, True), TypeError)],
    ),
    "npugraphex_config.capture_error_mode": _choice("global", "global", "thread_local", "relaxed"),
    "npugraphex_config.force_recapture": _flag(False),
    "npugraphex_config.disable_static_kernel_compile_cache": _flag(False),
    "npugraphex_config.unsafe_skip_npugraph_capture_validation": _flag(False),
    "npugraphex_config.record_statistics_debug_info": _flag(False),
    "passes.order": _pass_names(None),
    "passes.drop": _pass_names(()),
    "passes.insert_before": INSERTIONS,
    "passes.insert_after": INSERTIONS,
    "device.target": _choice("auto", "host", "ascend310p", "ascend950"),
    "device.stream_pool": _integer(4, 1, 64),
    "device.max_streams": _integer(None, 1, 65_536),
    "device.max_events": _integer(None, 1, 10**9),
    "device.max_tasks": _integer(None, 1, 10**9),
    "host.replay": _choice("inline", "device"),
    "host.max_programs": _integer(64, 1, 4096),
    "host.threads": _integer(0, 0, 1024),
}

DEFAULT_LOCAL = {
    "disable_mempool_reuse_in_same_fx": "0",
    "enable_output_clone": "0",
    "static_capture_size_limit": "64",
    "clone_input": "1",
    "run_eagerly": "0",
    "deadlock_check": "0",
    "remove_noop_ops": "1",
    "pattern_fusion_pass": "1",
    "frozen_parameter": "0",
    "ge.tiling_schedule_optimize": "0",
    "ge.featureBaseRefreshable": "0",
    "ge.topoSortingMode": "1",
    "ge.jit_compile": "2",
    "mode": "max-autotune",
}
DEFAULT_GLOBAL = {
    "ge.exec.enableEngineParallel": "0",
    "ge.enableSingleStream": "false",
    "ge.oo.level": "O3",
    "ge.exportCompileStat": "2",
}


def _good_cases() -> list[tuple[str, object]]:
    return [(path, value) for path, (_, good, _) in CASES.items() for value in good]


def _bad_cases() -> list[tuple[str, object, type[Exception]]]:
    return [(path, value, error) for path, (_, _, bad) in CASES.items() for value, error in bad]


def _assign(config: object, path: str, value: object) -> None:
    *groups, name = path.split(".")
    for group in groups:
        config = getattr(config, group)
    setattr(config, name, value)


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


# Equality, copies, snapshots


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, CompilerConfig.copy])
def test_copies_are_equal_and_independent(
    duplicate: Callable[[CompilerConfig], CompilerConfig],
) -> None:
    config = CompilerConfig()
    config.debug.graph_dump.type = "py"
    config.post_grad_custom_pre_pass = _pass_hook
    twin = duplicate(config)
    assert twin == config
    assert hash(twin) == hash(config)
    twin.debug.graph_dump.type = None
    twin.mode = "npugraph_ex"
    assert config.changed_values() == {
        "debug.graph_dump.type": "py",
        "post_grad_custom_pre_pass": _pass_hook,
    }


def test_pickle() -> None:
    config = CompilerConfig()
    config.experimental_config.aclgraph._super_kernel_optimize_options = {"split_mode": 1}
    config.host.threads = 3
    twin = pickle.loads(pickle.dumps(config))
    assert twin == config
    assert twin.host.threads.path == "host.threads"
    snapshot = pickle.loads(pickle.dumps(config.snapshot()))
    assert snapshot == config.snapshot()
    assert hash(snapshot) == hash(config.snapshot())


def test_unhashable_callable() -> None:
    class UnhashablePass:
        __hash__ = None  # pyright: ignore[reportAssignmentType]

        def __eq__(self, other: object) -> bool:
            return isinstance(other, UnhashablePass)

        def __call__(self, graph_module: object) -> None:
            """Does nothing."""

    first, second = CompilerConfig(), CompilerConfig()
    first.post_grad_custom_pre_pass = UnhashablePass()
    second.post_grad_custom_pre_pass = UnhashablePass()
    assert first == second
    assert hash(first) == hash(second)
    assert hash(first.snapshot()) == hash(second.snapshot())


def test_no_state_is_shared_between_configs() -> None:
    apply_options(CompilerConfig(), {"clone_input": False})
    changed = CompilerConfig()
    changed.ge_config.oo_level = "O1"
    assert CompilerConfig().changed_values() == {}


def test_comparison_with_something_else() -> None:
    assert CompilerConfig() != "max-autotune"
    assert CompilerConfig().debug != CompilerConfig().host


def test_snapshot_is_plain_frozen_and_hashable() -> None:
    config = CompilerConfig()
    config.debug.graph_dump.type = "pbtxt"
    before = config.snapshot()
    assert before.debug.graph_dump.type == "pbtxt"
    assert before.debug.verify is True
    assert before["debug.aclgraph.static_capture_size_limit"] == 64
    assert before == config.snapshot()
    assert hash(before) == hash(config.snapshot())
    config.debug.graph_dump.type = None
    assert before.debug.graph_dump.type == "pbtxt"
    assert before != config.snapshot()
    with pytest.raises(ConfigError, match=r"'debug\.verify': a snapshot is frozen"):
        before.debug.verify = False
    with pytest.raises(ConfigAttributeError, match=r"Try: 'debug\.verify'"):
        _ = before.debug.verfy
    assert [path for path, _ in before.items()] == list(CompilerConfig.paths())
    assert repr(before) == "Snapshot(debug.graph_dump.type='pbtxt')"


@pytest.mark.parametrize(("path", "value"), _good_cases())
def test_cache_identity_changes_with_what_can_change_the_result(path: str, value: object) -> None:
    config = CompilerConfig()
    default = config.snapshot().cache_identity()
    _assign(config, path, value)
    declared = dict(CompilerConfig.walk())[path]
    identity = config.snapshot().cache_identity()
    if callable(value):
        assert identity is None
    else:
        expected_to_differ = declared.in_cache_key and value != declared.default
        assert (identity != default) == expected_to_differ


def test_cache_identity_of_callables_and_files(tmp_path: Path) -> None:
    class NamedPass:
        def __init__(self, name: str) -> None:
            self.name = name

        def __call__(self, graph_module: object) -> None:
            """Does nothing."""

        def uuid(self) -> str:
            return self.name

    def identity(name: str, switches: str) -> dict[str, object]:
        file = tmp_path / f"{name}.json"
        file.write_text(switches)
        config = CompilerConfig()
        config.post_grad_custom_pre_pass = NamedPass(name)
        config.fusion_config.fusion_switch_file = str(file)
        text = config.snapshot().cache_identity()
        assert text is not None
        return json.loads(text)

    first, second = identity("one", "{}"), identity("two", "{}")
    assert first.pop("post_grad_custom_pre_pass") == "one"
    assert second.pop("post_grad_custom_pre_pass") == "two"
    assert first == second
    assert (
        first["fusion_config.fusion_switch_file"]
        != identity("one", '{"Switch": {}}')["fusion_config.fusion_switch_file"]
    )


# as_dict


def test_default_as_dict() -> None:
    assert CompilerConfig().as_dict() == (DEFAULT_LOCAL, DEFAULT_GLOBAL)
    assert CompilerConfig().as_dict("max-autotune") == (DEFAULT_LOCAL, DEFAULT_GLOBAL)


def test_as_dict_of_another_mode() -> None:
    config = CompilerConfig()
    local, global_ = config.as_dict("reduce-overhead")
    assert local == {
        **DEFAULT_LOCAL,
        "mode": "reduce-overhead",
        "_aclnn_static_shape_kernel": "0",
    }
    assert global_ == DEFAULT_GLOBAL
    assert config.mode == "max-autotune"
    config.mode = "reduce-overhead"
    assert config.as_dict() == (local, global_)
    with pytest.raises(ConfigError, match="unknown mode"):
        config.as_dict("fast")


@pytest.mark.parametrize(
    ("path", "value", "scope", "expected"),
    [
        ("experimental_config.cc_parallel_enable", True, 1, {"ge.exec.enableEngineParallel": "1"}),
        ("experimental_config.memory_efficiency", True, 0, {"ge.featureBaseRefreshable": "1"}),
        ("experimental_config.frozen_parameter", True, 0, {"frozen_parameter": "1"}),
        (
            "experimental_config.static_model_ops_lower_limit",
            -1,
            0,
            {"ge.exec.static_model_ops_lower_limit": "-1"},
        ),
        ("experimental_config.topology_sorting_strategy", "BFS", 0, {"ge.topoSortingMode": "0"}),
        ("experimental_config.topology_sorting_strategy", "RDFS", 0, {"ge.topoSortingMode": "2"}),
        (
            "experimental_config.topology_sorting_strategy",
            "StableRDFS",
            0,
            {"ge.topoSortingMode": "3"},
        ),
        (
            "experimental_config.tiling_schedule_optimize",
            True,
            0,
            {"ge.tiling_schedule_optimize": "1"},
        ),
        ("experimental_config.remove_noop_ops", False, 0, {"remove_noop_ops": "0"}),
        ("experimental_config.pattern_fusion_pass", False, 0, {"pattern_fusion_pass": "0"}),
        ("ge_config.enable_single_stream", True, 1, {"ge.enableSingleStream": "true"}),
        ("ge_config.oo_constant_folding", False, 1, {"ge.oo.constantFolding": "false"}),
        ("ge_config.oo_dead_code_elimination", True, 1, {"ge.oo.deadCodeElimination": "true"}),
        ("ge_config.export_compile_stat", "0", 1, {"ge.exportCompileStat": "0"}),
        ("ge_config.aicore_num", "24|48", 1, {"ge.aicoreNum": "24|48"}),
        ("ge_config.optimization_switch", "A:on", 1, {"ge.optimizationSwitch": "A:on"}),
        ("fusion_config.fusion_switch_file", __file__, 1, {"ge.fusionSwitchFile": __file__}),
        ("aoe_config.aoe_mode", "2", 0, {"aoe_mode": "2", "work_path": "./"}),
        ("export.export_mode", True, 0, {"export_path_dir": "./"}),
        ("debug.run_eagerly", True, 0, {"run_eagerly": "1"}),
        ("debug.deadlock_check", True, 0, {"deadlock_check": "1"}),
        ("debug.aclgraph.clone_input", False, 0, {"clone_input": "0"}),
        ("debug.aclgraph.enable_output_clone", True, 0, {"enable_output_clone": "1"}),
        (
            "debug.aclgraph.disable_mempool_reuse_in_same_fx",
            True,
            0,
            {"disable_mempool_reuse_in_same_fx": "1"},
        ),
        (
            "debug.aclgraph.static_capture_size_limit",
            8,
            0,
            {"static_capture_size_limit": "8"},
        ),
    ],
)
def test_as_dict_key(path: str, value: object, scope: int, expected: dict[str, str]) -> None:
    config = CompilerConfig()
    config.set_option(path, value)
    dicts: list[dict[str, str]] = [dict(DEFAULT_LOCAL), dict(DEFAULT_GLOBAL)]
    dicts[scope].update(expected)
    assert config.as_dict() == (dicts[0], dicts[1])


def test_o1_overrides_the_sorting_strategy() -> None:
    config = CompilerConfig()
    config.ge_config.oo_level = "O1"
    config.experimental_config.topology_sorting_strategy = "BFS"
    local, global_ = config.as_dict()
    assert local["ge.topoSortingMode"] == "3"
    assert global_["ge.oo.level"] == "O1"


def test_as_dict_of_a_data_dump_creates_no_directory(tmp_path: Path) -> None:
    config = CompilerConfig()
    config.dump_config.dump_path = str(tmp_path)
    config.dump_config.dump_step = "0|2-4"
    assert config.as_dict() == (DEFAULT_LOCAL, DEFAULT_GLOBAL)
    config.dump_config.enable_dump = True
    _, global_ = config.as_dict(world_size=8, rank=3)
    assert global_ == {
        **DEFAULT_GLOBAL,
        "ge.exec.enableDump": "1",
        "ge.exec.dumpPath": str(tmp_path / "worldsize8_global_rank3"),
        "ge.exec.dumpMode": "all",
        "ge.quant_dumpable": "0",
        "ge.exec.dumpStep": "0|2-4",
        "ge.exec.dumpData": "tensor",
    }
    assert list(tmp_path.iterdir()) == []
    _, capture = config.as_dict("npugraph_ex")
    assert capture["aclgraph.dumpStage"] == "optimized"


def test_only_ge_keys_go_to_ge(tmp_path: Path) -> None:
    config = CompilerConfig()
    dump_file = tmp_path / "acl.json"
    dump_file.write_text("{}")
    config.dump_config.dump_config_path = str(dump_file)
    config.aoe_config.aoe_mode = "2"
    config.numerics = "eager"
    assert config.as_dict()[1]["ge_dump_with_acl_config"] == str(dump_file)
    local, global_ = config.ge_options()
    assert local == {k: v for k, v in DEFAULT_LOCAL.items() if k.startswith("ge.")}
    assert global_ == DEFAULT_GLOBAL


def test_own_options_are_in_no_option_dict() -> None:
    own = {path for path, option in CompilerConfig.walk() if option.own}
    assert own == {
        "numerics",
        "streams",
        "engine",
        "debug.verify",
        "debug.check_replay",
        "debug.ir_dump.path",
        "passes.order",
        "passes.drop",
        "passes.insert_before",
        "passes.insert_after",
        "device.target",
        "device.stream_pool",
        "device.max_streams",
        "device.max_events",
        "device.max_tasks",
        "host.replay",
        "host.max_programs",
        "host.threads",
    }
    assert own.isdisjoint(key.path for key in (*LOCAL_KEYS, *GLOBAL_KEYS))


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
