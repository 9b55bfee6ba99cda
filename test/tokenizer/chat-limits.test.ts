// Limits of untrusted templates: memory of all values together, and time of all renderings of a call.
import { execFileSync } from "node:child_process";
import { Worker } from "node:worker_threads";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { atOnce } from "../../lib/core/slices.ts";
import { RenderTime, spend } from "../../lib/tokenizer/chat/jinja/limits.ts";
import { renderTemplate } from "../../lib/tokenizer/chat/jinja/render.ts";
import { cpuMilliseconds } from "../helpers/clock.ts";
import { byteLevelJson, fromJson } from "./samples.ts";

const tokenizer = fromJson(byteLevelJson([]));
const long = "'x' * 9000000";
const doubled = "{% set ns = namespace(x=['abc']) %}{% for i in range(40) %}{% set ns.x = [ns.x, ns.x] %}{% endfor %}";

const attacks: [string, string][] = [
  [
    "a list of long texts",
    `{% set ns = namespace(a=[]) %}{% for i in range(999) %}{% set ns.a = ns.a + [${long} ~ i] %}{% endfor %}`,
  ],
  [
    "a text that doubles",
    "{% set ns = namespace(x='xé') %}{% for i in range(99) %}{% set ns.x = ns.x ~ ns.x %}{% endfor %}{{ ns.x }}",
  ],
  ["a sum of many long texts", `{% set a = ${long} %}{{ a ${"+ a ".repeat(400)} }}`],
  ["replacements", "{{ ('x' * 4000000).replace('x', 'yyyy') }}"],
  ["a replacement by long texts", "{{ ('x' * 9000) | replace('x', 'y' * 9000) }}"],
  ["nested joins", "{% set a = ['y' * 4000] * 4000 %}{{ a | join(a | join('x')) }}"],
  ["the join method", "{{ ('y' * 100000).join(['x'] * 100000) }}"],
  [
    "lists of lists",
    "{% set ns = namespace(a=[]) %}{% for i in range(9999) %}{% set ns.a = ns.a + [[0] * 99999] %}{% endfor %}",
  ],
  [
    "a list of ranges",
    "{% set ns = namespace(a=[]) %}{% for i in range(9999) %}{% set ns.a = ns.a + [range(9999)] %}{% endfor %}",
  ],
  [
    "a list of characters",
    "{% set ns = namespace(a=[]) %}{% for i in range(9999) %}{% set ns.a = ns.a + [('x' * 99999) | list] %}{% endfor %}",
  ],
  ["printing a value that doubles 40 times", `${doubled}{{ ns.x }}`],
  ["tojson of a value that doubles 40 times", `${doubled}{{ ns.x | tojson }}`],
  ["an error about a value that doubles 40 times", `${doubled}{{ ns.x | items }}`],
  ["join of a value that doubles 40 times", `${doubled}{{ ns.x | join('-') }}`],
  ["concatenating a value that doubles 40 times", `${doubled}{{ ns.x ~ 'a' }}`],
  ["format", `{{ '%s%s%s%s%s' % (${Array(5).fill(long).join(",")}) }}`],
  ["the format method", `{{ '{0}{0}{0}{0}{0}'.format(${long}) }}`],
  ["filters of many items", "{{ (['x' * 900] * 99999) | map('upper') | list | length }}"],
  ["a filter that pads many texts", "{{ (['x'] * 99999) | map('center', 9999) | list | length }}"],
  ["an indent", "{{ ('x\\n' * 900000) | indent(width=900) }}"],
  ["an indent of JSON", `{% set a = [[[[0] * 9] * 9] * 9] * 9 %}{{ a | tojson(indent=9000000) }}`],
  ["separators of JSON", `{{ ([0] * 9999) | tojson(separators=('x' * 99999, ':')) }}`],
  ["JSON of control characters", "{{ ('\u0001' * 16000000) | tojson }}"],
  ["escapes", "{{ ('<' * 16000000) | escape }}"],
  ["titles", "{{ ('a ' * 8000000) | title }}"],
  ["splitting a text", "{{ ('a ' * 8000000).split(' ') | length }}"],
  ["a slice of a text", "{{ ('é' * 16000000)[::-1] | length }}"],
  ["recursive calls with many arguments", "{% macro f() %}{{ f(*varargs) }}{% endmacro %}{{ f(*([0] * 99999)) }}"],
  ["arguments unpacked from many lists", `{% set a = [0] * 99999 %}{{ range(${Array(999).fill("*a").join(",")}) }}`],
  ["nested loops", `${"{% for i in range(9999) %}".repeat(99)}x${"{% endfor %}".repeat(99)}`],
  [
    "comparisons",
    `${doubled}{{ ns.x == 'a' }}${doubled}{{ ns.x in ['a'] }}{{ ${long} }}{{ ${long} }}{{ ${long} }}{{ ${long} }}`,
  ],
];

describe("memory attacks", () => {
  test.each(attacks)("rejects a template that would fill memory with %s", (_, template) => {
    const before = performance.now();
    expect(() => atOnce(renderTemplate(template, { messages: [] }))).toThrow(
      expect.objectContaining({ code: "INVALID_FILE" }),
    );
    expect(performance.now() - before).toBeLessThan(5000);
  });

  test("a process with a heap of 160 MB survives all attacks", () => {
    const script = `
      import { Tokenizer } from ${JSON.stringify(new URL("../../dist/tokenizer/index.js", import.meta.url).href)};
      const tokenizer = Tokenizer.fromFiles({ tokenizer: process.env.JSON });
      for (const template of JSON.parse(process.env.ATTACKS)) {
        try { tokenizer.applyChatTemplate([{ role: "user", content: "hi" }], { template }); console.log("rendered"); }
        catch (error) { if (error.code !== "INVALID_FILE") throw error; }
      }
      console.log(process.resourceUsage().maxRSS);`;
    const env = {
      ...process.env,
      JSON: JSON.stringify(byteLevelJson([])),
      ATTACKS: JSON.stringify(attacks.map(([, template]) => template)),
    };
    const out = execFileSync(process.execPath, ["--max-old-space-size=160", "--input-type=module", "-e", script], {
      env,
      encoding: "utf8",
    });
    expect(out).not.toContain("rendered");
    // AddressSanitizer keeps freed memory and a shadow of all memory, so the process needs more.
    if (!process.env.HEDDLE_SANITIZED) expect(Number(out.trim()) / 1024).toBeLessThan(500); // MB
  });
});

describe("a call that renders templates", () => {
  const busy =
    "{% for m in messages %}{% for i in range(9000) %}{% set x = i * 2 %}{% endfor %}{{ m.content }}{% endfor %}";
  const messages = Array.from({ length: 200 }, (_, i) => ({ role: i % 2 ? "assistant" : "user", content: `m${i}` }));
  test.each<[string, () => unknown]>([
    ["applyChatTemplate", () => tokenizer.applyChatTemplate(messages, { template: busy })],
    ["applyChatTemplateWithMask", () => tokenizer.applyChatTemplateWithMask(messages.slice(0, 24), { template: busy })],
    [
      "applyChatTemplateWithSpans",
      () => tokenizer.applyChatTemplateWithSpans(messages.slice(0, 24), { template: busy }),
    ],
    ["fit", () => tokenizer.fit(messages, { template: busy, contextLength: 4 })],
  ])("has one second for all its renderings together: %s", (_, call) => {
    // CPU time is measured, because on a busy machine the call may wait for a processor.
    expect(cpuMilliseconds(() => expect(call).toThrow(/took more than 1000 ms/))).toBeLessThan(2000);
  });

  test("can render a message of three million characters", () => {
    const content = "a é<b>".repeat(500_000);
    const template = "{% for m in messages %}{{ '<|' + m.role + '|>' + m.content | trim + '<|end|>' }}{% endfor %}";
    const { text } = tokenizer.applyChatTemplate([{ role: "user", content }], { template });
    expect(text).toBe(`<|user|>${content}<|end|>`);
  });

  test("shortens the message of raise_exception to one line", () => {
    const template = "{{ raise_exception('no ' * 5000000 ~ '\\n\\n!') }}";
    const refused = () => tokenizer.applyChatTemplate([], { template });
    expect(refused).toThrow(
      expect.objectContaining({ code: "INVALID_ARGUMENT", message: expect.stringMatching(/^[^\n]{1,400}$/u) }),
    );
  });
});

describe("a thread that waits for a processor", () => {
  const sleeping = new Int32Array(new SharedArrayBuffer(4));
  const wait = () => void Atomics.wait(sleeping, 0, 0, 1500);
  let other: Worker;
  beforeAll(async () => {
    other = new Worker("require('worker_threads').parentPort.postMessage(0); for (;;);", { eval: true });
    await new Promise((resolve) => other.once("message", resolve));
  });
  afterAll(async () => void (await other.terminate()));

  test("restarts a rendering that timed out, although another thread of the process uses CPU time", () => {
    let tries = 0;
    const rendering = new RenderTime().rendering(function* () {
      tries++;
      if (tries === 1) wait();
      yield;
      return "rendered";
    });
    expect(atOnce(rendering)).toBe("rendered");
    expect(tries).toBe(2);
  });

  test("does not count the wait against the time limit of work other than rendering", () => {
    const work = function* () {
      wait();
      yield;
      return "released";
    };
    expect(atOnce(new RenderTime().slices(work()))).toBe("released");
  });
});

test("a loop without a body yields to the event loop like any other loop", () => {
  const slices = [...renderTemplate("{% for i in range(10000) %}{% endfor %}", {})];
  expect(slices.length).toBeGreaterThan(1);
});

test("a rendering that times out within a slice restores the byte budget", () => {
  const loops = "{% for i in range(10000) %}{% for j in range(10000) %}x{% endfor %}{% endfor %}";
  const template = `{% macro f() %}${loops}{% endmacro %}{{ f() }}`;
  expect(() => atOnce(renderTemplate(template, {}))).toThrow(/took more than 1000 ms/);
  expect(() => spend(2 ** 40)).not.toThrow();
});
