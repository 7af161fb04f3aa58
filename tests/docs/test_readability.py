"""The README, the tutorials, research and the page on responsible use are read once: pages of short sentences."""

import statistics
from pathlib import Path

import pytest

from helpers.paths import ROOT
from helpers.prose import sentences, words

DOCS = ROOT / "docs"
RESEARCH = [DOCS / f"{name}.md" for name in ("architecture", "gallery", "scale", "why")]
PAGES = [ROOT / "README.md", DOCS / "responsible-use.md", *sorted((DOCS / "tutorials").glob("*.md")), *RESEARCH]


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.stem)
def test_sentences_are_short(page: Path) -> None:
    """A median of at most 18 words, and none above 40."""
    found = sentences(page.read_text(encoding="utf-8"))
    lengths = [words(sentence) for sentence in found]
    assert lengths
    assert statistics.median(lengths) <= 18
    assert [sentence for sentence, length in zip(found, lengths, strict=True) if length > 40] == []


def test_the_readme_is_a_screen() -> None:
    lines = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 130
    assert [line for line in lines if len(line) >= 100] == []


def test_sentences_are_told_apart() -> None:
    text = "# No\n\nOne two. Three `a b c`, four:\n\n```sh\nno no\n```\n\n- Five [six](seven.md)\n  eight.\n\n| no |\n"
    assert sentences(text) == ["One two.", "Three `code`, four:", "Five six eight."]
