"""Every operator of a model has a way: a converter, a decomposition, or PyTorch's own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from torchair.frontend.decompositions import default_decompositions
from torchair.frontend.fx_import import aten_name
from torchair.passes.convert_aten_to_ge import converters

PUBLIC = Path(__file__).with_name("public_overloads.txt")
PYTHON = {
    "math.ceil": "ceil",
    "math.floor": "floor",
    "operator.add": "add",
    "operator.floordiv": "floordiv",
    "operator.mod": "mod",
    "operator.mul": "mul",
    "operator.neg": "neg",
    "operator.pow": "pow",
    "operator.sub": "sub",
    "operator.truediv": "truediv",
    "torch._sym_log2": "log2",
    "torch.sym_float": "float",
    "torch.sym_sum": "sum",
    "sym_sqrt": "sqrt",
}
"""Functions of symbolic numbers, by the name of their converter in the sym namespace."""


def overload(name: str) -> Any:
    namespace, packet, *rest = name.split(".")
    found = getattr(getattr(torch.ops, namespace), packet)
    return getattr(found, rest[0] if rest else "default")


def functional(op: Any) -> Any:
    """The overload that an in-place or out= one is functionalised to."""
    if not op._schema.is_mutable:
        return op
    namespace, packet = op._schema.name.split("::")
    plain = getattr(getattr(torch.ops, namespace), packet.rstrip("_"))
    wanted = [a.name for a in op._schema.arguments if not a.is_out]
    for candidate in plain.overloads():
        other = getattr(plain, candidate)
        names = [a.name for a in other._schema.arguments]
        if not other._schema.is_mutable and names == wanted:
            return other
    return op


def has_a_way(op: Any) -> bool:
    op = functional(op)
    if aten_name(op) in converters() or op in default_decompositions():
        return True
    return torch._C._dispatch_has_kernel_for_dispatch_key(op.name(), "CompositeImplicitAutograd")


def public_overloads() -> list[str]:
    lines = PUBLIC.read_text(encoding="utf-8").splitlines()
    return [line for line in lines if not line.startswith("#")]


def test_public_overloads_have_a_way() -> None:
    missing = [
        name for name in public_overloads() if name not in PYTHON and not has_a_way(overload(name))
    ]
    assert missing == []


def test_functions_of_symbolic_numbers_have_converters() -> None:
    assert set(PYTHON) >= {n for n in public_overloads() if not n.startswith(("aten.", "prims."))}
    missing = [n for n, short in PYTHON.items() if f"sym.{short}" not in converters()]
    assert missing == []


def test_core_operators_have_a_way() -> None:
    missing: list[str] = []
    for qualified in torch._C._dispatch_get_all_op_names():
        if not qualified.startswith("aten::"):
            continue
        base, _, rest = qualified.removeprefix("aten::").partition(".")
        op = overload(f"aten.{base}.{rest or 'default'}")
        if torch.Tag.core in op.tags and not has_a_way(op):
            missing.append(op.name())
    assert missing == []
