"""Kernels of the exchange between attention and expert workers: the host device has none.

Graphs with these operators are made and written; running one needs NPUs.
"""

from __future__ import annotations

from typing import Any, NoReturn

from torchair.backend_ge.host.kernels.registry import kernel
from torchair.errors import EngineError


def refuse(name: str) -> NoReturn:
    """Say that an operator needs other workers.

    Raises:
        EngineError: always.
    """
    raise EngineError(
        f"{name} exchanges tokens with other workers, and the host device has none",
        hint="run this graph on NPUs; its GE graph can be written here",
    )


@kernel("AttentionToFFN", random=True)
def attention_to_ffn(*inputs: Any, **rest: Any) -> NoReturn:
    """Sends tokens to the workers of their experts."""
    refuse("AttentionToFFN")


@kernel("FFNToAttention", random=True)
def ffn_to_attention(*inputs: Any, **rest: Any) -> NoReturn:
    """Sends tokens back to the workers they came from."""
    refuse("FFNToAttention")


@kernel("AttentionWorkerCombine")
def attention_worker_combine(*inputs: Any, **rest: Any) -> NoReturn:
    """Sums what came back, weighted."""
    refuse("AttentionWorkerCombine")


@kernel("FfnWorkerBatching")
def ffn_worker_batching(*inputs: Any, **rest: Any) -> NoReturn:
    """Sorts received tokens by expert."""
    refuse("FfnWorkerBatching")
