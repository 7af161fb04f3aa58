"""LiveKit Agents: a wrapper of any speech-to-text plugin that also hears how the user speaks."""

import asyncio
from collections.abc import Callable
from typing import Any

import numpy as np

from emofocus.agents.listener import TurnListener, spoken
from emofocus.agents.sources import LocalSource, Source
from emofocus.errors import ConfigError, MissingExtraError
from emofocus.recognition.options import check_threshold
from emofocus.recognition.turns.turn import TurnEmotion

try:
    from livekit import rtc
    from livekit.agents import llm, stt, utils, vad
    from livekit.agents.types import DEFAULT_API_CONNECT_OPTIONS, NOT_GIVEN, APIConnectOptions, NotGivenOr
    from pydantic import BaseModel
except ImportError as error:
    raise MissingExtraError("livekit-agents", "livekit") from error

KEY = "emotion"
"""Key of the emotion in the metadata of a transcript, and in the extra of a message."""


class EmotionContext(BaseModel):
    """The speaker's last emotion, where LiveKit keeps what a plugin knows of a speaker (``stt_context``).

    Attributes:
        emotion: The likeliest emotion.
        probability: Its probability.
        scores: Probability of each emotion.
    """

    emotion: str
    probability: float
    scores: dict[str, float]

    def to_instructions(self) -> str:
        """A sentence for the language model."""
        return f"The user's voice sounds {self.emotion} ({self.probability:.0%} sure)."


class EmotionSTT(stt.STT):  # type: ignore[misc]  # without the package, its classes have no types
    """A speech-to-text plugin that hears emotion, too.

    Each final transcript carries the emotion of the speech since the one before, in its ``metadata["emotion"]``.
    `add_to_context` puts the emotion of a turn before the language model.

    Examples:
        >>> class MyAgent(Agent):
        ...     async def on_user_turn_completed(self, turn_ctx, new_message):
        ...         self.session.stt.add_to_context(turn_ctx, new_message)
        >>> session = AgentSession(stt=EmotionSTT(deepgram.STT()), …)

    Args:
        wrapped: The plugin that transcribes. One that cannot stream needs ``vad``.
        source: Makes the model, in this process or in a service, for each stream; by default the shipped one in this
            process.
        minimum: Lowest probability of an emotion, 0 to 1; None for the model's threshold.
        unsure: Whether emotions below the minimum are passed on, too; their ``confident`` is false.
        vad: Detector of speech, for plugins that cannot stream.
        patience: Longest time in seconds for which a transcript waits for its emotion.

    Raises:
        ConfigError: The minimum is no probability, or a plugin that cannot stream has no detector.
    """

    def __init__(
        self,
        wrapped: stt.STT,
        *,
        source: Callable[[], Source] = LocalSource,
        minimum: float | None = None,
        unsure: bool = False,
        vad: "vad.VAD | None" = None,
        patience: float = 0.5,
    ) -> None:
        if not wrapped.capabilities.streaming:
            if vad is None:
                raise ConfigError(f"{wrapped.label} cannot stream: EmotionSTT needs a detector of speech (vad=…)")
            wrapped = stt.StreamAdapter(stt=wrapped, vad=vad)
        super().__init__(capabilities=wrapped.capabilities)
        if minimum is not None:
            check_threshold(minimum)
        self.wrapped, self.unsure = wrapped, unsure
        self._source, self._minimum, self._patience = source, minimum, patience
        self._turn: list[TurnEmotion] = []  # of the transcripts since the last call of add_to_context
        for name in ("metrics_collected", "error"):
            wrapped.on(name, lambda *values, name=name: self.emit(name, *values))

    @property
    def model(self) -> str:
        """Name of the plugin's model."""
        return str(self.wrapped.model)

    @property
    def provider(self) -> str:
        """Name of the plugin's provider."""
        return str(self.wrapped.provider)

    def listener(self) -> TurnListener:
        """A listener for one stream."""
        return TurnListener(self._source(), self._minimum, self._patience)

    def stream(
        self,
        *,
        language: NotGivenOr[str] = NOT_GIVEN,
        conn_options: APIConnectOptions = DEFAULT_API_CONNECT_OPTIONS,
    ) -> "EmotionStream":
        """A stream of the plugin, whose final transcripts carry emotions."""
        return EmotionStream(self, language, conn_options)

    def heard(self, turn: TurnEmotion) -> None:
        """Note the emotion of a final transcript, for `add_to_context`."""
        self._turn.append(turn)

    def add_to_context(self, context: llm.ChatContext, message: llm.ChatMessage) -> TurnEmotion | None:
        """Put the emotion of the user's turn into its message, and before the language model.

        Args:
            context: The turn's context, from ``on_user_turn_completed``: a system message is added if the emotion is
                confident.
            message: The user's message: its ``extra["emotion"]`` is set.

        Returns:
            The emotion of the longest of the turn's transcripts; None if none was passed on.
        """
        turns, self._turn = self._turn, []
        if not turns:
            return None
        turn = max(turns, key=lambda turn: turn.turn.end - turn.turn.start)
        message.extra[KEY] = plain(turn)
        if turn.confident:
            context.add_message(role="system", content=spoken(turn))
        return turn

    async def aclose(self) -> None:
        """Close the plugin."""
        await self.wrapped.aclose()

    def prewarm(self) -> None:
        """Prepare the plugin."""
        self.wrapped.prewarm()

    def _update_session_keyterms(self, keyterms: list[str]) -> None:
        """Pass the session's key terms on, as LiveKit's own wrappers do."""
        self.wrapped._update_session_keyterms(keyterms)

    def _push_conversation_item(self, item: Any) -> None:
        """Pass a turn of the conversation on, as LiveKit's own wrappers do."""
        self.wrapped._push_conversation_item(item)

    async def _recognize_impl(
        self, buffer: Any, *, language: NotGivenOr[str] = NOT_GIVEN, conn_options: APIConnectOptions
    ) -> stt.SpeechEvent:
        """Transcribe a whole clip, and hear its emotion."""
        event = await self.wrapped.recognize(buffer, language=language, conn_options=conn_options)
        listener = self.listener()
        try:
            for frame in buffer if isinstance(buffer, list) else [buffer]:
                feed(listener, frame)
            await annotate(event, self, listener, 0.0)
        finally:
            await listener.close()
        return event


class EmotionStream(stt.RecognizeStream):  # type: ignore[misc]  # without the package, its classes have no types
    """A stream of a plugin, and a listener to the same audio.

    Args:
        owner: The wrapper that makes it.
        language: Language of the speech, for the plugin.
        options: How the plugin connects.
    """

    def __init__(self, owner: EmotionSTT, language: NotGivenOr[str], options: APIConnectOptions) -> None:
        super().__init__(stt=owner, conn_options=APIConnectOptions(max_retry=0, timeout=options.timeout))
        self._owner, self._language, self._options = owner, language, options

    async def _metrics_monitor_task(self, event_aiter: Any) -> None:
        """Leave the metrics to the plugin's own stream."""
        async for _ in event_aiter:
            pass

    async def _run(self) -> None:
        listener = self._owner.listener()
        inner = self._owner.wrapped.stream(language=self._language, conn_options=self._options)
        inner.start_time_offset = self.start_time_offset
        tasks = [
            asyncio.create_task(self._forward(inner, listener)),
            asyncio.create_task(self._answer(inner, listener)),
        ]
        try:
            await asyncio.gather(*tasks)
        finally:
            try:
                await utils.aio.cancel_and_wait(*tasks)
                await inner.aclose()
            finally:  # the session may be cancelled while the plugin closes
                await listener.close()

    async def _forward(self, inner: stt.RecognizeStream, listener: TurnListener) -> None:
        """Give the audio to the plugin and to the listener."""
        async for item in self._input_ch:
            if isinstance(item, self._FlushSentinel):
                inner.flush()
                continue
            inner.push_frame(item)
            feed(listener, item)
        inner.end_input()

    async def _answer(self, inner: stt.RecognizeStream, listener: TurnListener) -> None:
        """Pass the plugin's events on; final transcripts get an emotion."""
        since = 0.0
        async for event in inner:
            if event.type == stt.SpeechEventType.FINAL_TRANSCRIPT:
                turn = await annotate(event, self._owner, listener, since)
                since = turn.turn.end
                if turn.confident and turn.emotion is not None:
                    scores = dict(turn.scores)
                    self.context = EmotionContext(emotion=turn.emotion, probability=turn.probability, scores=scores)
            self._event_ch.send_nowait(event)


async def annotate(event: stt.SpeechEvent, owner: EmotionSTT, listener: TurnListener, since: float) -> TurnEmotion:
    """Put the emotion of the speech since a time into a transcript, if it passes the filter.

    Args:
        event: A final transcript.
        owner: Has the filter, and notes the emotion.
        listener: Has heard the speech.
        since: Seconds of audio before the speech.
    """
    turn = await listener.emotion(since)
    if event.alternatives and turn.emotion is not None and (turn.confident or owner.unsure):
        data = event.alternatives[0]
        data.metadata = (data.metadata or {}) | {KEY: plain(turn)}
        owner.heard(turn)
    return turn


def plain(turn: TurnEmotion) -> dict[str, Any]:
    """The emotion as plain data."""
    return {
        "emotion": turn.emotion,
        "probability": turn.probability,
        "confident": turn.confident,
        "scores": dict(turn.scores),
    }


def feed(listener: TurnListener, frame: rtc.AudioFrame) -> None:
    """Let a listener hear a frame."""
    samples = np.frombuffer(frame.data, np.int16).reshape(-1, frame.num_channels)
    listener.feed(samples.T if frame.num_channels > 1 else samples[:, 0], frame.sample_rate)
