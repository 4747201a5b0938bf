"""How options become the string keys of `as_dict`: local ones for a graph, global for the session.

Keys that start with `ge.` are for the Graph Engine. The others are read by the Python and C++ sides
of the backend and must not be handed to GE; `split_for_ge` drops them.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from torchair.config.option_group import ALL_MODES, CAPTURE_MODES
from torchair.config.snapshot import Snapshot

TOPOLOGY_SORTING = {"BFS": "0", "DFS": "1", "RDFS": "2", "StableRDFS": "3"}

OptionDicts = tuple[dict[str, str], dict[str, str]]
"""The local and the global options."""


def bit(value: object) -> str:
    """Returns "1" for a true value, else "0"."""
    return "1" if value else "0"


def word(value: object) -> str:
    """Returns "true" for a true value, else "false"."""
    return "true" if value else "false"


@dataclass(frozen=True)
class Key:
    """One key of `as_dict`. An option that is None or empty gives no key.

    Args:
        name: the key.
        path: the option whose value it carries.
        encode: turns the plain value into text.
        when: the option that must be set for the key to appear.
        modes: the modes in which the key appears.
    """

    name: str
    path: str
    encode: Callable[[object], str] = str
    when: str | None = None
    modes: tuple[str, ...] = ALL_MODES


DUMP = "dump_config.enable_dump"
EXPORT = "export.export_mode"

LOCAL_KEYS: tuple[Key, ...] = (
    Key("disable_mempool_reuse_in_same_fx", "debug.aclgraph.disable_mempool_reuse_in_same_fx", bit),
    Key("enable_output_clone", "debug.aclgraph.enable_output_clone", bit),
    Key("static_capture_size_limit", "debug.aclgraph.static_capture_size_limit"),
    Key("clone_input", "debug.aclgraph.clone_input", bit),
    Key("run_eagerly", "debug.run_eagerly", bit),
    Key("deadlock_check", "debug.deadlock_check", bit),
    Key("remove_noop_ops", "experimental_config.remove_noop_ops", bit),
    Key("pattern_fusion_pass", "experimental_config.pattern_fusion_pass", bit),
    Key("frozen_parameter", "experimental_config.frozen_parameter", bit),
    Key(
        "_aclnn_static_shape_kernel",
        "experimental_config.aclgraph._aclnn_static_shape_kernel",
        bit,
        modes=CAPTURE_MODES,
    ),
    Key("aoe_mode", "aoe_config.aoe_mode"),
    Key("work_path", "aoe_config.work_path", when="aoe_config.aoe_mode"),
    Key("aoe_config_file", "aoe_config.aoe_config_file", when="aoe_config.aoe_mode"),
    Key("export_path_dir", "export.export_path_dir", when=EXPORT),
    Key("export_name", "export.export_name", when=EXPORT),
    Key("ge.featureBaseRefreshable", "experimental_config.memory_efficiency", bit),
    Key("ge.jit_compile", "experimental_config.jit_compile", lambda _: "2"),
    Key(
        "ge.topoSortingMode",
        "experimental_config.topology_sorting_strategy",
        lambda strategy: TOPOLOGY_SORTING[str(strategy)],
    ),
    Key("ge.exec.static_model_ops_lower_limit", "experimental_config.static_model_ops_lower_limit"),
    Key("ge.tiling_schedule_optimize", "experimental_config.tiling_schedule_optimize", bit),
    Key("mode", "mode"),
)

GLOBAL_KEYS: tuple[Key, ...] = (
    Key("ge.exec.enableEngineParallel", "experimental_config.cc_parallel_enable", bit),
    Key("ge.enableSingleStream", "ge_config.enable_single_stream", word),
    Key("ge.oo.level", "ge_config.oo_level"),
    Key("ge.oo.constantFolding", "ge_config.oo_constant_folding", word),
    Key("ge.oo.deadCodeElimination", "ge_config.oo_dead_code_elimination", word),
    Key("ge.exportCompileStat", "ge_config.export_compile_stat"),
    Key("ge.aicoreNum", "ge_config.aicore_num"),
    Key("ge.optimizationSwitch", "ge_config.optimization_switch"),
    Key("ge.fusionSwitchFile", "fusion_config.fusion_switch_file"),
    Key("ge_dump_with_acl_config", "dump_config.dump_config_path"),
    Key("ge.exec.enableDump", "dump_config.enable_dump", bit, when=DUMP),
    Key("ge.exec.dumpPath", "dump_config.dump_path", when=DUMP),
    Key("ge.exec.dumpMode", "dump_config.dump_mode", when=DUMP),
    Key("ge.quant_dumpable", "dump_config.quant_dumpable", bit, when=DUMP),
    Key("ge.exec.dumpStep", "dump_config.dump_step", when=DUMP),
    Key("ge.exec.dumpLayer", "dump_config.dump_layer", when=DUMP),
    Key("ge.exec.dumpData", "dump_config.dump_data", when=DUMP),
    Key("aclgraph.dumpStage", "dump_config.data_dump_stage", when=DUMP, modes=CAPTURE_MODES),
)


def local_and_global(
    config: Snapshot, mode: str, *, world_size: int = 1, rank: int = 0
) -> OptionDicts:
    """Returns all options of `config` as (local, global) string dicts for `mode`. Writes no file.

    Args:
        config: the snapshot of a CompilerConfig.
        mode: one of the compile modes.
        world_size, rank: of the process group; they name the dump directory of this rank.
    """
    local = _encode(config, mode, LOCAL_KEYS)
    global_ = _encode(config, mode, GLOBAL_KEYS)
    local["mode"] = mode
    if config.ge_config.oo_level == "O1":
        local["ge.topoSortingMode"] = TOPOLOGY_SORTING["StableRDFS"]
    if "ge.exec.dumpPath" in global_:
        directory = os.path.realpath(global_["ge.exec.dumpPath"])
        subdirectory = f"worldsize{world_size}_global_rank{rank}"
        global_["ge.exec.dumpPath"] = os.path.join(directory, subdirectory)
    return local, global_


def split_for_ge(options: OptionDicts) -> OptionDicts:
    """Returns the part of `as_dict` that GE itself understands: the keys that start with `ge.`."""
    local, global_ = options
    return _ge_only(local), _ge_only(global_)


def key_of(path: str) -> tuple[Literal["local", "global"], str] | None:
    """Returns the scope and the key that carry the option at `path`, or None."""
    for key in LOCAL_KEYS:
        if key.path == path:
            return "local", key.name
    for key in GLOBAL_KEYS:
        if key.path == path:
            return "global", key.name
    return None


def _encode(config: Snapshot, mode: str, keys: tuple[Key, ...]) -> dict[str, str]:
    options: dict[str, str] = {}
    for key in keys:
        value = config[key.path]
        wanted = mode in key.modes and (key.when is None or config[key.when])
        if wanted and value is not None and value != "":
            options[key.name] = key.encode(value)
    return options


def _ge_only(options: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in options.items() if name.startswith("ge.")}
