"""Evaluation on labeled speech: committed figures to the digit, groups of any kind, and reports that show them."""

import csv
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from emofocus.corpora.labels import aligned
from emofocus.errors import ConfigError
from emofocus.evaluation.assessment import EvaluationOptions, evaluate
from emofocus.evaluation.assessment.answers import TRAITS, Answers, length_in_words, read_answers, shared_utterances
from emofocus.evaluation.assessment.classes import classes_of_text
from emofocus.evaluation.assessment.measures import UNKNOWN, measure_model, paired_tests
from emofocus.evaluation.assessment.rendering import json_text, markdown_text, page_text
from emofocus.evaluation.results import read_run
from emofocus.metrics.statistics import FIGURES, intervals
from helpers.paths import RESULTS, ROOT
from helpers.properties import cases

SHIPPED_RUN = RESULTS / "ravdess" / "actors5" / "compact-faca-emofocus+offset-removed" / "seed0"
RUNS = ("ravdess/actors5/compact-faca-emofocus/seed0", "emodb/speaker/encoder-faca-encoder/seed0")
LABELS = ("neutral", "calm", "happy", "sad", "angry", "fearful", "disgust", "surprised")


def needs(folder: Path) -> Path:
    if not folder.is_dir():
        pytest.skip("the committed results are not part of the source archive")
    return folder


def made(
    labels: Sequence[str],
    predictions: Sequence[str],
    classes: Sequence[str] = ("angry", "happy", "sad"),
    threshold: float = 0.5,
    sure: float = 0.6,
    **traits: Sequence[str],
) -> Answers:
    """Answers each of which has a probability of ``sure``; what is not given is not known."""
    count = len(labels)
    probabilities = np.full((count, len(classes)), (1 - sure) / (len(classes) - 1))
    for number, name in enumerate(predictions):
        probabilities[number, list(classes).index(name)] = sure
    return Answers(
        name="model",
        classes=tuple(classes),
        utterances=tuple(f"{number:04}.wav" for number in range(count)),
        labels=tuple(labels),
        predictions=tuple(predictions),
        probabilities=probabilities,
        thresholds=np.full(count, threshold),
        traits={name: tuple(traits.get(name, [""] * count)) for name in TRAITS},
    )


def written(folder: Path, answers: Answers, name: str = "predictions.csv") -> Path:
    """A file of answers as `emofocus evaluate` writes it."""
    path = folder / name
    folder.mkdir(exist_ok=True, parents=True)
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(
            ["file", "speaker", "gender", "label", "prediction", *(f"p_{name}" for name in answers.classes)]
        )
        for number, utterance in enumerate(answers.utterances):
            traits = [answers.traits[trait][number] for trait in ("speaker", "gender")]
            row = [utterance, *traits, answers.labels[number], answers.predictions[number]]
            writer.writerow([*row, *answers.probabilities[number]])
    return path


def test_the_committed_figures_of_the_shipped_model_come_out_to_the_digit() -> None:
    fold = json.loads((needs(SHIPPED_RUN) / "summary.json").read_text())["folds"][0]
    model = evaluate([str(SHIPPED_RUN / "predictions.csv")], EvaluationOptions()).models[0]
    assert {name: round(getattr(model, name).value, 6) for name in FIGURES} == {name: fold[name] for name in FIGURES}
    calibration = model.calibration
    stated = (fold["ece"], fold["coverage"], fold["selective_wa"], [fold["threshold"]])
    assert calibration.confident_wa is not None
    assert calibration.coverage is not None
    found = (round(calibration.ece, 6), round(calibration.coverage, 6), round(calibration.confident_wa, 6))
    assert (*found, calibration.thresholds) == stated
    recalls = {item.name: item.recall for item in model.by_class}
    assert recalls["neutral"] == 0.45
    assert recalls["angry"] == 0.9


@pytest.mark.parametrize("name", RUNS)
def test_the_figures_of_all_folds_are_those_of_the_report(name: str) -> None:
    run = read_run(needs(RESULTS / name))
    model = evaluate([str(RESULTS / name)], EvaluationOptions()).models[0]
    assert (model.wa, model.ua, model.macro_f1) == tuple(
        type(model.wa)(*interval) for interval in intervals([run.predictions]).values()
    )
    folds = next(table for table in model.by_group if table.trait == "fold")
    assert [round(group.ua, 6) for group in folds.groups] == [round(item.ua, 6) for item in run.summary.folds]
    women = {group.value: group.ua for table in model.by_group if table.trait == "gender" for group in table.groups}
    assert set(women) == {"female", "male"}


def test_four_classes_of_a_run_on_several_corpora_are_those_of_its_report() -> None:
    folder = needs(RESULTS / "multi" / "unseen" / "encoder-faca-encoder-short" / "seed0")
    run = read_run(folder)
    four = ("neutral", "happy", "sad", "angry")
    report = evaluate([str(folder)], EvaluationOptions(classes=",".join(four)))
    corpora = next(table for table in report.models[0].by_group if table.trait == "corpus")
    for group in corpora.groups:
        chosen = run.groups["corpus"] == group.value
        assert group.ua == pytest.approx(run.figures_of(chosen, four)[1])
    assert set(report.left_out) == {"fearful", "disgust", "surprised"}


HEARD_BY_NONE = {"emodb": "EmoDB", "emovo": "EMOVO", "turev": "TurEV", "tess": "TESS", "ased": "ASED", "nemo": "nEMO"}
"""Corpora that the shipped model never heard, and their names on the page of limits."""


@pytest.mark.parametrize("corpus", HEARD_BY_NONE)
def test_the_committed_evaluations_and_their_page_are_those_of_the_committed_answers(corpus: str) -> None:
    folder = needs(RESULTS / corpus / "evaluate" / "compact-faca-emofocus+offset-removed")
    stated = json.loads((folder / "summary.json").read_text())
    report = evaluate([str(folder)], EvaluationOptions(classes="angry,happy,neutral,sad"))
    model = report.models[0]
    assert {**json.loads(json_text(report))["models"][0], "name": ""} == {**stated["models"][0], "name": ""}
    assert (report.utterances, report.speakers) == (stated["utterances"], stated["speakers"])
    calm = evaluate([str(folder)], EvaluationOptions(classes="angry,happy,neutral=neutral+calm,sad")).models[0]
    made = model.calibration
    assert made.coverage is not None
    assert made.confident_wa is not None
    cells = [
        f"{report.utterances:,}, {report.speakers}",
        f"{100 * model.ua.value:.1f} [{100 * model.ua.low:.1f}, {100 * model.ua.high:.1f}]",
        f"{100 * calm.ua.value:.1f}",
        f"{100 * model.chance['ua'].high:.1f}",
        f"{100 * made.ece:.0f}",
        f"{100 * made.coverage:.0f}, {100 * made.confident_wa:.0f}",
    ]
    rows = [
        line
        for line in (ROOT / "docs" / "limits.md").read_text().splitlines()
        if f"| {HEARD_BY_NONE[corpus]} |" in line
    ]
    assert any(row.endswith(f"| {' | '.join(cells)} |") for row in rows)


def test_labels_are_taken_for_the_class_of_the_same_word_or_a_synonym() -> None:
    names = aligned(["Anger", "HAPPY", "sadness", "fear", "surprise", "neu", "boredom", "exuberant"], LABELS)
    assert names == {
        "Anger": "angry",
        "HAPPY": "happy",
        "sadness": "sad",
        "fear": "fearful",
        "surprise": "surprised",
        "neu": "neutral",
    }
    assert aligned(["calm"], ("neutral", "happy")) == {}
    assert aligned(["yes", "No"], ("no", "yes")) == {"yes": "yes", "No": "no"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("angry,hapy", r"no model has a class 'hapy' \(did you mean happy\?\)"),
        ("angry,angry", "'angry' is there twice"),
        ("angry,mad=angry+sad", "'angry' counts as 'angry' already"),
        ("angry", "asks for angry, and an evaluation needs two classes"),
        ("", "no model has a class ''"),
    ],
)
def test_classes_that_cannot_be_asked_for_are_refused(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        classes_of_text(text, LABELS, LABELS)


def test_classes_that_count_as_one_have_the_sum_of_their_probabilities() -> None:
    answers = made(["sad", "happy", "angry"], ["happy", "happy", "angry"], sure=0.4)
    asked = answers.asked({"low": ("sad", "angry"), "happy": ("happy",)})
    assert asked.labels == ("low", "happy", "low")
    assert asked.predictions == ("low", "low", "low")  # 0.6 against 0.4, thrice
    assert asked.probabilities.sum(axis=1) == pytest.approx(np.ones(3))


def test_a_difference_between_groups_is_flagged_and_one_by_chance_is_not() -> None:
    random = np.random.default_rng(0)
    labels = ["angry", "happy", "sad"] * 100
    sexes = ["female", "male"] * 150
    fair = [label if random.random() < 0.7 else "sad" for label in labels]
    unfair = [label if sex == "female" else "sad" for label, sex in zip(labels, sexes, strict=True)]
    for predictions, flagged in ((fair, False), (unfair, True)):
        table = measure_model(made(labels, predictions, gender=sexes), ("angry", "happy", "sad")).by_group[0]
        ua = [flag for group in table.groups for flag in group.flags if flag.startswith("UA")]
        assert bool(ua) == flagged
        assert all(group.threshold is not None for group in table.groups)


def test_a_group_that_lacks_a_hard_class_has_no_gap_by_that_alone() -> None:
    """UA of a group is compared with that of all over the same classes."""
    labels = ["angry", "happy"] * 50 + ["sad"] * 50
    predictions = ["angry", "happy"] * 50 + ["happy"] * 50  # sad is never recognized, the others always
    sexes = ["female"] * 100 + ["male"] * 50
    groups = measure_model(made(labels, predictions, gender=sexes), ("angry", "happy", "sad")).by_group[0].groups
    assert [group.gap for group in groups] == [0.0, 0.0]


def test_small_groups_are_not_judged() -> None:
    answers = made(["angry", "happy"] * 20, ["angry", "happy"] * 19 + ["sad"] * 2, speaker=["a"] * 38 + ["b"] * 2)
    small = measure_model(answers, ("angry", "happy", "sad")).by_group[0].groups[1]
    assert (small.value, small.ua, small.threshold, small.flags) == ("b", 0.0, None, [])


def test_lengths_are_told_apart_at_their_edges() -> None:
    assert [length_in_words(seconds) for seconds in (0.5, 1.0, 1.5, 16.0, 16.1)] == [
        "up to 1 s",
        "up to 1 s",
        "1 to 2 s",
        "8 to 16 s",
        "over 16 s",
    ]


def test_models_are_compared_on_the_utterances_that_both_answered() -> None:
    labels = ["angry", "happy", "sad"] * 30
    good, bad = made(labels, labels), made(labels, ["sad"] * 90)
    one, two = shared_utterances([good.kept(np.arange(90) < 80), bad.kept(np.arange(90) >= 10)])
    assert one.utterances == two.utterances == tuple(f"{number:04}.wav" for number in range(10, 80))
    (test,) = paired_tests([one], two, ("angry", "happy", "sad"))
    assert test.ua.value == pytest.approx(2 / 3)
    assert (test.only_first, test.only_second) == (sum(label != "sad" for label in one.labels), 0)
    assert test.mcnemar_p < 0.001


def test_models_without_a_common_utterance_cannot_be_compared() -> None:
    answers = made(["angry", "happy"], ["angry", "happy"])
    with pytest.raises(ConfigError, match="no utterance in common"):
        shared_utterances([answers.kept(np.array([True, False])), answers.kept(np.array([False, True]))])


def test_models_that_label_an_utterance_differently_cannot_be_compared() -> None:
    one, two = made(["angry", "happy"], ["sad", "sad"]), made(["angry", "sad"], ["sad", "sad"])
    with pytest.raises(ConfigError, match=r"label 0001\.wav differently: 'happy' and 'sad'"):
        shared_utterances([one, two])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "it has no line"),
        ("file,emotion\na,b\n", "no column 'label'"),
        ("file,label,prediction\na,b,c\n", "no probabilities"),
        ("file,label,prediction,p_b\na,b,b,x\n", "damaged"),
        ("file,label,prediction,p_b\na,b,c,1\n", "damaged, 'c'"),
        ("file,label,prediction,p_b\na,b,b,nan\n", "damaged"),
        ("file,label,prediction,p_b\na,b,b\n", "damaged"),
    ],
)
def test_files_that_hold_no_answers_are_refused(content: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "predictions.csv").write_text(content)
    with pytest.raises(ConfigError, match=message):
        read_answers(tmp_path / "predictions.csv", "x")


def test_a_file_of_answers_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.csv: cannot be read"):
        evaluate([str(tmp_path / "none.csv")], EvaluationOptions())


def test_one_class_alone_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path, made(["sad"] * 4, ["sad", "happy", "angry", "sad"]))
    with pytest.raises(ConfigError, match="all 4 utterances are sad: an evaluation needs two classes"):
        evaluate([str(path)], EvaluationOptions())


def test_one_speaker_is_evaluated_with_a_word(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = written(tmp_path, made(["sad", "happy"] * 6, ["sad"] * 12, speaker=["anna"] * 12))
    report = evaluate([str(path)], EvaluationOptions())
    line = "one speaker: intervals resample utterances, and say nothing about other speakers"
    assert line in report.notes
    assert line in capfd.readouterr().err
    assert (report.unit, report.speakers) == ("utterances", 1)


def test_a_class_that_one_of_two_models_lacks_is_left_out_and_not_asked_for(tmp_path: Path) -> None:
    labels = ["sad", "happy", "angry"] * 4
    whole = written(tmp_path / "whole", made(labels, labels))
    small = written(tmp_path / "small", made(labels, ["sad", "happy", "sad"] * 4, classes=("happy", "sad")))
    report = evaluate([str(whole), str(small)], EvaluationOptions())
    assert (report.utterances, report.left_out) == (8, {"angry": 4})
    with pytest.raises(ConfigError, match=r"has no class 'angry' \(valid: happy, sad\)"):
        evaluate([str(whole), str(small)], EvaluationOptions(classes="angry,happy"))


def test_utterances_that_one_of_two_models_has_not_answered_are_counted(tmp_path: Path) -> None:
    answers = made(["sad", "happy"] * 6, ["sad"] * 12)
    whole = written(tmp_path / "whole", answers)
    part = written(tmp_path / "part", answers.kept(np.arange(12) > 2))
    report = evaluate([str(whole)], EvaluationOptions(against=str(part)))
    assert "3 utterances that not all models have answered are in no figure" in report.notes
    assert report.utterances == 9


def test_a_corpus_beside_answers_alone_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path, made(["sad", "happy"], ["sad", "sad"]))
    with pytest.raises(ConfigError, match="--corpus x: predictions"):
        evaluate([str(path)], EvaluationOptions(corpus="x"))


names = st.sampled_from(["", "anna", "a|b", "<script>x</script>", "Ünü", "*", "not known", "0", "up to 1 s", "a\nb"])
wild = st.integers(2, 60).flatmap(
    lambda count: st.tuples(
        *(
            st.lists(source, min_size=count, max_size=count)
            for source in (
                st.sampled_from(["angry", "happy", "sad"]),
                st.sampled_from(["angry", "happy", "sad"]),
                names,
                names,
                st.sampled_from(["", "1 to 2 s", "over 16 s", "up to 1 s"]),
            )
        )
    )
)


@given(wild, st.sampled_from([0.4, 0.6, 1.0]), st.sampled_from([float("nan"), 0.0, 0.5, 0.99]))
@cases(12, 200)
def test_tables_of_groups_hold_for_whatever_is_known(
    columns: tuple[list[str], ...], sure: float, threshold: float
) -> None:
    labels, predictions, genders, speakers, lengths = columns
    answers = made(
        labels, predictions, sure=sure, threshold=threshold, gender=genders, speaker=speakers, length=lengths
    )
    model = measure_model(answers, ("angry", "happy", "sad"))
    count = len(labels)
    assert sum(map(sum, model.confusion)) == count
    assert sum(item.utterances for item in model.by_class) == sum(item.answers for item in model.by_class) == count
    assert sum(item.utterances for item in model.calibration.bins) == count
    for table in model.by_group:
        values = set(answers.traits[table.trait])
        assert len({value or UNKNOWN for value in values}) == len(table.groups)
        assert sum(group.utterances for group in table.groups) == count
        right = sum(group.wa * group.utterances for group in table.groups)
        assert right / count == pytest.approx(model.wa.value)
        for group in table.groups:
            assert 0 <= group.ua <= 1
            assert -1 <= group.gap <= 1
            assert (group.threshold is None) == (group.utterances < 25)


@given(wild)
@cases(10, 100)
def test_reports_show_whatever_is_known(columns: tuple[list[str], ...]) -> None:
    labels, predictions, genders, speakers, _ = columns
    if len(set(labels)) < 2:
        return
    with pytest.MonkeyPatch.context() as patch:
        answers = made(labels, predictions, gender=genders, speaker=speakers)
        patch.setattr("emofocus.evaluation.assessment.evaluation.read_answers", lambda *_: answers)
        report = evaluate(["x.csv"], EvaluationOptions())
    assert json.loads(json_text(report))["utterances"] == len(labels)
    page = page_text(report)
    assert "<script" not in page
    assert "@@" not in page
    for block in markdown_text(report).split("\n\n"):
        lines = [line for line in block.splitlines() if line.startswith("|")]
        assert len({line.replace("\\|", "").count("|") for line in lines}) <= 1
