"""``config.debug.fx_summary``: which operators of a graph are supported, as a CSV file.

Columns and status words are those of the public tool; spreadsheets read the file (UTF-8 with a
byte order mark).
"""

from __future__ import annotations

import csv
import io
import os
import warnings
from collections import Counter
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import torch
from torch.fx import GraphModule

from torchair.errors import UnsupportedOpError
from torchair.frontend.artifacts import write_text
from torchair.frontend.auto_functionalized import expand_auto_functionalized
from torchair.frontend.operator_uses import OperatorUse, operator_uses

COLUMNS = ("目标函数", "函数类型", "支持状态", "调用次数", "输入统计", "输出统计")
"""Target, kind, status, number of calls, statistics of inputs, statistics of outputs."""

STATUS_WORDS = {
    "converted": "已支持",
    "partly converted": "部分支持",
    "refused": "未实现",
    "unsupported": "未注册",
}
"""Supported; in part; a converter that takes none of the calls; no converter."""

_BYTE_ORDER_MARK = "\ufeff"


def summary_text(graph_module: GraphModule) -> str:
    """The CSV of one graph, a row per operator in order of first use."""
    with suppress(UnsupportedOpError):  # what cannot be expanded is a row like any other
        expand_auto_functionalized(graph_module)
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(_row(use) for use in operator_uses(graph_module))
    return stream.getvalue()


def _row(use: OperatorUse) -> tuple[object, ...]:
    status = STATUS_WORDS[use.status]
    return use.target, use.kind, status, use.calls, _counted(use.inputs), _counted(use.outputs)


def _counted(values: Counter[str]) -> str:
    return "\n".join(f"{count}次：{text}" for text, count in values.most_common())  # noqa: RUF001


def write_summary(graph_module: GraphModule, folder: Path | None = None) -> Path:
    """Write the summary of one graph and warn where it is.

    Args:
        graph_module: an AOT graph.
        folder: where to; the current directory when None.

    Returns:
        ``summary_rank_<rank>_pid_<pid>_ts_<time, UTC>.csv``.
    """
    moment = datetime.now(UTC).strftime("%Y%m%d%H%M%S%f")
    name = f"summary_rank_{_rank()}_pid_{os.getpid()}_ts_{moment}.csv"
    text = _BYTE_ORDER_MARK + summary_text(graph_module)
    path = write_text((folder or Path.cwd()) / name, text)
    warnings.warn(
        f"the support summary of a graph is in {path}; unset config.debug.fx_summary.type to "
        "compile normally",
        UserWarning,
        stacklevel=2,
    )
    return path


def _rank() -> int:
    distributed = torch.distributed
    ready = distributed.is_available() and distributed.is_initialized()
    return distributed.get_rank() if ready else 0
