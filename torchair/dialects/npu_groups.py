"""Groups of ranks as torch_npu's collectives name them: a tag and the ranks.

Eager implementations and converters read the same names.
"""

from __future__ import annotations

from collections.abc import Sequence

from torchair.errors import ConversionError

COMMUNICATOR = "communicator="
"""Begins a tag that is the name of a communicator rather than torch's tag of a group."""


def group_name(tag: str, ranks: Sequence[int]) -> str:
    """The name of a group in a GE graph: ``tag=<tag>;rank_list=0,1``, or its communicator's."""
    if tag.startswith(COMMUNICATOR):
        return tag.removeprefix(COMMUNICATOR)
    return f"tag={tag};rank_list={','.join(str(rank) for rank in ranks)}"


def group_rank(
    rank: int | None, rank_in_group: int | None, ranks: Sequence[int], operator: str
) -> int:
    """Place of a rank in its group.

    Args:
        rank: the rank among all processes, or None.
        rank_in_group: its place in the group, or None; one of the two is given.
        ranks: all ranks of the group.
        operator: who asks, for the message.

    Raises:
        ConversionError: none or both are given, or the rank is not in the group.
    """
    if (rank is None) == (rank_in_group is None):
        raise ConversionError(f"{operator}: pass either a rank or a rank in the group")
    if rank is not None and rank in ranks:
        return list(ranks).index(rank)
    if rank_in_group is not None and 0 <= rank_in_group < len(ranks):
        return rank_in_group
    raise ConversionError(
        f"{operator}: the rank is not in the group",
        expected=f"one of {list(ranks)}",
        found=rank if rank_in_group is None else rank_in_group,
    )
