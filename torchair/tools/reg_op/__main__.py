"""``python -m torchair.tools.reg_op``: CANN's operator prototypes to a registry and builders."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from torchair.errors import TorchairError
from torchair.tools.reg_op.builders import builders_text
from torchair.tools.reg_op.prototypes import read_headers
from torchair.tools.reg_op.registry_file import is_builtin, registry_text


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; returns 1 when a header is malformed or a file cannot be written."""
    parser = argparse.ArgumentParser(
        prog="python -m torchair.tools.reg_op",
        description="Reads REG_OP prototypes and writes a registry for torchair.ge.load_operators.",
    )
    parser.add_argument("headers", nargs="+", type=Path, metavar="HEADER")
    parser.add_argument(
        "-o", dest="registry", type=Path, metavar="REGISTRY.txt", help="default: standard output"
    )
    parser.add_argument(
        "--builders", type=Path, metavar="BUILDERS.py", help="also write Python builders; needs -o"
    )
    parser.add_argument(
        "--new", action="store_true", help="leave out operators that torchair knows by name"
    )
    options = parser.parse_args(arguments)
    if options.builders is not None and options.registry is None:
        parser.error("--builders needs -o: the builders load the registry file")
    try:
        _run(options.headers, options.registry, options.builders, only_new=options.new)
    except (TorchairError, OSError) as error:
        print(f"reg_op: {error}", file=sys.stderr)
        return 1
    return 0


def _run(
    headers: Sequence[Path], registry: Path | None, builders: Path | None, *, only_new: bool
) -> None:
    prototypes = read_headers(headers)
    known = [item for item in prototypes if is_builtin(item)]
    if only_new:
        prototypes = [item for item in prototypes if not is_builtin(item)]
    text = registry_text(prototypes)
    if registry is None:
        sys.stdout.write(text)
        return
    registry.write_text(text, encoding="utf-8")
    count = len({item.name for item in prototypes})
    seen = len({item.name for item in known})
    note = f"{seen} known ones left out" if only_new else f"{seen} of them known already"
    print(f"{registry}: {count} operators, {note}")
    if builders is not None:
        path = Path(os.path.relpath(registry.resolve(), builders.resolve().parent)).as_posix()
        builders.write_text(builders_text(prototypes, path), encoding="utf-8")
        print(f"{builders}: {count} builders")


if __name__ == "__main__":
    sys.exit(main())
