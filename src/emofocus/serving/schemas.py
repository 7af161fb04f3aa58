"""What goes over the wire, as the OpenAPI page shows it."""

from typing import Annotated, Literal

from pydantic import BaseModel, Field

Probability = Annotated[float, Field(ge=0, le=1)]


class Segment(BaseModel):
    """What was heard in one segment of a clip."""

    start: float = Field(description="Seconds.", examples=[0.512])
    end: float = Field(description="Seconds.", examples=[2.56])
    label: str = Field(examples=["happy"])
    scores: dict[str, Probability] = Field(description="Calibrated probability of each emotion.")


class Listening(BaseModel):
    """Where the model listened, one number a frame, a position or a segment."""

    frames: list[float] = Field(description="Middle of each frame, seconds.")
    attention: list[float | None] = Field(
        description="What each frame gets over what it would get if all got the same."
    )
    amplitude: list[float] = Field(description="Largest sample of each frame.")
    loudest: float = Field(description="When the largest sample of all is, seconds.")
    segments: list[float] = Field(description="Middle of each segment, seconds.")
    centre: list[list[float]] | None = Field(description="Where each head's focus lies, seconds; a row a segment.")
    scope: list[list[float]] | None = Field(description="How wide each head's focus is, seconds; a row a segment.")
    gates: list[list[float]] | None = Field(description="How much each head counts; a row a segment.")


class Recognition(BaseModel):
    """What was heard in one clip."""

    model: str = Field(examples=["default"])
    label: str = Field(description="The likeliest emotion.", examples=["happy"])
    confident: bool = Field(description="Whether its probability reaches the model's threshold.")
    scores: dict[str, Probability] = Field(description="Calibrated probability of each emotion.")
    duration: float = Field(description="Seconds.", examples=[3.712])
    warnings: list[str] = Field(description="What is wrong with the recording, if anything is.")
    timeline: list[Segment] | None = Field(None, description="If it was asked for.")
    listening: Listening | None = Field(None, description="If it was asked for.")


class ModelInfo(BaseModel):
    """One model that may be asked."""

    name: str = Field(examples=["default"])
    network: str = Field(examples=["compact-faca"])
    labels: list[str]
    threshold: Probability
    license: str = Field(examples=["CC-BY-NC-SA-4.0"])
    explains: bool
    streams: bool


class Models(BaseModel):
    """All models, the default one first."""

    models: list[ModelInfo]


class State(BaseModel):
    """How the service is."""

    status: Literal["ok", "ready", "ending"]
    version: str


class Fault(BaseModel):
    """What went wrong: a word for programs and a sentence for people."""

    code: str = Field(examples=["not_audio"])
    message: str = Field(examples=["the given file: not audio that can be decoded"])


class Failure(BaseModel):
    """Answer to what is not answered."""

    error: Fault
