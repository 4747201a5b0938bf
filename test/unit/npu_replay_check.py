"""Compiling in mode reduce-overhead for a stand-in of torch_npu on the fake CANN, for its tests."""

from __future__ import annotations

import copy
import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from fake_cann.fixtures import engine_on, loaded_fake
from fake_cann.torch_npu_standin import StandIn, torch_npu
from torch import nn

import torchair
from torchair.backend_ge.runtime.npu_replay import close_all


@contextmanager
def standin_on_fake(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[StandIn]:
    """The stand-in with all its captures closed at the end, and the fake checked."""
    fake = loaded_fake(folder)
    with (
        engine_on(fake, "session", monkeypatch, checked=False),
        torch_npu(fake, monkeypatch) as standin,
    ):
        yield standin
        torchair.reset()
        close_all()
        gc.collect()  # what a caught exception's frames hold
    assert fake.count("aclFinalize") == 0, "torch_npu ends ACL"
    assert not standin.launches.errors, standin.launches.errors
    standin.close()
    fake.check()


def compile_for_npu(
    function: Callable[..., Any], *, dynamic: bool = False, **options: Any
) -> tuple[Callable[..., Any], Any]:
    """The compiled function and its backend; options by flat name (``clone_output=True``)."""
    torch._dynamo.reset()
    config = torchair.CompilerConfig()
    config.mode, config.engine = "reduce-overhead", "cann"
    config.debug.check_replay = options.pop("check_replay", True)
    backend = torchair.get_npu_backend(compiler_config=config)
    compiled = torch.compile(
        function, backend=backend, dynamic=dynamic, fullgraph=True, options=options or None
    )
    return compiled, backend


def on_npu(npu: StandIn, module: nn.Module) -> nn.Module:
    """A copy of a module whose parameters and buffers are in device memory."""
    moved = copy.deepcopy(module)
    for tensor in [*moved.parameters(), *moved.buffers()]:
        tensor.data = npu.plain_tensor(tensor.data)
    return moved
