"""The service: its routes, and what joins its parts."""

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

from emofocus.audio.loading import SAMPLING_RATE, AudioArray, Waveform
from emofocus.errors import AudioError, ModelError
from emofocus.recognition.prediction import Prediction
from emofocus.recognition.recognizer import Recognizer
from emofocus.serving.auth import Gate
from emofocus.serving.clip_batching import ClipBatcher
from emofocus.serving.decoder_pool import Decoders
from emofocus.serving.limits import Limits, Refusal
from emofocus.serving.metrics import Observer
from emofocus.serving.schemas import Failure, Models, Recognition, State
from emofocus.serving.tokens import Tokens
from emofocus.serving.uploads import read_file
from emofocus.serving.web_page import add_page
from emofocus.serving.websocket import Streams
from emofocus.version import __version__

DESCRIPTION = """Emotion in speech. Send a clip to `POST /v1/recognize`, or speak into the socket
`/v1/stream?rate=16000&format=pcm16`: frames of samples in, a JSON text for each segment out; `{"type": "end"}` ends it.
Audio is neither stored nor logged."""

HEADERS = {
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
"""Of every answer that sets no others."""

HELD_SECONDS = 0.5
"""How long an answer is held back that says to come again later."""

EXPLAINED_SECONDS = 60.0
"""Of a clip of which it may be asked where the model listened."""


class Served(NamedTuple):
    """What a service is made of: see `create_app`."""

    models: Mapping[str, Recognizer]
    limits: Limits
    gate: Gate
    batcher: ClipBatcher
    decoders: Decoders
    observer: Observer
    streams: Streams


@dataclass
class Going:
    """Requests under way, and whether the service still takes new ones."""

    requests: int = 0
    ready: bool = False


def create_app(
    models: Mapping[str, Recognizer],
    limits: Limits | None = None,
    tokens: Tokens | None = None,
    hosts: tuple[str, ...] = (),
    origins: tuple[str, ...] = (),
    threads: int | None = None,
    decoders: int | None = None,
) -> FastAPI:
    """An ASGI application.

    Args:
        models: By the names that requests call them; the first is the default. Each should run on one thread.
        limits: What clients may ask for.
        tokens: Who may ask; None lets everybody.
        hosts: Names that the service goes by; none for any.
        origins: Of other pages that may use it.
        threads: That recognize; one a core by default.
        decoders: Processes that decode; as many as threads by default.
    """
    limits = limits or Limits()
    batcher = ClipBatcher(limits, threads)
    pool = Decoders(decoders or batcher.threads, limits)
    observer = Observer(lambda: batcher.waiting, lambda: streams.open, lambda: pool.lost)
    streams = Streams(limits, batcher.threads, observer)
    gate = Gate(limits, tokens, hosts, origins)
    served, going = Served(models, limits, gate, batcher, pool, observer, streams), Going()

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        await pool.start()
        going.ready = True
        try:
            yield
        finally:
            going.ready = False
            await streams.stop()
            batcher.stop()
            await pool.stop()

    app = FastAPI(
        title="emofocus", version=__version__, description=DESCRIPTION, lifespan=lifespan, docs_url=None, redoc_url=None
    )
    app.state.served = served
    _answer_errors(app)
    app.add_middleware(Watch, served=served, going=going)
    _add_routes(app, served, going)
    add_page(app)
    return app


def _answer_errors(app: FastAPI) -> None:
    """Give every failure the one shape."""

    @app.exception_handler(Refusal)
    async def refused(_: Request, refusal: Refusal) -> JSONResponse:
        return _answer(refusal)

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"][1:])
        return _answer(Refusal(400, "bad_value", f"{place}: {first['msg']}"))

    @app.exception_handler(HTTPException)
    async def unknown(_: Request, error: HTTPException) -> JSONResponse:
        code = {404: "not_found", 405: "wrong_method"}.get(error.status_code, "refused")
        return JSONResponse(
            Refusal(error.status_code, code, str(error.detail)).to_dict(), error.status_code, error.headers
        )


class Watch:
    """Counts and times requests, lets in no more than may be under way, and sets the headers of safety."""

    def __init__(self, app: ASGIApp, served: Served, going: Going) -> None:
        self.app, self.served, self.going = app, served, going

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
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
                if "Retry-After" in headers:  # a client that comes again at once would take the time of the others
                    self.going.requests, under_way = self.going.requests - under_way, 0
                    await asyncio.sleep(HELD_SECONDS)
            await send(message)

        self.going.requests += 1
        try:
            if self.going.requests > self.served.limits.requests:
                message = f"{self.going.requests - 1} requests are under way"
                await _answer(Refusal(503, "busy", message, retry_after=1.0))(scope, receive, answer)
            else:
                await self.app(scope, receive, answer)
        finally:
            self.going.requests -= under_way
            # By route, not by path: clients could fill memory with paths.
            route = getattr(scope.get("route"), "path", "none")
            self.served.observer.requests.labels(route, str(status)).inc()
            self.served.observer.seconds.labels(route).observe(time.perf_counter() - began)


def _answer(refusal: Refusal) -> JSONResponse:
    return JSONResponse(refusal.to_dict(), refusal.status, dict(refusal.headers()))


def _add_routes(app: FastAPI, served: Served, going: Going) -> None:
    refusals: dict[int | str, dict[str, Any]] = {
        status: {"model": Failure} for status in (400, 401, 403, 404, 408, 413, 415, 421, 422, 429, 503)
    }

    @app.get("/healthz", response_model=State, tags=["operation"])
    async def health() -> dict[str, str]:
        """Whether the process lives."""
        return {"status": "ok", "version": __version__}

    @app.get("/readyz", response_model=State, tags=["operation"], responses={503: {"model": State}})
    async def readiness(response: Response) -> dict[str, str]:
        """Whether it takes requests."""
        response.status_code = 200 if going.ready else 503
        return {"status": "ready" if going.ready else "ending", "version": __version__}

    @app.get("/metrics", tags=["operation"], responses=refusals, response_class=PlainTextResponse)
    async def metrics(request: Request) -> Response:
        """Counts and times, for Prometheus."""
        served.gate.admit(request)
        return PlainTextResponse(served.observer.text(), media_type="text/plain; version=0.0.4")

    @app.get("/v1/models", response_model=Models, tags=["recognition"], responses=refusals)
    async def models(request: Request) -> dict[str, Any]:
        """Which models may be asked."""
        served.gate.admit(request)
        return {"models": [_described(name, recognizer) for name, recognizer in served.models.items()]}

    @app.post(
        "/v1/recognize",
        response_model=Recognition,
        tags=["recognition"],
        responses=refusals,
        openapi_extra=_body_schema(),
    )
    async def recognize(
        request: Request,
        model: Annotated[
            str | None, Query(description="A name of /v1/models; the first by default.", max_length=64)
        ] = None,
        timeline: Annotated[bool, Query(description="Also what was heard in each segment.")] = False,
        explain: Annotated[bool, Query(description="Also where the model listened.")] = False,
    ) -> dict[str, Any]:
        """What is heard in one clip: a file as the body, or as the field `file` of a form."""
        served.gate.admit(request)
        name, recognizer = model_of(served, model)
        served.batcher.admit()
        waveform = await served.decoders.decode(await read_file(request, served.limits))
        listening = None
        if explain:
            prediction, listening = await _explained(served, recognizer, waveform)
        else:
            prediction = await served.batcher.recognize(recognizer, waveform)
        served.observer.audio.labels("clip").inc(prediction.duration)
        found = {"model": name} | prediction.to_dict()
        if not timeline:
            del found["timeline"]
        return found if listening is None else found | {"listening": listening}

    @app.websocket("/v1/stream")
    async def stream(socket: WebSocket) -> None:
        try:
            served.gate.admit(socket)
            recognizer = model_of(served, socket.query_params.get("model"))[1]
            await served.streams.serve(socket, recognizer)
        except Refusal as refusal:
            await socket.send_denial_response(_answer(refusal))


def model_of(served: Served, name: str | None) -> tuple[str, Recognizer]:
    """A model by the name that a request gives.

    Raises:
        Refusal: There is none of that name (404).
    """
    name = next(iter(served.models)) if name is None else name
    if name not in served.models:
        raise Refusal(404, "no_model", f"no model is called {name[:80]!r} (valid: {', '.join(served.models)})")
    return name, served.models[name]


def _described(name: str, recognizer: Recognizer) -> dict[str, Any]:
    config, engine = recognizer.config, recognizer.engine
    return {
        "name": name,
        "network": config.model,
        "labels": list(recognizer.labels),
        "threshold": recognizer.threshold,
        "license": config.license,
        "explains": engine.attends,
        "streams": engine.streams,
    }


async def _explained(served: Served, recognizer: Recognizer, waveform: Waveform) -> tuple[Prediction, dict[str, Any]]:
    """What is heard, and where the model listened, of one run."""
    if len(waveform) > EXPLAINED_SECONDS * SAMPLING_RATE:
        raise Refusal(413, "too_long", f"where it listened is told of {EXPLAINED_SECONDS:g} s at most")
    source: AudioArray = {"array": waveform, "sampling_rate": SAMPLING_RATE}
    try:
        found = await served.batcher.run(waveform, recognizer.explain, source)
    except AudioError as error:
        raise Refusal(422, "nothing_to_recognize", str(error)) from error
    except ModelError as error:
        raise Refusal(422, "nothing_to_explain", str(error)) from error
    return found.prediction, {
        "frames": _plain(found.frames),
        "attention": _plain(found.attention),
        "amplitude": _plain(found.amplitude),
        "loudest": round(found.loudest, 3),
        "segments": _plain(found.coordinates()["segment"]),
        "centre": _plain(found.centre),
        "scope": _plain(found.scope),
        "gates": _plain(found.gates),
    }


def _plain(values: Any) -> Any:
    """An array as lists, what is no number as None."""
    if values is None:
        return None
    rounded = np.round(np.asarray(values, np.float64), 4).astype(object)
    rounded[~np.isfinite(np.asarray(values))] = None
    return rounded.tolist()


def _body_schema() -> dict[str, Any]:
    binary = {"type": "string", "format": "binary"}
    form = {"type": "object", "properties": {"file": binary}, "required": ["file"]}
    kinds = {kind: {"schema": binary} for kind in ("application/octet-stream", "audio/*")}
    return {"requestBody": {"required": True, "content": kinds | {"multipart/form-data": {"schema": form}}}}
