"""Tables of what was measured here: overviews of a corpus, classes, audits, paired tests, and each result in detail."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations

import numpy as np

from emofocus.errors import EmofocusError
from emofocus.evaluation.report.entries import OPTIMISTIC, Entry
from emofocus.evaluation.report.formatting import (
    NAMES,
    NONE,
    NOT_MEASURED,
    bounds,
    chance,
    figure_with_interval,
    points,
    seeds,
    spread,
)
from emofocus.evaluation.report.literature import ABLATIONS
from emofocus.evaluation.results import Result
from emofocus.metrics.statistics import FIGURES, Comparison, compare, holm
from emofocus.utils.markdown import table


def headline(entries: Sequence[Entry]) -> str:
    """One corpus: a row for each model and recipe, a column for each protocol."""
    protocols = dict.fromkeys(entry.marked_protocol for entry in entries)
    cells: dict[tuple[str, str], dict[str, str]] = defaultdict(dict)
    for entry in sorted(entries, key=lambda entry: entry.rank):
        cell = cells[entry.model, entry.recipe]
        lines = [f"{NAMES[name]} {figure_with_interval(entry, k)}" for k, name in enumerate(FIGURES)]
        before = cell.get(entry.marked_protocol)
        cell[entry.marked_protocol] = "<br>".join([*([before] if before else []), *lines, seeds(entry)])
    rows = [
        [f"`{model}`, `{recipe}`", *(cell.get(name, NOT_MEASURED) for name in protocols)]
        for (model, recipe), cell in cells.items()
    ]
    return table(["model, recipe", *protocols], rows)


def recalls(entries: Sequence[Entry]) -> str:
    """One corpus: recall of each class, in percent."""
    classes = dict.fromkeys(name for entry in entries for name in entry.classes)
    rows = []
    for entry in entries:
        found = [entry.recalls.get(name) for name in classes]
        shares = [NONE if share is None else f"{100 * share:.1f}" for share in found]
        rows.append([f"`{entry.model}`, `{entry.recipe}`", entry.marked_protocol, *shares])
    return table(["model, recipe", "protocol", *classes], rows, right=2)


def audits(results: Sequence[Result]) -> str:
    """One corpus: what the parts of each split share, a row for each different split."""
    splits: dict[tuple[str, str], list[Result]] = defaultdict(list)
    for result in results:
        splits[result.key[1], result.predictions.digest].append(result)
    rows = []
    for (protocol, digest), own in splits.items():
        optimistic = any(result.optimistic for result in own)
        shared = next((str(result.shared) for result in own if result.shared is not None), "cannot be told")
        audit = next((result.audit for result in own if result.audit is not None), None)
        mark = f" ({OPTIMISTIC})" if optimistic else ""
        numbers = ", ".join(str(seed) for seed in sorted({result.seed for result in own}))
        folds = str(own[0].summary["protocol"]["folds"])
        rows.append([f"`{protocol}`{mark}", numbers, f"`{digest}`", folds, shared, _audit_words(audit)])
    head = ["protocol", "seeds", "folds' digest", "folds", "test speakers heard in training or validation", "the audit"]
    return table(head, rows)


def _audit_words(audit: Mapping[str, int] | None) -> str:
    if audit is None:
        return "not written down"
    return "shares " + ", ".join(f"{kind} ({number})" for kind, number in audit.items()) if audit else "shares nothing"


def ablations(entries: Sequence[Entry]) -> str:
    """One corpus: paired tests of the paper's variants, for each protocol, recipe and seed that has two of them."""
    groups: dict[tuple[str, str, int, str], list[Result]] = defaultdict(list)
    for entry, family in ((entry, family) for entry in entries for family in ABLATIONS if entry.model in family):
        for result in entry.results:
            groups[entry.marked_protocol, entry.recipe, result.seed, family[0]].append(result)
    parts = [_tests(*key[:3], own) for key, own in groups.items() if len(own) > 1]
    return "\n".join(parts)


def _tests(protocol: str, recipe: str, seed: int, results: Sequence[Result]) -> str:
    title = f"**Protocol {protocol}, recipe `{recipe}`, seed {seed}**\n\n"
    made: list[tuple[str, Comparison]] = []
    refused = ""
    for first, second in combinations(results, 2):
        try:
            made.append((f"`{second.key[2]}` − `{first.key[2]}`", compare(first.predictions, second.predictions)))
        except EmofocusError as error:
            refused += f"\nNot compared: {error}.\n"
    return title + (_comparisons(made) if made else "") + refused


def _comparisons(made: Sequence[tuple[str, Comparison]]) -> str:
    adjusted = [holm([_p_values(found)[k] for _, found in made]) for k in range(3)]
    rows = []
    for number, (pair, found) in enumerate(made):
        p_wa, p_ua, p_exact = (chance(adjusted[k][number]) for k in range(3))
        counts = f"{found.mcnemar.only_first} / {found.mcnemar.only_second}"
        rows.append([pair, points(found.wa), p_wa, points(found.ua), p_ua, counts, p_exact])
    head = ["pair", "WA, points", "p", "UA, points", "p", "only first / only second right", "McNemar p"]
    return table(head, rows, right=1)


def _p_values(found: Comparison) -> tuple[float, float, float]:
    return found.wa.p, found.ua.p, found.mcnemar.p


def details(entry: Entry) -> Iterator[str]:
    """Paragraphs and tables of one entry."""
    summary, speakers = entry.first.summary, len(entry.by_speaker)
    names, plural = ", ".join(map(str, entry.seeds)), "s" if len(entry.seeds) > 1 else ""
    unfinished = f" {entry.unfinished[2:-2].capitalize()}: what follows is of these alone." if entry.unfinished else ""
    yield (
        f"{summary['parameters']:,} parameters; seed{plural} {names}; {summary['protocol']['folds']} folds; "
        f"{len(entry.first.folds)} test utterances of {speakers} speakers. Selection: "
        f"{summary['protocol']['selection']}. The split: {summary['protocol']['note']}.{unfinished}\n"
    )
    yield _pooled(entry)
    yield _by_fold(entry)
    yield _speakers(entry)
    if entry.calibrated:
        yield _calibration(entry)


def _pooled(entry: Entry) -> str:
    rows = []
    for number, name in enumerate(FIGURES):
        found = entry.intervals[name]
        row = [NAMES[name], spread(entry.mean[number], entry.deviation[number])]
        row += [f"{100 * found.value:.2f}", bounds(found)]
        rows.append([*row, f"{100 * entry.over_seeds[number]:.2f}"] if len(entry.results) > 1 else row)
    head = ["%", "folds, mean ± std", "pooled", "95 % interval of pooled"]
    return table([*head, "std over seeds"] if len(entry.results) > 1 else head, rows, right=1)


def _by_fold(entry: Entry) -> str:
    rows = []
    for result in entry.results:
        for item, found in zip(result.summary["folds"], result.by_fold, strict=True):
            numbers = [result.seed, *(item[name] for name in ("fold", "train", "valid", "test"))]
            rows.append(
                [*map(str, numbers), str(item.get("best_epoch", NONE)), *(f"{100 * value:.2f}" for value in found)]
            )
    head = ["seed", "fold", "train", "validate", "test", "chosen epoch", *(f"{name} %" for name in NAMES.values())]
    return f"<details><summary>Each fold</summary>\n\n{table(head, rows, right=1)}\n</details>\n"


def _speakers(entry: Entry) -> str:
    found = entry.by_speaker
    (worst, low, _), (best, high, _) = found[0], found[-1]
    if len(found) < 2:
        return f"All utterances are of one speaker, {worst}.\n"
    deviation = float(np.std([share for _, share, _ in found], ddof=1))
    return (
        f"WA of the {len(found)} speakers: from {100 * low:.1f} % (`{worst}`) to {100 * high:.1f} % (`{best}`), "
        f"standard deviation {100 * deviation:.1f} points.\n"
    )


CALIBRATION = {
    "ece_before": "expected calibration error % before",
    "ece": "after",
    "nll_before": "negative log-likelihood before",
    "nll": "after",
    "coverage": "answered %",
    "selective_wa": "WA % of the answered",
}


def _calibration(entry: Entry) -> str:
    """Means over folds and seeds."""
    folds = [item for result in entry.results for item in result.calibration]
    cells = []
    for name in CALIBRATION:
        values = [value for item in folds if (value := getattr(item, name)) is not None]
        mean, deviation = float(np.mean(values or [0])), float(np.std(values, ddof=1)) if len(values) > 1 else 0.0
        shown = f"{mean:.3f} ± {deviation:.3f}" if name.startswith("nll") else spread(mean, deviation)
        cells.append(shown if values else NONE)
    return "Calibrated on each fold's validation part; mean ± std over folds.\n\n" + table(
        list(CALIBRATION.values()), [cells]
    )
