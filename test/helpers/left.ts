import { temporaryName } from "../../lib/core/temp-files.ts";

/** An unused process id: Linux ids are at most 4,194,304. */
const DEAD = 4_194_305;

/** The name of a temp file left by a process, by default one that has ended. */
export function left(stem: string, ending = "", pid = DEAD): string {
  return temporaryName(stem, ending).replace(new RegExp(`\\.${process.pid}(-[0-9a-z]+)?\\.`), `.${pid}.`);
}
