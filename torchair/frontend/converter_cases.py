"""Runs declared calls of operators through torch.compile on the host device and compares with
eager."""

from __future__ import annotations

import importlib
import math
import operator
import zlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch._dynamo.exc import Unsupported, UserError

from torchair._ge_concrete_graph.supported_declaration import Support, _TypedTensor
from torchair.errors import TorchairError, UnsupportedOpError
from torchair.frontend.dynamo import NpuBackend
from torchair.frontend.npu_operators import define_operators
from torchair.frontend.user_converters import registered_converters

Status = Literal["passed", "failed", "skipped"]

_LINE_LENGTH = 400
_INTEGER_RANGES = ((-5, 6), (1, 5), (0, 2))
"""Ranges of random integers, tried until eager accepts the call (indices must be in range)."""


@dataclass(frozen=True)
class CaseResult:
    """Outcome of one case.

    Args:
        target: the operator, e.g. ``aten.add.Tensor``.
        case: the call.
        status: ``skipped`` when eager has no such operator, or it or dynamo refuses the call.
        reason: why it failed or was skipped, one line.
    """

    target: str
    case: str
    status: Status
    reason: str = ""


@dataclass(frozen=True)
class Case:
    """One declared call."""

    target: str
    support: Support


def declared_cases(prefix: str = "") -> list[Case]:
    """Cases of registered converters whose operator's name starts with the prefix."""
    return [
        Case(_full_name(name), support)
        for name, converter in sorted(registered_converters().items())
        for support in converter.supported_cases
        if _full_name(name).startswith(prefix)
    ]


def _full_name(mnemonic: str) -> str:
    return (
        mnemonic
        if mnemonic.count(".") > 1 or mnemonic.startswith("sym.")
        else f"{mnemonic}.default"
    )


def find_target(name: str) -> Callable[..., Any] | None:
    """The torch operator or Python function of a name, None when this torch has none."""
    define_operators()
    root, *path = name.split(".")
    modules = {"math": math, "operator": operator, "torch": torch, "sym": operator}
    found: Any = modules.get(root) or getattr(torch.ops, root)
    for part in path:
        try:
            found = getattr(found, part)
        except AttributeError:
            return None
    return found if callable(found) else None


def run_cases(
    cases: Iterable[Case], *, dynamic: bool = False, largest: int | None = None
) -> Iterable[CaseResult]:
    """Outcomes of cases, one by one.

    Args:
        cases: what to run.
        dynamic: whether sizes are symbolic.
        largest: cases with a tensor of more elements are skipped.
    """
    for case in cases:
        elements = _largest(case.support)
        if largest is not None and elements > largest:
            reason = f"a tensor of {elements} elements is above the limit"
            yield CaseResult(case.target, repr(case.support), "skipped", reason)
        else:
            yield run_case(case, dynamic=dynamic)


def _largest(support: Support) -> int:
    leaves = _leaves([*support.args, *support.kwargs.values()])
    return max((math.prod(v.dims) for v in leaves if isinstance(v, _TypedTensor)), default=0)


def run_case(case: Case, *, dynamic: bool = False) -> CaseResult:
    """Run one case compiled and in eager.

    Args:
        case: operator and arguments.
        dynamic: whether sizes are symbolic (numbers stay what they are).
    """
    text = repr(case.support)
    target = find_target(case.target)
    if target is None:
        return CaseResult(case.target, text, "skipped", "this torch has no such operator")
    try:
        arguments, wanted = _run_eager(target, case)
    except Exception as error:
        return CaseResult(case.target, text, "skipped", f"eager refuses: {_line(error)}")
    if not any(torch.is_tensor(v) for v in _leaves([wanted, arguments])):
        return CaseResult(case.target, text, "skipped", "no tensors: torch.compile folds the call")
    given = _copied(arguments)
    torch._dynamo.reset()
    try:
        compiled = torch.compile(
            target_function(target), backend=NpuBackend(), fullgraph=True, dynamic=dynamic
        )
        with torch._dynamo.config.patch(specialize_int=True, specialize_float=True):
            found = (compiled(*given[0], **given[1]), given)
        _compare(found, wanted, exact_values=not _is_random(target, case.target))
    except (UserError, Unsupported) as error:
        return CaseResult(case.target, text, "skipped", f"dynamo refuses: {_line(error)}")
    except Exception as error:
        return CaseResult(case.target, text, "failed", _line(error))
    return CaseResult(case.target, text, "passed")


def target_function(target: Callable[..., Any]) -> Callable[..., Any]:
    """A Python function around an operator, for torch.compile."""

    def call(*args: Any, **kwargs: Any) -> Any:
        return target(*args, **kwargs)

    return call


def _run_eager(target: Callable[..., Any], case: Case) -> tuple[Any, Any]:
    """Arguments that eager accepts; its result with the arguments as they are afterwards.

    Raises:
        Exception: what eager raised last.
    """
    refused: Exception | None = None
    for span in _INTEGER_RANGES:
        torch.manual_seed(zlib.crc32(repr(case).encode()))
        arguments = (
            [_materialised(v, span) for v in case.support.args],
            {k: _materialised(v, span) for k, v in case.support.kwargs.items()},
        )
        given = _copied(arguments)
        try:
            return arguments, (target(*given[0], **given[1]), given)
        except Exception as error:
            refused = error
    assert refused is not None
    raise refused


def _materialised(value: Any, span: tuple[int, int]) -> Any:
    if isinstance(value, _TypedTensor):
        return make_tensor(value, span)
    if isinstance(value, list | tuple):
        return type(value)(_materialised(item, span) for item in value)
    return "cpu" if value in ("npu", "npu:0") else value


def make_tensor(spec: _TypedTensor, span: tuple[int, int] = (-5, 6)) -> torch.Tensor:
    """A tensor argument with its values, or random ones.

    Args:
        spec: the declaration.
        span: range of integers without a declared range, high excluded.
    """
    dtype = spec.dtype
    if spec.value is not None:
        return torch.as_tensor(spec.value).to(dtype)
    if dtype is torch.bool:
        return torch.randint(0, 2, spec.dims).to(dtype)
    if dtype.is_floating_point or dtype.is_complex:
        if spec.value_range is None:
            return torch.randn(spec.dims, dtype=torch.complex64 if dtype.is_complex else None).to(
                dtype
            )
        low, high = spec.value_range
        return (torch.rand(spec.dims) * (high - low) + low).to(dtype)
    low, high = (
        spec.value_range or (max(span[0], 0), span[1])
        if dtype is torch.uint8
        else (spec.value_range or span)
    )
    return torch.randint(int(low), int(high), spec.dims).to(dtype)


def _copied(value: Any) -> Any:
    if torch.is_tensor(value):
        return value.clone()
    if isinstance(value, list | tuple):
        return type(value)(_copied(item) for item in value)
    return {k: _copied(v) for k, v in value.items()} if isinstance(value, dict) else value


def _leaves(value: Any) -> list[Any]:
    if isinstance(value, dict):
        value = list(value.values())
    return (
        [leaf for item in value for leaf in _leaves(item)]
        if isinstance(value, list | tuple)
        else [value]
    )


def _is_random(target: Any, name: str) -> bool:
    tags = getattr(target, "tags", ())
    return torch.Tag.nondeterministic_seeded in tags or "empty" in name


def _compare(found: Any, wanted: Any, exact_values: bool) -> None:
    """Equal structure, shapes and dtypes, and close values.

    Raises:
        AssertionError: they differ.
    """
    results, references = _leaves(found), _leaves(wanted)
    if len(results) != len(references):
        raise AssertionError(f"{len(results)} results, eager has {len(references)}")
    for result, reference in zip(results, references, strict=True):
        if not torch.is_tensor(reference):
            _check(
                result == reference or (result != result and reference != reference),
                result,
                reference,
            )
            continue
        _check(torch.is_tensor(result), type(result), "a tensor")
        _check(result.dtype == reference.dtype, result.dtype, reference.dtype)
        _check(result.shape == reference.shape, tuple(result.shape), tuple(reference.shape))
        if exact_values:
            torch.testing.assert_close(result, reference, equal_nan=True)


def _check(is_right: bool, found: object, wanted: object) -> None:
    if not is_right:
        raise AssertionError(f"found {found}, eager has {wanted}")


def _line(error: Exception) -> str:
    """One line about an error: the innermost torchair error when there is one."""
    inner: BaseException | None = error
    while inner is not None and not isinstance(inner, TorchairError):
        inner = inner.__cause__ or getattr(inner, "inner_exception", None)
    shown = inner if inner is not None else error
    lines = [part.strip() for part in str(shown).splitlines() if part.strip()]
    if isinstance(shown, UnsupportedOpError):
        lines = lines[:2]  # the rest is types, places and stubs
    return f"{type(shown).__name__}: {' '.join(lines)[:_LINE_LENGTH]}"


def import_modules(names: Sequence[str]) -> None:
    """Import the modules that register converters."""
    for name in names:
        importlib.import_module(name)
