"""The table of converters: one decorated function per overload.

    @converts("relu(Tensor self) -> Tensor")
    def relu(x):
        return ge.Relu(x)

The text is PyTorch's schema (a test compares it with the table); the namespace is ``aten`` unless
it
is written. The function declares the parameters it honours, in any number: an argument it does not
declare must have its default (or be one of ``IGNORED``), otherwise the call is a
``ConversionError``.
``out`` receives the result type, or the list of result types when there are several; a schema
parameter
of that name (or one that is a Python keyword) is declared with a trailing underscore.
"""

from __future__ import annotations

import importlib
import inspect
import keyword
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, cast

from xdsl.ir import Attribute, SSAValue

from torchair.dialects.aten.torch_schema import mnemonic, parse_schema
from torchair.errors import ConversionError
from torchair.ir.schema import REQUIRED_VALUE, Role, Schema
from torchair.passes.convert_aten_to_ge.auto import auto_converter

FAMILIES = (
    "elementwise",
    "special_functions",
    "linear_algebra",
    "complex_numbers",
    "comparison",
    "shape",
    "slicing",
    "padding",
    "symbolic",
    "creation",
    "random_numbers",
    "matmul",
    "grouped_matmul",
    "reduction",
    "normalization",
    "attention",
    "batch_norm",
    "sync_batch_norm",
    "activation",
    "embedding",
    "indexing",
    "scattering",
    "ordering",
    "convolution",
    "pooling",
    "resampling",
    "loss",
    "mutation",
    "foreach",
    "fourier",
    "markers",
    "npu_normalization",
    "npu_attention",
    "npu_fusion_attention",
    "npu_kv_cache",
    "npu_matmul",
    "npu_grouped_matmul",
    "npu_matmul_fusions",
    "npu_matmul_accumulation",
    "npu_masked_softmax",
    "npu_sparse_attention",
    "npu_mla_prolog",
    "npu_state_space",
    "npu_collectives",
    "npu_communication",
    "npu_quantised_collectives",
    "npu_workers",
    "npu_activation",
    "npu_rotary",
    "npu_quantization",
    "npu_activation_quantization",
    "npu_mx_quantization",
    "npu_rope_cache",
    "npu_moe_routing",
    "npu_moe_gating",
    "npu_norm_quantization",
)
"""Modules of this package that hold converters, loaded on first use."""

IGNORED = frozenset(
    ("layout", "device", "pin_memory", "memory_format", "non_blocking", "generator")
)
"""Arguments without meaning in a GE graph: every tensor is dense, contiguous and on the device."""

_SINGLE = (Role.REQUIRED, Role.OPTIONAL, Role.SCALAR)
"""Parameters of one value."""

ConverterFn = Callable[..., Any]


@dataclass(frozen=True, slots=True)
class Converter:
    """One converter.

    Args:
        name: mnemonic it converts.
        schema: the schema text it was declared with, namespace included.
        function: builds the ge operations and returns their values.
        declared: names of the parameters the function takes.
        wants_out: whether it takes the result types as ``out``.
        takes_rest: whether it takes every other parameter by name (``**rest``).
    """

    name: str
    schema: str
    function: ConverterFn
    declared: frozenset[str]
    wants_out: bool
    takes_rest: bool = False

    def __call__(self, schema: Schema, values: Sequence[Any], types: Sequence[Attribute]) -> Any:
        """Convert one call given a value per schema parameter and the result types."""
        if schema.text != self.schema and not has_same_names(schema.text, self.schema):
            schema, values = _as_declared(parse_schema(self.schema), schema, values)
        arguments: dict[str, Any] = {}
        for parameter, value in zip(schema.parameters, values, strict=True):
            name = argument_name(parameter.name)
            if name in self.declared or self.takes_rest:
                arguments[name] = _number(value) if parameter.role in _SINGLE else value
            elif parameter.name not in IGNORED and not _is_default(value, parameter.default):
                raise ConversionError(
                    f"argument '{parameter.name}' of {schema.name} is not supported here",
                    expected=parameter.default,
                    found=value,
                    hint="leave the argument out, or decompose the operator "
                    "(get_npu_backend(custom_decompositions=...))",
                )
        if self.wants_out:
            arguments["out"] = types[0] if len(types) == 1 else list(types)
        return self.function(**arguments)


@cache
def has_same_names(one: str, other: str) -> bool:
    """Whether two schemas have parameters of the same names in the same order."""
    first, second = (parse_schema(text).parameters for text in (one, other))
    return [p.name for p in first] == [p.name for p in second]


def _as_declared(
    declared: Schema, live: Schema, values: Sequence[Any]
) -> tuple[Schema, Sequence[Any]]:
    """A call of an operator that another version of its library defines, in the schema that a
    converter was written for."""
    given = dict(zip((p.name for p in live.parameters), values, strict=True))
    known = {p.name for p in declared.parameters}
    for parameter in live.parameters:
        value = given[parameter.name]
        if parameter.name not in known and not _is_default(value, parameter.default):
            raise ConversionError(
                f"the installed {live.name} has an argument '{parameter.name}' that is not known",
                expected=f"its default {parameter.default}, or {declared.text}",
                found=value,
                hint="leave the argument out, or register a converter for this version",
            )
    found = [given.get(p.name, p.default) for p in declared.parameters]
    missing = [
        p.name
        for p, value in zip(declared.parameters, found, strict=True)
        if value is REQUIRED_VALUE and p.name not in given
    ]
    if missing:
        raise ConversionError(
            f"the installed {live.name} has no argument '{missing[0]}'",
            expected=declared.text,
            found=live.text,
            hint="register a converter for this version",
        )
    return declared, found


def argument_name(parameter: str) -> str:
    """Name by which a converter declares a schema parameter: ``out_``, ``from_`` where Python or
    this
    registry has another use for the word."""
    return f"{parameter}_" if parameter == "out" or keyword.iskeyword(parameter) else parameter


def _number(value: Any) -> Any:
    """A list of two numbers in the place of one value is a complex number."""
    if isinstance(value, list):
        real, imaginary = cast("list[float]", value)
        return complex(real, imaginary)
    return value


def _is_default(value: Any, default: object) -> bool:
    if isinstance(value, SSAValue):
        return False
    return value is None or value == default


_converters: dict[str, Converter] = {}


def converts(*schemas: str) -> Callable[[ConverterFn], ConverterFn]:
    """Register a function as the converter of one or several overloads."""

    def register(function: ConverterFn) -> ConverterFn:
        parameters = inspect.signature(function).parameters
        rest = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
        declared = frozenset(n for n in parameters if n != "out")
        for text in schemas:
            qualified = text if "::" in text.split("(", 1)[0] else f"aten::{text}"
            name = mnemonic(qualified[: qualified.index("(")])
            _converters[name] = Converter(
                name, qualified, function, declared, "out" in parameters, rest
            )
        return function

    return register


@cache
def _load_families() -> None:
    for family in FAMILIES:
        importlib.import_module(f"torchair.passes.convert_aten_to_ge.{family}")


def converters() -> dict[str, Converter]:
    """All converters by mnemonic, users' included."""
    _load_families()
    return _converters


def find(name: str) -> Converter | None:
    """The converter of a mnemonic (see ``auto`` for those that nobody wrote), or None."""
    _load_families()
    found = _converters.get(name)
    if found is not None:
        return found
    made = auto_converter(name)
    if made is None:
        return None
    schema, function = made
    declared = frozenset(argument_name(parameter) for parameter in schema.positions)
    return Converter(name, schema.text, function, declared, True)


def add(converter: Converter) -> None:
    """Register a converter made elsewhere (the public registration API); the last one wins."""
    _load_families()
    _converters[converter.name] = converter
