"""``register_replacement``: fusions written as two functions, matched on the aten IR.

The signature is Inductor's. What is registered is applied to every graph compiled afterwards, in
every mode, before our own fusions; ``CompileReport.replacements`` says how often.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch._subclasses import FakeTensorMode
from xdsl.ir import Attribute, SSAValue

from torchair.errors import ConfigError, TorchairError
from torchair.frontend.fake_types import tensor_type
from torchair.frontend.replacement_match import ReplacementMatch
from torchair.frontend.replacement_pattern import FunctionPattern, exact_pattern, loose_pattern
from torchair.frontend.replacement_registry import by_pattern
from torchair.frontend.replacement_sizes import TracedSizes, first_difference
from torchair.frontend.replacement_trace import (
    Clean,
    Parameters,
    Traced,
    TraceFn,
    fwd_only,
    name_of,
    trace,
)
from torchair.ir.private import set_type

Check = Callable[[Any], bool]
_CACHED = 256
"""Kinds of arguments of which a replacement keeps its traces."""
_TRACE_ERRORS = (RuntimeError, TypeError, ValueError, IndexError, AssertionError, TorchairError)
"""What PyTorch raises where a function does not take tensors of some shape or dtype."""


def _return_true(match: Any) -> bool:
    return True


@dataclass(frozen=True, slots=True)
class Specialised:
    """A replacement for arguments of certain types.

    Args:
        pattern: the exact pattern of the search function.
        sizes: symbols of the trace and of the graph.
        searched: the traced search function.
        replacing: the traced replacement, with types in the symbols of the graph; or why it cannot
            be used.
    """

    pattern: FunctionPattern
    sizes: TracedSizes
    searched: Traced
    replacing: Traced | str


@dataclass(eq=False)
class Replacement:
    """A registered pair of functions.

    Args:
        search_fn, replace_fn: what to look for, and what takes its place.
        parameters: those of the search function, with example values.
        trace_fn: traces both.
        extra_check: accepts or refuses a match.
        scalars: example numbers that may be any number at a match, by parameter.
    """

    search_fn: Callable[..., Any]
    replace_fn: Callable[..., Any]
    parameters: Parameters
    trace_fn: TraceFn
    extra_check: Check
    scalars: Mapping[str, float | int]
    _loose: dict[Clean, FunctionPattern] = field(default_factory=dict[Clean, FunctionPattern])
    _specialised: dict[Any, Specialised | str] = field(default_factory=dict[Any, Specialised | str])

    @property
    def name(self) -> str:
        """Name in reports: the search function's."""
        return name_of(self.search_fn)

    def loose(self, clean: Clean) -> FunctionPattern:
        """The pattern that finds places in graphs that were prepared like this."""
        found = self._loose.get(clean)
        if found is None:
            traced = self.example(self.search_fn, clean)
            names = list(self.parameters.tensors())
            found = loose_pattern(traced, names, self.scalars, self.name)
            self._loose[clean] = found
        return found

    def specialised(
        self, clean: Clean, types: Sequence[Attribute], scalars: Mapping[str, Any]
    ) -> Specialised | str:
        """The replacement for arguments of these types and these numbers, or why there is none."""
        numbers = tuple((name, type(value), value) for name, value in scalars.items())
        key = (clean, tuple(types), numbers)
        found = self._specialised.get(key)
        if found is None:
            if len(self._specialised) >= _CACHED:
                self._specialised.clear()
            found = self._specialised[key] = self._specialise(clean, types, scalars)
        return found

    def accepts(self, found: Specialised, scalars: Mapping[str, Any], source: str | None) -> bool:
        """Ask the user's ``extra_check`` about a match."""
        if self.extra_check is _return_true:
            return True
        placeholders = [n for n in found.searched.graph.graph.nodes if n.op == "placeholder"]
        by_name = dict(zip(found.pattern.arguments, placeholders, strict=True))
        kwargs = self.parameters.bound(by_name, scalars)
        return bool(self.extra_check(ReplacementMatch(kwargs, found.searched.graph, source)))

    def example(self, fn: Callable[..., Any], clean: Clean) -> Traced:
        """A function traced with the example inputs.

        Raises:
            ConfigError: it cannot be.
        """
        mode = FakeTensorMode()
        tensors: dict[str, torch.Tensor] = {}
        for name, value in self.parameters.tensors().items():
            with mode:
                tensors[name] = torch.empty_strided(
                    value.size(), value.stride(), dtype=value.dtype, device=value.device
                )
        try:
            return self._trace(fn, tensors, self.scalars, clean, mode)
        except ConfigError:
            raise
        except _TRACE_ERRORS as error:
            shown = ", ".join(f"{k}: {tensor_type(v)}" for k, v in tensors.items())
            raise ConfigError(
                f"'{name_of(fn)}' cannot be traced with the example inputs",
                found=f"{type(error).__name__}: {error}",
                hint=f"call it with tensors of these types: {shown}",
            ) from error

    def require_fitting(self, clean: Clean) -> Traced:
        """The traced search function; both functions return the same for the example inputs.

        Raises:
            ConfigError: they do not.
        """
        searched = self.example(self.search_fn, clean)
        replacing = self.example(self.replace_fn, clean)
        difference = _difference(searched, replacing)
        if difference is not None:
            raise ConfigError(
                f"'{name_of(self.replace_fn)}' returns something else than '{self.name}' for the "
                f"example inputs",
                found=difference,
                hint="return as many tensors, of the same dtypes and shapes",
            )
        return searched

    def _specialise(
        self, clean: Clean, types: Sequence[Attribute], scalars: Mapping[str, Any]
    ) -> Specialised | str:
        sizes = TracedSizes()
        tensors: dict[str, torch.Tensor] = {}
        for (name, like), type_ in zip(self.parameters.tensors().items(), types, strict=True):
            tensor = sizes.tensor(type_, like)
            if tensor is None:
                return f"argument '{name}' has a size that nothing is known of: {type_}"
            tensors[name] = tensor
        try:
            searched = self._trace(self.search_fn, tensors, scalars, clean, sizes.mode)
        except _TRACE_ERRORS as error:
            return f"search_fn does not take ({_listed(types)}): {error}"
        if sizes.guard is not None:
            return f"search_fn is another computation when not {sizes.guard}"
        pattern = exact_pattern(searched, list(tensors), sizes, self.name)
        replacing = self._replacing(tensors, scalars, clean, sizes, searched)
        return Specialised(pattern, sizes, searched, replacing)

    def _replacing(
        self,
        tensors: Mapping[str, torch.Tensor],
        scalars: Mapping[str, Any],
        clean: Clean,
        sizes: TracedSizes,
        searched: Traced,
    ) -> Traced | str:
        try:
            traced = self._trace(self.replace_fn, tensors, scalars, clean, sizes.mode)
        except _TRACE_ERRORS as error:
            return f"replace_fn cannot be traced: {type(error).__name__}: {error}"
        if sizes.guard is not None:
            return f"replace_fn is another computation when not {sizes.guard}"
        difference = _difference(searched, traced)
        if difference is not None:
            return f"replace_fn returns something else: {difference}"
        for op in traced.function.body.block.ops:
            for result in op.results:
                set_type(result, sizes.original_type(result.type))
        return traced

    def _trace(
        self,
        fn: Callable[..., Any],
        tensors: Mapping[str, torch.Tensor],
        scalars: Mapping[str, Any],
        clean: Clean,
        mode: Any,
    ) -> Traced:
        return trace(self.trace_fn, fn, self.parameters, tensors, scalars, clean, mode)


def _difference(searched: Traced, replacing: Traced) -> str | None:
    """How what two functions return differs in number or types; None when it does not."""
    wanted: list[SSAValue] = list(searched.results)
    found: list[SSAValue] = list(replacing.results)
    if len(wanted) != len(found):
        return f"{len(found)} results instead of {len(wanted)}"
    return first_difference([v.type for v in wanted], [v.type for v in found])


def _listed(types: Sequence[Attribute]) -> str:
    return ", ".join(str(type_) for type_ in types)


def register_replacement(
    search_fn: Callable[..., Any],
    replace_fn: Callable[..., Any],
    example_inputs: Sequence[Any],
    trace_fn: TraceFn = fwd_only,
    extra_check: Check = _return_true,
    search_fn_pattern: Any = None,
    scalar_workaround: Mapping[str, float | int] | None = None,
    skip_duplicates: bool = False,
) -> bool:
    """Replace what one function computes by another, in every graph compiled from now on.

    Both functions are traced like a model, with the decompositions of the mode. A place matches
    when the same calls with the same arguments are there (dtypes, dimensions and numbers are those
    that ``search_fn`` has for the tensors at that place), all on one stream, and nothing but the
    results is used elsewhere. Sizes, symbolic ones too, may be others than in the example.

    Args:
        search_fn: what to look for: a function of tensors, returning one or several tensors. A
            result may also be used inside of the pattern.
        replace_fn: what takes its place: same parameters, same results. It may call operators of
            ``torch.library`` that have a converter.
        example_inputs: one value per parameter that ``scalar_workaround`` does not name: tensors
            (only their types count), lists of tensors, or numbers, which stand for themselves.
        trace_fn: ``(function, arguments) -> GraphModule``; ours, or Inductor's ``fwd_only``.
        extra_check: called for each match with an object that has Inductor's ``kwargs``, ``args``,
            ``nodes`` and ``output_node()``; values are in ``meta["val"]``.
        search_fn_pattern: must be None; the pattern is made from ``search_fn``.
        scalar_workaround: numbers by parameter name that may be any number at a match. Each must
            be unlike all other numbers that ``search_fn`` uses.
        skip_duplicates: keep the earlier one when an equal pattern is registered, instead of
            raising.

    Returns:
        Whether it was registered. The same ``search_fn`` again replaces the earlier registration.

    Raises:
        ConfigError: the functions cannot be traced, do not fit each other, or are a duplicate.
    """
    _require_supported(trace_fn, search_fn_pattern)
    scalars = dict(scalar_workaround or {})
    parameters = _parameters(search_fn, example_inputs, scalars)
    added = Replacement(search_fn, replace_fn, parameters, trace_fn, extra_check, scalars)
    clean = Clean()
    searched = added.require_fitting(clean)
    added.loose(clean)
    text = f"{scalars} {searched.module}"
    function = f"{search_fn.__module__}.{getattr(search_fn, '__qualname__', added.name)}"
    for (other, known), earlier in by_pattern.items():
        if known != text or other == function:
            continue
        if skip_duplicates:
            return False
        raise ConfigError(
            f"'{added.name}' is the same pattern as '{earlier.name}', which is registered",
            expected="one replacement for a pattern",
            found=f"{other} and {function}",
            hint="skip_duplicates=True keeps the earlier one",
        )
    by_pattern[function, text] = added
    return True


def _parameters(
    search_fn: Callable[..., Any], example_inputs: Sequence[Any], scalars: Mapping[str, Any]
) -> Parameters:
    names = tuple(inspect.signature(search_fn).parameters)
    unknown = [name for name in scalars if name not in names]
    if unknown or len(names) - len(scalars) != len(example_inputs):
        raise ConfigError(
            f"example_inputs and scalar_workaround do not fit '{name_of(search_fn)}'",
            expected=f"values for the parameters {', '.join(names)}",
            found=f"{len(example_inputs)} example inputs, scalars {', '.join(scalars) or 'none'}",
        )
    inputs = iter(example_inputs)
    values = [scalars[name] if name in scalars else next(inputs) for name in names]
    return Parameters(names, tuple(values))


def _require_supported(trace_fn: TraceFn, search_fn_pattern: Any) -> None:
    if search_fn_pattern is not None:
        raise ConfigError(
            "search_fn_pattern is made of Inductor's pattern classes, which are not used here",
            found=type(search_fn_pattern).__name__,
            hint="leave it out: the pattern is made from search_fn",
        )
    if getattr(trace_fn, "__name__", "") == "joint_fwd_bwd":
        raise ConfigError(
            "a pattern over forward and backward together never matches: they are compiled apart",
            expected="trace_fn = fwd_only",
            found="joint_fwd_bwd",
            hint="write a torch.autograd.Function, or a custom operator with register_autograd, "
            "in the model for training; fwd_only for inference",
        )
