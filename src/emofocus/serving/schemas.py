"""Bodies of the service's answers, as its OpenAPI description lists them."""

from typing import Annotated, Literal

from pydantic import BaseModel, Field

Probability = Annotated[float, Field(ge=0, le=1)]


class Segment(BaseModel):
    """Emotion in one segment of a clip."""

    start: float = Field(description="Seconds.", examples=[0.512])
    end: float = Field(description="Seconds.", examples=[2.56])
    label: str = Field(examples=["happy"])
    scores: dict[str, Probability] = Field(description="Calibrated probability of each emotion.")


class Listening(BaseModel):
    """Attention of the model: one number per frame, position or segment."""

    frames: list[float] = Field(description="Middle of each frame, seconds.")
    attention: list[float | None] = Field(description="Weight of each frame, relative to equal weights for all frames.")
    amplitude: list[float] = Field(description="Largest sample of each frame.")
    loudest: float = Field(description="Time of the largest sample of all, seconds.")
    segments: list[float] = Field(description="Middle of each segment, seconds.")
    speech: list[bool] = Field(description="Whether each segment is loud enough to count.")
    centre: list[list[float]] | None = Field(description="Center of each head's focus, seconds; one row per segment.")
    scope: list[list[float]] | None = Field(description="Width of each head's focus, seconds; one row per segment.")
    gates: list[list[float]] | None = Field(description="Weight of each head; one row per segment.")


class Turn(BaseModel):
    """Emotion in one turn of a speaker."""

    start: float = Field(description="Seconds.", examples=[0.512])
    end: float = Field(description="Seconds.", examples=[2.56])
    speaker: str | None = Field(None, examples=["SPEAKER_00"])
    text: str = Field("", description="Words of the turn, if they came with the request.")
    channel: int | None = Field(None, description="Channel that the request names; the mean of all is heard.")
    emotion: str | None = Field(description="The likeliest emotion; null if there is nothing to hear.")
    confident: bool = Field(description="Whether its probability reaches the model's threshold.")
    scores: dict[str, Probability] = Field(description="Calibrated probability of each emotion.")
    warnings: list[str] = Field(description="Faults of the sound, and turns at the same time.")
    reason: str | None = Field(None, description="Reason why there is no emotion.")


class Recognition(BaseModel):
    """Emotion in one clip."""

    model: str = Field(examples=["default"])
    label: str = Field(description="The likeliest emotion.", examples=["happy"])
    confident: bool = Field(description="Whether its probability reaches the model's threshold.")
    scores: dict[str, Probability] = Field(description="Calibrated probability of each emotion.")
    duration: float = Field(description="Seconds.", examples=[3.712])
    warnings: list[str] = Field(description="Faults of the recording.")
    timeline: list[Segment] | None = Field(None, description="The segments, if `timeline` was requested.")
    listening: Listening | None = Field(None, description="The attention, if `explain` was requested.")
    turns: list[Turn] | None = Field(None, description="The turns, if `segments` came with the request.")


class Segments(BaseModel):
    """Outputs of all segments and frames of a part of a recording, before they are put together."""

    logits: list[list[float]] = Field(description="Score of each emotion before softmax; one row per segment.")
    level: list[float] = Field(description="Level of each frame, dB full scale.")
    received: list[list[float | None]] | None = Field(
        description="Attention to each position, relative to equal attention for all; one row per segment."
    )
    centre: list[list[float]] | None = Field(description="Center of each head's focus, in positions from 1.")
    scope: list[list[float]] | None = Field(description="Width of each head's focus, in positions.")
    gates: list[list[float]] | None = Field(description="Weight of each head; one row per segment.")


class ModelInfo(BaseModel):
    """A model that requests may name."""

    name: str = Field(examples=["default"])
    network: str = Field(examples=["compact-faca"])
    labels: list[str]
    threshold: Probability
    license: str = Field(examples=["CC-BY-NC-SA-4.0"])
    explains: bool
    streams: bool
    adapts: bool = Field(description="Whether it takes profiles of voices.")


class Models(BaseModel):
    """All models, the default one first."""

    models: list[ModelInfo]


class State(BaseModel):
    """State of the service."""

    status: Literal["ok", "ready", "ending"]
    version: str


class Fault(BaseModel):
    """Reason of a failure: a word for programs and a sentence for people."""

    code: str = Field(examples=["not_audio"])
    message: str = Field(examples=["the given file: not audio that can be decoded"])


class Failure(BaseModel):
    """Body of every answer with an error status."""

    error: Fault
