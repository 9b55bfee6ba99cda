import { temporaryName } from "../../lib/core/temp-files.ts";

/** No process: the highest number that Linux gives is 4,194,304. */
const DEAD = 4_194_305;

/** The name that a process had for what it was writing, and left: one that has ended, unless it is given. */
export function left(stem: string, ending = "", pid = DEAD): string {
  return temporaryName(stem, ending).replace(new RegExp(`\\.${process.pid}(-[0-9a-z]+)?\\.`), `.${pid}.`);
}
