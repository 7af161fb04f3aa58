"""The adapter for Pipecat, in pipelines of the real package without a network."""

import asyncio
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from emofocus import Recognizer, audio
from emofocus.errors import ConfigError
from helpers.call import talk
from helpers.serving import running

try:
    from pipecat.frames.frames import (
        Frame,
        InputAudioRawFrame,
        LLMContextFrame,
        LLMMessagesAppendFrame,
        TranscriptionFrame,
        UserStartedSpeakingFrame,
        UserStoppedSpeakingFrame,
        VADUserStartedSpeakingFrame,
        VADUserStoppedSpeakingFrame,
    )
    from pipecat.pipeline.pipeline import Pipeline
    from pipecat.processors.aggregators.llm_context import LLMContext
    from pipecat.processors.aggregators.llm_response_universal import LLMContextAggregatorPair
    from pipecat.tests.utils import SleepFrame, run_test

    from emofocus.agents.pipecat import EmotionFrame, EmotionProcessor
    from emofocus.agents.sources import LocalSource, ServiceSource, pcm16
except ImportError:
    pytest.skip("the package pipecat-ai is not installed (extra [pipecat])", allow_module_level=True)

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::ResourceWarning")

RATE = audio.SAMPLING_RATE


@pytest.fixture(scope="module")
def recognizer() -> Recognizer:
    return Recognizer.from_pretrained(threads=1)


def speech(silence: float = 0.5) -> list[Frame]:
    """Frames of 20 ms of the examples, with silence around them."""
    rest = np.zeros(round(silence * RATE), np.float32)
    samples = pcm16(np.concatenate([rest, talk(), rest]))
    size = RATE // 50
    return [
        InputAudioRawFrame(audio=samples[start : start + size].tobytes(), sample_rate=RATE, num_channels=1)
        for start in range(0, len(samples), size)
    ]


def turn(*between: Frame) -> list[Frame]:
    """A stretch of speech between two frames of a detector."""
    frames = speech()
    return [
        *frames[:40],
        VADUserStartedSpeakingFrame(start_secs=0.2),
        *frames[40:],
        *between,
        VADUserStoppedSpeakingFrame(),
    ]


def down(processor: Any, frames: Sequence[Frame]) -> list[Frame]:
    """Frames that leave a pipeline downstream."""
    return list(asyncio.run(run_test(processor, frames_to_send=frames, start_timeout=20))[0])


def test_a_frame_with_the_emotion_stands_beside_each_turn(recognizer: Recognizer) -> None:
    sent = [*turn(), *turn()]
    received = down(EmotionProcessor(LocalSource(recognizer), minimum=0.0, patience=60), sent)
    emotions = [frame for frame in received if isinstance(frame, EmotionFrame)]
    assert len(emotions) == 2
    others = [type(frame) for frame in received if not isinstance(frame, EmotionFrame)]
    assert sorted(kind.__name__ for kind in others) == sorted(type(frame).__name__ for frame in sent)
    for frame in emotions:
        assert frame.emotion == max(frame.scores, key=lambda label: frame.scores[label])
        assert frame.probability == frame.scores[frame.emotion]
        assert frame.confident
        assert frame.end - frame.start == pytest.approx(6.6, abs=0.4)
    assert emotions[1].start >= emotions[0].end


def test_unsure_emotions_are_held_back_unless_they_are_asked_for(recognizer: Recognizer) -> None:
    for unsure in (False, True):
        processor = EmotionProcessor(LocalSource(recognizer), minimum=1.0, unsure=unsure, patience=60)
        emotions = [frame for frame in down(processor, turn()) if isinstance(frame, EmotionFrame)]
        assert [frame.confident for frame in emotions] == ([False] if unsure else [])
    with pytest.raises(ConfigError, match="is no probability"):
        EmotionProcessor(minimum=2)


def test_a_turn_with_a_pause_is_one_turn(recognizer: Recognizer) -> None:
    processor = EmotionProcessor(LocalSource(recognizer), minimum=0.0, tell_llm=True, patience=60)
    first, second = turn(), turn()
    frames = [first[0], UserStartedSpeakingFrame(), *first[1:], *second, UserStoppedSpeakingFrame(), *turn()]
    received = down(processor, frames)
    one, two, three = [frame for frame in received if isinstance(frame, EmotionFrame)]
    assert one.start == two.start
    assert two.end > one.end
    assert three.start >= two.end
    told = [frame for frame in received if isinstance(frame, LLMMessagesAppendFrame)]
    assert len(told) == 1 + (two.emotion != one.emotion) + 1  # once a turn and emotion
    assert told[0].messages[0]["content"].startswith(f"The user's voice sounds {one.emotion}")


def test_a_service_says_what_this_process_says(recognizer: Recognizer) -> None:
    sent, own = turn(), EmotionProcessor(LocalSource(recognizer), minimum=0.0, patience=60)
    [expected] = [frame for frame in down(own, sent) if isinstance(frame, EmotionFrame)]
    with running(recognizer) as service:
        asked = EmotionProcessor(ServiceSource(service.url), minimum=0.0, patience=60)
        [frame] = [frame for frame in down(asked, turn()) if isinstance(frame, EmotionFrame)]
    assert frame.scores == pytest.approx(expected.scores, abs=0.05)  # two segments may be on their way


def test_silence_has_no_emotion(recognizer: Recognizer) -> None:
    processor = EmotionProcessor(LocalSource(recognizer), minimum=0.0, patience=60)
    silent = speech()[:20]
    received = down(processor, [VADUserStartedSpeakingFrame(), *silent, VADUserStoppedSpeakingFrame()])
    assert not [frame for frame in received if isinstance(frame, EmotionFrame)]


def test_the_language_model_hears_of_the_emotion_before_the_words(recognizer: Recognizer) -> None:
    context = LLMContext()
    aggregator = LLMContextAggregatorPair(context).user()
    processor = EmotionProcessor(LocalSource(recognizer), minimum=0.0, tell_llm=True, patience=60)
    words = TranscriptionFrame(text="Where is my order?", user_id="user", timestamp="now")
    frames = [*turn(), SleepFrame(sleep=0.5), words, SleepFrame(sleep=1.5)]
    received = down(Pipeline([processor, aggregator]), frames)
    assert [message["role"] for message in context.get_messages()] == ["system", "user"]
    assert "The user's voice sounds" in context.get_messages()[0]["content"]
    assert any(isinstance(frame, LLMContextFrame) for frame in received)
    assert any(isinstance(frame, EmotionFrame) for frame in received)
