"""``torchair-opt``: xDSL's optimizer driver with this project's dialects, passes and file formats.

Differences from ``xdsl-opt``: ``canonicalize``, ``cse`` and ``dce`` are ours, the verifier checks
dominance, errors are messages without a Python traceback, GE graph files are read and written, and
nothing scans entry points or imports torch.
"""

from __future__ import annotations

import difflib
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import IO, ClassVar

from xdsl.context import Context
from xdsl.dialects import get_all_dialects
from xdsl.dialects.builtin import ModuleOp
from xdsl.passes import ModulePass, PassPipeline
from xdsl.targets import get_all_targets
from xdsl.targets.mlir import MLIRTarget
from xdsl.transforms import get_all_passes
from xdsl.utils.arg_spec import parse_pipeline
from xdsl.utils.exceptions import (
    ArgSpecParseError,
    DiagnosticException,
    ParseError,
    PassFailedException,
)
from xdsl.utils.target import Target
from xdsl.xdsl_opt_main import xDSLOptMain

from torchair.errors import ArtifactError, ConfigError, TorchairError
from torchair.ir.lazy import LazyContext
from torchair.ir.text import CachedParser, CachedPrinter
from torchair.ir.verify import verify_module
from torchair.passes import ALL_PASSES
from torchair.tools.context import get_dialects, register_own_dialects

GRAPH_SUFFIXES = ("pb", "air", "pbtxt", "txt")
"""Formats of GE graph files: binary protobuf and protobuf text."""


class TorchairOptMain(xDSLOptMain):
    """The optimizer driver; ``main`` is its console script."""

    version_format: ClassVar[str] = "torchair-opt on xDSL {xdsl_version}"

    def __init__(self, args: Sequence[str] | None = None) -> None:
        super().__init__("Runs torchair's passes over textual IR and GE graph files.", args)

    def register_all_dialects(self) -> None:
        context = LazyContext()
        own = get_dialects()
        for name, factory in get_all_dialects().items():
            if name not in own:
                context.register_dialect(name, factory)
        register_own_dialects(context)
        self.ctx = context

    def register_all_passes(self) -> None:
        self.available_passes = {**get_all_passes(), **ALL_PASSES}

    def register_all_targets(self) -> None:
        self.available_targets = {
            **get_all_targets(),
            "mlir": lambda: TextTarget,
            "ge-pbtxt": lambda: GePbtxtTarget,
        }

    def register_all_frontends(self) -> None:
        self.available_frontends["mlir"] = self._parse_text
        for suffix in GRAPH_SUFFIXES:
            self.available_frontends[suffix] = self._read_graph

    def _parse_text(self, stream: IO[bytes]) -> ModuleOp:
        name = self.get_input_name()
        try:
            text = stream.read().decode("utf-8")
        except UnicodeDecodeError as error:
            raise ArtifactError(
                f"{name} is not text: {error}",
                hint="name the format of a GE graph file with its suffix or -f pb",
            ) from error
        return CachedParser(self.ctx, text, name).parse_module(not self.args.no_implicit_module)

    def _read_graph(self, stream: IO[bytes]) -> ModuleOp:
        from torchair.backend_ge.graph_text import read_graph_file
        from torchair.backend_ge.load import load

        path = self.args.input_file
        if path is None or self.args.split_input_file:
            raise ConfigError(
                "a GE graph is read from a whole file", hint="name the file, without splitting it"
            )
        return load(read_graph_file(path), path, allow_unknown=self.ctx.allow_unregistered)

    def prepare_input(self) -> tuple[list[tuple[IO[bytes], int]], str]:
        try:
            return super().prepare_input()
        except ValueError as error:
            formats = ", ".join(self.available_frontends)
            raise ConfigError(str(error), hint=f"name the format with -f: {formats}") from error

    def parse_chunk(
        self, chunk: IO[bytes], file_extension: str, start_offset: int = 0
    ) -> ModuleOp | None:
        try:
            return super().parse_chunk(chunk, file_extension, start_offset)
        except TorchairError as error:
            raise PassFailedException(str(error)) from error

    def apply_passes(self, prog: ModuleOp) -> None:
        try:
            super().apply_passes(prog)
        except TorchairError as error:
            raise PassFailedException(str(error)) from error

    def output_resulting_program(self, prog: ModuleOp) -> str:
        try:
            return super().output_resulting_program(prog)
        except TorchairError as error:
            raise PassFailedException(str(error)) from error

    def setup_pipeline(self) -> None:
        names = [spec.name for spec in parse_pipeline(self.args.passes)]
        for name in names:
            if name not in self.available_passes:
                raise ConfigError(f"unknown pass '{name}'", hint=_advice(name, ALL_PASSES))
        try:
            self.pipeline = PassPipeline.parse_spec(
                self.available_passes, self.args.passes, self._pass_callback()
            )
        except ValueError as error:
            raise ConfigError(
                f"wrong pass option: {error}", hint="options are written pass{name=value}"
            ) from error

    def _pass_callback(self) -> Callable[[ModulePass | None, ModuleOp, ModulePass | None], None]:
        start = time.perf_counter()

        def between(
            previous: ModulePass | None, module: ModuleOp, following: ModulePass | None
        ) -> None:
            nonlocal start
            if self.args.time_passes and previous is not None:
                print(f"Pass {previous.name} took {time.perf_counter() - start} seconds")
            if not self.args.disable_verify:
                verify_module(module)
                module.verify()
            if self.args.print_between_passes and previous is not None and following is not None:
                print(f"IR after {previous.name}:")
                self._printer(sys.stdout).print_op(module)
                print("\n\n\n")
            start = time.perf_counter()

        return between

    def _printer(self, stream: IO[str]) -> CachedPrinter:
        return CachedPrinter(
            stream,
            print_generic_format=self.args.print_op_generic,
            print_properties_as_attributes=self.args.print_no_properties,
            print_debuginfo=self.args.print_debuginfo,
        )


@dataclass(frozen=True)
class TextTarget(MLIRTarget):
    """MLIR text, each distinct type printed once and repeated."""

    def emit(self, ctx: Context, module: ModuleOp, output: IO[str]) -> None:
        if self.syntax_highlight:
            super().emit(ctx, module, output)
            return
        printer = CachedPrinter(
            output,
            print_generic_format=self.print_generic_format,
            print_properties_as_attributes=self.print_properties_as_attributes,
            print_debuginfo=self.print_debuginfo,
        )
        printer.print_op(module)
        printer.print_metadata(ctx.loaded_dialects)
        print("\n", file=output)


@dataclass(frozen=True)
class GePbtxtTarget(Target):
    """GE protobuf text of a ge module."""

    name = "ge-pbtxt"

    def emit(self, ctx: Context, module: ModuleOp, output: IO[str]) -> None:
        from torchair.backend_ge.emit import emit
        from torchair.backend_ge.graph_text import graph_text

        output.write(graph_text(emit(module)))


def _advice(name: str, known: dict[str, Callable[[], type[ModulePass]]]) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    return f"did you mean '{close[0]}'?" if close else f"one of {', '.join(sorted(known))}"


def main() -> int:
    """Console script: prints errors as messages and returns the exit status."""
    try:
        TorchairOptMain().run()
    except (ParseError, DiagnosticException, TorchairError, ArgSpecParseError, OSError) as error:
        print(f"torchair-opt: {_message(error)}", file=sys.stderr)
        return 1
    return 0


def _message(error: BaseException) -> str:
    """The error's text; xDSL appends the offending operation as notes."""
    notes: list[str] = getattr(error, "__notes__", [])
    return "\n".join([str(error).strip(), *notes])


if __name__ == "__main__":
    sys.exit(main())
