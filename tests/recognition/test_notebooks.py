"""Recognition as notebooks use it: many clips at once, tables, figures, readable values and embeddings."""

import pickle
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from click.testing import CliRunner

from emofocus import AudioError, ConfigError, MissingExtraError, ModelError, Predictions, Recognizer
from emofocus.cli.main import app
from emofocus.recognition.display import PLAYED_SECONDS
from emofocus.recognition.prediction import Timeline

RATE = 16_000


@pytest.fixture(scope="module")
def recognizer() -> Recognizer:
    return Recognizer.from_pretrained(threads=1)


def voice(seconds: float, hertz: float = 150) -> np.ndarray:
    times = np.arange(round(seconds * RATE)) / RATE
    return (0.1 * np.sign(np.sin(2 * np.pi * hertz * times * (1 + 0.1 * np.sin(2 * times)))) * 0.5).astype(np.float32)


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Twelve files of several lengths, one of which is longer than a batch takes."""
    folder = tmp_path_factory.mktemp("clips")
    lengths = [0.5, 1, 2.5, 4, 3, 1.5, 31, 2, 2.2, 5, 0.8, 3.3]
    for number, seconds in enumerate(lengths):
        soundfile.write(folder / f"{number:02}.wav", voice(seconds, 100 + 20 * number), RATE)
    return sorted(map(str, folder.glob("*.wav")))


# Many clips


def test_a_batch_gives_predictions_in_order_and_errors_as_values(recognizer: Recognizer, clips: list[str]) -> None:
    silent = {"array": np.zeros(RATE, np.float32), "sampling_rate": RATE}
    found = recognizer.batch([clips[0], "nowhere.wav", *clips[1:], silent, Path(clips[0]).read_bytes()])
    assert isinstance(found, Predictions)
    assert len(found) == len(clips) + 3
    assert set(found.errors) == {1, len(clips) + 1}
    assert isinstance(found[1], AudioError)
    assert found.names[1] == "nowhere.wav"
    for name, item in zip([clips[0], *clips[1:]], [found[0], *found[2 : len(clips) + 1]], strict=True):
        alone = recognizer(name)
        assert not isinstance(item, AudioError)
        assert item.duration == alone.duration
        assert item.scores == pytest.approx(alone.scores, abs=1e-4)


def test_samples_need_their_rate_in_a_batch_as_alone(recognizer: Recognizer) -> None:
    samples = voice(2)
    [given] = recognizer.batch([samples], sampling_rate=RATE)
    assert not isinstance(given, AudioError)
    assert given.scores == pytest.approx(recognizer(samples, RATE).scores, abs=1e-4)
    [without] = recognizer.batch([samples])
    assert isinstance(without, AudioError)


def test_an_empty_batch_is_empty(recognizer: Recognizer) -> None:
    assert len(recognizer.batch([])) == 0
    assert recognizer([]) == []


def test_a_list_gives_predictions_and_raises_its_first_error(recognizer: Recognizer, clips: list[str]) -> None:
    found = recognizer(clips[:2])
    assert isinstance(found, Predictions)
    assert [item.label for item in found] == [recognizer(clip).label for clip in clips[:2]]
    with pytest.raises(AudioError, match="nowhere"):
        recognizer([clips[0], "nowhere.wav"])


# Tables


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_predictions_and_timelines_become_tables(recognizer: Recognizer, clips: list[str], library: str) -> None:
    pytest.importorskip(library)
    found = recognizer.batch([*clips[:2], "nowhere.wav"])
    frame = found.to_frame(library)
    assert type(frame).__module__.startswith(library)
    assert list(frame["file"]) == [*clips[:2], "nowhere.wav"]
    assert list(frame["label"])[:2] == [item.label for item in found[:2]]
    assert "nowhere.wav" in list(frame["error"])[2]
    assert [name for name in frame.columns if name.startswith("p_")] == [f"p_{label}" for label in recognizer.labels]
    timeline = recognizer(clips[6]).timeline
    table = timeline.to_frame(library)
    assert len(table) == len(timeline)
    assert list(table["start"]) == [item.start for item in timeline]
    assert list(table["label"]) == [item.label for item in timeline]


def test_a_table_of_another_library_is_refused(recognizer: Recognizer, clips: list[str]) -> None:
    with pytest.raises(ConfigError, match="unknown library 'numpy' \\(valid: pandas, polars\\)"):
        recognizer(clips[:1]).to_frame("numpy")


def test_without_a_library_the_error_says_what_to_install(
    recognizer: Recognizer, clips: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("pandas", "polars", "matplotlib"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(MissingExtraError, match=r"polars.*emofocus\[notebook\]"):
        recognizer(clips[:1]).to_frame("polars")
    with pytest.raises(MissingExtraError, match=r"matplotlib.*emofocus\[notebook\]"):
        recognizer(clips[0]).plot()


# Values


def test_values_read_well(recognizer: Recognizer, clips: list[str]) -> None:
    prediction = recognizer(clips[3])
    assert repr(prediction).startswith("Prediction(")
    assert f"{prediction.label} {prediction.probability:.2f}" in repr(prediction)
    assert repr(prediction).endswith(f"; 4 s, {len(prediction.timeline)} segments)")
    assert repr(prediction.timeline[0]).startswith("Segment(0–2.048 s, ")
    assert repr(prediction.timeline).startswith(
        f"Timeline({len(prediction.timeline)} segments, 0–3.58 s: {prediction.label} "
    )
    assert repr(prediction.timeline[:0]) == "Timeline(no segments)"
    assert repr(recognizer).startswith("Recognizer(compact-faca, segments of 2.05 s every 0.512 s: neutral, calm, ")
    found = recognizer.batch([clips[0], "nowhere.wav"])
    assert repr(found) == f"Predictions(2 clips: {found[0].label} 1, errors 1)"
    explanation = recognizer.explain(clips[3])
    assert repr(explanation).startswith(f"Explanation({clips[3]!r}, Prediction(")
    assert len(repr(explanation)) < 400


def test_equal_values_are_equal(recognizer: Recognizer, clips: list[str]) -> None:
    first, second, other = recognizer(clips[3]), recognizer(clips[3]), recognizer(clips[4])
    assert first == second
    assert first != other
    assert first.timeline == second.timeline
    assert first.timeline != other.timeline
    assert first.timeline[:1] != first.timeline
    assert (first.timeline == 1) is False
    assert replace(first, source=None) == first
    assert recognizer.explain(clips[3]) == recognizer.explain(clips[3])
    assert recognizer.explain(clips[3]) != recognizer.explain(clips[4])
    assert recognizer.batch([clips[0], "nowhere.wav"]) == recognizer.batch([clips[0], "nowhere.wav"])


def test_the_likeliest_emotions_come_first(recognizer: Recognizer, clips: list[str]) -> None:
    prediction = recognizer(clips[3])
    best = prediction.top_k(3)
    assert list(best.values()) == sorted(prediction.scores.values(), reverse=True)[:3]
    assert next(iter(best)) == prediction.label
    assert prediction.top_k(100).keys() == prediction.scores.keys()


# What notebooks show


def test_a_prediction_shows_bars_and_a_player(recognizer: Recognizer, clips: list[str]) -> None:
    html = recognizer(clips[3])._repr_html_()
    assert all(f">{label}</span>" in html for label in recognizer.labels)
    assert '<audio controls style="height:2em;max-width:22em" src="data:audio/' in html
    assert len(html) < 100_000


def test_long_clips_and_files_that_are_gone_have_no_player(
    recognizer: Recognizer, clips: list[str], tmp_path: Path
) -> None:
    assert recognizer(clips[6]).duration > PLAYED_SECONDS
    assert "<audio" not in recognizer(clips[6])._repr_html_()
    file = tmp_path / "gone.wav"
    file.write_bytes(Path(clips[3]).read_bytes())
    prediction = recognizer(file)
    file.unlink()
    assert "<audio" not in prediction._repr_html_()


def test_predictions_of_open_files_can_be_sent_to_another_process(recognizer: Recognizer, clips: list[str]) -> None:
    with Path(clips[3]).open("rb") as file:
        prediction = recognizer(file)
    assert pickle.loads(pickle.dumps(prediction)) == prediction
    assert "<audio" not in prediction._repr_html_()


def test_names_of_files_cannot_bring_markup(recognizer: Recognizer) -> None:
    html = recognizer.batch(["<script>alert(1)</script>.wav"])._repr_html_()
    assert "<script>" not in html


def test_timelines_and_predictions_show_a_strip_and_a_table(recognizer: Recognizer, clips: list[str]) -> None:
    timeline = recognizer(clips[3]).timeline
    assert timeline._repr_html_().count("<span title=") == len(timeline)
    long = Timeline(*(np.repeat(item, 1000, axis=0) for item in parts_of(timeline)), timeline.labels)
    assert long._repr_html_().count("<span title=") <= 400
    html = recognizer.batch([clips[0]] * 25 + ["nowhere.wav"])._repr_html_()
    assert "… and 6 more: to_frame() has all" in html


def parts_of(timeline: Timeline) -> tuple[np.ndarray, ...]:
    return timeline.starts, timeline.ends, timeline.probabilities, timeline.speech


def test_figures_are_drawn_into_given_axes_and_into_new_ones(recognizer: Recognizer, clips: list[str]) -> None:
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("Agg")
    from matplotlib import pyplot

    prediction, explanation = recognizer(clips[3]), recognizer.explain(clips[3])
    for item in (prediction, prediction.timeline, recognizer(clips[0]).timeline, explanation):
        _, axes = pyplot.subplots()
        assert item.plot(axes) is axes
        assert axes.has_data()
        assert item.plot().figure is not axes.figure
    pyplot.close("all")


# Some emotions


def test_chosen_emotions_share_all_of_the_probability(recognizer: Recognizer, clips: list[str]) -> None:
    whole = recognizer(clips[3])
    some = recognizer.with_labels(["sad", "happy", "angry"])
    prediction = some(clips[3])
    assert some.labels == ("happy", "sad", "angry")
    total = sum(whole.scores[label] for label in some.labels)
    assert prediction.scores == pytest.approx({label: whole.scores[label] / total for label in some.labels}, abs=1e-3)
    assert prediction.timeline.labels == some.labels
    assert Recognizer.from_pretrained(threads=1, labels=["happy", "sad", "angry"])(clips[3]) == prediction
    [batched] = some.batch([clips[3]])
    assert batched.scores == pytest.approx(prediction.scores, abs=1e-4)
    assert some.with_labels(["sad", "angry"])(clips[3]).scores.keys() == {"sad", "angry"}
    assert some.with_hop(1.0).labels == some.labels


def test_streams_and_copies_choose_among_the_same_emotions(recognizer: Recognizer, clips: list[str]) -> None:
    from emofocus import StreamingRecognizer

    some = recognizer.with_labels(["sad", "happy"])
    stream = StreamingRecognizer(some)
    events = [*stream.feed(voice(4), RATE), *stream.finish()]
    assert {event.labels for event in events} == {("happy", "sad")}
    assert pickle.loads(pickle.dumps(some.engine)).run(*two_seconds()).logits.shape[2] == 2


def two_seconds() -> tuple[np.ndarray, np.ndarray]:
    return voice(3)[None], np.array([3 * RATE])


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (["happy", "bored"], "no emotion 'bored' \\(valid: neutral, calm"),
        (["happy"], "to choose among happy takes at least two"),
        ([], "to choose among no emotions takes at least two"),
        ("happy", "to choose among happy takes at least two"),
    ],
)
def test_wrong_choices_are_refused(recognizer: Recognizer, labels: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        recognizer.with_labels(labels)


def test_the_command_chooses_among_some_emotions(clips: list[str]) -> None:
    done = CliRunner().invoke(app, ["predict", clips[3], "--classes", "happy, sad", "--format", "csv"])
    assert done.exit_code == 0, done.output
    assert done.stdout.splitlines()[0].endswith(",p_happy,p_sad")


# Embeddings


def test_the_last_layer_makes_the_scores_of_the_embedding(recognizer: Recognizer, clips: list[str]) -> None:
    safetensors = pytest.importorskip("safetensors.numpy")
    from emofocus.recognition.recognizer import SHIPPED
    from emofocus.segments import softmax

    weights = safetensors.load_file(SHIPPED / "model.safetensors")
    weight, bias = weights["classifier.1.weight"], weights["classifier.1.bias"]
    for clip in (clips[0], clips[3], clips[6]):
        pooled = recognizer.embed(clip)
        assert pooled.shape == (256,)
        scores = softmax(pooled @ weight.T + bias, recognizer.config.temperature)
        assert scores == pytest.approx(list(recognizer(clip).scores.values()), abs=1e-4)


def test_embeddings_of_segments_and_of_several_clips(recognizer: Recognizer, clips: list[str]) -> None:
    segments = recognizer.embed(clips[3], segments=True)
    timeline = recognizer(clips[3]).timeline
    assert segments.shape == (len(timeline), 256)
    assert recognizer.embed(clips[3]) == pytest.approx(segments[timeline.speech].mean(axis=0), abs=1e-5)
    several = recognizer.embed(clips[:3])
    assert several.shape == (3, 256)
    assert np.array_equal(several[1], recognizer.embed(clips[1]))
    assert recognizer.embed(voice(2), RATE).shape == (256,)
    with pytest.raises(ConfigError, match="segments=True is for one clip"):
        recognizer.embed(clips[:2], segments=True)


def test_a_model_of_an_older_version_gives_no_embeddings_and_says_how_it_would(
    recognizer: Recognizer, clips: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recognizer.engine, "embeds", False)
    with pytest.raises(ModelError, match=r"gives no embeddings; emofocus export .* makes it anew, with them"):
        recognizer.embed(clips[0])


def test_the_command_writes_embeddings(recognizer: Recognizer, clips: list[str], tmp_path: Path) -> None:
    polars = pytest.importorskip("polars")
    out = tmp_path / "embeddings.parquet"
    done = CliRunner().invoke(app, ["predict", *clips[:3], str(tmp_path / "nowhere.wav"), "--embeddings", str(out)])
    assert done.exit_code == 1  # nowhere.wav
    table = polars.read_parquet(out)
    assert table["file"].to_list() == clips[:3]
    assert np.array_equal(np.array(table["embedding"].to_list(), np.float32), recognizer.embed(clips[:3]))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--embeddings", "e.csv"], "'.csv' is no kind of file for it (valid: .parquet)"),
        (["--embeddings", "e.parquet", "--timeline"], "--embeddings goes with neither --timeline"),
        (["-", "--embeddings", "e.parquet"], "which the standard input does not allow"),
    ],
)
def test_embeddings_that_cannot_be_written_are_refused_before_anything_is_recognized(
    clips: list[str], arguments: list[str], message: str
) -> None:
    done = CliRunner().invoke(app, ["predict", clips[0], *arguments])
    assert isinstance(done.exception, ConfigError)
    assert message in str(done.exception)


def test_embeddings_without_polars_are_refused_before_anything_is_recognized(
    clips: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """All clips were recognized and printed first, and the error came at the end."""
    monkeypatch.setitem(sys.modules, "polars", None)
    done = CliRunner().invoke(app, ["predict", clips[0], "--embeddings", "e.parquet"])
    assert isinstance(done.exception, MissingExtraError)
    assert done.stdout == ""


def test_recognition_imports_neither_matplotlib_nor_tables() -> None:
    code = (
        "import sys; from emofocus import Recognizer; Recognizer.from_pretrained(threads=1); "
        "print({'matplotlib', 'pandas', 'polars', 'emofocus.recognition.display'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
