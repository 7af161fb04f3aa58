"""The page on responsible use: its figures are those of the committed predictions, and models and services name it."""

import runpy

import pytest

from emofocus.export.model_card import CARD
from helpers.paths import ROOT

PAGE = (ROOT / "docs" / "responsible-use.md").read_text(encoding="utf-8")


def test_its_errors_by_group_are_those_of_the_committed_predictions() -> None:
    if not (ROOT / "results").is_dir():
        pytest.skip("the committed results are not part of the source archive")
    assert runpy.run_path(str(ROOT / "docs" / "errors_by_group.py"))["table"]() in PAGE


def test_cards_and_the_service_name_it() -> None:
    server = pytest.importorskip("emofocus.serving.server")
    shipped = (ROOT / "src" / "emofocus" / "assets" / "default" / "README.md").read_text(encoding="utf-8")
    for text in (CARD, shipped, server.CAUTION):
        assert "docs/responsible-use.md" in text


@pytest.mark.parametrize("article", ["5(1)(f)", "50(3)", "50(5)", "2(12)", "3(39)"])
def test_the_articles_that_concern_deployers_are_there(article: str) -> None:
    assert article in PAGE
