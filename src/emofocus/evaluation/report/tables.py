"""Tables of the project's own results: overview, recalls, audits, paired tests, and each result in detail."""

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations

import numpy as np
from msgspec import UNSET

from emofocus.errors import EmofocusError
from emofocus.evaluation.report.entries import OPTIMISTIC, Entry
from emofocus.evaluation.report.formatting import (
    NAMES,
    NONE,
    NOT_MEASURED,
    bounds,
    figure_with_interval,
    p_value,
    points,
    seeds,
    spread,
)
from emofocus.evaluation.report.literature import ABLATIONS
from emofocus.evaluation.results import ADAPTED, RunResult
from emofocus.metrics.statistics import FIGURES, Comparison, SeedsComparison, compare, compare_over_seeds, holm
from emofocus.utils.markdown import table


def headline(entries: Sequence[Entry]) -> str:
    """Overview of one corpus: a row per model and recipe, a column per protocol."""
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
    """Recall of each class of one corpus, in percent."""
    classes = dict.fromkeys(name for entry in entries for name in entry.classes)
    rows = []
    for entry in entries:
        values = [entry.recalls.get(name) for name in classes]
        shares = [NONE if share is None else f"{100 * share:.1f}" for share in values]
        rows.append([f"`{entry.model}`, `{entry.recipe}`", entry.marked_protocol, *shares])
    return table(["model, recipe", "protocol", *classes], rows, right=2)


def audits(results: Sequence[RunResult]) -> str:
    """Audits of one corpus: a row per split, with what its parts share."""
    splits: dict[tuple[str, str], list[RunResult]] = defaultdict(list)
    for result in results:
        splits[result.key.protocol, result.predictions.digest].append(result)
    rows = []
    for (protocol, digest), members in splits.items():
        optimistic = any(result.optimistic for result in members)
        shared = next((str(result.shared) for result in members if result.shared is not None), "cannot be told")
        audit = next((result.audit for result in members if result.audit is not None), None)
        mark = f" ({OPTIMISTIC})" if optimistic else ""
        numbers = ", ".join(str(seed) for seed in sorted({result.seed for result in members}))
        folds = str(members[0].summary.protocol.folds)
        rows.append([f"`{protocol}`{mark}", numbers, f"`{digest}`", folds, shared, _audit_words(audit)])
    head = ["protocol", "seeds", "folds' digest", "folds", "test speakers heard in training or validation", "the audit"]
    return table(head, rows)


def _audit_words(audit: Mapping[str, int] | None) -> str:
    if audit is None:
        return "not written down"
    return "shares " + ", ".join(f"{kind} ({number})" for kind, number in audit.items()) if audit else "shares nothing"


def ablations(entries: Sequence[Entry]) -> str:
    """Paired tests of the paper's variants on one corpus, per protocol and recipe that has two of them.

    Seeds that all variants share are tested together; a single one, or seeds of some variants alone, each by itself.
    """
    groups: dict[tuple[str, str, str], list[Entry]] = defaultdict(list)
    for entry, family in ((entry, family) for entry in entries for family in ABLATIONS if entry.model in family):
        groups[entry.marked_protocol, entry.recipe, family[0]].append(entry)
    return "\n".join(
        part for (protocol, recipe, _), members in groups.items() for part in _group(protocol, recipe, members)
    )


def _group(protocol: str, recipe: str, entries: Sequence[Entry]) -> Iterator[str]:
    """Tables of one protocol and recipe."""
    runs = {entry.model: {result.seed: result for result in entry.results} for entry in entries}
    common = sorted(set.intersection(*(set(by_seed) for by_seed in runs.values())))
    if len(runs) > 1 and len(common) > 1:
        yield _tests_over_seeds(protocol, recipe, common, runs)
        return
    for seed in sorted({seed for by_seed in runs.values() for seed in by_seed}):
        results = [by_seed[seed] for by_seed in runs.values() if seed in by_seed]
        if len(results) > 1:
            yield _tests(protocol, recipe, seed, results)


def _tests_over_seeds(
    protocol: str, recipe: str, common: Sequence[int], runs: Mapping[str, Mapping[int, RunResult]]
) -> str:
    """Figures of each variant, and their paired differences, over all seeds that they share."""
    title = f"**Protocol {protocol}, recipe `{recipe}`, {len(common)} seeds together**\n\n"
    pairs: list[tuple[str, SeedsComparison]] = []
    for first, second in combinations(runs, 2):
        one, other = ([runs[model][seed].predictions for seed in common] for model in (first, second))
        pairs.append((f"`{second}` − `{first}`", compare_over_seeds(one, other)))
    adjusted = [holm([(pair.wa.p, pair.ua.p)[k] for _, pair in pairs]) for k in range(2)]
    rows = [
        [
            name,
            points(pair.wa),
            p_value(adjusted[0][number]),
            points(pair.ua),
            p_value(adjusted[1][number]),
            f"{pair.better} of {pair.seeds}",
        ]
        for number, (name, pair) in enumerate(pairs)
    ]
    head = ["pair", "WA, points", "p", "UA, points", "p", "seeds in which the first named has more UA"]
    return title + table(head, rows, right=1)


def _tests(protocol: str, recipe: str, seed: int, results: Sequence[RunResult]) -> str:
    title = f"**Protocol {protocol}, recipe `{recipe}`, seed {seed}**\n\n"
    pairs: list[tuple[str, Comparison]] = []
    refused = ""
    for first, second in combinations(results, 2):
        try:
            pairs.append(
                (f"`{second.key.model}` − `{first.key.model}`", compare(first.predictions, second.predictions))
            )
        except EmofocusError as error:
            refused += f"\nNot compared: {error}.\n"
    return title + (_comparisons(pairs) if pairs else "") + refused


def _comparisons(pairs: Sequence[tuple[str, Comparison]]) -> str:
    adjusted = [holm([_p_values(comparison)[k] for _, comparison in pairs]) for k in range(3)]
    rows = []
    for number, (pair, comparison) in enumerate(pairs):
        p_wa, p_ua, p_exact = (p_value(adjusted[k][number]) for k in range(3))
        counts = f"{comparison.mcnemar.only_first} / {comparison.mcnemar.only_second}"
        rows.append([pair, points(comparison.wa), p_wa, points(comparison.ua), p_ua, counts, p_exact])
    head = ["pair", "WA, points", "p", "UA, points", "p", "only first / only second right", "McNemar p"]
    return table(head, rows, right=1)


def _p_values(comparison: Comparison) -> tuple[float, float, float]:
    return comparison.wa.p, comparison.ua.p, comparison.mcnemar.p


def adaptations(entries: Sequence[Entry], plain: Sequence[Entry]) -> str:
    """Gain by adaptation to voices on one corpus: a row per model and condition, little speech first.

    Args:
        entries: Adapted entries.
        plain: Entries without adaptation, of which those of the same networks are compared with.
    """
    rows = []
    for entry in sorted(entries, key=lambda entry: (entry.protocol.partition(ADAPTED)[0], entry.rank, _heard(entry))):
        base, _, condition = entry.protocol.partition(ADAPTED)
        same = (base, entry.model, entry.recipe)
        before = next((item for item in plain if (item.protocol, item.model, item.recipe) == same), None)
        gain = NONE if before is None else f"{100 * (entry.mean[1] - before.mean[1]):+.2f}"
        figures = [figure_with_interval(entry, number) for number in range(2)]
        rows.append([condition, f"`{entry.model}`, `{entry.recipe}`", f"`{base}`", *figures, gain, seeds(entry)])
    return table(["speech heard", "model, recipe", "protocol", "WA", "UA", "gain of UA", "seeds"], rows, right=3)


def _heard(entry: Entry) -> tuple[float, str]:
    """Seconds of speech of an adapted entry, and the emotion of it; infinitely many for all of a speaker's speech."""
    heard, _, emotion = entry.protocol.partition(ADAPTED)[2].partition("-")
    return math.inf if heard == "all" else float(heard.removesuffix("s")), emotion


def details(entry: Entry) -> Iterator[str]:
    """Paragraphs and tables of one entry."""
    summary, speakers = entry.first.summary, len(entry.by_speaker)
    names, plural = ", ".join(map(str, entry.seeds)), "s" if len(entry.seeds) > 1 else ""
    unfinished = f" {entry.unfinished.capitalize()}: what follows is of these alone." if entry.unfinished else ""
    yield (
        f"{summary.parameters:,} parameters; seed{plural} {names}; {summary.protocol.folds} folds; "
        f"{len(entry.first.folds)} test utterances of {speakers} speakers. Selection: "
        f"{summary.protocol.selection}. The split: {summary.protocol.note}. Front end: {entry.first.front_end}."
        f"{unfinished}\n"
    )
    yield _pooled(entry)
    yield _by_fold(entry)
    yield _speakers(entry)
    if entry.calibrated:
        yield _calibration(entry)


def _pooled(entry: Entry) -> str:
    rows = []
    for number, name in enumerate(FIGURES):
        pooled = entry.intervals[name]
        row = [NAMES[name], spread(entry.mean[number], entry.deviation[number])]
        row += [f"{100 * pooled.value:.2f}", bounds(pooled)]
        rows.append([*row, f"{100 * entry.over_seeds[number]:.2f}"] if len(entry.results) > 1 else row)
    head = ["%", "folds, mean ± std", "pooled", "95 % interval of pooled"]
    return table([*head, "std over seeds"] if len(entry.results) > 1 else head, rows, right=1)


def _by_fold(entry: Entry) -> str:
    rows = []
    for result in entry.results:
        for item, figures in zip(result.summary.folds, result.by_fold, strict=True):
            numbers = [result.seed, item.fold, item.train, item.valid, item.test]
            epoch = NONE if item.best_epoch is UNSET else str(item.best_epoch)
            rows.append([*map(str, numbers), epoch, *(f"{100 * value:.2f}" for value in figures)])
    head = ["seed", "fold", "train", "validate", "test", "chosen epoch", *(f"{name} %" for name in NAMES.values())]
    return f"<details><summary>Each fold</summary>\n\n{table(head, rows, right=1)}\n</details>\n"


def _speakers(entry: Entry) -> str:
    speakers = entry.by_speaker
    (worst, low, _), (best, high, _) = speakers[0], speakers[-1]
    if len(speakers) < 2:
        return f"All utterances are of one speaker, {worst}.\n"
    deviation = float(np.std([share for _, share, _ in speakers], ddof=1))
    return (
        f"WA of the {len(speakers)} speakers: from {100 * low:.1f} % (`{worst}`) to {100 * high:.1f} % (`{best}`), "
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
"""Calibration figure → heading of its column."""


def _calibration(entry: Entry) -> str:
    """Calibration figures, mean ± standard deviation over folds and seeds."""
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
