"""The web page: files that `make page` builds and that any host can serve."""

import mimetypes
from pathlib import Path

from fastapi import FastAPI, Response
from starlette.datastructures import Headers
from starlette.responses import FileResponse, HTMLResponse
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from emofocus.recognition.recognizer import model_folder

FOLDER = Path(__file__).parent / "page"
"""Folder of the built page; the wheel contains it."""

MODEL = "model/model.onnx"
"""The page's model. The wheel holds it once, as the shipped model, and not in the page's folder."""

CONTENT_POLICY = "; ".join(
    (
        "default-src 'self'",
        "script-src 'self' 'wasm-unsafe-eval'",  # onnxruntime is WebAssembly
        "img-src 'self' data:",
        "media-src 'self' blob:",  # recordings that the page plays are in its memory
        "object-src 'none'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)

NOT_BUILT = "<!doctype html><title>emofocus</title><p>The page is not built: make page. The API: /openapi.json.</p>"
"""The page where `make page` has not run."""

CALLS = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>Calls of emofocus</title>
<link rel="icon" href="icon.svg">
<link rel="stylesheet" href="docs/swagger-ui.css">
<div id="calls"></div>
<script src="docs/swagger-ui-bundle.js"></script>
<script src="docs/start.js"></script>
</html>
"""
"""The page that describes all calls, by Swagger UI."""

CALLS_NOT_BUILT = "<!doctype html><title>emofocus</title><p>This page is not built: make page. See /openapi.json.</p>"
"""The page of calls where `make page` has not run."""

CALLS_POLICY = f"{CONTENT_POLICY}; style-src 'self' 'unsafe-inline'"
"""Swagger UI styles its elements itself."""

PACKED = ".gz"
"""Suffix of compressed copies of the page's files."""

IMMUTABLE, REVALIDATE = "public, max-age=31536000, immutable", "no-cache"
"""Values of Cache-Control."""


def add_page(app: FastAPI, folder: Path = FOLDER) -> None:
    """Serve the page at ``/``, and the description of all calls at ``/docs``.

    It must be added last, because it takes all paths that no other route takes.
    """

    @app.get("/", include_in_schema=False)
    async def page() -> Response:
        index = folder / "index.html"
        if not index.is_file():
            return HTMLResponse(NOT_BUILT)
        # This attribute makes the page ask its own host for recognition.
        text = index.read_text(encoding="utf-8").replace("<html", '<html data-served="yes"', 1)
        return HTMLResponse(text, headers=_headers(REVALIDATE))

    @app.get("/docs", include_in_schema=False)
    async def calls() -> Response:
        if not (folder / "docs" / "swagger-ui-bundle.js").is_file():
            return HTMLResponse(CALLS_NOT_BUILT)
        return HTMLResponse(CALLS, headers=_headers(REVALIDATE) | {"Content-Security-Policy": CALLS_POLICY})

    if folder.is_dir() and not (folder / MODEL).is_file():

        @app.get(f"/{MODEL}", include_in_schema=False)
        async def model() -> Response:
            return FileResponse(model_folder(None) / "model.onnx", headers=_headers(REVALIDATE))

    if folder.is_dir():
        app.mount("/", _Files(directory=folder), name="page")


class _Files(StaticFiles):
    """Static files, compressed where the page's build left a compressed copy beside them.

    Names below ``assets`` contain a hash of the content, so browsers may keep them.
    """

    async def get_response(self, path: str, scope: Scope) -> Response:
        """Answer with one file."""
        packed = f"{path}{PACKED}"
        named = "\0" not in path and not path.endswith(PACKED)  # no file's name holds a zero: 404, by Starlette
        there = named and self.lookup_path(packed)[1] is not None
        taken = there and "gzip" in Headers(scope=scope).get("Accept-Encoding", "")
        response = await super().get_response(packed if taken else path, scope)
        if response.status_code < 400:
            response.headers.update(_headers(IMMUTABLE if path.startswith("assets") else REVALIDATE))
            if there:
                response.headers["Vary"] = "Accept-Encoding"
        if taken and response.status_code < 300:
            kind = mimetypes.guess_type(path)[0] or "application/octet-stream"
            response.headers.update({"Content-Encoding": "gzip", "Content-Type": kind})
        return response


def _headers(cache: str) -> dict[str, str]:
    return {"Content-Security-Policy": CONTENT_POLICY, "Cache-Control": cache}
