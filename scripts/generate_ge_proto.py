"""Compile torchair/backend_ge/proto/ge_ir.proto into the two checked-in artefacts beside it.

Usage: python scripts/generate_ge_proto.py

Writes ``descriptor_data.py`` (the serialized descriptor, loaded at run time) and ``__init__.pyi``
(the types). Needs grpcio-tools, which only developers have.
"""

from __future__ import annotations

import base64
import subprocess
import sys
import tempfile
import textwrap
from pathlib import Path

from google.protobuf import descriptor_pb2

PACKAGE = Path(__file__).resolve().parent.parent / "torchair" / "backend_ge" / "proto"
STUB_HEADER = '''\
# pyright: basic
# ruff: noqa
# fmt: off
"""Types of the GE protobuf classes. Written by scripts/generate_ge_proto.py from ge_ir.proto."""

'''
DATA_HEADER = '''\
"""The serialized descriptor of ge_ir.proto. Written by scripts/generate_ge_proto.py."""

from __future__ import annotations

from typing import Final

BASE64: Final = """\\
'''


def compile_proto(directory: Path) -> tuple[bytes, str]:
    """Run protoc on ge_ir.proto: the serialized FileDescriptorProto and the type stub."""
    command = [sys.executable, "-m", "grpc_tools.protoc", f"-I{PACKAGE}", f"--pyi_out={directory}"]
    command += [f"--descriptor_set_out={directory / 'set.bin'}", "ge_ir.proto"]
    subprocess.run(command, check=True)
    files = descriptor_pb2.FileDescriptorSet.FromString((directory / "set.bin").read_bytes()).file
    serialized = files[0].SerializeToString(deterministic=True)
    return serialized, (directory / "ge_ir_pb2.pyi").read_text("utf-8")


def data_module(serialized: bytes) -> str:
    lines = textwrap.wrap(base64.b64encode(serialized).decode("ascii"), 96)
    return DATA_HEADER + "\n".join(lines) + '\n"""\n'


def main() -> None:
    with tempfile.TemporaryDirectory() as directory:
        serialized, stub = compile_proto(Path(directory))
    (PACKAGE / "descriptor_data.py").write_text(data_module(serialized), "utf-8")
    (PACKAGE / "__init__.pyi").write_text(STUB_HEADER + stub, "utf-8")


if __name__ == "__main__":
    main()
