"""The page on responsible use: its figures are those of the committed predictions, and models and services name it."""

import pytest

from emofocus.export.model_card import CARD
from helpers.paths import RESULTS, ROOT

PAGE = (ROOT / "docs" / "responsible-use.md").read_text(encoding="utf-8")


RUNS = {
    "RAVDESS, `actors5`, `compact-faca`": "ravdess/actors5/compact-faca-emofocus/seed0",
    "RAVDESS, `actors5` fold 0, `compact-faca` (shipped)": "ravdess/actors5/compact-faca-emofocus+offset-removed/seed0",
    "RAVDESS, `emobox6`, `compact-faca`": "ravdess/emobox6/compact-faca-emofocus/seed0",
    "RAVDESS, `actors5`, `encoder-faca`": "ravdess/actors5/encoder-faca-encoder/seed0",
    "RAVDESS, `emobox6`, `encoder-faca`": "ravdess/emobox6/encoder-faca-encoder/seed0",
    "EmoDB, `speaker`, `compact-faca`": "emodb/speaker/compact-faca-emofocus/seed0",
    "EmoDB, `speaker`, `encoder-faca`": "emodb/speaker/encoder-faca-encoder/seed0",
}
"""Name in the table → folder below results/."""


@pytest.mark.parametrize("name", RUNS)
def test_its_errors_by_group_are_those_of_the_committed_predictions(name: str) -> None:
    assessment = pytest.importorskip("emofocus.evaluation.assessment")
    if not RESULTS.is_dir():
        pytest.skip("the committed results are not part of the source archive")
    model = assessment.evaluate([str(RESULTS / RUNS[name])], assessment.EvaluationOptions()).models[0]
    groups = {table.trait: {group.value: group.ua for group in table.groups} for table in model.by_group}
    sexes, speakers = groups["gender"], groups["speaker"].values()
    shares = (model.ua.value, sexes["female"], sexes["male"], min(speakers), max(speakers))
    row = next(line for line in PAGE.splitlines() if line.startswith(f"| {name} |"))
    stated = [float(cell) for cell in row.strip("|").split("|")[1:]]
    assert stated == pytest.approx([100 * share for share in shares], abs=0.0501)  # one of them is halfway


def test_cards_and_the_service_name_it() -> None:
    server = pytest.importorskip("emofocus.serving.server")
    shipped = (ROOT / "src" / "emofocus" / "assets" / "default" / "README.md").read_text(encoding="utf-8")
    for text in (CARD, shipped, server.CAUTION):
        assert "docs/responsible-use.md" in text


@pytest.mark.parametrize("article", ["5(1)(f)", "50(3)", "50(5)", "2(12)", "3(39)"])
def test_the_articles_that_concern_deployers_are_there(article: str) -> None:
    assert article in PAGE
