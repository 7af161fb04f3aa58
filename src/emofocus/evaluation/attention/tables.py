"""The report `alignment.md`: tables and figures of the paper's claims, made from the measures in a folder."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emofocus.evaluation.attention.faithfulness import RANKINGS, area
from emofocus.evaluation.attention.figures import NAMES, draw_curves, draw_heads
from emofocus.evaluation.attention.measure import ClaimSettings, read_settings
from emofocus.evaluation.attention.measurements import Array, ModelMeasures, read_measures
from emofocus.evaluation.report.formatting import p_value
from emofocus.metrics.statistics import Difference, difference_of, holm, resampled_means
from emofocus.utils.atomic import replacing, write_text
from emofocus.utils.markdown import table
from emofocus.utils.plotting import add_title, style


def write_tables(folder: Path) -> list[Path]:
    """Write `alignment.md` and its figures from the measures in a folder.

    Returns:
        Paths of the written files, the report first.

    Raises:
        ConfigError: The folder holds no measures.
        MissingExtraError: matplotlib is not installed.
    """
    settings, digest, corpus = read_settings(folder)
    models = read_measures(folder)
    figures: list[tuple[str, str, Any]] = [("alignment.png", "Attention near the loudest moment", draw_heads)]
    if all(item.faithful for item in models):
        figures.append(("faithfulness.png", "Probability of the answer with frames taken away", draw_curves))
    with style():
        for name, title, draw in figures:
            figure = draw(models)
            add_title(figure, title, f"{corpus}, test parts; folds {digest}")
            with replacing(folder / name) as temporary:
                figure.savefig(temporary, format="png", dpi=110, metadata={"Software": None})
    paragraphs = [*text(models, settings, digest, corpus), *(f"![{title}]({name})\n" for name, title, _ in figures)]
    write_text(folder / "alignment.md", "\n".join(paragraphs))
    return [folder / "alignment.md", *(folder / name for name, _, _ in figures)]


def text(models: Sequence[ModelMeasures], settings: ClaimSettings, digest: str, corpus: str) -> Iterator[str]:
    """Paragraphs of `alignment.md`."""
    yield "# Does attention do what the paper says?\n"
    folds = ", ".join(str(number) for number in models[0].folds)
    speech = "" if settings.top_db is None else f" (frames within {settings.top_db:g} dB of the loudest, and between)"
    yield (
        f"{corpus}, test parts of folds {folds} (digest {digest}); utterances: {len(models[0].utterances)}. Near is "
        f"within {1000 * settings.near:g} ms of the loudest moment of a segment, or its position alone where positions "
        f"are longer; surroundings reach to {1000 * settings.ring:g} ms, one position further at least. The null is "
        f"the same with loudness turned by a random time within the utterance's speech{speech}, the mean of "
        f"{settings.turns} turns. Brackets: 95 % interval over resampled speakers; p: of no difference, Holm-adjusted "
        "over the table.\n"
    )
    yield "## Focus: does attention fall on the loudest moment?\n"
    yield _focus_table(models)
    yield "## Heads\n"
    yield (
        "Each head of each fold. Above the null: more attention near the loudest moment than in 95 % of the turns. A "
        "gate's deviation is over the segments of a test part, the mean over heads.\n"
    )
    yield _heads_table(models)
    yield "## Calibration: does the query of the loudest moment attend to its surroundings?\n"
    yield _calibration_table(models)
    yield "## Does it matter whether attention falls there?\n"
    yield _correctness_table(models)
    if all(item.faithful for item in models):
        yield "## Does it matter what attention falls on?\n"
        count = len(models[0].faithful)
        yield (
            "Mean fall of the answer's probability, in points, with the first 10, 20 and 30 % of the frames of a "
            f"ranking taken away ({count} utterances), and the areas under the curves of deletion (the lower, the "
            "better the ranking) and insertion (the higher, the better); p: of attention's fall at 20 % being that of "
            "the ranking.\n"
        )
        yield _faithfulness_table(models)


def _focus_table(models: Sequence[ModelMeasures]) -> str:
    head = [
        "model",
        "top key near, %",
        "null, %",
        "difference, points",
        "p",
        "attention near / even",
        "null / even",
        "p",
    ]
    hits = [item.figure(lambda x: x["hit"] - x["hit_null"]) for item in models]
    masses = [item.figure(lambda x: x["mass"] / x["even"] - x["mass_null"] / x["even_null"]) for item in models]
    hit_p, mass_p = holm([item.p for item in hits]), holm([item.p for item in masses])
    rows = []
    for number, item in enumerate(models):
        top, null = item.column("hit").mean(), item.column("hit_null").mean()
        lift = item.figure(lambda x: x["mass"] / x["even"])
        null_lift = item.figure(lambda x: x["mass_null"] / x["even_null"])
        change = hits[number]
        rows.append(
            [
                f"`{item.name}`",
                f"{100 * top:.1f}",
                f"{100 * null:.1f}",
                signed(change, scale=100, digits=1),
                p_value(hit_p[number]),
                f"{lift.value:.2f} [{lift.low:.2f}, {lift.high:.2f}]",
                f"{null_lift.value:.2f}",
                p_value(mass_p[number]),
            ]
        )
    return table(head, rows, right=1)


def _heads_table(models: Sequence[ModelMeasures]) -> str:
    """Table of heads. A head's number has no meaning across folds, so heads of all folds are shown by their spread."""
    head = [
        "model",
        "heads",
        "near / even: lowest",
        "median",
        "highest",
        "above the null",
        "gate of a head",
        "gate's deviation",
    ]
    rows = []
    for item in models:
        heads = [row for row in item.heads if row["head"] != "all"]
        lifts = np.array([float(row["mass"]) / float(row["even"]) for row in heads])
        above = sum(float(row["mass_p"]) < 0.05 for row in heads)
        gate = spread = "–"
        if heads[0]["gate_mean"]:
            means = [float(row["gate_mean"]) for row in heads]
            gate = f"{min(means):.2f} … {max(means):.2f}"
            spread = f"{np.mean([float(row['gate_deviation']) for row in heads]):.4f}"
        spreads = [f"{value:.2f}" for value in (lifts.min(), np.median(lifts), lifts.max())]
        rows.append([f"`{item.name}`", str(len(heads)), *spreads, f"{above} of {len(heads)}", gate, spread])
    return table(head, rows, right=1)


def _calibration_table(models: Sequence[ModelMeasures]) -> str:
    """Table of the query of the loudest moment against all queries, both over an even share."""
    head = [
        "model",
        "near: its query",
        "near: all queries",
        "difference",
        "p",
        "around: its query",
        "around: all queries",
        "difference",
        "p",
    ]
    pairs = [("peak_mass", "mass", "even"), ("peak_ring", "ring", "even_ring")]
    differences = [[item.figure(_lift_difference(*pair)) for item in models] for pair in pairs]
    adjusted = [holm([change.p for change in changes]) for changes in differences]
    rows = []
    for number, item in enumerate(models):
        row = [f"`{item.name}`"]
        for (query, every, even), changes, p in zip(pairs, differences, adjusted, strict=True):
            row += [f"{item.column(name).mean() / item.column(even).mean():.2f}" for name in (query, every)]
            row += [signed(changes[number]), p_value(p[number])]
        rows.append(row)
    return table(head, rows, right=1)


def _lift_difference(query: str, every: str, even: str) -> Callable[[dict[str, Any]], Any]:
    """Function of the means: share at one query minus share at every query, over an even share."""
    return lambda means: (means[query] - means[every]) / means[even]


def _correctness_table(models: Sequence[ModelMeasures]) -> str:
    head = ["model", "near / even, answers right", "wrong", "difference", "p", "AUC"]
    rows, changes = [], []
    for item in models:
        lift, right = item.column("mass") / item.column("even"), item.right
        drawn = resampled_means(np.column_stack([lift * right, right, lift * ~right, ~right]), item.speakers)
        of_right, of_wrong = lift[right].mean(), lift[~right].mean()
        change = difference_of(of_right - of_wrong, drawn[:, 0] / drawn[:, 1] - drawn[:, 2] / drawn[:, 3])
        changes.append(change)
        values = (f"{of_right:.2f}", f"{of_wrong:.2f}", signed(change), "", f"{auc(lift, right):.3f}")
        rows.append([f"`{item.name}`", *values])
    for row, p in zip(rows, holm([change.p for change in changes]), strict=True):
        row[4] = p_value(p)
    return table(head, rows, right=1)


def signed(change: Difference, scale: float = 1, digits: int = 2) -> str:
    """Difference with its sign and interval."""
    value, low, high = (f"{scale * item:.{digits}f}" for item in change[:3])
    sign = "+" if change.value >= 0 else ""
    return f"{sign}{value} [{low}, {high}]".replace("-", "−")


def auc(scores: Array, positive: NDArray[np.bool_]) -> float:
    """Probability that a positive has a higher score than a negative, ties counted half (Mann and Whitney)."""
    order = np.unique(scores, return_inverse=True)[1]
    counts = np.bincount(order)
    ranks = np.cumsum(counts) - (counts - 1) / 2
    above = ranks[order][positive].sum() - positive.sum() * (positive.sum() + 1) / 2
    return float(above / (positive.sum() * (~positive).sum()))


def _faithfulness_table(models: Sequence[ModelMeasures]) -> str:
    head = ["model", "frames by", "10 %", "20 %", "30 %", "deletion area", "insertion area", "p"]
    rows, changes = [], []
    for item in models:
        speakers = [row["speaker"] for row in item.faithful]
        base = item.curves("attention", "deletion")
        for ranking in RANKINGS:
            deletion, insertion = item.curves(ranking, "deletion"), item.curves(ranking, "insertion")
            falls = 100 * (deletion[:, :1] - deletion).mean(axis=0)
            row = [f"`{item.name}`", NAMES[ranking], *(f"{falls[number]:.1f}" for number in (1, 2, 3))]
            row += [f"{area(deletion.mean(axis=0)):.3f}", f"{area(insertion.mean(axis=0)):.3f}", "–"]
            rows.append(row)
            if ranking != "attention":
                gap = (deletion - base)[:, 2:3]
                changes.append((row, difference_of(float(gap.mean()), resampled_means(gap, speakers)[:, 0]).p))
    for (row, _), p in zip(changes, holm([p for _, p in changes]), strict=True):
        row[-1] = p_value(p)
    return table(head, rows, right=2)
