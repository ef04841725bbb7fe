// Does everything that a client on the official TypeScript SDK can do with the reference server.
//
// Prints one line of JSON a check: its name, whether it held (null where the SDK has no such thing), and what was wrong.
// Each check has a session of its own. It runs where the SDK is installed: `cargo xtask conformance` copies it there.

import assert from "node:assert/strict";
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";
import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { SSEClientTransport } from "@modelcontextprotocol/sdk/client/sse.js";
import { StreamableHTTPClientTransport } from "@modelcontextprotocol/sdk/client/streamableHttp.js";
import * as types from "@modelcontextprotocol/sdk/types.js";

const options = parseArgs({
  options: {
    list: { type: "boolean", default: false },
    url: { type: "string" },
    transport: { type: "string", default: "streamable-http" },
    prefix: { type: "string", default: "" },
    filter: { type: "string", default: "" },
  },
}).values;
const isSse = options.transport === "sse";
const called = (name) => options.prefix + name;
const CALM = 15_000;
const PATIENCE = 90_000;
const LEVEL = types.LoggingMessageNotificationSchema;

const checks = [];
const check = (name, run, patience = CALM) => checks.push({ name, run, patience });

// The SDK, or the transport, has no such thing.
class Absent extends Error {}

const open = new Set();

function transport(settings) {
  const url = new URL(options.url);
  return isSse ? new SSEClientTransport(url) : new StreamableHTTPClientTransport(url, settings);
}

// A client that notes what it hears and is asked, and answers.
class Guest extends Client {
  logs = [];
  methods = [];
  asked = [];
  updated = [];
  declines = false;

  constructor(capabilities = { sampling: {}, elicitation: { form: {}, url: {} }, roots: { listChanged: true } }) {
    super({ name: "conformance", version: "1.0.0" }, { capabilities });
    this.setNotificationHandler(LEVEL, ({ params }) => void this.logs.push(params.data));
    this.setNotificationHandler(types.ResourceUpdatedNotificationSchema, ({ params }) => void this.updated.push(params.uri));
    this.fallbackNotificationHandler = async ({ method }) => void this.methods.push(method);
    if (capabilities.sampling) {
      this.setRequestHandler(types.CreateMessageRequestSchema, ({ params }) => this.sample(params));
    }
    if (capabilities.elicitation) {
      this.setRequestHandler(types.ElicitRequestSchema, ({ params }) => this.elicit(params));
    }
    if (capabilities.roots) {
      this.setRequestHandler(types.ListRootsRequestSchema, () => ({ roots: [{ uri: "file:///home/me" }] }));
    }
  }

  sample(params) {
    this.asked.push(params);
    return { role: "assistant", content: { type: "text", text: "the model's words" }, model: "none" };
  }

  elicit(params) {
    this.asked.push(params);
    if (this.declines) return { action: "decline" };
    if (params.mode === "url") return { action: "accept" };
    const answers = Object.entries(params.requestedSchema.properties).map(([name, of]) => {
      const one = of.default ?? of.enum?.[0] ?? of.oneOf?.[0].const ?? (of.type === "array" ? [] : "me@example.com");
      return [name, one];
    });
    return { action: "accept", content: Object.fromEntries(answers) };
  }

  tool(name, args = {}, how = {}) {
    return this.callTool({ name: called(name), arguments: args }, undefined, { timeout: PATIENCE, ...how });
  }

  // The text that a tool returns.
  async told(name, args, how) {
    const result = await this.tool(name, args, how);
    assert.ok(!result.isError, JSON.stringify(result).slice(0, 300));
    return result.content[0].text;
  }
}

async function connected(run, client = new Guest()) {
  const link = transport();
  open.add(client);
  await client.connect(link);
  try {
    await run(client, link);
  } finally {
    if (!isSse) await link.terminateSession();
    await client.close();
    open.delete(client);
  }
}

// Waits, and has it said again: a listening stream opens in its own time.
async function until(isHeard, again = async () => {}) {
  const end = Date.now() + CALM - 1000;
  while (!isHeard()) {
    assert.ok(Date.now() < end, "it was not heard");
    await again();
    for (let tries = 0; tries < 50 && !isHeard(); tries += 1) await sleep(10);
  }
}

async function fails(request, code) {
  const error = await request.then(() => assert.fail("it was answered, and should have failed"), (error) => error);
  assert.equal(error.code, code, error.message);
  return error;
}

// === Beginning and end ===

check("initialize", () =>
  connected(async (client) => {
    const capabilities = client.getServerCapabilities();
    for (const one of ["completions", "logging", "prompts", "resources", "tools"]) assert.ok(one in capabilities, one);
    assert.equal(capabilities.resources.subscribe, true);
    if (!options.prefix) {
      assert.deepEqual(client.getServerVersion(), { name: "reference", version: "1.0.0" });
      assert.equal(client.getInstructions(), "Something of everything.");
    }
  }));

check("ping", () => connected((client) => client.ping()));

check("an unknown session is answered with 404", async () => {
  if (isSse) throw new Absent("there is no session id in HTTP+SSE");
  const link = transport({ sessionId: "0".repeat(32) });
  await link.start();
  const error = await link.send({ jsonrpc: "2.0", id: 1, method: "ping" }).then(() => assert.fail("it was answered"), (error) => error);
  assert.equal(error.code, 404, error.message);
  await link.close();
});

check("a session that was ended is answered with 404", async () => {
  if (isSse) throw new Absent("there is no session id in HTTP+SSE");
  const client = new Guest();
  const link = transport();
  await client.connect(link);
  const sessionId = link.sessionId;
  await link.terminateSession();
  await client.close();
  const again = transport({ sessionId });
  await again.start();
  const error = await again.send({ jsonrpc: "2.0", id: 1, method: "ping" }).then(() => assert.fail("it was answered"), (error) => error);
  assert.equal(error.code, 404, error.message);
  await again.close();
});

// === Tools ===

check("tools: list", () =>
  connected(async (client) => {
    const tools = new Map((await client.listTools()).tools.map((tool) => [tool.name, tool]));
    for (const name of ["test_simple_text", "test_sampling", "test_big"]) assert.ok(tools.has(called(name)), name);
    const schema = tools.get(called("json_schema_2020_12_tool")).inputSchema;
    assert.equal(schema.$schema, "https://json-schema.org/draft/2020-12/schema");
    assert.deepEqual(schema.$defs.address.properties.city, { type: "string" });
    assert.equal(schema.additionalProperties, false);
  }));

check("tools: text", () =>
  connected(async (client) => {
    assert.equal(await client.told("test_simple_text"), "This is a simple text response for testing.");
  }));

check("tools: image, sound, resource, mixed", () =>
  connected(async (client) => {
    for (const [name, wanted] of Object.entries({
      test_image_content: ["image"],
      test_audio_content: ["audio"],
      test_embedded_resource: ["resource"],
      test_multiple_content_types: ["text", "image", "resource"],
    })) {
      assert.deepEqual((await client.tool(name)).content.map((content) => content.type), wanted);
    }
  }));

check("tools: structured content", () =>
  connected(async (client) => {
    const nested = { list: [1, 2.5, null, true, { deep: [[]] }], text: 'añ\u2028\u0000 \u{1f6a2} "quoted" \\ \n' };
    assert.deepEqual((await client.tool("test_echo", nested)).structuredContent, nested);
  }));

check("tools: big integers", () =>
  connected(async (client) => {
    const numbers = { big: Number.MAX_SAFE_INTEGER, negative: Number.MIN_SAFE_INTEGER };
    assert.deepEqual((await client.tool("test_echo", numbers)).structuredContent, numbers);
  }));

check("tools: an error of the tool", () =>
  connected(async (client) => {
    const result = await client.tool("test_error_handling");
    assert.equal(result.isError, true);
    assert.match(result.content[0].text, /intentionally/);
  }));

check("tools: progress", () =>
  connected(async (client) => {
    const heard = [];
    await client.told("test_tool_with_progress", {}, { onprogress: (progress) => void heard.push(progress) });
    assert.deepEqual(heard, [0, 50, 100].map((step) => ({ progress: step, total: 100, message: `${step} of 100` })));
  }));

check("tools: logging", () =>
  connected(async (client) => {
    await client.told("test_tool_with_logging");
    assert.deepEqual(client.logs, ["Tool execution started", "Tool processing data", "Tool execution completed"]);
  }));

check("tools: thirty calls at once, each with its own answer and progress", () =>
  connected(async (client) => {
    await Promise.all(Array.from({ length: 30 }, async (_, n) => {
      assert.deepEqual((await client.tool("test_echo", { n })).structuredContent, { n });
      const heard = [];
      await client.told("test_tool_with_progress", {}, { onprogress: (progress) => void heard.push(progress) });
      assert.equal(heard.length, 3);
    }));
  }));

for (const [words, size] of [["1 MB", 1_000_000], ["16 MB", 16_000_000]]) {
  check(`tools: a result of ${words}`, () =>
    connected(async (client) => assert.equal((await client.told("test_big", { size })).length, size)), PATIENCE);
}

check("tools: an argument of 1 MB", () =>
  connected(async (client) => {
    const big = { big: "y".repeat(1_000_000) };
    assert.deepEqual((await client.tool("test_echo", big)).structuredContent, big);
  }), PATIENCE);

check("tools: cancellation reaches the tool", () =>
  connected(async (client) => {
    const name = `typescript ${options.url} ${Math.random()}`;
    const given = new AbortController();
    const call = client.tool("test_wait", { name }, { signal: given.signal }).catch((error) => error);
    await sleep(300);
    given.abort("enough");
    await call;
    while ((await client.told("test_cancelled", { name })) !== "1") await sleep(50);
  }));

// === What the server asks ===

check("sampling", () =>
  connected(async (client) => {
    assert.equal(await client.told("test_sampling", { prompt: "Well?" }), "LLM response: the model's words");
    assert.equal(client.asked[0].messages[0].content.text, "Well?");
    assert.equal(client.asked[0].maxTokens, 100);
  }));

check("sampling: a client that has no model", () =>
  connected(async (client) => {
    assert.equal((await client.tool("test_sampling", { prompt: "Well?" })).isError, true);
  }, new Guest({})));

check("elicitation: a form, accepted and declined", () =>
  connected(async (client) => {
    assert.match(await client.told("test_elicitation", { message: "Who?" }), /action=accept, content=\{"username": "me@/);
    assert.equal(client.asked[0].message, "Who?");
    client.declines = true;
    assert.match(await client.told("test_elicitation", { message: "Who?" }), /action=decline/);
  }));

check("elicitation: defaults and enums", () =>
  connected(async (client) => {
    const answer = await client.told("test_elicitation_sep1034_defaults");
    assert.match(answer, /"score": 95.5/);
    await client.told("test_elicitation_sep1330_enums");
    const asked = client.asked[1].requestedSchema.properties;
    assert.deepEqual(asked.legacyEnum.enumNames, ["Option One", "Option Two", "Option Three"]);
    assert.deepEqual(asked.titledMulti.items.anyOf[0], { const: "value1", title: "First Option" });
  }));

check("elicitation: a URL, and the word that it is done", () =>
  connected(async (client) => {
    assert.equal(await client.told("test_elicitation_url"), "action=accept");
    assert.equal(client.asked[0].url, "https://example.com/consent");
    await until(() => client.methods.includes("notifications/elicitation/complete"));
  }));

check("roots, asked on the call's stream", () =>
  connected(async (client) => {
    assert.deepEqual(JSON.parse(await client.told("test_roots")), ["file:///home/me"]);
  }));

check("roots, asked on the listening stream", () =>
  connected(async (client) => {
    await sleep(500);
    assert.deepEqual(JSON.parse(await client.told("test_roots_unrelated")), ["file:///home/me"]);
  }));

// === Prompts, resources, completion ===

check("prompts: list and get", () =>
  connected(async (client) => {
    const prompts = new Map((await client.listPrompts()).prompts.map((prompt) => [prompt.name, prompt]));
    const listed = prompts.get(called("test_prompt_with_arguments")).arguments;
    assert.deepEqual(listed.map((argument) => argument.name), ["arg1", "arg2"]);
    const get = async (name, args) =>
      (await client.getPrompt({ name: called(name), arguments: args })).messages.map((message) => message.content);
    assert.equal((await get("test_simple_prompt"))[0].text, "This is a simple prompt for testing.");
    const filled = await get("test_prompt_with_arguments", { arg1: "hello", arg2: "wörld" });
    assert.equal(filled[0].text, "Prompt with arguments: arg1='hello', arg2='wörld'");
    const embedded = await get("test_prompt_with_embedded_resource", { resourceUri: "test://static-text" });
    assert.equal(embedded[0].resource.uri, "test://static-text");
    assert.equal((await get("test_prompt_with_image"))[0].type, "image");
  }));

check("prompts: an unknown one", () =>
  connected((client) => fails(client.getPrompt({ name: called("test_no_prompt") }), -32602)));

check("resources: list, page by page", () =>
  connected(async (client) => {
    const uris = [];
    let cursor;
    do {
      const page = await client.listResources({ cursor });
      uris.push(...page.resources.map((resource) => resource.uri));
      cursor = page.nextCursor;
    } while (cursor);
    const pages = Array.from({ length: 10 }, (_, n) => `test://page-${n + 1}`);
    assert.deepEqual(uris, ["test://static-text", "test://static-binary", "test://watched-resource", ...pages]);
  }));

check("resources: read", () =>
  connected(async (client) => {
    const read = async (uri) => (await client.readResource({ uri })).contents[0];
    assert.equal((await read("test://static-text")).text, "This is the content of the static text resource.");
    assert.equal((await read("test://static-binary")).mimeType, "image/png");
    assert.equal(JSON.parse((await read("test://template/123/data")).text).id, "123");
  }));

check("resources: an unknown one", () =>
  connected(async (client) => {
    const error = await fails(client.readResource({ uri: "test://nowhere" }), -32002);
    // Among all upstreams it is Wharf that finds it nowhere, and that says so.
    const own = options.prefix ? { gateway: "wharf", mayHaveRun: false, reason: "bad_request" } : {};
    assert.deepEqual(error.data, { uri: "test://nowhere", ...own });
  }));

check("resources: templates", () =>
  connected(async (client) => {
    const { resourceTemplates } = await client.listResourceTemplates();
    assert.deepEqual(resourceTemplates.map((template) => template.uriTemplate), ["test://template/{id}/data"]);
  }));

check("resources: subscribe, updated, unsubscribe", () =>
  connected(async (client) => {
    const uri = "test://watched-resource";
    const touch = () => client.told("test_touch", { uri });
    await client.subscribeResource({ uri });
    await until(() => client.updated.length > 0, touch);
    assert.equal(client.updated[0], uri);
    await client.unsubscribeResource({ uri });
    await sleep(200);
    const before = client.updated.length;
    await touch();
    await sleep(300);
    assert.equal(client.updated.length, before);
  }));

check("lists: changed", () =>
  connected(async (client) => {
    const wanted = ["tools", "prompts", "resources"].map((what) => `notifications/${what}/list_changed`);
    await until(() => wanted.every((method) => client.methods.includes(method)), () => client.told("test_lists_changed"));
  }));

check("completion: of a prompt and of a template", () =>
  connected(async (client) => {
    const prompt = { type: "ref/prompt", name: called("test_prompt_with_arguments") };
    const { completion } = await client.complete({ ref: prompt, argument: { name: "arg1", value: "par" } });
    assert.deepEqual(completion, { values: ["paris", "park", "party"], total: 3, hasMore: false });
    const template = { type: "ref/resource", uri: "test://template/{id}/data" };
    const done = await client.complete({ ref: template, argument: { name: "id", value: "part" } });
    assert.deepEqual(done.completion.values, ["party"]);
  }));

check("logging: a level", () =>
  connected(async (client) => {
    await client.setLoggingLevel("error");
    await client.told("test_tool_with_logging");
    assert.deepEqual(client.logs, []);
    await client.setLoggingLevel("debug");
    await client.told("test_tool_with_logging");
    assert.equal(client.logs.length, 3);
  }));

// === Streams that break off ===

check("resuming: the server closes the stream of a call", () =>
  connected(async (client) => {
    assert.equal(await client.told("test_reconnection"), "Reconnection test completed successfully");
    assert.equal(client.logs.at(-1), "Said while the stream was closed");
  }));

check("resuming: a client that goes away in the middle of a call comes back for its answer", async () => {
  if (isSse) throw new Absent("there are no event ids in HTTP+SSE");
  const first = new Guest();
  const link = transport();
  open.add(first);
  await first.connect(link);
  let token;
  const lost = first.tool("test_tool_with_logging", {}, { onresumptiontoken: (id) => void (token ??= id) }).catch(() => {});
  await until(() => token !== undefined && first.logs.length > 0);
  const { sessionId, protocolVersion } = link;
  const heard = [...first.logs];
  await first.close();
  await lost;
  open.delete(first);

  const answers = [];
  const again = transport({ sessionId });
  again.setProtocolVersion(protocolVersion);
  again.onmessage = (message) => void answers.push(message);
  await again.start();
  await again.resumeStream(token);
  await until(() => answers.some((message) => "result" in message));
  const said = answers.filter((message) => message.method).map((message) => message.params.data);
  assert.deepEqual(said, ["Tool execution started", "Tool processing data", "Tool execution completed"].slice(-said.length));
  assert.ok(heard.length + said.length >= 3, `heard ${heard.length} and then ${said.length} of three`);
  assert.equal(answers.at(-1).result.content[0].text, "Logged three lines.");
  await again.terminateSession();
  await again.close();
});

async function judge({ run, patience }) {
  const calm = new AbortController();
  const late = sleep(patience, undefined, { signal: calm.signal }).then(() => {
    throw new Error(`it took longer than ${patience / 1000} s`);
  });
  try {
    await Promise.race([run(), late]);
    return { ok: true, detail: "" };
  } catch (error) {
    if (error instanceof Absent) return { ok: null, detail: error.message };
    return { ok: false, detail: `${error.name}: ${error.message}`.slice(0, 400) };
  } finally {
    calm.abort();
    for (const client of open) await client.close().catch(() => {});
    open.clear();
  }
}

process.on("unhandledRejection", () => {});
for (const one of checks.filter(({ name }) => name.includes(options.filter))) {
  const { ok, detail } = options.list ? { ok: null, detail: "" } : await judge(one);
  console.log(JSON.stringify({ check: one.name, ok, detail }));
}
process.exit(0);
