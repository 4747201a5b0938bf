"""Declared cases of converters, case files, and the import paths of existing programs."""

from __future__ import annotations

import importlib
import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from user_operators import define

import torchair
from torchair import ge
from torchair._ge_concrete_graph.fx2ge_converter import declare_supported
from torchair._ge_concrete_graph.supported_declaration import BF16, BOOL, F32, I32, Support, T
from torchair._ge_concrete_graph.utils import dtype_promote
from torchair.errors import ArtifactError
from torchair.frontend import converter_cases, user_converters
from torchair.tools import converter_test
from torchair.tools.case_text import parse_case


def test_cases_are_declared_and_run(capsys: pytest.CaptureFixture[str]) -> None:
    op = define("cased(Tensor x, float f=1.0) -> Tensor", lambda x, f=1.0: x * f)

    @declare_supported(
        [Support(F32(2, 2)), Support(BF16(3), 2.0), Support(I32(2, value_range=(0, 9)))]
    )
    @torchair.register_fx_node_ge_converter(op)
    def cased(x: Any, f: float = 1.0, *, meta_outputs: Any = None) -> Any:
        if f == 2.0:
            return x  # wrong: the case that multiplies fails
        return dtype_promote(x, target_dtype=meta_outputs.dtype)

    assert [repr(c) for c in cased.supported_cases][1] == "Support(bfloat16(3), 2.0)"
    assert converter_test.main(["unit_uc.cased", "--verbose"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[:3]] == ["passed", "failed", "passed"]
    assert "not close" in lines[1]
    assert lines[3] == "2 passed, 1 failed, 0 skipped"


def test_case_files_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "cases.json"
    cases = {
        "aten.add.Tensor": ["Support(F32(2, 2), F16(2, 1), alpha=2)", "Support(I8(3), 2)"],
        "aten.div.Tensor": ["Support(T([4, -6], dtype=torch.int32), T(2, dtype=torch.int64))"],
        "aten.index_select.default": ["Support(F32(3, 4), 1, I32(2, value_range=(0, 4)))"],
        "aten.bernoulli.default": ["Support(F32(4, 16, value_range=(0, 1)))"],
        "aten.no_such_op.default": ["Support(F32(2))"],
        "aten.fill.Tensor": ["Support(F32(2), F32(2))"],
        "math.floor": ["Support(32.5)"],
    }
    path.write_text(json.dumps(cases))
    assert converter_test.main(["--cases", str(path), "--largest", "100"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "5 passed, 0 failed, 3 skipped"
    path.write_text('{"aten.add.Tensor": ["__import__(\'os\').getcwd()"]}')
    assert converter_test.main(["--cases", str(path)]) == 2
    assert "not a declared call" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (
            "Support(F16(2, 2), [1, -1], dtype=torch.float16)",
            "Support(float16(2, 2), [1, -1], dtype=torch.float16)",
        ),
        ("Support(BOOL(4 * 2), float('inf'), None)", "Support(bool(8), inf, None)"),
        (
            "Support(T(np.arange(3).astype(np.int32), dtype=torch.int32))",
            "Support(T([0 1 2], dtype=int32))",
        ),
        ("Support(U8([2, 3]), (True, 'x'))", "Support(uint8(2, 3), (True, 'x'))"),
    ],
)
def test_case_texts(text: str, shown: str) -> None:
    assert repr(parse_case(text)) == shown


@pytest.mark.parametrize(
    "text",
    ["F32(2)", "Support(", "open('x')", "Support(torch.save)", "Support(np.load('x'))",
     "Support(x)", "Support(F32.mro())", "Support(F32(2, value_range=(1,)))",
     "Support([i for i in 'a'])"],
)  # fmt: skip
def test_other_texts_are_refused(text: str) -> None:
    with pytest.raises(ArtifactError, match="not a declared call"):
        parse_case(text)


def test_declared_tensors_have_the_values_and_ranges_asked_for() -> None:
    made = converter_cases.make_tensor(I32(50, value_range=(3, 5)))
    assert made.dtype is torch.int32 and set(made.tolist()) <= {3, 4}
    assert converter_cases.make_tensor(T([1, 0], dtype=torch.bool)).tolist() == [True, False]
    assert converter_cases.make_tensor(BOOL(3)).dtype is torch.bool
    spread = converter_cases.make_tensor(F32(100, value_range=(2, 3)))
    assert spread.min() >= 2 and spread.max() <= 3
    assert F32(2).dtype is torch.float32


@pytest.mark.parametrize(
    ("module", "names"),
    [
        ("torchair._ge_concrete_graph.ge_apis", "Add Cast Const Reshape"),
        (
            "torchair._ge_concrete_graph.fx2ge_converter",
            "declare_supported register_fx_node_ge_converter",
        ),
        ("torchair._ge_concrete_graph.utils", "dtype_promote"),
        (
            "torchair._ge_concrete_graph.supported_declaration",
            "_TypedTensor F32 F16 F64 BF16 I64 I32 I16 I8 U8 BOOL Support T",
        ),
        ("torchair.ge", "attr custom_op Tensor TensorSpec DataType Format Const Cast Clone"),
        (
            "torchair.ge._ge_graph",
            "Tensor TensorSpec TensorType DataType auto_convert_to_tensor "
            "torch_dtype_value_to_ge_type",
        ),
        ("torchair.ge_concrete_graph.ge_graph", "mark_static"),
        ("torchair.core.utils", "logger"),
        ("torchair.ge_concrete_graph.ge_converter.experimental.patch_for_hcom_allreduce", ""),
        ("torchair._contrib.custom_torch_ops", ""),
    ],
)
def test_import_paths_of_existing_programs_resolve(module: str, names: str) -> None:
    found = importlib.import_module(module)
    assert [name for name in names.split() if not hasattr(found, name)] == []


def test_the_logger_and_the_decorator_are_public() -> None:
    assert torchair.logger.name == "torchair"
    assert torchair.register_fx_node_ge_converter is user_converters.register_fx_node_ge_converter
    assert math.isclose(ge.DataType.DT_MAX, 42)
