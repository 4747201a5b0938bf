"""Brings expectations.toml up to date with a sweep: stale entries go, new failures are drafted.

Crashes and timeouts are never drafted: they must not happen."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from conformance.expectations import (
    ALLOWED,
    FILE,
    Expectation,
    load_expectations,
    load_floors,
)
from conformance.harness import Outcome
from conformance.samples import DTYPES, MODES
from conformance.summary import counted

_Place = tuple[str, str]  # dtype, mode


def update(outcomes: list[Outcome], path: Path = FILE) -> tuple[int, int]:
    """Rewrite the list of known failures.

    Entries that still hold keep their reason, without the operators that pass now. A drafted reason
    is the cause that the failures name; give it a better one by hand.

    Returns:
        (entries kept, entries drafted).
    """
    failing = [o for o in counted(outcomes) if o.status in ALLOWED]
    ran = {o.op for o in outcomes}
    kept = [e for e in (_still(e, failing, ran) for e in load_expectations(path)) if e is not None]
    known = [o for o in failing if any(e.status == o.status and e.covers(o.group) for e in kept)]
    new = draft([o for o in failing if o not in set(known)])
    path.write_text(as_toml([*kept, *new], load_floors(path)), encoding="utf-8")
    return len(kept), len(new)


def _still(entry: Expectation, failing: list[Outcome], ran: set[str]) -> Expectation | None:
    """The entry without names that ran and do not fail; None when nothing is left."""
    hit = {o.op for o in failing if o.status == entry.status and entry.covers(o.group)}
    names = tuple(n for n in entry.ops if n in hit or (n not in ran and "*" not in n))
    patterns = tuple(
        n
        for n in entry.ops
        if "*" in n
        and any(
            replace(entry, ops=(n,)).covers(o.group) for o in failing if o.status == entry.status
        )
    )
    ops = tuple(n for n in entry.ops if n in {*names, *patterns})
    return replace(entry, ops=ops) if ops else None


def draft(failing: Iterable[Outcome]) -> list[Expectation]:
    """One entry per reason, status, dtypes and modes."""
    places: defaultdict[tuple[str, str], set[_Place]] = defaultdict(set)
    causes: defaultdict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    for outcome in failing:
        key = outcome.op, outcome.status
        places[key].add((outcome.dtype, outcome.mode))
        causes[key].update(outcome.cause.split("; "))
    merged: defaultdict[tuple[str, str, tuple[str, ...], tuple[str, ...]], list[str]]
    merged = defaultdict(list)
    for (op, status), where in places.items():
        reason = reason_of(causes[op, status].most_common(1)[0][0])
        for dtypes, modes in _rectangles(where):
            merged[status, reason, dtypes, modes].append(op)
    return [Expectation(tuple(ops), s, r, d, m) for (s, r, d, m), ops in sorted(merged.items())]


def _rectangles(where: set[_Place]) -> list[tuple[tuple[str, ...], tuple[str, ...]]]:
    """The dtypes by the set of modes they fail in."""
    modes = {d: tuple(m for m in MODES if (d, m) in where) for d in DTYPES}
    return [
        (tuple(d for d in DTYPES if modes[d] == some), some)
        for some in sorted({m for m in modes.values() if m})
    ]


def reason_of(cause: str) -> str:
    """What an outcome's cause says, as a sentence."""
    cause = re.sub(r" \(expected .*", "", cause).strip()
    if re.fullmatch(r"[\w.]+", cause):
        return f"{cause} has no converter and no decomposition"
    return cause.replace("`", "'")


def as_toml(entries: Iterable[Expectation], floors: Mapping[str, float] | None = None) -> str:
    """The text of the list."""
    blocks = [
        "# Known failures of the conformance sweep, each with its reason. Strict in both ways:\n"
        "# `make conformance` fails on one that is not here and on an entry without a failure.\n"
        "# Brought up to date by `python test/conformance --update build/conformance.jsonl`.\n"
    ]
    if floors:
        shares = [f"{name} = {share}" for name, share in floors.items()]
        comment = "# Least share of passing samples, in percent."
        blocks.append("\n".join([comment, "[floors]", *shares]) + "\n")
    for entry in entries:
        lines = ["[[expect]]", f"ops = {_strings(entry.ops)}", f'status = "{entry.status}"']
        if entry.dtypes != tuple(DTYPES):
            lines.append(f"dtypes = {_strings(entry.dtypes)}")
        if entry.modes != MODES:
            lines.append(f"modes = {_strings(entry.modes)}")
        lines.append(f"reason = {_string(entry.reason)}")
        blocks.append("\n".join(lines) + "\n")
    return "\n".join(blocks)


def _strings(values: Iterable[str]) -> str:
    return "[" + ", ".join(map(_string, values)) + "]"


def _string(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
