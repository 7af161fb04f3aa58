"""Whole corpora in their owners' naming, with exact counts and made-up sound: no audio of theirs is needed.

``FILES[name]()`` are the files of a corpus with their owner's labels, ``TREES[name](root)`` writes them all.
"""

import csv
import io
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache, lru_cache, partial
from itertools import chain, count, islice, product
from pathlib import Path, PurePosixPath

import numpy as np
import soundfile

from emofocus.corpora.readers import (
    emodb,
    emovo,
    emozionalmente,
    esd,
    iemocap,
    meld,
    mesd,
    msp_podcast,
    nemo,
    ravdess,
    savee,
    subesco,
    urdu,
)
from emofocus.corpora.readers.cremad import EMOTIONS as CREMA_D_EMOTIONS
from emofocus.corpora.readers.cremad import SENTENCES as CREMA_D_SENTENCES

RATE = 16_000
SECONDS = 0.15

Files = dict[str, str]
"""File → the owner's label."""


def plant(
    root: Path,
    files: Iterable[str] | Mapping[str, str],
    *,
    audio: bool = False,
    seconds: float = SECONDS,
    suffix: str = ".wav",
) -> Path:
    """Write files below a folder: empty ones, or sounds that all differ and whose pitch tells the label, if given."""
    labels = dict(files) if isinstance(files, Mapping) else dict.fromkeys(files, "")
    pitches = {label: 250.0 * 1.3**number for number, label in enumerate(sorted(set(labels.values())))}
    for folder in {PurePosixPath(file).parent for file in labels}:
        (root / folder).mkdir(parents=True, exist_ok=True)
    for number, (file, label) in enumerate(labels.items()):
        path = (root / file).with_suffix(suffix)
        if audio:
            soundfile.write(path, sound(number, pitches[label], seconds), RATE)
        else:
            path.touch()
    return root


def sound(number: int, hertz: float, seconds: float = SECONDS) -> np.ndarray:
    """A tone in noise (T,) float32; no two numbers below 100,000 give the same."""
    tone = _tone(hertz, round(seconds * RATE))
    return tone + _noise()[number : number + len(tone)]


@lru_cache(maxsize=64)
def _tone(hertz: float, length: int) -> np.ndarray:
    return (0.3 * np.sin(2 * np.pi * hertz * np.arange(length) / RATE)).astype(np.float32)


@cache
def _noise() -> np.ndarray:
    return np.random.default_rng(0).normal(0, 0.03, 100_000 + 10 * RATE).astype(np.float32)


# One function a corpus: its files


def ravdess_files(channel: str = "01") -> Files:
    reader = {"01": ravdess.RAVDESS, "02": ravdess.RAVDESS_SONG}[channel]
    return {f"Actor_{key[-2:]}/{key}.wav": ravdess.EMOTIONS[key[6:8]] for key in sorted(reader.expected.keys())}


def emodb_files() -> Files:
    texts = ("a01", "a02", "a04", "a05", "a07", "b01", "b02", "b03", "b09", "b10")
    files = {}
    for letter, label in emodb.EMOTIONS.items():
        names = product("abc", texts, sorted(emodb.MEN | emodb.WOMEN))
        for version, text, speaker in islice(names, emodb.COUNTS[label]):
            files[f"wav/{speaker}{text}{letter}{version}.wav"] = label
    return files


def crema_d_files() -> Files:
    """91 actors x 82 recordings, less the twenty that are missing; one has a slip in its name."""
    files = {}
    for actor, sentence, emotion in product(range(1001, 1092), CREMA_D_SENTENCES, CREMA_D_EMOTIONS):
        several = sentence == "IEO" and emotion != "NEU"
        if sentence == "TSI" and actor < (1006 if emotion == "NEU" else 1004):
            continue
        for intensity in ("LO", "MD", "HI") if several else ("XX",):
            slip = (actor, sentence, emotion) == (1040, "ITH", "SAD")
            files[f"AudioWAV/{actor}_{sentence}_{emotion}_{'X' if slip else intensity}.wav"] = emotion
    return files


def tess_files() -> Files:
    """Folders as in the copy that is most in use, which spells them in more than one way."""
    starts = ("b", "c", "d", "f", "g", "h", "j", "k", "l", "m", "n", "p", "r", "s", "t", "v", "w", "sh", "th", "y")
    words = [
        "".join(parts) for parts in product(starts, ("ack", "ite", "ain", "ock", "een", "ool", "ip", "eg", "um", "ar"))
    ]
    folders = {"fear": "Fear", "sad": "Sad", "ps": "Pleasant_surprise"}
    files = {}
    for speaker, emotion, word in product(
        ("OAF", "YAF"), ("angry", "disgust", "fear", "happy", "neutral", "ps", "sad"), words
    ):
        folder = folders.get(emotion, emotion) if speaker == "OAF" else emotion.replace("ps", "pleasant_surprised")
        name = f"{speaker}_{word}_{emotion}".replace("OAF_bite_neutral", "OA_bite_neutral")
        files[f"{speaker}_{folder}/{name}.wav"] = emotion
    return files


def savee_files() -> Files:
    return {f"{key}.wav": key[3:-2] for key in savee.names()}


def emovo_files() -> Files:
    return {f"{key[4:6]}/{key}.wav": key[:3] for key in emovo.names()}


def nemo_files() -> Files:
    """As many sentences of each emotion as the owner has; the speakers say them in turn."""
    files = {}
    for label, number in nemo.COUNTS.items():
        for sentence, speaker in islice(product(range(1, 91), nemo.WOMEN + nemo.MEN), number):
            files[f"samples/{speaker}_{label}_{sentence}.wav"] = label
    return files


def urdu_files() -> Files:
    speakers = [f"SM{number}" for number in range(1, 21)] + [f"SF{number}" for number in range(1, 10)]
    files = {}
    for (letter, label), number in product(urdu.LETTERS.items(), range(100)):
        speaker = speakers[number % len(speakers)]
        files[f"{label}/{speaker}_F{number // len(speakers) + 1}_{letter}0{number + 1}.wav"] = label
    return files


def esd_files() -> Files:
    """Of each emotion, the first twenty sentences evaluate and the next thirty test."""
    files = {}
    order = ("Neutral", "Angry", "Happy", "Sad", "Surprise")
    for speaker, (place, label), sentence in product(
        sorted(esd.WOMEN + esd.MEN), enumerate(order), range(1, esd.SENTENCES + 1)
    ):
        part = "evaluation" if sentence <= 20 else "test" if sentence <= 50 else "train"
        files[f"{speaker}/{label}/{part}/{speaker}_{place * esd.SENTENCES + sentence:06}.wav"] = label
    return files


def subesco_files() -> Files:
    names = ("OISHI", "MONIKA", "TITHI", "RUPA", "MITHU", "SHOPON", "RIPON", "JOY", "TANIM", "AKASH")
    files = {}
    for sex, (number, name), sentence, label, take in product(
        "FM", enumerate(names, start=1), range(1, 11), subesco.EMOTIONS, range(1, 6)
    ):
        files[f"{sex}_{number:02}_{name}_S_{sentence}_{label}_{take}.wav"] = label
    return files


def mesd_files() -> Files:
    words = ["abajo", "adios", "antes", "de_nada", *(f"palabra{number}" for number in range(20))]
    return {
        f"{label}_{voice}_{words_of}_{word if words_of == 'A' else f'{word}_{label.lower()}'}.wav": label
        for label, voice, words_of, word in product(mesd.EMOTIONS, "FMC", "AB", words)
    }


# Corpora whose labels are in a table, which is written from the names of its files


def meld_files() -> Files:
    """As many utterances of each label as the owner has; a dialog has ten."""
    labels = [label for label, number in meld.COUNTS.items() for _ in range(number)]
    labels = np.random.default_rng(0).permutation(labels).tolist()
    sizes = {"train_splits": 9988, "dev_splits_complete": 1108, "output_repeated_splits_test": 2610}
    names = [
        file
        for folder, size in sizes.items()
        for file in islice((f for f in _clips(folder) if f not in MELD_WITHOUT_SOUND), size)
    ]
    return dict(zip(names, labels, strict=True))


MELD_WITHOUT_SOUND = ("train_splits/dia125_utt3.wav", "dev_splits_complete/dia110_utt7.wav")


def _clips(folder: str) -> Iterator[str]:
    return (f"{folder}/dia{n // 10}_utt{n % 10}.wav" for n in count())


def meld_tree(root: Path, **options: object) -> Path:
    """With the two rows without sound, of which one has a damaged clip, clips without a row, and damaged quotes."""
    friends = ("Joey", "Rachel", "Ross", "Monica", "Phoebe", "Chandler", "All", "Ross and Joey")
    rows: dict[str, list[tuple[object, ...]]] = {part: [] for part in meld.FOLDERS.values()}
    files = meld_files()
    for number, (file, label) in enumerate({**files, **dict.fromkeys(MELD_WITHOUT_SOUND, "neutral")}.items()):
        dialog, utterance = PurePosixPath(file).stem.removeprefix("dia").split("_utt")
        words = f"It\x92s line {number}, isn’t it?"
        row = (number + 1, words, friends[number % 8], label, "neutral", dialog, utterance, 4, 7, "0:01", "0:02")
        rows[meld.FOLDERS[PurePosixPath(file).parent.name]].append(row)
    head = "Sr No.,Utterance,Speaker,Emotion,Sentiment,Dialogue_ID,Utterance_ID,Season,Episode,StartTime,EndTime"
    for part, lines in rows.items():
        write_table(root / f"{part}_sent_emo.csv", head, lines)
    strays = ["output_repeated_splits_test/final_videos_testdia5_utt1.wav", "dev_splits_complete/dia200_utt0.wav"]
    plant(root, [*strays, MELD_WITHOUT_SOUND[0]])
    return plant(root, files, **options)  # type: ignore[arg-type]


def emozionalmente_files() -> Files:
    labels = list(emozionalmente.EMOTIONS)
    return {f"audio/{1_570_000_000 + 37 * n}.wav": labels[n % len(labels)] for n in range(6902)}


def emozionalmente_tree(root: Path, **options: object) -> Path:
    """431 actors, of whom 300 are women, and people who only listened."""
    files = emozionalmente_files()
    names = [PurePosixPath(file).name for file in files]
    actors = [f"user{n // 7 % 431}" for n in range(len(names))]
    rows = [
        (name, actor, f"Frase {n % 18}, detta.", label)
        for n, (name, actor, label) in enumerate(zip(names, actors, files.values(), strict=True))
    ]
    write_table(root / "metadata/samples.csv", "file_name,actor,sentence,emotion_expressed", rows)
    users = [(f"user{n}", "female" if n < 300 else "male", 20 + n % 50, "italian") for n in range(938)]
    write_table(root / "metadata/users.csv", "username,gender,age,mother_tongue", users)
    for part, chosen in {"train": range(274), "dev": range(274, 343), "test": range(343, 431)}.items():
        own = {f"user{n}" for n in chosen}
        lines = [row for row in rows if row[1] in own]
        write_table(root / f"metadata/split/{part}.csv", "file_name,actor,sentence,emotion_expressed", lines)
    return plant(root, files, **options)  # type: ignore[arg-type]


PODCAST_PARTS = {"Train": 300, "Development": 100, "Test1": 100, "Test2": 60}


def msp_podcast_files() -> Files:
    letters = msp_podcast.LETTERS
    total = sum(PODCAST_PARTS.values())
    return {f"Audios/MSP-PODCAST_{n // 20:04}_{n % 20:04}.wav": letters[n % len(letters)] for n in range(total)}


def msp_podcast_rows() -> list[tuple[str, ...]]:
    """Rows of the table of labels; ten of the training part have unknown speakers."""
    parts = [part for part, size in PODCAST_PARTS.items() for _ in range(size)]
    rows: list[tuple[str, ...]] = []
    for n, ((file, letter), part) in enumerate(zip(msp_podcast_files().items(), parts, strict=True)):
        speaker = 100 * list(PODCAST_PARTS).index(part) + n // 10 % 5
        known = (str(speaker), "Female" if speaker % 2 else "Male") if n >= 10 else ("Unknown", "Unknown")
        rows.append((PurePosixPath(file).name, letter, "4.2", "3.777778", "4.0", *known, part))
    return rows


def msp_podcast_tree(root: Path, **options: object) -> Path:
    """A made-up release, with the audio of a part whose labels are hidden."""
    head = "FileName,EmoClass,EmoAct,EmoVal,EmoDom,SpkrID,Gender,Split_Set"
    write_table(root / "Labels/labels_consensus.csv", head, msp_podcast_rows())
    plant(root, [f"Audios/MSP-PODCAST_test3_{n:04}.wav" for n in range(5)])
    return plant(root, msp_podcast_files(), **options)  # type: ignore[arg-type]


def write_table(path: Path, head: str, rows: Iterable[Iterable[object]]) -> None:
    """Write a CSV table in UTF-8, as owners of corpora do."""
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(f"{head}\r\n{text.getvalue()}".encode())


# IEMOCAP, whose labels are not in the names


@dataclass(frozen=True)
class Turn:
    """One utterance of the made-up IEMOCAP; ``letter`` is that of who speaks."""

    dialog: str
    letter: str
    number: int
    label: str

    @property
    def session(self) -> str:
        return self.dialog[4]

    @property
    def name(self) -> str:
        return f"{self.dialog}_{self.letter}{self.number:03}"

    @property
    def file(self) -> str:
        return f"Session{self.session}/sentences/wav/{self.dialog}/{self.name}.wav"


HAPPY = {"1": 135, "2": 117, "3": 135, "4": 65, "5": 143}
"""Of the happy and excited together of each session, those that are happy."""

OF_SESSION = {"1": 1819, "2": 1811, "3": 2136, "4": 2103, "5": 2170}

DIALOGS = [f"impro{number:02}" for number in range(1, 9)] + [
    f"script{part}" for part in ("01_1", "01_2", "01_3", "02_1", "02_2", "03_1", "03_2")
]
DIFFERENT = {
    "1": lambda names: [name for name in names if "impro08" not in name],
    "3": lambda names: [*names, "Ses03F_impro05a", "Ses03M_impro05b"],
    "5": lambda names: [*names, "Ses05M_script01_1b"],
}
"""Sessions that have other dialogs, so that there are 151 in all."""

HEADER = "% [START_TIME - END_TIME] TURN_NAME EMOTION [V, A, D]"


@cache
def iemocap_turns() -> tuple[Turn, ...]:
    """All 10,039 with the counts of `emofocus.corpora.readers.iemocap`; every dialog has turns of both speakers."""
    random = np.random.default_rng(0)
    rest = {label: n for label, n in iemocap.LABELS.items() if label not in iemocap.FOUR}
    others = iter(random.permutation([label for label, n in rest.items() for _ in range(n)]).tolist())
    turns: list[Turn] = []
    for session, of_class in iemocap.SESSIONS.items():
        four = Counter(neu=of_class["neutral"], ang=of_class["angry"], sad=of_class["sad"], hap=HAPPY[session])
        four["exc"] = of_class["happy"] - HAPPY[session]
        labels = [*four.elements(), *islice(others, OF_SESSION[session] - four.total())]
        turns += _turns(_dialogs(session), random.permutation(labels).tolist())
    return tuple(turns)


def _dialogs(session: str) -> list[str]:
    names = [f"Ses0{session}{letter}_{dialog}" for letter, dialog in product("FM", DIALOGS)]
    return sorted(DIFFERENT.get(session, list)(names))


def _turns(dialogs: list[str], labels: list[str]) -> Iterator[Turn]:
    rounds = ((dialog, number) for number in count() for dialog in dialogs)
    for (dialog, number), label in zip(rounds, labels, strict=False):
        yield Turn(dialog, "FM"[number % 2], number // 2, label)


def some_turns(in_dialog: int = 6) -> tuple[Turn, ...]:
    """The first turns of one improvised and one scripted dialog of each session."""
    dialogs = {f"Ses0{session}{dialog}" for session in iemocap.SESSIONS for dialog in ("F_impro01", "M_script01_1")}
    return tuple(turn for turn in iemocap_turns() if turn.dialog in dialogs and 2 * turn.number < in_dialog)


def iemocap_files() -> Files:
    return {turn.file: turn.label for turn in iemocap_turns()}


def iemocap_tree(
    root: Path,
    turns: Iterable[Turn] | None = None,
    *,
    audio: bool = False,
    seconds: float = SECONDS,
    suffix: str = ".wav",
) -> Path:
    """The owner's tree with all its clutter, of all turns or of some."""
    turns = list(iemocap_turns() if turns is None else turns)
    plant(root, {turn.file: turn.label for turn in turns}, audio=audio, seconds=seconds, suffix=suffix)
    of_dialog: dict[str, list[Turn]] = {}
    for turn in turns:
        of_dialog.setdefault(turn.dialog, []).append(turn)
    for number, (dialog, its) in enumerate(of_dialog.items()):
        folder = root / f"Session{its[0].session}" / "dialog"
        # Some of the owner's files have the line ends of another system, and some remarks another encoding.
        end = "\r\n" if number % 3 == 0 else "\n"
        _write(folder / "EmoEvaluation" / f"{dialog}.txt", annotation(its), end)
        _write(folder / "transcriptions" / f"{dialog}.txt", transcription(its), end)
        _write_clutter(root, folder, its[0])
    return root


def annotation(turns: Iterable[Turn]) -> list[str]:
    """Lines of one annotation, with those of each annotator."""
    lines = [HEADER, ""]
    for start, turn in zip(count(6.2901, 2.5), turns, strict=False):
        times = f"[{start:.4f} - {start + 1.9456:.4f}]"
        lines += [f"{times}\t{turn.name}\t{turn.label}\t[2.5000, 2.5000, 2.5000]"]
        lines += ["C-E2:\tNeutral;\t()", "C-E3:\tNeutral; Other;\t(d\xe9j\xe0 vu)", f"C-{turn.letter}1:\tNeutral;\t()"]
        lines += ["A-E3:\tval 3; act 2; dom  2;\t()", f"A-{turn.letter}1:\tval 3; act 2; dom  3;\t()", ""]
    return lines


def transcription(turns: Iterable[Turn]) -> list[str]:
    """Lines of one dialog's transcription."""
    return [f"{turn.name} [006.2901-008.2357]: This is turn {turn.number}." for turn in turns]


def _write(path: Path, lines: Iterable[str], end: str = "\n") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes("".join(line + end for line in lines).encode("latin-1"))


def _write_clutter(root: Path, folder: Path, turn: Turn) -> None:
    """What a reader must pass by: single annotators' files, twins of a Mac's archive, whole dialogs."""
    line = f"[6.2901 - 8.2357]\t{turn.name}\tang\t[1.0000, 1.0000, 1.0000]"
    for kind, ending in (("Attribute", "e2_atr"), ("Categorical", "e2_cat"), ("Self-evaluation", "f1_cat")):
        _write(
            folder / "EmoEvaluation" / kind / f"{turn.dialog}_{ending}.txt", [f"{turn.name} :act 2; :val 3; ()", line]
        )
    _write(folder / "EmoEvaluation" / f"._{turn.dialog}.txt", ["\x00\x05\x16\x07", line])
    plant(root, [f"Session{turn.session}/dialog/wav/{turn.dialog}.wav", f"{Path(turn.file).parent}/._{turn.name}.wav"])


# All of them


def _tree(files: Callable[[], Files], root: Path, **options: object) -> Path:
    return plant(root, files(), **options)  # type: ignore[arg-type]


def crema_d_tree(root: Path, **options: object) -> Path:
    """With the owner's table of actors, of whom 48 are men."""
    rows = [f"{actor},40,{'Male' if actor < 1049 else 'Female'},Unknown,Not Hispanic" for actor in range(1001, 1092)]
    _write(root / "VideoDemographics.csv", chain(["ActorID,Age,Sex,Race,Ethnicity"], rows), "\r\n")
    return _tree(crema_d_files, root, **options)


FILES: dict[str, Callable[[], Files]] = {
    "ravdess": ravdess_files,
    "ravdess-song": partial(ravdess_files, "02"),
    "iemocap": iemocap_files,
    "emodb": emodb_files,
    "crema-d": crema_d_files,
    "tess": tess_files,
    "savee": savee_files,
    "emovo": emovo_files,
    "nemo": nemo_files,
    "urdu": urdu_files,
    "esd": esd_files,
    "meld": meld_files,
    "msp-podcast": msp_podcast_files,
    "emozionalmente": emozionalmente_files,
    "subesco": subesco_files,
    "mesd": mesd_files,
}

TREES: dict[str, Callable[..., Path]] = {
    **{name: partial(_tree, files) for name, files in FILES.items()},
    "iemocap": iemocap_tree,
    "crema-d": crema_d_tree,
    "meld": meld_tree,
    "msp-podcast": msp_podcast_tree,
    "emozionalmente": emozionalmente_tree,
}
"""Builders: ``TREES[name](root, audio=False, seconds=0.15, suffix=".wav")`` → root."""
