// Expressions render as in Jinja2 3.1.6 with transformers' settings.
import { describe, expect, it } from "vitest";
import { atOnce } from "../../../lib/core/slices.ts";
import { renderTemplate } from "../../../lib/tokenizer/chat/jinja/render.ts";

const rendered = (template: string) => atOnce(renderTemplate(template, {}));

describe("Jinja2's tests", () => {
  it.each([
    [
      "{{ 0 is sameas false }} {{ none is sameas none }} {{ 1 is sameas 1 }} {{ 1 is not sameas true }}",
      "False True True True",
    ],
    [
      "{{ [0, false]|select('sameas', false)|list }} {% set l = [1] %}{{ l is sameas l }} {{ [1] is sameas [1] }}",
      "[False] True False",
    ],
    [
      "{% set a = {'b': [2, 3]} %}{{ 4 is divisibleby a.b[0] }} {{ 4 is not divisibleby a['b'][1] and true }}",
      "True True",
    ],
    ["{% set ns = namespace(x=2) %}{{ 4 is divisibleby ns.x }} {{ 'a' is eq 'A'.lower() }}", "True True"],
    ["{{ 1 + 2 is eq 2 }} {{ 2 * 3 is eq 3 }} {{ 1 ~ 2 is eq 2 }} {{ -1 is eq 1 }}", "2 2 1True False"],
    [
      "{{ 1 is defined | upper }} {{ 'ab' is eq 'a' 'b' }} {{ [1] is eq [1] }} {{ not 1 is eq 1 }}",
      "TRUE True True False",
    ],
    ["{{ 1 if x is defined else 2 }} {% for i in range(9) if i is divisibleby 3 %}{{ i }}{% endfor %}", "2 036"],
    ["{{ true + true }} {{ 3 - true }} {{ 7 // true }} {{ true * 'ab' }} {{ '%s' % true }}", "2 2 7 ab True"],
  ])("apply as in Jinja2: %s", (template, expected) => {
    expect(rendered(template)).toBe(expected);
  });

  it.each(["{{ 1 is eq }}", "{{ 1 is nothing }}"])("are rejected if they are unknown or incomplete: %s", (template) => {
    expect(() => rendered(template)).toThrow(/^chat template: /);
  });
});
