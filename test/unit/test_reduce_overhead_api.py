"""The names of package npugraph_ex."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from replay_check import captured, same_bits
from torch import Tensor
from torch._functorch.aot_autograd import aot_module_simplified

import torchair
from torchair.errors import ConfigError
from torchair.frontend.npugraph_ex import npugraph_ex_backend


def f(x: Tensor) -> Tensor:
    return torch.relu(x) + 1


@torch.no_grad()
def test_backend_takes_flat_options() -> None:
    torch._dynamo.reset()
    backend = torchair.npugraph_ex.get_npu_backend()
    compiled = torch.compile(f, backend=backend, fullgraph=True, options={"clone_input": False})
    x = torch.randn(4)
    assert same_bits(compiled(x), f(x))
    assert captured(backend).captures[0].staged == []


@torch.no_grad()
def test_backend_takes_a_flat_configuration() -> None:
    torch._dynamo.reset()
    config = torchair.npugraph_ex.CompilerConfig()
    config.force_eager = True
    backend = torchair.npugraph_ex.get_npu_backend(compiler_config=config)
    compiled = torch.compile(f, backend=backend, fullgraph=True)
    x = torch.randn(4)
    assert same_bits(compiled(x), f(x))
    assert captured(backend).counts.eager == 1


@torch.no_grad()
def test_compile_fx_serves_a_backend_of_the_user() -> None:
    torch._dynamo.reset()

    def compiler(gm: torch.fx.GraphModule, inputs: Any) -> Any:
        return torchair.npugraph_ex.compile_fx(gm, inputs, {"capture_limit": 1})

    def backend(gm: torch.fx.GraphModule, inputs: Any) -> Any:
        return aot_module_simplified(gm, inputs, fw_compiler=compiler)

    x = torch.randn(4)
    assert same_bits(torch.compile(f, backend=backend, fullgraph=True)(x), f(x))
    with pytest.raises(ConfigError, match="capture_limits"):
        torchair.npugraph_ex.compile_fx(torch.fx.symbolic_trace(f), None, {"capture_limits": 1})


@torch.no_grad()
def test_the_registered_backend() -> None:
    torch._dynamo.reset()
    x = torch.randn(4)
    assert same_bits(torch.compile(f, backend=npugraph_ex_backend, fullgraph=True)(x), f(x))
