"""A lit format that runs Python tools inside the lit worker, not in a process per pipeline stage.

A RUN line takes the fast path when each of its stages is a known tool, optionally behind ``not``,
with no other redirection than ``2>&1``. A test with any other RUN line goes to lit's own shell as a
whole, so nothing that ShTest can run is lost. One thing is stricter here than in the shell: a tool
that ends with an exception which is no error report has crashed, and ``not`` forgives no crash.
"""

# lit ships no type information; everything read from it is untyped.
# pyright: basic

from __future__ import annotations

import importlib
import io
import os
import re
import shlex
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import lit.Test
from lit.formats import ShTest
from lit.LitConfig import LitConfig
from lit.ShCommands import Command, Pipeline
from lit.ShUtil import ShParser
from lit.TestRunner import (
    applySubstitutions,
    getDefaultSubstitutions,
    getTempPaths,
    kPdbgRegex,
    parseIntegratedTestScript,
)
from xdsl.dialect_interfaces.op_asm import OpAsmDialectInterface
from xdsl.dialects.builtin import Builtin
from xdsl.ir import Attribute
from xdsl.utils.diagnostic import Diagnostic
from xdsl.utils.exceptions import DiagnosticException, ParseError

from torchair.errors import TorchairError

OUTPUT_LIMIT = 4000
MERGE_STDERR = ((">&", 2), "1")
REPORTED_ERRORS = (ParseError, DiagnosticException, TorchairError)


@dataclass(frozen=True)
class Stage:
    """One tool call of a RUN line."""

    tool: str
    args: tuple[str, ...]
    inverted: bool
    merges_stderr: bool


@dataclass(frozen=True)
class StageResult:
    """What a stage left behind: its exit code after ``not``, its output and whether it crashed."""

    code: int
    stdout: bytes
    stderr: str
    crashed: bool

    def is_success(self) -> bool:
        return self.code == 0 and not self.crashed


class InProcessShTest(ShTest):
    """ShTest with an in-process fast path.

    Args:
        tools: maps a command name to the ``module:function`` that its console script calls.
    """

    def __init__(self, tools: Mapping[str, str]) -> None:
        super().__init__()
        self.tools = dict(tools)

    def execute(self, test: lit.Test.Test, litConfig: LitConfig) -> Any:
        if test.config.unsupported:
            return lit.Test.Result(lit.Test.UNSUPPORTED, "Test is unsupported")
        script = parseIntegratedTestScript(test)
        if not isinstance(script, list):
            return script
        lines = expanded_lines(test, script)
        pipelines = [parse_pipeline(line, self.tools) for line in lines]
        if any(pipeline is None for pipeline in pipelines):
            return super().execute(test, litConfig)
        log: list[str] = []
        for line, stages in zip(lines, pipelines, strict=True):
            if not self.run_pipeline(line, stages or [], log):
                return lit.Test.Result(lit.Test.FAIL, "\n".join(log))
        return lit.Test.Result(lit.Test.PASS, "\n".join(log))

    def run_pipeline(self, line: str, stages: list[Stage], log: list[str]) -> bool:
        """Runs the stages one after the other; all of them must succeed, as with pipefail."""
        log.append(f"RUN: {line.strip()}")
        data, success = b"", True
        for stage in stages:
            result = run_stage(stage, self.tools[stage.tool], data)
            if not result.is_success():
                success = False
                log += describe_failure(stage, result, data)
            data = result.stdout
        return success


def expanded_lines(test: lit.Test.Test, script: list[str]) -> list[str]:
    """The RUN lines with lit's substitutions applied and the line-number markers removed."""
    temp_dir, temp_base = getTempPaths(test)
    os.makedirs(os.path.dirname(temp_base), exist_ok=True)
    lines = applySubstitutions(
        script,
        getDefaultSubstitutions(test, temp_dir, temp_base),
        {feature: True for feature in test.config.available_features},
        recursion_limit=test.config.recursiveExpansionLimit,
    )
    matches = (re.fullmatch(kPdbgRegex, line) for line in lines)
    return [match[2] if match else line for match, line in zip(matches, lines, strict=True)]


def parse_pipeline(line: str, tools: Mapping[str, str]) -> list[Stage] | None:
    """The stages of a RUN line, or None when the shell has to run it."""
    if "%{readfile:" in line:
        return None
    try:
        parsed = ShParser(line).parse()
    except ValueError:
        return None
    if not isinstance(parsed, Pipeline):
        return None
    stages = [read_stage(command, tools) for command in parsed.commands]
    known = [stage for stage in stages if stage is not None]
    return known if len(known) == len(stages) else None


def read_stage(command: Command, tools: Mapping[str, str]) -> Stage | None:
    args = list(command.args)
    if not all(isinstance(arg, str) for arg in args):
        return None
    inverted = False
    while len(args) > 1 and args[0] == "not":
        inverted = not inverted
        args.pop(0)
    if args[0] not in tools or any(redirect != MERGE_STDERR for redirect in command.redirects):
        return None
    return Stage(args[0], tuple(args[1:]), inverted, bool(command.redirects))


def run_stage(stage: Stage, entry: str, stdin: bytes) -> StageResult:
    """Calls the tool's main function as its console script would."""
    out = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True)
    err = out if stage.merges_stderr else io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    with redirected(stage, stdin, out, err), fresh_xdsl_state():
        code, crashed = call_main(load_entry(entry))
    out.flush()
    err.flush()
    if stage.inverted:
        code = int(code == 0)
    stdout = out.buffer.getvalue()
    stderr = "" if err is out else err.buffer.getvalue().decode("utf-8", errors="replace")
    return StageResult(code, stdout, stderr, crashed)


def load_entry(entry: str) -> Callable[[], object]:
    module, _, function = entry.partition(":")
    return getattr(importlib.import_module(module), function)


def call_main(main: Callable[[], object]) -> tuple[int, bool]:
    """The exit code of ``sys.exit(main())`` and whether the tool crashed."""
    try:
        returned = main()
    except SystemExit as stop:
        returned = stop.code
    except Exception as error:
        traceback.print_exc()
        return 1, not isinstance(error, REPORTED_ERRORS)
    if returned is None or isinstance(returned, int):
        return returned or 0, False
    print(returned, file=sys.stderr)
    return 1, False


@contextmanager
def redirected(
    stage: Stage, stdin: bytes, out: io.TextIOWrapper, err: io.TextIOWrapper
) -> Iterator[None]:
    saved = sys.argv, sys.stdin, sys.stdout, sys.stderr
    sys.argv = [stage.tool, *stage.args]
    sys.stdin = io.TextIOWrapper(io.BytesIO(stdin), encoding="utf-8")
    sys.stdout, sys.stderr = out, err
    try:
        yield
    finally:
        sys.argv, sys.stdin, sys.stdout, sys.stderr = saved


@contextmanager
def fresh_xdsl_state() -> Iterator[None]:
    """Undoes what an xDSL tool changes for its whole process.

    These are ``--disable-verify`` (replaces a method of Attribute), ``--syntax-highlight``, the
    warning filters, and the blobs that the one Builtin dialect object keeps from parsed modules.
    """
    post_init, colored = Attribute.__post_init__, Diagnostic.colored
    blobs = Builtin.get_interface(OpAsmDialectInterface)
    with warnings.catch_warnings():
        try:
            yield
        finally:
            Attribute.__post_init__ = post_init
            Diagnostic.colored = colored
            if blobs is not None:
                blobs._blob_storage.clear()


def describe_failure(stage: Stage, result: StageResult, stdin: bytes) -> list[str]:
    command = shlex.join([*(["not"] if stage.inverted else []), stage.tool, *stage.args])
    outcome = "crashed" if result.crashed else f"exit code {result.code}"
    parts = [f"error: {command}: {outcome}"]
    texts = {
        "stdin": stdin.decode("utf-8", errors="replace"),
        "stdout": result.stdout.decode("utf-8", errors="replace"),
        "stderr": result.stderr,
    }
    for name, text in texts.items():
        if text.strip():
            parts.append(f"--- {name}\n{clipped(text)}")
    return parts


def clipped(text: str) -> str:
    if len(text) <= OUTPUT_LIMIT:
        return text
    return f"{text[:OUTPUT_LIMIT]}\n... {len(text) - OUTPUT_LIMIT} more characters"
