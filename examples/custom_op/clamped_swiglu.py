"""A custom operator from its definition to a compiled model, on a machine without an NPU.

The operator is ``swiglu_ops::clamped_swiglu(x, limit)``: a gate and a value side by side in the
last dimension, ``silu(min(gate, limit)) * clamp(value, -limit, limit)``. A second one,
``row_scale``, shows that an operator whose GE operator has the same signature needs no converter.

    python examples/custom_op/clamped_swiglu.py
    cd examples/custom_op && python -m torchair.tools.converter_test --import clamped_swiglu
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

import torchair
from torchair import ge
from torchair._ge_concrete_graph.fx2ge_converter import declare_supported
from torchair._ge_concrete_graph.supported_declaration import F16, F32, Support

# 1. The torch operator: schema, eager implementation, and shapes for tracing.

library = torch.library.Library("swiglu_ops", "DEF")
library.define("clamped_swiglu(Tensor x, float limit=7.0) -> Tensor")
library.define("row_scale(Tensor x, Tensor scale, *, float eps=0.0) -> Tensor")


@torch.library.impl(library, "clamped_swiglu", "CPU")
def clamped_swiglu(x: Tensor, limit: float = 7.0) -> Tensor:
    gate, value = x.chunk(2, dim=-1)
    return functional.silu(gate.clamp(max=limit)) * value.clamp(-limit, limit)


@torch.library.register_fake("swiglu_ops::clamped_swiglu", lib=library)
def clamped_swiglu_shape(x: Tensor, limit: float = 7.0) -> Tensor:
    return x.new_empty([*x.shape[:-1], x.shape[-1] // 2])


@torch.library.impl(library, "row_scale", "CPU")
def row_scale(x: Tensor, scale: Tensor, *, eps: float = 0.0) -> Tensor:
    return x * (scale + eps).unsqueeze(-1)


@torch.library.register_fake("swiglu_ops::row_scale", lib=library)
def row_scale_shape(x: Tensor, scale: Tensor, *, eps: float = 0.0) -> Tensor:
    return torch.empty_like(x)


# 2. The GE operators, as their package declares them to GE. CANN's own operators are known already.

ge.define_operator(
    "ClampedSwiGlu(x: float16|bfloat16|float32 as T) -> (y: float16|bfloat16|float32 as T) "
    "{limit: Float = 7.0}"
)
ge.define_operator(
    "RowScale(x: float16|float32 as T, scale: float16|float32 as T) -> (y: float16|float32 as T) "
    "{eps: Float = 0.0}"
)


# 3. The converter: from a call of the torch operator to a node of the GE graph.
#    RowScale has none: its name and signature are those of row_scale.


@declare_supported([Support(F32(2, 8)), Support(F16(4, 3, 64)), Support(F32(2, 8), limit=0.5)])
@torchair.register_fx_node_ge_converter(torch.ops.swiglu_ops.clamped_swiglu.default)
def convert_clamped_swiglu(
    x: ge.Tensor, limit: float = 7.0, *, meta_outputs: ge.TensorSpec | None = None
) -> ge.Tensor:
    return ge.custom_op(
        "ClampedSwiGlu",
        inputs={"x": x},
        attrs={"limit": ge.attr.Float(limit)},
        outputs=["y"],
    )


# 4. What the GE operators compute, for the host device. On an NPU their own kernels run.


@ge.register_host_kernel("ClampedSwiGlu")
def clamped_swiglu_kernel(x: Tensor, limit: float = 7.0) -> Tensor:
    return clamped_swiglu(x, limit)


@ge.register_host_kernel("RowScale")
def row_scale_kernel(x: Tensor, scale: Tensor, eps: float = 0.0) -> Tensor:
    return row_scale(x, scale, eps=eps)


# 5. A model that uses them.


class FeedForward(nn.Module):
    def __init__(self, size: int = 64, hidden: int = 96) -> None:
        super().__init__()
        self.up = nn.Linear(size, 2 * hidden, bias=False)
        self.down = nn.Linear(hidden, size, bias=False)

    def forward(self, x: Tensor, scale: Tensor) -> Tensor:
        hidden = torch.ops.swiglu_ops.clamped_swiglu(self.up(x), 5.0)
        return x + torch.ops.swiglu_ops.row_scale(self.down(hidden), scale, eps=1e-3)


def main() -> None:
    torch.manual_seed(0)
    model = FeedForward().eval()
    for dynamic in (False, True):
        backend = torchair.get_npu_backend()
        compiled = torch.compile(model, backend=backend, fullgraph=True, dynamic=dynamic)
        for tokens in (4, 7, 16):
            x, scale = torch.randn(tokens, 64), torch.rand(tokens)
            with torch.no_grad():
                found, wanted = compiled(x, scale), model(x, scale)
            torch.testing.assert_close(found, wanted)
        sizes = "symbolic" if dynamic else "static"
        print(f"{sizes} sizes: equal to eager, {len(backend.reports)} graphs compiled")


if __name__ == "__main__":
    main()
