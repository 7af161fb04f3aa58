"""IEMOCAP in its owner's layout: a made-up tree, for the audio may be had from its owner only."""

import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from emofocus.corpora import CORPORA, Corpus, read_corpus
from emofocus.corpora.corpus import differences
from emofocus.corpora.readers.iemocap import parse_line
from emofocus.errors import CorpusError
from helpers.trees import iemocap_tree, iemocap_turns, some_turns

IEMOCAP = CORPORA["iemocap"]

# Utterances of each session: neutral, happy with excited, angry, sad.
TABLE = {
    "1": (384, 278, 229, 194),
    "2": (362, 327, 137, 197),
    "3": (320, 286, 240, 305),
    "4": (258, 303, 327, 143),
    "5": (384, 442, 170, 245),
}

ANNOTATION = Path("Session2", "dialog", "EmoEvaluation", "Ses02F_impro01.txt")

Change = Callable[[str, str], int]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All 10,039 utterances, without sound."""
    return iemocap_tree(tmp_path_factory.mktemp("iemocap"))


@pytest.fixture(scope="module")
def four(whole: Path) -> Corpus:
    """The usual four classes."""
    return read_corpus("iemocap", whole)


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A few utterances of each session."""
    return iemocap_tree(tmp_path, some_turns())


@pytest.fixture
def change(small: Path) -> Change:
    """Replace the first ``old`` of an annotation by ``new``: returns the number of its line."""

    def replace(old: str, new: str) -> int:
        text = (small / ANNOTATION).read_bytes().decode("latin-1")
        (small / ANNOTATION).write_bytes(text.replace(old, new, 1).encode("latin-1"))
        return text[: text.index(old)].count("\n") + 1

    return replace


def test_the_four_classes_are_5531_with_the_owners_counts_of_each_session(four: Corpus) -> None:
    assert len(four) == 5531
    assert four.classes == ("neutral", "happy", "sad", "angry")
    found = Counter(four.table.select("session", "emotion").iter_rows())
    order = ("neutral", "happy", "angry", "sad")
    assert {session: tuple(found[session, emotion] for emotion in order) for session in TABLE} == TABLE


def test_whoever_speaks_is_told_by_the_letter_after_the_last_underscore(whole: Path) -> None:
    table = IEMOCAP.read(whole)
    speakers = {turn.name: turn.session + turn.letter for turn in iemocap_turns()}
    assert dict(table.select("key", "speaker").iter_rows()) == speakers
    assert set(speakers.values()) == {session + letter for session in TABLE for letter in "FM"}
    wrong = [key for key, speaker in speakers.items() if key[5] != speaker[1]]
    assert len(wrong) > 4000, "the dialog's letter is not the speaker's for half of the corpus"


def test_an_utterance_knows_its_session_gender_style_file_and_words(whole: Path) -> None:
    rows = {item.key: item for item in read_corpus("iemocap", whole, labels="all").utterances}
    man = next(item for key, item in rows.items() if key.startswith("Ses05F_script02_1_M"))
    assert (man.session, man.speaker, man.gender, man.style) == ("5", "5M", "male", "scripted")
    assert man.file == f"Session5/sentences/wav/Ses05F_script02_1/{man.key}.wav"
    assert man.text.startswith("This is turn ")
    assert (man.start, man.end) == (None, None)


def test_dialogs_with_letters_at_their_end_are_read_too(whole: Path) -> None:
    dialogs = {key.rpartition("_")[0] for key in IEMOCAP.read(whole)["key"]}
    assert len(dialogs) == 151
    assert {"Ses05M_script01_1b", "Ses03F_impro05a", "Ses03M_impro05b"} <= dialogs


def test_what_no_class_takes_is_counted(four: Corpus) -> None:
    assert four.left_out == {"xxx": 2507, "fru": 1849, "sur": 107, "fea": 40, "oth": 3, "dis": 2}


@pytest.mark.parametrize(
    ("labels", "counts"),
    [
        ("default", {"neutral": 1708, "happy": 1636, "sad": 1084, "angry": 1103}),
        ("four", {"neutral": 1708, "happy": 1636, "sad": 1084, "angry": 1103}),
        ("happy-only", {"neutral": 1708, "happy": 595, "sad": 1084, "angry": 1103}),
        ("excited-only", {"neutral": 1708, "happy": 1041, "sad": 1084, "angry": 1103}),
        ("five", {"neutral": 1708, "happy": 1636, "sad": 1084, "angry": 1103, "frustrated": 1849}),
        ("glad=hap,exc cross=ang,fru", {"glad": 1636, "cross": 2952}),
    ],
)
def test_label_maps_take_what_they_say(labels: str, counts: dict[str, int], whole: Path) -> None:
    corpus = read_corpus("iemocap", whole, labels=labels)
    assert Counter(corpus.table["emotion"]) == counts
    assert corpus.classes == tuple(counts)


def test_all_labels_but_disagreement_make_ten_classes(whole: Path) -> None:
    corpus = read_corpus("iemocap", whole, labels="all")
    assert len(corpus.classes) == 10
    assert corpus.left_out == {"xxx": 2507}
    assert Counter(corpus.table["emotion"])["excited"] == 1041


@pytest.mark.parametrize(("style", "part"), [("improvised", "_impro"), ("scripted", "_script")])
def test_improvised_and_scripted_dialogs_are_filters(style: str, part: str, whole: Path, four: Corpus) -> None:
    corpus = read_corpus("iemocap", whole, only=[f"style={style}"])
    assert set(corpus.table["key"]) == {key for key in four.table["key"] if part in key}
    assert 2000 < len(corpus) < 3500


def test_one_session_is_a_filter(whole: Path) -> None:
    assert len(read_corpus("iemocap", whole, only=["session=3"])) == 1151


# Clutter and ways to write it


def test_the_folder_of_the_owners_archive_is_found(tmp_path: Path) -> None:
    iemocap_tree(tmp_path / "IEMOCAP_full_release", some_turns())
    corpus = read_corpus("iemocap", tmp_path)
    assert corpus.path(0).is_file()
    assert corpus.table["file"][0].startswith("IEMOCAP_full_release/Session1/sentences/wav/")


def test_line_ends_of_both_kinds_and_any_encoding_are_read(small: Path) -> None:
    raw = [path.read_bytes() for path in small.glob("Session*/dialog/EmoEvaluation/Ses*.txt")]
    assert 0 < sum(b"\r\n" in text for text in raw) < len(raw)
    assert all(b"d\xe9j\xe0" in text for text in raw), "not UTF-8"
    assert len(IEMOCAP.read(small)) == len(some_turns())


def test_without_transcriptions_the_words_are_unknown(small: Path) -> None:
    for folder in small.glob("Session*/dialog/transcriptions"):
        shutil.rmtree(folder)
    assert IEMOCAP.read(small)["text"].unique().to_list() == [""]


def test_a_wav_goes_before_a_flac_of_the_same_utterance(small: Path) -> None:
    iemocap_tree(small, some_turns(), suffix=".flac")
    assert all(file.endswith(".wav") for file in IEMOCAP.read(small)["file"])


def test_an_annotation_without_utterances_is_no_mistake(small: Path) -> None:
    (small / ANNOTATION).write_text("% [START_TIME - END_TIME] TURN_NAME EMOTION [V, A, D]\n")
    assert len(IEMOCAP.read(small)) == len(some_turns()) - 6


# What is missing


def test_a_missing_session_is_named_with_those_that_are_there(small: Path) -> None:
    shutil.rmtree(small / "Session3")
    with pytest.raises(CorpusError, match=r"Session3 is missing; there is Session1, Session2, Session4, Session5\. .*"):
        read_corpus("iemocap", small)
    shutil.rmtree(small / "Session5")
    with pytest.raises(CorpusError, match=r"Session3, Session5 are missing; .* --only session=1"):
        read_corpus("iemocap", small)


def test_a_session_without_annotations_is_named(small: Path) -> None:
    shutil.rmtree(small / "Session4" / "dialog" / "EmoEvaluation")
    with pytest.raises(CorpusError, match=r"Session4/dialog/EmoEvaluation: no annotation \(\*\.txt\) is here"):
        read_corpus("iemocap", small)


def test_utterances_without_audio_are_counted_and_named(small: Path) -> None:
    shutil.rmtree(small / "Session2" / "sentences" / "wav" / "Ses02F_impro01")
    message = "6 annotated utterances have no audio file in .*, for example Ses02F_impro01_F000, Ses02F_impro01_M000, "
    with pytest.raises(CorpusError, match=message):
        read_corpus("iemocap", small)


def test_counts_that_are_not_the_owners_are_said_of_each_session(
    whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lost = next(turn for turn in iemocap_turns() if turn.session == "2" and turn.label == "neu")
    table = IEMOCAP.read(whole)
    assert differences(table.filter(table["key"] != lost.name), IEMOCAP) == [
        "10038 of 10039 utterances",
        "Session 2 has 361 neutral utterances, its owner says 362",
        "1707 of 1708 utterances labeled neu",
    ]
    read_corpus("iemocap", iemocap_tree(tmp_path, [turn for turn in iemocap_turns() if turn != lost]))
    assert "iemocap: Session 2 has 361 neutral utterances, its owner says 362" in capsys.readouterr().err.splitlines()


# What is damaged


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("\tSes02F_impro01_M000\t", " Ses02F_impro01_M000 ", r".*: 2 fields between tabs, not 4"),
        ("\t[2.5000, 2.5000, 2.5000]", "", r".*: 3 fields between tabs, not 4"),
        ("[6.2901 - 8.2357]", "[6.2901 8.2357]", r".*: '\[6\.2901 8\.2357\]' are no times"),
        ("[6.2901 - 8.2357]", "[6.2901 - x]", r".*: '\[6\.2901 - x\]' are no times"),
        ("[6.2901 - 8.2357]", "6.2901 - 8.2357]", r".*: '6\.2901 - 8\.2357\]' are no times"),
        ("[6.2901 - 8.2357]", "[8.2901 - 8.2357]", ".*: it ends before it starts"),
        ("\tSes02F_impro01_M000\t", "\tSes02F_impro01\t", ".*: 'Ses02F_impro01' is not like Ses01F_impro01_F000"),
        ("[2.5000, 2.5000, 2.5000]", "[2.5000, 2.5000]", r".*: '\[2\.5000, 2\.5000\]' are not three ratings"),
    ],
)
def test_a_damaged_line_is_reported_with_its_file_and_number(
    old: str, new: str, message: str, small: Path, change: Change
) -> None:
    number = change(old, new)
    with pytest.raises(CorpusError, match=f"{ANNOTATION.as_posix()}, line {number}: damaged line '.*'{message}"):
        read_corpus("iemocap", small)


def test_an_unknown_label_is_reported_with_its_file_and_line(small: Path, change: Change) -> None:
    label = next(turn.label for turn in some_turns() if turn.name == "Ses02F_impro01_M000")
    number = change(f"Ses02F_impro01_M000\t{label}", "Ses02F_impro01_M000\tjoy")
    message = f"{ANNOTATION.as_posix()}, line {number}: 'joy' is no emotion of IEMOCAP .valid: neu, hap, exc, "
    with pytest.raises(CorpusError, match=message):
        read_corpus("iemocap", small)


def test_an_annotation_in_another_sessions_folder_is_reported(small: Path) -> None:
    shutil.copy(small / ANNOTATION, small / "Session4" / "dialog" / "EmoEvaluation")
    with pytest.raises(CorpusError, match=r"Session4/.*, line 3: Ses02F_impro01_F000 does not belong to Session4"):
        read_corpus("iemocap", small)


def test_an_utterance_that_is_annotated_twice_is_refused(small: Path) -> None:
    shutil.copy(small / ANNOTATION, (small / ANNOTATION).with_name("Ses02F_impro01 copy.txt"))
    with pytest.raises(CorpusError, match="6 utterances are there twice, for example 'Ses02F_impro01_F000'"):
        read_corpus("iemocap", small)


def test_the_owners_example_of_a_line_is_understood() -> None:
    item = parse_line("[6.2901 - 8.2357]\tSes01F_impro01_M003\tneu\t[2.5000, 2.5000, 2.5000]")
    assert (item.speaker, item.emotion, item.session, item.style) == ("1M", "neu", "1", "improvised")
