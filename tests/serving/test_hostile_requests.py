"""The service against strangers who mean harm, or write bad programs: a status for each, and the next request works.

``EMOFOCUS_HOSTILE=10000 pytest tests/test_hostile.py`` sends that many damaged files; a few hundred otherwise.
"""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from emofocus import Recognizer
from emofocus.serving.limits import Limits
from helpers.damage import DAMAGE, SUFFIXES, damaged
from helpers.properties import cases, count
from helpers.serving import Service, running

schemathesis = pytest.importorskip("schemathesis")
from schemathesis import GenerationMode  # noqa: E402
from schemathesis.specs.openapi.checks import positive_data_acceptance  # noqa: E402

COUNT = int(os.environ.get("EMOFOCUS_HOSTILE", count(200)))
HOSTILE = cases(COUNT, COUNT, deadline=30_000, suppress_health_check=list(HealthCheck))
ANSWERS = {200, 400, 413, 422}
"""What a damaged file may be answered with."""


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    with running(Recognizer.from_pretrained(threads=1), Limits(rate=1e9, decode_seconds=5.0)) as found:
        yield found


@pytest.fixture(scope="module")
def client(service: Service) -> Iterator[httpx.Client]:
    with service.client() as found:
        yield found


@HOSTILE
@given(suffix=st.sampled_from(SUFFIXES), damage=DAMAGE, form=st.booleans())
def test_a_damaged_file_gets_its_status(
    client: httpx.Client, files: dict[str, bytes], suffix: str, damage: list[tuple], form: bool
) -> None:
    body = damaged(files, suffix, damage)
    if form:
        answer = client.post("/v1/recognize", files={"file": (f"x{suffix}", body, "audio/x")})
    else:
        answer = client.post("/v1/recognize", content=body, headers={"Content-Type": "audio/x"})
    assert answer.status_code in ANSWERS
    assert ("label" if answer.status_code == 200 else "error") in answer.json()


FRAMES = st.lists(
    st.binary(max_size=5000)
    | st.text(max_size=200)
    | st.sampled_from(['{"type": "end"}', '{"type": 1}', "null", "[]", '{"type": "end"', "{" * 3000]),
    max_size=6,
)


@settings(HOSTILE, max_examples=max(50, COUNT // 10))
@given(frames=FRAMES, kind=st.sampled_from(["pcm16", "float32"]), rate=st.sampled_from([8000, 16000, 44100, 192000]))
def test_frames_of_any_kind_and_order_end_a_socket_or_are_heard(
    service: Service, frames: list[str | bytes], kind: str, rate: int
) -> None:
    with connect(f"{service.socket}?rate={rate}&format={kind}", proxy=None) as stream:
        told = [json.loads(stream.recv())]
        try:
            for frame in frames:
                stream.send(frame)
            stream.send('{"type": "end"}')
            while True:
                told.append(json.loads(stream.recv(timeout=20)))
        except ConnectionClosed:
            pass
    assert {item["type"] for item in told} <= {"ready", "event", "end", "error"}
    assert service.parts.streams.open <= 1


def test_it_does_what_its_description_says(service: Service) -> None:
    """Schemathesis makes requests that fit the description, and others that do not."""
    described = schemathesis.openapi.from_url(f"{service.url}/openapi.json")
    for found in described.get_all_operations():
        operation = found.ok()

        @settings(HOSTILE, max_examples=max(20, COUNT // 10))
        @given(case=operation.as_strategy() | operation.as_strategy(generation_mode=GenerationMode.NEGATIVE))
        def ask(case: Any) -> None:
            case.call_and_validate(excluded_checks=[positive_data_acceptance])  # no schema says which bytes are audio

        ask()


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="descriptors are counted in /proc")
def test_nothing_is_left_behind(service: Service, client: httpx.Client, files: dict[str, bytes]) -> None:
    """Descriptors and waiting audio are as before, and decoders are as many."""

    def send(count: int) -> None:
        for number in range(count):
            body = files[SUFFIXES[number % len(SUFFIXES)]]
            client.post(
                "/v1/recognize", content=body[: len(body) // (1 + number % 2)], headers={"Content-Type": "audio/x"}
            )

    send(28)
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    send(140)
    assert len(os.listdir("/proc/self/fd")) <= before + 2  # noqa: PTH208
    assert len(service.parts.decoders.processes) <= 2
    assert service.parts.batcher.waiting == 0.0
    assert client.get("/readyz").status_code == 200
