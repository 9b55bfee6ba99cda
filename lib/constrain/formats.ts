// Formats of JSON Schema, as defined by their RFCs.
import type { Slices } from "../core/slices.ts";
import { Work } from "./limits.ts";
import { parsePattern, wholeTexts } from "./pattern.ts";
import { type Dfa, dfaInSlices, type Edge, intersectInSlices } from "./regular.ts";

const day = "(?:0[1-9]|1\\d|2[0-8])";
const leap = "(?:\\d\\d(?:0[48]|[2468][048]|[13579][26])|(?:[02468][048]|[13579][26])00)";
const date = `(?:\\d{4}-(?:(?:0[1-9]|1[0-2])-${day}|(?:0[13-9]|1[0-2])-(?:29|30)|(?:0[13578]|1[02])-31)|${leap}-02-29)`;

/**
 * Returns a pattern of leap seconds. They end a UTC day, so the local time follows from the offset. Only offsets of whole and half hours
 * are supported, to keep the pattern small.
 */
function leapSeconds(): string {
  const two = (n: number) => String(n).padStart(2, "0");
  const half = (n: number, minutes: number) => `${two(Math.floor(n / 2))}:${two((n % 2) * 30 + minutes)}`;
  return Array.from({ length: 48 }, (_, ahead) => {
    const zone = ahead === 0 ? "Z|z|[+-]00:00" : `\\+${half(ahead, 0)}|-${half(48 - ahead, 0)}`;
    return `${half((ahead + 47) % 48, 29)}:60(?:\\.\\d+)?(?:${zone})`;
  }).join("|");
}

const clockTime = "(?:[01]\\d|2[0-3]):[0-5]\\d";
const time = `(?:${clockTime}:[0-5]\\d(?:\\.\\d+)?(?:[Zz]|[+-]${clockTime})|${leapSeconds()})`;

const periods = "(?:\\d+Y(?:\\d+M(?:\\d+D)?)?|\\d+M(?:\\d+D)?|\\d+D)";
const clock = "T(?:\\d+H(?:\\d+M(?:\\d+S)?)?|\\d+M(?:\\d+S)?|\\d+S)";

/** Returns a pattern of labels: letters and digits with hyphens in between, such as `xn--…`. */
const label = (most: number) => `[A-Za-z0-9](?:[A-Za-z0-9-]{0,${most - 2}}[A-Za-z0-9])?`;
// A host name has at most 253 characters. To keep the automaton small, the pattern accepts only three forms that fit. The first has up to
// three labels. The second has four labels, and the last three have at most 62 characters. The third has up to ten labels, and all but one
// have at most 20 characters.
const short = label(20);
const oneLong = Array.from({ length: 10 }, (_, i) => `(?:${short}\\.){${i}}${label(63)}(?:\\.${short}){0,${9 - i}}`);
const hostname = `(?:${label(63)}(?:\\.${label(63)}){0,2}|${label(63)}(?:\\.${label(62)}){3}|${oneLong.join("|")})`;

const octet = "(?:\\d|[1-9]\\d|1\\d\\d|2[0-4]\\d|25[0-5])";
const ipv4 = `${octet}(?:\\.${octet}){3}`;
const group = "[0-9a-fA-F]{1,4}";

/** Returns a pattern of IPv6 addresses: eight groups, or fewer with :: for the rest. The last two groups may be an IPv4 address. */
function ipv6Address(): string {
  const row = (n: number) => (n === 0 ? "" : n === 1 ? group : `${group}(?::${group}){${n - 1}}`);
  const forms = [row(8), `${row(6)}:${ipv4}`, `${row(7)}::`];
  for (let before = 0; before < 7; before++) {
    forms.push(`${row(before)}::(?:${group}(?::${group}){0,${6 - before}})?`);
    if (before < 6) forms.push(`${row(before)}::(?:${group}:){0,${5 - before}}${ipv4}`);
  }
  return `(?:${forms.join("|")})`;
}
const ipv6 = ipv6Address();

const atom = "[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+";
// A quoted local part may contain any printable character, but `"` and `\` need a backslash. It has at most 64 characters, including the
// quotes. With backslashes, the pattern accepts up to 31 characters.
const plain = "[ !#-\\[\\]-~]";
const quoted = `"(?:${plain}{0,62}|(?:${plain}|\\\\[ -~]){0,31})"`;
const unreserved = "A-Za-z0-9._~-";
const subDelims = "!$&'()*+,;=";
const escaped = "%[0-9A-Fa-f]{2}";
const characters = (more: string) => `(?:[${subDelims}${more}${unreserved}]|${escaped})`;
const host = `(?:\\[(?:${ipv6}|[Vv][0-9A-Fa-f]+\\.[${subDelims}:${unreserved}]+)\\]|${characters("")}*)`;
const authority = `(?:${characters(":")}*@)?${host}(?::\\d*)?`;
const segment = characters(":@");
const rooted = `(?:${segment}+(?:/${segment}*)*)`;
const hierarchy = `(?://${authority}(?:/${segment}*)*|/${rooted}?|${rooted})?`;
const rest = `${characters(":@/?")}*`;
const uri = `[A-Za-z][A-Za-z0-9+.-]*:${hierarchy}(?:\\?${rest})?(?:#${rest})?`;

const hexadecimal = (count: number) => `[0-9a-fA-F]{${count}}`;

/** A part of a format: the texts that match all these patterns completely, or the texts of another format. */
type Part = { all: readonly string[] } | { format: string };

/** Formats as consecutive parts. In all parts but the last, no text is a prefix of another text of the same part. */
const parts: ReadonlyMap<string, readonly Part[]> = new Map([
  // RFC 3339; its appendix A has durations.
  ["date", [{ all: [date] }]],
  ["time", [{ all: [time] }]],
  ["date-time", [{ all: [`${date}[Tt]`] }, { format: "time" }]],
  ["duration", [{ all: [`P(?:${periods}(?:${clock})?|${clock}|\\d+W)`] }]],
  // RFC 5321: at most 64 characters come before the @ that ends the local part.
  [
    "email",
    [
      { all: [`(?:${atom}(?:\\.${atom})*|${quoted})@`, '"[ -~]*|[!#-?A-~]{1,64}@'] },
      { all: [`${hostname}|\\[(?:${ipv4}|IPv6:${ipv6})\\]`] },
    ],
  ],
  ["hostname", [{ all: [hostname] }]], // RFC 1123
  ["ipv4", [{ all: [ipv4] }]], // RFC 2673
  ["ipv6", [{ all: [ipv6] }]], // RFC 4291
  ["uri", [{ all: [uri] }]], // RFC 3986
  // RFC 9562.
  ["uuid", [{ all: [[8, 4, 4, 4, 12].map(hexadecimal).join("-")] }]],
]);

/** Names of the supported formats. */
export const formatNames: readonly string[] = [...parts.keys()];

const automata = new Map<string, Dfa>();

/** Returns the automaton of a format, which is made only once; undefined for an unknown name. */
export function* formatDfa(name: string): Slices<Dfa | undefined> {
  const all = parts.get(name);
  let whole = automata.get(name);
  if (!all || whole) return whole;
  for (const part of all) {
    const next = "format" in part ? yield* formatDfa(part.format) : yield* partDfa(part.all, name);
    whole = whole ? joined(whole, next!) : next!;
  }
  automata.set(name, whole!);
  return whole;
}

function* partDfa(sources: readonly string[], name: string): Slices<Dfa> {
  // The result is shared by all schemas, so the work does not count towards the budget of one schema.
  const work = new Work();
  let whole: Dfa | undefined;
  for (const source of sources) {
    const tree = wholeTexts(parsePattern(source, name, work), name, { search: false });
    const dfa = yield* dfaInSlices(tree, "json", name, work);
    whole = whole ? yield* intersectInSlices(whole, dfa, name, work) : dfa;
  }
  return merged(whole!);
}

/** Concatenates two automata. The accepting states of the first must have no edges. */
function joined(first: Dfa, then: Dfa): Dfa {
  const base = first.edges.length;
  const to = (state: number) => (first.accepting[state] ? base + then.start : state);
  return {
    start: first.start,
    accepting: [...first.accepting.map(() => false), ...then.accepting],
    edges: [
      ...first.edges.map((out) => out.map(([low, high, next]): Edge => [low, high, to(next)])),
      ...then.edges.map((out) => out.map(([low, high, next]): Edge => [low, high, base + next])),
    ],
  };
}

/** Merges equivalent states. The result is minimal for a finite language. States on a cycle are not merged. */
function merged({ start, accepting, edges }: Dfa): Dfa {
  const states: Edge[][] = [];
  const ends: boolean[] = [];
  const bySignature = new Map<string, number>();
  const places = new Map<number, number>();
  const placeOf = (state: number): number => {
    const known = places.get(state);
    if (known !== undefined) return known;
    // A state on a cycle is never merged, because its signature contains a new number from the same cycle.
    const place = states.push([]) - 1;
    places.set(state, place);
    const out: [number, number, number][] = [];
    for (const [low, high, next] of [...edges[state]!].sort((a, b) => a[0] - b[0])) {
      const to = placeOf(next);
      const last = out.at(-1);
      if (last && last[2] === to && last[1] === low - 1) last[1] = high;
      else out.push([low, high, to]);
    }
    const signature = `${accepting[state]};${out.join(";")}`;
    const like = bySignature.get(signature);
    if (like !== undefined && states.length === place + 1) {
      states.pop();
      places.set(state, like);
      return like;
    }
    bySignature.set(signature, place);
    states[place] = out;
    ends[place] = accepting[state]!;
    return place;
  };
  const first = placeOf(start);
  return { start: first, accepting: ends, edges: states };
}
