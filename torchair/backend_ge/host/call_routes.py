"""How one traced ATen call becomes one instruction of the native program.

Three routes, tried in this order: torch's proxy executor (proxy.py), the stable dispatcher, and a
call from Python. The last takes the GIL and carries everything, so no call is ever unrunnable.
"""

from __future__ import annotations

import functools
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import torch
from torch.utils._python_dispatch import _disable_current_modes

from torchair import _native
from torchair.backend_ge.host.aten_schema import (
    ArgumentSpec,
    BoundArgument,
    OpSchema,
    bind_arguments,
    schema_of,
)
from torchair.backend_ge.host.products import RowProduct
from torchair.backend_ge.host.proxy import (
    Inexpressible,
    describe_call,
    from_capsules,
    to_capsules,
)

if TYPE_CHECKING:
    from torch._ops import OpOverload

TensorId = Callable[[object], int]
PythonFunction = Callable[[list[object]], list[object]]

# A Scalar argument cannot be inf, nan or complex on the proxy route. These overloads compute the
# same with the scalar as a wrapped number, which is what the Scalar overloads do inside.
_TENSOR_OVERLOADS = {
    f"aten::{name}.Scalar": name
    for name in (
        *("add", "sub", "mul", "div", "eq", "ne", "lt", "le", "gt", "ge"),
        *("fill", "fill_", "masked_fill", "masked_fill_"),
    )
}

_DTYPE_GETTERS = {torch.float8_e8m0fnu: "torch_dtype_float8_e8m0fnu"}


@dataclass(slots=True)
class ProxyRoute:
    """A call by the proxy executor.

    Args:
        node: its JSON description.
        ints: its dynamic sizes.
        operands: its tensors in schema order.
        product: what it computes, when the program computes that itself; the last operand is the
            result, which has memory already unless ``allocates``.
        allocates: see there.
    """

    node: str
    ints: list[int]
    operands: list[int]
    product: RowProduct | None = None
    allocates: bool = False


@dataclass(slots=True)
class DispatcherRoute:
    """A call by the dispatcher. ``arguments`` are native argument trees over operand ids."""

    name: str
    overload: str
    arguments: list[Any]
    list_results: list[bool]
    operands: list[int]


@dataclass(slots=True)
class PythonRoute:
    """A call from Python."""

    function: PythonFunction
    operands: list[int]


Route = ProxyRoute | DispatcherRoute | PythonRoute


@dataclass(frozen=True, slots=True)
class Constant:
    """A tensor that a route adds to the program; equal keys mean the same tensor."""

    key: str
    build: Callable[[], torch.Tensor] = field(compare=False)


def choose_route(
    op: OpOverload,
    args: tuple[object, ...],
    kwargs: dict[str, object],
    n_results: int,
    tensor_id: TensorId,
    refused_nodes: set[str],
) -> Route:
    """The first route that carries the call.

    ``tensor_id`` numbers a Slot or Constant and raises ValueError for anything else.
    """
    schema = schema_of(op)
    bound = bind_arguments(schema, args, kwargs)
    counts = result_counts(schema, n_results)
    for attempt in (_proxy_route, _tensor_overload_route, _filled_copy_route, _dispatcher_route):
        try:
            route = attempt(schema, bound, counts, tensor_id)
        except Inexpressible:
            continue
        if not (isinstance(route, ProxyRoute) and route.node in refused_nodes):
            return route
    return _python_route(op, schema, args, kwargs, tensor_id)


def result_counts(schema: OpSchema, n_results: int) -> list[int] | None:
    """The number of tensors of each result, None when several lists share them."""
    lists = sum(returned.is_list for returned in schema.returns)
    tensors = sum(r.kind == "TensorType" and not r.is_list for r in schema.returns)
    if lists == 0 and tensors != n_results:
        raise ValueError(f"{schema.target} returns {tensors} tensors, the trace has {n_results}")
    if lists > 1:
        return None
    return [n_results - tensors if returned.is_list else 1 for returned in schema.returns]


def _proxy_route(
    schema: OpSchema, bound: list[BoundArgument], counts: list[int] | None, tensor_id: TensorId
) -> Route:
    if counts is None:
        raise Inexpressible("several lists of results")
    tensor_id = _with_wrapped_numbers(tensor_id)
    node, dynamic = describe_call(schema, bound, counts, tensor_id)
    return ProxyRoute(node, dynamic.ints, dynamic.tensors)


def _tensor_overload_route(
    schema: OpSchema, bound: list[BoundArgument], counts: list[int] | None, tensor_id: TensorId
) -> Route:
    if schema.target not in _TENSOR_OVERLOADS:
        raise Inexpressible("no overload with a Tensor in place of the Scalar")
    tensor_schema = schema_of(getattr(torch.ops.aten, _TENSOR_OVERLOADS[schema.target]).Tensor)
    rebound = [
        replace(argument, spec=spec)
        for argument, spec in zip(bound, tensor_schema.arguments, strict=True)
    ]
    return _proxy_route(tensor_schema, rebound, counts, tensor_id)


def _filled_copy_route(
    schema: OpSchema, bound: list[BoundArgument], counts: list[int] | None, tensor_id: TensorId
) -> Route:
    """A tensor full of inf, nan or a complex number: a copy of one element, expanded."""
    if schema.target not in ("aten::full", "aten::scalar_tensor"):
        raise Inexpressible("no call that fills")
    values: dict[str, Any] = {argument.spec.name: argument.value for argument in bound}
    size = values.get("size", [])
    value: Any = values["s"] if "s" in values else values["fill_value"]
    if values["layout"] not in (None, torch.strided) or values["pin_memory"]:
        raise Inexpressible("a layout or memory that a copy would lose")
    if values["device"] not in (None, torch.device("cpu")):
        raise Inexpressible("another device")

    def build() -> torch.Tensor:
        with _disable_current_modes():
            return torch.full((), value, dtype=values["dtype"], device="cpu").expand(size)

    constant = Constant(f"full {size} {type(value).__name__} {value!r} {values['dtype']}", build)
    clone = schema_of(torch.ops.aten.clone.default)
    copied = bind_arguments(clone, (constant,), {"memory_format": torch.contiguous_format})
    return _proxy_route(clone, copied, counts, tensor_id)


def _dispatcher_route(
    schema: OpSchema, bound: list[BoundArgument], counts: list[int] | None, tensor_id: TensorId
) -> Route:
    if counts is None or any(returned.kind != "TensorType" for returned in schema.returns):
        raise Inexpressible("results that are no tensors")
    operands: list[int] = []

    def operand(value: object) -> int:
        operands.append(_with_wrapped_numbers(tensor_id)(value))
        return operands[-1]

    arguments = [_stable_argument(item.spec, item.value, operand) for item in bound]
    lists = [returned.is_list for returned in schema.returns]
    return DispatcherRoute(schema.name, schema.overload, arguments, lists, operands)


def _stable_argument(spec: ArgumentSpec, value: object, operand: TensorId) -> Any:
    if value is None:
        if not spec.optional:
            raise Inexpressible(f"{spec.name} is None")
        return ("none",)
    if not spec.is_list:
        argument = _stable_value(spec.kind, value, operand)
    elif not isinstance(value, list | tuple):
        raise Inexpressible(f"{spec.name} is no list")
    elif spec.optional_items:
        items = [
            ("none",) if item is None else ("some", _stable_value(spec.kind, item, operand))
            for item in value
        ]
        argument = ("list", items)
    else:
        argument = ("list", [_stable_value(spec.kind, item, operand) for item in value])
    return ("some", argument) if spec.optional else argument


def _stable_value(kind: str, value: Any, operand: TensorId) -> Any:
    match kind, value:
        case "TensorType", _:
            return ("tensor", operand(value))
        case "IntType" | "SymIntType", int() if -(2**63) <= value < 2**63:
            return ("bits", value % 2**64)
        case "FloatType", int() | float():
            return ("bits", struct.unpack("<Q", struct.pack("<d", value))[0])
        case "BoolType", int():
            return ("bits", int(bool(value)))
        case "ScalarTypeType", torch.dtype():
            name = str(value).removeprefix("torch.")
            return _enumerator(_DTYPE_GETTERS.get(value, f"aoti_torch_dtype_{name}"))
        case "LayoutType", torch.layout():
            return _enumerator(f"aoti_torch_layout_{str(value).removeprefix('torch.')}")
        case "MemoryFormatType", torch.memory_format():
            return _enumerator(f"aoti_torch_memory_format_{str(value).removeprefix('torch.')}")
        case "MemoryFormatType", int():  # a default, which the schema gives as a number
            return ("bits", value)
        case "DeviceObjType", torch.device():
            index = -1 if value.index is None else value.index
            _, bits = _enumerator(f"aoti_torch_device_type_{value.type}")
            return ("bits", bits << 32 | index % 2**32)
        case _:  # Scalar has no stable form; a str leaks in torch 2.13 and goes by other routes
            raise Inexpressible(f"{value!r} as {kind}")


def _enumerator(getter: str) -> tuple[str, int]:
    try:
        return ("bits", _native.torch_enumerator(getter))
    except ValueError as error:
        raise Inexpressible(str(error)) from error


def _python_route(
    op: OpOverload,
    schema: OpSchema,
    args: tuple[object, ...],
    kwargs: dict[str, object],
    tensor_id: TensorId,
) -> PythonRoute:
    slots: list[int] = []

    def number_slots(value: object) -> object:
        if isinstance(value, list | tuple):
            return [number_slots(item) for item in value]
        if _is_plain(value):
            return value
        slots.append(tensor_id(value))
        return _Operand(len(slots) - 1)

    positional = number_slots(args)
    named = {name: number_slots(value) for name, value in kwargs.items()}

    def call(capsules: list[object]) -> list[object]:
        tensors = from_capsules(capsules)
        arguments: Any = _fill(positional, tensors)
        results = op(*arguments, **{name: _fill(value, tensors) for name, value in named.items()})
        return _capsules(schema, results)

    return PythonRoute(call, slots)


@dataclass(frozen=True, slots=True)
class _Operand:
    index: int


_PLAIN = (type(None), int, float, complex, str, torch.dtype, torch.layout, torch.device)
_PLAIN += (torch.memory_format, torch.Generator)


def _is_plain(value: object) -> bool:
    return isinstance(value, _PLAIN)


def _fill(value: object, tensors: Sequence[torch.Tensor]) -> object:
    if isinstance(value, _Operand):
        return tensors[value.index]
    if isinstance(value, list):
        return [_fill(item, tensors) for item in value]
    return value


def _capsules(schema: OpSchema, results: Any) -> list[object]:
    """The tensors of a call's results as capsules, None for an undefined one."""
    flat: list[torch.Tensor | None] = []
    values = (results,) if len(schema.returns) == 1 else results or ()
    for returned, value in zip(schema.returns, values, strict=True):
        if returned.kind == "TensorType":
            flat.extend(value if returned.is_list else (value,))
    capsules = to_capsules([t for t in flat if t is not None])
    defined = iter(capsules)
    return [None if tensor is None else next(defined) for tensor in flat]


def _with_wrapped_numbers(tensor_id: TensorId) -> TensorId:
    def numbered(value: object) -> int:
        if not isinstance(value, int | float | complex):
            return tensor_id(value)
        if not _wrapped_numbers_work():
            raise Inexpressible("this torch does not give out wrapped numbers")
        if type(value) is int and not -(2**63) <= value < 2**63:
            raise Inexpressible(f"{value} does not fit 64 bits")
        # The text keeps apart what compares equal: True, 1 and 1.0, or 0.0 and -0.0.
        key = f"{type(value).__name__} {value!r}"
        return tensor_id(Constant(key, functools.partial(wrapped_number, value)))

    return numbered


def wrapped_number(value: complex) -> torch.Tensor:
    """The tensor that torch makes of a Python number: 0-d, and weak in type promotion.

    No constructor sets the mark that makes it weak, so the tensor is taken from where autograd
    keeps the factor of a product.
    """
    with _disable_current_modes(), torch.inference_mode(False), torch.enable_grad():
        dtype = torch.complex128 if isinstance(value, complex) else torch.float64
        leaf = torch.ones((), dtype=dtype, device="cpu", requires_grad=True)
        product: Any = leaf * value
        return product.grad_fn._saved_other


@functools.cache
def _wrapped_numbers_work() -> bool:
    number = wrapped_number(0.5)
    with _disable_current_modes():
        half = torch.ones((), dtype=torch.float16, device="cpu")
        return number.dtype == torch.float64 and (half + number).dtype == torch.float16
