"""Examples of all commands, which end their help texts."""

EXAMPLES: dict[str, tuple[str, ...]] = {
    "predict": (
        "emofocus predict clip.wav",
        "emofocus predict calls/ --out results.csv",
        "emofocus predict meeting.wav --timeline --out meeting.srt",
        "emofocus predict call.wav --segments call.json --out call.emotions.json",
        "emofocus predict call.wav --channels agent=1,customer=2 --timeline",
        "emofocus predict calls.csv --by-speaker caller --model DIR --out results.csv",
    ),
    "stream": (
        "emofocus stream",
        "ffmpeg -i talk.mp3 -f s16le -ar 16000 -ac 1 - | emofocus stream -",
        "emofocus stream --model DIR --adapt --save-voice anna.json",
    ),
    "adapt": (
        "emofocus adapt monday.wav tuesday.wav --out anna.json",
        "emofocus predict wednesday.wav --voice anna.json",
    ),
    "explain": (
        "emofocus explain clip.wav",
        "emofocus explain clip.wav --out story.png",
    ),
    "serve": (
        "emofocus serve",
        "emofocus serve --host 0.0.0.0 --tokens tokens -m first=DIR -m second=DIR",
    ),
    "tokens": ("emofocus tokens add anna --file tokens",),
    "tokens add": ("emofocus tokens add anna --file tokens",),
    "tokens list": ("emofocus tokens list --file tokens",),
    "tokens revoke": ("emofocus tokens revoke anna --file tokens",),
    "train": (
        "emofocus train --corpus my-speech.csv --out my-model",
        "emofocus predict clip.wav --model my-model",
    ),
    "crossval": (
        "emofocus crossval --corpus my-speech.csv --out results/my-speech",
        "emofocus crossval --corpus ravdess --root RAVDESS --protocol actors5 --jobs 2 --out OUT",
    ),
    "grid": ("emofocus grid GRID.yaml --ray auto --out results",),
    "calibrate": ("emofocus calibrate LOCO/seed0 LOCO/seed1 --test UNSEEN/seed0 --model my-model",),
    "export": (
        "emofocus export OUT/fold-0 my-model",
        "emofocus export my-model small --int8 --corpus my-speech.csv",
    ),
    "evaluate": (
        "emofocus evaluate --corpus my-clips",
        "emofocus evaluate my-model --against shipped --corpus my-speech.csv --out report.html",
        "emofocus evaluate results/one/predictions.csv",
    ),
    "compare": ("emofocus compare results/one results/two --out leaderboard.md",),
    "adaptation": ("emofocus adaptation RUN --corpus ravdess --root RAVDESS --seconds 0 --seconds 15 --out OUT",),
    "combine": ("emofocus combine results/seed0 results/seed1 --out results/together",),
    "report": ("emofocus report results --out docs/results.md",),
    "alignment": ("emofocus alignment results/one --corpus ravdess --root RAVDESS --out alignment",),
    "robustness": ("emofocus robustness --corpus ravdess --root RAVDESS --out robustness.md",),
    "bench": ("emofocus bench -m my-model",),
    "corpora": ("emofocus corpora list",),
    "corpora list": ("emofocus corpora list",),
    "corpora download": ("emofocus corpora download ravdess --out data/ravdess --accept-license",),
    "corpora check": (
        "emofocus corpora check ravdess --root data/ravdess",
        "emofocus corpora check my-speech.csv --figure my-speech.png",
    ),
    "corpora manifest": ("emofocus corpora manifest ravdess --root data/ravdess --out ravdess.csv",),
    "audit": ("emofocus audit folds.json --corpus ravdess --root data/ravdess",),
    "features": ("emofocus features --corpus ravdess --root data/ravdess --out ravdess.safetensors",),
    "shards": ("emofocus shards --corpus big.csv --fold 0 --half --out s3://bucket/shards",),
    "cache": ("emofocus cache",),
    "cache clear": ("emofocus cache clear",),
}
"""Command, with the name of its group → lines that can be typed."""


def epilog_of(name: str) -> str | None:
    """Examples of a command as the end of its help; click must not wrap them."""
    if name not in EXAMPLES:
        return None
    lines = EXAMPLES[name]
    title = "Examples:" if len(lines) > 1 else "Example:"
    return "\b\n" + "\n".join((title, *(f"  {line}" for line in lines)))
