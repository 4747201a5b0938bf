"""torch_npu's normalisations and their fusions."""

from __future__ import annotations

from typing import Any

from torchair.dialects.ge import builder as ge
from torchair.ir import interned
from torchair.passes.convert_aten_to_ge.recipes import filled, has_type
from torchair.passes.convert_aten_to_ge.registry import converts


@converts("npu::npu_rms_norm(Tensor input, Tensor gamma, float epsilon=1e-06) -> (Tensor, Tensor)")
def npu_rms_norm(input: Any, gamma: Any, epsilon: Any = 1e-6) -> Any:
    return ge.RmsNorm(input, gamma, epsilon=epsilon)


@converts(
    "npu::npu_rms_norm_backward(Tensor dy, Tensor input, Tensor gamma, Tensor rstd)"
    " -> (Tensor, Tensor)"
)
def npu_rms_norm_backward(dy: Any, input: Any, gamma: Any, rstd: Any) -> Any:
    return ge.RmsNormGrad(dy, input, rstd, gamma)


@converts(
    "npu::npu_add_rms_norm(Tensor x1, Tensor x2, Tensor gamma, float epsilon=1e-06)"
    " -> (Tensor, Tensor, Tensor)"
)
def npu_add_rms_norm(x1: Any, x2: Any, gamma: Any, epsilon: Any = 1e-6) -> Any:
    return ge.AddRmsNorm(x1, x2, gamma, epsilon=epsilon)


@converts(
    "npu::npu_add_rms_norm_v2_functional(Tensor x1, Tensor x2, Tensor gamma, float epsilon=1e-06)"
    " -> (Tensor, Tensor, Tensor)"
)
def npu_add_rms_norm_v2_functional(x1: Any, x2: Any, gamma: Any, epsilon: Any) -> Any:
    y, rstd, x = ge.AddRmsNorm(x1, x2, gamma, epsilon=epsilon)
    return rstd, y, x


@converts(
    "npu::npu_add_rms_norm_v2(Tensor(a!) x1, Tensor(b!) x2, Tensor gamma, float epsilon=1e-06)"
    " -> Tensor"
)
def npu_add_rms_norm_v2(x1: Any, x2: Any, gamma: Any, epsilon: Any) -> Any:
    y, rstd, x = ge.AddRmsNorm(x1, x2, gamma, epsilon=epsilon)
    ge.Assign(x1, y, out=x1.type)
    ge.Assign(x2, x, out=x2.type)
    return rstd


@converts(
    "npu::npu_add_rms_norm_cast(Tensor x1, Tensor x2, Tensor gamma, float epsilon=1e-06)"
    " -> (Tensor, Tensor, Tensor, Tensor)"
)
def npu_add_rms_norm_cast(x1: Any, x2: Any, gamma: Any, epsilon: Any) -> Any:
    return ge.AddRmsNormCast(x1, x2, gamma, epsilon=epsilon)


@converts(
    "npu::npu_gemma_rms_norm(Tensor input, Tensor gamma, float epsilon=1e-06) -> (Tensor, Tensor)"
)
def npu_gemma_rms_norm(input: Any, gamma: Any, epsilon: Any) -> Any:
    return ge.GemmaRmsNorm(input, gamma, epsilon=epsilon)


@converts(
    "npu::npu_layer_norm_eval(Tensor input, int[] normalized_shape, Tensor? weight=None,"
    " Tensor? bias=None, float eps=1e-05) -> Tensor"
)
def npu_layer_norm_eval(
    input: Any, normalized_shape: Any, weight: Any, bias: Any, eps: Any, out: Any
) -> Any:
    statistic = interned.unranked(interned.f32)
    types = (out, statistic, statistic)
    sizes = ge.sizes(normalized_shape)
    return ge.LayerNormV4(input, sizes, weight, bias, epsilon=eps, out=types)[0]


@converts(
    "npu::npu_add_layer_norm(Tensor x1, Tensor x2, Tensor gamma, Tensor beta, float epsilon=1e-05,"
    " bool additional_output=False) -> (Tensor, Tensor, Tensor, Tensor)"
)
def npu_add_layer_norm(x1: Any, x2: Any, gamma: Any, beta: Any, **attributes: Any) -> Any:
    return ge.AddLayerNorm(x1, x2, gamma, beta, **attributes)


@converts(
    "npu::npu_add_layer_norm_backward(Tensor? dy_opt, Tensor x1, Tensor x2, Tensor rstd,"
    " Tensor mean, Tensor gamma, Tensor? dsum_opt) -> (Tensor, Tensor, Tensor, Tensor)"
)
def npu_add_layer_norm_backward(
    dy_opt: Any, x1: Any, x2: Any, rstd: Any, mean: Any, gamma: Any, dsum_opt: Any
) -> Any:
    dy = ge.ZerosLike(x1) if dy_opt is None else dy_opt
    dx, dgamma, dbeta = ge.AddLayerNormGrad(dy, x1, x2, rstd, mean, gamma, dsum_opt)
    return dx, ge.TensorMove(dx), dgamma, dbeta


@converts(
    "npu::npu_deep_norm(Tensor x, Tensor gx, Tensor beta, Tensor gamma, float alpha=0.3,"
    " float epsilon=1e-06) -> (Tensor, Tensor, Tensor)"
)
def npu_deep_norm(x: Any, gx: Any, beta: Any, gamma: Any, alpha: Any, epsilon: Any) -> Any:
    return ge.DeepNorm(x, gx, beta, gamma, alpha=alpha, epsilon=epsilon)


@converts(
    "npu::npu_deep_norm_backward(Tensor dy, Tensor x, Tensor gx, Tensor gamma, Tensor mean,"
    " Tensor rstd, float alpha=0.3) -> (Tensor, Tensor, Tensor, Tensor)"
)
def npu_deep_norm_backward(
    dy: Any, x: Any, gx: Any, gamma: Any, mean: Any, rstd: Any, alpha: Any
) -> Any:
    dx, dgx, *rest = ge.DeepNormGrad(dy, x, gx, gamma, mean, rstd, alpha=alpha)
    return dx, dgx, *(ge.cast_to(grad, ge.element(gamma)) for grad in rest)


@converts(
    "npu::npu_group_norm_silu(Tensor input, Tensor? weight, Tensor? bias, int group,"
    " float eps=0.00001) -> (Tensor, Tensor, Tensor)"
)
def npu_group_norm_silu(input: Any, weight: Any, bias: Any, group: Any, eps: Any, out: Any) -> Any:
    return ge.GroupNormSilu(input, weight, bias, num_groups=group, eps=eps, out=tuple(out))


@converts(
    "npu::npu_group_norm_swish(Tensor input, int num_groups, Tensor weight, Tensor bias,"
    " float? eps=1e-5, float? swish_scale=1.0) -> (Tensor, Tensor, Tensor)"
)
def npu_group_norm_swish(
    input: Any, num_groups: Any, weight: Any, bias: Any, eps: Any, swish_scale: Any, out: Any
) -> Any:
    return ge.GroupNormSwish(
        input,
        weight,
        bias,
        num_groups=num_groups,
        eps=1e-5 if eps is None else eps,
        swish_scale=1.0 if swish_scale is None else swish_scale,
        out=tuple(out),
    )


@converts(
    "npu::npu_group_norm_swish_grad(Tensor grad, Tensor input, int num_groups, Tensor weight,"
    " Tensor bias, Tensor mean, Tensor rstd, bool[3] grad_input_mask, float? swish_scale=1.0)"
    " -> (Tensor, Tensor, Tensor)"
)
def npu_group_norm_swish_grad(
    grad: Any,
    input: Any,
    num_groups: Any,
    weight: Any,
    bias: Any,
    mean: Any,
    rstd: Any,
    grad_input_mask: Any,
    swish_scale: Any,
    out: Any,
) -> Any:
    return ge.GroupNormSwishGrad(
        grad,
        mean,
        rstd,
        input,
        weight,
        bias,
        num_groups=num_groups,
        swish_scale=1.0 if swish_scale is None else swish_scale,
        dgamma_is_require=grad_input_mask[1],
        dbeta_is_require=grad_input_mask[2],
        out=tuple(out),
    )


@converts("npu::batch_norm_reduce(Tensor input, float eps) -> (Tensor, Tensor)")
def batch_norm_reduce(input: Any, eps: Any) -> Any:
    del eps  # PyTorch's operator takes it and does not use it either
    if not has_type("BNTrainingReduce", ge.element(input)):
        input = ge.cast_to(input, interned.f32)
    return ge.BNTrainingReduce(input)


@converts(
    "npu::batch_norm_gather_stats_update(Tensor input, Tensor mean, Tensor invstd,"
    " Tensor? running_mean, Tensor? running_var, float momentum, float eps, Tensor counts)"
    " -> (Tensor, Tensor)"
)
def batch_norm_gather_stats_update(
    input: Any,
    mean: Any,
    invstd: Any,
    running_mean: Any,
    running_var: Any,
    momentum: Any,
    eps: Any,
    counts: Any,
) -> Any:
    """GE writes the running statistics in place, the schema of PyTorch says that nothing is."""
    zeros = filled(0.0, [ge.size(input, 1)], ge.element(mean))
    running = [zeros if v is None else v for v in (running_mean, running_var)]
    found = ge.SyncBatchNormGatherStats(
        mean,
        invstd,
        ge.cast_to(counts, interned.i32),
        *(ge.TensorMove(value, out=value.type) for value in running),
        momentum=momentum,
        eps=eps,
    )
    return found[0], found[1]
