"""The tables are complete: converters match PyTorch's schemas, what they build exists and runs."""

from __future__ import annotations

import ast
import importlib
import inspect
from pathlib import Path

import torch
import torch._inductor.inductor_prims

from torchair.backend_ge.host.kernels import kernels
from torchair.dialects.aten import table
from torchair.dialects.aten.sym import SCHEMAS as SYM_SCHEMAS
from torchair.dialects.aten.torch_schema import parse_schema
from torchair.dialects.ge import lookup_op, registry
from torchair.ir.schema import Schema
from torchair.passes.convert_aten_to_ge import converters

importlib.import_module("torchair.frontend.scopes")  # defines torch's operators of scopes

CONVERTERS = Path(__file__).parents[2] / "torchair" / "passes" / "convert_aten_to_ge"
WITHOUT_KERNEL = {
    "Const": "read by the engine itself",
    "Data": "a function argument on the host; as an operation it only stands for a failed call",
    "NetOutput": "ends the graph",
    "Batch": "a prefix of BatchMatMul in matmul.py, not the operator of this name",
}


def known_schema(name: str) -> Schema | None:
    found = table.find(name)
    if found is None and name in SYM_SCHEMAS:
        return parse_schema(SYM_SCHEMAS[name])
    if found is None:
        namespace, _, rest = name.partition(".")
        packet, _, overload = rest.partition(".")
        op = getattr(
            getattr(getattr(torch.ops, namespace), packet, None), overload or "default", None
        )
        found = None if op is None else parse_schema(str(op._schema))
    return found


def signature(schema: Schema) -> tuple[object, ...]:
    parameters = [
        (p.name, p.role, p.kind, repr(p.default), p.keyword_only) for p in schema.parameters
    ]
    return (schema.name, parameters, schema.results)


def test_every_converter_is_declared_with_pytorchs_schema() -> None:
    wrong: list[str] = []
    for name, converter in converters().items():
        if name == "aten.constant":  # ours: not an operator of PyTorch
            continue
        known = known_schema(name)
        if known is None or signature(parse_schema(converter.schema)) != signature(known):
            wrong.append(f"{converter.schema}  !=  {known.text if known else 'nothing in torch'}")
    assert not wrong, "\n".join(wrong)


def built_operators() -> dict[str, str]:
    """Registry names that occur in converter sources, as ``ge.Name`` or as a string."""
    found: dict[str, str] = {}
    known = set(registry.op_names())
    for path in sorted(CONVERTERS.glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            name = ""
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                name = node.attr if node.value.id == "ge" else ""
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                name = node.value
            if name in known:
                found.setdefault(name, path.name)
    return found


def test_every_operator_a_converter_names_has_a_host_kernel() -> None:
    missing = {
        name: file
        for name, file in built_operators().items()
        if name not in kernels() and name not in WITHOUT_KERNEL
    }
    assert not missing


def test_every_kernel_belongs_to_a_registered_operator() -> None:
    unknown = [name for name in kernels() if lookup_op(name) is None]
    assert not unknown


def test_kernels_that_draw_or_act_are_never_merged() -> None:
    for name, kernel in kernels().items():
        cls = lookup_op(name)
        assert cls is not None
        assert not (kernel.random and cls.schema.pure), name


def test_kernels_take_every_input_of_their_operator() -> None:
    for name, kernel in kernels().items():
        cls = lookup_op(name)
        assert cls is not None
        parameters = inspect.signature(kernel.function).parameters.values()
        takes_any = any(p.kind is p.VAR_POSITIONAL for p in parameters)
        assert takes_any or len(parameters) >= len(cls.spec.inputs), name
