"""Documentation comments of prototypes (``@brief``, ``@par Inputs:``, ``@li``) as plain text."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

_MARKS = re.compile(r"^\s*(?:/\*[*!]+<?|\*+/|\*(?!\*)|//[/!]<?)?[ \t]?", re.MULTILINE)
_END = re.compile(r"\*+/\s*$")
_TAG = re.compile(r"^[ \t]*@(\w+)[ \t]*(.*)$")
_ITEM = re.compile(r"^[ \t]*(?:@li[ \t]*)?([A-Za-z_]\w*)[ \t]*:[ \t]*(.*)$")
_SENTENCE = re.compile(r"(.+?[.!?])(?:\s|$)", re.DOTALL)
_UNPRINTABLE = re.compile(r"[\x00-\x08\x0e-\x1f\x7f\ud800-\udfff]")
_LONGEST_BRIEF = 160


@dataclass
class Doc:
    """A documentation comment.

    Args:
        brief: the first section, in paragraphs.
        items: text of each described input, output or attribute.
        notes: the other sections, heading and lines.
    """

    brief: list[str] = field(default_factory=list[str])
    items: dict[str, str] = field(default_factory=dict[str, str])
    notes: list[tuple[str, list[str]]] = field(default_factory=list[tuple[str, list[str]]])


def plain_lines(comment: str) -> list[str]:
    """Lines of a comment without its marks and Doxygen's line breaks."""
    text = _MARKS.sub("", _END.sub("", _UNPRINTABLE.sub("", comment)))
    return [line.replace("\\n", "").rstrip() for line in text.splitlines()]


def parse_comment(comment: str, names: frozenset[str] = frozenset()) -> Doc:
    """Sections of a documentation comment.

    Args:
        comment: the comment, marks included.
        names: inputs, outputs and attributes; lines ``name: text`` describe them.
    """
    doc = Doc()
    target = doc.brief
    item = ""
    for line in plain_lines(comment):
        tag = _TAG.match(line)
        if tag and tag[1] != "li":
            item = ""
            line = tag[2]
            target = doc.brief
            if tag[1] != "brief":
                heading, line = (line.rstrip(": "), "") if tag[1] == "par" else (tag[1], line)
                target = list[str]()
                doc.notes.append((heading, target))
        described = _ITEM.match(line)
        if described and described[1] in names:
            item = described[1]
            doc.items[item] = described[2]
        elif item and line.strip() and not tag:
            doc.items[item] += f" {line.strip()}"
        elif line.strip() or target:
            target.append(line.replace("@li", "-").strip())
            item = ""
    doc.notes = [(head, lines) for head, lines in doc.notes if any(lines)]
    return doc


def brief_of(comment: str) -> str:
    """The first sentence of a comment, in one line; empty when there is none."""
    text = " ".join(" ".join(parse_comment(comment).brief).split())
    sentence = _SENTENCE.match(text)
    found = sentence[1] if sentence else text
    return found if len(found) <= _LONGEST_BRIEF else f"{found[: _LONGEST_BRIEF - 3]}..."
