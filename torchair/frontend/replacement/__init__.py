"""``register_replacement``: fusions written as two functions, matched on the aten IR.

The signature is Inductor's. What is registered is applied to every graph compiled afterwards, in
every mode, before our own fusions; ``CompileReport.replacements`` says how often.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from torchair.errors import ConfigError
from torchair.frontend.replacement.joint import JointReplacement, is_joint
from torchair.frontend.replacement.registry import by_pattern, joint_by_function
from torchair.frontend.replacement.rule import Check, Replacement, return_true
from torchair.frontend.replacement.trace import Clean, Parameters, TraceFn, fwd_only, name_of

if TYPE_CHECKING:  # importing it imports Inductor
    from torchair.frontend.replacement.ready import ReadyPattern


def register_replacement(
    search_fn: Callable[..., Any],
    replace_fn: Callable[..., Any],
    example_inputs: Sequence[Any],
    trace_fn: TraceFn = fwd_only,
    extra_check: Check = return_true,
    search_fn_pattern: Any = None,
    scalar_workaround: Mapping[str, float | int] | None = None,
    skip_duplicates: bool = False,
    exclusive_arg_names: Sequence[str] = (),
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
            Inductor's ``joint_fwd_bwd`` looks for the function and its gradient in training graphs,
            before they are divided into forward and backward, and nowhere else.
        extra_check: called for each match with an object that has Inductor's ``kwargs``, ``args``,
            ``nodes`` and ``output_node()``; values are in ``meta["val"]``.
        search_fn_pattern: the pattern in Inductor's pattern classes; without it the pattern is made
            from ``search_fn``, of which only the parameters count otherwise. It is matched as it
            is, in graphs after ``canonicalize``, ``cse`` and ``dce``; a number that it names by
            ``KeywordArg`` may be any number.
        scalar_workaround: numbers by parameter name that may be any number at a match. Each must
            be unlike all other numbers that ``search_fn`` uses.
        skip_duplicates: keep the earlier one when an equal pattern is registered, instead of
            raising.
        exclusive_arg_names: parameters of which no two may be the same value at a match.

    Returns:
        Whether it was registered. The same ``search_fn`` again replaces the earlier registration.

    Raises:
        ConfigError: the functions cannot be traced, do not fit each other, or are a duplicate.
    """
    scalars = dict(scalar_workaround or {})
    parameters = _parameters(search_fn, example_inputs, scalars)
    exclusive = _exclusive(search_fn, parameters, exclusive_arg_names)
    function = f"{search_fn.__module__}.{getattr(search_fn, '__qualname__', name_of(search_fn))}"
    if is_joint(trace_fn):
        joint = JointReplacement(
            search_fn,
            replace_fn,
            tuple(example_inputs),
            extra_check,
            scalars,
            tuple(exclusive_arg_names),
            search_fn_pattern,
            skip_duplicates,
        )
        return _add_joint(function, joint)
    ready = None
    if search_fn_pattern is not None:
        ready = _ready(search_fn_pattern, parameters, name_of(search_fn), scalars)
        scalars, exclusive = dict(ready.scalars), exclusive | ready.exclusive
    added = Replacement(
        search_fn, replace_fn, parameters, trace_fn, extra_check, scalars, exclusive, ready
    )
    text = f"{scalars} {added.require_fitting(Clean())}"
    return _add(function, text, added, skip_duplicates)


def _add(function: str, text: str, added: Replacement, skip_duplicates: bool) -> bool:
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


def _add_joint(function: str, added: JointReplacement) -> bool:
    others = [joint for name, joint in joint_by_function.items() if name != function]
    if not added.require_fitting(others):
        return False
    joint_by_function[function] = added
    return True


def _ready(
    expression: Any, parameters: Parameters, name: str, scalars: Mapping[str, Any]
) -> ReadyPattern:

    from torchair.frontend.replacement.ready import ready_pattern

    found = ready_pattern(expression, parameters, name)
    missing = [scalar for scalar in scalars if scalar not in found.scalars]
    if missing:
        raise ConfigError(
            f"scalar_workaround of '{name}': search_fn_pattern has no KeywordArg of this name",
            found=", ".join(missing),
        )
    return found


def _exclusive(
    search_fn: Callable[..., Any], parameters: Parameters, names: Sequence[str]
) -> frozenset[str]:
    unknown = [name for name in names if name not in parameters.names]
    if unknown:
        raise ConfigError(
            f"exclusive_arg_names does not fit '{name_of(search_fn)}'",
            expected=f"parameters: {', '.join(parameters.names)}",
            found=", ".join(unknown),
        )
    return frozenset(names)


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
