import { HeddleError } from "../../core/errors.ts";

/** Maximum number of hosts in a list. A larger number is a mistake. */
const MAX_HOSTS = 65_536;

/**
 * Expands a host list of Slurm, such as `node[01-03,7],login` or `r[1-2]n[1-2]-ib`. A bracket holds numbers and ranges, whose leading zeros
 * set the width.
 * @throws HeddleError INVALID_ARGUMENT
 */
export function expandHostlist(text: string): string[] {
  const fail = (what: string) =>
    new HeddleError(
      "INVALID_ARGUMENT",
      `hostlist: expected hosts such as node[01-03,7], got ${what} in ${JSON.stringify(text)}`,
    );
  const hosts: string[] = [];
  for (const item of splitItems(text, fail)) {
    if (item === "") throw fail("an empty name");
    let names = [""];
    for (const part of item.matchAll(/\[([^\]]*)\]|[^[\]]+/g)) {
      const endings = part[1] === undefined ? [part[0]] : numbersOf(part[1], fail);
      if (names.length * endings.length > MAX_HOSTS) throw fail(`more than ${MAX_HOSTS} hosts`);
      names = names.flatMap((name) => endings.map((ending) => name + ending));
    }
    hosts.push(...names);
    if (hosts.length > MAX_HOSTS) throw fail(`more than ${MAX_HOSTS} hosts`);
  }
  return hosts;
}

/** Splits at the commas outside brackets. */
function splitItems(text: string, fail: (what: string) => HeddleError): string[] {
  const items = [""];
  let inside = false;
  for (const character of text) {
    if (character === "[" || character === "]") {
      if (inside === (character === "[")) throw fail(`an unexpected ${character}`);
      inside = !inside;
    }
    if (character === "," && !inside) items.push("");
    else items[items.length - 1] += character;
  }
  if (inside) throw fail("an open bracket");
  return items;
}

function numbersOf(list: string, fail: (what: string) => HeddleError): string[] {
  return list.split(",").flatMap((range) => {
    const [, first, last = first] = /^(\d{1,9})(?:-(\d{1,9}))?$/.exec(range) ?? [];
    if (first === undefined || last === undefined || Number(last) < Number(first)) throw fail(JSON.stringify(range));
    const count = Number(last) - Number(first) + 1;
    if (count > MAX_HOSTS) throw fail(`more than ${MAX_HOSTS} hosts`);
    return Array.from({ length: count }, (_, i) => String(Number(first) + i).padStart(first.length, "0"));
  });
}
