"""Tables in Markdown, without any dependency."""

from collections.abc import Iterable, Sequence


def table(head: Sequence[str], rows: Iterable[Sequence[str]], right: int = 0) -> str:
    """Table in Markdown; columns from number ``right`` on are aligned to the right, none if it is 0."""
    rule = ["---:" if right and number >= right else "---" for number in range(len(head))]
    return "\n".join("| " + " | ".join(row) + " |" for row in (head, rule, *rows)) + "\n"
