"""The ASGI application: routes, their middleware, and the parts of a service that they use."""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Annotated, Any, NamedTuple

import numpy as np
from fastapi import FastAPI, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, PlainTextResponse
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocket

from emofocus.audio.loading import MINIMUM_SAMPLES, SAMPLING_RATE, AudioArray
from emofocus.audio.notices import Notice
from emofocus.audio.samples import Waveform
from emofocus.errors import AudioError, ModelError
from emofocus.recognition.engine import EngineOutput
from emofocus.recognition.explanation.explainer import received
from emofocus.recognition.explanation.explanation import Explanation
from emofocus.recognition.recognizer import Recognizer
from emofocus.recognition.scoring import run_checked
from emofocus.serving.auth import AccessControl
from emofocus.serving.clip_batching import ClipBatcher
from emofocus.serving.decoder_pool import DecoderPool
from emofocus.serving.limits import Limits, Refusal
from emofocus.serving.metrics import Metrics
from emofocus.serving.schemas import Failure, Listening, ModelInfo, Models, Recognition, Segments, State, Turn
from emofocus.serving.turns import Transcript, turns_in
from emofocus.serving.uploads import read_upload
from emofocus.serving.voices import adapted
from emofocus.serving.web_page import add_page
from emofocus.serving.websocket import Streams
from emofocus.version import __version__

DESCRIPTION = """Emotion in speech. Send a clip to `POST /v1/recognize`, or live speech to the socket
`/v1/stream?rate=16000&format=pcm16`: samples in binary messages, answered by a JSON text for each segment;
`{"type": "end"}` ends the stream. Audio and profiles of voices are neither stored nor logged."""

HEADERS = {
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
"""Security headers of every answer that does not set them itself."""

RETRY_DELAY = 0.5
"""Seconds by which an answer with Retry-After is delayed."""

EXPLAIN_SECONDS = 60.0
"""Longest clip that can be explained."""

ERROR_STATUSES = (400, 401, 403, 404, 408, 413, 415, 421, 422, 429, 503)
"""Statuses of refusals, for the OpenAPI description."""


class Service(NamedTuple):
    """Parts of a service, which its routes share: see `create_app`."""

    models: Mapping[str, Recognizer]
    limits: Limits
    access: AccessControl
    batcher: ClipBatcher
    decoders: DecoderPool
    metrics: Metrics
    streams: Streams

    def find_model(self, name: str | None) -> tuple[str, Recognizer]:
        """Name and recognizer of a model; None stands for the default one.

        Raises:
            Refusal: No model has the name (404).
        """
        name = next(iter(self.models)) if name is None else name
        if name not in self.models:
            raise Refusal(404, "no_model", f"no model is called {name[:80]!r} (valid: {', '.join(self.models)})")
        return name, self.models[name]


@dataclass
class Activity:
    """Requests under way, and whether the service takes new ones."""

    requests: int = 0
    ready: bool = False


def create_app(
    models: Mapping[str, Recognizer],
    limits: Limits | None = None,
    access: AccessControl | None = None,
    threads: int | None = None,
    decoders: int | None = None,
) -> FastAPI:
    """Make an ASGI application.

    Args:
        models: Recognizers by name, the default one first. Each should run on one thread.
        limits: Limits of what clients may ask for.
        access: Decides who may ask; by default everybody, as often as the limits allow.
        threads: Threads that recognize; one per core by default.
        decoders: Processes that decode; as many as threads by default.
    """
    limits = limits or Limits()
    batcher = ClipBatcher(limits, threads)
    pool = DecoderPool(decoders or batcher.threads, limits)
    metrics = Metrics(lambda: batcher.waiting, lambda: streams.open, lambda: pool.lost)
    streams = Streams(limits, batcher.threads, metrics)
    access = access or AccessControl(limits, None)
    service, activity = Service(models, limits, access, batcher, pool, metrics, streams), Activity()

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        await pool.start()
        activity.ready = True
        try:
            yield
        finally:
            activity.ready = False
            await streams.stop()
            batcher.stop()
            await pool.stop()

    app = FastAPI(
        title="emofocus", version=__version__, description=DESCRIPTION, lifespan=lifespan, docs_url=None, redoc_url=None
    )
    app.state.service = service
    _add_error_handlers(app)
    app.add_middleware(RequestMonitor, service=service, activity=activity)
    _add_operation_routes(app, service, activity)
    _add_recognition_routes(app, service)
    add_page(app)
    return app


def _add_error_handlers(app: FastAPI) -> None:
    """Give all failures the form of `Failure`."""

    @app.exception_handler(Refusal)
    async def refused(_: Request, refusal: Refusal) -> JSONResponse:
        return _response(refusal)

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"][1:])
        return _response(Refusal(400, "bad_value", f"{field}: {first['msg']}"))

    @app.exception_handler(HTTPException)
    async def unknown(_: Request, error: HTTPException) -> JSONResponse:
        code = {404: "not_found", 405: "wrong_method"}.get(error.status_code, "refused")
        return JSONResponse(
            Refusal(error.status_code, code, str(error.detail)).to_dict(), error.status_code, error.headers
        )


def _response(refusal: Refusal) -> JSONResponse:
    return JSONResponse(refusal.to_dict(), refusal.status, dict(refusal.headers()))


class RequestMonitor:
    """Middleware that counts and times requests, limits those under way, and adds the security headers."""

    def __init__(self, app: ASGIApp, service: Service, activity: Activity) -> None:
        self.app, self.service, self.activity = app, service, activity

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        if scope["method"] == "HEAD":  # the answer to GET, whose body the server leaves out
            scope = {**scope, "method": "GET"}
        began, status, under_way = time.perf_counter(), 500, 1

        async def answer(message: Message) -> None:
            nonlocal status, under_way
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
                if "Retry-After" in headers:  # a client that retries at once would take time from the others
                    self.activity.requests, under_way = self.activity.requests - under_way, 0
                    await asyncio.sleep(RETRY_DELAY)
            await send(message)

        self.activity.requests += 1
        try:
            if self.activity.requests > self.service.limits.requests:
                message = f"{self.activity.requests - 1} requests are under way"
                await _response(Refusal(503, "busy", message, retry_after=1.0))(scope, receive, answer)
            else:
                await self.app(scope, receive, answer)
        finally:
            self.activity.requests -= under_way
            # The label is the route and not the path, because clients could fill memory with paths.
            route = getattr(scope.get("route"), "path", "none")
            self.service.metrics.requests.labels(route, str(status)).inc()
            self.service.metrics.seconds.labels(route).observe(time.perf_counter() - began)


def _refusals() -> dict[int | str, dict[str, Any]]:
    """Refusals of a route, for the OpenAPI description."""
    return {status: {"model": Failure} for status in ERROR_STATUSES}


def _add_operation_routes(app: FastAPI, service: Service, activity: Activity) -> None:
    @app.get("/healthz", tags=["operation"])
    async def health() -> State:
        """Whether the process lives."""
        return State(status="ok", version=__version__)

    @app.get("/readyz", tags=["operation"], responses={503: {"model": State}})
    async def readiness(response: Response) -> State:
        """Whether the service takes requests."""
        response.status_code = 200 if activity.ready else 503
        return State(status="ready" if activity.ready else "ending", version=__version__)

    @app.get("/metrics", tags=["operation"], responses=_refusals(), response_class=PlainTextResponse)
    async def metrics(request: Request) -> Response:
        """Counts and times in Prometheus' text format."""
        service.access.admit(request)
        return PlainTextResponse(service.metrics.text(), media_type="text/plain; version=0.0.4")

    @app.get("/v1/models", tags=["recognition"], responses=_refusals())
    async def models(request: Request) -> Models:
        """Models that requests may name."""
        service.access.admit(request)
        return Models(models=[_model_info(name, recognizer) for name, recognizer in service.models.items()])


ModelName = Annotated[str | None, Query(description="A name of /v1/models; the first by default.", max_length=64)]


class _Received(NamedTuple):
    """Model, recognizer, samples (T,), notices and turns of a request with a clip."""

    model: str
    recognizer: Recognizer
    waveform: Waveform
    notices: tuple[Notice, ...]
    transcript: Transcript | None


async def _receive(service: Service, request: Request, model: str | None) -> _Received:
    """Admit a request, and decode its clip; the recognizer is adapted to the voice that the request names."""
    service.access.admit(request)
    name, recognizer = service.find_model(model)
    service.batcher.admit()
    upload = await read_upload(request, service.limits)
    recognizer = adapted(recognizer, upload.voice)
    return _Received(name, recognizer, *await service.decoders.decode(upload.file), upload.transcript)


def _add_recognition_routes(app: FastAPI, service: Service) -> None:
    @app.post("/v1/recognize", tags=["recognition"], responses=_refusals(), openapi_extra=_body_schema())
    async def recognize(
        request: Request,
        model: ModelName = None,
        timeline: Annotated[bool, Query(description="Return the segments too.")] = False,
        explain: Annotated[bool, Query(description="Return the model's attention too.")] = False,
    ) -> Recognition:
        """Recognize one clip: a file as the body, or as the field `file` of a form.

        A form may hold a profile of the voice that speaks in its field `voice`. It is used for this answer, and kept
        nowhere. Its field `segments` may hold a diarization or a transcript: the answer then has each turn's emotion.
        """
        name, recognizer, waveform, notices, transcript = await _receive(service, request, model)
        listening = None
        if explain:
            explanation = await _explain(service, recognizer, waveform)
            prediction, listening = explanation.prediction, _listening(explanation)
        else:
            prediction = await service.batcher.recognize(recognizer, waveform)
        turns = None if transcript is None else await _turns(service, recognizer, waveform, transcript)
        service.metrics.audio.labels("clip").inc(prediction.duration)
        fields = prediction.with_notices(notices).to_dict()
        segments = fields.pop("timeline")
        shown = segments if timeline else None
        return Recognition(model=name, timeline=shown, listening=listening, turns=turns, **fields)

    @app.post("/v1/segments", tags=["recognition"], responses=_refusals(), openapi_extra=_body_schema())
    async def segments(
        request: Request,
        model: ModelName = None,
    ) -> Segments:
        """Outputs of one part of a long recording, of at most a minute; whoever asks puts the parts together.

        A form may hold a profile of the voice that speaks in its field `voice`.
        """
        _, recognizer, waveform, *_ = await _receive(service, request, model)
        if len(waveform) > EXPLAIN_SECONDS * SAMPLING_RATE:
            raise Refusal(413, "too_long", f"a part has at most {EXPLAIN_SECONDS:g} s")
        if len(waveform) < MINIMUM_SAMPLES:
            raise Refusal(422, "nothing_to_recognize", f"a part has at least {MINIMUM_SAMPLES} samples at 16 kHz")
        output = await service.batcher.run(waveform, _run_part, recognizer, waveform)
        service.metrics.audio.labels("part").inc(len(waveform) / SAMPLING_RATE)
        return _segments(output)

    @app.websocket("/v1/stream")
    async def stream(socket: WebSocket) -> None:
        try:
            service.access.admit(socket)
            _, recognizer = service.find_model(socket.query_params.get("model"))
            await service.streams.serve(socket, recognizer)
        except Refusal as refusal:
            await socket.send_denial_response(_response(refusal))


def _model_info(name: str, recognizer: Recognizer) -> ModelInfo:
    config, engine = recognizer.config, recognizer.engine
    return ModelInfo(
        name=name,
        network=config.model,
        labels=list(recognizer.labels),
        threshold=recognizer.threshold,
        license=config.license,
        explains=engine.attends,
        streams=engine.streams,
        adapts=engine.adaptable,
    )


async def _explain(service: Service, recognizer: Recognizer, waveform: Waveform) -> Explanation:
    """Prediction and attention of one run of the model.

    Raises:
        Refusal: The clip is too long (413), holds nothing to recognize, or the model has no attention (422).
    """
    if len(waveform) > EXPLAIN_SECONDS * SAMPLING_RATE:
        raise Refusal(413, "too_long", f"attention is returned for clips of at most {EXPLAIN_SECONDS:g} s")
    source: AudioArray = {"array": waveform, "sampling_rate": SAMPLING_RATE}
    try:
        return await service.batcher.run(waveform, recognizer.explain, source)
    except AudioError as error:
        raise Refusal(422, "nothing_to_recognize", str(error)) from error
    except ModelError as error:
        raise Refusal(422, "nothing_to_explain", str(error)) from error


async def _turns(service: Service, recognizer: Recognizer, waveform: Waveform, transcript: Transcript) -> list[Turn]:
    """Emotions of turns, as the answer has them."""
    found = await service.batcher.run(waveform, turns_in, recognizer, waveform, transcript, service.limits)
    return [Turn(**turn.to_dict()) for turn in found]


def _listening(explanation: Explanation) -> Listening:
    return Listening(
        frames=_plain(explanation.frames),
        attention=_plain(explanation.attention),
        amplitude=_plain(explanation.amplitude),
        loudest=round(explanation.loudest, 3),
        segments=_plain(explanation.coordinates()["segment"]),
        speech=explanation.prediction.timeline.speech.tolist(),
        centre=_plain(explanation.centre),
        scope=_plain(explanation.scope),
        gates=_plain(explanation.gates),
    )


def _run_part(recognizer: Recognizer, waveform: Waveform) -> EngineOutput:
    """All outputs of one part of a recording, which may be silent."""
    lengths, scorer = np.array([len(waveform)], np.int64), recognizer.scorer
    return run_checked(scorer.engine, scorer.config, waveform[None], lengths, True, scorer.voice)


def _segments(output: EngineOutput) -> Segments:
    attention, gates = output.attention, output.gates
    return Segments(
        logits=_plain(output.logits[0]),
        level=_plain(output.level[0]),
        received=None
        if attention is None
        else _plain(received(attention[0], None if gates is None else gates[0], attention.shape[3])),
        centre=None if output.centre is None else _plain(output.centre[0].mean(axis=2)),
        scope=None if output.scope is None else _plain(output.scope[0].mean(axis=2)),
        gates=None if gates is None else _plain(gates[0]),
    )


def _plain(values: Any) -> Any:
    """An array as nested lists of numbers with four decimals; NaN and infinity become None."""
    if values is None:
        return None
    rounded = np.round(np.asarray(values, np.float64), 4).astype(object)
    rounded[~np.isfinite(np.asarray(values))] = None
    return rounded.tolist()


def _body_schema() -> dict[str, Any]:
    """Body of a recognition request, for the OpenAPI description."""
    binary = {"type": "string", "format": "binary"}
    about = "Profile of the voice that speaks, as emofocus adapt writes it: JSON, 64 kB at most. It is not kept."
    turns = "Who speaks when: a file .rttm, .json, .srt, .vtt, .TextGrid or .csv, or JSON as text; 1 MB at most."
    fields = {"file": binary, "voice": binary | {"description": about}, "segments": binary | {"description": turns}}
    form = {"type": "object", "properties": fields, "required": ["file"]}
    kinds = {kind: {"schema": binary} for kind in ("application/octet-stream", "audio/*")}
    return {"requestBody": {"required": True, "content": kinds | {"multipart/form-data": {"schema": form}}}}
