"""A registered replacement: the patterns of what it looks for, and what takes its place, per kind
of arguments."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch._subclasses import FakeTensorMode
from xdsl.ir import Attribute, SSAValue

from torchair.errors import ConfigError, TorchairError
from torchair.frontend.fake_types import tensor_type
from torchair.frontend.replacement.match import ReplacementMatch, graph_of_match
from torchair.frontend.replacement.pattern import FunctionPattern, exact_pattern, loose_pattern
from torchair.frontend.replacement.sizes import TracedSizes, first_difference
from torchair.frontend.replacement.trace import (
    Clean,
    Parameters,
    Traced,
    TraceFn,
    name_of,
    trace,
)
from torchair.ir.graph_pattern import Match
from torchair.ir.private import set_type

if TYPE_CHECKING:  # importing it imports Inductor
    from torchair.frontend.replacement.ready import ReadyPattern

Check = Callable[[Any], bool]
_CACHED = 256
"""Kinds of arguments of which a replacement keeps its traces."""
_TRACE_ERRORS = (RuntimeError, TypeError, ValueError, IndexError, AssertionError, TorchairError)
"""What PyTorch raises where a function does not take tensors of some shape or dtype."""


def return_true(match: Any) -> bool:
    """The ``extra_check`` that accepts every match."""
    return True


@dataclass(frozen=True, slots=True)
class Specialised:
    """A replacement for arguments of certain types.

    Args:
        pattern: the exact pattern of the search function.
        sizes: symbols of the trace and of the graph.
        searched: the traced search function; None when its pattern was given.
        replacing: the traced replacement, with types in the symbols of the graph; or why it cannot
            be used.
        kept: numbers of the results that are used; all of them when None.
    """

    pattern: FunctionPattern
    sizes: TracedSizes
    searched: Traced | None
    replacing: Traced | str
    kept: tuple[int, ...] | None = None

    def results(self) -> list[SSAValue]:
        """What of the replacement takes the place of the pattern's outputs."""
        assert isinstance(self.replacing, Traced)
        found = list(self.replacing.results)
        return found if self.kept is None else [found[index] for index in self.kept]


@dataclass(eq=False)
class Replacement:
    """A registered pair of functions.

    Args:
        search_fn, replace_fn: what to look for, and what takes its place.
        parameters: those of the search function, with example values.
        trace_fn: traces both.
        extra_check: accepts or refuses a match.
        scalars: example numbers that may be any number at a match, by parameter.
        exclusive: names of arguments of which no two may be the same value.
        ready: the pattern, when it was given instead of made from the search function.
    """

    search_fn: Callable[..., Any]
    replace_fn: Callable[..., Any]
    parameters: Parameters
    trace_fn: TraceFn
    extra_check: Check
    scalars: Mapping[str, float | int]
    exclusive: frozenset[str] = frozenset()
    ready: ReadyPattern | None = None
    _loose: dict[Clean, FunctionPattern] = field(default_factory=dict[Clean, FunctionPattern])
    _specialised: dict[Any, Specialised | str] = field(default_factory=dict[Any, Specialised | str])

    @property
    def name(self) -> str:
        """Name in reports: the search function's."""
        return name_of(self.search_fn)

    def loose(self, clean: Clean) -> FunctionPattern:
        """The pattern that finds places in graphs that were prepared like this."""
        if self.ready is not None:
            return self.ready.pattern
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

    def accepts(
        self, found: Specialised, match: Match, scalars: Mapping[str, Any], source: str | None
    ) -> bool:
        """Ask the user's ``extra_check`` about a match."""
        if self.extra_check is return_true:
            return True
        if found.searched is not None:
            graph = found.searched.graph
        else:
            assert self.ready is not None
            graph = graph_of_match(found.pattern, match, found.sizes, self.ready.targets)
        placeholders = [node for node in graph.graph.nodes if node.op == "placeholder"]
        by_name = dict(zip(found.pattern.arguments, placeholders, strict=True))
        kwargs = self.parameters.bound(by_name, scalars)
        return bool(self.extra_check(ReplacementMatch(kwargs, graph, source)))

    def are_exclusive(self, match: Match) -> bool:
        """Whether no two of the exclusive arguments are the same value."""
        values = [match[name] for name in self.parameters.tensors(self.exclusive)]
        return len({id(value) for value in values}) == len(values)

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

    def require_fitting(self, clean: Clean) -> str:
        """What the search function computes, as text; both functions return the same for the
        example inputs.

        Raises:
            ConfigError: they do not.
        """
        replacing = self.example(self.replace_fn, clean)
        if self.ready is not None:
            difference = self.ready.number_difference(len(replacing.results))
        else:
            searched = self.example(self.search_fn, clean)
            difference = _difference(searched, replacing)
        if difference is not None:
            raise ConfigError(
                f"'{name_of(self.replace_fn)}' returns something else than '{self.name}' for the "
                f"example inputs",
                found=difference,
                hint="return as many tensors, of the same dtypes and shapes",
            )
        self.loose(clean)
        return self.ready.text if self.ready is not None else str(searched.module)

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
        if self.ready is not None:
            replacing = self._replacing(tensors, scalars, clean, sizes, None)
            return Specialised(self.ready.pattern, sizes, None, replacing, self.ready.kept)
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
        searched: Traced | None,
    ) -> Traced | str:
        try:
            traced = self._trace(self.replace_fn, tensors, scalars, clean, sizes.mode)
        except _TRACE_ERRORS as error:
            return f"replace_fn cannot be traced: {type(error).__name__}: {error}"
        if sizes.guard is not None:
            return f"replace_fn is another computation when not {sizes.guard}"
        difference = None if searched is None else _difference(searched, traced)
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
