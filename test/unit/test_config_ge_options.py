"""What options become for GE, and which keys go to it."""

from __future__ import annotations

from pathlib import Path

import pytest

from torchair.config import (
    CompilerConfig,
)
from torchair.config.ge_keys import GLOBAL_KEYS, LOCAL_KEYS
from torchair.errors import ConfigError

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
