"""One reader for each corpus, and the one record that all of them become."""

from pathlib import Path

from emofocus.corpora.base import Corpus, Reader, Utterance
from emofocus.corpora.emodb import EMODB
from emofocus.corpora.ravdess import RAVDESS
from emofocus.errors import CorpusError, one_of

CORPORA: dict[str, Reader] = {"ravdess": RAVDESS, "emodb": EMODB}

__all__ = ["CORPORA", "Corpus", "Reader", "Utterance", "read_corpus"]


def read_corpus(name: str, root: str | Path) -> Corpus:
    """Read a corpus from its owner's layout below ``root``.

    Raises:
        CorpusError: An unknown corpus, or a folder that does not hold it.
    """
    if name not in CORPORA:
        raise CorpusError(f"unknown corpus {name!r} ({one_of(CORPORA)})")
    return CORPORA[name].read(name, Path(root))
