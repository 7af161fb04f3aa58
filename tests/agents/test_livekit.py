"""The adapter for LiveKit Agents, with the real package in a session without a room, a server or a network."""

import asyncio
from typing import Any

import numpy as np
import pytest

from emofocus import Recognizer, audio
from emofocus.errors import ConfigError
from helpers.call import talk
from helpers.serving import running

try:
    from livekit import rtc
    from livekit.agents import Agent, AgentSession, llm, stt, vad
    from livekit.agents.types import DEFAULT_API_CONNECT_OPTIONS, NOT_GIVEN
    from livekit.agents.voice.io import AudioInput

    from emofocus.agents.livekit import KEY, EmotionSTT
    from emofocus.agents.sources import LocalSource, ServiceSource, pcm16
except ImportError:
    pytest.skip("the package livekit-agents is not installed (extra [livekit])", allow_module_level=True)

RATE = audio.SAMPLING_RATE
SIZE = RATE // 50
WORDS = "Where is my order?"


@pytest.fixture(scope="module")
def recognizer() -> Recognizer:
    return Recognizer.from_pretrained(threads=1)


def frames_of(samples: np.ndarray) -> list[rtc.AudioFrame]:
    return [
        rtc.AudioFrame(samples[start : start + SIZE].tobytes(), RATE, 1, len(samples[start : start + SIZE]))
        for start in range(0, len(samples), SIZE)
    ]


def speech() -> list[rtc.AudioFrame]:
    """Frames of 20 ms of the examples, with silence around them."""
    rest = np.zeros(RATE, np.float32)
    return frames_of(pcm16(np.concatenate([rest, talk(), rest])))


class Transcriber(stt.STT):
    """Writes the same words whenever half a second of silence follows speech."""

    def __init__(self, streaming: bool = True) -> None:
        super().__init__(capabilities=stt.STTCapabilities(streaming=streaming, interim_results=False))

    async def _recognize_impl(self, buffer: Any, *, language: Any = NOT_GIVEN, conn_options: Any) -> stt.SpeechEvent:
        return final()

    def stream(
        self, *, language: Any = NOT_GIVEN, conn_options: Any = DEFAULT_API_CONNECT_OPTIONS
    ) -> "TranscriberStream":
        return TranscriberStream(stt=self, conn_options=conn_options)


class TranscriberStream(stt.RecognizeStream):
    async def _run(self) -> None:
        silent, speaks = 0, False
        async for item in self._input_ch:
            if isinstance(item, self._FlushSentinel):
                continue
            loud = np.abs(np.frombuffer(item.data, np.int16)).max() > 300
            silent = 0 if loud else silent + 1
            if loud and not speaks:
                speaks = True
                self._event_ch.send_nowait(stt.SpeechEvent(type=stt.SpeechEventType.START_OF_SPEECH))
            elif speaks and silent == 25:
                speaks = False
                self._event_ch.send_nowait(final())
                self._event_ch.send_nowait(stt.SpeechEvent(type=stt.SpeechEventType.END_OF_SPEECH))


def final() -> stt.SpeechEvent:
    data = stt.SpeechData(language="en", text=WORDS)
    return stt.SpeechEvent(type=stt.SpeechEventType.FINAL_TRANSCRIPT, alternatives=[data])


async def transcripts(wrapped: EmotionSTT, frames: list[rtc.AudioFrame]) -> tuple[list[stt.SpeechEvent], Any]:
    """Final transcripts of a stream, and what LiveKit knows of the speaker."""
    async with wrapped.stream() as stream:
        for frame in frames:
            stream.push_frame(frame)
            await asyncio.sleep(0)
        stream.end_input()
        events = [event async for event in stream]
        return [event for event in events if event.type == stt.SpeechEventType.FINAL_TRANSCRIPT], stream.context


def wrapped(recognizer: Recognizer, **options: Any) -> EmotionSTT:
    options = {"patience": 60, "minimum": 0.0} | options
    return EmotionSTT(Transcriber(), source=lambda: LocalSource(recognizer), **options)


def test_final_transcripts_carry_the_emotion_of_their_speech(recognizer: Recognizer) -> None:
    found, context = asyncio.run(transcripts(wrapped(recognizer), [*speech(), *speech()]))
    assert len(found) >= 2
    for event in found:
        assert event.alternatives[0].text == WORDS
        emotion = event.alternatives[0].metadata[KEY]
        assert emotion["emotion"] == max(emotion["scores"], key=lambda label: emotion["scores"][label])
        assert emotion["confident"]
    assert isinstance(context, stt.SpeakerContext)
    assert context.to_instructions().startswith(f"The user's voice sounds {context.emotion}")


def test_a_service_says_what_this_process_says(recognizer: Recognizer) -> None:
    [expected], _ = asyncio.run(transcripts(wrapped(recognizer), speech()))
    with running(recognizer) as service:
        asked = EmotionSTT(Transcriber(), source=lambda: ServiceSource(service.url), minimum=0.0, patience=60)
        [event], _ = asyncio.run(transcripts(asked, speech()))
    given, own = (found.alternatives[0].metadata[KEY] for found in (event, expected))
    assert given["emotion"] == own["emotion"]
    assert given["scores"] == pytest.approx(own["scores"], abs=0.2)  # a transcript does not come at one moment


def test_unsure_emotions_are_held_back_unless_they_are_asked_for(recognizer: Recognizer) -> None:
    found, context = asyncio.run(transcripts(wrapped(recognizer, minimum=1.0), speech()))
    assert all(event.alternatives[0].metadata is None for event in found)
    assert context is None
    found, _ = asyncio.run(transcripts(wrapped(recognizer, minimum=1.0, unsure=True), speech()))
    assert [event.alternatives[0].metadata[KEY]["confident"] for event in found] == [False] * len(found)


def test_a_minimum_that_is_none_and_a_plugin_that_cannot_stream_are_refused() -> None:
    with pytest.raises(ConfigError, match="is no probability"):
        EmotionSTT(Transcriber(), minimum=2)
    with pytest.raises(ConfigError, match=r"Transcriber cannot stream: EmotionSTT needs a detector of speech \(vad="):
        EmotionSTT(Transcriber(streaming=False))


def test_a_whole_clip_has_an_emotion_too(recognizer: Recognizer) -> None:
    async def recognize() -> stt.SpeechEvent:
        return await wrapped(recognizer).recognize(speech())

    assert asyncio.run(recognize()).alternatives[0].metadata[KEY]["emotion"] in recognizer.labels


class Microphone(AudioInput):
    """Gives frames, and then waits."""

    def __init__(self, frames: list[rtc.AudioFrame]) -> None:
        super().__init__(label="test")
        self.frames = iter(frames)

    async def __anext__(self) -> rtc.AudioFrame:
        await asyncio.sleep(0.001)
        frame = next(self.frames, None)
        if frame is None:
            await asyncio.Event().wait()
        return frame


class Model(llm.LLM):
    """A language model that answers the same, and keeps what it was asked."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[llm.ChatContext] = []

    def chat(
        self, *, chat_ctx: Any, tools: Any = None, conn_options: Any = DEFAULT_API_CONNECT_OPTIONS, **_: Any
    ) -> "Reply":
        self.asked.append(chat_ctx.copy())
        return Reply(self, chat_ctx=chat_ctx, tools=tools or [], conn_options=conn_options)


class Reply(llm.LLMStream):
    async def _run(self) -> None:
        delta = llm.ChoiceDelta(role="assistant", content="I am looking for it.")
        self._event_ch.send_nowait(llm.ChatChunk(id="1", delta=delta))


class Listening(Agent):
    """An agent as the documentation shows it."""

    async def on_user_turn_completed(self, turn_ctx: llm.ChatContext, new_message: llm.ChatMessage) -> None:
        self.session.stt.add_to_context(turn_ctx, new_message)


def test_an_agents_language_model_hears_of_the_emotion(recognizer: Recognizer) -> None:
    model = Model()

    async def converse() -> None:
        session = AgentSession(stt=wrapped(recognizer), llm=model, turn_detection="stt", vad=None)
        session.input.audio = Microphone(speech())
        await session.start(Listening(instructions="Be kind."), record=False)
        async with asyncio.timeout(60):
            while not model.asked or not session.history.items:
                await asyncio.sleep(0.05)
        [message] = [item for item in session.history.items if item.type == "message" and item.role == "user"][:1]
        assert message.text_content == WORDS
        assert message.extra[KEY]["emotion"] in recognizer.labels
        await session.aclose()

    asyncio.run(converse())
    told = [item.text_content for item in model.asked[0].items if item.type == "message" and item.role == "system"]
    assert any("The user's voice sounds" in (text or "") for text in told)


def test_a_detector_may_stand_in_for_streaming() -> None:
    class Detector(vad.VAD):
        def __init__(self) -> None:
            super().__init__(capabilities=vad.VADCapabilities(update_interval=0.1))

        def stream(self) -> Any:
            raise NotImplementedError

    assert EmotionSTT(Transcriber(streaming=False), vad=Detector()).capabilities.streaming
