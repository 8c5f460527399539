"""Manifests as files: which there are, what they say, and edits of them."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from pydantic_core import to_json
from starlette.convertors import PathConvertor, register_url_convertor
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from reconciler.api.bodies import bad_request, flag, object_of, only, text_of
from reconciler.api.controller import Controller
from reconciler.api.editing import Allowed, Answer
from reconciler.api.sharing import Shared
from reconciler.manifests.changing import REMOVED, Change
from reconciler.manifests.field_paths import meant, path_of


class _AnyPath(PathConvertor):
    """With line breaks too: a name that has them is refused as any other bad one."""

    regex = "(?s:.*)"


register_url_convertor("path", _AnyPath())
MOST_VALUES = 500
MOST_FILES = 500
"""In one plan."""
DEEPEST = 32
"""Levels, as in a manifest."""
Endpoint = Callable[[Request], Awaitable[Response]]
Found = list[tuple[str, str, Endpoint]]


def routes(controller: Controller) -> Found:
    """Method, path and endpoint of each."""
    return [*_file_routes(controller), *_document_routes(controller)]


def _file_routes(controller: Controller) -> Found:
    turn = asyncio.Lock()

    async def listed() -> bytes:
        return to_json({"kind": "ManifestList", "items": await controller.editing.manifests()})

    shared = Shared(listed)

    async def manifests(_request: Request) -> Response:
        return Response(await shared(), media_type="application/json")

    async def manifest(request: Request) -> Response:
        async with turn:  # its YAML is read anew for each
            return _with_tag(await controller.editing.manifest(request.path_params["path"]))

    async def put(request: Request) -> Response:
        path, text = request.path_params["path"], await text_of(request)
        allowed, dry_run = _allowed(request.headers), flag(request, "dryRun")
        return _with_tag(await controller.editing.put(path, text, allowed, dry_run=dry_run))

    async def delete(request: Request) -> Response:
        path, dry_run = request.path_params["path"], flag(request, "dryRun")
        if await text_of(request):
            raise bad_request("DELETE takes no body")
        return _with_tag(await controller.editing.put(path, None, _allowed(request.headers), dry_run=dry_run))

    return [
        ("GET", "/api/v1/manifests", manifests),
        ("GET", "/api/v1/manifests/{path:path}", manifest),
        ("PUT", "/api/v1/manifests/{path:path}", put),
        ("DELETE", "/api/v1/manifests/{path:path}", delete),
    ]


def _document_routes(controller: Controller) -> Found:
    async def patch(request: Request) -> Response:
        name, changes = request.path_params["name"], _changes(await object_of(request))
        return JSONResponse(await controller.editing.respec(name, changes, dry_run=flag(request, "dryRun")))

    async def apply(request: Request) -> Response:
        text = await _documents(request)
        dry_run = flag(request, "dryRun")
        if text.strip():
            return JSONResponse(await controller.editing.apply(text, dry_run=dry_run))
        return JSONResponse(await (controller.editing.plan({}) if dry_run else controller.reconcile()))

    async def use(request: Request) -> Response:
        name, dry_run = request.path_params.get("name"), flag(request, "dryRun")
        body = await object_of(request)
        only(body, "use", *(["name"] if name is None else []))
        wanted = body.get("name") if name is None else name
        if not isinstance(wanted, str):
            raise bad_request('expected {"name": PROFILE}, with an empty name for none')
        return JSONResponse(await controller.editing.use(wanted, dry_run=dry_run))

    async def plan(request: Request) -> Response:
        return JSONResponse(await controller.editing.plan(_files(await object_of(request))))

    return [
        ("PATCH", "/api/v1/servers/{name}", patch),
        ("POST", "/api/v1/apply", apply),
        ("POST", "/api/v1/profiles/use", use),
        ("POST", "/api/v1/profiles/{name}/use", use),
        ("POST", "/api/v1/plan", plan),
    ]


def _with_tag(answer: Answer) -> Response:
    """With the tag of what the file then holds, for the next edit's `If-Match`."""
    digest = answer.pop("digest")
    return JSONResponse(answer, headers={"ETag": f'"{digest}"'} if digest else None)


def _allowed(headers: Headers) -> Allowed:
    """What `If-Match` and `If-None-Match` ask of the file that is there (RFC 9110)."""
    matching, other = headers.get("if-match"), headers.get("if-none-match")

    def is_allowed(digest: str | None) -> bool:
        tag = f'"{digest}"'
        if matching is not None and (digest is None or not ({tag, "*"} & _tags(matching))):
            return False
        return other is None or digest is None or not ({tag, "*"} & _tags(other))

    return is_allowed


def _tags(header: str) -> set[str]:
    return {tag.strip() for tag in header.split(",")}


def _changes(body: dict[str, Any]) -> list[Change]:
    """The fields that a PATCH names. Raises ProblemError, EditError."""
    values, removed = body.get("set", {}), body.get("unset", [])
    is_list = isinstance(removed, list) and all(isinstance(one, str) for one in removed)
    if not (isinstance(values, dict) and is_list) or set(body) - {"set", "unset"} or not (values or removed):
        raise bad_request('expected {"set": {"spec.ctx": 8192}, "unset": ["spec.flags.mlock"]}, or one of them')
    if any(name.count(".") > DEEPEST for name in (*values, *removed)) or _is_vast([values, removed]):
        raise bad_request(f"more than {MOST_VALUES} values at once, or nested deeper than {DEEPEST} levels")
    # A flag that goes may stand there as it was typed, or be the field that it is written as.
    going = [path for one in removed for path in dict.fromkeys((path_of(one), meant(path_of(one))))]
    return [(meant(path_of(one)), value) for one, value in values.items()] + [(path, REMOVED) for path in going]


def _is_vast(value: Any) -> bool:
    """Whether it is more than a manifest takes, and than is edited in a moment."""
    level, count = [value], 0
    for _ in range(DEEPEST):
        below = [one for each in level if isinstance(each, list | dict) for one in _within(each)]
        count += len(below)
        if not below or count > MOST_VALUES:
            return count > MOST_VALUES
        level = below
    return True


def _within(value: list[Any] | dict[str, Any]) -> Iterable[Any]:
    return value.values() if isinstance(value, dict) else value


async def _documents(request: Request) -> str:
    """The documents of a request: as YAML, or each as a text in a JSON list. Raises ProblemError."""
    if "json" not in request.headers.get("content-type", ""):
        return await text_of(request)
    body = await object_of(request)
    only(body, "apply", "documents")
    documents = body.get("documents", [])
    if isinstance(documents, list) and all(
        isinstance(one, dict) and isinstance(one.get("text"), str) for one in documents
    ):
        return "---\n".join(one["text"].rstrip("\n") + "\n" for one in documents)
    raise bad_request('expected YAML, or {"documents": [{"text": YAML}]}')


def _files(body: dict[str, Any]) -> dict[str, str | None]:
    only(body, "plan", "files")
    files = body.get("files", [])
    if isinstance(files, list) and len(files) > MOST_FILES:
        raise bad_request(f"{len(files)} files; there may be {MOST_FILES} at once")
    if isinstance(files, list) and all(isinstance(one, dict) and isinstance(one.get("path"), str) for one in files):
        texts = {one["path"]: one.get("text") for one in files}
        if all(text is None or isinstance(text, str) for text in texts.values()):
            return texts
    raise bad_request('expected {"files": [{"path": "coder.yaml", "text": YAML}]}, with null for a file that goes')
