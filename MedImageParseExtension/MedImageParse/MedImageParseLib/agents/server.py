"""The tools as an MCP server over standard input and output, with the official package `mcp`."""

from __future__ import annotations

import inspect
import json
import threading
import typing
from collections.abc import Callable
from typing import Any

from .. import __version__
from ..errors import MedImageParseError
from ..progress import Cancellation
from ..redaction import redactor, visible
from .tools import TOOLS, WRITING, Tools

_LOOK_EVERY_S = 0.2  # seconds between two looks at how far the work is
_GIVEN_BY_US = ("progress", "cancellation")
INSTRUCTIONS = (
    "Segments medical images by text prompts, searches an index of images, and measures segmentations. "
    "Only files inside the folders that were named at the start can be used. Results are for research, not for diagnosis."
)


class _Told:
    """The last that the work told of its progress. Safe from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._count, self._message = 0, ""

    def progress(self, stage: str, done: float, total: float) -> None:
        with self._lock:
            self._count += 1
            self._message = f"{stage} {done:g} of {total:g}" if total else stage

    def now(self) -> tuple[int, str]:
        with self._lock:
            return self._count, self._message


def serve(tools: Tools) -> None:
    """Answer a client on standard input and output until it closes them."""
    build_server(tools).run("stdio")


def build_server(tools: Tools) -> Any:
    """An `mcp.server.mcpserver.MCPServer` with the tools."""
    from mcp.server.mcpserver import MCPServer
    from mcp.types import ToolAnnotations

    server = MCPServer("medimageparse", instructions=INSTRUCTIONS, version=__version__, log_level="ERROR")
    for name in TOOLS:
        hints = ToolAnnotations(read_only_hint=name not in WRITING, destructive_hint=name in WRITING, open_world_hint=name != "targets")
        server.add_tool(
            _asked_by_client(getattr(tools, name)), name=name, description=inspect.getdoc(getattr(Tools, name)), annotations=hints
        )
    return server


def _asked_by_client(tool: Callable[..., dict[str, Any]]) -> Callable[..., Any]:
    """A tool as the package takes it: asynchronous, with the client's context, whose answer is JSON or one sentence."""
    from mcp.server.mcpserver import Context
    from mcp.types import CallToolResult

    async def call(context: Any, **given: Any) -> Any:
        try:
            answer = await _in_thread(tool, context, given)
        except MedImageParseError as error:
            return _text(f"error: {error}", is_error=True)
        except Exception as error:  # a fault of ours: still one sentence
            return _text(f"error: The program itself failed ({type(error).__name__}): please report what you asked for.", is_error=True)
        return _text(json.dumps(answer, ensure_ascii=False, default=str))

    kinds = typing.get_type_hints(tool)
    own = [each.replace(annotation=kinds[name]) for name, each in inspect.signature(tool).parameters.items() if name not in _GIVEN_BY_US]
    first = inspect.Parameter("context", inspect.Parameter.KEYWORD_ONLY, annotation=Context)
    shown = [each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in own]
    told: Any = call  # what a function says of itself, which the package reads
    told.__signature__ = inspect.Signature([first, *shown], return_annotation=CallToolResult)
    told.__annotations__ = {"context": Context, **{each.name: each.annotation for each in own}, "return": CallToolResult}
    return call


async def _in_thread(tool: Callable[..., dict[str, Any]], context: Any, given: dict[str, Any]) -> dict[str, Any]:
    """The answer of a tool that works in a thread; the client is told of its progress and can cancel it."""
    import anyio
    import anyio.to_thread

    told, cancellation = _Told(), Cancellation()
    answer: dict[str, Any] = {}
    failure: list[Exception] = []

    def work() -> None:
        try:
            answer.update(tool(told.progress, cancellation, **given))
        except Exception as error:  # told to the client below
            failure.append(error)

    async def tell() -> None:
        last = 0
        while True:
            await anyio.sleep(_LOOK_EVERY_S)
            count, message = told.now()
            if count > last:
                last = count
                await context.report_progress(count, message=message)

    await context.report_progress(0, message="started")
    try:
        async with anyio.create_task_group() as group:
            group.start_soon(tell)
            await anyio.to_thread.run_sync(work, abandon_on_cancel=True)
            group.cancel_scope.cancel()
    finally:
        cancellation.cancel()
    if failure:
        raise failure[0]
    await context.report_progress(told.now()[0] + 1, message="done")
    return answer


def _text(text: str, *, is_error: bool = False) -> Any:
    from mcp.types import CallToolResult, TextContent

    return CallToolResult(content=[TextContent(type="text", text=visible(redactor.clean(text)))], is_error=is_error)
