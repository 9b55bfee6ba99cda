// Writes raw text from a program to a file. Training reads documents from byte ranges of files, in random order, and
// again after a resume.
import { open, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, HeddleError } from "../../core/errors.ts";
import { isIterable } from "../../core/is-iterable.ts";
import { isObject } from "../../core/is-object.ts";
import { pause } from "../../core/slices.ts";
import { removeLeft, temporaryName } from "../../core/temp-files.ts";
import { untilAborted } from "../../core/until-aborted.ts";
import { ioError, makeFolder } from "../../io/atomic-files.ts";
import type { TextData, TextSource } from "../options/text-data.ts";
import type { CorpusData } from "./corpus-source.ts";

const FOLDER = "heddle-texts";
/** Number of characters written at once. */
const PART = 1 << 20;

interface TextFiles {
  data: CorpusData;
  evalData: CorpusData | undefined;
  /** Removes the written files. */
  dispose(): Promise<void>;
}

/**
 * Returns the options' corpora, all as files. Files are named after the options, so that a resumed run with the same texts finds its
 * position.
 * @throws HeddleError INVALID_ARGUMENT for a value that is not a text, IO, ABORTED
 */
export async function textFiles(
  {
    data,
    evalData,
    textField = "text",
  }: { data: TextData; evalData?: TextData | undefined; textField?: string | undefined },
  signal: AbortSignal | undefined,
): Promise<TextFiles> {
  const folder = join(tmpdir(), temporaryName(FOLDER));
  const dispose = () => rm(folder, { recursive: true, force: true });
  const inFiles = async (given: TextData, name: string): Promise<CorpusData> => {
    if (!isTexts(given)) return given;
    await removeLeft(tmpdir(), ({ stem }) => stem === FOLDER);
    await makeFolder(folder);
    const path = join(folder, `${name}.jsonl`);
    await write(path, given, { name, textField, signal });
    return path;
  };
  try {
    const files = { data: await inFiles(data, "data"), evalData: evalData && (await inFiles(evalData, "evalData")) };
    return { ...files, dispose };
  } catch (error) {
    await dispose();
    throw error;
  }
}

/** Whether `data` is texts in memory. Strings in an array are paths, and objects with `data` are corpora. */
export function isTexts(data: unknown): data is TextSource {
  if (Array.isArray(data)) return data.length > 0 && data.every((one) => isObject(one) && !Object.hasOwn(one, "data"));
  return isIterable(data);
}

async function write(
  path: string,
  texts: TextSource,
  { name, textField, signal }: { name: string; textField: string; signal: AbortSignal | undefined },
): Promise<void> {
  const file = await open(path, "w").catch((error: unknown) => {
    throw ioError(error, path, "written");
  });
  const flush = (rows: string) =>
    file.appendFile(rows).catch((error: unknown) => {
      throw ioError(error, path, "written");
    });
  try {
    let [rows, count] = ["", 0];
    for await (const one of untilAborted<unknown>(texts, signal, name)) {
      count += 1;
      const text = isObject(one) && Object.hasOwn(one, textField) ? one[textField] : one;
      if (typeof text !== "string")
        throw new HeddleError(
          "INVALID_ARGUMENT",
          `${name}: row ${count}: expected a text, or an object with the text field ${describe(textField)}, got ${describe(one)}`,
        );
      rows += `${JSON.stringify({ [textField]: text })}\n`;
      if (rows.length > PART) {
        await flush(rows);
        rows = "";
      }
      await pause();
    }
    if (count === 0) throw new HeddleError("INVALID_ARGUMENT", `${name}: expected at least one text, got none`);
    await flush(rows);
  } finally {
    await file.close();
  }
}
