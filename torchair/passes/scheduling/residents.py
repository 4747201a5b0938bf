"""Collectives that may be on the device at the same time: each keeps its cores until all its ranks
have come, so that together they must fit."""

from __future__ import annotations

from collections.abc import Iterator

from xdsl.ir import Operation

from torchair.dialects.stream.attributes import VECTORCORE, cores_of
from torchair.dialects.stream.order import StreamClocks
from torchair.passes.scheduling.tasks import is_collective


class Residents:
    """The collectives of each stream with the vector cores they are limited to.

    Args:
        clocks: of the walk over the schedule.
        vectorcores: what the device has.
    """

    def __init__(self, clocks: StreamClocks, vectorcores: int) -> None:
        self._clocks = clocks
        self._vectorcores = vectorcores
        self._issued: dict[int, list[tuple[int, Operation, int]]] = {}

    def rivals(self, op: Operation, stream: int) -> Iterator[tuple[Operation, int]]:
        """Earlier collectives that do not fit beside this one, with the cores both take; call it
        for every operation before it is issued."""
        cores = cores_of(op, VECTORCORE)
        if cores is None or not is_collective(op):
            return
        for other, issued in self._issued.items():
            for position, rival, taken in reversed(issued):
                if self._clocks.is_over(other, position, stream):
                    break
                if cores + taken > self._vectorcores:
                    yield rival, cores + taken
        position = self._clocks.issued[stream]
        self._issued.setdefault(stream, []).append((position, op, cores))
