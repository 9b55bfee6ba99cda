import { HeddleError } from "../errors.ts";
import type { Prompt } from "../generate/index.ts";

/** The prompt of a command line: TEXT (`-` is stdin), or `--token-ids`. */
export async function promptOf(positionals: readonly string[], ids: number[] | undefined): Promise<Prompt> {
  const [text] = positionals;
  if (text !== undefined && ids !== undefined)
    throw new HeddleError("INVALID_ARGUMENT", "--token-ids: expected instead of a text, got both");
  if (ids !== undefined) return ids;
  if (text === undefined) throw new HeddleError("INVALID_ARGUMENT", "prompt: expected a text or --token-ids, got none");
  if (text !== "-") return text;
  let all = "";
  process.stdin.setEncoding("utf8");
  for await (const part of process.stdin) all += part;
  return all;
}
