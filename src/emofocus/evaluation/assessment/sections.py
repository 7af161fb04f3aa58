"""A report as sections with sentences, a table and a drawing each, which every format shows."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from emofocus.evaluation.assessment.drawings import interval_drawing, reliability_drawing
from emofocus.evaluation.assessment.evaluation import Report
from emofocus.evaluation.assessment.measures import Figure, GroupFigures, GroupTable, ModelFigures, PairedTest
from emofocus.evaluation.fairness import SIMULATIONS
from emofocus.metrics.statistics import RESAMPLES

NONE = "–"

TITLES: Mapping[str, str] = {
    "gender": "sex",
    "language": "language",
    "channel": "channel",
    "length": "length",
    "corpus": "corpus",
    "session": "session",
    "fold": "fold",
    "warnings": "faults of the recording",
    "speaker": "speaker",
}
"""Trait → its name for a reader."""

MANY = 24
"""Groups from which on a table shows the first and the last ones alone."""

SHOWN = 8
"""Groups at either end of a table that shows no others."""

FAIRNESS = (
    "*Gap*: UA minus that of all utterances over the same classes, in points. *Random*: the largest gap that a model "
    f"which answers at random shows in {SIMULATIONS:,} simulations on these utterances, as audEERING's ser-tests set "
    "their thresholds. What exceeds it is flagged. Groups of fewer than 25 utterances, and classes of fewer than 10, "
    "are not judged."
)


@dataclass(frozen=True)
class Table:
    """Cells of a table as text.

    Attributes:
        head: Names of the columns.
        rows: Cells.
        right: Number of the first column that is aligned to the right.
        shades: Share of the strongest color of each cell behind the first one; empty for a table without.
    """

    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    right: int = 1
    shades: Sequence[Sequence[float]] = ()


@dataclass(frozen=True)
class Section:
    """A part of a report.

    Attributes:
        title: Its title; empty for the part that begins the report.
        texts: Paragraphs.
        table: Table below them.
        drawing: SVG, for formats that show it.
        after: Paragraphs below the table.
        detail: Whether a terminal leaves it out.
    """

    title: str
    texts: Sequence[str] = ()
    table: Table | None = None
    drawing: str = ""
    after: Sequence[str] = field(default_factory=tuple)
    detail: bool = False


def title_of(report: Report) -> str:
    """Title of a report."""
    names = ", ".join(model.name for model in report.models)
    return names if report.corpus == names else f"{names} on {report.corpus}"


def sections_of(report: Report) -> list[Section]:
    """All sections of a report, in order."""
    sections = [_overview(report)]
    if report.tests:
        sections.append(_tests(report.tests))
    several = len(report.models) > 1
    for model in report.models:
        suffix = f": {model.name}" if several else ""
        sections += [_by_class(model, suffix), _confusion(model, suffix), _flagged(model, suffix)]
        sections += [_by_trait(table, suffix, model) for table in model.by_group]
        sections.append(_calibration(model, suffix))
    return sections


def _overview(report: Report) -> Section:
    rows = [[model.name, *(_bounded(figure) for figure in _figures(model))] for model in report.models]
    seen: set[tuple[str, ...]] = set()
    for model in report.models:
        random = [_bounded(figure) for figure in model.chance.values()]
        if tuple(model.classes) not in seen:
            rows.append([f"guessing among {len(model.classes)} classes", *random])
            seen.add(tuple(model.classes))
    drawing = interval_drawing(
        [(model.name, model.ua) for model in report.models] + [("guessing", next(iter(report.models)).chance["ua"])],
        "UA %",
    )
    table = Table(["model", "WA %", "UA %", "macro-F1 %"], rows)
    return Section("", list(_introduction(report)), table, drawing, [_definitions(report)])


def _figures(model: ModelFigures) -> tuple[Figure, Figure, Figure]:
    return model.wa, model.ua, model.macro_f1


def _introduction(report: Report) -> Iterator[str]:
    """Sentences on the utterances, the classes and what is left out."""
    people = f" of {report.speakers} speaker{'s' * (report.speakers != 1)}" if report.speakers else ""
    yield f"{report.utterances:,} utterances{people}, {len(report.classes)} classes: {_classes(report)}."
    others = [name for name in report.models[0].classes if name not in report.classes]
    if report.restricted:
        asked = ", ".join(report.models[0].classes)
        yield f"Asked for are {asked}: the most probable of them is the answer."
    elif others:
        yield (
            f"The model may also answer {', '.join(others)}, which is always wrong here; "
            "--classes common asks for none of them."
        )
    if report.left_out:
        listed = ", ".join(f"{label} {n}" for label, n in report.left_out.items())
        yield f"Left out, because no class that is asked for takes their label: {listed}."
    if report.failed:
        yield f"{report.failed} utterances could not be recognized, and are in no figure."
    for note in report.notes:
        yield f"{note[0].upper()}{note[1:]}."


def _classes(report: Report) -> str:
    return ", ".join(name if own == [name] else f"{name} ({' + '.join(own)})" for name, own in report.classes.items())


def _definitions(report: Report) -> str:
    return (
        "**WA**: share of the utterances that are recognized. **UA**: mean of the classes' recalls. **macro-F1**: mean "
        f"of their F1 scores. [low, high]: 95 % interval, {RESAMPLES:,} resamples of {report.unit}; of guessing, the "
        f"middle 95 % of {SIMULATIONS:,} simulations."
    )


def _tests(tests: Sequence[PairedTest]) -> Section:
    rows = [
        [
            f"{test.name} − {test.against}",
            _points(test.wa),
            _p_value(test.wa_p),
            _points(test.ua),
            _p_value(test.ua_p),
            f"{test.only_first} / {test.only_second}",
            _p_value(test.mcnemar_p),
        ]
        for test in tests
    ]
    head = ["pair", "WA, points", "p", "UA, points", "p", "only first / only second right", "McNemar p"]
    text = (
        "Both models of a pair answer the same utterances and are resampled together. The p-values of a column are "
        "adjusted by Holm's method. McNemar's test takes utterances for independent, and is too sure of itself."
    )
    return Section("Paired test", [text], Table(head, rows))


def _flagged(model: ModelFigures, suffix: str) -> Section:
    """Everything that exceeds what a random model shows."""
    rows = [
        [TITLES[table.trait], group.value, ", ".join(group.flags)]
        for table in model.by_group
        for group in table.groups
        if group.flags
    ]
    title = f"groups that are recognized unequally{suffix}"
    judged = [TITLES[table.trait] for table in model.by_group]
    if not judged:
        return Section(
            title,
            ["The utterances are told apart neither by sex, language, channel and length nor by speaker."],
        )
    if not rows:
        return Section(
            title, [f"None, by {', '.join(judged)}: every gap is one that a random model shows, too.", FAIRNESS]
        )
    return Section(
        title, [FAIRNESS], Table(["by", "group", "gaps in points beyond those of a random model"], rows, right=9)
    )


def _by_class(model: ModelFigures, suffix: str) -> Section:
    rows = [
        [
            item.name,
            str(item.utterances),
            str(item.answers),
            _share(item.recall),
            _share(item.precision),
            _share(item.f1),
        ]
        for item in model.by_class
    ]
    head = ["class", "utterances", "answers", "recall %", "precision %", "F1 %"]
    return Section(f"by class{suffix}", (), Table(head, rows))


def _confusion(model: ModelFigures, suffix: str) -> Section:
    names = [item.name for item in model.by_class]
    kept = [k for k, item in enumerate(model.by_class) if item.utterances]
    rows, shades = [], []
    for k in kept:
        total = sum(model.confusion[k])
        rows.append([names[k], *map(str, model.confusion[k])])
        shades.append([count / total for count in model.confusion[k]])
    text = "Down: the label. Across: the answer. Numbers of utterances; the darker, the larger the share of the row."
    return Section(f"confusion{suffix}", [text], Table(["", *names], rows, 1, shades))


def _by_trait(table: GroupTable, suffix: str, model: ModelFigures) -> Section:
    groups = table.groups
    texts = []
    if table.trait == "speaker":
        groups = sorted(groups, key=lambda group: group.ua)
        texts.append(
            f"UA from {_share(groups[0].ua)} % ({groups[0].value}) to {_share(groups[-1].ua)} % ({groups[-1].value})."
        )
    if len(groups) > MANY:
        left = len(groups) - 2 * SHOWN
        texts.append(f"The first and the last {SHOWN} of {len(groups)}; {left} between them are in the JSON.")
        groups = [*groups[:SHOWN], *groups[-SHOWN:]]
    several = table.trait != "speaker"
    rows = [_group_row(group, several) for group in groups]
    head = ["", "utterances", *(["speakers"] if several else []), "WA %", "UA %", "gap", "random", "flagged"]
    drawn = [(group.value, group.interval or Figure(group.ua, group.ua, group.ua)) for group in groups]
    drawing = interval_drawing([*drawn, ("all", model.ua)], "UA %")
    title = f"by {TITLES[table.trait]}{suffix}"
    return Section(title, texts, Table(head, rows), drawing, detail=len(groups) > SHOWN)


def _group_row(group: GroupFigures, several: bool) -> list[str]:
    ua = _share(group.ua) if group.interval is None else _bounded(group.interval, 1)
    return [
        group.value,
        str(group.utterances),
        *([str(group.speakers or NONE)] if several else []),
        _share(group.wa),
        ua,
        _signed(group.gap),
        NONE if group.threshold is None else f"{100 * group.threshold:.1f}",
        f"⚑ {len(group.flags)}" if group.flags else "",
    ]


def _calibration(model: ModelFigures, suffix: str) -> Section:
    made = model.calibration
    texts = [
        f"Expected calibration error {_share(made.ece)} %. Answers have a probability of {_share(made.confidence)} % "
        f"on average, and {_share(model.wa.value)} % of them are right."
    ]
    if made.coverage is None:
        texts.append("The threshold of confident answers is not known.")
    else:
        low, high = made.thresholds[0], made.thresholds[-1]
        limit = f"{low:g}" if low == high else f"{low:g} to {high:g}, by fold"
        right = "none" if made.confident_wa is None else f"{_share(made.confident_wa)} %"
        texts.append(
            f"At the threshold ({limit}) {_share(made.coverage)} % are answered with confidence; "
            f"right of these: {right}."
        )
    rows = [
        [f"{item.low:.2f}–{item.high:.2f}", str(item.utterances), _share(item.confidence), _share(item.accuracy)]
        for item in made.bins
    ]
    table = Table(["probability", "utterances", "mean probability %", "right %"], rows)
    return Section(f"calibration{suffix}", texts, table, reliability_drawing(made.bins), detail=True)


def _share(value: float | None) -> str:
    return NONE if value is None else f"{100 * value:.1f}"


def _signed(value: float) -> str:
    return f"{100 * value:+.1f}".replace("-", "−")


def _bounded(figure: Figure, digits: int = 2) -> str:
    return f"{100 * figure.value:.{digits}f} [{100 * figure.low:.1f}, {100 * figure.high:.1f}]"


def _points(figure: Figure) -> str:
    return f"{100 * figure.value:+.2f} [{100 * figure.low:.1f}, {100 * figure.high:.1f}]".replace("-", "−")


def _p_value(p: float) -> str:
    return "< 0.001" if p < 0.001 else f"{p:.3f}"
