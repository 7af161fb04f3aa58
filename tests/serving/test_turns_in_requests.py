"""Diarizations and transcripts that come with requests: the answers of Python, and a reason for every refusal."""

from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
import soundfile

from emofocus import Recognizer, audio
from emofocus.serving.client import Client, ServiceError
from emofocus.serving.limits import Limits
from emofocus.serving.turns import MOST_TURNS, TURNS_BYTES
from helpers import transcripts
from helpers.call import talk
from helpers.serving import Service, running

RATE = audio.SAMPLING_RATE


@pytest.fixture(scope="module")
def recognizer() -> Recognizer:
    return Recognizer.from_pretrained(threads=1)


@pytest.fixture(scope="module")
def service(recognizer: Recognizer) -> Iterator[Service]:
    with running(recognizer, Limits(rate=1e6, drain_seconds=5, seconds=60)) as started:
        yield started


@pytest.fixture(scope="module")
def call() -> bytes:
    file = BytesIO()
    soundfile.write(file, talk(), RATE, format="WAV", subtype="FLOAT")
    return file.getvalue()


@pytest.mark.parametrize(
    ("name", "content"),
    [("call.json", transcripts.WHISPERX), ("call.rttm", transcripts.RTTM), ("call.srt", transcripts.SRT)],
)
def test_an_answer_has_the_emotion_of_each_turn(
    service: Service, recognizer: Recognizer, call: bytes, tmp_path: Path, name: str, content: str
) -> None:
    (tmp_path / name).write_text(content)
    expected = recognizer.turns(call, tmp_path / name)
    with Client(service.url) as client:
        answer = client.recognize(call, segments=tmp_path / name)
    assert answer.label == recognizer(call).label
    for turn, own in zip(answer.turns, expected, strict=True):
        assert (turn["start"], turn["end"], turn["speaker"]) == own.turn[:3]
        assert (turn["emotion"], turn["confident"], turn["reason"]) == (own.emotion, own.confident, None)
        assert turn["scores"] == pytest.approx(own.scores, abs=1e-4)


def test_turns_may_come_as_text(service: Service, call: bytes) -> None:
    with Client(service.url) as client:
        short = [{"start": 0, "end": 1, "speaker": "a"}, {"start": 1.0, "end": 1.01}]
        first, second = client.recognize(call, segments=short).turns
        assert client.recognize(call).turns == ()
    assert first["speaker"] == "a"
    assert second["emotion"] is None
    assert "at least 25 ms are needed" in second["reason"]
    form: dict[str, Any] = {"files": {"file": ("a.wav", call)}, "data": {"segments": '[{"start": 0, "end": 1}]'}}
    with service.client() as http:
        assert len(http.post("/v1/recognize", **form).json()["turns"]) == 1
        assert http.post("/v1/recognize", files={"file": ("a.wav", call)}).json()["turns"] is None


@pytest.mark.parametrize(
    ("name", "content", "status", "code", "message"),
    [
        ("a.json", b"{", 422, "wrong_segments", "a.json: cannot be read as JSON"),
        ("a.csv", b"begin,end\n0,1\n", 422, "wrong_segments", "no column start (it has: begin, end)"),
        ("a.doc", b"hello", 422, "wrong_segments", "not a file of turns by its suffix"),
        ("a.csv", b"start,end\n90,91\n", 422, "wrong_segments", "a transcript of another recording?"),
        ("a.csv", b"start,end\n" + b"0,5.9\n" * 30, 413, "too_long", "30 turns of 177 s together"),
        ("a.csv", b"start,end\n" + b"0,0\n" * (MOST_TURNS + 1), 413, "too_long", "5001 turns"),
        ("a.csv", b" " * (TURNS_BYTES + 1), 413, "too_large", "turns of 1048577 bytes"),
    ],
)
def test_turns_that_cannot_be_taken_have_a_reason(
    service: Service, call: bytes, tmp_path: Path, name: str, content: bytes, status: int, code: str, message: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with Client(service.url) as client, pytest.raises(ServiceError) as error:
        client.recognize(call, segments=tmp_path / name)
    assert (error.value.status, error.value.code) == (status, code)
    assert message in str(error.value)


def test_the_description_lists_the_field(service: Service) -> None:
    with service.client() as http:
        described = http.get("/openapi.json").json()
    form = described["paths"]["/v1/recognize"]["post"]["requestBody"]["content"]["multipart/form-data"]["schema"]
    assert ".rttm" in form["properties"]["segments"]["description"]
