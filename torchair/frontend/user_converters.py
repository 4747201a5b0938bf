"""Converters that users register, bridged to the table that the built-in ones live in.

A user's converter gets what the torch call had: tensors as ``torchair.ge.Tensor``, numbers, lists
and
torch dtypes; ``meta_outputs`` describes the results when it asks for it. A list of sizes of which
some
are symbolic is one 1-D tensor, a symbolic number a 0-d tensor.
"""

from __future__ import annotations

import inspect
import traceback
from collections.abc import Callable, Sequence
from typing import Any

import torch
from xdsl.dialects.builtin import NoneType, UnrankedTensorType
from xdsl.ir import Attribute, SSAValue

from torchair.dialects import aten
from torchair.dialects.ge import builder
from torchair.errors import ConversionError, TorchairError
from torchair.frontend import fx_import
from torchair.ge.constants import constant
from torchair.ge.nodes import Expectation, expecting
from torchair.ge.tensor import Tensor, TensorSpec, spec_of, wrap
from torchair.ir import element_types, interned
from torchair.ir.private import set_type
from torchair.ir.schema import REQUIRED_VALUE, Parameter, Role, Schema
from torchair.passes.convert_aten_to_ge import registry

_META = "meta_outputs"


class Converter:
    """A registered converter; calling it calls the function, so that converters can share work.

    Attributes:
        target: the torch operator.
        name: its mnemonic, e.g. ``my.scale``.
        function: the user's function.
        require_meta: whether it takes ``meta_outputs``.
        supported_cases: declared calls (``declare_supported``).
    """

    def __init__(self, target: Any, schema: Schema, function: Callable[..., Any]) -> None:
        self.target = target
        self.name = schema.name
        self.schema = schema
        self.function = function
        self.signature = inspect.signature(function)
        self.require_meta = _META in self.signature.parameters
        self.supported_cases: list[Any] = list(getattr(function, "supported_cases", ()))
        self.__name__ = getattr(function, "__name__", self.name)
        self.__doc__ = function.__doc__

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.function(*args, **kwargs)

    def __repr__(self) -> str:
        return f"Converter({self.name})"

    def convert(self, values: dict[str, Any], out: Any) -> list[Any]:
        """Convert one call.

        Args:
            values: arguments of the aten operation by name.
            out: type of the result, or the list of types when there is not one.

        Returns:
            Values of ge operations.
        """
        types: list[Attribute] = list(out) if isinstance(out, list) else [out]
        args, kwargs = self._bind(values)
        if self.require_meta:
            kwargs[_META] = meta_outputs(self.schema, types)
        elements = [interned.element_type(t) for t in types if not isinstance(t, NoneType)]
        with expecting(elements) as expectation:
            try:
                self.signature.bind(*args, **kwargs)
                results = self.function(*args, **kwargs)
            except TorchairError:
                raise
            except Exception as error:
                raise self._wrapped(error) from error
            return self._results(results, types, expectation)

    def _bind(self, values: dict[str, Any]) -> tuple[list[Any], dict[str, Any]]:
        """Arguments as torch passes them: by position up to the last one that is no default."""
        parameters = [p for p in self.schema.parameters if not p.keyword_only]
        own = list(self.signature.parameters.values())
        by_name = {p.name for p in own if p.kind is p.KEYWORD_ONLY} - {_META}
        positional = [p for p in parameters if p.name not in by_name]
        needed = sum(p.default is p.empty and p.kind is p.POSITIONAL_OR_KEYWORD for p in own)
        count = 0
        for index, parameter in enumerate(positional):
            if index < needed or not _is_default(parameter, values[parameter.name]):
                count = index + 1
        args = [to_public(p, values[p.name]) for p in positional[:count]]
        required = {p.name for p in own if p.default is p.empty}
        kwargs = {
            p.name: to_public(p, values[p.name])
            for p in self.schema.parameters
            if (p.keyword_only or p.name in by_name)
            and (not _is_default(p, values[p.name]) or p.name in required)
            and not (p.name in registry.IGNORED and not self._takes(p.name))
        }
        return args, kwargs

    def _takes(self, name: str) -> bool:
        parameters = self.signature.parameters
        return name in parameters or any(p.kind is p.VAR_KEYWORD for p in parameters.values())

    def _wrapped(self, error: Exception) -> ConversionError:
        frames = traceback.extract_tb(error.__traceback__)
        file = inspect.getsourcefile(inspect.unwrap(self.function))
        own = [f for f in frames if f.filename == file]
        place = f" ({own[-1].filename}:{own[-1].lineno})" if own else ""
        return ConversionError(
            f"the converter of {self.name} raised {type(error).__name__}{place}: {error}",
            hint="the call is outside what this converter supports; extend it, or change the call",
        )

    def _results(self, results: Any, types: Sequence[Attribute], state: Expectation) -> Any:
        flat = _flatten(results)
        if types and len(flat) < len(types):
            raise ConversionError(
                f"the converter of {self.name} returned {len(flat)} values", expected=len(types)
            )
        pairs = zip(flat, types, strict=False)
        return [_result(value, type_, state.guessed) for value, type_ in pairs]


def _result(value: Any, type_: Attribute, guessed: set[SSAValue]) -> Any:
    """One returned value as an SSA value; a guessed element type becomes the operator's."""
    if value is None or isinstance(type_, NoneType):
        return None
    element = interned.element_type(type_)
    if isinstance(value, Tensor):
        found = value.value
        if found in guessed and isinstance(found.type, UnrankedTensorType):
            set_type(found, interned.unranked(element))
        return found
    return constant(value, element)


def _flatten(results: Any) -> list[Any]:
    if isinstance(results, list | tuple):
        return [leaf for item in results for leaf in _flatten(item)]
    return [results]


def _is_default(parameter: Parameter, value: Any) -> bool:
    if parameter.default is REQUIRED_VALUE or isinstance(value, SSAValue):
        return False
    if isinstance(value, list) and any(isinstance(v, SSAValue) for v in value):
        return False
    return value == parameter.default and type(value) is type(parameter.default)


def to_public(parameter: Parameter, value: Any) -> Any:
    """An argument as users know it."""
    if isinstance(value, list) and parameter.role is Role.LIST:
        if any(isinstance(v, SSAValue) for v in value):
            return Tensor(builder.sizes(value))
        return list(value)
    if isinstance(value, str) and parameter.kind == "device":
        return torch.device(value)
    if isinstance(value, str) and parameter.kind in ("layout", "memory_format"):
        return getattr(torch, value)
    if isinstance(value, Attribute):
        return getattr(torch, element_types.to_name(value))
    if isinstance(value, list):
        return [to_public(parameter, item) for item in value]
    return wrap(value)


def meta_outputs(schema: Schema, types: Sequence[Attribute]) -> Any:
    """Descriptions of the results, nested as the operator returns them.

    Raises:
        ConversionError: several results of unknown lengths.
    """
    specs: list[TensorSpec | None] = [spec_of(t) for t in types]
    lists = [r for r in schema.results if r.endswith("[]")]
    if not lists:
        return specs[0] if len(schema.results) == 1 else specs
    if len(schema.results) == 1:
        return specs
    if len(lists) > 1:
        raise ConversionError(f"{schema.name} returns several lists", expected="at most one")
    length = len(specs) - len(schema.results) + 1
    nested: list[Any] = []
    rest = iter(specs)
    for result in schema.results:
        is_list = result.endswith("[]")
        nested.append([next(rest) for _ in range(length)] if is_list else next(rest))
    return nested


def target_schema(target: Any) -> Schema:
    """Schema of what a converter is registered for.

    Args:
        target: an OpOverload, a packet with one overload, or one of the Python functions that
            PyTorch applies to symbolic sizes (``operator.add``, ``math.floor``, ``torch.sym_max``).

    Raises:
        TypeError: it is none of these.
    """
    if isinstance(target, torch._ops.OpOverloadPacket):
        names = target.overloads()
        if len(names) != 1:
            raise TypeError(
                f"{target} has several overloads ({', '.join(names)}): register for one of them, "
                f"e.g. torch.ops.{target}.{names[0]}".replace("::", ".")
            )
        target = getattr(target, names[0])
    if isinstance(target, torch._ops.OpOverload):
        text = str(target._schema)
        known = aten.lookup(fx_import.aten_name(target))
        return known.schema if known and known.schema.text == text else aten.define(text).schema
    name = fx_import._SYM_OPS.get(target) if callable(target) else None
    found = None if name is None else aten.lookup(name)
    if found is None:
        raise TypeError(
            f"a converter cannot be registered for {target!r}: pass an operator overload such as "
            "torch.ops.aten.add.Tensor"
        )
    return found.schema


_registered: dict[str, Converter] = {}


def registered_converters() -> dict[str, Converter]:
    """Converters that were registered in this process, by mnemonic."""
    return _registered


def register_fx_node_ge_converter(aten_op: Any) -> Callable[[Callable[..., Any]], Any]:
    """Decorator: the function converts calls of a torch operator to nodes of the GE graph.

        @torchair.register_fx_node_ge_converter(torch.ops.my.scale.default)
        def scale(x, factor=1.0, *, meta_outputs: TensorSpec = None):
            return ge.custom_op("MyScale", x, factor)

    The function has the parameters of the operator, and ``meta_outputs`` if it wants it. It returns
    tensors (in lists, for several results). The last registration for an operator wins, also over
    the built-in converter.

    Args:
        aten_op: an operator overload; None registers nothing.

    Returns:
        A decorator that returns a ``Converter``.

    Raises:
        TypeError: `aten_op` is not an operator.
    """
    if aten_op is None:
        return lambda function: function
    schema = target_schema(aten_op)

    def register(function: Callable[..., Any]) -> Converter:
        if isinstance(function, Converter):
            function = function.function
        converter = Converter(aten_op, schema, function)
        names = frozenset(registry.argument_name(name) for name in schema.positions)

        def convert(**values: Any) -> list[Any]:
            out = values.pop("out")
            by_name = {name: values[registry.argument_name(name)] for name in schema.positions}
            return converter.convert(by_name, out)

        registry.add(registry.Converter(schema.name, schema.text, convert, names, True))
        _registered[schema.name] = converter
        return converter

    return register


def declare_supported(supported_cases: Sequence[Any]) -> Callable[[Any], Any]:
    """Decorator: calls that a converter supports, run by ``python -m
    torchair.tools.converter_test``.

    Args:
        supported_cases: ``Support`` objects.
    """

    def declare(converter: Any) -> Any:
        converter.supported_cases = list(supported_cases)
        return converter

    return declare
