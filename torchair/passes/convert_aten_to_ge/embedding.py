"""Embedding tables: rows, bags of rows, their gradients."""

from __future__ import annotations

from typing import Any

from xdsl.ir import SSAValue

from torchair.dialects.ge import builder as ge
from torchair.errors import ConversionError
from torchair.ir import interned
from torchair.passes.convert_aten_to_ge import geometry
from torchair.passes.convert_aten_to_ge.operands import operand
from torchair.passes.convert_aten_to_ge.registry import converts
from torchair.passes.convert_aten_to_ge.scattering import put_at
from torchair.passes.convert_aten_to_ge.shape import reshape_to

_BAG_MODES = ("sum", "mean", "max")


@converts(
    "embedding(Tensor weight, Tensor indices, SymInt padding_idx=-1,"
    " bool scale_grad_by_freq=False, bool sparse=False) -> Tensor"
)
def embedding(
    weight: Any,
    indices: Any,
    out: Any,
    padding_idx: Any = -1,
    scale_grad_by_freq: Any = False,
    sparse: Any = False,
) -> Any:
    """Rows of a table; the other arguments matter to the backward only."""
    return ge.GatherV2(weight, indices, 0, out=out)


@converts(
    "embedding_dense_backward(Tensor grad_output, Tensor indices, SymInt num_weights,"
    " SymInt padding_idx, bool scale_grad_by_freq) -> Tensor"
)
def embedding_dense_backward(
    grad_output: Any,
    indices: Any,
    num_weights: Any,
    padding_idx: Any,
    scale_grad_by_freq: Any,
    out: Any,
) -> Any:
    if isinstance(num_weights, SSAValue) or isinstance(padding_idx, SSAValue):
        raise ConversionError(
            "the number of embedding rows is symbolic",
            hint="make the table's first dimension static (torch._dynamo.mark_static)",
        )
    _require_float("EmbeddingDenseGrad", grad_output)
    return ge.EmbeddingDenseGrad(
        grad_output,
        indices,
        num_weights=num_weights,
        padding_idx=padding_idx,
        scale_grad_by_freq=scale_grad_by_freq,
        out=out,
    )


def _require_float(operator: str, x: SSAValue) -> None:
    if not geometry.accepts(operator, 0, x):
        raise ConversionError(
            f"GE's {operator} does not take this dtype",
            expected="float32, float16 or bfloat16",
            found=ge.element(x),
            hint="keep the embedding table in float32",
        )


@converts(
    "_embedding_bag(Tensor weight, Tensor indices, Tensor offsets, bool scale_grad_by_freq=False,"
    " int mode=0, bool sparse=False, Tensor? per_sample_weights=None,"
    " bool include_last_offset=False, int padding_idx=-1) -> (Tensor, Tensor, Tensor, Tensor)",
    "_embedding_bag_forward_only(Tensor weight, Tensor indices, Tensor offsets,"
    " bool scale_grad_by_freq=False, int mode=0, bool sparse=False,"
    " Tensor? per_sample_weights=None, bool include_last_offset=False, int padding_idx=-1)"
    " -> (Tensor, Tensor, Tensor, Tensor)",
)
def embedding_bag(
    weight: Any,
    indices: Any,
    offsets: Any,
    out: Any,
    scale_grad_by_freq: Any = False,
    mode: Any = 0,
    sparse: Any = False,
    per_sample_weights: Any = None,
    include_last_offset: Any = False,
    padding_idx: Any = -1,
) -> Any:
    """Sums, means or maxima of bags of rows."""
    _require_float("EmbeddingBag", weight)
    return ge.EmbeddingBag(
        weight,
        indices,
        offsets,
        per_sample_weights,
        mode=_BAG_MODES[mode],
        scale_grad_by_freq=scale_grad_by_freq,
        include_last_offset=include_last_offset,
        padding_idx=padding_idx,
        out=tuple(out),
    )


@converts(
    "embedding_renorm(Tensor self, Tensor indices, float max_norm, float norm_type) -> Tensor"
)
def embedding_renorm(self: Any, indices: Any, max_norm: Any, norm_type: Any, out: Any) -> Any:
    """The named rows scaled down to a largest norm; a row that is named twice is scaled once."""
    element = ge.element(self)
    count, width = geometry.count(indices), geometry.shape(self)[1]
    places = reshape_to(indices, interned.tensor([count], ge.element(indices)), [-1])
    table = interned.tensor([count, width], element)
    column = interned.tensor([count, 1], element)
    rows = ge.GatherV2(self, places, 0, out=table)
    norm = ge.LpNormV2(rows, p=norm_type, axes=[1], keepdim=True, epsilon=0.0, out=column)
    scale = ge.RealDiv(operand(max_norm, element), ge.Add(norm, 1e-7, out=column), out=column)
    is_long = ge.Greater(norm, max_norm, out=interned.tensor([count, 1], interned.i1))
    factor = ge.SelectV2(is_long, scale, operand(1.0, element), out=column)
    return put_at(
        self,
        [ge.cast_to(places, interned.i64)],
        [1, 0],
        ge.Mul(rows, factor, out=table),
        False,
        out,
    )
