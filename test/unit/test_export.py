"""Import and execution of exported programs, and of dumped graphs through torchair-run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from models import Llama, ResNet, make_encoder, make_mlp
from torch import Tensor, nn
from torch.export import Dim, export
from xdsl.dialects.func import FuncOp

import torchair
from torchair.errors import ConfigError
from torchair.frontend.exported_program import import_exported_program
from torchair.ir.conversion import argument_attributes
from torchair.ir.text import parse_module, print_module
from torchair.ir.verify import verify_module
from torchair.ir.weights import WeightAttr
from torchair.tools.context import make_context
from torchair.tools.run import main as run_main


class Counter(nn.Module):
    """Mutates a buffer and an input."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(3, 3))
        self.register_buffer("count", torch.zeros(()))

    def forward(self, x: Tensor, log: Tensor) -> tuple[Tensor, Tensor]:
        self.count.add_(1)
        log.copy_(x.sum(0))
        return x @ self.weight, self.count * 2


@pytest.mark.parametrize(
    ("make", "inputs"),
    [
        (make_mlp, (torch.randn(3, 16),)),
        (make_encoder, (torch.randn(2, 5, 64),)),
        (Llama, (torch.randint(0, 128, (2, 7)),)),
        (ResNet, (torch.randn(2, 3, 32, 32),)),
    ],
    ids=["mlp", "encoder", "llama", "resnet"],
)
def test_exported_models_equal_eager(make: type[nn.Module], inputs: tuple[Tensor, ...]) -> None:
    torch.manual_seed(0)
    model = make().eval()
    with torch.no_grad():
        program = export(model, inputs)
        got = torchair.compile_exported_program(program)(*inputs)
        expected = model(*inputs)
    assert ((got - expected).abs().max() / expected.abs().max()).item() <= 1e-5


def test_dynamic_export_serves_other_sizes() -> None:
    model = make_mlp().eval()
    batch = Dim("batch", min=2, max=64)
    with torch.no_grad():
        program = export(model, (torch.randn(4, 16),), dynamic_shapes=({0: batch},))
        compiled = torchair.compile_exported_program(program)
        for size in (2, 5, 33):
            x = torch.randn(size, 16)
            assert torch.equal(compiled(x), model(x))
    with pytest.raises(ConfigError, match="other inputs"):
        compiled(torch.randn(2, 16), torch.randn(2))


def test_mutations_of_buffers_and_inputs() -> None:
    model = Counter()
    x, log = torch.randn(2, 3), torch.zeros(3)
    program = export(model, (x, log))
    compiled = torchair.compile_exported_program(program)
    with torch.no_grad():
        for expected in (2.0, 4.0):
            product, doubled = compiled(x, log)
            assert doubled.item() == expected
    assert torch.equal(log, x.sum(0))
    assert torch.equal(product, x @ model.weight)


def test_weights_are_handles_and_survive_text() -> None:
    program = export(make_mlp().eval(), (torch.randn(3, 16),))
    module = import_exported_program(program).module
    function = next(op for op in module.ops if isinstance(op, FuncOp))
    handles = [e.get("torchair.weight") for e in argument_attributes(function)]
    keys = [h.data.key for h in handles if isinstance(h, WeightAttr)]
    assert keys == ["0.weight", "0.bias", "2.weight", "2.bias", "4.weight", "4.bias"]
    first = next(h for h in handles if isinstance(h, WeightAttr))
    assert first.data.read is not None
    assert len(first.data.read()) == first.data.nbytes == 32 * 16 * 4
    again = parse_module(make_context(), print_module(module))
    verify_module(again)
    assert print_module(again, locations=False).count("aten.") == print_module(module).count(
        "= aten."
    )


def test_torchair_run_on_every_stage(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def f(x: Tensor, y: Tensor) -> Tensor:
        return torch.relu(x @ y) + 1

    torch._dynamo.reset()
    config = torchair.CompilerConfig()
    config.debug.ir_dump.path = str(tmp_path)
    x, y = torch.randn(2, 3), torch.randn(3, 4)
    with torch.no_grad():
        backend = torchair.get_npu_backend(compiler_config=config)
        expected = torch.compile(f, backend=backend)(x, y)
    stages = sorted(tmp_path.rglob("*.mlir")) + list(tmp_path.rglob("*.pbtxt"))
    assert len(stages) > 5
    np.savez(tmp_path / "in.npz", arg0_1=x.numpy(), arg1_1=y.numpy())
    for stage in stages:
        out = tmp_path / "out.npz"
        code = run_main([str(stage), "--inputs", str(tmp_path / "in.npz"), "--outputs", str(out)])
        assert code == 0, capsys.readouterr().err
        assert np.array_equal(np.load(out)["output_0"], expected.numpy()), stage


def test_torchair_run_errors_are_one_message(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    graph = tmp_path / "g.mlir"
    graph.write_text(
        "func.func @g(%x: tensor<2xf32>) -> tensor<2xf32> {\n"
        "  %0 = aten.relu(%x) : (tensor<2xf32>) -> tensor<2xf32>\n"
        "  func.return %0 : tensor<2xf32>\n}"
    )
    broken = tmp_path / "broken.mlir"
    broken.write_text("func.func @g(")
    bad = tmp_path / "bad.npz"
    bad.write_bytes(b"not an archive")
    np.savez(tmp_path / "shape.npz", x=np.zeros(3, np.float32))
    cases = [
        ([str(tmp_path / "absent.air")], "is not a file"),
        ([str(broken)], "is not a module"),
        ([str(graph)], "input 'x' is not in the archive"),
        ([str(graph), "--inputs", str(bad)], "is not a numpy archive"),
        ([str(graph), "--inputs", str(tmp_path / "shape.npz")], "has another shape"),
    ]
    for arguments, message in cases:
        assert run_main(arguments) == 1
        error = capsys.readouterr().err
        assert message in error and "Traceback" not in error
