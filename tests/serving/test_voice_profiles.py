"""Profiles of voices that come with requests: the answers of Python, a reason for every refusal, nothing is kept."""

import gc
import io
import json
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="exporting needs emofocus[train]")

import soundfile
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from emofocus import Recognizer, audio
from emofocus.recognition.streaming import StreamingRecognizer
from emofocus.recognition.voice import LARGEST_LOG_DEVIATION, LARGEST_MEAN, VoiceProfile
from emofocus.serving.client import Client, ServiceError
from emofocus.serving.voices import PROFILE_BYTES
from helpers.adaptable import SIZE, talk
from helpers.serving import Service, running

RATE = audio.SAMPLING_RATE


@pytest.fixture(scope="module")
def recognizer(adaptable: Path) -> Recognizer:
    return Recognizer.from_pretrained(adaptable, threads=1)


@pytest.fixture(scope="module")
def service(recognizer: Recognizer) -> Iterator[Service]:
    with running(recognizer) as found:
        yield found


@pytest.fixture(scope="module")
def client(service: Service) -> Iterator[Client]:
    with Client(service.url) as found:
        yield found


@pytest.fixture(scope="module")
def mine(recognizer: Recognizer) -> Recognizer:
    return recognizer.adapt({"array": talk(6.0, 1), "sampling_rate": RATE})


def wav(seconds: float, seed: int) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, talk(seconds, seed), RATE, format="WAV")
    return file.getvalue()


def test_a_clip_is_recognized_for_the_voice_of_its_request_alone(
    client: Client, recognizer: Recognizer, mine: Recognizer
) -> None:
    clip = wav(4.0, 3)
    before = client.recognize(clip)
    for more in ({}, {"timeline": True}, {"explain": True}):
        answer = client.recognize(clip, voice=mine.profile, **more)
        assert answer.scores == pytest.approx(mine(clip).scores, abs=1e-5)
    assert client.recognize(clip).scores == before.scores == pytest.approx(recognizer(clip).scores, abs=1e-5)
    assert before.scores != answer.scores


def test_a_timeline_and_an_explanation_are_those_of_the_voice(client: Client, mine: Recognizer) -> None:
    clip = wav(4.0, 3)
    answer = client.recognize(clip, voice=mine.profile, timeline=True, explain=True)
    expected = mine.explain(io.BytesIO(clip))
    segments = [segment["scores"] for segment in answer.timeline]
    assert segments == [pytest.approx(segment.scores, abs=1e-5) for segment in expected.prediction.timeline]
    attention = np.array(answer.listening["attention"], np.float64)  # None, outside of all segments, is NaN
    np.testing.assert_allclose(attention, expected.attention, atol=1e-3)


def test_a_profile_may_be_a_text_of_the_form(service: Service, mine: Recognizer) -> None:
    clip = wav(3.0, 3)
    form = {"files": {"file": ("a.wav", clip)}, "data": {"voice": mine.profile.to_json()}}
    with service.client() as http:
        assert http.post("/v1/recognize", **form).json()["scores"] == pytest.approx(mine(clip).scores, abs=1e-5)


def changed(profile: VoiceProfile, **fields: object) -> bytes:
    return json.dumps(json.loads(profile.to_json()) | fields).encode()


def refusal(service: Service, voice: bytes) -> tuple[int, str, str]:
    with service.client() as http:
        files = {"file": ("a.wav", wav(3.0, 3)), "voice": ("voice.json", voice)}
        answer = http.post("/v1/recognize", files=files)
    error = answer.json()["error"]
    return answer.status_code, error["code"], error["message"]


def test_a_profile_that_does_not_fit_is_refused_with_its_reason(service: Service, mine: Recognizer) -> None:
    other = changed(mine.profile, model="another" * 9)
    assert refusal(service, other)[:2] == (422, "wrong_voice")
    assert "made with another model (another" in refusal(service, other)[2]
    small = VoiceProfile(mine.profile.model, 3.0, 1, np.zeros((2, SIZE - 1), np.float32)).to_json().encode()
    assert refusal(service, small)[:2] == (422, "wrong_voice")
    for damaged in (b"{", b"[]", changed(mine.profile, seconds=1e300), changed(mine.profile, statistics="AAAA")):
        assert refusal(service, damaged)[:2] == (422, "not_a_voice")
    assert refusal(service, b" " * (PROFILE_BYTES + 1))[:2] == (413, "too_large")
    with Client(service.url) as client, client.stream(RATE, voice=VoiceProfile.parse(other)) as stream:
        with pytest.raises(ServiceError, match="made with another model") as error:
            list(stream)
        assert error.value.code == "wrong_voice"


@pytest.mark.parametrize("signs", [(1, 1), (-1, 1), (1, -1), (-1, -1)])
def test_the_largest_profile_gives_numbers(client: Client, mine: Recognizer, signs: tuple[int, int]) -> None:
    """A stranger's profile once could have led to answers that are no JSON."""
    rows = np.array([[signs[0] * LARGEST_MEAN], [signs[1] * LARGEST_LOG_DEVIATION]], np.float32)
    profile = VoiceProfile(mine.profile.model, 1e7, 1, np.repeat(rows, SIZE, axis=1))
    assert sum(client.recognize(wav(3.0, 3), voice=profile).scores.values()) == pytest.approx(1.0, abs=1e-3)


def test_a_model_that_cannot_be_adapted_refuses_profiles(mine: Recognizer) -> None:
    shipped = Recognizer.from_pretrained(threads=1)
    if shipped.engine.adaptable:
        pytest.skip("the shipped model can be adapted")
    with running(shipped) as service:
        assert refusal(service, mine.profile.to_json().encode())[:2] == (422, "wrong_voice")
        with service.client() as http:
            assert not http.get("/v1/models").json()["models"][0]["adapts"]
        with pytest.raises(InvalidStatus) as error, connect(f"{service.socket}?adapt=true", proxy=None):
            pass
        assert error.value.response.status_code == 400


@pytest.mark.parametrize("adapt", [False, True])
@pytest.mark.parametrize("known", [False, True])
def test_a_socket_says_what_a_stream_of_the_voice_says(
    client: Client, recognizer: Recognizer, mine: Recognizer, adapt: bool, known: bool
) -> None:
    samples = talk(7.0, 3)
    voice = mine.profile if known else None
    own = StreamingRecognizer(recognizer.with_voice(voice).for_stream(0.5), RATE, adapt=adapt)
    expected = [*own.feed(samples), *own.finish()]
    with client.stream(RATE, hop=0.5, voice=voice, adapt=adapt) as stream:
        stream.feed(samples)
        stream.finish()
        events = list(stream)
    for event, wanted in zip(events, expected, strict=True):
        assert event["scores"] == pytest.approx(wanted.to_dict()["scores"], abs=2e-4)
    if adapt:
        assert stream.profile.clips == 1 + known
        assert stream.profile.seconds == pytest.approx(own.profile.seconds, abs=0.01)
        np.testing.assert_allclose(stream.profile.statistics, own.profile.statistics, atol=1e-5)
    else:
        assert stream.profile is None


@pytest.mark.parametrize(
    "sent", ['{"type": "voice"}', '{"type": "voice", "voice": [1]}', '{"type": "voice", "voice": ' + "[" * 900]
)
def test_a_voice_that_is_none_ends_its_socket_with_a_reason(service: Service, sent: str) -> None:
    with connect(service.socket, proxy=None) as stream:
        assert json.loads(stream.recv())["type"] == "ready"
        stream.send(sent)
        assert json.loads(stream.recv())["error"]["code"] in {"not_a_voice", "bad_message"}


def test_a_voice_behind_the_first_samples_is_refused(service: Service, mine: Recognizer) -> None:
    with connect(service.socket, proxy=None) as stream:
        stream.recv()
        stream.send(bytes(3200))
        stream.send(json.dumps({"type": "voice", "voice": json.loads(mine.profile.to_json())}))
        assert "before the samples" in json.loads(stream.recv())["error"]["message"]


def test_an_unknown_way_to_adapt_is_refused(service: Service) -> None:
    with pytest.raises(InvalidStatus) as error, connect(f"{service.socket}?adapt=maybe", proxy=None):
        pass
    message = json.loads(error.value.response.body)["error"]["message"]
    assert message == "adapt 'maybe' is not valid (valid: true, false)"


def profiles_in_memory() -> int:
    gc.collect()
    return sum(type(item) is VoiceProfile for item in gc.get_objects())


def test_no_profile_is_kept_when_its_request_has_its_answer(client: Client, mine: Recognizer) -> None:
    clip = wav(3.0, 3)
    client.recognize(clip)
    before = profiles_in_memory()
    client.recognize(clip, voice=mine.profile)
    client.recognize(clip, voice=mine.profile, explain=True)
    with client.stream(RATE, voice=mine.profile, adapt=True) as stream:
        stream.feed(talk(5.0, 3))
        stream.finish()
        list(stream)
    del stream
    until = time.monotonic() + 20
    while profiles_in_memory() > before and time.monotonic() < until:
        time.sleep(0.05)
    assert profiles_in_memory() == before


def test_openapi_describes_the_profile(service: Service) -> None:
    with service.client() as http:
        call = http.get("/openapi.json").json()["paths"]["/v1/recognize"]["post"]
    form = call["requestBody"]["content"]["multipart/form-data"]["schema"]
    assert "emofocus adapt" in form["properties"]["voice"]["description"]
    assert form["required"] == ["file"]


def test_models_say_whether_they_adapt(client: Client) -> None:
    assert client.models()[0]["adapts"] is True
