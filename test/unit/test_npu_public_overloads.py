"""Every operator of torch_npu that the public TorchAir converts is defined and has a converter."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from torchair.dialects.aten import table
from torchair.dialects.aten.torch_schema import parse_schema
from torchair.frontend.fx_import import aten_name
from torchair.frontend.npu_operators import define_operators, operators
from torchair.passes.convert_aten_to_ge import converters

define_operators()

PUBLIC = Path(__file__).with_name("public_npu_overloads.txt")
AS_THE_FUNCTIONAL_FORM = {
    "npu.npu_scatter_list_": "npu.npu_scatter_list, by AOT autograd: it returns nothing",
}
"""Operators that never reach the compiler, and the one that comes instead."""


def public_overloads() -> list[str]:
    lines = PUBLIC.read_text(encoding="utf-8").splitlines()
    return [line for line in lines if not line.startswith("#")]


def overload(name: str) -> Any:
    namespace, packet, variant = name.split(".")
    return getattr(getattr(getattr(torch.ops, namespace), packet), variant)


def test_public_overloads_are_defined_and_converted() -> None:
    names = public_overloads()
    assert len(names) == 156
    missing = [name for name in names if aten_name(overload(name)) not in converters()]
    assert missing == []


def test_every_defined_operator_is_converted() -> None:
    missing: list[str] = []
    for name in operators():
        mnemonic = name.replace("::", ".") if "::" in name else f"npu.{name}"
        if mnemonic not in converters() and mnemonic not in AS_THE_FUNCTIONAL_FORM:
            missing.append(mnemonic)
    assert missing == []


def test_the_definitions_are_those_of_the_table() -> None:
    for name in public_overloads():
        op = overload(name)
        known, live = table.find(aten_name(op)), parse_schema(str(op._schema))
        assert known is not None
        assert [(p.name, p.kind) for p in known.parameters] == [
            (p.name, p.kind) for p in live.parameters
        ]
