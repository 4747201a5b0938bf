"""Runs a pipeline: verification after every pass, timing of every pass, optional IR dumps."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.passes import ModulePass

from torchair.errors import VerifyError
from torchair.ir.verify import verify_module
from torchair.passes.rewrite_pass import RewritePass

Observer = Callable[[str, ModuleOp], None]
"""Called with the stage name and the module after each pass."""


@dataclass(frozen=True, slots=True)
class StageTime:
    """CPU time of one stage.

    Args:
        name: pass or stage name.
        seconds: process CPU seconds, verification included.
    """

    name: str
    seconds: float


def run_passes(
    context: Context,
    module: ModuleOp,
    passes: Sequence[ModulePass],
    *,
    verify: bool = True,
    observer: Observer | None = None,
) -> list[StageTime]:
    """Apply passes in order.

    With ``verify`` the module is verified after the first pass and after every one that changed it
    (a pass that is no ``RewritePass`` is taken to have done so).

    Raises:
        VerifyError: naming the pass that left the module malformed.
    """
    times: list[StageTime] = []
    for item in passes:
        start = time.process_time()
        changed = True
        if isinstance(item, RewritePass):
            changed = item.rewrite(module)
        else:
            item.apply(context, module)
        if verify and (changed or not times):
            _verify_after(item, module)
        times.append(StageTime(item.name, time.process_time() - start))
        if observer is not None:
            observer(item.name, module)
    return times


def _verify_after(item: ModulePass, module: ModuleOp) -> None:
    try:
        verify_module(module)
    except VerifyError as error:
        raise VerifyError(
            f"pass '{item.name}' left the module malformed: {error.what}",
            op=error.op,
            loc=error.loc,
            hint=f"run torchair-opt -p {item.name} on the dump of the stage before it",
        ) from error
