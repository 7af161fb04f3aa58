"""The page: the files that `make page` builds, which also run without a service."""

from pathlib import Path

from fastapi import FastAPI, Response
from starlette.responses import HTMLResponse
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

FOLDER = Path(__file__).parent / "page"
"""Where the built page is; it is part of the wheel."""

POLICY = "; ".join(
    (
        "default-src 'self'",
        "script-src 'self' 'wasm-unsafe-eval'",  # onnxruntime is WebAssembly
        "img-src 'self' data:",
        "media-src 'self' blob:",  # what is played is in the page's own memory
        "object-src 'none'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)

ABSENT = "<!doctype html><title>emofocus</title><p>The page is not built: make page. The API: /openapi.json.</p>"

LASTING, FRESH = "public, max-age=31536000, immutable", "no-cache"


def add_page(app: FastAPI, folder: Path = FOLDER) -> None:
    """Serve the page; behind all other routes, because it takes whatever is left."""

    @app.get("/", include_in_schema=False)
    async def page() -> Response:
        index = folder / "index.html"
        if not index.is_file():
            return HTMLResponse(ABSENT)
        # The page looks for a service only where there is one.
        text = index.read_text(encoding="utf-8").replace("<html", '<html data-served="yes"', 1)
        return HTMLResponse(text, headers=_headers(FRESH))

    if folder.is_dir():
        app.mount("/", _Files(directory=folder), name="page")


class _Files(StaticFiles):
    """Files whose names hold a hash of their bytes may be kept for ever."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        """One file."""
        response = await super().get_response(path, scope)
        if response.status_code < 400:
            response.headers.update(_headers(LASTING if path.startswith("assets") else FRESH))
        return response


def _headers(cache: str) -> dict[str, str]:
    return {"Content-Security-Policy": POLICY, "Cache-Control": cache}
