// Encoding with normalizers or pre-tokenizers that native code lacks: TypeScript cuts the pieces, native code merges.
import type { NativeTokenizer } from "../binding.ts";
import { HeddleError } from "../errors.ts";
import type { Plan } from "./plan.ts";
import { slice, type Tracked, track } from "./tracked.ts";
import { TimeoutError, withinTime } from "./watchdog.ts";

const noToken = 0xffffffff;
const kindText = 0xffffffff;
const kindPiece = 0xfffffffe;

/** Pieces and added tokens of a text, as NativeTokenizer.encodeSegments takes them. */
interface Segments {
  text: string;
  segments: Uint32Array;
  /** Where offsets are wanted: origin of each unit of `text`. */
  sources?: Uint32Array;
}

function cut(
  plan: Plan,
  native: NativeTokenizer,
  text: string,
  allowSpecial: boolean,
  tracked: boolean,
  barriers: Uint32Array | undefined,
): Segments {
  const texts: string[] = [];
  const segments: number[] = [];
  const sources: Uint32Array[] = [];
  let length = 0;
  const add = (piece: Tracked, kind: number) => {
    texts.push(piece.text);
    length += piece.text.length;
    segments.push(length, kind);
    if (piece.sources) sources.push(piece.sources);
  };
  const addText = (piece: Tracked, atStart: boolean) => {
    if (!plan.preTokenize) add(piece, kindText);
    else for (const part of plan.preTokenize(piece, atStart)) add(part, kindPiece);
  };

  const searchesAgain = plan.spec.added.some((token) => token.normalized);
  const outer = native.splitAdded(text, false, allowSpecial, barriers);
  for (let i = 0; i < outer.length; i += 3) {
    const [begin, end, id] = [outer[i]!, outer[i + 1]!, outer[i + 2]!];
    const raw = text.slice(begin, end);
    const from = tracked ? track(raw, begin) : { text: raw };
    if (id !== noToken) {
      add(from, id);
      continue;
    }
    const normalized = plan.normalize ? plan.normalize(from) : from;
    if (!searchesAgain) {
      addText(normalized, begin === 0);
      continue;
    }
    const inner = native.splitAdded(normalized.text, true, allowSpecial, moveBarriers(barriers, normalized));
    for (let k = 0; k < inner.length; k += 3) {
      const part = slice(normalized, inner[k]!, inner[k + 1]!);
      if (inner[k + 2] !== noToken) add(part, inner[k + 2]!);
      else addText(part, begin === 0 && inner[k] === 0);
    }
  }
  const all = tracked ? new Uint32Array(2 * length) : undefined;
  let at = 0;
  for (const part of sources) {
    all!.set(part, at);
    at += part.length;
  }
  return { text: texts.join(""), segments: Uint32Array.from(segments), sources: all };
}

/** Barriers of the original text as offsets of the normalised: before the first unit that comes from behind them. */
function moveBarriers(barriers: Uint32Array | undefined, text: Tracked): Uint32Array | undefined {
  if (!barriers || !text.sources) return undefined;
  const moved: number[] = [];
  let unit = 0;
  for (const barrier of barriers) {
    while (unit < text.text.length && text.sources[2 * unit]! < barrier) unit++;
    moved.push(unit);
  }
  return Uint32Array.from(moved);
}

/** Patterns of a file can take a time that grows with a power of the text's length: a thousandth of a millisecond a unit. */
function withinPatience<T>(length: number, body: () => T): T {
  try {
    return withinTime(1000 + Math.ceil(length / 1000), body);
  } catch (cause) {
    if (!(cause instanceof TimeoutError)) throw cause;
    const what = `${cause.message} for ${length} characters`;
    throw new HeddleError("INVALID_FILE", `tokenizer.json: a pattern of the normalizer or pre_tokenizer ${what}`, {
      cause,
    });
  }
}

/** As NativeTokenizer.encodeWithOffsets; offsets are empty unless wanted. */
export function encodeSlowly(
  plan: Plan,
  native: NativeTokenizer,
  original: string,
  flags: number,
  barriers?: Uint32Array,
): [Uint32Array, Uint32Array] {
  const wantsOffsets = (flags & 4) !== 0;
  const tracked = wantsOffsets || (barriers !== undefined && barriers.length > 0);
  const cutAll = () => cut(plan, native, original.toWellFormed(), (flags & 2) !== 0, tracked, barriers);
  const { text, segments, sources } = plan.hasPatterns ? withinPatience(original.length, cutAll) : cutAll();
  const [ids, offsets] = native.encodeSegments(text, segments, flags);
  if (!wantsOffsets || !sources) return [ids, offsets];
  const end = plan.spec.endIds.length > 0 && flags & 1 ? ids.length - plan.spec.endIds.length : ids.length;
  for (let i = flags & 1 ? plan.spec.beginIds.length : 0; i < end; i++) {
    const [from, to] = [offsets[2 * i]!, offsets[2 * i + 1]!];
    if (to > from) {
      offsets[2 * i] = sources[2 * from]!;
      offsets[2 * i + 1] = sources[2 * to - 1]!;
    } else {
      const here = from < text.length ? sources[2 * from]! : original.length;
      offsets[2 * i] = here;
      offsets[2 * i + 1] = here;
    }
  }
  return [ids, offsets];
}
