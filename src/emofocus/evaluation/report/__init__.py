"""The report `docs/results.md` and its figures, made from the folder `results/` by `emofocus report`."""

from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path

from emofocus.evaluation.report import corpora_tables, literature_tables, tables
from emofocus.evaluation.report.entries import Entry, group_results
from emofocus.evaluation.report.figures import draw_all
from emofocus.evaluation.report.formatting import NOT_MEASURED
from emofocus.evaluation.report.literature import PAPER
from emofocus.evaluation.results import OFFSET_REMOVED, ResultError, RunResult, read_results
from emofocus.metrics.statistics import FEWEST_SPEAKERS, RESAMPLES
from emofocus.utils.atomic import write_text
from emofocus.utils.file_formats import suffix_of

__all__ = ["ResultError", "RunResult", "read_results", "write_report"]

INTRODUCTION = f"""\
# Results

Made by `make results` (`emofocus report results --out docs/results.md`) out of `results/` alone; do not edit. Every
figure is computed anew from the `predictions.csv` of its result, and the command fails if a summary says otherwise.

- **WA**: share of the test utterances that are recognised. **UA**: mean of the classes' recalls. **macro-F1**: mean of
  their F1 scores. In percent; guessing gives a UA of 100 % divided by the number of classes.
- **a ± b**: mean and sample standard deviation over folds; of several seeds, the mean of both over seeds.
- **[low, high]**: 95 % percentile bootstrap interval of the figure that is pooled over all test utterances. It
  resamples *speakers*, {RESAMPLES:,} times, because utterances of one speaker resemble each other; below
  {FEWEST_SPEAKERS} speakers it resamples utterances, and says so. It tells how figures would differ with other test
  speakers; the training is not repeated.
- **optimistic**: speakers of the test part are heard in training (protocols `random`, `emobox5`). Such figures do
  not say how well a new speaker is recognised. Those without this word do.
- **{OFFSET_REMOVED}** after the name of a recipe: its features remove a DC offset of the recording. Those of all
  others keep it, or are a pretrained encoder's. Each result names its front end.
- Whatever is called *{NOT_MEASURED}* has no result in `results/`.
"""

PAPER_SECTION = f"""\
## Beside the paper

Figures of the paper are from
{PAPER},
as printed. It does not say which utterances its folds hold. Of ours, those of `random` may be compared with them; those
without shared speakers stand beside them, and are the ones to expect in use.
"""

OTHERS_SECTION = """\
## Systems of others, under protocols that can be named

As their authors report them, none measured here; ours under the same protocol below them. Pretrained networks have
heard thousands of hours of other speech and have 90 million parameters and more: they are what is possible, not what is
alike.
"""

TESTS_SECTION = """\
Both systems of a pair are tested on the same utterances in the same folds. Differences are those of pooled figures, in
points, with their 95 % interval; both systems are resampled together, speaker by speaker, and the two-sided p-value is
that of the interval which just holds 0. McNemar's test is the exact one (not mid-p) on the utterances that only one
system recognises; it takes utterances for independent and is therefore too sure of itself. The p-values of a column are
adjusted together by Holm's method. Where each system was trained once, what other first weights would do is in no
interval. Where it was trained from several seeds, each resample draws speakers and seeds, and McNemar's test is left
out.
"""

ADAPTED_SECTION = """\
### Adapted to voices without labels

**Unlabelled speech of the test speakers is used here**, so these figures stand beside no others. Each utterance was
recognized with other clips of its speaker, as many as fit in the seconds of the first column. Means over folds and
seeds; *gain* is that over the same networks without adaptation.
"""

NO_TESTS = "Fewer than two variants have been measured with one recipe, protocol and seed.\n"


def write_report(results: Path, out: Path) -> list[Path]:
    """Write the report, and its figures into `images/NAME` beside it, where NAME is its name without suffix.

    Args:
        results: Folder of results, as `emofocus crossval` writes them.
        out: The Markdown file.

    Returns:
        Paths of the written files, the report first.

    Raises:
        ConfigError: The file's suffix is not .md.
        ResultError: The folder holds no results, or a figure disagrees with its predictions.
        MissingExtraError: matplotlib is not installed.
    """
    suffix_of(out, (".md",))
    every = group_results(read_results(results))
    entries = [entry for entry in every if not entry.adapted]
    folder = out.parent / "images" / out.stem
    drawn = {entry.slug: draw_all(entry, folder) for entry in entries}
    shown = {
        slug: [f"![{words}]({folder.relative_to(out.parent).as_posix()}/{name})\n" for name, words in figures]
        for slug, figures in drawn.items()
    }
    write_text(out, "\n".join(_paragraphs(entries, [entry for entry in every if entry.adapted], shown)))
    return [out, *(folder / name for figures in drawn.values() for name, _ in figures)]


def _paragraphs(entries: Sequence[Entry], adapted: Sequence[Entry], shown: dict[str, list[str]]) -> Iterator[str]:
    """Paragraphs of the report.

    Args:
        entries: All entries but the adapted ones.
        adapted: Entries whose networks were adapted to the test speakers' voices.
        shown: Lines that show an entry's figures, by its slug.
    """
    yield INTRODUCTION
    corpora = [(corpus, list(group)) for corpus, group in groupby(entries, key=lambda entry: entry.corpus)]
    for corpus, members in corpora:
        yield from _overview(corpus, members)
        voices = [entry for entry in adapted if entry.corpus == corpus]
        if voices:
            yield from (ADAPTED_SECTION, tables.adaptations(voices, members))
    yield PAPER_SECTION
    yield literature_tables.papers_tables(entries)
    yield OTHERS_SECTION
    yield literature_tables.references(entries)
    for corpus, members in corpora:
        yield f"## Each result on `{corpus}`\n"
        for entry in members:
            yield f"### `{entry.model}`, `{entry.recipe}`, protocol {entry.marked_protocol}\n"
            yield from tables.details(entry)
            yield from corpora_tables.details(entry)
            yield from shown[entry.slug]


def _overview(corpus: str, entries: Sequence[Entry]) -> Iterator[str]:
    """Paragraphs with all results of one corpus side by side."""
    first = max(entries, key=lambda entry: len(entry.by_speaker))
    counted = f"{first.first.summary.utterances} utterances, {len(first.by_speaker)} speakers"
    classes = ", ".join(first.classes)
    yield f"## Overview of `{corpus}`\n\n{counted}, {len(first.classes)} classes: {classes}.\n"
    if any(entry.unit == "utterances" for entry in entries):
        yield f"Fewer than {FEWEST_SPEAKERS} speakers: these intervals resample **utterances** and are too narrow.\n"
    yield tables.headline(entries)
    yield from corpora_tables.overview(entries)
    yield "### The ablation, tested in pairs\n"
    tests = tables.ablations(entries)
    yield from (TESTS_SECTION, tests) if tests else (NO_TESTS,)
    yield "### Recall of each class, %\n\nPooled over folds.\n"
    yield tables.recalls(entries)
    yield "### What the splits share\n"
    yield tables.audits([result for entry in entries for result in entry.results])
