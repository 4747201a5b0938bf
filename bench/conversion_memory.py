"""Memory a compile needs beyond the weights: a model of 1 GB, peak RSS growth from FX to
executable.

    python bench/conversion_memory.py [--gigabytes 1.0]
"""

from __future__ import annotations

import argparse
import resource
import threading
import time
from pathlib import Path

import torch
from torch import nn

import torchair
from torchair.frontend import compile as stages


def rss_mib() -> float:
    """Resident set size of this process in MiB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


class PeakRss(threading.Thread):
    """Samples the resident set size every millisecond."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.peak = rss_mib()
        self.done = False

    def run(self) -> None:
        while not self.done:
            self.peak = max(self.peak, rss_mib())
            time.sleep(0.001)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--gigabytes", type=float, default=1.0)
    size = 4096
    count = max(1, round(parser.parse_args().gigabytes * 2**30 / (4 * size * size)))
    growth: list[float] = []
    original = stages.compile_fx_graph

    def measured(*args: object, **kwargs: object) -> object:
        watch = PeakRss()
        before = rss_mib()
        watch.start()
        result = original(*args, **kwargs)  # pyright: ignore
        watch.done = True
        watch.join()
        growth.append(watch.peak - before)
        return result

    warm = torch.compile(nn.Linear(8, 8), backend=torchair.get_npu_backend())
    with torch.no_grad():
        warm(torch.randn(2, 8))
    import torchair.frontend.dynamo as dynamo

    dynamo.compile_fx_graph = measured  # pyright: ignore
    model = nn.Sequential(*(nn.Linear(size, size, bias=False) for _ in range(count)))
    weights = sum(p.numel() * p.element_size() for p in model.parameters()) / 2**20
    with torch.no_grad():
        torch.compile(model, backend=torchair.get_npu_backend())(torch.randn(1, size))
    print(f"weights {weights:.0f} MiB; peak RSS growth of the compile {max(growth):.1f} MiB")


if __name__ == "__main__":
    main()
