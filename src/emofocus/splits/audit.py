"""Leakage audit: values that two parts of a fold must not share, and classes that a part lacks."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from emofocus.audio.fingerprint import AudioFingerprint, Pair, altered_copies
from emofocus.splits.folds import PARTS, Fold
from emofocus.splits.recordings import recordings

LEAKS = {
    "speaker": "speaker in two parts",
    "session": "session in two parts",
    "recording": "cuts or altered copies of one recording in two parts",
    "audio": "the same audio in two parts",
    "altered": "altered audio of one recording in two parts",
}
"""Kinds of leaks, with their descriptions; ``altered`` comes from the audio, ``recording`` from names and times."""

WARNINGS = {"text": "sentence in two parts"}
"""Kinds of warnings: values that parts may share, though a reader should know."""

EXAMPLES = 2
"""Offenders that a line of the report names at most."""


@dataclass(frozen=True)
class Offence:
    """One thing wrong with one fold.

    Attributes:
        fold: Number of the fold, from 0.
        kind: A key of `LEAKS` or `WARNINGS`, ``class`` (absent from a part) or ``empty`` (a part without utterances).
        value: The speaker, session, recording, text, class or part.
        parts: Number of utterances in each part that has some.
        fails: Whether the offence fails the split; otherwise it is a warning.
    """

    fold: int
    kind: str
    value: str
    parts: dict[str, int]
    fails: bool


@dataclass(frozen=True)
class Audit:
    """Result of an audit.

    Attributes:
        folds: Number of folds.
        offences: All offences.
        unseen: Kinds that could not be checked for lack of data.
    """

    folds: int
    offences: tuple[Offence, ...]
    unseen: tuple[str, ...]

    @property
    def passed(self) -> bool:
        """Whether no offence fails the split."""
        return not any(offence.fails for offence in self.offences)

    def counts(self) -> dict[str, int]:
        """Number of different offenders of each kind, over all folds."""
        kinds = dict.fromkeys(offence.kind for offence in self.offences)
        return {kind: len({o.value for o in self.offences if o.kind == kind}) for kind in kinds}

    def to_plain(self) -> dict[str, Any]:
        """Values for JSON."""
        return {
            "passed": self.passed,
            "folds": self.folds,
            "not_looked_at": list(self.unseen),
            "offences": [vars(offence) for offence in self.offences],
        }

    def summary(self) -> str:
        """Kinds of offences with their counts, in one line."""
        return ", ".join(f"{kind} ({number})" for kind, number in self.counts().items()) or "nothing"


def audit(table: pl.DataFrame, folds: Sequence[Fold], fingerprints: Sequence[AudioFingerprint] | None = None) -> Audit:
    """Look for leaks between the parts of each fold, for absent classes and for empty parts.

    Args:
        table: Utterances with the columns of `emofocus.corpora.corpus.SCHEMA`; empty columns are skipped.
        folds: Positions in the table.
        fingerprints: Fingerprint of each utterance (U,); without them, equal and altered audio goes unseen.
    """
    traits = _traits(table, fingerprints)
    from_audio = () if fingerprints is None else ("audio", "altered")
    unseen = [name for name in (*LEAKS, *WARNINGS) if name not in (*traits.columns, *from_audio)]
    offences = [offence for number, fold in enumerate(folds) for offence in _fold_offences(traits, number, fold)]
    return Audit(len(folds), tuple(offences), tuple(unseen))


def _traits(table: pl.DataFrame, fingerprints: Sequence[AudioFingerprint] | None) -> pl.DataFrame:
    """Table with a categorical column per known trait that utterances may share; null where it is unknown."""
    columns = {name: table[name] for name in ("speaker", "session", "text", "emotion", "corpus")}
    columns["recording"] = recordings(table)
    if fingerprints is not None:
        columns["audio"] = pl.Series([item.digest for item in fingerprints], dtype=pl.String)
        columns["altered"] = _clusters(table["key"], altered_copies([item.prints for item in fingerprints]))
    traits = pl.DataFrame({name: column for name, column in columns.items() if (column != "").any()})
    names = pl.all().replace("", None)
    # Equal audio is named after the first utterance that has it, not after its hash.
    if "audio" in traits.columns:
        names_of_audio = table["key"].to_frame().with_columns(traits["audio"])
        traits = traits.with_columns(audio=names_of_audio.select(pl.col("key").first().over("audio")).to_series())
    return traits.with_columns(names).cast(pl.Categorical)


def _clusters(keys: pl.Series, pairs: Iterable[Pair]) -> pl.Series:
    """Key of the first utterance of each cluster that sounds alike (U,); "" for an utterance without a cluster."""
    edges = np.array([(pair.first, pair.second) for pair in pairs], dtype=np.int64).reshape(-1, 2)
    size = len(keys)
    graph = coo_array((np.ones(len(edges)), (edges[:, 0], edges[:, 1])), shape=(size, size))
    cluster = connected_components(graph, directed=False)[1]
    first = np.unique(cluster, return_index=True)[1][cluster]
    alike = np.isin(cluster, cluster[edges.reshape(-1)])
    return pl.select(pl.when(pl.Series(alike)).then(keys.gather(first)).otherwise(pl.lit(""))).to_series()


def _fold_offences(traits: pl.DataFrame, number: int, fold: Fold) -> list[Offence]:
    positions = np.concatenate([np.unique(part) for part in fold.parts().values()])
    part = np.repeat(np.arange(len(PARTS)), [len(np.unique(part)) for part in fold.parts().values()])
    used = traits[positions].with_columns(part=pl.Series(part))  # an utterance in two parts has two rows
    shared = [
        Offence(number, kind, value, parts, kind in LEAKS)
        for kind in (*LEAKS, *WARNINGS)
        if kind in used.columns
        for value, parts in _shared(used, kind)
    ]
    return [*_empty(number, fold), *_absent(used, number), *shared]


def _shared(used: pl.DataFrame, kind: str) -> list[tuple[str, dict[str, int]]]:
    """Values that two parts share, with the number of utterances in each part."""
    counts = used.drop_nulls(kind).group_by(kind, "part").len().filter(pl.len().over(kind) > 1).sort(kind, "part")
    parts: dict[str, dict[str, int]] = {}
    for value, part, count in counts.with_columns(pl.col(kind).cast(pl.String)).iter_rows():
        parts.setdefault(value, {})[PARTS[part]] = count
    return sorted(parts.items())


def _empty(number: int, fold: Fold) -> list[Offence]:
    return [Offence(number, "empty", name, {}, fails=True) for name, part in fold.parts().items() if not len(part)]


def _absent(used: pl.DataFrame, number: int) -> list[Offence]:
    """Offences for the classes that a part lacks, though a corpus of it has them elsewhere in the fold."""
    if "emotion" not in used.columns:
        return []
    corpus = pl.col("corpus").cast(pl.String) if "corpus" in used.columns else pl.lit("").alias("corpus")
    rows = used.drop_nulls("emotion").select("part", pl.col("emotion").cast(pl.String), corpus).unique().rows()
    present = {(part, emotion) for part, emotion, _ in rows}
    classes_of = {name: {emotion for _, emotion, other in rows if other == name} for _, _, name in rows}
    wanted = {(part, emotion) for part, _, name in rows for emotion in classes_of[name]}
    return [
        Offence(number, "class", f"{emotion} absent from {PARTS[part]}", {}, fails=True)
        for part, emotion in sorted(wanted - present)
    ]
