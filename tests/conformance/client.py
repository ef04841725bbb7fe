"""Does everything that a client on the official Python SDK, 1.x or 2.x, can do with the reference server.

Prints one line of JSON a check: its name, whether it held (null where the SDK has no such thing), and what was wrong.
Each check has a session of its own.
"""

import argparse
import asyncio
import contextlib
import importlib.metadata
import json
import logging
import warnings

import anyio
import mcp.types as types
from mcp import ClientSession
from mcp.client.sse import sse_client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared._httpx_utils import create_mcp_http_client
from mcp.shared.message import ClientMessageMetadata

VERSION = importlib.metadata.version("mcp")
IS_FIRST = VERSION.startswith("1.")
CALM = 15
PATIENCE = 90
checks = []
where = None


class Absent(Exception):
    """The SDK, or the transport, has no such thing."""


def check(name, patience=CALM):
    def register(run):
        checks.append((name, patience, run))
        return run

    return register


def same(found, wanted):
    if found != wanted:
        raise AssertionError(f"found {json.dumps(found, default=str)[:300]}, not {json.dumps(wanted, default=str)[:300]}")


def plain(model):
    """What came over the wire, whatever the SDK calls it."""
    return model.model_dump(by_alias=True, mode="json", exclude_none=True)


class Place:
    """Where the server is, and how its tools and prompts are called there."""

    def __init__(self, url, transport, prefix):
        self.url, self.transport, self.prefix = url, transport, prefix

    def called(self, name):
        return self.prefix + name


class Heard:
    """What the server said and asked, and how it is answered."""

    def __init__(self):
        self.logs, self.notifications, self.asked, self.progress = [], [], [], []
        self.decline = False

    async def log(self, params):
        self.logs.append(params.data)

    async def message(self, message):
        if not isinstance(message, Exception) and hasattr(message, "model_dump"):
            self.notifications.append(plain(message))

    async def progressed(self, progress, total, message):
        self.progress.append((progress, total, message))

    async def sample(self, context, params):
        self.asked.append(plain(params))
        words = types.TextContent(type="text", text="the model's words")
        return types.CreateMessageResult(role="assistant", content=words, model="none")

    async def elicit(self, context, params):
        asked = plain(params)
        self.asked.append(asked)
        if self.decline:
            return types.ElicitResult(action="decline")
        if asked.get("mode") == "url":
            return types.ElicitResult(action="accept")
        answers = {name: of.get("default", "me") for name, of in asked["requestedSchema"]["properties"].items()}
        return types.ElicitResult(action="accept", content=answers)

    async def roots(self, context):
        return types.ListRootsResult(roots=[types.Root(uri="file:///home/me")])

    def methods(self):
        return [said.get("method") for said in self.notifications]

    async def until(self, is_heard, again=None):
        """Waits, and has it said again: a listening stream opens in its own time."""
        while not is_heard():
            if again is not None:
                await again()
            with anyio.move_on_after(0.5):
                while not is_heard():
                    await anyio.sleep(0.01)


@contextlib.asynccontextmanager
async def streams():
    if where.transport == "sse":
        async with sse_client(where.url) as both:
            yield both
    elif IS_FIRST:
        async with streamable_http_client(where.url) as three:
            yield three[:2]
    else:
        async with streamable_http_client(where.url, max_sse_event_size=None) as both:
            yield both


@contextlib.asynccontextmanager
async def connected(heard=None, silent=False):
    """A session; a silent client declares nothing that it could be asked."""
    heard = heard or Heard()
    answers = {} if silent else {
        "sampling_callback": heard.sample,
        "elicitation_callback": heard.elicit,
        "list_roots_callback": heard.roots,
    }
    answers |= {"logging_callback": heard.log, "message_handler": heard.message}
    if IS_FIRST:
        async with streams() as (read, write), ClientSession(read, write, **answers) as session:
            session.hello = await session.initialize()
            yield session
    else:
        from mcp import Client

        async with Client(streams(), **answers) as client:
            client.session.hello = client.session.initialize_result
            yield client.session


async def call(session, name, arguments=None, heard=None):
    progress = heard.progressed if heard else None
    return plain(await session.call_tool(where.called(name), arguments or {}, progress_callback=progress))


async def told(session, name, arguments=None, heard=None):
    """The text that a tool returns."""
    result = await call(session, name, arguments, heard)
    same(result.get("isError", False), False)
    return result["content"][0]["text"]


async def fails(request, code=None):
    """What an error says."""
    try:
        await request
    except Exception as error:
        if not hasattr(error, "error"):
            raise
        if code is not None:
            same(error.error.code, code)
        return error.error
    raise AssertionError("it was answered, and should have failed")


def uri(text):
    from pydantic import AnyUrl

    return AnyUrl(text) if IS_FIRST else text


# === Beginning and end ===


@check("initialize")
async def _():
    async with connected() as session:
        hello = plain(session.hello)
        same(hello["protocolVersion"], "2025-11-25")
        for capability in ("completions", "logging", "prompts", "resources", "tools"):
            same(capability in hello["capabilities"], True)
        same(hello["capabilities"]["resources"].get("subscribe"), True)
        if not where.prefix:
            same(hello["serverInfo"], {"name": "reference", "version": "1.0.0"})
            same(hello["instructions"], "Something of everything.")


@check("ping")
async def _():
    async with connected() as session:
        await session.send_ping()


@check("an unknown session is answered with 404")
async def _():
    if where.transport == "sse":
        raise Absent("there is no session id in HTTP+SSE")
    headers = {"accept": "application/json, text/event-stream", "mcp-session-id": "0" * 32}
    async with create_mcp_http_client(headers=headers) as http:
        answer = await http.post(where.url, json={"jsonrpc": "2.0", "id": 1, "method": "ping"})
        same(answer.status_code, 404)


# === Tools ===


@check("tools: list")
async def _():
    async with connected() as session:
        tools = {tool["name"]: tool for tool in plain(await session.list_tools())["tools"]}
        for name in ("test_simple_text", "test_sampling", "test_big"):
            same(where.called(name) in tools, True)
        schema = tools[where.called("json_schema_2020_12_tool")]["inputSchema"]
        same(schema["$schema"], "https://json-schema.org/draft/2020-12/schema")
        same(schema["$defs"]["address"]["properties"]["city"], {"type": "string"})
        same(schema["additionalProperties"], False)


@check("tools: text")
async def _():
    async with connected() as session:
        same(await told(session, "test_simple_text"), "This is a simple text response for testing.")


@check("tools: image, sound, resource, mixed")
async def _():
    async with connected() as session:
        for name, wanted in {
            "test_image_content": ["image"],
            "test_audio_content": ["audio"],
            "test_embedded_resource": ["resource"],
            "test_multiple_content_types": ["text", "image", "resource"],
        }.items():
            same([content["type"] for content in (await call(session, name))["content"]], wanted)


@check("tools: structured content")
async def _():
    async with connected() as session:
        nested = {"list": [1, 2.5, None, True, {"deep": [[]]}], "text": "añ\u2028\u0000 \U0001f6a2 \"quoted\" \\ \n"}
        same((await call(session, "test_echo", nested))["structuredContent"], nested)


@check("tools: big integers")
async def _():
    async with connected() as session:
        numbers = {"big": 2**70 + 1, "negative": -(2**63), "edge": 2**53 + 1}
        same((await call(session, "test_echo", numbers))["structuredContent"], numbers)


@check("tools: an error of the tool")
async def _():
    async with connected() as session:
        result = await call(session, "test_error_handling")
        same(result["isError"], True)
        same("intentionally" in result["content"][0]["text"], True)


@check("tools: progress")
async def _():
    heard = Heard()
    async with connected(heard) as session:
        await told(session, "test_tool_with_progress", heard=heard)
        same(heard.progress, [(step, 100, f"{step:.0f} of 100") for step in (0, 50, 100)])


@check("tools: logging")
async def _():
    heard = Heard()
    async with connected(heard) as session:
        await told(session, "test_tool_with_logging")
        same(heard.logs, ["Tool execution started", "Tool processing data", "Tool execution completed"])


@check("tools: thirty calls at once, each with its own answer and progress")
async def _():
    async with connected() as session:
        async def one(number):
            heard = Heard()
            same((await call(session, "test_echo", {"n": number}))["structuredContent"], {"n": number})
            await told(session, "test_tool_with_progress", heard=heard)
            same(len(heard.progress), 3)

        async with anyio.create_task_group() as group:
            for number in range(30):
                group.start_soon(one, number)


@check("tools: a result of 1 MB", PATIENCE)
async def _():
    async with connected() as session:
        same(len(await told(session, "test_big", {"size": 1_000_000})), 1_000_000)


def refuse_if_bounded():
    if where.transport == "sse" and not IS_FIRST:
        raise Absent("the SDK takes no event of more than 1 MiB over HTTP+SSE")


@check("tools: a result of 16 MB", PATIENCE)
async def _():
    refuse_if_bounded()
    async with connected() as session:
        same(len(await told(session, "test_big", {"size": 16_000_000})), 16_000_000)


@check("tools: an argument of 1 MB", PATIENCE)
async def _():
    refuse_if_bounded()
    async with connected() as session:
        big = {"big": "y" * 1_000_000}
        same((await call(session, "test_echo", big))["structuredContent"], big)


@check("tools: cancellation reaches the tool")
async def _():
    async with connected() as session:
        name = f"{VERSION} {where.url} {id(session)}"

        async def wait():
            # The server may answer a call that was cancelled, or not.
            with contextlib.suppress(Exception):
                await call(session, "test_wait", {"name": name})

        async with anyio.create_task_group() as group:
            group.start_soon(wait)
            await anyio.sleep(0.3)
            if IS_FIRST:
                # 2.x says so by itself when the caller gives up.
                params = types.CancelledNotificationParams(requestId=session._request_id - 1, reason="enough")
                await session.send_notification(types.ClientNotification(types.CancelledNotification(params=params)))
            group.cancel_scope.cancel()
        while await told(session, "test_cancelled", {"name": name}) != "1":
            await anyio.sleep(0.05)


# === What the server asks ===


@check("sampling")
async def _():
    heard = Heard()
    async with connected(heard) as session:
        same(await told(session, "test_sampling", {"prompt": "Well?"}), "LLM response: the model's words")
        same(heard.asked[0]["messages"][0]["content"]["text"], "Well?")
        same(heard.asked[0]["maxTokens"], 100)


@check("sampling: a client that has no model")
async def _():
    async with connected(silent=True) as session:
        same((await call(session, "test_sampling", {"prompt": "Well?"}))["isError"], True)


@check("elicitation: a form, accepted and declined")
async def _():
    heard = Heard()
    async with connected(heard) as session:
        answer = await told(session, "test_elicitation", {"message": "Who?"})
        same(answer, 'User response: action=accept, content={"username": "me", "email": "me"}')
        same(heard.asked[0]["message"], "Who?")
        heard.decline = True
        same(await told(session, "test_elicitation", {"message": "Who?"}), "User response: action=decline, content=null")


@check("elicitation: defaults and enums")
async def _():
    heard = Heard()
    async with connected(heard) as session:
        answer = await told(session, "test_elicitation_sep1034_defaults")
        same('"score": 95.5' in answer and '"verified": true' in answer, True)
        await told(session, "test_elicitation_sep1330_enums")
        asked = heard.asked[1]["requestedSchema"]["properties"]
        same(asked["legacyEnum"]["enumNames"], ["Option One", "Option Two", "Option Three"])
        same(asked["titledMulti"]["items"]["anyOf"][0], {"const": "value1", "title": "First Option"})


@check("elicitation: a URL, and the word that it is done")
async def _():
    heard = Heard()
    async with connected(heard) as session:
        same(await told(session, "test_elicitation_url"), "action=accept")
        same(heard.asked[0]["url"], "https://example.com/consent")
        await heard.until(lambda: "notifications/elicitation/complete" in heard.methods())


@check("roots, asked on the call's stream")
async def _():
    async with connected() as session:
        same(json.loads(await told(session, "test_roots")), ["file:///home/me"])


@check("roots, asked on the listening stream")
async def _():
    async with connected() as session:
        await anyio.sleep(0.5)
        same(json.loads(await told(session, "test_roots_unrelated")), ["file:///home/me"])


# === Prompts, resources, completion ===


@check("prompts: list and get")
async def _():
    async with connected() as session:
        prompts = {prompt["name"]: prompt for prompt in plain(await session.list_prompts())["prompts"]}
        arguments = prompts[where.called("test_prompt_with_arguments")]["arguments"]
        same([argument["name"] for argument in arguments], ["arg1", "arg2"])

        async def get(name, **arguments):
            messages = plain(await session.get_prompt(where.called(name), arguments))["messages"]
            return [message["content"] for message in messages]

        same((await get("test_simple_prompt"))[0]["text"], "This is a simple prompt for testing.")
        filled = await get("test_prompt_with_arguments", arg1="hello", arg2="wörld")
        same(filled[0]["text"], "Prompt with arguments: arg1='hello', arg2='wörld'")
        embedded = await get("test_prompt_with_embedded_resource", resourceUri="test://static-text")
        same(embedded[0]["resource"]["uri"], "test://static-text")
        same((await get("test_prompt_with_image"))[0]["type"], "image")


@check("prompts: an unknown one")
async def _():
    async with connected() as session:
        await fails(session.get_prompt(where.called("test_no_prompt")), -32602)


@check("resources: list, page by page")
async def _():
    async with connected() as session:
        uris, cursor = [], None
        while True:
            page = plain(await session.list_resources(params=types.PaginatedRequestParams(cursor=cursor)))
            uris += [resource["uri"] for resource in page["resources"]]
            cursor = page.get("nextCursor")
            if cursor is None:
                break
        pages = [f"test://page-{number}" for number in range(1, 11)]
        same(uris, ["test://static-text", "test://static-binary", "test://watched-resource", *pages])


@check("resources: read")
async def _():
    async with connected() as session:
        async def read(text):
            return plain(await session.read_resource(uri(text)))["contents"][0]

        same((await read("test://static-text"))["text"], "This is the content of the static text resource.")
        same((await read("test://static-binary"))["mimeType"], "image/png")
        same(json.loads((await read("test://template/123/data"))["text"])["id"], "123")


@check("resources: an unknown one")
async def _():
    async with connected() as session:
        error = await fails(session.read_resource(uri("test://nowhere")), -32002)
        # Among all upstreams it is Wharf that finds it nowhere, and that says so.
        own = {"gateway": "wharf", "mayHaveRun": False, "reason": "bad_request"} if where.prefix else {}
        same(error.data, {"uri": "test://nowhere", **own})


@check("resources: templates")
async def _():
    async with connected() as session:
        templates = plain(await session.list_resource_templates())["resourceTemplates"]
        same([template["uriTemplate"] for template in templates], ["test://template/{id}/data"])


@check("resources: subscribe, updated, unsubscribe")
async def _():
    heard = Heard()
    async with connected(heard) as session:
        def updates():
            return heard.methods().count("notifications/resources/updated")

        async def touch():
            await told(session, "test_touch", {"uri": "test://watched-resource"})

        await session.subscribe_resource(uri("test://watched-resource"))
        await heard.until(updates, touch)
        same(heard.notifications[-1]["params"]["uri"], "test://watched-resource")
        await session.unsubscribe_resource(uri("test://watched-resource"))
        await anyio.sleep(0.2)
        before = updates()
        await touch()
        await anyio.sleep(0.3)
        same(updates(), before)


@check("lists: changed")
async def _():
    heard = Heard()
    async with connected(heard) as session:
        wanted = {f"notifications/{what}/list_changed" for what in ("tools", "prompts", "resources")}
        await heard.until(lambda: wanted <= set(heard.methods()), lambda: told(session, "test_lists_changed"))


@check("completion: of a prompt and of a template")
async def _():
    async with connected() as session:
        prompt = types.PromptReference(type="ref/prompt", name=where.called("test_prompt_with_arguments"))
        done = plain(await session.complete(prompt, {"name": "arg1", "value": "par"}))["completion"]
        same(done, {"values": ["paris", "park", "party"], "total": 3, "hasMore": False})
        template = types.ResourceTemplateReference(type="ref/resource", uri="test://template/{id}/data")
        done = plain(await session.complete(template, {"name": "id", "value": "part"}))["completion"]
        same(done["values"], ["party"])


@check("logging: a level")
async def _():
    heard = Heard()
    async with connected(heard) as session:
        await session.set_logging_level("error")
        await told(session, "test_tool_with_logging")
        same(heard.logs, [])
        await session.set_logging_level("debug")
        await told(session, "test_tool_with_logging")
        same(len(heard.logs), 3)


# === Streams that break off ===


def request(name):
    asked = types.CallToolRequest(method="tools/call", params=types.CallToolRequestParams(name=where.called(name), arguments={}))
    return types.ClientRequest(asked) if IS_FIRST else asked


@check("resuming: the server closes the stream of a call")
async def _():
    heard = Heard()
    async with connected(heard) as session:
        same(await told(session, "test_reconnection"), "Reconnection test completed successfully")
        same(heard.logs[-1], "Said while the stream was closed")


@check("resuming: what was said before, from the id of an event")
async def _():
    if where.transport == "sse":
        raise Absent("there are no event ids in HTTP+SSE")
    heard, tokens = Heard(), []

    async def keep(token):
        tokens.append(token)

    async with connected(heard) as session:
        metadata = ClientMessageMetadata(on_resumption_token_update=keep)
        await session.send_request(request("test_tool_with_logging"), types.CallToolResult, metadata=metadata)
        same(len(heard.logs), 3)
        same(bool(tokens), True)
        again = ClientMessageMetadata(resumption_token=tokens[0])
        await session.send_request(request("test_tool_with_logging"), types.CallToolResult, metadata=again)
        same(heard.logs[3:], heard.logs[:3][-(len(heard.logs) - 3):])


async def judge(patience, run):
    try:
        with anyio.fail_after(patience):
            await run()
    except Absent as absent:
        return None, str(absent)
    except BaseExceptionGroup as group:
        causes = [group]
        while isinstance(causes[0], BaseExceptionGroup):
            causes = causes[0].exceptions
        return False, f"{type(causes[0]).__name__}: {causes[0]}"
    except Exception as error:
        return False, f"{type(error).__name__}: {error}"
    return True, ""


async def main():
    global where
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--list", action="store_true", help="print the names of the checks and do nothing")
    parser.add_argument("--url")
    parser.add_argument("--transport", choices=["streamable-http", "sse"], default="streamable-http")
    parser.add_argument("--prefix", default="", help="what stands before the names of tools and prompts")
    parser.add_argument("--filter", default="", help="run the checks whose name has this in it")
    arguments = parser.parse_args()
    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore")
    where = Place(arguments.url, arguments.transport, arguments.prefix)
    for name, patience, run in checks:
        if arguments.filter in name:
            if arguments.list:
                held, detail = None, ""
            else:
                held, detail = await judge(patience, run)
            print(json.dumps({"check": name, "ok": held, "detail": detail[:400]}), flush=True)


asyncio.run(main())
