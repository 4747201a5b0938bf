"""Replacements of a function and its gradient together, in training graphs.

AOT autograd traces forward and backward as one graph and divides it afterwards. Between the two,
Inductor's own matcher looks for the patterns that were registered with ``joint_fwd_bwd``; what it
leaves goes to the partitioner. Patterns and replacements are traced with the decompositions of the
graph, once per table.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch._functorch.partitioners import default_partition
from torch._guards import tracing
from torch._subclasses import FakeTensorMode
from torch.fx import GraphModule
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import _disable_current_modes

from torchair.config import Snapshot
from torchair.errors import ConfigError
from torchair.frontend.decompositions import default_decompositions
from torchair.frontend.replacement.registry import joint_by_function
from torchair.frontend.replacement.report import ClosestMiss, ReplacementStatistics
from torchair.frontend.replacement.trace import Table, name_of
from torchair.frontend.report import CompileReport
from torchair.frontend.whole_operators import whole_operators

_PASS = "apply-replacements"
_TRACE_ERRORS = (RuntimeError, TypeError, ValueError, AssertionError, AttributeError)


def is_joint(trace_fn: Callable[..., Any]) -> bool:
    """Whether a tracer is Inductor's for training."""
    module = getattr(trace_fn, "__module__", "")
    return getattr(trace_fn, "__name__", "") == "joint_fwd_bwd" and module.startswith("torch.")


@dataclass(eq=False, frozen=True)
class JointReplacement:
    """What ``register_replacement`` was called with."""

    search_fn: Callable[..., Any]
    replace_fn: Callable[..., Any]
    example_inputs: tuple[Any, ...]
    extra_check: Callable[[Any], bool]
    scalars: Mapping[str, float | int]
    exclusive_arg_names: tuple[str, ...]
    search_fn_pattern: Any
    skip_duplicates: bool
    _passes: dict[Any, Any] = field(default_factory=dict[Any, Any])

    def patterns(self, table: Table) -> Any:
        """The pass of Inductor's matcher for graphs of some decompositions."""
        key = tuple(table.items())
        if key not in self._passes:
            self._passes[key] = _pass()
            self.add_to(self._passes[key], table)
        return self._passes[key]

    def require_fitting(self, others: Sequence[JointReplacement]) -> bool:
        """Whether the pattern is a new one; both functions can be traced.

        Args:
            others: what is registered already.

        Raises:
            ConfigError: they cannot be traced, do not return the same, or the pattern is known.
        """
        leaves = pytree.tree_leaves(self.example_inputs)
        if not any(isinstance(x, torch.Tensor) and x.requires_grad for x in leaves):
            raise ConfigError(
                f"'{name_of(self.search_fn)}' has no gradient to look for",
                expected="example inputs with requires_grad=True",
                hint="trace_fn=fwd_only looks for the function alone",
            )
        table = default_decompositions()
        self._require_alike(table)
        patterns = _pass()
        for other in others:
            other.add_to(patterns, table)
        return self.add_to(patterns, table)

    def _require_alike(self, table: Table) -> None:
        """Refuse functions of which one returns something else, or has other gradients."""
        from torch._inductor.pattern_matcher import joint_fwd_bwd

        found: list[list[Any]] = []
        for function in (self.search_fn, self.replace_fn):
            try:
                with _tracing() as mode:
                    values = [*_examples(self.example_inputs, mode), *self.scalars.values()]
                    graph = joint_fwd_bwd(function, values, get_decomp_fn=lambda: dict(table))
            except _TRACE_ERRORS as error:
                raise ConfigError(
                    f"'{name_of(function)}' cannot be traced with its gradient",
                    found=f"{type(error).__name__}: {error}",
                    hint="register_autograd gives a custom operator its gradient",
                ) from error
            found.append(_results(graph))
        if found[0] != found[1]:
            raise ConfigError(
                f"'{name_of(self.replace_fn)}' returns something else than "
                f"'{name_of(self.search_fn)}', or has other gradients",
                expected=str(found[0]),
                found=str(found[1]),
            )

    def add_to(self, patterns: Any, table: Table) -> bool:
        """Register with a pass of Inductor's matcher.

        Args:
            patterns: the pass.
            table: decompositions of the graphs it will see.

        Returns:
            False for a pattern that the pass has, with ``skip_duplicates``.
        """
        from torch._inductor.pattern_matcher import joint_fwd_bwd, register_replacement

        try:
            with _tracing() as mode, torch.enable_grad():
                return bool(
                    register_replacement(
                        self.search_fn,
                        self.replace_fn,
                        _examples(self.example_inputs, mode),
                        joint_fwd_bwd,
                        patterns,
                        extra_check=self.extra_check,
                        scalar_workaround=dict(self.scalars),
                        exclusive_arg_names=self.exclusive_arg_names,
                        search_fn_pattern=self.search_fn_pattern,
                        skip_duplicates=self.skip_duplicates,
                        get_decomp_fn=lambda: dict(table),
                    )
                )
        except _TRACE_ERRORS as error:
            raise ConfigError(
                f"'{name_of(self.search_fn)}' cannot be registered with its gradient",
                found=f"{type(error).__name__}: {error}",
            ) from error


def _count(patterns: Any) -> int:
    """How many calls the patterns of a pass have."""
    from torchair.frontend.replacement.ready import patterns_below

    entries = [entry for found in patterns.patterns.values() for entry in found]
    below = {id(node): node for entry in entries for node in patterns_below(entry.pattern)}
    return sum(hasattr(node, "fns_set") for node in below.values())


def _pass() -> Any:
    from torch._inductor.pattern_matcher import PatternMatcherPass

    return PatternMatcherPass(pass_name="torchair_joint_replacements")


class _tracing:
    """Functions are traced on their own, with fake tensors, as models are."""

    def __enter__(self) -> FakeTensorMode:
        self.contexts = (_disable_current_modes(), tracing(None), whole_operators())
        for context in self.contexts:
            context.__enter__()
        mode = FakeTensorMode()
        mode.__enter__()
        self.mode = mode
        return mode

    def __exit__(self, *error: Any) -> None:
        for context in (self.mode, *reversed(self.contexts)):
            context.__exit__(*error)


def _examples(values: Sequence[Any], mode: FakeTensorMode) -> list[Any]:
    return pytree.tree_map(
        lambda x: mode.from_tensor(x) if isinstance(x, torch.Tensor) else x, list(values)
    )


def _results(graph: GraphModule) -> list[Any]:
    output = next(node for node in graph.graph.nodes if node.op == "output")
    values = [node.meta.get("val") if node is not None else None for node in output.args[0]]
    return [None if v is None else (v.dtype, tuple(v.shape)) for v in values]


@dataclass
class JointRewriting:
    """Applies the joint replacements to the training graphs of one backend.

    Args:
        table: decompositions of its graphs.
        is_on: whether it does.

    Attributes:
        statistics: of the last graph.
    """

    table: dict[Any, Callable[..., Any]]
    is_on: bool = True
    statistics: list[ReplacementStatistics] = field(default_factory=list[ReplacementStatistics])

    def partition(self, joint: GraphModule, inputs: Any, **options: Any) -> Any:
        """``partition_fn`` of AOT autograd: replace, then divide."""
        self.statistics.clear()
        if self.is_on and joint_by_function:
            for replacement in joint_by_function.values():
                self._apply(replacement, joint)
        return default_partition(joint, inputs, **options)

    def _apply(self, replacement: JointReplacement, joint: GraphModule) -> None:
        from torch._inductor.pattern_matcher import stable_topological_sort

        patterns = replacement.patterns(self.table)
        calls = _count(patterns)
        matches = patterns.apply(joint.graph)
        missed = ClosestMiss(0, calls, "no part of the training graph has all of its calls")
        found = ReplacementStatistics(name_of(replacement.search_fn), calls, matches)
        found.explain = lambda: missed
        self.statistics.append(found)
        if matches:
            stable_topological_sort(joint.graph)
            joint.graph.lint()
            joint.recompile()

    def report_to(self, reports: Sequence[CompileReport]) -> None:
        """Add what was replaced to the report of the forward graph, which was compiled last."""
        forward = [report for report in reports if report.name.endswith("_forward")]
        if self.statistics and forward:
            forward[-1].replacements += self.statistics


def joint_rewriting(config: Snapshot, table: dict[Any, Callable[..., Any]]) -> JointRewriting:
    """The rewriting of one compile; off where the pass ``apply-replacements`` is.

    Args:
        config: frozen options.
        table: decompositions of the graphs.
    """
    is_on = config.numerics != "eager" and _PASS not in config.passes.drop
    return JointRewriting(table, is_on)
