"""Write torchair/dialects/aten/npu_table.txt from the schemas registered by a torch_npu library.

Usage: python scripts/generate_npu_table.py path/to/libtorch_npu.so [--check]

The library is read as a file: its registration strings are the schemas. torch_npu is not imported.
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

from torchair.dialects.aten.table import NPU_TABLE
from torchair.dialects.aten.torch_schema import parse_schema

_SCHEMA = re.compile(
    rb"(?P<text>(?:_?npu_|fast_gelu|scatter_update|attention_|ffn_|batch_norm_)[a-z0-9_]*"
    rb"(?:\.[A-Za-z_]+)?\([^\x00]*\) -> [^\x00]+)\x00"
)
_OUT_VARIANT = re.compile(r"\.out\(|\w_?out\(|Dimname")


def build_table(library: bytes) -> str:
    """One line per overload, sorted, in the namespace ``npu``."""
    lines: dict[str, str] = {}
    for match in _SCHEMA.finditer(library):
        text = "npu::" + match["text"].decode("ascii")
        if _OUT_VARIANT.search(text):
            continue
        parse_schema(text)
        lines.setdefault(text[: text.index("(")], text)
    header = "# Operator schemas of torch_npu 2.13; generated, do not edit."
    return "\n".join([header, *(lines[key] for key in sorted(lines))]) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("library", type=Path, help="libtorch_npu.so of an installed torch_npu")
    parser.add_argument("--check", action="store_true", help="compare instead of writing")
    args = parser.parse_args()
    text = build_table(args.library.read_bytes())
    if args.check:
        return 0 if NPU_TABLE.read_text(encoding="utf-8") == text else 1
    NPU_TABLE.write_text(text, encoding="utf-8")
    print(f"{NPU_TABLE}: {text.count(chr(10)) - 1} overloads")
    return 0


if __name__ == "__main__":
    sys.exit(main())
