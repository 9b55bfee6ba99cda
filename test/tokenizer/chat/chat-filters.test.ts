// Filters, tests, methods and loop variables render as in Jinja2 3.1.6 with transformers' settings.
import { expect, test } from "vitest";
import { atOnce } from "../../../lib/core/slices.ts";
import { renderTemplate } from "../../../lib/tokenizer/chat/jinja/render.ts";

const table: [template: string, expected: string][] = [
  ["{% for x in [1,2,3] %}{{ loop.cycle('a','b') }}{% endfor %}", "aba"],
  [
    "{% for x in [1,2,3] %}{{ loop.index }}{{ loop.index0 }}{{ loop.revindex }}{{ loop.revindex0 }}{{ loop.first }}{{ loop.last }}{{ loop.length }};{% endfor %}",
    "1032TrueFalse3;2121FalseFalse3;3210FalseTrue3;",
  ],
  ["{% for x in [1,2,3] %}{{ loop.previtem }}{{ loop.nextitem }};{% endfor %}", "2;13;2;"],
  ["{% for x in [1,1,2] %}{{ loop.changed(x) }};{% endfor %}", "True;False;True;"],
  ["{{ [1,2,3]|sum }}", "6"],
  ["{{ [1.5,2]|sum }}", "3.5"],
  ["{{ []|sum }}", "0"],
  ["{{ [{'a':1},{'a':2}]|sum(attribute='a') }}", "3"],
  ["{{ [{'a':1},{'a':2}]|sum('a', 10) }}", "13"],
  ["{{ [1,2]|sum(start=5) }}", "8"],
  [
    "{% for k, v in [{'r':'u','c':1},{'r':'a','c':2},{'r':'u','c':3}]|groupby('r') %}{{ k }}={{ v|map(attribute='c')|join(',') }};{% endfor %}",
    "a=2;u=1,3;",
  ],
  [
    "{% for g in [{'r':'u','c':1},{'r':'a','c':2}]|groupby('r') %}{{ g.grouper }}:{{ g.list|length }};{% endfor %}",
    "a:1;u:1;",
  ],
  ["{% for k, v in [{'r':'u'},{'c':2}]|groupby('r', default='z') %}{{ k }}{{ v|length }};{% endfor %}", "u1;z1;"],
  ["{% for k, v in [{'r':'U'},{'r':'u'}]|groupby('r') %}{{ k }}{{ v|length }};{% endfor %}", "U2;"],
  [
    "{% for k, v in [{'r':'U'},{'r':'u'}]|groupby('r', case_sensitive=true) %}{{ k }}{{ v|length }};{% endfor %}",
    "U1;u1;",
  ],
  ["{% for k, v in {'b':1,'a':2,'C':3}|dictsort %}{{ k }}{{ v }};{% endfor %}", "a2;b1;C3;"],
  ["{% for k, v in {'b':1,'a':2,'C':3}|dictsort(true) %}{{ k }}{{ v }};{% endfor %}", "C3;a2;b1;"],
  ["{{ {'b':1,'a':2}|dictsort(by='value') }}", "[('b', 1), ('a', 2)]"],
  ["{{ {'b':1,'a':2}|dictsort(reverse=true) }}", "[('b', 1), ('a', 2)]"],
  ["{{ {'b':1,'a':2}|items|list }}", "[('b', 1), ('a', 2)]"],
  ["{{ u|items|list }}", "[]"],
  ["{% set d = {10:'a', 9:'b', 0:'c'} %}{{ d[9] }}{{ d[1] }}{{ d['9'] }}{{ d|length }}", "b3"],
  ["{{ {10:'a', 9:[]} }}{{ {10:'a'}|tojson }}", '{10: \'a\', 9: []}{"10": "a"}'],
  ["{% set d = {'a':1} %}{{ d[u] }}{{ d[1] }}{{ d[none] }}{{ d['a'] }}{{ d['b'] }}", "1"],
  ["{% for k, v in {10:'a', 9:'b'}|dictsort %}{{ k + 1 }}{{ v }};{% endfor %}", "10b;11a;"],
  ["{% for k, v in {10:'a', 9:'b'}.items() %}{{ k + 1 }}{{ v }};{% endfor %}", "11a;10b;"],
  ["{% for k in {10:'a', 9:'b'} %}{{ k + 1 }};{% endfor %}{{ {10:'a'}.keys()|list }}", "11;10;[10]"],
  ["{% for k, v in {10:'a', 9:'b'}|items if k < 10 %}{{ v }}{% endfor %}", "b"],
  ["{{ [3,1,2]|min }}{{ [3,1,2]|max }}", "13"],
  ["{{ ['b','A']|min }}{{ ['b','A']|max }}", "Ab"],
  ["{{ [{'a':2},{'a':1}]|min(attribute='a') }}", "{'a': 1}"],
  ["{{ [1,2,3,4,5]|batch(2)|list }}", "[[1, 2], [3, 4], [5]]"],
  ["{{ [1,2,3]|batch(2,'x')|list }}", "[[1, 2], [3, 'x']]"],
  ["{{ [1,2,3,4,5]|slice(2)|list }}", "[[1, 2, 3], [4, 5]]"],
  ["{{ [1,2,3,4,5]|slice(3,'x')|list }}", "[[1, 2], [3, 4], [5, 'x']]"],
  ["{{ 'abc'|reverse }}", "cba"],
  ["{{ [1,2,3]|reverse|list }}", "[3, 2, 1]"],
  ["{{ 'hello world'|title }}", "Hello World"],
  ["{{ 'a b c'|wordcount }}", "3"],
  ["{{ 'hello world foo'|truncate(8) }}", "hello..."],
  ["{{ 'hello world foo'|truncate(8, true) }}", "hello..."],
  ["{{ 'hello world foo'|truncate(8, true, '') }}", "hello wo"],
  ["{{ 'hello world foo'|truncate(11, false, '...', 0) }}", "hello..."],
  ["{{ 'abc'|center(9) }}|", "   abc   |"],
  [
    "{{ 3.7|round }} {{ 3.14159|round(2) }} {{ 3.2|round(0,'ceil') }} {{ 3.8|round(method='floor') }}",
    "4.0 3.14 4.0 3.0",
  ],
  ["{{ '<a>&\"'|escape }} {{ '<a>'|e }} {{ '<a>'|safe }}", "&lt;a&gt;&amp;&#34; &lt;a&gt; <a>"],
  [
    "{{ 'x'|default('y') }}{{ u|default('y') }}{{ ''|default('y', true) }}{{ u|d('z') }}{{ ''|default('q', boolean=true) }}",
    "xyyzq",
  ],
  ["{{ [1,2,2,1]|unique|list }}", "[1, 2]"],
  ["{{ ['a','A']|unique|list }}", "['a']"],
  ["{{ ['a','A']|unique(case_sensitive=true)|list }}", "['a', 'A']"],
  ["{{ [{'a':1},{'a':1},{'a':2}]|unique(attribute='a')|list|length }}", "2"],
  [
    "{{ [3,1,2]|sort }} {{ [3,1,2]|sort(reverse=true) }} {{ ['b','A','c']|sort }} {{ ['b','A']|sort(case_sensitive=true) }}",
    "[1, 2, 3] [3, 2, 1] ['A', 'b', 'c'] ['A', 'b']",
  ],
  ["{{ 'a,b'.split(',')|join('-') }}", "a-b"],
  ["{{ [{'a':1},{'a':2}]|join(',', attribute='a') }}", "1,2"],
  ["{{ '%s-%d'|format('a', 3) }}", "a-3"],
  ["{{ '%05.2f'|format(3.14159) }}", "03.14"],
  ["{{ [1,2,3]|length }} {{ [1,2]|count }} {{ 'abc'|count }}", "3 2 3"],
  ["{{ [1,2,3,6]|select('divisibleby', 3)|list }}", "[3, 6]"],
  ["{{ 4 is divisibleby 2 }} {{ 4 is even }} {{ 3 is odd }}", "True True True"],
  [
    "{{ 'a' is lower }} {{ 'A' is upper }} {{ 'a' is string }} {{ 1 is number }} {{ 1 is integer }} {{ 1.0 is float }} {{ true is boolean }}",
    "True True True True True True True",
  ],
  ["{{ x is defined }} {{ x is undefined }} {{ 1 is sameas 1 }} {{ true is sameas true }}", "False True True True"],
  [
    "{{ 1 is eq 1 }} {{ 1 is ne 2 }} {{ 1 is lt 2 }} {{ 1 is in [1,2] }} {{ 'a' is in 'abc' }}",
    "True True True True True",
  ],
  ["{{ 'a' is escaped }}", "False"],
  ["{% set ns = namespace(a=1) %}{% set ns.a = 2 %}{{ ns.a }}", "2"],
  ["{% set c = cycler('a','b') %}{{ c.next() }}{{ c.next() }}{{ c.current }}{{ c.next() }}", "abaa"],
  ["{% set j = joiner(';') %}{{ j() }}a{{ j() }}b", "a;b"],
  ["{{ 'a' * 3 }} {{ [1] * 2 }} {{ [1] + [2] }}", "aaa [1, 1] [1, 2]"],
  [
    "{{ 'a-b'.split('-') }} {{ ' a  b '.split() }} {{ 'a-b-c'.split('-', 1) }} {{ 'a-b-c'.rsplit('-', 1) }}",
    "['a', 'b'] ['a', 'b'] ['a', 'b-c'] ['a-b', 'c']",
  ],
  [
    "{{ 'abc'.startswith('a') }} {{ 'abc'.endswith('c') }} {{ 'abc'.startswith(('x','a')) }} {{ 'abc'.find('c') }} {{ 'abcb'.rfind('b') }} {{ 'abc'.index('b') }} {{ 'abab'.count('a') }}",
    "True True True 2 3 1 2",
  ],
  [
    "{{ 'Abc'.upper() }}{{ 'Abc'.lower() }}{{ 'abc'.capitalize() }}{{ 'a b'.title() }}{{ 'aB'.swapcase() }}",
    "ABCabcAbcA BAb",
  ],
  [
    "{{ 'a'.isdigit() }} {{ '1'.isdigit() }} {{ 'a'.isalpha() }} {{ 'a1'.isalnum() }} {{ ' '.isspace() }} {{ 'a'.islower() }} {{ 'A'.isupper() }}",
    "False True True True True True True",
  ],
  ["{{ 'x'.join(['a','b']) }} {{ ','.join([]) }}", "axb "],
  [
    "{{ 'a\\nb'.splitlines() }} {{ 'a-b'.partition('-') }} {{ 'a-b-c'.rpartition('-') }}",
    "['a', 'b'] ('a', '-', 'b') ('a-b', '-', 'c')",
  ],
  ["{{ 'xabc'.removeprefix('x') }} {{ 'abcx'.removesuffix('x') }}", "abc abc"],
  [
    "{{ 'a{}c{}'.format('b', 1) }} {{ '{x}'.format(x=2) }} {{ '{0}{1}{0}'.format('a','b') }} {{ '{:>5}|{:<5}|{:^5}'.format('a','b','c') }} {{ '{:.2f}'.format(3.14159) }}",
    "abc1 2 aba     a|b    |  c   3.14",
  ],
  ["{{ '%s is %d' % ('a', 3) }} {{ '%s' % 'x' }}", "a is 3 x"],
  ["{{ 'a'.zfill(3) }} {{ 'a'.ljust(3) }}| {{ 'a'.rjust(3) }} {{ 'a'.center(5) }}|", "00a a  |   a   a  |"],
  ["{{ [1,2,3].index(2) }} {{ [1,2,2].count(2) }}", "1 2"],
  ["{% for x in [1,2,3] if x > 1 %}{{ x }}{% else %}none{% endfor %}", "23"],
  ["{% for x in [] %}{% else %}empty{% endfor %}", "empty"],
  [
    "{% for x in [1,2,3,4] %}{% if x == 2 %}{% continue %}{% endif %}{% if x == 4 %}{% break %}{% endif %}{{ x }}{% endfor %}",
    "13",
  ],
  ["{% macro f(a, b=2) %}{{ a }}-{{ b }}{% endmacro %}{{ f(1) }} {{ f(1, 3) }} {{ f(1, b=4) }}", "1-2 1-3 1-4"],
  ["{% macro f() %}<{{ caller() }}>{% endmacro %}{% call f() %}x{% endcall %}", "<x>"],
  ["{% filter upper %}abc{% endfilter %}", "ABC"],
  ["{% set x %}abc{% endset %}{{ x }}", "abc"],
  ["{% set a, b = 1, 2 %}{{ a }}{{ b }}", "12"],
  ["{% if 1 %}a{% elif 2 %}b{% else %}c{% endif %}", "a"],
  ["{{ [1,2,3]|map('string')|join('+') }} {{ ['1','2']|map('int')|sum }}", "1+2+3 3"],
  ["{{ 10|pprint }} {{ {'a':1}|pprint }}", "10 {'a': 1}"],
  ["{{ [[1,2],[3]]|sum(start=[]) }}", "[1, 2, 3]"],
  ["{{ 5|round(1) }} {{ 2.5|round }} {{ 3.5|round }}", "5 2.0 4.0"],
  ["{{ 'abc'|forceescape }}", "abc"],
  ["{{ ['a','b','c']|join(', ')|title }}", "A, B, C"],
  ["{{ ['a', 'b']|map('title')|map('center', 3)|list }}", "[' A ', ' B ']"],
  ["{{ 7 % 3 }} {{ -7 % 3 }} {{ 7.5 % 2 }}", "1 2 1.5"],
  ["{{ 2 ** 3 }}", "8"],
  ["{{ 10.50 }} {{ 1.0 }} {{ 0.1 + 0.2 }} {{ 3.0 * 2 }}", "10.5 1.0 0.30000000000000004 6.0"],
  ["{{ 1 is eq(1) }} {{ 1 is ne(2) }}", "True True"],
  ["{{ 'a' is in ['a'] }} {{ 'a' is not in ['a'] }}", "True False"],
  ["{% if 6 is divisibleby(3) %}y{% endif %}{% if 6 is not divisibleby 4 %}n{% endif %}", "yn"],
  ["{{ true is sameas true }} {{ none is sameas none }}", "True True"],
  ["{{ 'abc'.find('z') }} {{ 'aXbX'.replace('X','') }}", "-1 ab"],
  // Python's methods and tests
  ["{{ 'AbC dEf'.title() }} {{ 'ünï x1y'.title() }} {{ 'AbC dEf'.capitalize() }}", "Abc Def Ünï X1Y Abc def"],
  ["{{ '\n\nx'|indent(2, true) }}|{{ ''|indent(2, true) }}|{{ '\n'|indent(1, false, true) }}", "  \n\n  x|  |\n "],
  [
    "{{ {} is iterable }}{{ 'a' is iterable }}{{ [] is iterable }}{{ 1 is iterable }}{{ x is iterable }}",
    "TrueTrueTrueFalseTrue",
  ],
  [
    "{{ '' is lower }}{{ '12' is upper }}{{ 'a1' is lower }}{{ 'A1' is upper }}{{ 'aB' is lower }}",
    "FalseFalseTrueTrueFalse",
  ],
  [
    "{{ 'a\r\nb\n\nc'.splitlines(true) }} {{ 'a\nb\n'.splitlines(keepends=true) }} {{ 'a\u001cb'.splitlines() }}",
    "['a\\n', 'b\\n', '\\n', 'c'] ['a\\n', 'b\\n'] ['a', 'b']",
  ],
  // Python's comparisons
  [
    "{{ [] == [] }}{{ {} == {} }}{{ [1, {'a': 2}] == [1.0, {'a': 2}] }}{{ {'a': 1} != {'a': 1} }}{{ [1] == [2] }}",
    "TrueTrueTrueFalseFalse",
  ],
  [
    "{{ '1' == 1 }}{{ '' == 0 }}{{ false == '' }}{{ x == none }}{{ x != none }}{{ x == y }}{{ true == 1 }}",
    "FalseFalseFalseFalseTrueTrueTrue",
  ],
  [
    "{{ [1] in [[1]] }}{{ {'a': 1} in [{'a': 1}] }}{{ none in [1] }}{{ none not in [none] }}{{ '1' in [1] }}{{ true in [1] }}",
    "TrueTrueFalseFalseFalseTrue",
  ],
  ["{{ 'b' > 'a' }}{{ 'a' >= 'a' }}{{ 'a' < 'B' }}{{ [1, 2] < [1, 3] }}{{ [1] <= [] }}", "TrueTrueFalseTrueFalse"],
  ["{{ [{'a': '1'}, {'a': 1}]|selectattr('a', 'equalto', 1)|list }}", "[{'a': 1}]"],
  // Python's floats
  [
    "{{ 0.0001 }} {{ 0.00001 }} {{ -0.0000125 }} {{ 1.0 }} {{ 0.1 + 0.2 }}",
    "0.0001 1e-05 -1.25e-05 1.0 0.30000000000000004",
  ],
  [
    "{{ 10000000000000000.0 }} {{ 1000000000000000.0 }} {{ 2.0 ** 0.5 }}",
    "1e+16 1000000000000000.0 1.4142135623730951",
  ],
  ["{{ {'rate': 0.00001, 'most': 5.0}|tojson }} {{ [0.00001] }}", '{"rate": 1e-05, "most": 5.0} [1e-05]'],
  // Python's white space differs from JavaScript's.
  ["{{ '\ufeffa\x85\x1c'|trim }}", "\ufeffa"],
  ["{{ '\x85\ufeff a '.strip() }}|{{ '\x1fa '.lstrip(none) }}|{{ ' a\u3000'.rstrip() }}", "\ufeff a|a | a"],
  [
    "{{ 'a\ufeffb\x1cc'.split()|length }}{{ '\ufeff'.isspace() }}{{ '\x85 '.isspace() }}{{ ''.isspace() }}",
    "2FalseTrueFalse",
  ],
  ["{{ '  a b c '.rsplit(none, 1) }} {{ ' a b '.rsplit(none, 0) }}", "['  a b', 'c'] [' a b']"],
  ["{{ ' a  b c '.split(none, 1) }} {{ ' a '.split(none, 0) }} {{ '  '.split() }}", "['a', 'b c '] ['a '] []"],
  ["{{ 'a b  c d'.rsplit(none, 1) }} {{ 'a b'.rsplit() }}", "['a b  c', 'd'] ['a', 'b']"],
  ["{{ '%d%%' % 5 }} {{ '%(a)s' % {'a': 1} }} {{ '%5.1f|%-5s|%05d' % (1.25, 'a', 3) }}", "5% 1   1.2|a    |00003"],
  [
    "{{ '{:,}'.format(1234567) }} {{ '{:05d}'.format(42) }} {{ '{!r}'.format('a') }} {{ '{{}}'.format() }} {{ '{:d}'.format(3) }} {{ '{:5}|'.format(3) }} {{ '{:.3}'.format('abcdef') }}",
    "1,234,567 00042 'a' {} 3     3| abc",
  ],
  ["{{ [1, 2.0, true]|sum }}", "4.0"],
  [
    "{{ -2.5|round }} {{ 0.125|round(2) }} {{ 2.675|round(2) }} {{ 1234|round(-2) }} {{ 1250.0|round(-2) }}",
    "-2.0 0.12 2.67 1200 1200.0",
  ],
  ["{{ ['b','a','C']|max }} {{ ['b','a','C']|max(case_sensitive=true) }} {{ []|min is undefined }}", "C b True"],
  [
    "{% for x in [1,2] %}{% for y in [1,2,3] %}{{ loop.cycle('o','e') }}{% endfor %}{{ loop.cycle('A','B') }}{% endfor %}",
    "oeoAoeoB",
  ],
  [
    "{% for x in [1,1] %}{{ loop.changed(x, 1) }}{% for y in [1,1] %}{{ loop.changed(y) }}{% endfor %};{% endfor %}",
    "TrueTrueFalse;FalseTrueFalse;",
  ],
  ["{{ [{'a':{'b':2}},{'a':{'b':3}}]|sum(attribute='a.b') }} {{ [[1,2],[3,4]]|sum(attribute=1) }}", "5 6"],
  [
    "{{ [[1,2],[1,3],[2,4]]|groupby(0)|length }} {{ [{'a':1},{'a':2}]|groupby('a') }}",
    "2 [(1, [{'a': 1}]), (2, [{'a': 2}])]",
  ],
  ["{{ ['a','b']|join(d='-') }} {{ [1,[2]]|join }} {{ 'abc'|join('-') }}", "a-b 1[2] a-b-c"],
  ["{{ ''|wordcount }} {{ \"it's a-b\"|wordcount }}", "0 4"],
  ["{{ 'é<b>'|escape }} {{ 5|escape }} {{ 'a'|center(4) }}| {{ 'ab'|center(5) }}|", "é&lt;b&gt; 5  a  |   ab |"],
  ["{{ 'abc'|truncate(3, true, '', 0) }} {{ 'abcdef'|truncate(3, true, '…', 0) }}", "abc ab…"],
  ["{{ 'a'.join('bc') }} {{ '-'.join({'a':1,'b':2}) }}", "bac a-b"],
  ["{{ [3,1]|sort|first }} {{ ['x']|count }} {{ u|d }}|{{ none|d('x') }}", "1 1 |None"],
  ["{{ 3 * 'ab' }} {{ [1,2] * 0 }} {{ 'a' * -1 }}|", "ababab [] |"],
  [
    "{{ 'Hello World'.swapcase() }} {{ 'a1'.isalpha() }} {{ ''.isdigit() }} {{ '٣'.isdigit() }} {{ 'Aa'.isupper() }}",
    "hELLO wORLD False False True False",
  ],
  [
    "{{ ' a '.strip() }}|{{ 'xax'.strip('x') }} {{ 'abc'.count('') }} {{ 'a,b,'.split(',') }} {{ 'a\\r\\nb\\n'.splitlines() }}",
    "a|a 4 ['a', 'b', ''] ['a', 'b']",
  ],
];

/** Results of Jinja2 3.1 with the extension loopcontrols. */
const loops: [template: string, expected: string][] = [
  ["{% for x in [1,2,3] %}{{ x }}{% if x == 2 %}{% continue %}{% endif %};{% endfor %}", "1;23;"],
  ["{% for x in [1,2,3] %}{{ x }}{% if x == 2 %}-{% break %}{% endif %};{% endfor %}", "1;2-"],
  ["{% for x in [1] %}{{ x }}{% continue %}{% else %}none{% endfor %}", "1none"],
  ["{% for x in [] %}{{ x }}{% else %}none{% endfor %}", "none"],
  ["{% for x in [1,2,3] if x > 1 %}{{ loop.index }}/{{ loop.length }} {% endfor %}", "1/2 2/2 "],
  ["{% for x in 'abc' %}{{ loop.previtem }}{{ x }}{{ loop.revindex0 }}{% endfor %}", "a2ab1bc0"],
  ["{% for a, b in ['xy', (1, 2)] %}{{ a }}{{ b }};{% endfor %}", "xy;12;"],
  [
    "{% for x in [1,2] %}{% for y in 'ab' %}{{ x }}{{ y }}{{ loop.last }} {% endfor %}{{ loop.first }}{% endfor %}",
    "1aFalse 1bTrue True2aFalse 2bTrue False",
  ],
  [
    "{% macro m(x) %}{% for y in x %}{% if y == 'b' %}{% break %}{% endif %}{{ y }}{% endfor %}{% endmacro %}{{ m('abc') }}",
    "a",
  ],
  ["{% set x = 1 %}{% for y in [2] %}{% set x = y %}{% endfor %}{{ x }}{{ loop is defined }}", "1False"],
];

test.each(loops)("runs loops as Jinja2 does: %s", (template, expected) => {
  expect(atOnce(renderTemplate(template, {}))).toBe(expected);
});

test.each(table)("renders as Jinja2 does: %s", (template, expected) => {
  expect(atOnce(renderTemplate(template, {}))).toBe(expected);
});

// A wrong format, an unknown filter and a filter of a wrong type.
test.each(["'%s %s' % 'a'", "17|divisibleby(3)", "[0.1] * 3|sum"])(
  "evaluates only the chosen branch of a conditional expression, as Jinja2 does: %s",
  (wrong) => {
    const rendered = (condition: boolean) => atOnce(renderTemplate(`{{ ${wrong} if ${condition} else 'n' }}`, {}));
    expect(rendered(false)).toBe("n");
    expect(() => rendered(true)).toThrow(/^chat template: /);
  },
);

/** Templates that exceed a limit on the size of values or on the number of steps. */
const excessive = [
  "{{ 'a'|center(1000000000) }}",
  "{{ 'a'.ljust(1000000000) }}",
  "{{ 'a'.zfill(1000000000) }}",
  "{{ 'ab' * 1000000000 }}",
  "{{ [0] * 1000000000 }}",
  "{{ [0]|batch(1000000000, 1) }}",
  "{{ [0]|slice(1000000000) }}",
  "{{ '%999999999d' % 1 }}",
  "{{ '%.999999999f' % 1 }}",
  "{{ '{:>999999999}'.format(1) }}",
  "{{ ([[0] * 100000] * 1000)|sum(start=[]) }}",
  "{{ (['a' * 1000000] * 1000)|join }}",
  "{{ ('a' * 1000000).join(['b'] * 1000) }}",
  "{{ ('\\n' * 1000000).splitlines() }}",
  "{% for i in range(10000) %}{% for j in range(10000) %}{{ loop.cycle(1, 2) }}{% endfor %}{% endfor %}",
];

test.each(excessive)("rejects a template that exceeds a limit on sizes or steps: %s", (template) => {
  const begun = performance.now();
  expect(() => atOnce(renderTemplate(template, {}))).toThrow(
    /^chat template: (?:a (?:text|format) of|an array of|more than|took more than)/,
  );
  expect(performance.now() - begun).toBeLessThan(5000);
});

/** Invalid templates and arguments, with the error of the rendering. */
const wrong: [template: string, message: RegExp][] = [
  ["{% for a, b in [[1]] %}{% endfor %}", /Too few items to unpack/],
  ["{% for a, b in ['xyz'] %}{% endfor %}", /Too many items to unpack/],
  ["{% break %}", /break outside of a loop/],
  ["{{ ['a']|sum }}", /sum: expected numbers, got StringValue/],
  ["{{ [1, 'a']|max }}", /expected values of the same type to compare/],
  ["{{ [1]|groupby }}", /groupby: expected an attribute/],
  ["{{ [1]|batch(0) }}", /linecount: expected a whole number of at least 1, got 0/],
  ["{{ 'a'|round }}", /round: expected a number, got StringValue/],
  ["{{ '%d' % 'a' }}", /format: expected a number, got StringValue/],
  ["{{ '%s %s' % 'a' }}", /not enough values for the format/],
  ["{{ '{x.y}'.format(x=1) }}", /format: expected/],
  ["{{ 'abc'.index('z') }}", /index: substring not found/],
  ["{% for x in [1] %}{{ loop.cycle() }}{% endfor %}", /loop.cycle: expected at least one item/],
];

test.each(wrong)("rejects an invalid template or argument, and names the cause: %s", (template, message) => {
  expect(() => atOnce(renderTemplate(template, {}))).toThrow(message);
});

// A guard mark is a private-use character that the chat encoder inserts after each character of a message that could begin a special
// token.
test("guard marks stay attached to their characters and do not count towards lengths", () => {
  const mark = "\ue000";
  const variables = { content: `<${mark}|end|>` };
  const rendered = (expression: string) => atOnce(renderTemplate(`{{ ${expression} }}`, variables, mark));
  expect(rendered("content|reverse")).toBe(`>|dne|<${mark}`);
  expect(rendered("content|truncate(1, true, '', 0)")).toBe(`<${mark}`);
  expect(rendered("content.ljust(8) ~ '.'")).toBe(`<${mark}|end|> .`);
  expect(rendered("content|center(9)")).toBe(` <${mark}|end|> `);
  expect(rendered("content.count('|')")).toBe("2");
  expect(rendered("content.find('>')")).toBe("6");
  expect(rendered("'%s' % content")).toBe(`<${mark}|end|>`);
});
