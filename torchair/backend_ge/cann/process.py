"""The one CANN engine of a process: opened by the first graph, closed at exit or on request."""

from __future__ import annotations

import atexit
import os
import threading
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from torchair import _native
from torchair.backend_ge.cann import libraries
from torchair.backend_ge.cann.options import check_same, session_options
from torchair.errors import ConfigError, EngineError

ROUTE_VARIABLE = "TORCHAIR_CANN_ROUTE"
"""Environment variable: which interface of GE is used, one of `ROUTES`."""
ROUTES = ("auto", "wrapper", "session")
"""GE's plain-C wrapper, its C++ session, or the wrapper where it is complete (the default)."""


@dataclass(frozen=True)
class OpenEngine:
    """The engine and what it was opened with."""

    native: _native.CannEngine
    options: Mapping[str, str]


_lock = threading.Lock()
_open: list[OpenEngine] = []
_runs = threading.Condition()
_running: list[int] = []
"""One entry per run that is under way: the thread it is on."""
PATIENCE = 10.0
"""Seconds that ``close`` waits for runs of other threads; a device that hangs must not keep it."""


@contextmanager
def running() -> Generator[None]:
    """A run, until its results are fetched: the engine is not closed under it."""
    thread = threading.get_ident()
    with _runs:
        _running.append(thread)
    try:
        yield
    finally:
        with _runs:
            _running.remove(thread)
            _runs.notify_all()


def _wait_for_runs() -> None:
    own = threading.get_ident()
    with _runs:
        _runs.wait_for(lambda: all(thread == own for thread in _running), PATIENCE)


def check_libraries() -> None:
    """Check that CANN is here.

    Raises:
        EngineError: it is not, or lacks functions; says what was looked for and where.
    """
    try:
        _native.cann_load(libraries.search_folders())
    except _native.CannLoadError as error:
        raise _load_error(error) from error


def engine(
    options: Mapping[str, str], device: int, *, owned: bool, dump_config: str | None = None
) -> _native.CannEngine:
    """The engine of this process; opened when it is not.

    Args:
        options: of ``GEInitialize``.
        device: number of the NPU.
        owned: whether torchair starts and ends ACL and GE; torch_npu does when it is there.
        dump_config: ACL's dump configuration, a JSON file; only that of the first graph counts.

    Raises:
        EngineError: CANN is not here, lacks functions, or fails; says what was looked for.
        ConfigError: the process was started with other options.
    """
    with _lock:
        if _open and not _open[0].native.closed:
            check_same(_open[0].options, options)
            return _open[0].native
        _open.clear()
        native = _open_engine(options, device, owned, dump_config)
        atexit.register(close)
        _open.append(OpenEngine(native, dict(options)))
        return native


def _open_engine(
    options: Mapping[str, str], device: int, owned: bool, dump_config: str | None
) -> _native.CannEngine:
    session = session_options(options, device)
    route = os.environ.get(ROUTE_VARIABLE, ROUTES[0])
    if route not in ROUTES:
        raise ConfigError(f"{ROUTE_VARIABLE} is wrong", expected=" or ".join(ROUTES), found=route)
    try:
        return _native.CannEngine(
            libraries.search_folders(),
            device,
            route,
            owned,
            dump_config or "",
            list(options.items()),
            list(session.items()),
        )
    except _native.CannLoadError as error:
        raise _load_error(error) from error
    except RuntimeError as error:
        raise EngineError(
            f"the cann engine cannot start: {error_text(error)}",
            hint="npu-smi info shows the devices; config.engine = 'host' runs without one",
        ) from error


def open_device(device: int = 0, *, owned: bool = True) -> _native.runtime.Device:
    """The NPU as a device for streams, events, capture and replay.

    Args:
        device: number of the NPU.
        owned: whether torchair starts and ends ACL; torch_npu does when it is there.

    Raises:
        EngineError: CANN is not here, or lacks the functions of capture.
    """
    try:
        opened = _native.cann_open_device(libraries.search_folders(), device, owned)
    except _native.CannLoadError as error:
        raise _load_error(error) from error
    atexit.register(close_device)
    return opened


def close_device() -> None:
    """Give the device up. Its streams, events and graphs must be gone before."""
    _native.cann_close_device()
    atexit.unregister(close_device)


def error_text(error: Exception) -> str:
    """What an error of the driver says; the text of a DeviceError has its code and rule already."""
    return str(error.args[-1]) if isinstance(error, _native.runtime.DeviceError) else str(error)


def _load_error(error: _native.CannLoadError) -> EngineError:
    what, found = error.args
    return EngineError(
        what,
        expected="CANN 8.5.0 or newer",
        found=found,
        hint="source CANN's set_env.sh, or use config.engine = 'host'",
    )


def close() -> None:
    """Close the engine: graphs, session, GE, device, ACL, in this order. Compiled graphs of it
    cannot run any more; the next compilation opens a new one."""
    _wait_for_runs()
    with _lock:
        while _open:
            _open.pop().native.close()
    atexit.unregister(close)
