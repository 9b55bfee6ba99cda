// npm run bench -- alternate FOLDER [CONTROL] [--only TEXT] [--out FILE]: prefill and decoding of this checkout's build and of the one in
// FOLDER, in turn, in one process. The machine's speed drifts for both, so intervals are narrower than those of compare.ts. But builds in one
// process can slow each other down. CONTROL is a copy of FOLDER: its ratio to FOLDER shows what differs without a change of code.
import { appendFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { medianInterval } from "../lib/bench/measure.ts";
import type { Device } from "../lib/graph/index.ts";
import type { LanguageModel } from "../lib/language-model/index.ts";
import { median, report } from "./measure.ts";
import { benchModel, fileTypes, shapeNames } from "./models.ts";
import type { Work } from "./peers/llama-cpp.ts";
import { timeOurs, works } from "./suites/inference.ts";

/** Milliseconds that a build measures a case, if that takes at least MIN_ROUNDS rounds. */
const MILLISECONDS = 10_000;
const MIN_ROUNDS = 15;
const MAX_ROUNDS = 151;

interface Build {
  name: "base" | "here" | "control";
  model: LanguageModel;
}

/** Measures all models and cases, and prints a JSON line for each: median times and ratios to `base`, with their 95 % intervals. */
export async function alternateBuilds(
  device: Device,
  {
    folder,
    control,
    only,
    out,
  }: { folder: string; control: string | undefined; only: string; out: string | undefined },
): Promise<void> {
  const folders = { base: folder, here: process.cwd(), ...(control && { control }) };
  for (const shape of shapeNames)
    for (const type of fileTypes) {
      if (!`${shape}:${type}`.includes(only)) continue;
      const file = await benchModel(shape, device, type);
      const builds: Build[] = [];
      for (const [name, place] of Object.entries(folders)) {
        const { LanguageModel: Loader } = await import(pathToFileURL(join(resolve(place), "dist", "index.js")).href);
        builds.push({ name: name as Build["name"], model: await Loader.load(file, { contextLength: 1024 }) });
      }
      for (const work of works(shape)) {
        const row = await alternate(`${work.phase} ${work.sequences} ${shape} ${type}`, work, builds);
        report(row);
        if (out) await appendFile(out, `${JSON.stringify(row)}\n`);
      }
      for (const { model } of builds) await model.dispose();
    }
}

async function alternate(name: string, work: Work, builds: readonly Build[]): Promise<Record<string, unknown>> {
  let once = 0;
  for (let round = 0; round < 3; round++)
    for (const { model } of builds) {
      const start = performance.now();
      await timeOurs(model, work);
      once = performance.now() - start;
    }
  const rounds = Math.max(MIN_ROUNDS, Math.min(MAX_ROUNDS, Math.round(MILLISECONDS / once)));
  const times = new Map(builds.map((build) => [build.name, [] as number[]]));
  // Each build is the first of a round equally often.
  for (let round = 0; round < rounds; round++)
    for (let i = 0; i < builds.length; i++) {
      const build = builds[(i + round) % builds.length]!;
      times.get(build.name)!.push(await timeOurs(build.model, work));
    }
  const base = times.get("base")!;
  const three = (value: number) => Math.round(value * 1000) / 1000;
  const ratios = [...times].slice(1).map(([build, values]) => {
    const all = values.map((value, i) => value / base[i]!);
    return [build, { ratio: three(median(all)), interval: medianInterval(all, 0.95).map(three) }];
  });
  return { name, rounds, milliseconds: three(1000 * median(base)), ...Object.fromEntries(ratios) };
}
