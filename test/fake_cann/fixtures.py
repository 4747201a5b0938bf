"""What tests of the cann engine share: the fake of a process, driven by one of GE's interfaces."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from fake_cann.build import build
from fake_cann.device import FakeCann
from torchair.backend_ge.cann import process
from torchair.backend_ge.cann.engine import CannEngine, CannExecutable
from torchair.backend_ge.emit import emit, serialize
from torchair.ir.text import parse_module
from torchair.tools.context import make_context

_loaded: list[FakeCann] = []


def loaded_fake(folder: Path) -> FakeCann:
    """The fake of this process, of release 9.1.0; built in `folder` at the first call."""
    if not _loaded:
        _loaded.append(FakeCann(folder, build("9.1.0", folder)))
    return _loaded[0]


@contextmanager
def engine_on(
    fake: FakeCann, route: str, monkeypatch: pytest.MonkeyPatch, *, checked: bool = True
) -> Iterator[FakeCann]:
    """Let the cann engine find the fake. At the end the engine is closed and the fake checked."""
    monkeypatch.setenv("ASCEND_HOME_PATH", "")
    monkeypatch.setenv("ASCEND_TOOLKIT_HOME", "")
    monkeypatch.setenv("LD_LIBRARY_PATH", str(fake.folder))
    monkeypatch.setenv(process.ROUTE_VARIABLE, route)
    process.close()
    fake.reset()
    yield fake
    torch._dynamo.reset()
    process.close()
    if checked:
        fake.check()


def graph_bytes(text: str) -> bytes:
    """The serialized GE graph of a function in MLIR text."""
    return serialize(emit(parse_module(make_context(), text), "graph"))


def compile_text(text: str, **options: object) -> CannExecutable:
    """A function of ge operations in MLIR text, compiled by the cann engine."""
    return CannEngine().compile(graph_bytes(text), dict(options))


def unary_graph(operator: str = "Relu", shape: str = "2x3") -> str:
    """A graph of one elementwise float32 operator."""
    tensor = f"tensor<{shape}xf32>"
    return (
        f"func.func @f(%x: {tensor}) -> {tensor} {{\n"
        f"  %0 = ge.{operator}(%x) : ({tensor}) -> {tensor}\n"
        f"  ge.NetOutput([%0]) : ({tensor}) -> ()\n}}"
    )
