"""What a target allows in one captured or loaded graph."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from torchair.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Limits:
    """Resources of one device that one graph may take.

    The numbers of the NPUs are planning values below what drivers were seen to refuse (error
    207008 with about 2,000 streams on a device, shared by all its graphs); they are no promise of
    the hardware. The pool of the scheduler is far smaller in any case.

    Args:
        streams: streams of one graph.
        events: events of one graph.
        tasks: operations and event operations on one stream.
        aicores: largest ``stream.aicore``.
        vectorcores: largest ``stream.vectorcore``.
    """

    streams: int
    events: int
    tasks: int
    aicores: int
    vectorcores: int


LIMITS: Final[Mapping[str, Limits]] = {
    "host": Limits(streams=64, events=1_000_000, tasks=10_000_000, aicores=64, vectorcores=128),
    "ascend310p": Limits(streams=32, events=1_024, tasks=1_024_000, aicores=8, vectorcores=7),
    "ascend910b": Limits(streams=64, events=65_536, tasks=1_024_000, aicores=24, vectorcores=48),
    "ascend910_93": Limits(streams=64, events=65_536, tasks=1_024_000, aicores=24, vectorcores=48),
    "ascend950": Limits(streams=64, events=65_536, tasks=1_024_000, aicores=32, vectorcores=64),
}
"""Limits by target."""


def limits_of(target: str) -> Limits:
    """Limits of a target.

    Raises:
        ConfigError: an unknown target.
    """
    found = LIMITS.get(target)
    if found is None:
        close = difflib.get_close_matches(target, LIMITS, n=1)
        known = ", ".join(sorted(LIMITS))
        raise ConfigError(
            f"unknown target '{target}'",
            expected=known,
            hint=f"did you mean '{close[0]}'?" if close else "name one of the targets above",
        )
    return found
