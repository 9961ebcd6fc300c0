"""The pages at / and /docs and their files under /web: modules, styles and what they take from npm."""

from os import PathLike, stat_result
from os.path import normpath
from pathlib import Path, PurePath
from re import search

from fastapi import FastAPI, Request
from starlette.responses import FileResponse, Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from service.http.security import WEB_PATH

WEB = Path(__file__).parent.parent / "web"
TYPES = {  # by suffix, since the tables of operating systems differ
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".wasm": "application/wasm",
    ".txt": "text/plain; charset=utf-8",
}
CAMERA = "vendor/mediapipe/hands.js"  # only after `make page-camera`
OTHER_TYPE = "application/octet-stream"
VERSIONED = r"-\d+\.\d+\.\d+\."  # a name with its version never has another content
FOREVER, CHECKED = "public, max-age=31536000, immutable", "no-cache"
# WebAssembly is what MediaPipe needs; blob: and data: are pictures that the page makes.
POLICY = (
    "default-src 'self'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self' 'unsafe-inline'; img-src 'self' blob: data:; "
    "connect-src 'self' ws: wss: blob: data:; object-src 'none'; base-uri 'none'; frame-ancestors 'none'"
)


class WebFiles(StaticFiles):
    """The files of the page, with their types and how long a browser may keep them."""

    def file_response(
        self, full_path: str | PathLike[str], stat_result: stat_result, scope: Scope, status_code: int = 200
    ) -> Response:
        """Return a file, or 304 if the browser has it."""
        name = PurePath(full_path)
        response = super().file_response(full_path, stat_result, scope, status_code)
        response.headers["cache-control"] = FOREVER if search(VERSIONED, name.name) else CHECKED
        response.headers["content-type"] = TYPES.get(name.suffix, OTHER_TYPE)
        response.headers["x-content-type-options"] = "nosniff"
        return response


def add_page(app: FastAPI) -> None:
    """Serve the pages at / and /docs and their files at /web; links are relative, so that they work behind a prefix."""
    headers = {"content-security-policy": POLICY, "cache-control": CHECKED, "x-content-type-options": "nosniff"}

    @app.get("/", include_in_schema=False)
    async def index() -> FileResponse:
        return FileResponse(WEB / "index.html", media_type=TYPES[".html"], headers=headers)

    @app.get("/docs", include_in_schema=False)
    async def docs() -> FileResponse:
        return FileResponse(WEB / "docs.html", media_type=TYPES[".html"], headers=headers)

    files = WebFiles(directory=WEB)

    @app.get(f"{WEB_PATH}/parts.json", include_in_schema=False)
    async def parts() -> dict[str, bool]:
        return {"camera": (WEB / CAMERA).is_file()}

    @app.get(f"{WEB_PATH}/{{path:path}}", include_in_schema=False)
    async def file(path: str, request: Request) -> Response:
        return await files.get_response(normpath(path), request.scope)
