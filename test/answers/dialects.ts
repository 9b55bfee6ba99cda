// Short chat templates for tests. Each writes calls in one format, as the templates of the format's family do.
// A comment such as `{# <code> #}` contains marks by which the library recognizes the format.
import type { CallFormatName } from "../../lib/answers/call-formats.ts";

/** Returns template code that writes the calls of a message `m`. `body` writes one call `c`. */
const list = (open: string, body: string, between: string, close: string) =>
  `${open}{% for c in m.tool_calls %}${body}{% if not loop.last %}${between}{% endif %}{% endfor %}${close}`;
const json = '{"name": "{{ c.function.name }}", "arguments": {{ c.function.arguments | tojson }}}';
/** Returns template code that writes the arguments of a call `c`. Replaces K in `body` by the name, and V by the value. */
const items = (body: string) =>
  `{% for k, v in c.function.arguments | items %}${body.replace("V", "{{ v if v is string else v | tojson }}").replace("K", "{{ k }}")}{% endfor %}`;
const parameters = '{"tool_name": "{{ c.function.name }}", "parameters": {{ c.function.arguments | tojson }}}';
const name = "{{ c.function.name }}";

const CALLS: Readonly<Record<CallFormatName, string>> = {
  hermes: list("", `<tool_call>\n${json}\n</tool_call>`, "\n", ""),
  smollm: list("", `<tool_call>\n${json}\n</tool_call>`, "\n", "{# <code> #}"),
  glm_plain: list("", `${name}\n{{ c.function.arguments | tojson }}`, "", "{# <|observation|> #}"),
  hunyuan: list("<tool_calls>[", json, ", ", "]</tool_calls>"),
  granite: list("<|tool_call|>[", json, ", ", "]"),
  phi: list("<|tool_call|>[", json, ", ", "]<|/tool_call|>"),
  phi_functools: list("functools[", json, ", ", "]"),
  command_r: list("<|START_ACTION|>[\n", parameters, ",\n", "\n]<|END_ACTION|>"),
  command_r_action: list("Action: ```json\n[\n", parameters, ",\n", "\n]```"),
  llama: list(
    "",
    '{"name": "{{ c.function.name }}", "parameters": {{ c.function.arguments | tojson }}}',
    "; ",
    '{# "parameters": dictionary #}',
  ),
  mistral: list(
    "[TOOL_CALLS] [",
    '{% if c.id | length != 9 %}{{ raise_exception("id") }}{% endif %}{{ (c.function | tojson)[:-1] + \', "id": "\' + c.id + \'"}\' }}',
    ", ",
    "]",
  ),
  mistral_args: list("", `[TOOL_CALLS]${name}[ARGS]{{ c.function.arguments | tojson }}`, "", ""),
  deepseek: list(
    "<｜tool▁calls▁begin｜>",
    "{{ '<｜tool▁call▁begin｜>' + c.function.name + '<｜tool▁sep｜>' + c.function.arguments + '<｜tool▁call▁end｜>' }}",
    "",
    "<｜tool▁calls▁end｜>",
  ),
  deepseek_blocks: list(
    "<｜tool▁calls▁begin｜>",
    "{{ '<｜tool▁call▁begin｜>' + c['type'] + '<｜tool▁sep｜>' + c['function']['name'] + '\\n```json\\n' + c['function']['arguments'] + '\\n```<｜tool▁call▁end｜>' }}",
    "\n",
    "<｜tool▁calls▁end｜>",
  ),
  glm: list(
    "",
    `<tool_call>${name}\n${items("<arg_key>K</arg_key>\n<arg_value>V</arg_value>\n")}</tool_call>`,
    "\n",
    "",
  ),
  qwen_xml: list(
    "",
    `<tool_call>\n<function=${name}>\n${items("<parameter=K>\nV\n</parameter>\n")}</function>\n</tool_call>`,
    "\n",
    "",
  ),
  seed_xml: list(
    "",
    `<seed:tool_call>\n<function=${name}>\n${items("<parameter=K>V</parameter>\n")}</function>\n</seed:tool_call>`,
    "\n",
    "",
  ),
  harmony: list(
    "",
    "<|channel|>commentary to=functions.{{ c.function.name }} <|constrain|>json<|message|>{{ c.function.arguments | tojson }}",
    "<|call|><|start|>assistant",
    "",
  ),
};

/** Returns a template that writes each message between `§` and `¶`. */
export function dialect(format: CallFormatName): string {
  return [
    "{% if tools %}{{ tools | tojson }}{% endif %}",
    "{% for m in messages %}§{% if m.tool_calls %}",
    CALLS[format],
    "{% else %}{{ m.role }}: {{ m.tool_call_id }} {{ m.content }}{% endif %}¶{% endfor %}",
  ].join("");
}
