"""`emofocus explain`: a page or a picture of the prediction for a clip and the attention behind it."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from emofocus import audio
from emofocus.audio.notices import ignore
from emofocus.cli.options import ANY_PATH, voice_option
from emofocus.errors import ConfigError
from emofocus.recognition.explanation import caption, draw_maps, draw_story, write_page
from emofocus.recognition.explanation.explanation import Explanation
from emofocus.recognition.options import RecognitionOptions
from emofocus.recognition.recognizer import Recognizer
from emofocus.utils.atomic import replacing
from emofocus.utils.file_formats import suffix_of
from emofocus.utils.plotting import style

FORMATS = (".html", ".png", ".svg", ".pdf")

PAGE_SECONDS = 30.0
"""Seconds of a clip on a page of a PDF."""

LONGEST_PICTURE = 60.0
"""Longest clip, in seconds, that one picture shows."""

DPI = 150


def explain_clip(
    clip: Path,
    models: Sequence[str | None],
    out: Path | None,
    start: float | None = None,
    end: float | None = None,
    segments: Sequence[float] = (),
    heads: Sequence[int] = (),
    track: int | None = None,
    voice: str | None = None,
) -> Path:
    """Write a page or a picture of one clip.

    Args:
        clip: An audio file.
        models: Model directories, names ``org/name`` on the Hugging Face Hub, or None for the shipped model; several
            are shown side by side.
        out: File to write: ``.html``, ``.png``, ``.svg`` or ``.pdf``. By default a page in the current folder, named
            after the clip.
        start: Start of the explained part in seconds; None for the start of the clip.
        end: End of the explained part in seconds; None for the end of the clip.
        segments: Seconds whose segments' attention maps are drawn. With any, or with several models, a picture shows
            maps, otherwise the story of the clip; pages and PDFs show both.
        heads: Numbers of the heads whose maps are drawn, from 1; by default those with the highest weights.
        track: Number of the audio track to read, from 1; None for the file's default one.
        voice: Profile of the voice that speaks, from `emofocus adapt`; None for nobody's.

    Returns:
        The written file.

    Raises:
        ConfigError: The suffix is unknown, models have different labels, a head or second does not exist, or the part
            is too long for a picture.
        AudioError: The clip cannot be read, or is silent.
        ModelError: A model cannot be loaded, or has no attention.
        MissingExtraError: The format needs matplotlib, which is not installed.
    """
    path = out or Path(f"{clip.stem}-explained.html")
    kind = suffix_of(path, FORMATS).removeprefix(".")
    recognizers = [Recognizer.load(model, RecognitionOptions(track=track, voice=voice)) for model in models]
    _refuse_other_labels(recognizers)
    if kind in ("png", "svg"):
        _refuse_length(clip, start, end, track, maps=bool(segments) or len(models) > 1)
    names = names_apart([recognizer.config.model for recognizer in recognizers], models)
    explanations = [
        replace(recognizer.explain(clip, start, end, segments), model=name)
        for recognizer, name in zip(recognizers, names, strict=True)
    ]
    if kind == "html":
        write_page(explanations, path)
    else:
        with style():
            _save(path, kind, _figures(kind, explanations, segments, heads))
    for explanation in explanations:
        print(f"{explanation.model}: {caption(explanation)}")
    print(path)
    return path


def names_apart(networks: Sequence[str], sources: Sequence[str | None]) -> list[str]:
    """Names of models that stand side by side: of their networks and, where these are equal, of their folders too.

    Args:
        networks: Name of each model's network.
        sources: Where each model comes from, as `Recognizer.load` takes it. As much of the end of each path is shown as
            tells all of them apart; a model that stands there twice has a number.
    """
    if len(set(networks)) == len(networks):
        return list(networks)
    parts = [("shipped",) if source is None else Path(source).absolute().parts for source in sources]
    deepest = max(map(len, parts))
    depth = next((n for n in range(1, deepest) if len({part[-n:] for part in parts}) == len(set(parts))), deepest)
    names = [f"{network} ({'/'.join(part[-depth:])})" for network, part in zip(networks, parts, strict=True)]
    return [f"{name} #{names[:i].count(name) + 1}" if names.count(name) > 1 else name for i, name in enumerate(names)]


def _refuse_other_labels(recognizers: Sequence[Recognizer]) -> None:
    first = recognizers[0]
    for other in recognizers[1:]:
        if other.labels != first.labels:
            other_labels, first_labels = ", ".join(other.labels), ", ".join(first.labels)
            raise ConfigError(
                f"models of different labels cannot stand side by side: {other.config.model} knows {other_labels}, "
                f"{first.config.model} {first_labels}"
            )


def _refuse_length(clip: Path, start: float | None, end: float | None, track: int | None, maps: bool) -> None:
    """Refuse a picture of minutes, which nobody could read, before the work is done (ConfigError)."""
    if maps or (end is not None and end - (start or 0.0) <= LONGEST_PICTURE):
        return
    samples = sum(map(len, audio.stream(clip, track=track, warn=ignore)))
    seconds = min(samples / audio.SAMPLING_RATE, end or float("inf")) - (start or 0.0)
    if seconds > LONGEST_PICTURE:
        raise ConfigError(
            f"{clip}: {seconds:.0f} s are too long for one picture, which shows up to {LONGEST_PICTURE:.0f}; choose a "
            "part with --start and --end, or write a .pdf (in pages) or an .html (to move in)"
        )


def _figures(
    kind: str, explanations: Sequence[Explanation], segments: Sequence[float], heads: Sequence[int]
) -> Iterator[Any]:
    if kind != "pdf":
        maps = bool(segments) or len(explanations) > 1
        yield draw_maps(explanations, segments, heads) if maps else draw_story(explanations[0])
        return
    for explanation in explanations:
        for start, end in pages(explanation.start, explanation.end):
            yield draw_story(explanation, start, end)
    yield draw_maps(explanations, segments, heads)


def pages(start: float, end: float) -> Iterator[tuple[float, float]]:
    """Start and end of each page, in seconds."""
    count = max(1, -int(-(end - start) // PAGE_SECONDS))
    for number in range(count):
        begins = start + number * PAGE_SECONDS
        yield begins, min(end, begins + PAGE_SECONDS)


def _save(path: Path, kind: str, figures: Iterator[Any]) -> None:
    undated = {"png": {"Software": None}, "svg": {"Date": None}, "pdf": {"CreationDate": None}}[kind]
    with replacing(path) as temporary:
        if kind != "pdf":
            next(figures).savefig(temporary, format=kind, dpi=DPI, metadata=undated)
            return
        from matplotlib.backends.backend_pdf import PdfPages

        with PdfPages(temporary, metadata=undated) as document:
            for figure in figures:
                document.savefig(figure)


@click.command()
@click.argument("clip", type=ANY_PATH)
@click.option("-m", "--model", multiple=True, show_default="the shipped model", help="Several are shown side by side.")
@click.option(
    "--segment", "segments", multiple=True, type=float, metavar="SECOND", help="Draw this segment's attention maps."
)
@click.option("--head", "heads", multiple=True, type=int, metavar="NUMBER", help="Draw this head's maps.")
@click.option("--start", type=float, metavar="SECOND", show_default="the beginning", help="Explain a part alone.")
@click.option("--end", type=float, metavar="SECOND", show_default="the end")
@click.option("--track", type=int, metavar="N", show_default="the file's default", help="Audio track to read, from 1.")
@voice_option()
@click.option("-o", "--out", type=ANY_PATH, show_default="CLIP-explained.html", help=".html, .png, .svg or .pdf.")
def explain(
    clip: Path,
    model: tuple[str, ...],
    segments: tuple[float, ...],
    heads: tuple[int, ...],
    start: float | None,
    end: float | None,
    track: int | None,
    voice: str | None,
    out: Path | None,
) -> None:
    """Show the prediction for a clip, and the attention behind it.

    A page (.html) plays the clip, answers to the mouse, and needs no other file. A picture shows the clip over time;
    with --segment, or with several models, it shows their attention maps. A .pdf has both.
    """
    explain_clip(clip, model or (None,), out, start, end, segments, heads, track, voice)
