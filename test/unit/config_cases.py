"""Every option with values that it accepts and rejects."""

from __future__ import annotations

import os

from torchair.config import (
    FrozenDict,
)
from torchair.errors import ConfigError

INT64_MAX = 2**63 - 1

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


def _good_cases() -> list[tuple[str, object]]:
    return [(path, value) for path, (_, good, _) in CASES.items() for value in good]


def _assign(config: object, path: str, value: object) -> None:
    *groups, name = path.split(".")
    for group in groups:
        config = getattr(config, group)
    setattr(config, name, value)
