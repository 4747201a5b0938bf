"""Command line of the sweep.

    python test/conformance                               all of op_db, the default limits
    python test/conformance --ops add,mul --dtypes float32 --mode static --limit 0
    python test/conformance --summary build/conformance.jsonl

One or a few operators print their failures in full.
"""

from __future__ import annotations

import argparse
import fnmatch
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

from conformance.drafting import update
from conformance.expectations import breaches, load_expectations, load_floors, shortfalls
from conformance.harness import PASS, SKIP, Outcome
from conformance.samples import DTYPES, MODES, Group, groups, operators
from conformance.summary import counted, read_results, summarize
from conformance.sweep import Plan, prepare_process, run_group, sweep

ROOT = Path(__file__).resolve().parents[2]
TOLERANCE = 0.001
"""Share of samples that may differ unexpectedly in a whole sweep: processors differ."""
DETAILED = 12
"""Failures are printed in full up to this many operators."""


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="conformance", description=__doc__)
    parser.add_argument("--ops", help="names or patterns, comma separated (default: all)")
    parser.add_argument("--dtypes", default=",".join(DTYPES))
    parser.add_argument("--mode", choices=[*MODES, "both"], default="both")
    parser.add_argument("--limit", type=int, default=Plan.limit, help="samples per group; 0 is all")
    parser.add_argument(
        "--dynamic-limit", type=int, help="of dynamic shapes (default: half of --limit)"
    )
    parser.add_argument(
        "--inplace-limit", type=int, default=Plan.inplace_limit, help="of in-place methods"
    )
    parser.add_argument(
        "--dynamo", type=int, default=1, help="samples per group through torch.compile; -1 is all"
    )
    parser.add_argument(
        "--seconds", type=float, default=Plan.seconds, help="CPU time limit of one sample"
    )
    parser.add_argument("-j", "--processes", type=int, default=1)
    parser.add_argument("--shard", default="0/1", help="part I/N of the operators")
    parser.add_argument("--results", type=Path, default=ROOT / "build" / "conformance.jsonl")
    parser.add_argument("--summary", type=Path, help="print the tables of a result file, and stop")
    parser.add_argument(
        "--rerun", action="store_true", help="only the groups that failed in --results; merge"
    )
    parser.add_argument("--update", type=Path, help="rewrite expectations.toml from a result file")
    parser.add_argument("--strict", action="store_true", help="fail on anything unexpected")
    return parser.parse_args()


def chosen_groups(options: argparse.Namespace) -> list[Group]:
    names = list(operators())
    if options.ops:
        patterns = options.ops.split(",")
        names = [n for n in names if any(fnmatch.fnmatchcase(n, p) for p in patterns)]
        if not names:
            sys.exit(f"error: op_db has no operator {options.ops}. Try: --ops 'nn.functional.*'")
    part, parts = map(int, options.shard.split("/"))
    modes = MODES if options.mode == "both" else (options.mode,)
    return groups(names[part::parts], options.dtypes.split(","), modes)


def main() -> int:
    options = parse()
    if options.summary is not None:
        print(summarize(read_results(options.summary), shown=1000))
        return 0
    if options.update is not None:
        kept, drafted = update(read_results(options.update))
        print(f"expectations.toml: {kept} entries kept, {drafted} drafted: check their reasons")
        return 0
    dynamic = options.dynamic_limit
    plan = Plan(
        limit=options.limit or None,
        dynamic_limit=(options.limit + 1) // 2 or None if dynamic is None else dynamic or None,
        inplace_limit=options.inplace_limit,
        dynamo=None if options.dynamo < 0 else options.dynamo,
        seconds=options.seconds,
        processes=options.processes,
    )
    todo, earlier = chosen_groups(options), list[Outcome]()
    if options.rerun:
        todo, earlier = failed_groups(todo, read_results(options.results))
    start = time.monotonic()
    outcomes = [*earlier, *run(todo, earlier, plan, options.results)]
    print(summarize(outcomes))
    print(f"{time.monotonic() - start:.0f} s, results in {options.results}")
    if not options.strict:
        return 0
    is_whole = options.ops is None
    found = breaches(outcomes, load_expectations(), TOLERANCE if is_whole else 0.0)
    if is_whole:
        found += shortfalls(outcomes, load_floors())
    print("\n".join(found))
    return 1 if found else 0


def failed_groups(todo: list[Group], before: list[Outcome]) -> tuple[list[Group], list[Outcome]]:
    """The groups with a failure, and the outcomes of all others."""
    failed = {o.group for o in counted(before) if o.status != PASS}
    todo = [group for group in todo if group in failed]
    again = set(todo)
    return todo, [o for o in before if o.group not in again]


def run(todo: list[Group], earlier: list[Outcome], plan: Plan, results: Path) -> list[Outcome]:
    """Run groups and write all outcomes; the file is replaced when everything has run."""
    results.parent.mkdir(parents=True, exist_ok=True)
    growing = results.with_suffix(".part")
    detailed = len({g.op for g in todo}) <= DETAILED
    with growing.open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(outcome.as_record()) + "\n" for outcome in earlier)

        def observe(outcome: Outcome) -> None:
            file.write(json.dumps(outcome.as_record()) + "\n")
            file.flush()
            if detailed and outcome.status not in (PASS, SKIP):
                print_failure(outcome)

        here = detailed and plan.processes == 1
        outcomes = run_here(todo, plan, observe) if here else sweep(todo, plan, observe)
    growing.replace(results)
    return outcomes


def run_here(todo: list[Group], plan: Plan, observe: Callable[[Outcome], None]) -> list[Outcome]:
    """Without worker processes, so that a debugger works."""
    prepare_process()
    outcomes: list[Outcome] = []
    for group in todo:
        for sample in run_group(group, plan):
            outcomes.append(sample())
            observe(outcomes[-1])
    return outcomes


def print_failure(outcome: Outcome) -> None:
    print(f"{outcome.group} sample {outcome.index} ({outcome.path}): {outcome.status}")
    text = outcome.detail or outcome.cause
    print("    " + text.replace("\n", "\n    "))
    if outcome.ops:
        print("    graph: " + ", ".join(outcome.ops))
