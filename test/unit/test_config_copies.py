"""Equality, copies, snapshots and cache identity of configs."""

from __future__ import annotations

import copy
import json
import pickle
from collections.abc import Callable
from pathlib import Path

import pytest
from config_cases import _assign, _good_cases, _pass_hook

from torchair.config import (
    CompilerConfig,
    ConfigAttributeError,
    apply_options,
)
from torchair.errors import ConfigError

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
