"""GE graphs of real models: emitted, serialized and loaded again, they are what they were."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from models import Llama, ResNet, make_encoder, make_mlp

import torchair
from torchair.backend_ge.emit import emit, serialize
from torchair.backend_ge.load import load
from torchair.ir.text import parse_module, print_module
from torchair.ir.verify import verify_module
from torchair.tools.context import make_context

MODELS: dict[str, tuple[Callable[[], torch.nn.Module], torch.Tensor]] = {
    "mlp": (make_mlp, torch.randn(3, 16)),
    "llama": (Llama, torch.randint(0, 128, (2, 7))),
    "encoder": (make_encoder, torch.randn(2, 5, 64)),
    "resnet": (ResNet, torch.randn(2, 3, 32, 32)),
}


@pytest.mark.parametrize("dynamic", [False, True], ids=["static", "dynamic"])
@pytest.mark.parametrize("name", MODELS)
def test_emission_and_loading_are_inverse(name: str, dynamic: bool, tmp_path: Path) -> None:
    torch._dynamo.reset()
    make, x = MODELS[name]
    config = torchair.CompilerConfig()
    config.debug.ir_dump.path = str(tmp_path)
    backend = torchair.get_npu_backend(compiler_config=config)
    torch.compile(make().train(), backend=backend, dynamic=dynamic)(x).sum().backward()
    folders = [folder for folder in tmp_path.iterdir() if folder.is_dir()]
    assert len(folders) == 2  # forward and backward
    for folder in folders:
        last = max(folder.glob("*.mlir"))
        module = parse_module(make_context(), last.read_text(encoding="utf-8"))
        again = load(serialize(emit(module, "graph")))
        verify_module(again)
        assert print_module(again) == print_module(module)
        assert serialize(emit(again, "graph")) == serialize(emit(module, "graph"))
