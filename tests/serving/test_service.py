"""Recognition over HTTP and a socket: answers as Python gives them, and a reason for every request that gets none."""

import asyncio
import contextlib
import io
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import numpy as np
import pytest
import soundfile
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from emofocus import Recognizer, audio
from emofocus.errors import ConfigError
from emofocus.recognition.streaming import StreamingRecognizer
from emofocus.segments import softmax
from emofocus.serving.app import RETRY_DELAY
from emofocus.serving.auth import RateLimiter
from emofocus.serving.client import Client, ServiceError
from emofocus.serving.limits import Limits
from emofocus.serving.server import CAUTION, ONE_THREAD, ServiceOptions, load_models, run_service
from emofocus.serving.tokens import Tokens, add_token, revoke_token
from helpers.serving import Service, running

WAV = {"Content-Type": "audio/wav"}


@pytest.fixture(scope="module")
def client(service: Service) -> Iterator[httpx.Client]:
    with service.client() as found:
        yield found


def wav(seconds: float = 2.0, rate: int = 16_000, level: float = 0.1, seed: int = 0, format: str = "WAV") -> bytes:
    file = io.BytesIO()
    noise = np.random.default_rng(seed).normal(0, level, round(seconds * rate)).astype(np.float32)
    soundfile.write(file, noise, rate, format=format)
    return file.getvalue()


def code_of(response: httpx.Response) -> tuple[int, str]:
    return response.status_code, response.json()["error"]["code"]


# Answers


def test_an_answer_is_what_python_says(client: httpx.Client, recognizer: Recognizer) -> None:
    body = wav(5.0, rate=44_100)
    expected = recognizer(io.BytesIO(body)).to_dict()
    plain = client.post("/v1/recognize", content=body, headers=WAV, params={"timeline": True}).json()
    form = client.post("/v1/recognize", files={"file": ("a.wav", body, "audio/wav")}).json()
    assert plain.pop("model") == form.pop("model") == "default"
    assert plain["scores"] == pytest.approx(expected["scores"], abs=1e-5)
    assert [item["start"] for item in plain["timeline"]] == [item["start"] for item in expected["timeline"]]
    assert [item["scores"] for item in plain["timeline"]] == [
        pytest.approx(item["scores"], abs=1e-5) for item in expected["timeline"]
    ]
    assert {key: form[key] for key in ("label", "confident", "duration", "warnings")} == {
        key: expected[key] for key in ("label", "confident", "duration", "warnings")
    }
    assert form["timeline"] is None


def test_an_answer_says_that_a_file_was_cut_and_that_its_channels_cancel(
    client: httpx.Client, recognizer: Recognizer
) -> None:
    samples = np.random.default_rng(0).normal(0, 0.1, 32_000)
    content = io.BytesIO()
    soundfile.write(content, np.stack([samples, -samples], axis=1), 16_000, format="WAV")
    body = content.getvalue()[:100_000]
    told = client.post("/v1/recognize", content=body).json()["warnings"]
    assert told == list(recognizer(body).warnings)
    assert {text.partition(":")[0] for text in told} >= {"cut", "inverted"}


def test_it_tells_where_the_model_listened(client: httpx.Client, recognizer: Recognizer) -> None:
    body = wav(3.0)
    answer = client.post("/v1/recognize", content=body, headers=WAV, params={"explain": True, "timeline": True}).json()
    told, found = answer.pop("listening"), recognizer.explain(io.BytesIO(body))
    plain = client.post("/v1/recognize", content=body, headers=WAV, params={"timeline": True}).json()
    assert plain.pop("listening") is None
    assert answer.pop("scores") == pytest.approx(plain.pop("scores"), abs=1e-5)
    assert answer.keys() == plain.keys()
    assert len(answer["timeline"]) == len(plain["timeline"]) == len(told["gates"])
    np.testing.assert_allclose(np.array(told["attention"], float), found.attention, atol=1e-3)
    assert np.asarray(told["centre"]).shape == found.centre.shape == np.asarray(told["gates"]).shape
    assert told["loudest"] == pytest.approx(found.loudest, abs=1e-3)


def test_parts_of_a_recording_have_the_outputs_of_the_whole(client: httpx.Client, recognizer: Recognizer) -> None:
    body = wav(5.0)
    told = client.post("/v1/segments", content=body, headers=WAV).json()
    found = recognizer.explain(io.BytesIO(body))
    logits = np.array(told["logits"], np.float32)
    assert softmax(logits, recognizer.config.temperature) == pytest.approx(
        found.prediction.timeline.probabilities, abs=1e-3
    )
    assert len(told["level"]) == len(found.frames)
    np.testing.assert_allclose(np.array(told["received"], float), found.received, atol=1e-3)
    np.testing.assert_allclose(told["gates"], found.gates, atol=1e-3)
    assert np.shape(told["centre"]) == np.shape(told["scope"]) == found.centre.shape
    # A part may be silent; it may not be longer than a minute, nor hold nothing.
    assert client.post("/v1/segments", content=wav(3.0, level=0.0), headers=WAV).status_code == 200
    assert code_of(client.post("/v1/segments", content=wav(61.0), headers=WAV)) == (413, "too_long")
    assert code_of(client.post("/v1/segments", content=wav(0.01), headers=WAV)) == (422, "nothing_to_recognize")


def test_clients_share_batches_and_get_their_own_answers(service: Service, recognizer: Recognizer) -> None:
    bodies = [wav(0.5 + 0.35 * number, level=0.02 * (1 + number), seed=number) for number in range(16)]

    def ask(body: bytes) -> dict[str, float]:
        with service.client() as client:
            return client.post("/v1/recognize", content=body, headers=WAV).json()["scores"]

    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(ask, bodies))
    for body, scores in zip(bodies, answers, strict=True):
        assert scores == pytest.approx(recognizer(io.BytesIO(body)).scores, abs=1e-5)


def test_a_long_recording_is_recognized_in_blocks(client: httpx.Client, recognizer: Recognizer) -> None:
    body = wav(75.0, format="FLAC")
    told = client.post("/v1/recognize", content=body, headers={"Content-Type": "audio/flac"}).json()
    assert told["scores"] == pytest.approx(recognizer(io.BytesIO(body)).scores, abs=1e-5)


def test_models_and_states_are_told(client: httpx.Client, recognizer: Recognizer) -> None:
    (model,) = client.get("/v1/models").json()["models"]
    assert model["name"] == "default"
    assert model["labels"] == list(recognizer.labels)
    assert client.get("/healthz").json()["status"] == "ok"
    assert client.get("/readyz").json()["status"] == "ready"
    assert "/v1/recognize" in client.get("/openapi.json").json()["paths"]


def test_metrics_count_by_route_and_not_by_path(client: httpx.Client) -> None:
    for number in range(3):
        client.get(f"/no/such/place/{number}")
    text = client.get("/metrics").text
    assert 'emofocus_requests_total{route="none",status="404"}' in text
    assert "such" not in text
    assert "emofocus_audio_seconds_total" in text


# The client


def test_the_client_tells_what_python_says(service: Service, recognizer: Recognizer, tmp_path: Path) -> None:
    path = tmp_path / "clip.wav"
    path.write_bytes(wav(3.0))
    expected = recognizer(path)
    with Client(service.url) as client:
        assert [model["name"] for model in client.models()] == ["default"]
        answer = client.recognize(path, timeline=True, explain=True)
        assert (answer.label, answer.confident, answer.duration) == (expected.label, expected.confident, 3.0)
        assert answer.scores == pytest.approx(expected.scores, abs=1e-5)
        assert len(answer.timeline) == len(expected.timeline)
        assert answer.listening is not None
        assert client.recognize(path.read_bytes()).timeline == ()
        samples = audio.load(path)
        with client.stream(16_000) as stream:
            stream.feed(samples)
            stream.finish()
            events = list(stream)
        own = StreamingRecognizer.from_pretrained()
        assert events == [event.to_dict() for event in [*own.feed(samples), *own.finish()]]


def test_the_client_says_why_it_has_no_answer(service: Service) -> None:
    with Client(service.url) as client:
        with pytest.raises(ServiceError, match="not audio that can be decoded") as caught:
            client.recognize(b"no audio")
        assert (caught.value.status, caught.value.code) == (422, "not_audio")
        with pytest.raises(ServiceError, match="no model is called 'x'"):
            client.stream(16_000, model="x")
        with client.stream(16_000) as stream:
            stream._socket.send("hello")
            with pytest.raises(ServiceError, match="text may only be"):
                list(stream)
    with (
        Client("http://127.0.0.1:9", seconds=2) as client,
        pytest.raises(ServiceError, match=r"http://127\.0\.0\.1:9: "),
    ):
        client.models()


# The socket


def events_of(service: Service, frames: list[bytes], query: str, **options: object) -> tuple[list[dict], dict, dict]:
    with connect(f"{service.socket}?{query}", proxy=None, **options) as stream:
        ready = json.loads(stream.recv())
        for frame in frames:
            stream.send(frame)
        stream.send(json.dumps({"type": "end"}))
        told = [json.loads(message) for message in stream]
    assert all(item["type"] == "event" for item in told[:-1])
    return told[:-1], told[-1], ready


@pytest.mark.parametrize(("rate", "format"), [(16_000, "pcm16"), (48_000, "float32"), (8_000, "pcm16")])
def test_a_socket_says_what_a_stream_says(service: Service, recognizer: Recognizer, rate: int, format: str) -> None:
    samples = np.random.default_rng(1).normal(0, 0.1, 4 * rate).astype(np.float32)
    if format == "pcm16":
        samples = (samples.clip(-1, 1) * 32767).astype("<i2")
    chunks = np.array_split(samples, 37)
    events, end, ready = events_of(service, [chunk.tobytes() for chunk in chunks], f"rate={rate}&format={format}")
    own = recognizer.with_hop(0.1)
    stream = StreamingRecognizer(own, rate)
    expected = [event.to_dict() for chunk in chunks for event in stream.feed(chunk)]
    expected += [event.to_dict() for event in stream.finish()]
    assert [{"type": "event"} | item for item in expected] == events
    assert end == {"type": "end", "seconds": 4.0}
    assert ready["labels"] == list(recognizer.labels)
    assert ready["rate"] == rate


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("rate=0", 400),
        ("rate=nan", 400),
        ("rate=44100.5", 400),
        ("format=mp3", 400),
        ("hop=0", 400),
        ("hop=1e9", 400),
        ("model=../../etc/passwd", 404),
    ],
)
def test_a_socket_that_asks_for_what_there_is_not_is_told_so(service: Service, query: str, code: int) -> None:
    with pytest.raises(InvalidStatus) as caught, connect(f"{service.socket}?{query}", proxy=None):
        pass
    assert caught.value.response.status_code == code
    assert json.loads(caught.value.response.body)["error"]["message"]


@pytest.mark.parametrize("sent", ["hello", "[]", '{"type": "begin"}', b"123", "[" * 10_000])
def test_a_frame_of_the_wrong_kind_ends_its_socket_with_a_reason(service: Service, sent: str | bytes) -> None:
    with connect(f"{service.socket}?rate=16000&format=float32", proxy=None) as stream:
        assert json.loads(stream.recv())["type"] == "ready"
        stream.send(sent)
        assert json.loads(stream.recv())["type"] == "error"
        with pytest.raises(ConnectionClosed):
            stream.recv()


def test_samples_that_are_no_numbers_are_lost_and_the_stream_goes_on(service: Service) -> None:
    bad = np.full(8_000, np.nan, "<f4").tobytes()
    good = np.random.default_rng(0).normal(0, 0.1, 48_000).astype("<f4").tobytes()
    events, *_ = events_of(service, [bad, good], "format=float32")
    assert events[0]["damaged"]
    assert not events[-1]["damaged"]


def test_there_are_no_more_streams_than_allowed_and_idle_ones_end(recognizer: Recognizer) -> None:
    limits = Limits(streams=1, idle_seconds=1.0, stream_seconds=2.0)
    with running(recognizer, limits) as service:
        with connect(service.socket, proxy=None) as first:
            first.recv()
            with pytest.raises(InvalidStatus) as caught, connect(service.socket, proxy=None):
                pass
            assert caught.value.response.status_code == 503
            assert caught.value.response.headers["Retry-After"]
            assert json.loads(first.recv(timeout=10))["error"]["code"] == "idle"
        with connect(service.socket, proxy=None) as second:
            second.recv()
            second.send(np.zeros(3 * 16_000, "<i2").tobytes())
            told = [json.loads(message) for message in _until_closed(second)]
    assert told[-1]["error"]["code"] == "too_long"


def _until_closed(stream: object) -> Iterator[str]:
    try:
        while True:
            yield stream.recv(timeout=10)  # type: ignore[attr-defined]
    except ConnectionClosed:
        return


# Bad requests


def test_what_is_no_audio_is_refused_with_its_reason(client: httpx.Client) -> None:
    post = lambda content, headers=WAV: code_of(client.post("/v1/recognize", content=content, headers=headers))  # noqa: E731
    assert post(b"") == (400, "no_file")
    assert post(b"no audio") == (422, "not_audio")
    assert post(wav()[:30]) == (422, "not_audio")  # cut in its header; behind it, a cut file is read
    assert post(wav(0.01)) == (422, "nothing_to_recognize")
    assert post(wav(level=0.0)) == (422, "nothing_to_recognize")
    silence = client.post("/v1/recognize", content=wav(level=0.0), headers=WAV, params={"explain": True})
    assert code_of(silence) == (422, "nothing_to_recognize")
    assert post(wav(), {"Content-Type": "text/html"}) == (415, "not_audio")
    form = {"Content-Type": "multipart/form-data; boundary=x"}
    assert post(b"rubbish", form)[0] == 400
    assert post(b'--x\r\nContent-Disposition: form-data; name="other"\r\n\r\nhi\r\n--x--\r\n', form) == (400, "no_file")
    assert code_of(client.post("/v1/recognize", content=wav(), headers=WAV, params={"timeline": "perhaps"}))[0] == 400


@pytest.mark.parametrize(
    "path", ["../../etc/passwd", "%2e%2e%2fconfig.json", "/etc/passwd", "a\x00b", "\\\\host\\share"]
)
def test_no_name_reaches_the_file_system(client: httpx.Client, path: str) -> None:
    assert code_of(client.post("/v1/recognize", content=wav(), headers=WAV, params={"model": path})) == (
        404,
        "no_model",
    )
    named = client.post("/v1/recognize", files={"file": (path.replace("\x00", ""), wav(), "audio/wav")})
    assert named.status_code == 200
    assert client.get(f"/{path}".replace("\x00", "%00")).status_code == 404


def test_more_than_allowed_is_refused(recognizer: Recognizer) -> None:
    with running(recognizer, Limits(megabytes=0.5, seconds=20.0)) as service, service.client() as client:
        assert code_of(client.post("/v1/recognize", content=bytes(600_000), headers=WAV)) == (413, "too_large")
        endless = (bytes(100_000) for _ in range(10_000))
        assert code_of(client.post("/v1/recognize", content=endless, headers=WAV)) == (413, "too_large")
        large = {"file": ("a.wav", bytes(600_000), "audio/wav")}
        assert code_of(client.post("/v1/recognize", files=large)) == (413, "too_large")
        silence = wav(3 * 3600, level=0.0, format="FLAC")  # three hours in a few kilobytes
        assert len(silence) < 600_000
        assert code_of(client.post("/v1/recognize", content=silence[:500_000], headers=WAV)) == (413, "too_long")


def test_uploads_touch_no_disk(service: Service, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "not there"))
    body = wav(120.0)
    assert len(body) > 3e6
    with service.client() as client:
        assert client.post("/v1/recognize", files={"file": ("a.wav", body, "audio/wav")}).status_code == 200


def test_a_slow_body_and_a_slow_head_are_not_waited_for(recognizer: Recognizer) -> None:
    with running(recognizer, Limits(body_seconds=0.5, header_seconds=0.5)) as service:
        with socket.create_connection(("127.0.0.1", service.port)) as raw:
            raw.settimeout(10)
            head = f"POST /v1/recognize HTTP/1.1\r\nHost: 127.0.0.1:{service.port}\r\nContent-Type: audio/wav\r\n"
            raw.sendall((head + "Content-Length: 1000\r\n\r\nabc").encode())
            assert b" 408 " in raw.recv(4096).split(b"\r\n")[0]
        with socket.create_connection(("127.0.0.1", service.port)) as raw:
            raw.settimeout(10)
            raw.sendall(b"GET /v1/mod")
            assert raw.recv(4096) == b""


def test_a_decoder_that_dies_costs_its_request_alone(service: Service) -> None:
    body = wav(20.0, format="FLAC")
    assert soundfile.info(io.BytesIO(body)).duration == 20.0
    with service.client() as client:
        lost = service.parts.decoders.lost
        with ThreadPoolExecutor(8) as pool:
            asked = [pool.submit(client.post, "/v1/recognize", content=body, headers=WAV) for _ in range(8)]
            while service.parts.decoders.lost == lost and not all(item.done() for item in asked):
                for process in service.parts.decoders.processes:
                    with contextlib.suppress(ProcessLookupError):  # dead already, and not yet missed
                        os.kill(process, signal.SIGKILL)
                time.sleep(0.001)
            answers = [item.result() for item in asked]
        assert {answer.status_code for answer in answers} <= {200, 422}
        assert any(code_of(answer) == (422, "undecodable") for answer in answers if answer.status_code == 422)
        assert client.post("/v1/recognize", content=body, headers=WAV).status_code == 200


def test_a_decoder_may_not_use_more_memory_or_time_than_allowed(recognizer: Recognizer) -> None:
    with running(recognizer, Limits(decode_megabytes=1.0, seconds=7200.0)) as service, service.client() as client:
        answer = client.post("/v1/recognize", content=wav(1800.0, level=0.0, format="FLAC"), headers=WAV)
        assert answer.status_code == 422
        assert client.post("/v1/recognize", content=wav(), headers=WAV).status_code == 200


# Who may ask


def test_tokens_let_in_and_end_at_once(recognizer: Recognizer, tmp_path: Path) -> None:
    file = tmp_path / "tokens"
    ours, theirs = add_token(file, "ours"), add_token(file, "theirs")
    assert ours not in file.read_text()
    assert oct(file.stat().st_mode)[-3:] == "600"
    with running(recognizer, tokens=Tokens(file)) as service, service.client() as client:
        ask = lambda token: client.get("/v1/models", headers={"Authorization": f"Bearer {token}"})  # noqa: E731
        assert code_of(client.get("/v1/models")) == (401, "no_token")
        assert code_of(client.get("/metrics")) == (401, "no_token")
        assert client.get("/healthz").status_code == 200
        assert ask(ours).status_code == ask(theirs).status_code == 200
        revoke_token(file, "ours")
        assert code_of(ask(ours)) == (401, "wrong_token")
        assert ask(theirs).status_code == 200
        codes = [code_of(ask(f"guess {number}")) for number in range(25)]
        assert (429, "too_often") in codes
        assert ask(theirs).status_code == 200  # guesses of others from the same address do not shut the door
        with pytest.raises(InvalidStatus) as caught, connect(service.socket, proxy=None):
            pass
        assert caught.value.response.status_code == 401
        with connect(service.socket, proxy=None, additional_headers={"Authorization": f"Bearer {theirs}"}) as stream:
            assert json.loads(stream.recv())["type"] == "ready"
        with connect(service.socket, proxy=None, subprotocols=["emofocus", f"bearer.{theirs}"]) as stream:
            assert stream.subprotocol == "emofocus"


def test_files_of_tokens_are_checked(tmp_path: Path) -> None:
    file = tmp_path / "tokens"
    add_token(file, "ours")
    with pytest.raises(ConfigError, match="ours has a token; revoke it"):
        add_token(file, "ours")
    with pytest.raises(ConfigError, match="is no name for a token"):
        add_token(file, "a b")
    with pytest.raises(ConfigError, match=r"'theirs' has no token \(those who have one: ours\)"):
        revoke_token(file, "theirs")
    file.write_text("ours: secret\n")
    with pytest.raises(ConfigError, match="line 1: not a token's line"):
        Tokens(file)


def test_a_changed_or_unreadable_file_of_tokens_is_reported_once(tmp_path: Path) -> None:
    file, lines = tmp_path / "tokens", list[str]()
    token = add_token(file, "ours")
    tokens = Tokens(file, lines.append)
    add_token(file, "theirs")
    assert tokens.owner(token) == "ours"
    assert lines == [f"{file} has changed: valid tokens 2"]
    file.write_text("ours: secret\n")
    assert tokens.owner(token) is tokens.owner(token) is None
    assert len(lines) == 2
    assert lines[1].endswith("; nobody is admitted")


def test_other_hosts_names_and_other_pages_are_refused(recognizer: Recognizer) -> None:
    with running(recognizer, hosts=("127.0.0.1",), origins=("https://ours.example",)) as service:
        with service.client() as client:
            assert code_of(client.get("/v1/models", headers={"Host": "evil.example"})) == (421, "other_host")
            assert code_of(client.get("/v1/models", headers={"Origin": "https://evil.example"})) == (403, "other_page")
            assert client.get("/v1/models", headers={"Origin": "https://ours.example"}).status_code == 200
            assert client.get("/v1/models", headers={"Origin": service.url}).status_code == 200
        with pytest.raises(InvalidStatus) as caught, connect(service.socket, proxy=None, origin="https://evil.example"):
            pass
        assert caught.value.response.status_code == 403


def test_nobody_asks_more_often_than_allowed(recognizer: Recognizer) -> None:
    with running(recognizer, Limits(rate=60.0)) as service, service.client() as client:
        answers = [client.get("/v1/models") for _ in range(8)]
    assert answers[-1].elapsed.total_seconds() >= RETRY_DELAY
    assert [answer.status_code for answer in answers[:6]] == [200] * 6
    assert answers[-1].status_code == 429
    assert answers[-1].headers["Retry-After"] == "1"


def test_who_is_told_to_come_again_is_held_up_and_takes_nobodys_place(recognizer: Recognizer) -> None:
    with running(recognizer, Limits(requests=1)) as service, ThreadPoolExecutor(1) as pool, service.client() as client:
        body = wav()
        with socket.create_connection(("127.0.0.1", service.port)) as first:
            first.settimeout(30)
            head = f"POST /v1/recognize HTTP/1.1\r\nHost: 127.0.0.1:{service.port}\r\nContent-Type: audio/wav\r\n"
            first.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body[:1000])
            time.sleep(0.2)
            second = pool.submit(client.get, "/v1/models")
            time.sleep(0.1)
            first.sendall(body[1000:])
            assert b" 200 " in first.recv(4096).split(b"\r\n")[0]
            with service.client() as third:
                assert third.get("/v1/models").status_code == 200
        assert second.result().status_code == 503
        assert second.result().elapsed.total_seconds() >= RETRY_DELAY


def test_a_bucket_fills_with_time_and_forgets_those_who_went() -> None:
    rate = RateLimiter(60.0)
    assert [rate.wait("a", now=0.0) for _ in range(7)] == [0.0] * 6 + [1.0]
    assert rate.wait("b", now=0.0) == 0.0
    assert rate.wait("a", now=1.0) == 0.0
    assert rate.wait("a", now=1.25) == pytest.approx(0.75)


def test_without_tokens_it_answers_this_machine_alone() -> None:
    with pytest.raises(ConfigError, match=r"--host 0\.0\.0\.0 lets other machines ask: say who may, with --tokens"):
        run_service(ServiceOptions(host="0.0.0.0", port=0))
    with pytest.raises(ConfigError, match="is no name for a model"):
        load_models(["../x=dir"], ONE_THREAD)


def test_headers_of_safety_are_on_every_answer(client: httpx.Client) -> None:
    for path in ("/v1/models", "/nowhere", "/healthz"):
        headers = client.get(path).headers
        assert "default-src 'none'" in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert "access-control-allow-origin" not in headers
        assert "server" not in headers


# Load and the end


def test_when_too_much_waits_requests_are_told_to_come_again(recognizer: Recognizer) -> None:
    with running(recognizer, Limits(waiting_seconds=60.0, rate=1e6)) as service:
        body = wav(50.0, format="FLAC")

        def ask(_: int) -> httpx.Response:
            with service.client() as client:
                return client.post("/v1/recognize", content=body, headers=WAV)

        with ThreadPoolExecutor(12) as pool:
            answers = list(pool.map(ask, range(12)))
        shed = [answer for answer in answers if answer.status_code == 503]
        assert shed
        assert all(int(answer.headers["Retry-After"]) >= 1 for answer in shed)
        assert {answer.status_code for answer in answers} == {200, 503}
        assert service.parts.batcher.waiting == 0.0
        assert ask(0).status_code == 200


def test_a_taken_port_is_refused_and_nothing_claims_to_listen(capfd: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(ConfigError, match=rf"cannot listen on 127\.0\.0\.1:{port} \(Address already in use\)$"):
            run_service(ServiceOptions(port=port))
    assert "listens" not in capfd.readouterr().err


@pytest.mark.parametrize("path", ["/", "/healthz", "/v1/models"])
def test_head_is_answered_like_get_without_a_body(client: httpx.Client, path: str) -> None:
    head, get = client.head(path), client.get(path)
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-length"] == get.headers["content-length"]
    assert head.headers["content-type"] == get.headers["content-type"]


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_told_to_end_it_lets_requests_end(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-c", "from emofocus.cli.main import main; main()", "serve", "--port", str(port)]
    with (
        (tmp_path / "log").open("wb") as log,
        subprocess.Popen(command, stderr=log) as process,
        httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60, trust_env=False) as client,
    ):
        try:
            _until_ready(client, process)
            with ThreadPoolExecutor(1) as pool:
                asked = pool.submit(client.post, "/v1/recognize", content=wav(500.0, format="FLAC"), headers=WAV)
                time.sleep(0.7)
                process.send_signal(signal.SIGTERM)
                assert asked.result().status_code == 200
            assert process.wait(20) in (0, -signal.SIGTERM)
            with pytest.raises(OSError, match="refused"):
                socket.create_connection(("127.0.0.1", port), timeout=1)
        finally:
            process.kill()
    lines = (tmp_path / "log").read_text().splitlines()
    assert f"listens on http://127.0.0.1:{port} " in lines[0]
    assert lines[1] == CAUTION
    assert [line.split(":")[0] for line in lines[2:]] == ["emofocus ends", "emofocus has ended"]


def _until_ready(client: httpx.Client, process: "subprocess.Popen[bytes]") -> None:
    for _ in range(300):
        assert process.poll() is None
        try:
            if client.get("/readyz").status_code == 200:
                return
        except httpx.TransportError:
            time.sleep(0.1)
    raise AssertionError("it did not come up")


def test_a_client_that_goes_leaves_nothing_behind(service: Service) -> None:
    async def go() -> None:
        async with httpx.AsyncClient(base_url=service.url, trust_env=False) as client:
            asked = asyncio.create_task(client.post("/v1/recognize", content=wav(100.0), headers=WAV))
            await asyncio.sleep(0.05)
            asked.cancel()

    asyncio.run(go())
    for _ in range(200):
        if service.parts.batcher.waiting == 0.0:
            break
        time.sleep(0.05)
    assert service.parts.batcher.waiting == 0.0
    with service.client() as client:
        assert client.post("/v1/recognize", content=wav(), headers=WAV).status_code == 200


def test_loading_is_what_python_loads() -> None:
    models = load_models(["first=", "second="], ONE_THREAD)
    assert list(models) == ["first", "second"]
    assert models["first"].config.features.sampling_rate == audio.SAMPLING_RATE
