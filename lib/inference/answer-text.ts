import type { TokenDecoder, Tokenizer } from "../tokenizer/index.ts";
import { StopMatcher } from "./stop.ts";

/** The text of an answer, decoded token by token after its prompt, and cut before the first stop text. */
export class AnswerText {
  private readonly decoder: TokenDecoder | undefined;
  private readonly matcher: StopMatcher;

  private constructor(decoder: TokenDecoder | undefined, matcher: StopMatcher) {
    this.decoder = decoder;
    this.matcher = matcher;
  }

  /** Makes the text of an answer to `prompt`. @param tokenizer without one, all text is empty */
  static after(
    prompt: readonly number[],
    { tokenizer, stopTexts }: { tokenizer: Tokenizer | undefined; stopTexts: readonly string[] },
  ): AnswerText {
    const decoder = tokenizer?.decoder({ skipSpecialTokens: true, after: prompt });
    return new AnswerText(decoder, new StopMatcher(stopTexts));
  }

  /** Whether a stop text has been found. */
  get stopped(): boolean {
    return this.matcher.stopped;
  }

  /** Adds a token, and returns the text that is now final. */
  push(token: number): string {
    return this.matcher.push(this.decoder?.push(token) ?? "");
  }

  /** Returns the text that was held back. Call it when no token follows. */
  flush(): string {
    return this.matcher.push(this.decoder?.flush() ?? "") + this.matcher.flush();
  }

  /** Returns a copy, which continues independently. */
  fork(): AnswerText {
    return new AnswerText(this.decoder?.fork(), this.matcher.fork());
  }
}
