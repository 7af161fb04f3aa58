"""The sentences of a Markdown page, and how long they are."""

import re
from collections.abc import Iterator

FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
COMMENT = re.compile(r"<!--.*?-->|<[^>]+>", re.DOTALL)
CODE = re.compile(r"`[^`]+`")
IMAGE = re.compile(r"!\[[^]]*]\([^)]*\)")
LINK = re.compile(r"\[([^]]*)]\([^)]*\)")
NO_PROSE = re.compile(r"^(\s*\||#|---|===)")
"""Beginnings of tables, headings and rules."""

ITEM = re.compile(r"^\s*(?:[-*]|\d+\.|>)\s+")
END = re.compile(r"(?<=[.!?:])[*_)\"]*\s+(?=[A-Z`\"*(\[“])")
"""Ends of sentences, and colons before a new one."""


def blocks(markdown: str) -> Iterator[str]:
    """Paragraphs and list items as one line each, without code, tables, headings and pictures."""
    text = IMAGE.sub("", COMMENT.sub("", FENCE.sub("", markdown)))
    lines: list[str] = []
    for line in [*text.splitlines(), ""]:
        ends = not line.strip() or NO_PROSE.match(line)
        if lines and (ends or ITEM.match(line)):
            yield " ".join(lines)
            lines = []
        if not ends:
            lines.append(ITEM.sub("", line).strip())


def sentences(markdown: str) -> list[str]:
    """Sentences of a page; code counts as a word."""
    plain = (LINK.sub(r"\1", CODE.sub("`code`", block)) for block in blocks(markdown))
    return [sentence for block in plain for sentence in END.split(block) if len(sentence.split()) > 1]


def words(sentence: str) -> int:
    """Number of words of a sentence; signs alone are none."""
    return sum(any(letter.isalnum() for letter in word) for word in sentence.split())
