"""``python -m torchair.tools.converter_test``: run declared calls of converters against eager.

    python -m torchair.tools.converter_test [prefix] [--import my.converters] [--cases cases.json]

Runs each ``Support`` case of the registered converters whose operator starts with the prefix
(``my.scale``), or the cases of a JSON file: ``{"aten.add.Tensor": ["Support(F32(2, 2), 1.5)"]}``.
"""

from __future__ import annotations

import argparse
import importlib
import json
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

from torchair.errors import ArtifactError
from torchair.tools.case_text import parse_case


def read_cases(path: Path, prefix: str = "") -> list[tuple[str, Any]]:
    """Operator names and ``Support`` objects of a file of cases.

    Raises:
        ArtifactError: the file is not what it says.
    """
    try:
        content: object = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ArtifactError(f"{path} cannot be read as JSON", found=str(error)) from error
    if not isinstance(content, dict):
        raise ArtifactError(
            f"{path} holds no cases", expected='{"aten.add.Tensor": ["Support(...)"]}'
        )
    found: list[tuple[str, Any]] = []
    for target, texts in cast("dict[str, Any]", content).items():
        if not isinstance(texts, list):
            raise ArtifactError(
                f"{path}: the cases of {target} are no list", found=repr(texts)[:80]
            )
        if target.startswith(prefix):
            found += [(target, parse_case(str(text))) for text in cast("list[Any]", texts)]
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; returns 1 when a case failed."""
    parser = argparse.ArgumentParser(
        prog="python -m torchair.tools.converter_test", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("prefix", nargs="?", default="", help="start of operator names, e.g. my.")
    parser.add_argument("--import", dest="modules", action="append", default=[], metavar="MODULE")
    parser.add_argument("--cases", type=Path, help="JSON file of cases instead of declared ones")
    parser.add_argument("--dynamic", action="store_true", help="compile with symbolic sizes")
    parser.add_argument("--largest", type=int, metavar="N", help="skip cases with larger tensors")
    parser.add_argument("--verbose", action="store_true", help="show passed and skipped cases too")
    options = parser.parse_args(arguments)
    runner = importlib.import_module("torchair.frontend.converter_cases")
    try:
        runner.import_modules(options.modules)
        if options.cases is None:
            cases = runner.declared_cases(options.prefix)
        else:
            pairs = read_cases(options.cases, options.prefix)
            cases = [runner.Case(target, support) for target, support in pairs]
    except (ArtifactError, ImportError) as error:
        print(f"converter_test: {type(error).__name__}: {error}", file=sys.stderr)
        return 2
    counts: Counter[str] = Counter()
    for result in runner.run_cases(cases, dynamic=options.dynamic, largest=options.largest):
        counts[result.status] += 1
        if options.verbose or result.status == "failed":
            print(f"{result.status:8}{result.target} {result.case}  {result.reason}", flush=True)
    print(f"{counts['passed']} passed, {counts['failed']} failed, {counts['skipped']} skipped")
    return int(counts["failed"] > 0)


if __name__ == "__main__":
    sys.exit(main())
