"""Pipecat: a processor that puts a frame with the user's emotion beside each turn."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from emofocus.agents.listener import TurnListener, spoken
from emofocus.agents.sources import Source
from emofocus.errors import MissingExtraError
from emofocus.recognition.turns.turn import TurnEmotion

try:
    from pipecat.frames.frames import (
        CancelFrame,
        DataFrame,
        EndFrame,
        Frame,
        InputAudioRawFrame,
        LLMMessagesAppendFrame,
        UserStartedSpeakingFrame,
        UserStoppedSpeakingFrame,
        VADUserStartedSpeakingFrame,
        VADUserStoppedSpeakingFrame,
    )
    from pipecat.processors.frame_processor import FrameDirection, FrameProcessor
except ImportError as error:
    raise MissingExtraError("pipecat-ai", "pipecat") from error

BEFORE_SECONDS = 0.3
"""Speech before a detector says that somebody speaks; added to the detector's own delay where the frame tells it."""


@dataclass
class EmotionFrame(DataFrame):  # type: ignore[misc]  # without the package, its classes have no types
    """The emotion of the user's turn so far.

    Attributes:
        emotion: The likeliest emotion.
        probability: Its probability.
        confident: Whether the probability reaches the minimum.
        scores: Probability of each emotion.
        start: Seconds of audio before the turn.
        end: Seconds of audio up to the turn's end.
    """

    emotion: str = ""
    probability: float = 0.0
    confident: bool = False
    scores: dict[str, float] = field(default_factory=dict)
    start: float = 0.0
    end: float = 0.0
    interruptible: bool = field(default=False, init=False)

    @classmethod
    def of(cls, turn: TurnEmotion) -> "EmotionFrame":
        """The frame of a turn that has an emotion."""
        scores = dict(turn.scores)
        return cls(turn.emotion or "", turn.probability, turn.confident, scores, turn.turn.start, turn.turn.end)


class EmotionProcessor(FrameProcessor):  # type: ignore[misc]  # without the package, its classes have no types
    """Hears the user, and pushes an `EmotionFrame` downstream when they pause or end their turn.

    It stands behind the transport's input, and before the aggregator of the user's turns. All frames pass unchanged. A
    turn begins with the first speech and ends when a user aggregator says so. Without an aggregator, each stretch of
    speech between two pauses is a turn. Speech behind a pause gives another frame, about the whole turn so far.

    Examples:
        >>> Pipeline([transport.input(), stt, EmotionProcessor(tell_llm=True), user_aggregator, llm, …])

    Args:
        source: The model, in this process or in a service; by default the shipped one in this process.
        minimum: Lowest probability of an emotion, 0 to 1; None for the model's threshold.
        unsure: Whether frames of emotions below the minimum are pushed, too.
        tell_llm: Whether each confident emotion is appended to the context of the language model, once a turn and
            emotion.
        role: Role of these messages.
        patience: Longest time in seconds for which the end of speech waits for its emotion.
        options: Arguments of `FrameProcessor`, such as ``name``.

    Raises:
        ConfigError: The minimum is no probability.
    """

    def __init__(
        self,
        source: Source | None = None,
        *,
        minimum: float | None = None,
        unsure: bool = False,
        tell_llm: bool = False,
        role: str = "system",
        patience: float = 0.5,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self._listener = TurnListener(source, minimum, patience)
        self._unsure, self._tell_llm, self._role = unsure, tell_llm, role
        self._start: float | None = None  # of the turn
        self._aggregated = False  # whether an aggregator says when a turn ends
        self._told: str | None = None

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        """Hear a frame, and pass it on."""
        await super().process_frame(frame, direction)
        if isinstance(frame, InputAudioRawFrame):
            samples = np.frombuffer(frame.audio, "<i2").reshape(-1, frame.num_channels)
            self._listener.feed(samples.T if frame.num_channels > 1 else samples[:, 0], frame.sample_rate)
        elif isinstance(frame, VADUserStartedSpeakingFrame):
            self._begin(BEFORE_SECONDS + frame.start_secs)
        elif isinstance(frame, UserStartedSpeakingFrame):
            self._aggregated = True
            if self._start is None:
                self._begin(BEFORE_SECONDS)
        elif isinstance(frame, VADUserStoppedSpeakingFrame):
            await self._tell()
        elif isinstance(frame, UserStoppedSpeakingFrame):
            self._start = self._told = None
            self._aggregated = False
        await self.push_frame(frame, direction)
        if isinstance(frame, EndFrame | CancelFrame):
            await self._listener.close()

    async def cleanup(self) -> None:
        """End the listening."""
        await super().cleanup()
        await self._listener.close()

    def _begin(self, before: float) -> None:
        """Begin a turn, unless one goes on."""
        if self._start is None or not self._aggregated:
            self._start, self._told = max(0.0, self._listener.seconds - before), None

    async def _tell(self) -> None:
        """Push the emotion of the turn so far."""
        turn = await self._listener.emotion(self._start or 0.0)
        if turn.emotion is None or not (turn.confident or self._unsure):
            return
        await self.push_frame(EmotionFrame.of(turn))
        if self._tell_llm and turn.confident and turn.emotion != self._told:
            self._told = turn.emotion
            message = {"role": self._role, "content": spoken(turn)}
            await self.push_frame(LLMMessagesAppendFrame(messages=[message], run_llm=False))
