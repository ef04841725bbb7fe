"""An MCP server on the official Python SDK, with everything that the conformance suite and the SDK clients call.

It speaks streamable HTTP at /mcp and HTTP+SSE at /sse, on 127.0.0.1. Once it listens it prints one line of JSON with its
URLs. It ends when its standard input does, so that it does not outlive whoever started it.
"""

import argparse
import asyncio
import base64
import contextlib
import json
import sys
import threading
from collections import defaultdict
from weakref import WeakKeyDictionary

import anyio
import mcp.types as types
import uvicorn
from mcp.server.lowlevel import NotificationOptions, Server
from mcp.server.lowlevel.helper_types import ReadResourceContents
from mcp.server.sse import SseServerTransport
from mcp.server.streamable_http import EventMessage, EventStore
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from mcp.server.transport_security import TransportSecuritySettings
from mcp.shared.exceptions import McpError
from mcp.shared.message import ServerMessageMetadata
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Mount, Route

PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8DwHwAFBQIAX8jx0gAAAABJRU5ErkJggg=="
WAV = base64.b64encode(b"RIFF$\0\0\0WAVEfmt \x10\0\0\0\1\0\1\0@\x1f\0\0\x80>\0\0\2\0\x10\0data\0\0\0\0").decode()
LEVELS = ["debug", "info", "notice", "warning", "error", "critical", "alert", "emergency"]
PAUSE = 0.05

server = Server("reference", version="1.0.0", instructions="Something of everything.")
subscribed = WeakKeyDictionary()
level_of = WeakKeyDictionary()
cancelled = defaultdict(int)
tools = {}


# === Tools ===


def schema(required=(), **properties):
    return {"type": "object", "properties": properties, "required": list(required)}


def tool(description, inputs=None, output=None):
    """Registers a coroutine over the request's context and arguments under its own name."""

    def register(run):
        listed = types.Tool(name=run.__name__, description=description, inputSchema=inputs or schema(), outputSchema=output)
        tools[run.__name__] = (listed, run)
        return run

    return register


def text(words):
    return types.TextContent(type="text", text=words)


def image():
    return types.ImageContent(type="image", data=PNG, mimeType="image/png")


def embedded(uri, words, mime="text/plain"):
    return types.EmbeddedResource(
        type="resource", resource=types.TextResourceContents(uri=uri, text=words, mimeType=mime)
    )


async def log(ctx, words, level="info"):
    """Sends a log line, unless the client asked for graver ones only."""
    if LEVELS.index(level) >= LEVELS.index(level_of.get(ctx.session, "debug")):
        await ctx.session.send_log_message(level, words, logger="reference", related_request_id=ctx.request_id)


async def ask_form(ctx, message, requested):
    answer = await ctx.session.elicit_form(message, requested, related_request_id=ctx.request_id)
    return f"action={answer.action}, content={json.dumps(answer.content)}"


@tool("Returns simple text")
async def test_simple_text(ctx, arguments):
    return [text("This is a simple text response for testing.")]


@tool("Returns an image")
async def test_image_content(ctx, arguments):
    return [image()]


@tool("Returns a sound")
async def test_audio_content(ctx, arguments):
    return [types.AudioContent(type="audio", data=WAV, mimeType="audio/wav")]


@tool("Returns a resource")
async def test_embedded_resource(ctx, arguments):
    return [embedded("test://embedded-resource", "This is an embedded resource content.")]


@tool("Returns text, an image and a resource")
async def test_multiple_content_types(ctx, arguments):
    document = embedded("test://mixed-content-resource", '{"test":"data","value":123}', "application/json")
    return [text("Multiple content types test:"), image(), document]


@tool("Logs three lines")
async def test_tool_with_logging(ctx, arguments):
    for words in ("Tool execution started", "Tool processing data", "Tool execution completed"):
        await log(ctx, words)
        await anyio.sleep(PAUSE)
    return [text("Logged three lines.")]


@tool("Fails")
async def test_error_handling(ctx, arguments):
    raise ValueError("This tool intentionally returns an error for testing")


@tool("Reports its progress")
async def test_tool_with_progress(ctx, arguments):
    token = ctx.meta.progressToken if ctx.meta else None
    for progress in (0, 50, 100):
        if token is not None:
            await ctx.session.send_progress_notification(
                token, progress, 100, f"{progress} of 100", related_request_id=str(ctx.request_id)
            )
        await anyio.sleep(PAUSE)
    return [text("Progressed.")]


@tool("Asks the client's model", schema(["prompt"], prompt={"type": "string"}))
async def test_sampling(ctx, arguments):
    question = types.SamplingMessage(role="user", content=text(arguments["prompt"]))
    answer = await ctx.session.create_message([question], max_tokens=100, related_request_id=ctx.request_id)
    return [text(f"LLM response: {answer.content.text}")]


@tool("Asks the client's user", schema(["message"], message={"type": "string"}))
async def test_elicitation(ctx, arguments):
    asked = schema(
        ["username", "email"],
        username={"type": "string", "description": "User's response"},
        email={"type": "string", "description": "User's email address"},
    )
    return [text(f"User response: {await ask_form(ctx, arguments['message'], asked)}")]


@tool("Asks the client's user, with defaults")
async def test_elicitation_sep1034_defaults(ctx, arguments):
    asked = schema(
        name={"type": "string", "default": "John Doe"},
        age={"type": "integer", "default": 30},
        score={"type": "number", "default": 95.5},
        status={"type": "string", "enum": ["active", "inactive", "pending"], "default": "active"},
        verified={"type": "boolean", "default": True},
    )
    return [text(f"Elicitation completed: {await ask_form(ctx, 'Check these.', asked)}")]


@tool("Asks the client's user to choose")
async def test_elicitation_sep1330_enums(ctx, arguments):
    options = ["option1", "option2", "option3"]
    titled = [{"const": f"value{n}", "title": f"{word} Option"} for n, word in enumerate(["First", "Second", "Third"], 1)]
    asked = schema(
        untitledSingle={"type": "string", "enum": options},
        titledSingle={"type": "string", "oneOf": titled},
        legacyEnum={
            "type": "string",
            "enum": ["opt1", "opt2", "opt3"],
            "enumNames": ["Option One", "Option Two", "Option Three"],
        },
        untitledMulti={"type": "array", "items": {"type": "string", "enum": options}},
        titledMulti={"type": "array", "items": {"anyOf": titled}},
    )
    return [text(f"Elicitation completed: {await ask_form(ctx, 'Choose.', asked)}")]


@tool("Sends the client's user to a page")
async def test_elicitation_url(ctx, arguments):
    answer = await ctx.session.elicit_url(
        "Look at this page.", "https://example.com/consent", "consent-1", related_request_id=ctx.request_id
    )
    await ctx.session.send_elicit_complete("consent-1", related_request_id=ctx.request_id)
    return [text(f"action={answer.action}")]


@tool("Asks for the client's roots, in relation to the call")
async def test_roots(ctx, arguments):
    answer = await ctx.session.send_request(
        types.ServerRequest(types.ListRootsRequest()),
        types.ListRootsResult,
        metadata=ServerMessageMetadata(related_request_id=ctx.request_id),
    )
    return [text(json.dumps([str(root.uri) for root in answer.roots]))]


@tool("Asks for the client's roots on its listening stream, as the SDK's own method does")
async def test_roots_unrelated(ctx, arguments):
    answer = await ctx.session.list_roots()
    return [text(json.dumps([str(root.uri) for root in answer.roots]))]


@tool("Closes the stream of its own call, and answers when the client has come back for it")
async def test_reconnection(ctx, arguments):
    await log(ctx, "Closing the stream")
    if ctx.close_sse_stream is not None:
        await ctx.close_sse_stream()
    await anyio.sleep(PAUSE)
    await log(ctx, "Said while the stream was closed")
    return [text("Reconnection test completed successfully")]


@tool("Returns its arguments", {"type": "object"}, {"type": "object"})
async def test_echo(ctx, arguments):
    return arguments


@tool("Returns so many letters", schema(["size"], size={"type": "integer"}))
async def test_big(ctx, arguments):
    return [text("x" * arguments["size"])]


@tool("Waits until it is cancelled", schema(["name"], name={"type": "string"}))
async def test_wait(ctx, arguments):
    try:
        await log(ctx, "Waiting")
        await anyio.sleep_forever()
    except anyio.get_cancelled_exc_class():
        cancelled[arguments["name"]] += 1
        raise


@tool("Returns how many waits under a name were cancelled", schema(["name"], name={"type": "string"}))
async def test_cancelled(ctx, arguments):
    return [text(str(cancelled[arguments["name"]]))]


@tool("Says that a resource has changed, where the client subscribes to it", schema(["uri"], uri={"type": "string"}))
async def test_touch(ctx, arguments):
    if arguments["uri"] in subscribed.get(ctx.session, ()):
        await ctx.session.send_resource_updated(arguments["uri"])
    return [text("Touched.")]


@tool("Says that every list has changed")
async def test_lists_changed(ctx, arguments):
    await ctx.session.send_tool_list_changed()
    await ctx.session.send_prompt_list_changed()
    await ctx.session.send_resource_list_changed()
    return [text("Said so.")]


@tool("Has JSON Schema 2020-12 features")
async def json_schema_2020_12_tool(ctx, arguments):
    return [text("Called.")]


tools["json_schema_2020_12_tool"][0].inputSchema = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "$defs": {
        "address": {
            "$anchor": "addressDef",
            "type": "object",
            "properties": {"street": {"type": "string"}, "city": {"type": "string"}},
        }
    },
    "type": "object",
    "properties": {
        "name": {"type": "string"},
        "address": {"$ref": "#/$defs/address"},
        "contactMethod": {"type": "string", "enum": ["phone", "email"]},
        "phone": {"type": "string"},
        "email": {"type": "string"},
    },
    "allOf": [{"anyOf": [{"required": ["phone"]}, {"required": ["email"]}]}],
    "if": {"properties": {"contactMethod": {"const": "phone"}}, "required": ["contactMethod"]},
    "then": {"required": ["phone"]},
    "else": {"required": ["email"]},
    "additionalProperties": False,
}


@server.list_tools()
async def list_tools():
    return [listed for listed, _ in tools.values()]


@server.call_tool(validate_input=False)
async def call_tool(name, arguments):
    if name not in tools:
        raise ValueError(f"Unknown tool: {name}")
    return await tools[name][1](server.request_context, arguments)


# === Resources ===

TEMPLATE = "test://template/{id}/data"
RESOURCES = ["static-text", "static-binary", "watched-resource", *(f"page-{number}" for number in range(1, 11))]
PAGE = 5


@server.list_resources()
async def list_resources(request: types.ListResourcesRequest):
    start = int(request.params.cursor) if request.params and request.params.cursor else 0
    page = [
        types.Resource(uri=f"test://{name}", name=name, description=f"The resource {name}", mimeType="text/plain")
        for name in RESOURCES[start : start + PAGE]
    ]
    more = start + PAGE < len(RESOURCES)
    return types.ListResourcesResult(resources=page, nextCursor=str(start + PAGE) if more else None)


@server.list_resource_templates()
async def list_resource_templates():
    return [types.ResourceTemplate(uriTemplate=TEMPLATE, name="data", description="Data by id", mimeType="application/json")]


@server.read_resource()
async def read_resource(uri):
    name = str(uri).removeprefix("test://")
    if name == "static-binary":
        return [ReadResourceContents(base64.b64decode(PNG), "image/png")]
    if name.startswith("template/"):
        id = name.split("/")[1]
        data = json.dumps({"id": id, "templateTest": True, "data": f"Data for ID: {id}"})
        return [ReadResourceContents(data, "application/json")]
    if name == "static-text":
        return [ReadResourceContents("This is the content of the static text resource.", "text/plain")]
    if name in RESOURCES:
        return [ReadResourceContents(f"This is {name}.", "text/plain")]
    raise McpError(types.ErrorData(code=-32002, message=f"Resource not found: {uri}", data={"uri": str(uri)}))


@server.subscribe_resource()
async def subscribe(uri):
    subscribed.setdefault(server.request_context.session, set()).add(str(uri))


@server.unsubscribe_resource()
async def unsubscribe(uri):
    subscribed.get(server.request_context.session, set()).discard(str(uri))


# === Prompts ===


def said(content):
    return types.PromptMessage(role="user", content=content)


@server.list_prompts()
async def list_prompts():
    def prompt(name, *arguments):
        wanted = [types.PromptArgument(name=one, description=f"The {one}", required=True) for one in arguments]
        return types.Prompt(name=name, description=f"The prompt {name}", arguments=wanted)

    return [
        prompt("test_simple_prompt"),
        prompt("test_prompt_with_arguments", "arg1", "arg2"),
        prompt("test_prompt_with_embedded_resource", "resourceUri"),
        prompt("test_prompt_with_image"),
    ]


@server.get_prompt()
async def get_prompt(name, arguments):
    arguments = arguments or {}
    if name == "test_simple_prompt":
        messages = [text("This is a simple prompt for testing.")]
    elif name == "test_prompt_with_arguments":
        messages = [text("Prompt with arguments: arg1='{arg1}', arg2='{arg2}'".format(**arguments))]
    elif name == "test_prompt_with_embedded_resource":
        document = embedded(arguments["resourceUri"], "Embedded resource content for testing.")
        messages = [document, text("Please process the embedded resource above.")]
    elif name == "test_prompt_with_image":
        messages = [image(), text("Please analyze the image above.")]
    else:
        raise McpError(types.ErrorData(code=types.INVALID_PARAMS, message=f"Unknown prompt: {name}"))
    return types.GetPromptResult(description=f"The prompt {name}", messages=[said(content) for content in messages])


# === The rest ===


@server.completion()
async def complete(ref, argument, context):
    values = [city for city in ("paris", "park", "party") if city.startswith(argument.value)]
    return types.Completion(values=values, total=len(values), hasMore=False)


@server.set_logging_level()
async def set_level(level):
    level_of[server.request_context.session] = level


def options():
    """What the server declares; the SDK has no way to say that subscriptions are served."""
    changes = NotificationOptions(prompts_changed=True, resources_changed=True, tools_changed=True)
    declared = Server.create_initialization_options(server, changes)
    declared.capabilities.resources.subscribe = True
    return declared


server.create_initialization_options = options


class Events(EventStore):
    """Every event of every stream, in the order in which they came."""

    def __init__(self):
        self.events = []

    async def store_event(self, stream_id, message):
        self.events.append((stream_id, message))
        return str(len(self.events))

    async def replay_events_after(self, last_event_id, send_callback):
        last = int(last_event_id)
        if not 0 < last <= len(self.events):
            return None
        stream = self.events[last - 1][0]
        for number, (of, message) in enumerate(self.events[last:], last + 1):
            if of == stream and message is not None:
                await send_callback(EventMessage(message, str(number)))
        return stream


class App:
    """Both transports on one port."""

    def __init__(self, port):
        security = TransportSecuritySettings(
            allowed_hosts=[f"127.0.0.1:{port}", f"localhost:{port}"],
            allowed_origins=[f"http://127.0.0.1:{port}", f"http://localhost:{port}"],
        )
        self.http = StreamableHTTPSessionManager(server, Events(), retry_interval=500, security_settings=security)
        self.sse = SseServerTransport("/messages/", security)
        self.routes = [
            Route("/mcp", endpoint=self),
            Route("/sse", endpoint=self.listen, methods=["GET"]),
            Mount("/messages/", app=self.sse.handle_post_message),
        ]

    async def __call__(self, scope, receive, send):
        await self.http.handle_request(scope, receive, send)

    async def listen(self, request):
        async with self.sse.connect_sse(request.scope, request.receive, request._send) as (read, write):
            await server.run(read, write, options())
        return Response()

    @contextlib.asynccontextmanager
    async def lifespan(self, _):
        async with self.http.run():
            yield


async def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="the port of 127.0.0.1; any free one by default")
    config = uvicorn.Config(Starlette(), host="127.0.0.1", port=parser.parse_args().port, log_level="warning")
    listener = config.bind_socket()
    port = listener.getsockname()[1]
    app = App(port)
    config.app = Starlette(routes=app.routes, lifespan=app.lifespan)
    serving = uvicorn.Server(config)

    loop = asyncio.get_running_loop()

    def stop_with_input():
        sys.stdin.buffer.read()
        loop.call_soon_threadsafe(setattr, serving, "force_exit", True)
        loop.call_soon_threadsafe(setattr, serving, "should_exit", True)

    threading.Thread(target=stop_with_input, daemon=True).start()
    url = f"http://127.0.0.1:{port}"
    print(json.dumps({"streamable-http": f"{url}/mcp", "sse": f"{url}/sse"}), flush=True)
    await serving.serve([listener])


asyncio.run(main())
