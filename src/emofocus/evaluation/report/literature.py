"""Published figures as data: the paper's tables, and systems of others under named protocols.

Shares are in percent, as printed. None of these figures was measured here.
"""

from dataclasses import dataclass

PAPER = (
    "J. Kim, Y. An and J. Kim, *Improving Speech Emotion Recognition Through Focus and Calibration Attention "
    "Mechanisms*, Interspeech 2022"
)

ABLATIONS = (
    ("bmhsa", "mhsa-fa", "mhsa-ca", "mhsa-faca"),
    ("compact-bmhsa", "compact-fa", "compact-ca", "compact-faca"),
    ("encoder-bmhsa", "encoder-fa", "encoder-ca", "encoder-faca"),
)
"""Networks that differ only in focus and calibration, plainest first: the paper's, our small one, and one on an
encoder.

The paper has no MHSA-CA; it is added as the missing fourth cell.
"""


@dataclass(frozen=True)
class Published:
    """One system's figures on one corpus.

    Attributes:
        system: Name as printed.
        model: Name of the network in this project; empty if the project does not have it.
        wa: Weighted accuracy as printed; empty if not reported.
        ua: Unweighted accuracy as printed; empty if not reported.
        remark: Remark for the reader.
    """

    system: str
    model: str
    wa: str
    ua: str
    remark: str = ""


@dataclass(frozen=True)
class Table:
    """A table of the paper.

    Attributes:
        title: Heading.
        corpus: Name of the corpus.
        protocol: The paper's description of its folds.
        systems: Rows in the paper's order.
    """

    title: str
    corpus: str
    protocol: str
    systems: tuple[Published, ...]


IEMOCAP_FOLDS = "ten folds, 8/1/1; which is not stated"
RAVDESS_FOLDS = "five folds, 3/1/1; which is not stated"

TABLES = (
    Table(
        "Table 1: systems compared on IEMOCAP",
        "iemocap",
        IEMOCAP_FOLDS,
        (
            Published(
                "audio-BRE",
                "audio-bre",
                "64.60",
                "65.20",
                "Not comparable: its authors' earlier code splits utterances at random, so that speakers are shared.",
            ),
            Published(
                "DRN-MHSA", "drn-mhsa", "", "67.40", "Not comparable: its folds and its selection are not known."
            ),
            Published("A-DCNN", "adcnn", "69.80", "", "Not comparable: its folds are not known."),
            Published(
                "Audio-CNN-xvector",
                "cnn-xvector",
                "66.60",
                "68.40",
                "Not comparable: it is told who speaks, by x-vectors of other corpora; others' code of it deals "
                "recordings, each of which holds two speakers.",
            ),
            Published("MHSA-FACA", "mhsa-faca", "72.01", "72.83", "Its folds are not stated."),
        ),
    ),
    Table(
        "Table 2: systems compared on RAVDESS",
        "ravdess",
        RAVDESS_FOLDS,
        (
            Published(
                "Deep-CNN",
                "deep-cnn",
                "",
                "71.67",
                "Not comparable: its abstract says 71.61, calls it an accuracy and speaker-independent, and its folds "
                "are not known.",
            ),
            Published(
                "Head Fusion",
                "head-fusion",
                "77.80",
                "77.40",
                "Not comparable: its public code, for IEMOCAP, keeps the best epoch on *test*, splits at random and "
                "leaves short utterances out; that for RAVDESS is not public.",
            ),
            Published(
                "QCNN",
                "qcnn",
                "",
                "77.87",
                "Not comparable: its abstract calls this an accuracy, not a UA, and its folds are not known.",
            ),
            Published(
                "MHSA-FACA",
                "mhsa-faca",
                "82.85",
                "82.47",
                "Comparable with shared speakers at most: its folds most likely share actors, as small networks stay "
                "near 62 on actors never heard.",
            ),
            Published("audio-BRE", "audio-bre", "", "", "The paper has it on IEMOCAP alone, as the next three."),
            Published("DRN-MHSA", "drn-mhsa", "", ""),
            Published("A-DCNN", "adcnn", "", ""),
            Published("Audio-CNN-xvector", "cnn-xvector", "", ""),
            Published("TIM-Net", "timnet", "", "", "Not in the paper; for its own 92.08, see below."),
            Published("ResLSTM-SA", "reslstm", "", "", "Not in the paper; for its own 62.3 on `actors5`, see below."),
            Published(
                "emofocus, compact-faca", "compact-faca", "", "", "Ours: the same mechanisms in a smaller network."
            ),
            Published(
                "emofocus, encoder-faca",
                "encoder-faca",
                "",
                "",
                "Ours: the same mechanisms on the first layers of Whisper base, or tiny.en, which have heard other "
                "speech. What that was is not public; no emotion label is known to have entered.",
            ),
            Published(
                "emofocus, MHSA-FACA and compact-faca together",
                "mhsa-faca+compact-faca",
                "",
                "",
                "The mean of two networks' probabilities, 5.2 M parameters.",
            ),
            Published(
                "emofocus, three seeds of compact-faca together",
                "compact-faca+compact-faca+compact-faca",
                "",
                "",
                "The mean of three networks' probabilities, 1.3 M parameters.",
            ),
        ),
    ),
    Table(
        "Table 3: the ablation, on IEMOCAP",
        "iemocap",
        IEMOCAP_FOLDS,
        (
            Published("BMHSA", "bmhsa", "69.66", "70.52"),
            Published("MHSA-FA", "mhsa-fa", "71.56", "72.30"),
            Published("MHSA-CA", "mhsa-ca", "", "", "no such row in the paper"),
            Published("MHSA-FACA", "mhsa-faca", "72.01", "72.83"),
        ),
    ),
    Table(
        "The ablation of Table 3, on RAVDESS",
        "ravdess",
        RAVDESS_FOLDS,
        (
            Published("BMHSA", "bmhsa", "", "", "no such row in the paper"),
            Published("MHSA-FA", "mhsa-fa", "", "", "no such row in the paper"),
            Published("MHSA-CA", "mhsa-ca", "", "", "no such row in the paper"),
            Published("MHSA-FACA", "mhsa-faca", "82.85", "82.47", "from its Table 2"),
        ),
    ),
)


@dataclass(frozen=True)
class References:
    """Systems of others under one protocol of one corpus.

    Attributes:
        corpus: Name of the corpus.
        protocol: Name of the protocol in this project.
        source: Publication and method.
        systems: Figures of each system.
    """

    corpus: str
    protocol: str
    source: str
    systems: tuple[Published, ...]


EMOBOX = "EmoBox, Interspeech 2024: frozen pretrained features; validates on random training utterances"
RESLSTM = "Krasnoproshin and Vashkevich, arXiv 2606.03359: from scratch, ten runs"
TUNED = "settings tuned on the pooled *test* UAR, features normalised with the whole corpus"
EMOTION2VEC = "emotion2vec's table: a linear classifier on frozen features, validates on random training utterances"

REFERENCES = (
    References(
        "ravdess",
        "actors5",
        RESLSTM,
        (
            Published("LSTM-SA (29 k parameters)", "", "", "57.5 ± 1.1", TUNED),
            Published(
                "ResLSTM-SA (47 k parameters)", "", "", "62.3 ± 1.2", f"{TUNED}; its headline, 65.2, is the best run"
            ),
        ),
    ),
    References(
        "ravdess",
        "emobox6",
        EMOBOX,
        (
            Published("wav2vec2-base", "", "55.4", "54.3"),
            Published("WavLM-base", "", "62.1", "61.6"),
            Published("HuBERT-base", "", "66.2", "65.4"),
            Published("HuBERT-large", "", "70.3", "70.0"),
            Published("WavLM-large", "", "72.2", "72.0"),
            Published("Whisper-large-v3", "", "75.9", "75.3"),
        ),
    ),
    References(
        "ravdess",
        "random10",
        "Ye et al., ICASSP 2023",
        (Published("TIM-Net", "", "92.08", "", "ten folds, trains on 90 %; its validation data are its test data"),),
    ),
    References(
        "emodb",
        "emobox5",
        EMOBOX,
        (
            Published("HuBERT-base", "", "", "87.7"),
            Published("WavLM-large", "", "", "92.6"),
        ),
    ),
    References(
        "iemocap",
        "session",
        EMOBOX,
        (
            Published("wav2vec2-base", "", "57.7", "58.3"),
            Published("WavLM-base", "", "63.9", "62.9"),
            Published("WavLM-large", "", "69.1", "69.5"),
            Published("Whisper-large-v3", "", "72.9", "73.5"),
        ),
    ),
    References(
        "iemocap",
        "session",
        EMOTION2VEC,
        (
            Published("WavLM-base", "", "65.9", ""),
            Published("WavLM-large", "", "70.0", ""),
            Published("emotion2vec", "", "71.8", "", "74.5 where its validation part is the test part"),
        ),
    ),
    References(
        "iemocap",
        "random",
        "SpeechBrain's recipes: one random split, 80/10/10",
        (
            Published("ECAPA-TDNN, from scratch", "", "65.7", ""),
            Published("wav2vec2-base, fine-tuned", "", "77.0", "", "mean of its runs; 78.7 is the best"),
        ),
    ),
)
