"""How processes that use the cann engine end: by themselves, by an interrupt, after a fork."""

from __future__ import annotations

from pathlib import Path

import pytest
from fake_cann.build import build, compiler
from test_cann_libraries import run_script

pytestmark = pytest.mark.skipif(compiler() is None, reason="no C++ compiler to build the fake CANN")

SCRIPT = """
import atexit, os, threading, time, torch
from pathlib import Path
from fake_cann.device import FakeCann
from fake_cann.fixtures import compile_text, unary_graph
folder = Path({folder!r})
fake = FakeCann(folder, folder / "libfake_cann.so")

def report():
    fake.check()
    print("clean", flush=True)

atexit.register(report)  # runs after what the engine registers later
graph = compile_text(unary_graph())
x = torch.ones(2, 3)
assert torch.equal(graph.run([x])[0], x)
"""

TAILS = {
    "by itself, with results alive": "kept = [graph, graph.run([x])]",
    "while a thread waits for the device": """
fake.set_delay(300)
threading.Thread(target=lambda: graph.run([x]), daemon=True).start()
time.sleep(0.1)
""",
    "after a fork whose child is refused": """
child = os.fork()
if child == 0:
    try:
        graph.run([x])
    except Exception as error:
        os._exit(7 if "parent of this forked process" in str(error) else 1)
    os._exit(1)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
assert torch.equal(graph.run([x])[0], x)
""",
    "after Ctrl-C ended the wait for the device": """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)  # background jobs start with it ignored
fake.set_delay(20000)
threading.Timer(0.1, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
try:
    graph.run([x])
    raise SystemExit("the run was not interrupted")
except KeyboardInterrupt:
    fake.set_delay(0)
assert torch.equal(graph.run([x])[0], x), "the engine works on"
""",
}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cann")
    build("9.1.0", folder)
    return folder


@pytest.mark.parametrize("how", sorted(TAILS))
def test_process_ends_clean(how: str, built: Path) -> None:
    printed = run_script(SCRIPT.format(folder=str(built)) + TAILS[how], built)
    assert printed.split() == ["clean"]
