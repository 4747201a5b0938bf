"""Files a compile leaves when asked: the IR of every stage, the GE graph as text and as a
picture."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from xdsl.dialects.builtin import ModuleOp

from torchair.ir.text import print_module


class StageDump:
    """Writes ``<path>/<graph>/<NN>-<stage>.mlir`` for every stage of one compile.

    Args:
        path: directory; nothing is written when None.
        graph: name of the graph, the sub-directory.
    """

    def __init__(self, path: str | None, graph: str) -> None:
        self.folder = None if path is None else Path(path) / graph
        self.files: list[Path] = []

    def module(self, stage: str, module: ModuleOp) -> None:
        """Write a stage's module."""
        if self.folder is not None:
            self.text(f"{len(self.files):02d}-{stage}.mlir", print_module(module))

    def text(self, name: str, content: str) -> None:
        """Write one file atomically."""
        if self.folder is not None:
            self.files.append(write_text(self.folder / name, content))


def write_text(path: Path, content: str) -> Path:
    """Write a file so that readers see the old or the new content, never a part."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    return path
