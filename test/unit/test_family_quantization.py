"""Fake quantisation with its gradients, and the quantized_decomposed operators, against eager."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.ao.quantization.fx._decomposed
from family_check import check, check_gradients

aten = torch.ops.aten
ops = torch.ops.quantized_decomposed

X = torch.linspace(-3, 3, 60).reshape(4, 5, 3)
SCALES = torch.tensor([0.05, 0.011, 0.3, 0.02, 0.1])
POINTS = torch.tensor([0, 3, -7, 127, -128], dtype=torch.int32)
ONE, POINT = torch.tensor([0.037]), torch.tensor([-5], dtype=torch.int32)
ON, OFF = torch.ones(1, dtype=torch.int64), torch.zeros(1, dtype=torch.int64)

FAKE: dict[str, Callable[[torch.Tensor], Any]] = {
    "per_tensor": lambda x: torch.fake_quantize_per_tensor_affine(x, 0.037, 11, 0, 255),
    "per_channel": lambda x: torch.fake_quantize_per_channel_affine(
        x, SCALES, POINTS, 1, -128, 127
    ),
    "by_tensors": lambda x: torch.fake_quantize_per_tensor_affine(x, ONE, POINT, -128, 127),
    "switched_on": lambda x: torch._fake_quantize_per_tensor_affine_cachemask_tensor_qparams(
        x, ONE, POINT, ON, -8, 7
    )[0],
    "switched_off": lambda x: torch._fake_quantize_per_tensor_affine_cachemask_tensor_qparams(
        x, ONE, POINT, OFF, -8, 7
    )[0],
}


@pytest.mark.parametrize("dynamic", [False, True], ids=["static", "dynamic"])
@pytest.mark.parametrize("name", FAKE)
def test_fake_quantisation(name: str, dynamic: bool) -> None:
    check(FAKE[name], X, dynamic=dynamic)
    if not (dynamic and name == "per_channel"):  # PyTorch traces no symbolic gradient of it
        check_gradients(FAKE[name], X, dynamic=dynamic)


def test_fake_quantisation_of_what_is_no_number() -> None:
    check(FAKE["per_tensor"], torch.tensor([float("nan"), 1.0, -1e6, 1e6]))


def test_fake_quantisation_in_half_precision() -> None:
    check(FAKE["per_tensor"], X.half())


@pytest.mark.parametrize("point", [0.0, 3.4, -200.0])
def test_learnable_parameters(point: float) -> None:
    def per_tensor(x: torch.Tensor, scale: torch.Tensor, zero: torch.Tensor) -> torch.Tensor:
        return torch._fake_quantize_learnable_per_tensor_affine(x, scale, zero, -128, 127, 0.5)

    check_gradients(per_tensor, X, ONE, torch.tensor([point]), exact=False)

    def per_channel(x: torch.Tensor, scale: torch.Tensor, zero: torch.Tensor) -> torch.Tensor:
        return torch._fake_quantize_learnable_per_channel_affine(x, scale, zero, 1, -8, 7, 2.0)

    check_gradients(per_channel, X, SCALES, torch.full((5,), point), exact=False)


INT8 = (-128, 127, torch.int8)
UINT8 = (0, 255, torch.uint8)
DOUBLE, LONG = ONE.double(), POINT.long()
CODES = torch.arange(-60, 60, 2, dtype=torch.int8).reshape(4, 5, 3)
ENDS = torch.tensor(-128), torch.tensor(127)


def token_round_trip(x: torch.Tensor) -> Any:
    scales, points = ops.choose_qparams_per_token_asymmetric(x, torch.int8)
    codes = ops.quantize_per_token(x, scales, points, *INT8)
    return codes, ops.dequantize_per_token(codes, scales, points, *INT8, torch.float32)


def group_round_trip(x: torch.Tensor) -> Any:
    rows = x.reshape(5, 12)
    scales = rows.reshape(5, 3, 4).abs().amax(-1) / 7
    points = torch.zeros(5, 3, dtype=torch.int32)
    codes = ops.quantize_per_channel_group(rows, scales, points, -8, 7, torch.int8, 4)
    back = ops.dequantize_per_channel_group(
        codes, scales, points, -8, 7, torch.int8, 4, torch.float32
    )
    return codes, back


QUANTIZE: dict[str, Callable[[torch.Tensor], Any]] = {
    "per_tensor": lambda x: ops.quantize_per_tensor(x, 0.037, 11, *UINT8),
    "per_tensor_of_tensors": lambda x: ops.quantize_per_tensor.tensor(x, DOUBLE, LONG, *INT8),
    "per_tensor_of_ends": lambda x: ops.quantize_per_tensor.tensor2(
        x, DOUBLE, LONG, *ENDS, torch.int8
    ),
    "per_channel": lambda x: ops.quantize_per_channel(x, SCALES, POINTS, 1, *INT8),
    "qparams": lambda x: ops.choose_qparams.tensor(x, -128, 127, 1e-5, torch.int8),
    "qparams_symmetric": lambda x: ops.choose_qparams_symmetric.tensor(
        x, -127, 127, 1e-5, torch.int8
    ),
    "per_token": token_round_trip,
    "per_group": group_round_trip,
}


@pytest.mark.parametrize("dynamic", [False, True], ids=["static", "dynamic"])
@pytest.mark.parametrize("name", QUANTIZE)
def test_quantisation(name: str, dynamic: bool) -> None:
    check(QUANTIZE[name], X, dynamic=dynamic and name != "per_group")


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_quantisation_of_half_precision(dtype: torch.dtype) -> None:
    for name in ("per_tensor", "per_tensor_of_tensors", "per_channel"):
        check(QUANTIZE[name], X.to(dtype))


DEQUANTIZE: dict[str, Callable[..., Any]] = {
    "per_tensor": lambda q, **k: ops.dequantize_per_tensor(q, 0.037, 11, *INT8, **k),
    "tensors": lambda q, **k: ops.dequantize_per_tensor.tensor(q, DOUBLE, LONG, *INT8, **k),
    "ends": lambda q, **k: ops.dequantize_per_tensor.tensor2(
        q, DOUBLE, LONG, *ENDS, torch.int8, **k
    ),
    "per_channel": lambda q, **k: ops.dequantize_per_channel(q, SCALES, POINTS, 1, *INT8, **k),
    "no_points": lambda q, **k: ops.dequantize_per_channel(q, SCALES, None, 1, *INT8, **k),
}


@pytest.mark.parametrize("out", [None, torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("name", DEQUANTIZE)
def test_dequantisation(name: str, out: torch.dtype | None) -> None:
    check(lambda q: DEQUANTIZE[name](q, out_dtype=out), CODES)


def test_a_quantised_linear_layer() -> None:
    weight = torch.linspace(-1, 1, 15).reshape(5, 3)
    scales, points = weight.abs().amax(1) / 127, torch.zeros(5, dtype=torch.int32)

    def function(x: torch.Tensor) -> torch.Tensor:
        x = ops.dequantize_per_tensor(
            ops.quantize_per_tensor(x, 0.025, -1, *INT8), 0.025, -1, *INT8
        )
        codes = ops.quantize_per_channel(weight, scales, points, 0, *INT8)
        w = ops.dequantize_per_channel(codes, scales, points, 0, *INT8)
        return torch.nn.functional.linear(x, w).relu()

    check(function, X[0], exact=False)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_products_with_int8_weights(dtype: torch.dtype) -> None:
    weight = torch.randint(-128, 127, (32, 64), dtype=torch.int8)
    x, scales = torch.randint(-4, 5, (3, 64)).to(dtype), torch.rand(32).to(dtype)
    check(torch._weight_int8pack_mm, x, weight, scales, exact=False)
    check(torch._int_mm, weight, weight.mT.contiguous())
