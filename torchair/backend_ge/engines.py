"""The engine interface, and the choice of an engine.

``Engine.compile(graph_def, options) -> Executable`` and ``Executable.run(inputs) -> outputs`` are
all that the rest of the project knows about devices.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from torchair.backend_ge.cann import libraries
from torchair.errors import ConfigError


class Executable(Protocol):
    """A compiled graph."""

    def run(self, inputs: Sequence[Any]) -> list[Any]:
        """Execute on one tensor (or Python number) per Data, in index order."""
        ...


class Engine(Protocol):
    """A device that compiles GE graphs."""

    name: str

    def compile(self, graph_def: Any, options: Mapping[str, Any] | None = None) -> Executable:
        """Compile a serialized GE graph."""
        ...


def engine_name(name: str) -> str:
    """``host`` or ``cann`` for ``auto``: cann when its libraries and an NPU are here."""
    if name == "auto":
        return "cann" if libraries.is_available() else "host"
    return name


def get_engine(name: str) -> Engine:
    """The engine of that name.

    Args:
        name: ``host``, ``cann`` or ``auto``.

    Raises:
        ConfigError: no such engine.
    """
    name = engine_name(name)
    if name == "host":
        from torchair.backend_ge.host.engine import HostEngine

        return HostEngine()
    if name == "cann":
        from torchair.backend_ge.cann.engine import CannEngine

        return CannEngine()
    raise ConfigError(
        f"there is no engine '{name}'",
        expected="auto, host or cann",
        found=name,
        hint="config.engine = 'host'",
    )
