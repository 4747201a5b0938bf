"""Models that must work: MLP, Llama-style decoder, BERT-style encoder, ResNet-18-style network.

Small sizes, random weights from the caller's seed; used by tests and benchmarks.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


def make_mlp() -> nn.Module:
    """Three linear layers with ReLU and GELU; input [batch, 16]."""
    return nn.Sequential(
        nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 32), nn.GELU(), nn.Linear(32, 4)
    )


def make_encoder(layers: int = 2, dropout: float = 0.0) -> nn.Module:
    """BERT-style nn.TransformerEncoder; input [batch, sequence, 64]."""
    layer = nn.TransformerEncoderLayer(64, 4, 128, dropout, "gelu", batch_first=True)
    return nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)


class RMSNorm(nn.Module):
    """Root mean square normalisation in float32, as LLMs write it."""

    def __init__(self, size: int, eps: float = 1e-6) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        wide = x.float()
        scale = torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + self.eps)
        return (wide * scale).to(x.dtype) * self.weight


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotary embedding, half layout; x [batch, heads, tokens, head]."""
    half = x.shape[-1] // 2
    turned = torch.cat([-x[..., half:], x[..., :half]], -1)
    return x * cos + turned * sin


class DecoderLayer(nn.Module):
    """Pre-norm decoder layer: grouped-query attention and SwiGLU."""

    def __init__(self, size: int, heads: int, kv_heads: int, hidden: int) -> None:
        super().__init__()
        self.heads, self.kv_heads, self.head = heads, kv_heads, size // heads
        self.q = nn.Linear(size, size, bias=False)
        self.k = nn.Linear(size, kv_heads * self.head, bias=False)
        self.v = nn.Linear(size, kv_heads * self.head, bias=False)
        self.o = nn.Linear(size, size, bias=False)
        self.gate = nn.Linear(size, hidden, bias=False)
        self.up = nn.Linear(size, hidden, bias=False)
        self.down = nn.Linear(hidden, size, bias=False)
        self.norm_1, self.norm_2 = RMSNorm(size), RMSNorm(size)

    def attention(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        batch, tokens, _ = x.shape
        q = self.q(x).view(batch, tokens, self.heads, self.head).transpose(1, 2)
        k = self.k(x).view(batch, tokens, self.kv_heads, self.head).transpose(1, 2)
        v = self.v(x).view(batch, tokens, self.kv_heads, self.head).transpose(1, 2)
        q, k = rotate(q, cos, sin), rotate(k, cos, sin)
        groups = self.heads // self.kv_heads
        shape = (batch, self.kv_heads, groups, tokens, self.head)
        k = k[:, :, None].expand(shape).reshape(batch, self.heads, tokens, self.head)
        v = v[:, :, None].expand(shape).reshape(batch, self.heads, tokens, self.head)
        mixed = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.o(mixed.transpose(1, 2).reshape(batch, tokens, -1))

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        x = x + self.attention(self.norm_1(x), cos, sin)
        y = self.norm_2(x)
        return x + self.down(functional.silu(self.gate(y)) * self.up(y))


class Llama(nn.Module):
    """Llama-style decoder; input token ids [batch, tokens], output logits."""

    def __init__(
        self,
        layers: int = 2,
        vocabulary: int = 128,
        size: int = 64,
        heads: int = 4,
        kv_heads: int = 2,
        hidden: int = 176,
    ) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, size)
        self.layers = nn.ModuleList(
            DecoderLayer(size, heads, kv_heads, hidden) for _ in range(layers)
        )
        self.norm = RMSNorm(size)
        self.head = nn.Linear(size, vocabulary, bias=False)
        self.rotary = size // heads

    def forward(self, ids: Tensor) -> Tensor:
        x = self.embedding(ids)
        steps = torch.arange(0, self.rotary, 2, device=ids.device).float() / self.rotary
        positions = torch.arange(ids.shape[1], device=ids.device).float()
        angles = positions[:, None] * (1.0 / (10000.0**steps))
        angles = torch.cat([angles, angles], -1)
        cos, sin = angles.cos().to(x.dtype), angles.sin().to(x.dtype)
        for layer in self.layers:
            x = layer(x, cos, sin)
        return self.head(self.norm(x))


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions with batch norm and a shortcut."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv_1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.conv_2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.norm_1, self.norm_2 = nn.BatchNorm2d(outputs), nn.BatchNorm2d(outputs)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
            )

    def forward(self, x: Tensor) -> Tensor:
        y = torch.relu(self.norm_1(self.conv_1(x)))
        return torch.relu(self.norm_2(self.conv_2(y)) + self.shortcut(x))


class ResNet(nn.Module):
    """ResNet-18-style network; input [batch, 3, height, width]."""

    def __init__(self, width: int = 8, classes: int = 10) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(3, width, 7, 2, 3, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.MaxPool2d(3, 2, 1),
        )
        blocks: list[nn.Module] = []
        inputs = width
        for factor in (1, 2, 4, 8):
            blocks.append(ResidualBlock(inputs, factor * width, 1 if factor == 1 else 2))
            blocks.append(ResidualBlock(factor * width, factor * width, 1))
            inputs = factor * width
        self.blocks = nn.Sequential(*blocks)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(inputs, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(torch.flatten(self.pool(self.blocks(self.stem(x))), 1))
