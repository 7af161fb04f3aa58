"""The listener beside a conversation: its emotions are a stream's, and it survives gaps, floods and a lost service."""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any

import numpy as np
import pytest
import websockets.asyncio.server as websockets
from websockets.asyncio.server import ServerConnection

from emofocus import Recognizer, StreamingRecognizer, audio
from emofocus.agents import listener as listening
from emofocus.agents.listener import TurnListener, spoken
from emofocus.agents.sources import Heard, LocalSource, ServiceSource, pcm16
from emofocus.errors import ConfigError
from helpers.call import talk as six_seconds
from helpers.serving import running

RATE = audio.SAMPLING_RATE
CHUNK = RATE // 50


@pytest.fixture(scope="module")
def recognizer() -> Recognizer:
    return Recognizer.from_pretrained(threads=1)


@pytest.fixture(scope="module")
def talk() -> np.ndarray:
    """A second of silence, six seconds of speech, two of silence, as 16-bit integers."""
    speech = np.concatenate([np.zeros(RATE, np.float32), six_seconds(), np.zeros(2 * RATE, np.float32)])
    return pcm16(speech)


def feed(listener: TurnListener, samples: np.ndarray, rate: int = RATE) -> None:
    for start in range(0, len(samples), CHUNK):
        listener.feed(samples[start : start + CHUNK], rate)


def run(conversation: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(conversation())


def test_the_emotion_of_a_turn_is_the_mean_of_its_events(recognizer: Recognizer, talk: np.ndarray) -> None:
    stream = StreamingRecognizer(recognizer.for_stream(0.1), RATE)
    events = [event for event in stream.feed(talk) if event.speech]
    shared = np.array([max(0.0, min(event.end, 4.0) - max(event.start, 1.0)) for event in events])
    expected = shared @ np.array([event.scores for event in events]) / shared.sum()

    async def conversation() -> None:
        listener = TurnListener(LocalSource(recognizer), patience=60)
        feed(listener, talk)
        turn = await listener.emotion(1.0, 4.0)
        assert list(turn.scores.values()) == pytest.approx(expected, abs=1e-4)
        assert turn.emotion == recognizer.labels[int(expected.argmax())]
        assert turn.confident == (turn.probability >= recognizer.threshold)
        assert turn.turn[:2] == (1.0, 4.0)
        assert spoken(turn) == f"The user's voice sounds {turn.emotion} ({turn.probability:.0%} sure)."
        silent = await listener.emotion(8.5)
        assert silent.emotion is None
        assert "no speech was heard" in (silent.reason or "")
        await listener.close()

    run(conversation)


def test_a_minimum_decides_what_is_confident(recognizer: Recognizer, talk: np.ndarray) -> None:
    async def conversation() -> None:
        for minimum, confident in ((0.0, True), (1.0, False)):
            listener = TurnListener(LocalSource(recognizer), minimum, patience=60)
            feed(listener, talk)
            assert (await listener.emotion(1.0, 4.0)).confident is confident
            await listener.close()

    run(conversation)
    with pytest.raises(ConfigError, match=r"threshold 1.5 is no probability"):
        TurnListener(minimum=1.5)


def test_speech_that_fills_no_segment_has_an_emotion(recognizer: Recognizer, talk: np.ndarray) -> None:
    async def conversation() -> None:
        listener = TurnListener(LocalSource(recognizer), patience=60)
        feed(listener, talk[RATE : RATE + RATE // 2])  # half a second, from a client that sends speech alone
        assert (await listener.emotion()).emotion is not None
        await listener.close()

    run(conversation)


def test_another_rate_and_two_channels_begin_another_stream(recognizer: Recognizer, talk: np.ndarray) -> None:
    async def conversation() -> None:
        listener = TurnListener(LocalSource(recognizer), patience=60)
        feed(listener, talk)
        first = await listener.emotion(1.0, 6.0)
        again = listener.seconds
        listener.feed(np.stack([talk, talk]), RATE)
        second = await listener.emotion(again + 1.0, again + 6.0)
        feed(listener, np.repeat(talk, 2), 2 * RATE)
        third = await listener.emotion(2 * again + 1.0, 2 * again + 6.0)
        assert second.scores == pytest.approx(first.scores, abs=0.02)
        assert third.emotion == first.emotion
        await listener.close()

    run(conversation)


def test_a_flood_is_left_out_in_part_and_the_clock_goes_on(
    recognizer: Recognizer, talk: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listening, "MOST_WAITING", 3.0)

    async def conversation() -> None:
        listener = TurnListener(LocalSource(recognizer), patience=60)
        feed(listener, talk)  # without a moment to hear any of it
        length = len(talk) / RATE
        assert listener.seconds == pytest.approx(length)
        await listener.emotion()
        feed(listener, talk[: 3 * RATE])
        turn = await listener.emotion(length + 1.0)
        assert turn.emotion is not None
        assert min(heard.start for heard in listener._heard if heard.end > length) == pytest.approx(length)
        await listener.close()

    run(conversation)


def test_only_a_minute_is_remembered() -> None:
    listener = TurnListener(LocalSource())
    for number in range(1000):
        listener._take(Heard(number, number + 2, {"a": 1.0}, True))
    assert len(listener._heard) <= listening.KEPT_SECONDS + 1


class Broken(LocalSource):
    """A source whose engine fails."""

    async def feed(self, samples: Any, sampling_rate: int, position: float) -> None:
        raise RuntimeError("the engine is gone")


def test_an_ear_that_fails_does_not_stop_the_agent(talk: np.ndarray, caplog: pytest.LogCaptureFixture) -> None:
    async def conversation() -> None:
        listener = TurnListener(Broken(), patience=60)
        listener.feed(talk, RATE)
        assert (await listener.emotion()).emotion is None
        await listener.close()

    run(conversation)
    assert "the engine is gone" in caplog.text


def test_a_service_says_what_this_process_says(recognizer: Recognizer, talk: np.ndarray) -> None:
    async def conversation() -> None:
        own, asked = TurnListener(LocalSource(recognizer), patience=60), TurnListener(source, patience=60)
        for listener in (own, asked):
            feed(listener, talk)
        expected, given = await own.emotion(1.0, 4.0), await asked.emotion(1.0, 4.0)
        assert given.scores == pytest.approx(expected.scores, abs=1e-3)
        assert given.confident == expected.confident
        assert source.threshold == recognizer.threshold
        for listener in (own, asked):
            await listener.close()

    with running(recognizer) as service:
        source = ServiceSource(service.url, hop=0.1)
        run(conversation)


def test_a_lost_service_is_found_again(
    recognizer: Recognizer, talk: np.ndarray, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.WARNING, "emofocus.agents")
    monkeypatch.setattr("emofocus.agents.sources.WAITS", (0.01, 0.05))

    async def conversation() -> None:
        with running(recognizer) as service:
            source = ServiceSource(service.url)
            listener = TurnListener(source, patience=60)
            feed(listener, talk)
            assert (await listener.emotion(1.0, 6.0)).emotion is not None
        lost = listener.seconds
        feed(listener, talk)
        assert (await listener.emotion(lost + 1.0)).emotion is None  # nobody hears it, and nothing is raised
        assert "tried again in" in caplog.text
        with running(recognizer) as service:
            source._url = service.url
            found = listener.seconds
            await asyncio.sleep(0.1)  # longer than the service is left alone
            feed(listener, talk)
            turn = await listener.emotion(found + 1.0, found + 6.0)
            assert turn.emotion is not None
            assert "reached again at" in caplog.text
            await listener.close()

    run(conversation)


def test_a_service_that_refuses_is_named_and_tried_again(
    talk: np.ndarray, caplog: pytest.LogCaptureFixture, recognizer: Recognizer
) -> None:
    async def conversation() -> None:
        listener = TurnListener(ServiceSource(service.url, model="none"), patience=60)
        feed(listener, talk)
        assert (await listener.emotion()).emotion is None
        await listener.close()

    with running(recognizer) as service:
        run(conversation)
    assert "404" in caplog.text
    assert "tried again in 0.5 s" in caplog.text


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.01)


def test_a_source_that_is_cancelled_while_it_hangs_up_leaves_no_connection(
    recognizer: Recognizer, talk: np.ndarray
) -> None:
    async def conversation() -> None:
        await source.feed(talk[:CHUNK], RATE, 0.0)
        transport = source._socket.transport
        closing = asyncio.create_task(source.close())
        await asyncio.sleep(0)  # the farewell is on its way, and not answered
        assert not closing.done()
        closing.cancel()
        await asyncio.wait([closing])
        assert transport.is_closing()

    with running(recognizer) as service:
        source = ServiceSource(service.url)
        run(conversation)


@pytest.mark.parametrize("answer", [None, '{"type": "error"}', "no JSON", '{"no": "type"}'])
def test_a_service_that_does_not_greet_is_left_with_no_connection(talk: np.ndarray, answer: str | None) -> None:
    async def serve(socket: ServerConnection) -> None:
        met.append(socket)
        if answer is not None:
            await socket.send(answer)
        await socket.wait_closed()

    async def conversation() -> None:
        async with websockets.serve(serve, "127.0.0.1", 0) as server:
            source = ServiceSource(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
            feeding = asyncio.create_task(source.feed(talk[:CHUNK], RATE, 0.0))
            await until(lambda: bool(met) or feeding.done())
            if answer is None:
                feeding.cancel()
            await asyncio.wait([feeding])
            assert source._socket is None
            await until(lambda: all(socket.transport.is_closing() for socket in met))

    met: list[ServerConnection] = []
    run(conversation)
    assert met


def test_samples_become_16_bit() -> None:
    assert pcm16(np.array([[0.5, 2.0], [0.5, -1.0]], np.float32)).tolist() == [16_384, 16_384]
    assert pcm16(np.array([1, -2], np.int16)).tolist() == [1, -2]
