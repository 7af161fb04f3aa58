"""Transcripts and diarizations of a short call, in the formats that other programs write.

The shapes are those of whisperX 3 (``write_result`` and ``assign_word_speakers``), pyannote.audio (``write_rttm``),
Whisper, whisper.cpp and Praat; the words are made up.
"""

import json

TIMES = ((0.25, 1.9), (2.1, 3.35), (3.6, 5.6))
"""Start and end of three turns in seconds."""

SPEAKERS = ("SPEAKER_00", "SPEAKER_01", "SPEAKER_00")
TEXTS = ("Where is my order?", "I am looking for it.", "I called twice already!")

WHISPERX = json.dumps(
    {
        "segments": [
            {
                "start": start,
                "end": end,
                "text": f" {text}",
                "words": [
                    {"word": word, "start": start, "end": end, "score": 0.83, "speaker": speaker}
                    for word in text.split()[:-1]
                ]
                + [{"word": text.split()[-1]}],  # words that cannot be aligned have no times
                "speaker": speaker,
            }
            for (start, end), text, speaker in zip(TIMES, TEXTS, SPEAKERS, strict=True)
        ],
        "word_segments": [{"word": "Where", "start": 0.25, "end": 0.5, "score": 0.83, "speaker": "SPEAKER_00"}],
        "language": "en",
    },
    ensure_ascii=False,
)

WHISPER = json.dumps(
    {
        "text": " ".join(TEXTS),
        "segments": [
            {
                "id": number,
                "seek": 0,
                "start": start,
                "end": end,
                "text": f" {text}",
                "tokens": [50364, 2305],
                "temperature": 0.0,
                "avg_logprob": -0.27,
                "compression_ratio": 1.1,
                "no_speech_prob": 0.01,
            }
            for number, ((start, end), text) in enumerate(zip(TIMES, TEXTS, strict=True))
        ],
        "language": "en",
    }
)

WHISPER_CPP = json.dumps(
    {
        "systeminfo": "AVX = 1",
        "result": {"language": "en"},
        "transcription": [
            {
                "timestamps": {"from": "00:00:00,250", "to": "00:00:01,900"},
                "offsets": {"from": round(1000 * start), "to": round(1000 * end)},
                "text": f" {text}",
            }
            for (start, end), text in zip(TIMES, TEXTS, strict=True)
        ],
    }
)

PYANNOTE = json.dumps(
    {
        "diarization": [
            {"start": start, "end": end, "speaker": speaker}
            for (start, end), speaker in zip(TIMES, SPEAKERS, strict=True)
        ],
        "exclusive_diarization": [],
    }
)

RTTM = "".join(
    f"SPEAKER call 1 {start:.3f} {end - start:.3f} <NA> <NA> {speaker} <NA> <NA>\n"
    for (start, end), speaker in zip(TIMES, SPEAKERS, strict=True)
)


def clock(seconds: float, sign: str) -> str:
    """A time of subtitles, below a minute."""
    return f"00:00:{seconds:06.3f}".replace(".", sign)


SRT = "\n".join(
    f"{number}\n{clock(start, ',')} --> {clock(end, ',')}\n[{speaker}]: {text}\n"
    for number, ((start, end), text, speaker) in enumerate(zip(TIMES, TEXTS, SPEAKERS, strict=True), start=1)
)

VTT = "WEBVTT\nKind: captions\n\nNOTE made by hand\n\nSTYLE\n::cue { color: lime }\n\n" + "\n".join(
    f"turn-{number}\n00:{start:06.3f} --> 00:{end:06.3f} align:start position:10%\n<v {speaker}>{text}</v>\n"
    for number, ((start, end), text, speaker) in enumerate(zip(TIMES, TEXTS, SPEAKERS, strict=True))
)

TEXTGRID = """File type = "ooTextFile"
Object class = "TextGrid"

xmin = 0
xmax = 5.9
tiers? <exists>
size = 4
item []:
    item [1]:
        class = "IntervalTier"
        name = "SPEAKER_00"
        xmin = 0
        xmax = 5.9
        intervals: size = 5
        intervals [1]:
            xmin = 0
            xmax = 0.25
            text = ""
        intervals [2]:
            xmin = 0.25
            xmax = 1.9
            text = "Where is my ""order""?"
        intervals [3]:
            xmin = 1.9
            xmax = 3.6
            text = ""
        intervals [4]:
            xmin = 3.6
            xmax = 5.6
            text = "I called twice already!"
        intervals [5]:
            xmin = 5.6
            xmax = 5.9
            text = ""
    item [2]:
        class = "IntervalTier"
        name = "SPEAKER_01"
        xmin = 0
        xmax = 5.9
        intervals: size = 3
        intervals [1]:
            xmin = 0
            xmax = 2.1
            text = ""
        intervals [2]:
            xmin = 2.1
            xmax = 3.35
            text = "I am looking for it."
        intervals [3]:
            xmin = 3.35
            xmax = 5.9
            text = ""
    item [3]:
        class = "IntervalTier"
        name = "SPEAKER_01 - words"
        xmin = 0
        xmax = 5.9
        intervals: size = 1
        intervals [1]:
            xmin = 0
            xmax = 5.9
            text = "I"
    item [4]:
        class = "TextTier"
        name = "clicks"
        xmin = 0
        xmax = 5.9
        points: size = 1
        points [1]:
            number = 1.5
            mark = "click 3 !"
"""

SHORT_TEXTGRID = """File type = "ooTextFile"
Object class = "TextGrid"

0
5.9
<exists>
1
"IntervalTier"
"SPEAKER_00"
0 ! the beginning "of all" 7
5.9
2
0
2
"Where?"
2
5.9
""
"""

CSV = "start,end,speaker,text,agent id\n" + "".join(
    f'{start},{end},{speaker},"{text}",7\n' for (start, end), text, speaker in zip(TIMES, TEXTS, SPEAKERS, strict=True)
)
