"""Leaderboards: what a network costs, how runs are ranked and tested, what is refused, and what is written."""

import csv
import json
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner, Result
from torch import nn

import emofocus.models.complexity
from emofocus.cli.main import app
from emofocus.config import ModelConfig, SegmentSettings
from emofocus.errors import EmofocusError, MissingExtraError
from emofocus.evaluation.leaderboard import leaderboard
from emofocus.evaluation.leaderboard_table import short
from emofocus.evaluation.report import ResultError, read_results
from emofocus.metrics.statistics import compare, holm, intervals
from emofocus.models import MODELS
from emofocus.models.complexity import multiply_accumulates, network_cost, real_time_factor
from emofocus.training.experiment import parameter_count
from emofocus.training.results import averages, measure_rows
from emofocus.training.setup import recipe_of
from helpers.paths import RESULTS
from helpers.runs import CLASSES, FOLDS, change, digest, write_result
from helpers.speeds import slow_but

RANDOM = [RESULTS / "ravdess" / "random" / name / "seed0" for name in ("compact-faca-emofocus", "mhsa-faca-quick")]
LABELS = tuple(CLASSES)


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["compare", *map(str, arguments)], catch_exceptions=False)


@pytest.fixture
def plain(tmp_path: Path) -> Path:
    """A run that recognizes half of the utterances."""
    return write_result(tmp_path, "speaker", "bmhsa", right=0.5)


@pytest.fixture
def good(tmp_path: Path) -> Path:
    """Another network on the same folds, which recognizes most."""
    return write_result(tmp_path, "speaker", "mhsa-faca", right=0.8)


@pytest.fixture
def fair(tmp_path: Path) -> Path:
    """A third one, between them."""
    return write_result(tmp_path, "speaker", "mhsa-fa", right=0.65)


# What a network costs


def test_multiply_accumulates_are_those_of_the_formulas() -> None:
    assert multiply_accumulates(nn.Linear(3, 5), torch.zeros(7, 3)) == 7 * 3 * 5
    assert multiply_accumulates(nn.Conv2d(3, 5, (3, 2)), torch.zeros(2, 3, 8, 9)) == 2 * (6 * 8) * 5 * (3 * 3 * 2)
    assert multiply_accumulates(nn.Conv2d(4, 8, 3, stride=2, groups=4), torch.zeros(1, 4, 9, 9)) == (4 * 4) * 8 * 9


@pytest.mark.parametrize("directions", [1, 2])
@pytest.mark.parametrize("layers", [1, 3])
def test_an_lstm_counts_its_four_gates_at_every_step(layers: int, directions: int) -> None:
    """torch's counter passes over the fused LSTM of a CPU."""
    size, hidden, batch, steps = 6, 4, 2, 7
    lstm = nn.LSTM(size, hidden, layers, batch_first=True, bidirectional=directions == 2)
    widths = [size] + [directions * hidden] * (layers - 1)
    expected = batch * steps * directions * sum(4 * hidden * (width + hidden) for width in widths)
    assert multiply_accumulates(lstm, torch.zeros(batch, steps, size)) == expected


def test_the_papers_network_by_hand() -> None:
    """Ten seconds: 1001 frames, each convolved once, in 96 segments of 50."""
    frames, segments, m, width, heads = 1001, 96, 50, 512, 8
    convolutions = frames * (38 * 64 * 3 + 17 * 64 * 64 * 3)
    lstm = segments * m * 2 * 2 * 4 * 256 * (512 + 256)
    attention = segments * (4 * m * width**2 + 2 * m * m * width)
    classifier = segments * (width * 128 + 128 * 3)
    plain = convolutions + lstm + attention + classifier
    assert network_cost(ModelConfig.of("bmhsa", LABELS)) == plain // 10
    focus, calibration = segments * (m + 1) * width**2, segments * heads**2
    assert network_cost(ModelConfig.of("mhsa-faca", LABELS)) == (plain + focus + calibration) // 10


@pytest.mark.parametrize("model", slow_but(MODELS))
def test_every_networks_cost_is_known(model: str) -> None:
    """audio-bre's LSTM, whose ends depend on the sound, could not be counted."""
    recipe = recipe_of(model, "emofocus" if model.startswith("compact") else "paper", None)[1]
    assert network_cost(recipe.config(model, LABELS)) > 1e5


def test_segments_that_overlap_less_cost_less() -> None:
    dense, sparse = (
        network_cost(ModelConfig.of("compact-faca", LABELS, segment=SegmentSettings(frames=50, hop=hop)))
        for hop in (10, 50)
    )
    assert dense / sparse == pytest.approx(96 / 20, rel=0.01)


def test_of_several_times_the_first_does_not_count_and_of_the_others_the_median(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    taken, threads = [90.0, 3.0, 1.0, 2.0], []
    clock = iter([moment for number, seconds in enumerate(taken) for moment in (1e3 * number, 1e3 * number + seconds)])

    def now() -> float:
        threads.append(torch.get_num_threads())
        return next(clock)

    monkeypatch.setattr(emofocus.models.complexity.time, "perf_counter", now)
    before = torch.get_num_threads()
    assert real_time_factor(ModelConfig.of("compact-faca", LABELS), repeats=3) == pytest.approx(2.0 / 10)
    assert set(threads) == {1}
    assert torch.get_num_threads() == before


@pytest.mark.parametrize(
    ("number", "shown"),
    [(None, "–"), (999, "999"), (1000, "1 k"), (72_640_128, "72.6 M"), (999_600_000, "1 G"), (2_188_468_032, "2.19 G")],
)
def test_large_numbers_are_shown_with_three_digits(number: int | None, shown: str) -> None:
    assert short(number) == shown


# How runs are ranked and tested


def test_the_best_run_comes_first_and_every_figure_is_that_of_its_predictions(
    plain: Path, good: Path, fair: Path, tmp_path: Path
) -> None:
    board = leaderboard([plain, fair, good])
    assert [item.model for item in board.standings] == ["mhsa-faca", "mhsa-fa", "bmhsa"]
    by_model = {result.key[2]: result.predictions for result in read_results(tmp_path)}
    for item in board.standings:
        assert item.intervals == intervals([by_model[item.model]])
    best = board.standings[0].intervals["ua"]
    assert best.low < best.value < best.high


def test_differences_from_the_reference_are_paired_and_adjusted_together(
    plain: Path, good: Path, fair: Path, tmp_path: Path
) -> None:
    by_model = {result.key[2]: result.predictions for result in read_results(tmp_path)}
    board = leaderboard([fair, good, plain], reference=fair)
    assert board.reference.model == "mhsa-fa"
    better, reference, worse = board.standings
    assert reference.difference is None
    expected = [compare(by_model["mhsa-fa"], by_model[name]) for name in ("mhsa-faca", "bmhsa")]
    found = [item.difference for item in (better, worse)]
    assert [item.pair for item in found] == expected
    assert [item.ua_p for item in found] == holm([item.ua.p for item in expected])
    assert [item.mcnemar_p for item in found] == holm([item.mcnemar.p for item in expected])
    assert found[0].pair.ua.value > 0 > found[1].pair.ua.value
    assert min(item.ua_p / of.ua.p for item, of in zip(found, expected, strict=True)) >= 1
    assert max(item.mcnemar_p / of.mcnemar.p for item, of in zip(found, expected, strict=True)) > 1


def test_another_reference_may_be_named_among_the_runs_or_beside_them(plain: Path, good: Path, fair: Path) -> None:
    for runs in ([plain, good, fair], [plain, fair]):
        board = leaderboard(runs, reference=good)
        assert board.reference.model == "mhsa-faca"
        assert len(board.standings) == 3


def test_the_reference_is_the_best_run_wherever_it_stands(plain: Path, good: Path, fair: Path) -> None:
    """It was the first of the alphabet."""
    for runs in ([plain, good, fair], [good, fair, plain], [fair, plain, good]):
        board = leaderboard(runs)
        assert board.reference is board.standings[0]
        assert board.reference.model == "mhsa-faca"


def test_runs_of_another_selection_are_named_so_that_they_can_be_left_out(plain: Path, good: Path, fair: Path) -> None:
    """`compare results/ravdess/random/*/seed0`, as the README said, failed."""
    of_another_selection(good)
    with pytest.raises(EmofocusError, match=re.escape(f"; leave out {good}") + "$"):
        leaderboard([good, plain, fair])
    assert len(leaderboard([plain, fair]).standings) == 2


def test_an_lstm_is_not_taken_apart_to_be_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """The products of its steps, thousands of them, took most of the 103 s of the README's leaderboard."""
    monkeypatch.setattr("torch._decomp.decompositions.one_layer_lstm", pytest.fail)
    assert network_cost(recipe_of("bmhsa", "paper", None)[1].config("bmhsa", LABELS)) > 1e9


def test_a_run_that_is_named_twice_counts_once(plain: Path, good: Path) -> None:
    assert len(leaderboard([plain, good, good.parent / "." / good.name, plain]).standings) == 2


def test_seeds_stand_in_rows_of_their_own_and_a_copy_is_called_by_its_folder(tmp_path: Path, plain: Path) -> None:
    other = write_result(tmp_path, "speaker", "bmhsa", seed=1)
    board = leaderboard([plain, other])
    assert {board.name(item) for item in board.standings} == {"bmhsa, tiny, seed 0", "bmhsa, tiny, seed 1"}
    shutil.copytree(plain, tmp_path / "copy")
    board = leaderboard([plain, other, tmp_path / "copy"])
    assert {board.name(item) for item in board.standings} == {
        plain.as_posix(),
        (tmp_path / "copy").as_posix(),
        "bmhsa, tiny, seed 1",
    }


def test_costs_are_shown_where_this_version_builds_the_network_that_was_trained(plain: Path) -> None:
    assert leaderboard([plain]).standings[0].cost is None  # its summary says 1000 parameters
    config = ModelConfig.of("bmhsa", LABELS)
    change(plain / "summary.json", lambda summary: summary.update(parameters=parameter_count(config)))
    assert leaderboard([plain]).standings[0].cost == network_cost(config)
    change(plain / "summary.json", lambda summary: summary.update(model="of-another-version"))
    assert leaderboard([plain]).standings[0].cost is None


def test_the_time_of_training_is_that_of_a_fold_on_average_or_not_known(plain: Path, good: Path) -> None:
    def took(*seconds: float | None) -> Callable[[dict], None]:
        return lambda summary: [
            item.update(seconds=value) for item, value in zip(summary["folds"], seconds, strict=True)
        ]

    change(plain / "summary.json", took(60, 120, 240))
    board = leaderboard([plain, good])
    assert [item.seconds for item in board.standings] == [None, 140.0]
    text = run(plain, good, "--reference", plain).output
    assert re.search(r"^bmhsa .*reference +2\.3 min *$", text, re.MULTILINE)
    assert re.search(r"^mhsa-faca .* – *$", text, re.MULTILINE)
    change(plain / "summary.json", took(60, None, 240))  # an epoch of this fold was trained by an older version
    assert leaderboard([plain]).standings[0].seconds is None


# The committed results


def test_a_leaderboard_says_the_same_of_the_committed_results_as_the_report() -> None:
    board = leaderboard(RANDOM)
    assert board.optimistic
    report = (RESULTS.parent / "docs" / "results.md").read_text()
    for item in board.standings:
        for found in item.intervals.values():
            bounds = f"[{100 * found.low:.1f}, {100 * found.high:.1f}]"
            assert f"| {100 * found.value:.2f} | {bounds} |" in report
    paper = board.standings[1]
    assert (paper.model, paper.parameters) == ("mhsa-faca", 4_809_488)
    assert paper.cost == pytest.approx(2.19e9, rel=0.01)
    assert paper.difference is not None
    assert paper.difference.pair.ua.high < 0


def test_committed_results_of_different_protocols_are_refused() -> None:
    folders = [RESULTS / "ravdess" / name / "compact-faca-emofocus" / "seed0" for name in ("emobox6", "random")]
    message = r"emobox6/\S+ and \S+random/\S+ cannot be compared: their protocols differ \('emobox6' and 'random'\)"
    with pytest.raises(EmofocusError, match=message):
        leaderboard(folders)


# What is refused


def of_another_corpus(folder: Path) -> None:
    change(folder / "summary.json", lambda summary: summary.update(corpus="other"))


def of_another_selection(folder: Path) -> None:
    change(folder / "summary.json", lambda summary: summary["protocol"].update(selection="the best test UA"))


def of_another_protocol(folder: Path) -> None:
    change(folder / "summary.json", lambda summary: summary["protocol"].update(name="session"))


def of_other_classes(folder: Path) -> None:
    for name in ("summary.json", "predictions.csv"):
        path = folder / name
        path.write_text(path.read_text().replace("sad", "tired"))


def of_other_folds(folder: Path) -> None:
    folds = json.loads((folder / "folds.json").read_text())["folds"]
    for fold in folds:
        fold["train"], fold["valid"] = fold["valid"], fold["train"]
    (folder / "folds.json").write_text(json.dumps({"folds": folds}))
    change(folder / "summary.json", lambda summary: summary["protocol"].update(digest=digest(folds)))


def of_another_label(folder: Path) -> None:
    """One utterance is called otherwise; all figures follow, so that the run itself is sound."""
    path = folder / "predictions.csv"
    path.write_text(re.sub(r"(,01/01-00.wav,01),angry,", r"\1,happy,", path.read_text()))
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))

    def measure_again(summary: dict) -> None:
        for item in summary["folds"]:
            found = measure_rows([row for row in rows if row["fold"] == str(item["fold"])], CLASSES)
            item |= {name: round(value, 6) for name, value in found._asdict().items()}
        summary |= averages(summary["folds"])

    change(folder / "summary.json", measure_again)


@pytest.mark.parametrize(
    ("make", "difference"),
    [
        (of_another_corpus, "their corpora differ ('made' and 'other')"),
        (of_another_selection, "their selection rules differ ('validation' and 'the best test UA')"),
        (of_another_protocol, "their protocols differ ('speaker' and 'session')"),
        (of_other_classes, "their classes differ ('sad' and 'tired')"),
        (of_other_folds, "their folds (their digest) differ ("),
        (of_another_label, "their labels differ (01/01-00.wav: 'angry' and 'happy')"),
    ],
)
def test_runs_that_cannot_be_compared_are_refused_and_their_difference_is_named(
    plain: Path, good: Path, fair: Path, make: Callable[[Path], None], difference: str
) -> None:
    make(good)
    leaderboard([good])
    with pytest.raises(EmofocusError, match=re.escape(f"{plain} and {good} cannot be compared: {difference}")):
        leaderboard([plain, fair, good])


@pytest.mark.parametrize("done", [1, 2])
def test_a_run_with_folds_to_come_is_refused_with_their_number(tmp_path: Path, plain: Path, done: int) -> None:
    begun = write_result(tmp_path, "speaker", "mhsa-faca", done=done)
    with pytest.raises(ResultError, match=re.escape(f"{begun} has finished {done} of {FOLDS} folds")):
        leaderboard([plain, begun])


def test_a_run_that_has_only_begun_is_refused_likewise(plain: Path) -> None:
    change(plain / "summary.json", lambda summary: summary.update(folds=[]))
    (plain / "predictions.csv").unlink()
    with pytest.raises(ResultError, match="has finished 0 of 3 folds"):
        leaderboard([plain])


def test_a_folder_that_is_no_run_is_refused_with_what_is_missing(plain: Path, tmp_path: Path) -> None:
    with pytest.raises(ResultError, match=r"nowhere is no run of emofocus crossval: there is no such folder"):
        leaderboard([tmp_path / "nowhere"])
    with pytest.raises(ResultError, match=r"is no run of emofocus crossval: there is no summary.json in it"):
        leaderboard([plain.parent])
    (plain / "folds.json").unlink()
    with pytest.raises(ResultError, match=r"seed0 has a summary.json but no folds.json"):
        leaderboard([plain])
    change(plain / "summary.json", lambda summary: summary.pop("protocol"))
    with pytest.raises(ResultError, match=r"its summary.json has no 'protocol'"):
        leaderboard([plain])


def test_a_summary_that_its_predictions_contradict_is_refused(plain: Path, good: Path) -> None:
    change(good / "summary.json", lambda summary: summary["ua"].update(mean=0.99))
    with pytest.raises(ResultError, match=r"the mean ua is 0.99, but predictions.csv gives 0\.\d+"):
        leaderboard([plain, good])


def test_settings_that_this_version_does_not_know_are_named_with_their_run(plain: Path) -> None:
    change(plain / "summary.json", lambda summary: summary.update(recipe_settings={"epoch": 2}))
    with pytest.raises(EmofocusError, match=r"bmhsa-tiny/seed0/summary.json: .*`epoch`"):
        leaderboard([plain])


# What is written


def test_the_table_fits_a_hundred_columns_with_every_digit(good: Path, plain: Path) -> None:
    parameters = parameter_count(ModelConfig.of("mhsa-faca", LABELS))
    change(good / "summary.json", lambda summary: summary.update(parameters=parameters))
    done = run(good, plain, "--time")
    assert done.exit_code == 0
    lines = done.output.splitlines()
    assert max(map(len, lines)) <= 100
    assert "…" not in done.output
    first = next(number for number, line in enumerate(lines) if line.startswith("mhsa-faca"))
    assert f"{parameters:,}" in lines[first]
    assert "reference" in lines[first]
    assert re.search(r"tiny, seed 0 +2\.19 G( +\d\d\.\d–\d\d\.\d){3} +0\.\d+ *$", lines[first + 1])
    assert re.search(r"^bmhsa .*−\d\d\.\d\d +(< )?0\.\d{3} ", lines[first + 3])
    assert re.search(r"\[−\d\d\.\d, −\d+\.\d\] +(< )?0\.\d{3} +– *$", lines[first + 4])
    assert "UA − that of" in done.output
    assert "intervals that resample speakers" in done.output
    assert "The reference: mhsa-faca, tiny, seed 0" in done.output


def test_real_time_is_measured_only_on_demand(plain: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = ModelConfig.of("bmhsa", LABELS)
    change(plain / "summary.json", lambda summary: summary.update(parameters=parameter_count(config)))
    monkeypatch.setattr("emofocus.evaluation.leaderboard.real_time_factor", lambda config: 0.125)
    with_time, without = tmp_path / "with.csv", tmp_path / "without.csv"
    assert "real time" in run(plain, "--time", "--out", with_time).output
    assert next(csv.DictReader(with_time.read_text().splitlines()))["real_time_factor"] == "0.125"
    monkeypatch.setattr("emofocus.evaluation.leaderboard.real_time_factor", lambda config: pytest.fail("measured"))
    assert "real time" not in run(plain, "--out", without).output
    assert "real_time_factor" not in without.read_text()


def test_shared_speakers_are_said_in_every_format(tmp_path: Path, plain: Path) -> None:
    shared = write_result(tmp_path, "random", "bmhsa")
    done = run(shared, "--out", tmp_path / "board.md")
    for text in (done.output, (tmp_path / "board.md").read_text()):
        assert "made, protocol random (optimistic)" in text
        assert "Optimistic: speakers of the test parts are heard in training." in text
    assert "optimistic" not in run(plain).output.lower()


def test_markdown_holds_the_table_and_what_must_be_known(plain: Path, good: Path, tmp_path: Path) -> None:
    run(plain, good, "--out", tmp_path / "board.md")
    lines = (tmp_path / "board.md").read_text().splitlines()
    assert lines[0] == "# made, protocol speaker"
    rows = [line for line in lines if line.startswith("|")]
    assert [row.split("<br>")[0] for row in rows[2:]] == ["| mhsa-faca", "| bmhsa"]
    assert {row.count(" | ") for row in rows} == {7}
    assert "- The split: a note. Selection: validation." in lines


def test_csv_holds_the_numbers_in_full(plain: Path, good: Path, tmp_path: Path) -> None:
    run(plain, good, "--reference", plain, "--out", tmp_path / "board.csv")
    with (tmp_path / "board.csv").open(newline="") as file:
        first, second = csv.DictReader(file)
    best = leaderboard([plain, good], reference=plain).standings[0]
    assert first["run"] == good.as_posix()
    assert [float(first[name]) for name in ("ua", "ua_low", "ua_high")] == list(best.intervals["ua"])
    assert best.difference is not None
    assert float(first["ua_difference"]) == best.difference.pair.ua.value
    assert float(first["ua_p"]) == best.difference.ua_p
    assert float(first["mcnemar_p"]) == best.difference.mcnemar_p
    assert [second[name] for name in ("model", "ua_difference", "ua_p", "training_seconds")] == ["bmhsa", "", "", ""]


def test_figures_are_drawn_in_three_formats_and_the_same_bytes_each_time(
    plain: Path, good: Path, tmp_path: Path
) -> None:
    pytest.importorskip("matplotlib")
    begins = {".png": b"\x89PNG", ".svg": b"<?xml", ".pdf": b"%PDF"}
    wanted = [tmp_path / f"{name}{suffix}" for suffix in begins for name in ("first", "second")]
    done = run(plain, good, *[part for path in wanted for part in ("--out", path)])
    assert done.exit_code == 0
    for path in wanted:
        assert path.read_bytes().startswith(begins[path.suffix])
    for suffix in begins:
        assert (tmp_path / f"first{suffix}").read_bytes() == (tmp_path / f"second{suffix}").read_bytes()


def test_the_figure_shows_each_run_with_its_interval_and_marks_the_reference(plain: Path, good: Path) -> None:
    pytest.importorskip("matplotlib")
    from emofocus.evaluation.leaderboard_table import draw

    board = leaderboard([plain, good], reference=plain)
    (axes,) = draw(board).axes
    assert [label.get_text() for label in axes.get_yticklabels()] == [
        "mhsa-faca, tiny, seed 0",
        "bmhsa, tiny, seed 0\n(reference)",
    ]
    ends = [
        collection.get_segments()[0][:, 0] for collection in axes.collections if hasattr(collection, "get_segments")
    ]
    for item, found in zip(board.standings, ends, strict=True):
        assert tuple(found) == pytest.approx([100 * bound for bound in item.intervals["ua"][1:]])
    assert axes.lines[0].get_xdata()[0] == pytest.approx(100 * board.reference.intervals["ua"].value)
    assert axes.get_ylim()[0] > axes.get_ylim()[1]  # the first one on top


def test_an_unknown_format_is_refused_before_anything_is_read(tmp_path: Path) -> None:
    message = r"board.txt: cannot write .txt \(valid: .md, .csv, .png, .svg, .pdf\)"
    with pytest.raises(EmofocusError, match=message):
        run(tmp_path / "nowhere", "--out", tmp_path / "board.md", "--out", tmp_path / "board.txt")
    assert not (tmp_path / "board.md").exists()


def test_a_file_that_cannot_be_written_is_named(plain: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(EmofocusError, match=r"file/board.md: cannot be written"):
        run(plain, "--out", tmp_path / "file" / "board.md")


def test_without_matplotlib_only_figures_are_refused(
    plain: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert run(plain, "--out", tmp_path / "board.md").exit_code == 0
    with pytest.raises(MissingExtraError, match=r"pip install 'emofocus\[figures]'"):
        run(plain, "--out", tmp_path / "board.png")
