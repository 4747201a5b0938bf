"""Options of the stream passes that follow from the user's configuration."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from torchair.backend_ge.engines import engine_name
from torchair.config import Snapshot
from torchair.errors import ConfigError

NPU_TARGET = "ascend910b"
"""Whose costs and limits hold when an NPU runs the graph."""


def stream_options(
    config: Snapshot, sync: Literal["data", "events"]
) -> dict[str, Mapping[str, Any]]:
    """Options by pass name.

    Args:
        config: frozen options.
        sync: ``data`` when an engine orders uses after their producers by itself.

    Raises:
        ConfigError: options contradict each other.
    """
    if config.ge_config.enable_single_stream and config.streams != "user":
        raise ConfigError(
            "config.streams asks for several streams, ge_config.enable_single_stream for one",
            found=f"streams = {config.streams!r}",
            hint="set one of them only",
        )
    target = stream_target(config)
    device = config.device
    schedule = {
        "streams": str(config.streams),
        "sync": sync,
        "target": target,
        "pool": device.stream_pool,
    }
    limits = {
        "target": target,
        "streams": device.max_streams or 0,
        "events": device.max_events or 0,
        "tasks": device.max_tasks or 0,
    }
    return {"schedule-streams": schedule, "verify-schedule": limits}


def stream_target(config: Snapshot) -> str:
    """The target of the cost model: as configured, or that of the engine."""
    if config.device.target != "auto":
        return str(config.device.target)
    is_host = engine_name(config.engine) == "host"
    return "host" if is_host else NPU_TARGET
