"""Labels of a corpus and classes of a model: which of them are the same, and which are asked for."""

from collections.abc import Iterable, Mapping, Sequence

from emofocus.errors import ConfigError, one_of
from emofocus.utils.table_text import near

COMMON = "common"
"""Value of `--classes` for those that the model and the corpus share."""

Classes = Mapping[str, tuple[str, ...]]
"""Class that is asked for → classes of the model that count as it."""


def classes_of_text(text: str, known: Sequence[str], labels: Iterable[str]) -> Classes:
    """Parse the option `--classes`.

    Args:
        text: `COMMON`, or classes with commas between them; ``neutral=neutral+calm`` is one that stands for two.
        known: Classes of the models.
        labels: Classes of the utterances, for `COMMON`.

    Raises:
        ConfigError: A class is none of the models', is given twice, or fewer than two are asked for.
    """
    asked: dict[str, tuple[str, ...]] = {}
    if text.strip() == COMMON:
        present = set(labels)
        asked |= {name: (name,) for name in known if name in present}
    else:
        for item in text.split(","):
            name, equals, parts = (part.strip() for part in item.partition("="))
            members = tuple(part.strip() for part in parts.split("+")) if equals else (name,)
            _refuse(item, name, members, asked, known)
            asked[name] = members
    if len(asked) < 2:
        listed = ", ".join(asked) or "no class"
        raise ConfigError(f"--classes {text}: asks for {listed}, and an evaluation needs two classes at least")
    return asked


def _refuse(item: str, name: str, members: Sequence[str], asked: Classes, known: Sequence[str]) -> None:
    if name in asked:
        raise ConfigError(f"--classes: {name!r} is there twice")
    taken = {member: other for other, parts in asked.items() for member in parts}
    for member in members:
        if member not in known:
            raise ConfigError(f"--classes {item.strip()}: no model has a class {member!r}{near(member, known)} "
                              f"({one_of(known)})")  # fmt: skip
        if member in taken:
            raise ConfigError(f"--classes {item.strip()}: {member!r} counts as {taken[member]!r} already")
