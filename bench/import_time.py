"""Wall time of ``import torchair`` beyond ``import torch``, each in fresh processes.

python bench/import_time.py [--repeat 5]
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time


def seconds(statement: str, repeat: int) -> float:
    """Fastest of several fresh interpreters running a statement."""
    best = float("inf")
    for _ in range(repeat):
        start = time.perf_counter()
        subprocess.run([sys.executable, "-c", statement], check=True)
        best = min(best, time.perf_counter() - start)
    return best


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--repeat", type=int, default=5)
    repeat = parser.parse_args().repeat
    torch_only = seconds("import torch", repeat)
    rows = {
        "import torchair": "import torch, torchair",
        "  + get_npu_backend()": "import torch, torchair; torchair.get_npu_backend()",
        "  (first torch.compile imports)": "import torch, torch._dynamo.backends.common",
    }
    print(f"import torch                     {torch_only:6.2f} s")
    for label, statement in rows.items():
        print(f"{label:32s} {seconds(statement, repeat) - torch_only:+6.2f} s beyond torch")
    print(f"torchair-opt on an empty module  {seconds(_OPT, repeat):6.2f} s")


_OPT = (
    "import io, sys; sys.stdin = io.TextIOWrapper(io.BytesIO(b'builtin.module {}'));"
    "sys.argv = ['torchair-opt'];"
    "from torchair.tools.opt import main; main()"
)

if __name__ == "__main__":
    main()
