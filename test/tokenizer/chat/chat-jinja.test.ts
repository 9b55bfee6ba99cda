// Expressions render as in Jinja2 3.1.6 with transformers' settings.
import { describe, expect, it, test } from "vitest";
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
    [
      "{{ 'abcabc'.find('b', 2) }} {{ 'abcabc'.find('b', 0, 1) }} {{ 'abcabc'.find('c', -1) }} {{ 'abcabc'.rfind('b', 0, 4) }} {{ 'abcabc'.count('b', 2) }} {{ 'abcabc'.index('a', 1) }} {{ 'abcabc'.rindex('a', 0, -3) }} {{ 'abc'.find('', 3) }} {{ 'abc'.find('', 4) }} {{ 'abc'.count('', 1, 2) }} {{ 'abc'.count('', 4) }} {{ 'abc'.find('', 2, 1) }} {{ 'abc'.rfind('') }} {{ 'abc'.rfind('', 0, 2) }}",
      "4 -1 5 1 1 3 0 3 -1 2 0 -1 3 2",
    ],
    [
      "{{ 'abc'.find('c', none, 2) }} {{ 'abc'.find('c', none, none) }} {{ '\ud83d\ude00b\ud83d\ude00b'.find('b', 2) }} {{ '\ud83d\ude00b\ud83d\ude00b'.rfind('b', 0, 3) }} {{ '\ud83d\ude00b\ud83d\ude00b'.count('b', 2) }} {{ 'abc'.find('a', false) }} {{ 'abc'.find('a', 0, 99) }} {{ 'abc'.find('a', -99, 99) }}",
      "-1 2 3 1 1 0 0 0",
    ],
    [
      "{{ 'a,b,c'.rsplit(',', maxsplit=1) }} {{ 'a,b,c'.rsplit(sep=',', maxsplit=1) }} {{ 'a b c'.rsplit(maxsplit=1) }} {{ 'a,b,c'.split(',', maxsplit=1) }} {{ 'a,b,c'.split(sep=',') }} {{ 'a b c'.split(maxsplit=1) }} {{ 'a,b,c'.rsplit(',', -1) }} {{ 'a,b,c'.rsplit(',', 0) }} {{ 'a,b'.rsplit() }} {{ ' a b '.rsplit() }}",
      "['a,b', 'c'] ['a,b', 'c'] ['a b', 'c'] ['a', 'b,c'] ['a', 'b', 'c'] ['a', 'b c'] ['a', 'b', 'c'] ['a,b,c'] ['a,b'] ['a', 'b']",
    ],
    [
      "{{ 'abc'.startswith('b', 1) }} {{ 'abc'.endswith('b', 0, 2) }} {{ 'abc'.startswith('a', 1) }} {{ 'abc'.startswith('') }} {{ 'abc'.startswith('', 4) }} {{ 'abc'.endswith('') }} {{ 'abc'.startswith(('x', 'b'), 1) }} {{ 'abc'.endswith(('x','c')) }}",
      "True True False True False True True True",
    ],
    [
      "{{ [1,2,1].index(1, 1) }} {{ [1,2,1].index(1, 0, 1) if false else 3 }} {{ [1,true,1.0].count(1) }} {{ [[1],[1.0]].count([1]) }}",
      "2 3 3 2",
    ],
    ["{{ 'a-b'.partition(sep='-') if false else 1 }}", "1"],
    [
      "{{ 'abab'.replace('a', 'x', count=1) if false else 2 }} {{ 'abab'.replace('a','x',1) }} {{ 'ab'.replace('', '-') }}",
      "2 xbab -a-b-",
    ],
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
  ])("reject wrong arguments: %s", (template) => {
    expect(() => rendered(template)).toThrow(/^chat template: /);
  });
});

describe("Formats of numbers and texts", () => {
  it.each([
    [
      "{{ '{:.3}'.format(3.14159) }} {{ '{:.3}'.format(3.0) }} {{ '{:.3}'.format(123.0) }} {{ '{:.3}'.format(1234567.0) }} {{ '{:.1}'.format(0.5) }} {{ '{:.10}'.format(12345.678) }} {{ '{:.3}'.format(0.00001) }} {{ '{:10.3}|'.format(2.5) }}",
      "3.14 3.0 1.23e+02 1.23e+06 0.5 12345.678 1e-05        2.5|",
    ],
    [
      "{{ '{:E}'.format(12345.678) }} {{ '{:e}'.format(0.0) }} {{ '{:G}'.format(0.0000001) }} {{ '{:g}'.format(100000.0) }} {{ '{:g}'.format(1000000) }} {{ '{:n}'.format(5) }} {{ '{:c}'.format(97) }} {{ '{:#x}'.format(255) }} {{ '{:#06x}'.format(255) }} {{ '{:#b}'.format(5) }} {{ '{:X}'.format(255) }} {{ '{:#X}'.format(255) }} {{ '{:F}'.format(1.5) }} {{ '{:_}'.format(1234567) }} {{ '{:,.2f}'.format(1234567.891) }} {{ '{:.1%}'.format(0.255) }} {{ '{:+d}'.format(3) }} {{ '{:d}'.format(true) }}",
      "1.234568E+04 0.000000e+00 1E-07 100000 1e+06 5 a 0xff 0x00ff 0b101 FF 0XFF 1.500000 1_234_567 1,234,567.89 25.5% +3 1",
    ],
    ["{{ '{:.3n}'.format(3.14159) }} {{ '{:n}'.format(1234567.0) }}", "3.14 1.23457e+06"],
    [
      "{{ '%s' % {'a': 1} }} {{ '%s' % {} }} {{ 'a' % {'b': 1} }} {{ 'a' % {} }} {{ 'a' % [1] }} {{ '%s %(a)s' % {'a': 1} }} {{ '%(a)s' | format(a=1) }}",
      "{'a': 1} {} a a a {'a': 1} 1 1",
    ],
    [
      "{{ '{:s}'.format('a') }} {{ '{:.2s}'.format('abc') }} {{ '{!s:.2}'.format(3.5) }} {{ '{!s:>5}'.format(3) }}",
      "a ab 3.     3",
    ],
    [
      "{{ '%g' % 3.0 }} {{ '%g' % 0.0001 }} {{ '%g' % 0.00001 }} {{ '%g' % 1234567 }} {{ '%.3g' % 3.14159 }} {{ '%G' % 0.00001 }} {{ '%#g' % 3.0 }} {{ '%g' % 100000 }} {{ '%.0g' % 25 }} {{ '%g' % 0 }} {{ '%c' % 97 }} {{ '%c' % '\u00e9' }} {{ '%5c|' % 'a' }} {{ '%#x' % 255 }} {{ '%#X' % 255 }} {{ '%#o' % 8 }} {{ '%#06x' % 255 }} {{ '%x' % -255 }} {{ '%E' % 12345.678 }} {{ '%.0e' % 2.5 }} {{ '%.1e' % 9.96 }} {{ '%.3d' % 5 }} {{ '%+.1f' % 2.0 }} {{ '%e' % 0.0 }} {{ '%i' % 3.9 }} {{ '%u' % -3.9 }} {{ '%#.0f' % 2.0 }}",
      "3 0.0001 1e-05 1.23457e+06 3.14 1E-05 3.00000 100000 2e+01 0 a \u00e9     a| 0xff 0XFF 0o10 0x00ff -ff 1.234568E+04 2e+00 1.0e+01 005 +2.0 0.000000e+00 3 -3 2.",
    ],
    [
      "{{ 1.5|round(-301) }} {{ 1.5|round(-2) }} {{ 150.0|round(-2) }} {{ 250.0|round(-2) }} {{ 1.005|round(2) }} {{ 2.5|round }} {{ 1234|round(-2) }} {{ 1.23|round(20) }} {{ 1.5|round(400) }} {{ -1.5|round(-5) }} {{ 55.55|round(1) }} {{ 0.5|round }} {{ 3|round(-301) }} {{ 123456789.123|round(3) }} {{ 5|round(-1) }} {{ 15|round(-1) }}",
      "0.0 0.0 200.0 200.0 1.0 2.0 1200 1.23 1.5 -0.0 55.5 0.0 0 123456789.123 0 20",
    ],
    [
      "{{ 'abc'.startswith('b', 1) }} {{ 'abc'.endswith('b', 0, 2) }} {{ 'abc'.startswith('a', 1) }} {{ 'abc'.startswith('') }} {{ 'abc'.startswith('', 4) }} {{ 'abc'.endswith('') }} {{ 'abc'.startswith(('x', 'b'), 1) }} {{ 'abc'.endswith(('x','c')) }}",
      "True True False True False True True True",
    ],
    [
      "{{ '%.2f' % 10000000000000000000000.0 }} {{ '%.0f' % 2.5 }} {{ '%.3f' % 2.0005 }} {{ '%.20f' % 0.1 }} {{ '%.2f' % -0.001 }} {{ '%d' % 10000000000000000000000.0 }}",
      "10000000000000000000000.00 2 2.001 0.10000000000000000555 -0.00 10000000000000000000000",
    ],
  ])("work as in Python: %s", (template, expected) => {
    expect(rendered(template)).toBe(expected);
  });

  it.each([
    "{{ '{:.3}'.format(3) }}",
    "{{ '{:d}'.format(3.5) }}",
    "{{ '{:.3n}'.format(3) }}",
    "{{ '%(a)s %s' % {'a': 1} }}",
    "{{ '%s %s' % {'a': 1} }}",
    "{{ '%s' | format(1, a=1) }}",
    "{{ '{:f}'.format('a') }}",
    "{{ '{:E}'.format('a') }}",
    "{{ '{:y}'.format(3) }}",
    "{{ '{:s}'.format(3) }}",
    "{{ '{:i}'.format(3) }}",
    "{{ '%c' % 'ab' }}",
    "{{ '%b' % 1 }}",
    "{{ '%y' % 1 }}",
    "{{ 'abc'.startswith() }}",
    "{{ 'abc'.startswith(1) }}",
  ])("reject wrong arguments: %s", (template) => {
    expect(() => rendered(template)).toThrow(/^chat template: /);
  });
});

test("the filter round rounds decimals exactly, as Python does", () => {
  const template =
    "{{ 1.5|round(-301) }} {{ 250.0|round(-2) }} {{ 1.005|round(2) }} {{ 1.5|round(400) }} {{ -1.5|round(-5) }} {{ 55.55|round(1) }} {{ 3|round(-301) }} {{ 15|round(-1) }}";
  expect(rendered(template)).toBe("0.0 200.0 1.0 1.5 -0.0 55.5 0 20");
});
