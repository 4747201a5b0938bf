"""Greedy decoding with a Llama-style model: compiled by torchair against eager, token for token.

The model has RMSNorm, rotary embedding, grouped-query attention, SwiGLU and a KV cache that is
updated in place; its weights come from a fixed seed.

    python examples/llama_decode.py [--tokens 64] [--mode reduce-overhead]
"""

from __future__ import annotations

import argparse
import time

import torch
from torch import Tensor, nn
from torch.nn import functional

import torchair

VOCABULARY, SIZE, HEADS, KV_HEADS, HIDDEN, LAYERS, CONTEXT = 512, 128, 8, 2, 352, 4, 128
HEAD = SIZE // HEADS


class RMSNorm(nn.Module):
    def __init__(self, size: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6) * self.weight


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.q = nn.Linear(SIZE, HEADS * HEAD, bias=False)
        self.kv = nn.Linear(SIZE, 2 * KV_HEADS * HEAD, bias=False)
        self.o = nn.Linear(HEADS * HEAD, SIZE, bias=False)
        self.register_buffer("keys", torch.zeros(1, KV_HEADS, CONTEXT, HEAD))
        self.register_buffer("values", torch.zeros(1, KV_HEADS, CONTEXT, HEAD))

    def forward(self, x: Tensor, position: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        q = rotate(self.q(x).view(1, 1, HEADS, HEAD).transpose(1, 2), cos, sin)
        k, v = self.kv(x).view(1, 1, 2 * KV_HEADS, HEAD).transpose(1, 2).chunk(2, 1)
        self.keys.index_copy_(2, position, rotate(k, cos, sin))
        self.values.index_copy_(2, position, v)
        visible = torch.arange(CONTEXT, device=x.device) <= position
        keys = self.keys.repeat_interleave(HEADS // KV_HEADS, 1)
        values = self.values.repeat_interleave(HEADS // KV_HEADS, 1)
        mixed = functional.scaled_dot_product_attention(q, keys, values, attn_mask=visible[None])
        return self.o(mixed.transpose(1, 2).reshape(1, 1, HEADS * HEAD))


class Layer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.attention = Attention()
        self.gate = nn.Linear(SIZE, HIDDEN, bias=False)
        self.up = nn.Linear(SIZE, HIDDEN, bias=False)
        self.down = nn.Linear(HIDDEN, SIZE, bias=False)
        self.norm_1, self.norm_2 = RMSNorm(SIZE), RMSNorm(SIZE)

    def forward(self, x: Tensor, position: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        x = x + self.attention(self.norm_1(x), position, cos, sin)
        y = self.norm_2(x)
        return x + self.down(functional.silu(self.gate(y)) * self.up(y))


class Decoder(nn.Module):
    """One decoding step: token [1, 1] and position [1] to logits [1, 1, vocabulary]."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(VOCABULARY, SIZE)
        self.layers = nn.ModuleList(Layer() for _ in range(LAYERS))
        self.norm = RMSNorm(SIZE)
        self.head = nn.Linear(SIZE, VOCABULARY, bias=False)

    def forward(self, token: Tensor, position: Tensor) -> Tensor:
        steps = torch.arange(0, HEAD, 2, device=token.device).float() / HEAD
        angles = position.float()[:, None] / 10000.0**steps
        angles = torch.cat([angles, angles], -1)
        cos, sin = angles.cos(), angles.sin()
        x = self.embedding(token)
        for layer in self.layers:
            x = layer(x, position, cos, sin)
        return self.head(self.norm(x))


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    half = x.shape[-1] // 2
    return x * cos + torch.cat([-x[..., half:], x[..., :half]], -1) * sin


def decode(step, model: Decoder, count: int) -> tuple[list[int], float]:
    """Greedy tokens from an empty cache, and seconds per token after the first."""
    for name, buffer in model.named_buffers():
        if name.endswith(("keys", "values")):
            buffer.zero_()
    token, tokens, start = torch.tensor([[1]]), [], 0.0
    with torch.no_grad():
        for index in range(count):
            logits = step(token, torch.tensor([index]))
            token = logits[:, -1].argmax(-1, keepdim=True)
            tokens.append(int(token))
            if index == 0:
                start = time.perf_counter()
    return tokens, (time.perf_counter() - start) / max(1, count - 1)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tokens", type=int, default=64, help=f"at most {CONTEXT}")
    parser.add_argument(
        "--mode", choices=("max-autotune", "reduce-overhead"), default="max-autotune"
    )
    args = parser.parse_args()
    torch.manual_seed(0)
    model = Decoder().eval()
    config = torchair.CompilerConfig()
    config.mode = args.mode
    backend = torchair.get_npu_backend(compiler_config=config)
    compiled = torch.compile(model, backend=backend, fullgraph=True)
    got, ours = decode(compiled, model, args.tokens)
    expected, eager = decode(model, model, args.tokens)
    print("compiled:", *got)
    print("eager:   ", *expected)
    for report in backend.reports:
        print(report)
    same = sum(a == b for a, b in zip(got, expected, strict=True))
    speed = f"{1e3 * ours:.2f} ms per token, eager {1e3 * eager:.2f}"
    print(f"{same} of {args.tokens} tokens equal; {speed}")
    return 0 if got == expected else 1


if __name__ == "__main__":
    raise SystemExit(main())
