"""Write torchair/dialects/aten/table.txt from the installed torch's schema registry.

Usage: python scripts/generate_aten_table.py [--check]
"""

from __future__ import annotations

import argparse
import sys

import torch

from torchair.dialects.aten.table import NAMESPACES, TABLE

_TAGS = ("core", "pointwise", "nondeterministic_seeded", "data_dependent_output", "inplace_view")


def build_table() -> str:
    """One line per overload, sorted: ``schema @tag,tag``."""
    lines: dict[str, str] = {}
    for schema in torch._C._jit_get_all_schemas():
        namespace, _, name = schema.name.partition("::")
        if namespace not in NAMESPACES or namespace in ("npu", "npu_define"):
            continue
        line = str(schema).replace("\n", " ")
        tags = _tags_of(namespace, name, schema.overload_name)
        qualified = line[: line.index("(")]
        lines.setdefault(qualified, f"{line} @{','.join(tags)}" if tags else line)
    header = (
        f"# Operator schemas of torch {torch.__version__.split('+')[0]}; generated, do not edit."
    )
    return "\n".join([header, *(lines[key] for key in sorted(lines))]) + "\n"


def _tags_of(namespace: str, name: str, overload: str) -> list[str]:
    packet = getattr(getattr(torch.ops, namespace), name, None)
    op = getattr(packet, overload or "default", None)
    if not isinstance(op, torch._ops.OpOverload):
        return []
    names = {tag.name for tag in op.tags}
    return [tag for tag in _TAGS if tag in names] + (["view"] if op.is_view else [])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="compare instead of writing")
    args = parser.parse_args()
    text = build_table()
    if args.check:
        return 0 if TABLE.read_text(encoding="utf-8") == text else 1
    TABLE.write_text(text, encoding="utf-8")
    print(f"{TABLE}: {text.count(chr(10)) - 1} overloads")
    return 0


if __name__ == "__main__":
    sys.exit(main())
