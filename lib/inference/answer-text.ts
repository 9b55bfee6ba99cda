import type { TokenDecoder, Tokenizer } from "../tokenizer/index.ts";
import { StopMatcher } from "./stop.ts";

/** The text of an answer, decoded token by token after its prompt, and cut before the first stop text. */
export class AnswerText {
  private readonly decoder: TokenDecoder | undefined;
  private readonly matcher: StopMatcher;
  private readonly visibleTokens: ReadonlyMap<number, string>;

  private constructor(
    decoder: TokenDecoder | undefined,
    matcher: StopMatcher,
    visibleTokens: ReadonlyMap<number, string>,
  ) {
    this.decoder = decoder;
    this.matcher = matcher;
    this.visibleTokens = visibleTokens;
  }

  /**
   * Starts the text of an answer to `prompt`.
   * @param tokenizer undefined: all text is empty
   * @param visibleTokens texts of the special tokens that the answer shows
   */
  static after(
    prompt: readonly number[],
    {
      tokenizer,
      stopTexts,
      visibleTokens,
    }: { tokenizer: Tokenizer | undefined; stopTexts: readonly string[]; visibleTokens: ReadonlyMap<number, string> },
  ): AnswerText {
    const decoder = tokenizer?.decoder({ skipSpecialTokens: true, after: prompt });
    return new AnswerText(decoder, new StopMatcher(stopTexts), visibleTokens);
  }

  /** Whether a stop text has been found. */
  get stopped(): boolean {
    return this.matcher.stopped;
  }

  /** The stop text that was found. */
  get stopText(): string | undefined {
    return this.matcher.stopText;
  }

  /** Adds a token, and returns the text that is now final. */
  push(token: number): string {
    const { decoder, matcher } = this;
    const mark = this.visibleTokens.get(token);
    const text = decoder?.push(token) ?? "";
    // The decoder skips a visible special token, so its text (`mark`) is added here, after the bytes that the decoder held back.
    return matcher.push(mark === undefined ? text : text + (decoder?.flush() ?? "") + mark);
  }

  /** Returns the text that was held back. Call it when no token follows. */
  flush(): string {
    return this.matcher.push(this.decoder?.flush() ?? "") + this.matcher.flush();
  }

  /** Returns a copy, which continues independently. */
  fork(): AnswerText {
    return new AnswerText(this.decoder?.fork(), this.matcher.fork(), this.visibleTokens);
  }
}
