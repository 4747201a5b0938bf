"""Runs the lit suite inside pytest, one test per file, and tests the format that it runs in."""

# lit ships no type information.
# pyright: basic

from __future__ import annotations

from pathlib import Path

import lit.discovery
import lit.LitConfig
import lit.Test
import pytest

PASS, FAIL = lit.Test.PASS, lit.Test.FAIL
SUITE = Path(__file__).resolve().parents[1] / "lit"

MODULE = """
func.func @f(%a : i32) -> i32 {
  %b = arith.addi %a, %a : i32
  func.return %b : i32
}
// CHECK: arith.addi
"""


def lit_config() -> lit.LitConfig.LitConfig:
    return lit.LitConfig.LitConfig(
        progname="lit",
        path=[],
        diagnostic_level="note",
        useValgrind=False,
        valgrindLeakCheck=False,
        valgrindArgs=[],
        noExecute=False,
        debug=False,
        isWindows=False,
        order="lexical",
        params={},
    )


def discover(folder: Path) -> tuple[list[lit.Test.Test], lit.LitConfig.LitConfig]:
    config = lit_config()
    tests = lit.discovery.find_tests_for_inputs(config, [str(folder)])
    return sorted(tests, key=lambda test: test.getFullName()), config


def run(test: lit.Test.Test, config: lit.LitConfig.LitConfig) -> lit.Test.Result:
    result = test.config.test_format.execute(test, config)
    test.setResult(result)
    return result


def expect(code: lit.Test.ResultCode, tmp_path: Path, text: str) -> str:
    """Runs one test file in a suite of its own, with the settings of the real one.

    Returns the log of a run that ended as expected.
    """
    (tmp_path / "case.mlir").write_text(text)
    (tmp_path / "lit.cfg.py").write_text(
        f"lit_config.load_config(config, {str(SUITE / 'lit.cfg.py')!r})\n"
        f"config.test_source_root = config.test_exec_root = {str(tmp_path)!r}\n"
    )
    tests, config = discover(tmp_path)
    result = run(tests[0], config)
    assert result.code is code, result.output
    return result.output


TESTS, CONFIG = discover(SUITE)


@pytest.mark.parametrize("test", TESTS, ids=["/".join(test.path_in_suite) for test in TESTS])
def test_lit(test: lit.Test.Test) -> None:
    result = run(test, CONFIG)
    assert not result.code.isFailure, result.output


def test_pipeline_passes(tmp_path: Path) -> None:
    log = expect(PASS, tmp_path, "// RUN: xdsl-opt %s | filecheck %s\n" + MODULE)
    assert log.startswith("RUN: xdsl-opt")


def test_stage_reads_stdin(tmp_path: Path) -> None:
    text = "// RUN: xdsl-opt %s | xdsl-opt --print-op-generic | filecheck %s\n" + MODULE
    expect(PASS, tmp_path, text.replace("CHECK: ", 'CHECK: "'))


def test_failed_check_fails_and_shows_the_input(tmp_path: Path) -> None:
    text = "// RUN: xdsl-opt %s | filecheck %s\n" + MODULE + "// CHECK: arith.muli"
    log = expect(FAIL, tmp_path, text)
    assert "--- stdin\nbuiltin.module" in log
    assert "Couldn't match" in log


def test_second_run_line_counts(tmp_path: Path) -> None:
    text = "// RUN: xdsl-opt %s\n// RUN: xdsl-opt %s | filecheck %s --check-prefix=OTHER\n"
    expect(FAIL, tmp_path, text + MODULE)


def test_failure_before_the_last_stage_fails(tmp_path: Path) -> None:
    text = "// RUN: not xdsl-opt %s | filecheck %s\n" + MODULE
    expect(FAIL, tmp_path, text)


def test_not_accepts_a_reported_error(tmp_path: Path) -> None:
    text = "// RUN: not xdsl-opt %s 2>&1 | filecheck %s\n// CHECK: not registered\n"
    expect(PASS, tmp_path, text + '"no.op"() : () -> ()')


def test_not_rejects_success(tmp_path: Path) -> None:
    expect(FAIL, tmp_path, "// RUN: not xdsl-opt %s\n" + MODULE)


def test_not_rejects_a_crash(tmp_path: Path) -> None:
    log = expect(FAIL, tmp_path, "// RUN: not xdsl-opt %s -p no-such-pass\n" + MODULE)
    assert "crashed" in log


def test_other_commands_go_to_the_shell(tmp_path: Path) -> None:
    text = "// RUN: xdsl-opt %s > %t && cat %t | filecheck %s\n" + MODULE
    expect(PASS, tmp_path, text)
    expect(FAIL, tmp_path, text + "// CHECK: arith.muli")


@pytest.mark.parametrize("keyword", ["XFAIL: *", "UNSUPPORTED: true", "REQUIRES: no-such-feature"])
def test_keywords_of_lit_hold(tmp_path: Path, keyword: str) -> None:
    text = f"// {keyword}\n// RUN: xdsl-opt %s -p no-such-pass\n" + MODULE
    expect(lit.Test.XFAIL if keyword == "XFAIL: *" else lit.Test.UNSUPPORTED, tmp_path, text)


def test_file_without_run_line_is_unresolved(tmp_path: Path) -> None:
    expect(lit.Test.UNRESOLVED, tmp_path, MODULE)


def test_disable_verify_does_not_outlive_its_run(tmp_path: Path) -> None:
    module = '"test.op"() {value = 300 : i8} : () -> ()'
    expect(PASS, tmp_path, "// RUN: xdsl-opt %s --disable-verify\n" + module)
    expect(PASS, tmp_path, "// RUN: not xdsl-opt %s\n" + module)


def test_blobs_do_not_outlive_their_run(tmp_path: Path) -> None:
    text = """
// RUN: xdsl-opt %s | filecheck %s
// RUN: xdsl-opt %s | filecheck %s
// CHECK: dense_resource<w0>
"test.op"() {value = dense_resource<w0> : tensor<1xi32>} : () -> ()
{-# dialect_resources: { builtin: { w0: "0x0400000001000000" } } #-}
"""
    expect(PASS, tmp_path, text)
