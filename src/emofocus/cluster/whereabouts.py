"""Options that are a name or a path, so that processes with another working directory understand them."""

from pathlib import Path

from emofocus.config import recipe_names
from emofocus.corpora import CORPORA
from emofocus.data.speaker_embeddings import MANIFEST


def found_below(text: str, folder: Path = Path()) -> str:
    """The whole path of what a text names in a folder; a name of ours, or of nothing that is there, stays as it is.

    A corpus mostly lies in a folder of its own name, which is no reason to take the name for a path.
    """
    path = folder.absolute() / text
    return text if text in (*CORPORA, *recipe_names(), MANIFEST) or not path.exists() else str(path)
