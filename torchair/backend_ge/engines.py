"""The engine interface, and the choice of an engine.

``Engine.compile(graph_def, options) -> Executable`` and ``Executable.run(inputs) -> outputs`` are
all
that the rest of the project knows about devices.
"""

from __future__ import annotations

import ctypes.util
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from torchair.errors import ConfigError, EngineError

CANN_LIBRARIES = ("libascendcl.so", "libge_runner.so")
"""Libraries that the cann engine needs; they are loaded, never linked."""


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


def get_engine(name: str) -> Engine:
    """The engine of that name.

    Args:
        name: ``host``, ``cann``, or ``auto`` (cann when its libraries are here, else host).

    Raises:
        EngineError: cann was asked for and is not installed; says what was looked for and where.
        ConfigError: no such engine.
    """
    if name == "auto":
        name = "host"
    if name == "host":
        from torchair.backend_ge.host.engine import HostEngine

        return HostEngine()
    if name == "cann":
        _require_cann()
    raise ConfigError(
        f"there is no engine '{name}'",
        expected="auto, host or cann",
        found=name,
        hint="config.engine = 'host'",
    )


def cann_search_path() -> list[Path]:
    """Directories where CANN's libraries are looked for, in order."""
    roots = [os.environ.get("ASCEND_TOOLKIT_HOME"), os.environ.get("ASCEND_HOME_PATH")]
    folders = [Path(root) / "lib64" for root in roots if root]
    folders += [Path(p) for p in os.environ.get("LD_LIBRARY_PATH", "").split(":") if p]
    return [*folders, Path("/usr/local/Ascend/ascend-toolkit/latest/lib64")]


def find_cann_library(name: str) -> str | None:
    """Path of one of CANN's libraries, or None."""
    for folder in cann_search_path():
        if (folder / name).exists():
            return str(folder / name)
    return ctypes.util.find_library(name.removeprefix("lib").removesuffix(".so"))


def _require_cann() -> None:
    """Refuse the cann engine with the reason.

    Raises:
        EngineError: always, until the driver for CANN is part of this package.
    """
    missing = [name for name in CANN_LIBRARIES if find_cann_library(name) is None]
    folders = ", ".join(str(folder) for folder in cann_search_path())
    if missing:
        raise EngineError(
            f"the cann engine needs {' and '.join(missing)}, which is not here",
            expected="CANN installed, with ASCEND_TOOLKIT_HOME or LD_LIBRARY_PATH set",
            found=f"looked in {folders} and the system's library path",
            hint="source CANN's set_env.sh, or use config.engine = 'host'",
        )
    raise EngineError(
        "CANN is installed, but this version of torchair has no driver for it",
        hint="use config.engine = 'host'",
    )
