"""``torchair.timeline`` and ``torchair.report``: traces, pictures, texts."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import torchair
from torchair import scope
from torchair.errors import ConfigError


def two_branches(x: Tensor, w: Tensor) -> Tensor:
    with scope.npu_stream_switch("side"):
        y = torch.mm(x, w)
        y = torch.mm(y, w)
    z = torch.mm(w, x)
    return y + z.t()


def compiled_model(mode: str = "max-autotune") -> Any:
    torch._dynamo.reset()
    config = torchair.CompilerConfig()
    config.mode = mode
    backend = torchair.get_npu_backend(compiler_config=config)
    return torch.compile(two_branches, backend=backend, fullgraph=True)


def run(compiled: Any) -> None:
    compiled(torch.randn(64, 64), torch.randn(64, 64))


def read_trace(path: Path) -> list[dict[str, Any]]:
    return json.loads(path.read_text(encoding="utf-8"))["traceEvents"]


@pytest.mark.parametrize("mode", ["max-autotune", "reduce-overhead"])
def test_trace_has_planned_and_measured_tracks_and_event_arrows(mode: str, tmp_path: Path) -> None:
    compiled = compiled_model(mode)
    run(compiled)
    events = read_trace(torchair.timeline(compiled, tmp_path / "out.json"))
    processes = [e["args"]["name"] for e in events if e["name"] == "process_name"]
    assert [name.partition(": ")[2] for name in processes] == ["planned (host)", "measured (host)"]
    tracks = {(e["pid"], e["tid"]): e["args"]["name"] for e in events if e["name"] == "thread_name"}
    assert tracks[1, 0] == "main" and tracks[1, 1] == "side" and tracks[2, 1] == "stream 1"
    boxes = [e for e in events if e["ph"] == "X"]
    planned = [e for e in boxes if e["pid"] == 1]
    assert [e["name"] for e in planned if e["tid"] == 1] == ["aten.mm", "aten.mm"]
    assert all(e["args"]["source"].startswith(f"{__file__}:") for e in planned)
    measured = [e for e in boxes if e["pid"] == 2]
    assert {e["tid"] for e in measured} == {0, 1}
    assert all(e["args"]["source"].startswith(f"{__file__}:") for e in measured)
    for process in (1, 2):
        begun = {e["id"]: e for e in events if e["ph"] == "s" and e["pid"] == process}
        ended = {e["id"]: e for e in events if e["ph"] == "f" and e["pid"] == process}
        assert begun.keys() == ended.keys() and begun
        for key, start in begun.items():
            assert start["tid"] != ended[key]["tid"] and start["ts"] <= ended[key]["ts"]


def test_boxes_of_a_track_do_not_overlap(tmp_path: Path) -> None:
    compiled = compiled_model()
    run(compiled)
    tracks: dict[tuple[int, int], float] = {}
    for event in read_trace(torchair.timeline(compiled, tmp_path / "out.json")):
        if event["ph"] == "X":
            key = event["pid"], event["tid"]
            assert event["ts"] >= tracks.get(key, 0.0) - 1e-6
            tracks[key] = event["ts"] + event["dur"]


def test_picture_is_svg_with_a_box_per_operation(tmp_path: Path) -> None:
    compiled = compiled_model()
    run(compiled)
    root = ElementTree.parse(torchair.timeline(compiled, tmp_path / "out.svg")).getroot()
    boxes = [e for e in root if e.tag.endswith("rect")]
    assert len(boxes) == 4
    assert any(
        "test_timeline.py" in title.text for box in boxes for title in box if title.text is not None
    )


def test_report_tells_streams_times_and_reasons() -> None:
    compiled = compiled_model()
    run(compiled)
    text = str(torchair.report(compiled))
    for words in (
        "2 streams (main, side)",
        "stream side: 2 operations, busy",
        "expected on host:",
        "critical path:",
        "off the main stream: 2 operations",
        "placed by the user",
        "measured on the host, call by call:",
    ):
        assert words in text, words
    assert f"({__file__}:" in text


def test_report_says_why_an_operation_was_moved() -> None:
    def f(x: Tensor, w: Tensor) -> Tensor:
        return torch.mm(torch.mm(x, w), w) + torch.mm(torch.mm(w, x), x)

    config = torchair.CompilerConfig()
    config.streams = "auto"
    backend = torchair.get_npu_backend(compiler_config=config)
    torch._dynamo.reset()
    torch.compile(f, backend=backend, fullgraph=True)(torch.randn(256, 256), torch.randn(256, 256))
    text = str(torchair.report(backend))
    assert "auto1" in text and "needs only inputs of the function" in text


def test_a_module_is_taken_as_well(tmp_path: Path) -> None:
    torch._dynamo.reset()
    model = torch.compile(torch.nn.Linear(8, 8), backend=torchair.get_npu_backend())
    with torch.no_grad():
        model(torch.randn(2, 8))
    assert "stream main: " in str(torchair.report(model))
    assert read_trace(torchair.timeline(model, tmp_path / "out.json"))


def test_what_was_not_compiled_here_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="nothing has been compiled yet"):
        torchair.report(compiled_model())
    with pytest.raises(ConfigError, match="not compiled with a backend of torchair"):
        torchair.report(torch.compile(two_branches, backend="eager"))
    compiled = compiled_model()
    run(compiled)
    with pytest.raises(ConfigError, match=r"written as \.json or \.svg"):
        torchair.timeline(compiled, tmp_path / "out.txt")
