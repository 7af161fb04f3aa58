"""The claims about attention: measures against brute force, and a forced attention that every one of them finds."""

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from emofocus.cli.main import app
from emofocus.config import ModelConfig, SegmentSettings
from emofocus.errors import ConfigError, ModelError
from emofocus.evaluation.attention.alignment import (
    MEASURES,
    Reach,
    measure,
    segments_span,
    speech_span,
    turned_peaks,
    window_sums,
)
from emofocus.evaluation.attention.faithfulness import (
    RANKINGS,
    SHARES,
    FrameRemoval,
    Utterance,
    area,
    curves,
    gradients,
    occlusion,
)
from emofocus.evaluation.attention.tables import auc
from emofocus.metrics.statistics import difference_of, resampled_means
from emofocus.models import build
from emofocus.models.base import NetworkOutput, SpeechNetwork
from emofocus.recognition.explanation.explainer import peaks_of
from helpers.encoders import tiny_whisper
from helpers.paths import RESULTS
from helpers.properties import cases

COMMITTED = sorted(path.parent for path in RESULTS.rglob("alignment.md"))
NUMBER = {name: number for number, name in enumerate(MEASURES)}


def random_maps(generator: np.random.Generator, segments: int, heads: int, m: int, length: int) -> np.ndarray:
    scores = generator.normal(0, 2, (segments, heads, m, m))
    scores[..., length:] = -np.inf
    weights = np.exp(scores - scores.max(axis=3, keepdims=True))
    return (weights / weights.sum(axis=3, keepdims=True)).astype(np.float32)


# ------------------------------------------------------------------ measures


@given(st.integers(0, 10_000), st.integers(1, 9), st.integers(0, 3), st.booleans())
@cases(40)
def test_measures_equal_their_definitions(seed: int, length: int, near: int, gated: bool) -> None:
    generator = np.random.default_rng(seed)
    segments, heads, m, ring = 2, 3, 9, near + 2
    weights = random_maps(generator, segments, heads, m, length)
    gates = generator.uniform(0.1, 1, (segments, heads)).astype(np.float32) if gated else None
    found = measure(weights, gates, np.full(segments, length), Reach(near, ring))
    peaks = generator.integers(0, length, segments)
    measured = found.at(peaks)
    assert measured.shape == (len(MEASURES), segments, heads + 1)
    for s in range(segments):
        shares = np.ones(heads) / heads if gates is None else gates[s] / gates[s].sum()
        for h in range(heads + 1):
            maps = weights[s, h] if h < heads else (weights[s] * shares[:, None, None]).sum(axis=0)
            inside = [k for k in range(length) if abs(k - peaks[s]) <= near]
            around = [k for k in range(length) if near < abs(k - peaks[s]) <= ring]
            expected = {
                "hit": np.mean([abs(maps[q].argmax() - peaks[s]) <= near for q in range(length)]),
                "mass": maps[:length, inside].sum() / length,
                "ring": maps[:length, around].sum() / length,
                "peak_hit": abs(maps[peaks[s]].argmax() - peaks[s]) <= near,
                "peak_mass": maps[peaks[s], inside].sum(),
                "peak_ring": maps[peaks[s], around].sum(),
                "even": len(inside) / length,
                "even_ring": len(around) / length,
            }
            for name, value in expected.items():
                assert measured[NUMBER[name], s, h] == pytest.approx(float(value), abs=1e-5), name


def test_even_attention_gives_an_even_share() -> None:
    weights = np.full((1, 2, 50, 50), 1 / 50, np.float32)
    found = measure(weights, None, np.array([50]), Reach(3, 10)).at(np.array([25]))
    assert found[NUMBER["mass"]] == pytest.approx(found[NUMBER["even"]])
    assert found[NUMBER["even"], 0, 0] == pytest.approx(7 / 50)
    assert found[NUMBER["peak_ring"]] == pytest.approx(14 / 50)


def test_attention_forced_to_a_position_is_found_there_and_nowhere_else() -> None:
    weights = np.zeros((3, 2, 50, 50), np.float32)
    weights[..., 30] = 1
    found = measure(weights, np.full((3, 2), 0.5, np.float32), np.full(3, 50), Reach(3, 10))
    told = found.at(np.array([30, 27, 20]))
    np.testing.assert_allclose(told[NUMBER["hit"]], [[1, 1, 1], [1, 1, 1], [0, 0, 0]], atol=1e-6)
    np.testing.assert_allclose(told[NUMBER["mass"]], [[1, 1, 1], [1, 1, 1], [0, 0, 0]], atol=1e-6)
    np.testing.assert_allclose(told[NUMBER["ring"]], [[0, 0, 0], [0, 0, 0], [1, 1, 1]], atol=1e-6)
    np.testing.assert_allclose(told[NUMBER["peak_ring"]], [[0, 0, 0], [0, 0, 0], [1, 1, 1]], atol=1e-6)


def test_reach_of_seconds() -> None:
    assert Reach.of(0.03, 0.1, 0.01) == (3, 10)
    assert Reach.of(0.03, 0.1, 0.128) == (0, 1)  # positions of 128 ms: the peak's own, and its neighbors


def test_window_sums_end_at_the_ends() -> None:
    np.testing.assert_allclose(window_sums(np.arange(5.0), 1), [1, 3, 6, 9, 7])
    np.testing.assert_allclose(window_sums(np.arange(5.0), 9), [10] * 5)


def test_peaks_lie_where_segments_are_loudest() -> None:
    amplitude = np.zeros(100, np.float32)
    amplitude[[30, 70]] = 1, 2
    assert peaks_of(amplitude, np.array([0, 20, 40, 90]), 50, 1).tolist() == [30, 10, 30, 0]
    assert peaks_of(amplitude, np.array([0, 20]), 48, 4).tolist() == [30 // 4, 10 // 4]


def test_turned_loudness_keeps_its_values_and_the_silence_around() -> None:
    generator = np.random.default_rng(0)
    amplitude = np.concatenate([np.full(20, 9), generator.random(60), np.full(20, 9)]).astype(np.float32)
    starts = np.array([20, 30])
    turned = turned_peaks(amplitude, starts, 50, 1, 200, generator, segments_span(starts, 50, 100))
    assert turned.shape == (200, 2)
    # Both segments of a turn see the same loudness: where both hold its maximum, it is at one time.
    times = turned + starts
    assert (times < 80).all()
    assert (times >= 20).all()
    assert len(np.unique(times)) > 30
    assert np.mean(times[:, 0] == times[:, 1]) > 0.5


def test_segments_end_with_their_utterance() -> None:
    assert segments_span(np.array([0]), 63, 24) == slice(0, 24)
    assert segments_span(np.array([4, 8]), 10, 24) == slice(4, 18)


def test_loudness_is_not_turned_into_the_silence_around_speech() -> None:
    """A segment of ten seconds holds a clip with its silence, where attention has nothing to look for."""
    level = np.array([-90, -80, -30, -50, -75, -20, -45, -70, -90], np.float32)
    span = speech_span(level, 40.0, slice(0, 9))
    assert span == slice(2, 7)
    assert speech_span(level, 40.0, slice(3, 6)) == slice(3, 6)
    amplitude = np.zeros(9, np.float32)
    amplitude[5] = 1
    turned = turned_peaks(amplitude, np.array([0]), 9, 1, 200, np.random.default_rng(0), span)
    assert set(turned.flatten().tolist()) == {2, 3, 4, 6}


def test_auc() -> None:
    assert auc(np.array([1.0, 2, 3, 4]), np.array([False, False, True, True])) == 1
    assert auc(np.array([1.0, 1, 1, 1]), np.array([False, True, True, False])) == 0.5
    assert auc(np.array([3.0, 1, 2]), np.array([False, True, True])) == 0


def test_resampled_means_are_of_whole_speakers() -> None:
    """Two speakers' utterances always come together: of three speakers, means lie on a lattice of thirds."""
    values = np.repeat([[0.0], [3.0], [6.0]], 4, axis=0)
    drawn = resampled_means(values, np.repeat(["a", "b", "c"], 4), resamples=500)
    assert set(np.unique(drawn.round(6))) == {0, 1, 2, 3, 4, 5, 6}
    assert difference_of(3.0, drawn[:, 0]).low == 0
    assert difference_of(3.0, drawn[:, 0] + 1).p < 0.01


# ------------------------------------------------------------------ faithfulness


class OneFrame(SpeechNetwork):
    """Knows the answer from one feature of one frame, whatever the rest is."""

    def __init__(self, frame: int) -> None:
        super().__init__(2)
        self.frame = frame
        self.gain = nn.Parameter(torch.tensor(4.0))

    def classify(self, encoded, lengths=None, need_maps=False) -> NetworkOutput:
        told = self.gain * encoded[:, self.frame, 0]
        return NetworkOutput(torch.stack([told, -told], dim=1), None)


def one_frame(frame: int = 12, count: int = 40) -> FrameRemoval:
    frames = torch.randn(count, 2, generator=torch.Generator().manual_seed(0))
    frames[frame, 0] = 1.0
    return FrameRemoval(OneFrame(frame), Utterance(frames, np.array([0]), 0), count, 1.0)


def test_taking_away_the_frame_that_matters_takes_the_answer_away() -> None:
    scorer = one_frame()
    whole, without, other = scorer.probabilities(np.eye(40, dtype=bool)[[12, 12, 3]] & [[False], [True], [True]])
    assert whole == pytest.approx(1 / (1 + np.exp(-8)))
    assert without == pytest.approx(0.5)
    assert other == whole


def test_rankings_that_know_the_frame_have_it_first() -> None:
    scorer = one_frame()
    gradient = gradients(scorer)
    assert gradient.argmax() == 12
    assert np.abs(np.delete(gradient, 12)).max() < 1e-6
    # Completeness (Sundararajan et al., proposition 1).
    expected = np.log(1 / (1 + np.exp(-8))) - np.log(0.5)
    assert gradient.sum() == pytest.approx(expected, rel=1e-2)
    assert set(np.flatnonzero(occlusion(scorer, 10) > 0.1)) == set(range(10, 20))
    attention = np.zeros(40, np.float32)
    attention[12] = 40
    loud = np.linspace(1, 0, 40).astype(np.float32)  # the frame is the thirteenth
    found = curves(scorer, attention, loud, seed=0, hop_seconds=0.01)
    assert tuple(found) == RANKINGS
    for name in ("attention", "gradients", "occlusion"):
        deletion, insertion = found[name]
        assert len(deletion) == len(SHARES) + 2
        np.testing.assert_allclose(deletion[2:], 0.5, atol=1e-6)
        np.testing.assert_allclose(insertion[2:], deletion[0], atol=1e-6)
        assert area(deletion) < area(found["random"][0])
    np.testing.assert_allclose(found["loudest"][0][:4], [deletion[0]] * 3 + [deletion[0]], atol=1e-6)
    assert found["loudest"][0][4] == pytest.approx(0.5)  # half of the frames


def test_only_frames_that_count_are_taken_away() -> None:
    config = ModelConfig.of("bmhsa", ("a", "b"), segment=SegmentSettings())
    torch.manual_seed(0)
    network = build(config).eval()
    frames = torch.randn(200, 40)
    scorer = FrameRemoval(network, Utterance(frames, np.array([20, 30]), 0), 50, 1.0)
    assert scorer.counted.tolist() == list(range(20, 80))
    before, after = np.zeros((2, 1, 200), bool)
    after[:, [0, 19, 80, 199]] = True
    assert scorer.probabilities(before) == scorer.probabilities(after)


def test_the_scorer_hears_what_evaluation_scores() -> None:
    config = ModelConfig.of("mhsa-faca", ("a", "b", "c"), segment=SegmentSettings())
    torch.manual_seed(0)
    network = build(config).eval()
    frames = torch.randn(90, 40)
    starts = np.array([0, 10, 40])
    with torch.inference_mode():
        segments = torch.stack([frames[start : start + 50] for start in starts])
        expected = (network(segments).logits.mean(dim=0) / 0.7).softmax(dim=0)[2]
    scorer = FrameRemoval(network, Utterance(frames, starts, 2), 50, 0.7)
    assert scorer.probabilities(np.zeros((1, 90), bool))[0] == pytest.approx(float(expected), abs=1e-6)


# ------------------------------------------------------------------ the command


def run(*arguments: object) -> str:
    done = CliRunner().invoke(app, list(map(str, arguments)), catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


def lines(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_trained_folds_are_measured_once_and_tables_recompute(small_corpus: Path, tmp_path: Path) -> None:
    recipe = tmp_path / "tiny.yaml"
    recipe.write_text("epochs: 1\nbatch_size: 32\n")
    corpus = ["--corpus", "emodb", "--root", small_corpus, "--cache", tmp_path / "cache"]
    models = ("compact-bmhsa", "compact-faca")
    for model in models:
        common = ["--protocol", "random", "--recipe", recipe, "--model", model, "--threads", 1]
        run("crossval", *corpus, *common, "--out", tmp_path / model)
    (tmp_path / "compact-bmhsa" / "fold-3" / "model.safetensors").unlink()
    out = tmp_path / "out"
    few = ["--out", out, "--turns", 5, "--faithful", 2]
    output = run("alignment", *(tmp_path / model for model in models), *corpus, *few)
    assert "compact-bmhsa-tiny fold 3: left out, its weights are not there" in output
    summary = json.loads((tmp_path / "compact-bmhsa" / "summary.json").read_text())
    predictions = {row["file"]: row for row in lines(tmp_path / "compact-bmhsa" / "predictions.csv")}
    measured = lines(out / "compact-bmhsa-tiny" / "fold-0" / "utterances.csv")
    assert len(measured) == summary["folds"][0]["test"]
    for row in measured:
        assert row["prediction"] == predictions[row["file"]]["prediction"]
        assert row["label"] == predictions[row["file"]]["label"]
    heads = lines(out / "compact-faca-tiny" / "fold-0" / "heads.csv")
    assert [row["head"] for row in heads] == [*map(str, range(1, 5)), "all"]
    assert all(0 < float(row["gate_lowest"]) <= float(row["gate_highest"]) < 1 for row in heads[:-1])
    assert len(lines(out / "compact-bmhsa-tiny" / "fold-0" / "faithfulness.csv")) == 2
    text = (out / "alignment.md").read_text()
    assert "folds 0, 1, 2, 4" in text
    assert text.index("`compact-bmhsa-tiny`") < text.index("`compact-faca-tiny`")
    pictures = {path.name: path.read_bytes() for path in out.glob("*.png")}
    assert set(pictures) == {"alignment.png", "faithfulness.png"}

    stamp = (out / "compact-bmhsa-tiny" / "fold-0" / "heads.csv").stat().st_mtime_ns
    (out / "alignment.md").unlink()
    run("alignment", "--out", out)  # from the measures alone
    assert (out / "alignment.md").read_text() == text
    assert {path.name: path.read_bytes() for path in out.glob("*.png")} == pictures
    run("alignment", *(tmp_path / model for model in models), *corpus, *few)
    assert (out / "compact-bmhsa-tiny" / "fold-0" / "heads.csv").stat().st_mtime_ns == stamp
    shutil.copy(*(tmp_path / "compact-faca" / f"fold-{number}" / "model.safetensors" for number in (1, 0)))
    with pytest.raises(ConfigError, match=r"fold-0 holds another run \(weights is '.*', not '.*'\); name another"):
        run("alignment", tmp_path / "compact-faca", *corpus, *few)
    with pytest.raises(ConfigError, match=r"out holds another run \(turns is 5, not 6\)"):
        run("alignment", tmp_path / "compact-bmhsa", *corpus, "--out", out, "--turns", 6, "--faithful", 2)


def test_networks_on_an_encoder_are_measured_frame_by_frame(small_corpus: Path, tmp_path: Path) -> None:
    """Their cached features are in float16, one step of attention is a frame, and a segment may be a whole clip."""
    recipe = tmp_path / "tiny.yaml"
    features = f"{{name: whisper, encoder: {tiny_whisper(tmp_path / 'ears')}, layers: 2, hop: 1280}}"
    recipe.write_text(f"epochs: 1\nbatch_size: 8\nsegment: {{frames: 25, hop: 10}}\nfeatures: {features}\n")
    corpus = ["--corpus", "emodb", "--root", small_corpus, "--cache", tmp_path / "cache"]
    common = ["--protocol", "random", "--recipe", recipe, "--model", "encoder-faca", "--threads", 1]
    run("crossval", *corpus, *common, "--out", tmp_path / "run")
    out = tmp_path / "out"
    run("alignment", tmp_path / "run", *corpus, "--out", out, "--turns", 5, "--faithful", 2)
    predictions = {row["file"]: row for row in lines(tmp_path / "run" / "predictions.csv")}
    for row in lines(out / "encoder-faca-tiny" / "fold-0" / "utterances.csv"):
        assert row["prediction"] == predictions[row["file"]]["prediction"]
        assert float(row["even"]) == pytest.approx(1 / 10)  # 0.75 s in steps of 80 ms, of which the peak's is one
    removed = lines(out / "encoder-faca-tiny" / "fold-0" / "faithfulness.csv")
    assert len(removed) == 2
    for row in removed:
        told = predictions[row["file"]]
        assert float(row["whole"]) == pytest.approx(float(told[f"p_{row['prediction']}"]), abs=1e-4)
    assert "(frames within 40 dB of the loudest, and between)" in (out / "alignment.md").read_text()


@pytest.mark.parametrize("folder", COMMITTED, ids=lambda path: "/".join(path.relative_to(RESULTS).parts))
def test_every_committed_table_recomputes_from_the_measures_beside_it(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "copy")
    (tmp_path / "copy" / "alignment.md").unlink()
    run("alignment", "--out", tmp_path / "copy")
    assert (tmp_path / "copy" / "alignment.md").read_text() == (folder / "alignment.md").read_text()


def test_models_without_attention_are_refused(small_corpus: Path, tmp_path: Path) -> None:
    recipe = tmp_path / "tiny.yaml"
    recipe.write_text("epochs: 1\nbatch_size: 32\n")
    corpus = ["--corpus", "emodb", "--root", small_corpus, "--cache", tmp_path / "cache"]
    run("crossval", *corpus, "--protocol", "random", "--recipe", recipe, "--model", "timnet", "--out", tmp_path / "run")
    with pytest.raises(ModelError, match=r"timnet has no attention to measure \(models that have it: bmhsa"):
        run("alignment", tmp_path / "run", *corpus, "--out", tmp_path / "out")


def test_an_empty_folder_has_no_tables(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="holds no measures of attention"):
        run("alignment", "--out", tmp_path)
