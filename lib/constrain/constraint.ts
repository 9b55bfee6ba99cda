// Constrains one document token by token while it is generated.
import { HeddleError } from "../core/errors.ts";
import { inSlices } from "../core/slices.ts";
import type { Automaton, State } from "./automaton.ts";
import { type Allowance, type Mask, Masks } from "./masks.ts";
import { checkTokens, makeTries, type TokenSource, type TokenTries } from "./token-tries.ts";

const tries = new WeakMap<TokenSource, Promise<TokenTries>>();
const masks = new WeakMap<Automaton, WeakMap<TokenTries, Map<string, Masks>>>();
/**
 * Maximum number of `Masks` that are kept per format and vocabulary. They differ in their end tokens and visible
 * tokens.
 */
const MAX_SETS = 8;

/**
 * The work that the masks of one document may cost, in units of `Automaton.work`: an initial budget, and an increment for each token. The
 * budget bounds how long other sequences of a run wait. A typical mask costs some hundreds, and a cached mask nothing.
 */
const FIRST_LOOKS = 2_000_000;
const LOOKS_PER_TOKEN = 20_000;

/** Returns a vocabulary's tries, which are built once. */
async function triesOf(source: TokenSource): Promise<TokenTries> {
  let made = tries.get(source);
  if (!made) {
    made = inSlices(makeTries(source), "responseFormat");
    tries.set(source, made);
  }
  return made;
}

interface Vocabulary {
  vocabSize: number;
  ends: ReadonlySet<number>;
  visible: ReadonlyMap<number, string>;
}

function masksOf(automaton: Automaton, of: TokenTries, { vocabSize, ends, visible }: Vocabulary): Masks {
  let byTries = masks.get(automaton);
  if (!byTries) {
    byTries = new WeakMap();
    masks.set(automaton, byTries);
  }
  let bySet = byTries.get(of);
  if (!bySet) {
    bySet = new Map();
    byTries.set(of, bySet);
  }
  const [sortedEnds, sortedVisible] = [[...ends], [...visible.keys()]].map((ids) => ids.sort((a, b) => a - b)) as [
    number[],
    number[],
  ];
  const key = `${vocabSize}/${sortedEnds.join()}/${sortedVisible.join()}`;
  let found = bySet.get(key);
  if (!found) {
    if (bySet.size >= MAX_SETS) bySet.delete(bySet.keys().next().value!);
    found = new Masks(automaton, of, { vocabSize, ends: sortedEnds, visible: sortedVisible });
    bySet.set(key, found);
  }
  return found;
}

/** The constraint on a sequence's text. */
export class Constraint {
  private readonly automaton: Automaton;
  private readonly tokens: TokenSource;
  private readonly vocabulary: Vocabulary;
  private masks: Masks | undefined;
  private state: State;
  private allowance: Allowance = { looks: FIRST_LOOKS };

  /**
   * @param of.vocabSize the model's vocabulary size
   * @param of.ends end tokens, which are not part of the text
   * @param of.visible special tokens that are part of the text, with their texts. Default: none
   * @throws HeddleError UNSUPPORTED for a tokenizer whose text is not the concatenation of its tokens' bytes
   */
  constructor(
    automaton: Automaton,
    {
      tokens,
      vocabSize,
      ends,
      visible = new Map(),
    }: { tokens: TokenSource } & Pick<Vocabulary, "vocabSize" | "ends"> & Partial<Pick<Vocabulary, "visible">>,
  ) {
    checkTokens(tokens);
    this.automaton = automaton;
    this.tokens = tokens;
    this.vocabulary = { vocabSize, ends, visible };
    this.state = automaton.start;
  }

  /** Whether the document is complete and nothing can follow. */
  get finished(): boolean {
    return this.state.final;
  }

  /** Whether a text is a complete document; false if matching it takes too long. */
  isWhole(text: string): boolean {
    const { automaton } = this;
    const most = automaton.work + FIRST_LOOKS;
    let state: State | null = automaton.start;
    for (const byte of Buffer.from(text)) {
      state = automaton.work > most ? null : automaton.step(state, byte);
      if (!state) return false;
    }
    return state.whole;
  }

  /**
   * Returns which tokens may come after the document and the tokens `following`. Undefined if `following` is not allowed or ends the
   * document.
   * @throws HeddleError ABORTED; UNSUPPORTED if no token of the vocabulary can continue the document, or if there are too many alternatives
   */
  async mask(following: readonly number[] = [], signal?: AbortSignal | undefined): Promise<Mask | undefined> {
    const made = await this.prepared();
    let state: State | null = this.state;
    for (const token of following) {
      state = this.vocabulary.ends.has(token) ? null : made.after(state, token);
      if (!state) return undefined;
    }
    if (state.final) return undefined;
    return made.cached(state) ?? inSlices(made.make(state, this.allowance), "responseFormat", signal);
  }

  /** Returns the leading tokens of a guess that are allowed and do not end the document. */
  async possible(guess: readonly number[]): Promise<number[]> {
    const made = await this.prepared();
    let state: State | null = this.state;
    const out: number[] = [];
    const most = this.automaton.work + LOOKS_PER_TOKEN;
    for (const token of guess) {
      if (this.automaton.work > most) break;
      state = this.vocabulary.ends.has(token) ? null : made.after(state, token);
      if (!state || state.final) break;
      out.push(token);
    }
    return out;
  }

  /** Appends a token, which a mask of this document or of its original (see `after`) must have allowed. */
  accept(token: number): void {
    if (this.vocabulary.ends.has(token)) return;
    const state = this.masks?.after(this.state, token);
    if (!state) throw new HeddleError("INTERNAL", `responseFormat: token ${token} was drawn, which is not allowed`);
    this.state = state;
    this.allowance.looks = Math.min(FIRST_LOOKS, this.allowance.looks + LOOKS_PER_TOKEN);
  }

  /** Returns a copy of the document with one more token, which a mask allowed. The copy continues independently. */
  after(token: number): Constraint {
    const { automaton, tokens, vocabulary } = this;
    const made = new Constraint(automaton, { tokens, ...vocabulary });
    made.masks = this.masks;
    made.state = this.state;
    made.allowance = { ...this.allowance };
    made.accept(token);
    return made;
  }

  /** Builds the tries, so that tokens can be accepted before the first mask is requested. */
  async prepare(): Promise<void> {
    await this.prepared();
  }

  private async prepared(): Promise<Masks> {
    this.masks ??= masksOf(this.automaton, await triesOf(this.tokens), this.vocabulary);
    return this.masks;
  }
}
