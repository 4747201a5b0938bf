"""Where registered replacements stand among the passes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from xdsl.passes import ModulePass

from torchair.config import CAPTURE_MODES, Snapshot
from torchair.frontend.replacement.registry import (
    is_any_registered,
    registered_replacements,
)
from torchair.passes import ALL_PASSES, pipelines

if TYPE_CHECKING:
    from torchair.frontend.replacement.report import ReplacementStatistics


Decompositions = Mapping[Any, Callable[..., Any]]
_custom_decompositions: ContextVar[Decompositions | None] = ContextVar(
    "custom_decompositions", default=None
)


@contextmanager
def traced_with(decompositions: Decompositions) -> Iterator[None]:
    """Trace replacements with these decompositions too: those of the graph they are looked for in.

    Args:
        decompositions: the ``custom_decompositions`` of a backend.
    """
    token = _custom_decompositions.set(decompositions)
    try:
        yield
    finally:
        _custom_decompositions.reset(token)


def with_replacements(passes: Sequence[ModulePass]) -> list[ModulePass]:
    """The passes with that of the registered replacements, if any, after the first ``dce``."""
    if not is_any_registered():
        return list(passes)
    from torchair.frontend.replacement.apply_replacements import ApplyReplacementsPass

    early = (*pipelines.SCOPE, *pipelines.SHAPE, *pipelines.CLEAN)
    names = [item.name for item in passes]
    later = next((i for i, name in enumerate(names) if name not in early), len(names))
    place = names.index("dce") + 1 if "dce" in names[:later] else later
    return [*passes[:place], ApplyReplacementsPass(registered_replacements()), *passes[place:]]


def prepared_alike(passes: Sequence[ModulePass], config: Snapshot) -> list[ModulePass]:
    """The same passes; that of the replacements knows which of ours run before it."""
    replacing = _replacing(passes)
    if replacing is None:
        return list(passes)
    from torchair.frontend.replacement.trace import Clean

    before = passes[: passes.index(replacing)]
    known = [p for p in before if p.name in ALL_PASSES and p.name not in pipelines.SCOPE]
    custom = tuple((_custom_decompositions.get() or {}).items())
    clean = Clean(tuple(known), config.mode not in CAPTURE_MODES, custom)
    return [replace(p, clean=clean) if p is replacing else p for p in passes]


def statistics_of(passes: Sequence[ModulePass]) -> list[ReplacementStatistics]:
    """What the registered replacements did when these passes ran."""
    replacing = _replacing(passes)
    return [] if replacing is None else list(replacing.statistics)


def _replacing(passes: Sequence[ModulePass]):
    if not is_any_registered():
        return None
    from torchair.frontend.replacement.apply_replacements import ApplyReplacementsPass

    return next((item for item in passes if isinstance(item, ApplyReplacementsPass)), None)
