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

describe("The filter tojson", () => {
  it.each([
    [
      "{{ {'b':1,'a':[1,{}],'B':2,'\u00e9':3,'_':4,'Z':5,'\ue000':6,'\ud83d\ude00':7}|tojson(sort_keys=true) }}",
      '{"B": 2, "Z": 5, "_": 4, "a": [1, {}], "b": 1, "\u00e9": 3, "\ue000": 6, "\ud83d\ude00": 7}',
    ],
    ["{{ {'b':1,'a':[1,{},[]]}|tojson(indent=0) }}", '{\n"b": 1,\n"a": [\n1,\n{},\n[]\n]\n}'],
    ["{{ {'b':1,'a':[1,{}]}|tojson(indent=2) }}", '{\n  "b": 1,\n  "a": [\n    1,\n    {}\n  ]\n}'],
    ["{{ {'b':1,'a':[1,{}]}|tojson(indent=none) }}", '{"b": 1, "a": [1, {}]}'],
    ["{{ {'b':1,'a':[1,{}]}|tojson(indent=-1) }}", '{\n"b": 1,\n"a": [\n1,\n{}\n]\n}'],
    ["{{ [1,2]|tojson(indent=0, separators=(',',':')) }}", "[\n1,\n2\n]"],
    ["{{ {'b':1,'a':[1,{'q':[1]}]}|tojson(false, 0) }}", '{\n"b": 1,\n"a": [\n1,\n{\n"q": [\n1\n]\n}\n]\n}'],
    [
      "{{ {'b':{'d':1,'c':2},'a':[1,{'z':0,'Y':1}]}|tojson(sort_keys=true, indent=1) }}",
      '{\n "a": [\n  1,\n  {\n   "Y": 1,\n   "z": 0\n  }\n ],\n "b": {\n  "c": 2,\n  "d": 1\n }\n}',
    ],
    ["{{ {10:1,9:2}|tojson(sort_keys=true) }}", '{"9": 2, "10": 1}'],
    ["{{ [1]|tojson(indent=true) }}", "[\n 1\n]"],
    ["{{ [[1]]|tojson(indent='  ') }}", "[\n  [\n    1\n  ]\n]"],
  ])("writes JSON as Python's json.dumps does: %s", (template, expected) => {
    expect(rendered(template)).toBe(expected);
  });
});

describe("Methods of strings and lists", () => {
  it.each([
    ["{{ 'abcabc'.find('b', 2) }} {{ 'abcabc'.find('b', 0, 1) }} {{ 'abcabc'.find('c', -1) }} {{ 'abcabc'.rfind('b', 0, 4) }} {{ 'abcabc'.count('b', 2) }} {{ 'abcabc'.index('a', 1) }} {{ 'abcabc'.rindex('a', 0, -3) }} {{ 'abc'.find('', 3) }} {{ 'abc'.find('', 4) }} {{ 'abc'.count('', 1, 2) }} {{ 'abc'.count('', 4) }} {{ 'abc'.find('', 2, 1) }} {{ 'abc'.rfind('') }} {{ 'abc'.rfind('', 0, 2) }}", "4 -1 5 1 1 3 0 3 -1 2 0 -1 3 2"],
    ["{{ 'abc'.find('c', none, 2) }} {{ 'abc'.find('c', none, none) }} {{ '\ud83d\ude00b\ud83d\ude00b'.find('b', 2) }} {{ '\ud83d\ude00b\ud83d\ude00b'.rfind('b', 0, 3) }} {{ '\ud83d\ude00b\ud83d\ude00b'.count('b', 2) }} {{ 'abc'.find('a', false) }} {{ 'abc'.find('a', 0, 99) }} {{ 'abc'.find('a', -99, 99) }}", "-1 2 3 1 1 0 0 0"],
    ["{{ 'a,b,c'.rsplit(',', maxsplit=1) }} {{ 'a,b,c'.rsplit(sep=',', maxsplit=1) }} {{ 'a b c'.rsplit(maxsplit=1) }} {{ 'a,b,c'.split(',', maxsplit=1) }} {{ 'a,b,c'.split(sep=',') }} {{ 'a b c'.split(maxsplit=1) }} {{ 'a,b,c'.rsplit(',', -1) }} {{ 'a,b,c'.rsplit(',', 0) }} {{ 'a,b'.rsplit() }} {{ ' a b '.rsplit() }}", "['a,b', 'c'] ['a,b', 'c'] ['a b', 'c'] ['a', 'b,c'] ['a', 'b', 'c'] ['a', 'b c'] ['a', 'b', 'c'] ['a,b,c'] ['a,b'] ['a', 'b']"],
    ["{{ 'abc'.startswith('b', 1) }} {{ 'abc'.endswith('b', 0, 2) }} {{ 'abc'.startswith('a', 1) }} {{ 'abc'.startswith('') }} {{ 'abc'.startswith('', 4) }} {{ 'abc'.endswith('') }} {{ 'abc'.startswith(('x', 'b'), 1) }} {{ 'abc'.endswith(('x','c')) }}", "True True False True False True True True"],
    ["{{ [1,2,1].index(1, 1) }} {{ [1,2,1].index(1, 0, 1) if false else 3 }} {{ [1,true,1.0].count(1) }} {{ [[1],[1.0]].count([1]) }}", "2 3 3 2"],
    ["{{ 'a-b'.partition(sep='-') if false else 1 }}", "1"],
    ["{{ 'abab'.replace('a', 'x', count=1) if false else 2 }} {{ 'abab'.replace('a','x',1) }} {{ 'ab'.replace('', '-') }}", "2 xbab -a-b-"],
  ])("work as in Python: %s", (template, expected) => {
    expect(rendered(template)).toBe(expected);
  });

  it.each([
    "{{ 'abc'.index('a', 1) }}",
    "{{ 'abc'.find('a', 1.5) }}",
    "{{ 'abc'.find('a', 'x') }}",
    "{{ 'a,b'.rsplit('') }}",
    "{{ 'a,b'.split('') }}",
    "{{ 'a'.rsplit(1) }}",
    "{{ 'a,b'.split(',', none) }}",
  ])("rejects wrong arguments: %s", (template) => {
    expect(() => rendered(template)).toThrow(/^chat template: /);
  });
});
