"""torch_npu's softmax of scaled scores of which a mask hides some."""

from __future__ import annotations

from typing import Any

from torchair.passes.convert_aten_to_ge.npu_calls import build, listed
from torchair.passes.convert_aten_to_ge.registry import converts


@converts(listed("npu_scaled_masked_softmax"))
def npu_scaled_masked_softmax(out: Any, **named: Any) -> Any:
    return build("npu_scaled_masked_softmax", "ScaledMaskedSoftmax", named, out)


@converts(listed("npu_scaled_masked_softmax_backward"))
def npu_scaled_masked_softmax_backward(out: Any, **named: Any) -> Any:
    name = "npu_scaled_masked_softmax_backward"
    return build(name, "ScaledMaskedSoftmaxGrad", named, out)
