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
from pathlib import Path

from conformance.drafting import update
from conformance.expectations import breaches, load_expectations
from conformance.harness import PASS, SKIP, Outcome
from conformance.samples import DTYPES, MODES, Group, groups, operators
from conformance.summary import read_results, summarize
from conformance.sweep import Plan, prepare_process, run_group, sweep

ROOT = Path(__file__).resolve().parents[2]
DETAILED = 12
"""Failures are printed in full up to this many operators."""


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="conformance", description=__doc__)
    parser.add_argument("--ops", help="names or patterns, comma separated (default: all)")
    parser.add_argument("--dtypes", default=",".join(DTYPES))
    parser.add_argument("--mode", choices=[*MODES, "both"], default="both")
    parser.add_argument("--limit", type=int, default=8, help="samples per group; 0 is all")
    parser.add_argument("--inplace-limit", type=int, default=2, help="samples per in-place group")
    parser.add_argument(
        "--dynamo", type=int, default=1, help="samples per group through torch.compile; -1 is all"
    )
    parser.add_argument("--seconds", type=float, default=30.0, help="time limit of one sample")
    parser.add_argument("-j", "--processes", type=int, default=1)
    parser.add_argument("--shard", default="0/1", help="part I/N of the operators")
    parser.add_argument("--results", type=Path, default=ROOT / "build" / "conformance.jsonl")
    parser.add_argument("--summary", type=Path, help="print the tables of a result file, and stop")
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
    plan = Plan(
        limit=options.limit or None,
        inplace_limit=options.inplace_limit,
        dynamo=None if options.dynamo < 0 else options.dynamo,
        seconds=options.seconds,
        processes=options.processes,
    )
    todo = chosen_groups(options)
    options.results.parent.mkdir(parents=True, exist_ok=True)
    start = time.monotonic()
    detailed = len({g.op for g in todo}) <= DETAILED
    with options.results.open("w", encoding="utf-8") as file:

        def observe(outcome: Outcome) -> None:
            file.write(json.dumps(outcome.as_record()) + "\n")
            file.flush()
            if detailed and outcome.status not in (PASS, SKIP):
                print_failure(outcome)

        if detailed and options.processes == 1:
            outcomes = run_here(todo, plan, observe)
        else:
            outcomes = sweep(todo, plan, observe)
    print(summarize(outcomes))
    print(f"{time.monotonic() - start:.0f} s, results in {options.results}")
    if not options.strict:
        return 0
    found = breaches(outcomes, load_expectations())
    print("\n".join(found))
    return 1 if found else 0


def run_here(todo: list[Group], plan: Plan, observe: object) -> list[Outcome]:
    """Without worker processes, so that a debugger works."""
    prepare_process()
    outcomes: list[Outcome] = []
    for group in todo:
        for run in run_group(group, plan):
            outcomes.append(run())
            if callable(observe):
                observe(outcomes[-1])
    return outcomes


def print_failure(outcome: Outcome) -> None:
    print(f"{outcome.group} sample {outcome.index} ({outcome.path}): {outcome.status}")
    text = outcome.detail or outcome.cause
    print("    " + text.replace("\n", "\n    "))
    if outcome.ops:
        print("    graph: " + ", ".join(outcome.ops))
