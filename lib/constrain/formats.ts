// Formats of JSON Schema as patterns: what they accept is of the format, but not everything of a format is accepted.
import type { Slices } from "../tokenizer/slices.ts";
import { Work } from "./limits.ts";
import { parsePattern, wholeTexts } from "./pattern.ts";
import { type Dfa, dfaInSlices } from "./regular.ts";

const day = "(?:0[1-9]|1\\d|2[0-8])";
const leap = "(?:\\d\\d(?:0[48]|[2468][048]|[13579][26])|(?:[02468][048]|[13579][26])00)";
const date = `(?:\\d{4}-(?:(?:0[1-9]|1[0-2])-${day}|(?:0[13-9]|1[0-2])-(?:29|30)|(?:0[13578]|1[02])-31)|${leap}-02-29)`;
const time = "(?:[01]\\d|2[0-3]):[0-5]\\d:[0-5]\\d(?:\\.\\d{1,9})?(?:Z|[+-](?:[01]\\d|2[0-3]):[0-5]\\d)";
// Of at most 63 characters.
const label = "[A-Za-z0-9]{1,20}(?:-[A-Za-z0-9]{1,20}){0,2}";
const octet = "(?:\\d|[1-9]\\d|1\\d\\d|2[0-4]\\d|25[0-5])";
const group = "[0-9a-fA-F]{1,4}";
const periods = "(?:\\d{1,9}Y(?:\\d{1,9}M(?:\\d{1,9}D)?)?|\\d{1,9}M(?:\\d{1,9}D)?|\\d{1,9}D)";
const clock = "T(?:\\d{1,9}H(?:\\d{1,9}M(?:\\d{1,9}S)?)?|\\d{1,9}M(?:\\d{1,9}S)?|\\d{1,9}S)";
// Of at most 64 characters with its dots.
const name = "[A-Za-z0-9_+-]{1,20}(?:\\.[A-Za-z0-9_+-]{1,20}){0,2}";

/** Eight groups, or fewer with :: for the rest. */
function ipv6(): string {
  const forms = [`(?:${group}:){7}${group}`];
  const row = (n: number) => (n === 0 ? "" : n === 1 ? group : `${group}(?::${group}){${n - 1}}`);
  for (let before = 0; before < 8; before++)
    for (let after = 0; before + after < 8; after++) forms.push(`${row(before)}::${row(after)}`);
  return `(?:${forms.join("|")})`;
}

/** Of RFC 3339, 1123, 4122, 4291, 5322 (without quotes and comments), 3986 (with an authority) and ISO 8601's durations. */
const patterns: ReadonlyMap<string, string> = new Map([
  ["date", date],
  ["time", time],
  ["date-time", `${date}T${time}`],
  ["duration", `P(?:${periods}(?:${clock})?|${clock}|\\d{1,9}W)`],
  ["email", `${name}@${label}(?:\\.${label}){0,3}\\.[A-Za-z]{2,24}`],
  ["hostname", `${label}(?:\\.${label}){0,3}`],
  ["ipv4", `${octet}(?:\\.${octet}){3}`],
  ["ipv6", ipv6()],
  [
    "uri",
    `[A-Za-z][A-Za-z0-9+.-]{0,30}://${label}(?:\\.${label}){0,7}(?::\\d{1,4})?(?:/[A-Za-z0-9._~!$&'()*+,;=:@-]*)*(?:\\?[A-Za-z0-9._~!$&'()*+,;=:@/?-]*)?(?:#[A-Za-z0-9._~!$&'()*+,;=:@/?-]*)?`,
  ],
  ["uuid", "[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}"],
]);

/** The formats that are known. */
export const formatNames: readonly string[] = [...patterns.keys()];

const automata = new Map<string, Dfa>();

/** Returns the automaton of a format, which is made once; undefined for an unknown name. */
export function* formatDfa(name: string): Slices<Dfa | undefined> {
  const source = patterns.get(name);
  let dfa = automata.get(name);
  if (source === undefined || dfa) return dfa;
  // The result is shared, so no single compilation pays for it.
  const work = new Work();
  const tree = wholeTexts(parsePattern(source, name, work), name, { search: false });
  dfa = yield* dfaInSlices(tree, "json", name, work);
  automata.set(name, dfa);
  return dfa;
}
