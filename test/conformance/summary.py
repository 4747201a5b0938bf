"""Tables over the outcomes of a sweep."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path

from conformance.harness import PASS, SKIP, STATUSES, UNCAPTURABLE, Outcome


def read_results(path: Path) -> list[Outcome]:
    """The outcomes of a result file."""
    with path.open(encoding="utf-8") as file:
        records = [json.loads(line) for line in file]
    return [Outcome(**{**r, "ops": tuple(r.get("ops", ()))}) for r in records]


def counted(outcomes: Iterable[Outcome]) -> list[Outcome]:
    """Those that count: eager runs the call and PyTorch can capture it."""
    return [o for o in outcomes if o.status not in (SKIP, UNCAPTURABLE)]


def rate(outcomes: Iterable[Outcome]) -> tuple[int, int]:
    """(passed, counted)."""
    relevant = counted(outcomes)
    return sum(o.status == PASS for o in relevant), len(relevant)


def summarize(outcomes: list[Outcome], shown: int = 40) -> str:
    """Rates by dtype and mode, and what fails most."""
    lines = ["status: " + ", ".join(f"{s} {n}" for s, n in _statuses(outcomes))]
    lines += _rates("mode", outcomes, lambda o: o.mode)
    lines += _rates("dtype", outcomes, lambda o: o.dtype)
    lines += _rates("path", outcomes, lambda o: o.path)
    lines.append(f"{'all':12} " + _percent(outcomes))
    lines += ranking(outcomes)[:shown]
    return "\n".join(lines)


def ranking(outcomes: list[Outcome]) -> list[str]:
    """Causes of failures, most frequent first, with the operators they hit."""
    causes: Counter[tuple[str, str]] = Counter()
    operators: defaultdict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    for outcome in counted(outcomes):
        if outcome.status == PASS:
            continue
        for cause in outcome.cause.split("; "):
            key = (outcome.status, cause)
            causes[key] += 1
            operators[key][outcome.op] += 1
    lines: list[str] = []
    for key, count in causes.most_common():
        hit = operators[key]
        names = ", ".join(name for name, _ in hit.most_common(6))
        more = f" and {len(hit) - 6} more" if len(hit) > 6 else ""
        lines.append(f"{count:6} {key[0]:12} {key[1][:150]}   [{names}{more}]")
    return lines


def _statuses(outcomes: list[Outcome]) -> list[tuple[str, int]]:
    count = Counter(o.status for o in outcomes)
    return [(s, count[s]) for s in STATUSES if count[s]]


def _rates(title: str, outcomes: list[Outcome], key: Callable[[Outcome], str]) -> list[str]:
    parts: defaultdict[str, list[Outcome]] = defaultdict(list)
    for outcome in outcomes:
        parts[key(outcome)].append(outcome)
    return [f"{name:12} {_percent(part)}" for name, part in sorted(parts.items())]


def _percent(outcomes: list[Outcome]) -> str:
    passed, total = rate(outcomes)
    return f"{passed:6} of {total:6}  {100 * passed / max(1, total):6.2f} %"
