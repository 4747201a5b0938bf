"""The failures that are known, each with its reason: strict in both directions."""

from __future__ import annotations

import fnmatch
import tomllib
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from conformance.harness import MISMATCH, PASS, SKIP, UNCAPTURABLE, UNSUPPORTED, Outcome
from conformance.samples import DTYPES, MODES, Group
from conformance.summary import rate

ALLOWED = (MISMATCH, UNSUPPORTED)
"""What may be expected: a crash or a timeout may not."""

FILE = Path(__file__).with_name("expectations.toml")


@dataclass(frozen=True)
class Expectation:
    """Some samples of these groups end with this status.

    Args:
        ops: OpInfo names or patterns.
        status: ``mismatch`` or ``unsupported``.
        reason: why, for the reader of docs/operators.md.
        dtypes: dtypes it holds for.
        modes: shape modes it holds for.
    """

    ops: tuple[str, ...]
    status: str
    reason: str
    dtypes: tuple[str, ...] = tuple(DTYPES)
    modes: tuple[str, ...] = MODES

    def covers(self, group: Group) -> bool:
        """Whether it speaks of a group."""
        return (
            group.dtype in self.dtypes
            and group.mode in self.modes
            and any(fnmatch.fnmatchcase(group.op, p) for p in self.ops)
        )


def load_expectations(path: Path = FILE) -> list[Expectation]:
    """Read and check the list.

    Raises:
        ValueError: an entry has an unknown key, status, dtype or mode, or no reason.
    """
    entries = tomllib.loads(path.read_text(encoding="utf-8")).get("expect", [])
    return [_expectation(entry) for entry in entries]


def _expectation(entry: dict[str, object]) -> Expectation:
    fields = {k: tuple(v) if isinstance(v, list) else v for k, v in entry.items()}
    found = Expectation(**fields)  # pyright: ignore[reportArgumentType]
    if not found.reason.strip():
        raise ValueError(f"no reason for {found.ops}")
    wrong = [d for d in found.dtypes if d not in DTYPES]
    wrong += [m for m in found.modes if m not in MODES]
    wrong += [] if found.status in ALLOWED else [found.status]
    if wrong or not found.ops:
        raise ValueError(f"expectation {found.ops} has wrong values: {wrong}")
    return found


def load_floors(path: Path = FILE) -> dict[str, float]:
    """The least share of passing samples by dtype (``all`` for all of them), in percent.

    Raises:
        ValueError: an unknown dtype.
    """
    floors: dict[str, float] = tomllib.loads(path.read_text(encoding="utf-8")).get("floors", {})
    unknown = [name for name in floors if name not in (*DTYPES, "all")]
    if unknown:
        raise ValueError(f"floors of unknown dtypes: {unknown}")
    return floors


def shortfalls(outcomes: list[Outcome], floors: dict[str, float]) -> list[str]:
    """The dtypes of which too few samples pass."""
    lines: list[str] = []
    for name, floor in floors.items():
        passed, total = rate(o for o in outcomes if name in (o.dtype, "all"))
        if total and 100 * passed < floor * total:
            share = 100 * passed / total
            lines.append(f"below the floor: {name} {share:.2f} %, at least {floor} % must pass")
    return lines


def breaches(
    outcomes: list[Outcome], expectations: list[Expectation], tolerance: float = 0.0
) -> list[str]:
    """Failures that no entry expects, and entries without a failure among the groups that ran.

    An entry is only called stale when all of one operator's groups that it speaks of passed.

    Args:
        outcomes: of the samples that ran.
        expectations: the list.
        tolerance: the share of samples that may differ unexpectedly, and with it, whether entries
            of mismatches may be stale: the last digits of a kernel depend on the processor.
    """
    lines: list[str] = []
    differing: list[str] = []
    seen: defaultdict[tuple[int, str], int] = defaultdict(int)
    for outcome in outcomes:
        entries = [i for i, e in enumerate(expectations) if e.covers(outcome.group)]
        for i in entries:
            seen[i, outcome.op] += outcome.status == expectations[i].status
        if outcome.status in (PASS, SKIP, UNCAPTURABLE):
            continue
        if not any(expectations[i].status == outcome.status for i in entries):
            place = differing if outcome.status == MISMATCH else lines
            place.append(
                f"unexpected: {outcome.group} sample {outcome.index}: {outcome.status}: "
                f"{outcome.cause}"
            )
    for (i, op), failures in seen.items():
        entry = expectations[i]
        if failures == 0 and not (tolerance and entry.status == MISMATCH):
            lines.append(f"stale: {op} has no '{entry.status}' any more: {entry.reason}")
    return lines if len(differing) <= tolerance * len(outcomes) else lines + differing
