"""Matrix products of groups: mixtures of experts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from torchair.backend_ge.host.kernels import npu_grouped_matmul as kernels
from torchair.dialects.ge.npu_types import type_name
from torchair.errors import UnsupportedOpError
from torchair.frontend.npu_operators.matmul import four_bits, unused
from torchair.frontend.npu_operators.registry import implements

_UNUSED = (
    "activation_input",
    "activation_quant_scale",
    "activation_quant_offset",
    "x_dtype",
    "weight_dtype",
    "scale_dtype",
    "per_token_scale_dtype",
)


@implements("npu_grouped_matmul")
def npu_grouped_matmul(x: Sequence[Tensor], weight: Sequence[Tensor], **named: Any) -> list[Tensor]:
    number = named.pop("output_dtype", None)
    wanted = None if number is None else getattr(torch, type_name(number, "npu_grouped_matmul"))
    group_list: Tensor | None = named.pop("group_list", None)
    if (named.get("split_item") or 0) < 2 and group_list is not None:
        raise UnsupportedOpError(
            "npu_grouped_matmul cannot split its result by sizes that are tensor data",
            expected="split_item 2 or 3",
            found=named.get("split_item"),
            hint="pass group_list as a list of ints, or take one result",
        )
    return _grouped(x, weight, group_list, wanted, named)


@implements("npu_grouped_matmul.List")
def npu_grouped_matmul_list(
    x: Sequence[Tensor], weight: Sequence[Tensor], **named: Any
) -> list[Tensor]:
    wanted = named.pop("output_dtype", None)
    ends: list[int] | None = named.pop("group_list", None)
    split_item = named.pop("split_item", 0) or 0
    if named.get("group_type") is None:
        named["group_type"] = kernels.NO_GROUPS if ends is None else kernels.ROWS
    if not ends:
        return _grouped(x, weight, None, wanted, {**named, "split_item": split_item})
    groups = torch.tensor(ends, dtype=torch.int64, device=x[0].device)
    if len(x) > 1:
        return _grouped(x, weight, groups, wanted, {**named, "split_item": split_item})
    found = _grouped(x, weight, groups, wanted, {**named, "split_item": 3})
    if split_item >= 2:
        return found
    if named["group_type"] == kernels.INNER:
        return list(found[0].unbind())
    sizes = [end - start for start, end in zip([0, *ends], ends, strict=False)]
    return list(torch.split(found[0], sizes))


def _grouped(
    x: Sequence[Tensor],
    weight: Sequence[Tensor],
    group_list: Tensor | None,
    wanted: torch.dtype | None,
    named: dict[str, Any],
) -> list[Tensor]:
    unused("npu_grouped_matmul", named, _UNUSED)
    named.pop("tuning_config", None)
    lists = [
        list(named.pop(name, None) or [])
        for name in ("bias", "scale", "offset", "antiquant_scale", "antiquant_offset")
    ]
    per_token: Any = named.pop("per_token_scale", None) or [None]
    group_type = named.pop("group_type", None)
    return kernels.grouped_matmul(
        list(x),
        [four_bits(w) for w in weight],
        *lists,
        group_list,
        per_token[0],
        dtype=result_number(x[0], wanted),
        group_type=kernels.NO_GROUPS if group_type is None else group_type,
        **{name: value for name, value in named.items() if value is not None},
    )


def result_number(x: Tensor, wanted: torch.dtype | None) -> int:
    """GroupedMatmul's number of a result type; only int8 inputs have a choice.

    Raises:
        UnsupportedOpError: there is no such product.
    """
    numbers = {dtype: number for number, dtype in kernels.RESULT_DTYPES.items()}
    if x.dtype is torch.int8:
        if wanted is None or wanted in numbers:
            return numbers[wanted or torch.int8]
    elif wanted in (None, x.dtype):
        return 0
    raise UnsupportedOpError(
        f"npu_grouped_matmul of {x.dtype} cannot give {wanted}",
        expected="int8, float16, bfloat16 or int32 of int8, else the type of x",
    )
