"""mode="reduce-overhead" on CANN: captured by ACL, replayed on torch's stream, on the fake."""

from __future__ import annotations

import copy
import gc
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from fake_cann.build import compiler
from fake_cann.device import FakeCann
from fake_cann.fixtures import engine_on, loaded_fake
from fake_cann.torch_npu_standin import StandIn, torch_npu
from replay_check import captured, same_bits
from torch import Tensor, nn

import torchair
from torchair.backend_ge.runtime.npu_replay import close_all

pytestmark = pytest.mark.skipif(compiler() is None, reason="no C++ compiler to build the fake CANN")


@pytest.fixture
def npu(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Iterator[StandIn]:
    fake = loaded_fake(tmp_path_factory.mktemp("cann"))
    with (
        engine_on(fake, "session", monkeypatch, checked=False),
        torch_npu(fake, monkeypatch) as standin,
    ):
        standin.fake = fake  # type: ignore[attr-defined]
        yield standin
        standin.synchronize()
        torchair.reset()
        close_all()
        gc.collect()
    assert fake.count("aclFinalize") == 0, "torch_npu ends ACL"
    standin.close()
    fake.check()


def fake_of(npu: StandIn) -> FakeCann:
    return npu.fake  # type: ignore[attr-defined]


def compile_for_npu(
    function: Callable[..., Any], *, dynamic: bool = False, **options: Any
) -> tuple[Callable[..., Any], Any]:
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


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm, self.up, self.down = nn.LayerNorm(8), nn.Linear(8, 16), nn.Linear(16, 8)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.down(torch.nn.functional.gelu(self.up(self.norm(x))))


@torch.no_grad()
def test_replays_give_eagers_bits(npu: StandIn) -> None:
    reference = Block().eval()
    compiled, backend = compile_for_npu(on_npu(npu, reference))
    for _ in range(3):
        x = torch.randn(4, 8)
        y = compiled(npu.plain_tensor(x))
        npu.synchronize()
        assert same_bits(y, reference(x))
    fake = fake_of(npu)
    assert fake.count("aclmdlRICaptureBegin") == fake.count("aclmdlRICaptureEnd") == 1
    assert fake.count("aclmdlRIExecuteAsync") == 3
    assert captured(backend).counts.captures == 1
    assert npu.pools[0].reused > 0, "what a call frees, a later one uses"
