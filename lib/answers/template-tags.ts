// The code of a chat template: its tags, without the text around them and without comments.

/** A tag of a template. */
interface TemplateTag {
  /** The code of the tag. Each string literal is replaced by `''`. */
  code: string;
  /** The contents of its string literals. */
  literals: readonly string[];
}

const LITERAL = /"(?:[^"\\]|\\[\s\S])*"|'(?:[^'\\]|\\[\s\S])*'/y;

/** Returns a template's tags in their order. Stops at the first unclosed tag. */
export function tagsOf(template: string): TemplateTag[] {
  const tags: TemplateTag[] = [];
  const opening = /\{[#%{]/g;
  for (let open = opening.exec(template); open; open = opening.exec(template)) {
    const start = opening.lastIndex;
    const found = open[0] === "{#" ? commentEnd(template, start) : readTag(template, start, open[0]);
    if (!found) break;
    if (found.tag) tags.push(found.tag);
    opening.lastIndex = found.end;
  }
  return tags;
}

/** Whether the code of the tags reads a variable before setting it. Members, keys and named arguments of the same name do not count. */
export function variableReads(tags: readonly TemplateTag[], name: string): boolean {
  // `name=` is a named argument. `name.x`, `name[x]` and `name(x)` use an object or a function, but the variables for reasoning (effort.ts)
  // are plain values.
  const read = new RegExp(String.raw`(?<![.\w])${name}\b(?!\s*(?:=(?!=)|[.(\[]))`);
  const bound = new RegExp(String.raw`(?<![.\w])${name}\b`);
  for (const { code } of tags) {
    const { binds, rest } = assignment(code);
    if (read.test(rest)) return true;
    if (bound.test(binds)) return false;
  }
  return false;
}

/** Splits code into the names that it binds and the rest, as in `set name = rest`, `for name in rest` and `macro name(name)`. */
function assignment(code: string): { binds: string; rest: string } {
  const [, keyword, after = ""] = /^[-+]?\s*(set|for|macro)\b([\s\S]*)/.exec(code) ?? [];
  if (keyword === undefined) return { binds: "", rest: code };
  const end = keyword === "set" ? after.indexOf("=") : keyword === "for" ? after.search(/\bin\b/) : -1;
  return end < 0 ? { binds: after, rest: "" } : { binds: after.slice(0, end), rest: after.slice(end + 1) };
}

interface Found {
  tag?: TemplateTag;
  end: number;
}

function commentEnd(template: string, start: number): Found | undefined {
  const end = template.indexOf("#}", start);
  return end < 0 ? undefined : { end: end + 2 };
}

/** Reads a tag. A closing mark within a string literal does not end it. Returns undefined for an unclosed tag. */
function readTag(template: string, start: number, open: string): Found | undefined {
  const close = open === "{%" ? "%}" : "}}";
  const next = /["']|%\}|\}\}/g;
  next.lastIndex = start;
  const literals: string[] = [];
  let [code, from] = ["", start];
  for (let mark = next.exec(template); mark; mark = next.exec(template)) {
    if (mark[0] === close)
      return { tag: { code: code + template.slice(from, mark.index), literals }, end: next.lastIndex };
    if (mark[0].length > 1) continue;
    LITERAL.lastIndex = mark.index;
    const [literal] = LITERAL.exec(template) ?? [];
    if (literal === undefined) return undefined;
    literals.push(literal.slice(1, -1));
    code += `${template.slice(from, mark.index)}''`;
    from = mark.index + literal.length;
    next.lastIndex = from;
  }
  return undefined;
}
