// Access control: host names, origins and API keys.
import { request } from "node:http";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { LanguageModel } from "../../../lib/language-model/index.ts";
import { createHandler, serve } from "../../../lib/serve/index.ts";
import { failureOf } from "../../inference/helpers.ts";
import { chatModel, clientOf, rawPost, rawSocket, readAll, user, withServer } from "../helpers.ts";

let model: LanguageModel;
beforeAll(async () => {
  model = await chatModel();
});
afterAll(() => model.dispose());

const CHAT = "/v1/chat/completions";
const body = { messages: user("hi"), max_tokens: 1 };

/** A request with headers that fetch would set itself. */
function get(url: string, headers: Record<string, string>, method = "GET") {
  return new Promise<{ status: number; headers: Record<string, unknown>; text: string }>((resolve, reject) => {
    const sent = request(url, { method, headers, setHost: false }, (response) => {
      let text = "";
      response.setEncoding("utf8").on("data", (part: string) => {
        text += part;
      });
      response.on("end", () => resolve({ status: response.statusCode!, headers: response.headers, text }));
    });
    sent.on("error", reject).end();
  });
}

describe("Host header", () => {
  test("allows loopback names with any port by default", () =>
    withServer(model, {}, async ({ server }) => {
      const status = async (host: string) => (await get(`${server.url}/v1/models`, { host })).status;
      for (const host of ["localhost", "LOCALHOST:9", "127.0.0.1:80", "[::1]", "[::1]:8080"])
        expect([host, await status(host)]).toEqual([host, 200]);
      for (const host of [
        "evil.example",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "10.0.0.1",
        "a@localhost",
        "localhost:x",
        "*",
        "",
      ])
        expect([host, await status(host)]).toEqual([host, 403]);
      const { text } = await get(`${server.url}/health`, { host: "evil.example" });
      expect(JSON.parse(text)).toMatchObject({ error: { type: "permission_error", code: "host_not_allowed" } });
    }));

  test("allows listed names only, also with an absolute request URL", () =>
    withServer(model, { allowedHosts: ["Models.example"] }, async ({ server }) => {
      expect((await get(`${server.url}/health`, { host: "models.example:443" })).status).toBe(200);
      expect((await get(`${server.url}/health`, { host: "localhost" })).status).toBe(403);
      const socket = await rawSocket(
        server,
        "GET http://models.example/health HTTP/1.1\r\nhost: evil.example\r\nconnection: close\r\n\r\n",
      );
      expect(await readAll(socket)).toMatch(/^HTTP\/1.1 403 /);
      const old = await rawSocket(server, "GET /health HTTP/1.0\r\n\r\n");
      expect(await readAll(old)).toMatch(/^HTTP\/1.1 403 /);
    }));

  test("allows any IP address, but no name except localhost, when bound to other interfaces", () =>
    withServer(model, { host: "0.0.0.0", apiKeys: ["k"] }, async ({ server }) => {
      const url = server.url.replace("0.0.0.0", "127.0.0.1");
      for (const [host, status] of [
        ["192.168.1.7:8080", 200],
        ["[fe80::1]", 200],
        ["localhost", 200],
        ["evil.example", 403],
      ] as const)
        expect([host, (await get(`${url}/health`, { host })).status]).toEqual([host, status]);
    }));
});

describe("Origin header (CORS)", () => {
  test("allows only the server's origin by default", () =>
    withServer(model, {}, async ({ server, post }) => {
      for (const origin of ["https://evil.example", "null", "http://localhost:1", "file://"])
        expect(await post(CHAT, body, { headers: { origin } })).toMatchObject({
          status: 403,
          body: { error: { code: "origin_not_allowed" } },
        });
      expect((await post(CHAT, body, { headers: { origin: server.url } })).status).toBe(200);
      const preflight = { "access-control-request-method": "POST", host: "localhost" };
      const refused = await get(`${server.url}${CHAT}`, { ...preflight, origin: "https://evil.example" }, "OPTIONS");
      expect(refused.status).toBe(403);
      expect(refused.headers).not.toHaveProperty("access-control-allow-origin");
    }));

  test("sends CORS headers to allowed origins, in preflights, answers and errors", () =>
    withServer(model, { allowedOrigins: ["https://App.example"], apiKeys: ["k"] }, async ({ server, post }) => {
      const origin = "https://app.example";
      const headers = {
        host: "localhost",
        origin,
        "access-control-request-method": "POST",
        "access-control-request-headers": "authorization,content-type,x-stainless-os",
        "access-control-request-private-network": "true",
      };
      const preflight = await get(`${server.url}${CHAT}`, headers, "OPTIONS");
      expect(preflight).toMatchObject({
        status: 204,
        headers: {
          "access-control-allow-origin": origin,
          "access-control-allow-headers": "authorization,content-type,x-stainless-os",
          "access-control-allow-methods": "GET, POST, DELETE",
          "access-control-allow-private-network": "true",
          vary: "origin",
        },
      });
      for (const [authorization, status] of [
        ["Bearer k", 200],
        ["Bearer x", 401],
      ] as const) {
        const answer = await post(CHAT, body, { headers: { origin, authorization } });
        expect(answer.status).toBe(status);
        expect(answer.headers.get("access-control-allow-origin")).toBe(origin);
      }
      const stream = await post(CHAT, { ...body, stream: true }, { headers: { origin, authorization: "Bearer k" } });
      expect(stream.headers.get("access-control-allow-origin")).toBe(origin);
      expect((await post(CHAT, body, { headers: { origin: "https://app.example.evil.example" } })).status).toBe(403);
    }));

  test("allows all origins with *", () =>
    withServer(model, { allowedOrigins: ["*"], allowedHosts: ["*"] }, async ({ server }) => {
      const { status, headers } = await get(`${server.url}/v1/models`, {
        host: "any.example",
        origin: "https://b.example",
      });
      expect([status, headers["access-control-allow-origin"]]).toEqual([200, "https://b.example"]);
    }));

  test("rejects content types that an HTML form can send", () =>
    withServer(model, {}, async ({ server, post }) => {
      for (const type of [
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/jsonp",
        "",
      ])
        expect([type, (await post(CHAT, body, { headers: { "content-type": type } })).status]).toEqual([type, 415]);
      for (const type of ["application/json", "APPLICATION/JSON; charset=UTF-8", 'application/json;charset="utf-8"'])
        expect([type, (await post(CHAT, body, { headers: { "content-type": type } })).status]).toEqual([type, 200]);
      expect((await post(CHAT, body, { headers: { "content-type": "application/json; charset=utf-16" } })).status).toBe(
        415,
      );
      const socket = await rawSocket(server, rawPost(CHAT, body, ["content-encoding: gzip", "connection: close"]));
      expect(await readAll(socket)).toMatch(/^HTTP\/1.1 415 /);
    }));
});

describe("API keys", () => {
  test("are required for everything but health, and any listed key is accepted in either header", () =>
    withServer(model, { apiKeys: ["first-key", "second"] }, async ({ ask, post }) => {
      const status = async (authorization?: string) =>
        (await post(CHAT, body, authorization === undefined ? {} : { headers: { authorization } })).status;
      for (const given of ["Bearer first-key", "bearer second", "Bearer  second "])
        expect(await status(given)).toBe(200);
      for (const given of [
        undefined,
        "",
        "Bearer",
        "Bearer ",
        "first-key",
        "Basic first-key",
        "Bearer first-key second",
        "Bearer first-ke",
        "Bearer first-keyy",
        "Bearer FIRST-KEY",
      ])
        expect([given, await status(given)]).toEqual([given, 401]);
      for (const [key, expected] of [
        ["second", 200],
        ["third", 401],
      ] as const)
        expect((await post(CHAT, body, { headers: { "x-api-key": key } })).status).toBe(expected);
      const refused = await ask("/v1/models");
      expect(refused).toMatchObject({
        status: 401,
        body: { error: { type: "authentication_error", code: "invalid_api_key", param: null } },
      });
      expect(refused.headers.get("www-authenticate")).toBe("Bearer");
      expect((await ask("/nowhere")).status).toBe(401);
      expect((await ask("/health")).status).toBe(200);
    }));

  test("never appear in error messages", async () => {
    const secret = "sk-very secret";
    const { message } = await failureOf(() => serve(model, { apiKeys: [secret] }));
    expect(message).toMatch(/^apiKeys: /);
    expect(message).not.toContain("secret");
    await withServer(model, { apiKeys: ["sk-mine"] }, async ({ ask }) => {
      const { body: refused } = await ask("/v1/models", { headers: { authorization: "Bearer sk-other" } });
      expect(JSON.stringify(refused)).not.toMatch(/sk-/);
    });
  });

  test("are required to bind to other interfaces, unless overridden", async () => {
    for (const host of ["0.0.0.0", "::", "192.168.1.7", "example.org", "127.0.0.1.example.org"])
      expect(await failureOf(() => serve(model, { host, port: 0 }))).toMatchObject({ code: "INVALID_ARGUMENT" });
    await withServer(model, { host: "0.0.0.0", allowWithoutKey: true }, async ({ server }) => {
      expect((await fetch(`${server.url.replace("0.0.0.0", "127.0.0.1")}/v1/models`)).status).toBe(200);
    });
  });
});

test.each<[object, RegExp]>([
  [{ prot: 1 }, /^prot: .*nearest: port/],
  [{ port: -1 }, /^port: /],
  [{ port: "80" }, /^port: /],
  [{ host: "" }, /^host: /],
  [{ host: "a b" }, /^host: /],
  [{ apiKeys: "k" }, /^apiKeys: /],
  [{ apiKeys: [""] }, /^apiKeys: /],
  [{ apiKeys: ["ключ"] }, /^apiKeys: /],
  [{ allowedHosts: ["a:80"] }, /^allowedHosts: /],
  [{ allowedOrigins: ["app.example"] }, /^allowedOrigins: /],
  [{ allowedOrigins: ["https://app.example/x"] }, /^allowedOrigins: /],
  [{ maxConcurrent: 0 }, /^maxConcurrent: /],
  [{ maxQueue: 1.5 }, /^maxQueue: /],
  [{ maxTokens: 0 }, /^maxTokens: /],
  [{ maxBodyBytes: Number.NaN }, /^maxBodyBytes: /],
  [{ modelName: "" }, /^modelName: /],
  [{ modelName: "a b" }, /^modelName: /],
  [{ aliases: "gpt-4o" }, /^aliases: /],
  [{ aliases: ["a b"] }, /^aliases: /],
  [{ deterministic: 1 }, /^deterministic: /],
  [{ onRequest: 1 }, /^onRequest: /],
  [{ closeTimeout: -1 }, /^closeTimeout: /],
])("rejects the options %j", async (options, message) => {
  const failure = await failureOf(() => serve(model, options as object));
  expect(failure.code).toBe("INVALID_ARGUMENT");
  expect(failure.message).toMatch(message);
});

test("rejects a `model` that is not a LanguageModel, and names the parameter", async () => {
  for (const given of [{}, undefined, "default", model.model])
    for (const make of [serve, createHandler])
      expect(await failureOf(() => make(given as never))).toMatchObject({
        code: "INVALID_ARGUMENT",
        message: expect.stringMatching(/^model: expected a LanguageModel, got /),
      });
});

test("serve rejects a port in use, and the handler rejects server options", async () => {
  await withServer(model, {}, async ({ server }) => {
    const port = Number(new URL(server.url).port);
    expect(await failureOf(() => serve(model, { port }))).toMatchObject({
      code: "IO",
      message: expect.stringMatching(/EADDRINUSE/),
    });
  });
  expect(await failureOf(() => createHandler(model, { port: 1 } as object))).toMatchObject({
    code: "INVALID_ARGUMENT",
  });
});

test("the server listens on IPv6 and loopback names", async () => {
  for (const host of ["::1", "localhost"])
    await withServer(model, { host }, async ({ server }) => {
      expect(server.url).toMatch(host === "::1" ? /^http:\/\/\[::1\]:\d+$/ : /^http:\/\/localhost:\d+$/);
      expect((await clientOf(server).ask("/v1/models")).status).toBe(200);
    }).catch((error: { message: string }) => {
      // Some machines lack IPv6.
      if (!/EADDRNOTAVAIL|EAFNOSUPPORT/.test(error.message)) throw error;
    });
});
