"""The models that bench/replay.py times."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch


@dataclass
class Case:
    """A model with one set of inputs.

    Args:
        run: takes ``inputs``, returns a tensor; a module in evaluation mode, or a function.
        inputs: tensors that a caller brings.
    """

    run: Callable[..., Any]
    inputs: list[torch.Tensor]

    @property
    def state(self) -> dict[str, torch.Tensor]:
        """Parameters and buffers by name."""
        if not isinstance(self.run, torch.nn.Module):
            return {}
        return dict(self.run.named_parameters()) | dict(self.run.named_buffers())

    def functional(self, *tensors: torch.Tensor) -> torch.Tensor:
        """The same with the tensors of ``state`` as arguments in front of the inputs."""
        names = list(self.state)
        given = dict(zip(names, tensors[: len(names)], strict=True))
        inputs = tensors[len(names) :]
        if not isinstance(self.run, torch.nn.Module):
            return self.run(*inputs)
        return torch.func.functional_call(self.run, given, tuple(inputs))


class LlamaStep(torch.nn.Module):
    """One decoding step: hidden 256, 8 layers of 8 heads, 704 wide, KV cache of 128."""

    def __init__(self, hidden: int = 256, layers: int = 8, heads: int = 8, kv: int = 128) -> None:
        super().__init__()
        linear = lambda i, o: torch.nn.Linear(i, o, bias=False)  # noqa: E731
        self.heads, self.head_size = heads, hidden // heads
        self.embed = torch.nn.Embedding(1024, hidden)
        self.qkv = torch.nn.ModuleList(linear(hidden, 3 * hidden) for _ in range(layers))
        self.out = torch.nn.ModuleList(linear(hidden, hidden) for _ in range(layers))
        self.gate = torch.nn.ModuleList(linear(hidden, 704) for _ in range(layers))
        self.up = torch.nn.ModuleList(linear(hidden, 704) for _ in range(layers))
        self.down = torch.nn.ModuleList(linear(704, hidden) for _ in range(layers))
        self.norms = torch.nn.ParameterList(torch.ones(hidden) for _ in range(2 * layers + 1))
        self.head = linear(hidden, 1024)
        for i in range(layers):
            self.register_buffer(f"k{i}", torch.randn(1, heads, kv, self.head_size))
            self.register_buffer(f"v{i}", torch.randn(1, heads, kv, self.head_size))

    def norm(self, x: torch.Tensor, index: int) -> torch.Tensor:
        return x * torch.rsqrt((x * x).mean(-1, keepdim=True) + 1e-6) * self.norms[index]

    def rotate(self, x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
        a, b = x.chunk(2, -1)
        return torch.cat((a * cos - b * sin, b * cos + a * sin), -1)

    def forward(self, token: torch.Tensor, position: torch.Tensor) -> torch.Tensor:
        half = self.head_size // 2
        angles = position.float() * (10000.0 ** (-torch.arange(half) / half))
        cos, sin = angles.cos(), angles.sin()
        x = self.embed(token)
        for i in range(len(self.qkv)):
            qkv = self.qkv[i](self.norm(x, 2 * i)).view(1, 1, 3, self.heads, self.head_size)
            q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)
            q, k = self.rotate(q, cos, sin), self.rotate(k, cos, sin)
            keys, values = self.get_buffer(f"k{i}"), self.get_buffer(f"v{i}")
            keys.index_copy_(2, position, k)
            values.index_copy_(2, position, v)
            weights = torch.softmax(q @ keys.transpose(-2, -1) / self.head_size**0.5, -1)
            attended = (weights @ values).transpose(1, 2).reshape(1, 1, -1)
            x = x + self.out[i](attended)
            h = self.norm(x, 2 * i + 1)
            x = x + self.down[i](torch.nn.functional.silu(self.gate[i](h)) * self.up[i](h))
        return self.head(self.norm(x, 2 * len(self.qkv)))


class BertSmall(torch.nn.Module):
    """4 layers, hidden 512, 8 heads, a sequence of 128."""

    def __init__(self, hidden: int = 512, layers: int = 4) -> None:
        super().__init__()
        self.embed = torch.nn.Embedding(1000, hidden)
        self.position = torch.nn.Embedding(128, hidden)
        self.norm = torch.nn.LayerNorm(hidden)
        self.qkv = torch.nn.ModuleList(torch.nn.Linear(hidden, 3 * hidden) for _ in range(layers))
        self.out = torch.nn.ModuleList(torch.nn.Linear(hidden, hidden) for _ in range(layers))
        self.norm1 = torch.nn.ModuleList(torch.nn.LayerNorm(hidden) for _ in range(layers))
        self.up = torch.nn.ModuleList(torch.nn.Linear(hidden, 4 * hidden) for _ in range(layers))
        self.down = torch.nn.ModuleList(torch.nn.Linear(4 * hidden, hidden) for _ in range(layers))
        self.norm2 = torch.nn.ModuleList(torch.nn.LayerNorm(hidden) for _ in range(layers))

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        batch, length = tokens.shape
        x = self.norm(self.embed(tokens) + self.position.weight[:length])
        for i in range(len(self.qkv)):
            qkv = self.qkv[i](x).view(batch, length, 3, 8, -1)
            q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)
            weights = torch.softmax(q @ k.transpose(-2, -1) / q.shape[-1] ** 0.5, -1)
            attended = (weights @ v).transpose(1, 2).reshape(batch, length, -1)
            x = self.norm1[i](x + self.out[i](attended))
            x = self.norm2[i](x + self.down[i](torch.nn.functional.gelu(self.up[i](x))))
        return x


class ResidualBlock(torch.nn.Module):
    """Two convolutions beside a shortcut."""

    def __init__(self, n_in: int, n_out: int, stride: int) -> None:
        super().__init__()
        self.conv1 = torch.nn.Conv2d(n_in, n_out, 3, stride, 1, bias=False)
        self.norm1 = torch.nn.BatchNorm2d(n_out)
        self.conv2 = torch.nn.Conv2d(n_out, n_out, 3, 1, 1, bias=False)
        self.norm2 = torch.nn.BatchNorm2d(n_out)
        self.shortcut = torch.nn.Sequential()
        if stride != 1:
            self.shortcut = torch.nn.Sequential(
                torch.nn.Conv2d(n_in, n_out, 1, stride, bias=False), torch.nn.BatchNorm2d(n_out)
            )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.norm2(self.conv2(self.norm1(self.conv1(x)).relu()))
        return (y + self.shortcut(x)).relu()


def resnet18() -> torch.nn.Module:
    """ResNet-18 for pictures of 224 x 224."""
    blocks: list[torch.nn.Module] = []
    for n_in, n_out, stride in ((64, 64, 1), (64, 128, 2), (128, 256, 2), (256, 512, 2)):
        blocks += [ResidualBlock(n_in, n_out, stride), ResidualBlock(n_out, n_out, 1)]
    return torch.nn.Sequential(
        torch.nn.Conv2d(3, 64, 7, 2, 3, bias=False),
        torch.nn.BatchNorm2d(64),
        torch.nn.ReLU(),
        torch.nn.MaxPool2d(3, 2, 1),
        *blocks,
        torch.nn.AdaptiveAvgPool2d(1),
        torch.nn.Flatten(),
        torch.nn.Linear(512, 1000),
    )


def of_module(module: torch.nn.Module, *inputs: torch.Tensor) -> Case:
    """A module whose parameters need no gradient."""
    return Case(module.eval().requires_grad_(False), list(inputs))


def chain(n_calls: int = 1000) -> Case:
    """Additions of 16 numbers."""

    def run(x: torch.Tensor) -> torch.Tensor:
        y = x
        for _ in range(n_calls):
            y = y + x
        return y

    return Case(run, [torch.ones(16)])


CASES: dict[str, Callable[[], Case]] = {
    "chain": chain,
    "llama": lambda: of_module(LlamaStep(), torch.tensor([[5]]), torch.tensor([77])),
    "bert": lambda: of_module(BertSmall(), torch.randint(0, 1000, (1, 128))),
    "resnet": lambda: of_module(resnet18(), torch.randn(1, 3, 224, 224)),
}
