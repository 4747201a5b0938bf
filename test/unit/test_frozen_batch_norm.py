"""Batch norm folded into convolutions where parameters are frozen."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from models import ResNet
from torch import Tensor, nn

import torchair
from torchair.backend_ge.graph_text import read_graph_file


def randomised(model: nn.Module) -> nn.Module:
    """The model in eval mode with statistics and weights that are not those of a fresh one."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            nn.init.normal_(module.running_mean)
            nn.init.uniform_(module.running_var, 0.5, 2.0)
            if module.affine:
                nn.init.normal_(module.weight)
                nn.init.normal_(module.bias)
    return model.eval()


def compile_frozen(model: nn.Module, x: Tensor, folder: Any, **options: Any) -> tuple[Any, Any]:
    torch._dynamo.reset()
    config = torchair.CompilerConfig()
    config.experimental_config.frozen_parameter = options.pop("frozen", True)
    config.numerics = options.pop("numerics", "fast")
    config.debug.ir_dump.path = str(folder)
    backend = torchair.get_npu_backend(compiler_config=config)
    with torch.no_grad():
        found = torch.compile(model, backend=backend, **options)(x)
    [path] = folder.rglob("*graph.pbtxt")
    return found, [node.type for node in read_graph_file(path).graph[0].op]


class Blocks(nn.Module):
    """Grouped, biased, one-dimensional and plain statistics."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(4, 8, 3, groups=2), nn.BatchNorm2d(8), nn.ReLU())
        self.second = nn.Sequential(nn.Conv2d(8, 6, 1, bias=False), nn.BatchNorm2d(6, affine=False))
        self.third = nn.Sequential(nn.Conv1d(6, 5, 3), nn.BatchNorm1d(5, eps=1e-3))

    def forward(self, x: Tensor) -> Tensor:
        return self.third(self.second(self.first(x)).flatten(2))


@pytest.mark.parametrize("dynamic", [False, True])
def test_every_kind_is_folded(dynamic: bool, tmp_path: Any) -> None:
    torch.manual_seed(0)
    model, x = randomised(Blocks()), torch.randn(2, 4, 7, 7)
    found, types = compile_frozen(model, x, tmp_path, dynamic=dynamic)
    torch.testing.assert_close(found, model(x), rtol=1e-5, atol=1e-5)
    assert "BNInfer" not in types and types.count("Conv2D") == 3


def test_resnet_has_no_batch_norm_left(tmp_path: Any) -> None:
    torch.manual_seed(0)
    model, x = randomised(ResNet()), torch.randn(2, 3, 32, 32)
    found, types = compile_frozen(model, x, tmp_path)
    expected = model(x)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4 * expected.abs().max().item())
    assert "BNInfer" not in types


@pytest.mark.parametrize(
    "options", [{"frozen": False}, {"numerics": "eager"}], ids=["not frozen", "eager numerics"]
)
def test_nothing_is_folded_unless_allowed(options: dict[str, Any], tmp_path: Any) -> None:
    model, x = randomised(Blocks()), torch.randn(2, 4, 7, 7)
    found, types = compile_frozen(model, x, tmp_path, **options)
    assert types.count("BNInfer") == 3
    torch.testing.assert_close(found, model(x), rtol=1e-5, atol=1e-5)


class Shared(nn.Module):
    """A convolution that something else reads too."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution, self.norm = nn.Conv2d(4, 8, 3), nn.BatchNorm2d(8)

    def forward(self, x: Tensor) -> Tensor:
        y = self.convolution(x)
        return y + self.norm(y)


def test_a_convolution_with_other_readers_stays(tmp_path: Any) -> None:
    model, x = randomised(Shared()), torch.randn(2, 4, 7, 7)
    found, types = compile_frozen(model, x, tmp_path)
    assert types.count("BNInfer") == 1
    torch.testing.assert_close(found, model(x), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_and_replay(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    model, x = randomised(Blocks()).to(dtype), torch.randn(2, 4, 7, 7).to(dtype)
    torch._dynamo.reset()
    config = torchair.CompilerConfig()
    config.mode = "reduce-overhead"
    config.experimental_config.frozen_parameter = True
    compiled = torch.compile(model, backend=torchair.get_npu_backend(compiler_config=config))
    with torch.no_grad():
        for _ in range(3):
            torch.testing.assert_close(compiled(x), model(x), rtol=3e-2, atol=5e-2)
