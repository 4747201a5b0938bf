"""Which passes run: config.passes, fusion switches, numerics; what each option changes."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.passes import ModulePass

import torchair
from torchair.dialects import aten
from torchair.errors import ConfigError
from torchair.frontend.pass_control import numeric_class, selected_passes
from torchair.frontend.pass_control.switches import read_switches
from torchair.ir.rewrite import Rewriter, pattern, sweep
from torchair.passes import ALL_PASSES, pipelines

NAMES = ("sym-inputs-to-sizes", "canonicalize", "dce", "fuse-rms-norm", "dce", "convert-aten-to-ge")


@pattern("aten.sin")
def replace_sine(op: Any, rewriter: Rewriter) -> None:
    cls = aten.lookup("aten.cos")
    assert cls is not None
    rewriter.replace(op, rewriter.create(cls, op.operands, op.result_types, op).results)


@dataclass(frozen=True)
class SineToCosinePass(ModulePass):
    """Replaces sines by cosines, which nobody wants."""

    name = "sine-to-cosine"
    numeric_class: ClassVar[str] = "exact"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        sweep(op, (replace_sine,))


@dataclass(frozen=True)
class SilentPass(ModulePass):
    """A pass that does not say what it does to numbers."""

    name = "silent"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        pass


def names(config: torchair.CompilerConfig, given: tuple[str, ...] = NAMES) -> list[str]:
    return [item.name for item in selected_passes(config.snapshot(), given)]


def config_with(**options: Any) -> torchair.CompilerConfig:
    config = torchair.CompilerConfig()
    for name, value in options.items():
        setattr(config.passes, name, value)
    return config


def test_nothing_set_runs_the_usual_passes() -> None:
    assert names(torchair.CompilerConfig()) == list(NAMES)
    assert names(torchair.CompilerConfig(), pipelines.MAX_AUTOTUNE) == list(pipelines.MAX_AUTOTUNE)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"drop": ["dce"]}, [n for n in NAMES if n != "dce"]),
        ({"drop": ["dce#2", "canonicalize"]}, [NAMES[0], "dce", NAMES[3], NAMES[5]]),
        ({"insert_after": {"dce": ["cse"]}}, [*NAMES[:3], "cse", *NAMES[3:]]),
        ({"insert_after": {"dce#2": ["cse", "dce"]}}, [*NAMES[:5], "cse", "dce", NAMES[5]]),
        ({"insert_before": {"canonicalize": [SilentPass()]}}, [NAMES[0], "silent", *NAMES[1:]]),
        (
            {
                "insert_before": {"dce": ["cse"]},
                "insert_after": {"dce": ["cse"]},
                "drop": ["dce#2"],
            },
            [*NAMES[:2], "cse", "dce", "cse", NAMES[3], NAMES[5]],
        ),
        ({"order": ["dce", "convert-aten-to-ge"]}, ["dce", "convert-aten-to-ge"]),
        (
            {"order": ["dce", "convert-aten-to-ge"], "insert_after": {"dce": ["cse"]}},
            ["dce", "cse", "convert-aten-to-ge"],
        ),
    ],
)
def test_lists_are_changed_by_name(options: dict[str, Any], expected: list[str]) -> None:
    assert names(config_with(**options)) == expected


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"drop": ["canonicalise"]}, ["passes.drop", "no such pass", "Try: 'canonicalize'"]),
        ({"drop": ["cse"]}, ["does not run in this mode"]),
        ({"drop": ["dce#3"]}, ["dce#3", "'dce#2'"]),
        ({"drop": ["convert-aten-to-ge"]}, ["without which there is no GE graph"]),
        ({"order": ["dce"]}, ["passes.order takes out 'convert-aten-to-ge'"]),
        ({"order": ["dcee", "convert-aten-to-ge"]}, ["passes.order names 'dcee'", "'dce'"]),
        ({"insert_after": {"dce": ["csee"]}}, ["passes.insert_after names 'csee'", "'cse'"]),
        ({"insert_before": {"cs": ["cse"]}}, ["passes.insert_before names 'cs'"]),
        ({"insert_after": {"dce": ["cse"]}, "drop": ["dce"]}, ["which does not run", "dropped"]),
    ],
)
def test_wrong_names_are_refused(options: dict[str, Any], words: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        names(config_with(**options))
    assert all(word in str(caught.value) for word in words), str(caught.value)


def test_what_is_no_pass_is_refused() -> None:
    class Pretender:
        name = "pretender"

        def apply(self, ctx: Any, op: Any) -> None:
            raise AssertionError

    with pytest.raises(ConfigError, match="holds what is no pass"):
        names(config_with(insert_after={"dce": [Pretender()]}))
    with pytest.raises(ConfigError, match=r"wrong type of value for option 'passes\.insert_after'"):
        config_with(insert_after={"dce": SilentPass()})


def test_only_exact_passes_run_for_eager_numerics() -> None:
    config = config_with(insert_after={"dce": [SilentPass(), SineToCosinePass()]})
    config.numerics = "eager"
    assert numeric_class(SilentPass()) == "approximates"
    expected = [*NAMES[:3], "sine-to-cosine", "dce", "convert-aten-to-ge"]
    assert names(config) == expected
    kept = selected_passes(config.snapshot(), NAMES)
    assert {numeric_class(item) for item in kept} == {"exact"}


def test_each_pass_says_its_numeric_class_as_its_docstring_does() -> None:
    for name in pipelines.MAX_AUTOTUNE:
        cls = ALL_PASSES[name]()
        assert f"umeric class: {cls.numeric_class}" in (cls.__doc__ or ""), name  # type: ignore


# ---------------------------------------------------------------- switches


def switch_file(folder: Path, content: object) -> str:
    path = folder / "switch.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return str(path)


@pytest.mark.parametrize("name", ["fuse-rms-norm", "fuse_rms_norm", "FuseRmsNormPass"])
def test_a_switch_file_turns_our_fusions_off(tmp_path: Path, name: str) -> None:
    config = torchair.CompilerConfig()
    config.fusion_config.fusion_switch_file = switch_file(
        tmp_path, {"Switch": {"GraphFusion": {name: "off", "SomePassOfGe": "off"}}}
    )
    assert "fuse-rms-norm" not in names(config)
    assert len(names(config)) == len(NAMES) - 1


def test_the_switch_option_wins_over_the_file(tmp_path: Path) -> None:
    config = torchair.CompilerConfig()
    config.fusion_config.fusion_switch_file = switch_file(
        tmp_path, {"Switch": {"GraphFusion": {"ALL": "off"}, "UBFusion": {"ALL": "off"}}}
    )
    assert "fuse-rms-norm" not in names(config) and "canonicalize" in names(config)
    config.ge_config.optimization_switch = "FuseRmsNormPass:on;canonicalize:off"
    assert "fuse-rms-norm" in names(config) and "canonicalize" not in names(config)
    assert read_switches("a:on;b_c:off;") == {"a": True, "bc": False}


def test_pattern_fusion_pass_off() -> None:
    config = torchair.CompilerConfig()
    config.experimental_config.pattern_fusion_pass = False
    assert names(config) == [n for n in NAMES if n != "fuse-rms-norm"]


def test_the_conversion_cannot_be_switched_off() -> None:
    config = torchair.CompilerConfig()
    config.ge_config.optimization_switch = "ConvertAtenToGePass:off"
    with pytest.raises(ConfigError, match="a fusion switch takes out 'convert-aten-to-ge'"):
        names(config)


@pytest.mark.parametrize(
    ("content", "word"),
    [
        ("{", "cannot be read as JSON"),
        ("[1]", "JSON of another form"),
        ({"Switch": {"GraphFusion": ["FuseRmsNormPass"]}}, "JSON of another form"),
        ({"Switch": {"GraphFusion": {"FuseRmsNormPass": False}}}, "FuseRmsNormPass: False"),
        ({"Switch": 3}, "JSON of another form"),
    ],
)
def test_malformed_switch_files(tmp_path: Path, content: object, word: str) -> None:
    config = torchair.CompilerConfig()
    config.fusion_config.fusion_switch_file = switch_file(tmp_path, content)
    with pytest.raises(ConfigError) as caught:
        names(config)
    assert word in str(caught.value) and "switch.json" in str(caught.value)


# ---------------------------------------------------------------- compiled


def run(model: Any, config: torchair.CompilerConfig, *args: torch.Tensor) -> Any:
    torch._dynamo.reset()
    backend = torchair.get_npu_backend(compiler_config=config)
    return torch.compile(model, backend=backend, fullgraph=True)(*args), backend.reports[-1]


def test_an_inserted_pass_runs() -> None:
    config = config_with(insert_after={"canonicalize": [SineToCosinePass()]})
    x = torch.randn(5)
    found, report = run(lambda x: x.sin() + 1, config, x)
    torch.testing.assert_close(found, x.cos() + 1)
    assert "sine-to-cosine" in [stage.name for stage in report.stages]


def test_a_dropped_pass_does_not_run() -> None:
    config = config_with(drop=["canonicalize", "cse"])
    found, report = run(lambda x: (x + 1) * (x + 1), config, torch.ones(3))
    assert torch.equal(found, torch.full((3,), 4.0))
    assert (
        report.nodes["ge"]
        > run(lambda x: (x + 1) * (x + 1), config_with(), torch.ones(3))[1].nodes["ge"]
    )
    assert "cse" not in [stage.name for stage in report.stages]


def test_options_of_torch_compile_reach_the_passes() -> None:
    torch._dynamo.reset()
    backend = torchair.get_npu_backend()
    model = torch.compile(torch.relu, backend=backend, options={"passes.drop": ["canonicalize"]})
    model(torch.ones(3))
    assert "canonicalize" not in [stage.name for stage in backend.reports[-1].stages]


def test_wrong_names_reach_the_user_as_config_errors() -> None:
    with pytest.raises(ConfigError, match="no such pass"):
        run(torch.relu, config_with(drop=["nonsense"]), torch.ones(3))


def test_snapshots_with_passes_compare_and_hash() -> None:
    one = config_with(insert_after={"dce": [SineToCosinePass()]}).snapshot()
    two = config_with(insert_after={"dce": [SineToCosinePass()]}).snapshot()
    assert one == two and hash(one) == hash(two)
    assert one.cache_identity() is None, "a pass of the user cannot be recognised elsewhere"
    assert config_with(insert_after={"dce": ["cse"]}).snapshot().cache_identity() is not None


@pytest.mark.parametrize("folded", [True, False])
def test_view_folding_is_an_option(folded: bool, tmp_path: Path) -> None:
    config = torchair.CompilerConfig()
    config.experimental_config.enable_view_optimize = folded
    config.debug.ir_dump.path = str(tmp_path)
    backend = torchair.get_npu_backend(compiler_config=config)
    torch._dynamo.reset()
    x = torch.randn(4, 6)
    found = torch.compile(lambda x: x.view(2, 12).view(3, 8).t().t() + 1, backend=backend)(x)
    assert torch.equal(found, x.view(3, 8) + 1)
    last = max(tmp_path.rglob("*.mlir")).read_text(encoding="utf-8")
    assert (last.count("ge.Reshape"), last.count("ge.Transpose")) == ((1, 0) if folded else (2, 2))
