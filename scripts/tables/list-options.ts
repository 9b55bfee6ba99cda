// Lists the training options. `npm run options` writes their tables below "All options" in docs/training.md, and a test compares them with the
// code. A row has the option's name, default, help and values, as its entry in lib/train defines them.
import { readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import type { z } from "zod";
import { defaultText, describeField, REQUIRED } from "../../lib/cli/options/config-keys.ts";
import { type StageName, stages } from "../../lib/cli/options/stage-table.ts";
import { batchShape, optimizerShape } from "../../lib/train/options/optimizer-options.ts";
import { infoOf, type Shape } from "../../lib/train/options/option.ts";
import { cardShape, checkpointShape, evaluationShape, sharedShape } from "../../lib/train/options/shared-options.ts";
import { adapterShape, crossEntropyShape, epochShape, stepShape } from "../../lib/train/options/stage-options.ts";
import { textDataShape } from "../../lib/train/options/text-data.ts";
import { trackingShape } from "../../lib/train/options/tracking-options.ts";
import { preferenceShape, referenceShape } from "../../lib/train/preference/options.ts";
import { policyStageShape, samplingShape } from "../../lib/train/rollout/options.ts";

export const guide = fileURLToPath(new URL("../../docs/training.md", import.meta.url));

/** The line of the guide above the tables. */
const MARK = "<!-- `npm run options` writes everything below this line. -->";

/** A table of options by subject, for several stages. */
interface Subject {
  title: string;
  /** The options, in order. The table leaves out those that an earlier table has with the same default. */
  shape: Shape;
  /** The table is for the stages that have this option. */
  mark: z.ZodType;
  /** Texts that replace the help of an option, because the stages of the table word it differently. */
  texts?: Readonly<Record<string, string>>;
  /** Links by option: words of its help, and where they lead. */
  links?: Readonly<Record<string, readonly [words: string, target: string]>>;
}

const { data, evalData, evalFraction } = textDataShape;
const { outputDir, replay } = sharedShape;

/** A table for fewer stages comes after those for more. */
const SUBJECTS: readonly Subject[] = [
  {
    title: "Data, batches and steps",
    shape: { data, evalData, evalFraction, ...stepShape, outputDir, ...batchShape },
    mark: outputDir,
    texts: {
      data: "files of [rows](#rows); in `pretrain` raw text, or a mixture `[{data, weight}, …]`. A program may pass an iterable of rows",
      evalFraction: "without `evalData`: fraction of the documents or rows to hold out for evaluation",
      perDeviceTrainBatchSize: "sequences, texts, pairs or answers per micro-batch",
    },
    links: {
      sharding: ["state that is divided among them", "scale.md#sharding"],
      fp8: ["8-bit floats", "#training-in-8-bit-floats"],
    },
  },
  { title: "Learning rate and optimizer", shape: optimizerShape, mark: outputDir },
  { title: "Evaluation", shape: evaluationShape, mark: outputDir },
  { title: "Checkpoints", shape: checkpointShape, mark: outputDir },
  { title: "Trackers and the model card", shape: { ...trackingShape, ...cardShape }, mark: outputDir },
  { title: "Replay of an earlier stage", shape: { replay }, mark: replay },
  { title: "Epochs and LoRA", shape: { ...epochShape, ...adapterShape }, mark: adapterShape.lora },
  { title: "Cross-entropy", shape: crossEntropyShape, mark: crossEntropyShape.zLoss },
  { title: "Preferences", shape: preferenceShape, mark: preferenceShape.chatTemplate },
  { title: "The reference model", shape: referenceShape, mark: referenceShape.refModel },
  { title: "Prompts, rewards and answers", shape: policyStageShape, mark: samplingShape.topK },
];

/** Returns the tables: those by subject, and one for each stage with its other options and its other defaults. */
export async function optionTables(): Promise<string> {
  const names = Object.keys(stages) as StageName[];
  const shapes = new Map<StageName, Shape>();
  // One after the other: jiti evaluates a shared import before it is complete if imports overlap.
  for (const name of names) shapes.set(name, (await stages[name].load()).schema.shape);
  // The defaults in the tables so far, by stage and option.
  const listed = new Map(names.map((name) => [name, new Map<string, string>()]));
  const sections: string[] = [];
  const add = (
    line: string,
    of: readonly StageName[],
    { shape, texts = {}, links = {} }: Omit<Subject, "title" | "mark">,
  ) => {
    const options = Object.entries(shape).filter(([option, schema]) =>
      of.some((stage) => listed.get(stage)!.get(option) !== defaultText(schema)),
    );
    if (options.length === 0) return;
    for (const [option, schema] of options) for (const stage of of) listed.get(stage)!.set(option, defaultText(schema));
    const known = new Set(of.flatMap((stage) => Object.keys(shapes.get(stage)!)));
    const unused = Object.keys({ ...texts, ...links }).filter((name) => !options.some(([option]) => option === name));
    if (unused.length > 0) throw new Error(`${line} expected rows ${unused.join(", ")}, got none`);
    const rows = options.flatMap(([option, schema]) => [
      rowOf(option, schema, known, texts[option] ?? linked(describeOption(schema), links[option])),
      ...Object.entries(infoOf(schema).inner ?? {}).map(([name, inner]) =>
        rowOf(`${option}.${name}`, inner, known, describeOption(inner)),
      ),
    ]);
    sections.push([line, "", "| option | default | |", "|---|---|---|", ...rows].join("\n"));
  };
  for (const subject of SUBJECTS) {
    const of = names.filter((name) => Object.values(shapes.get(name)!).includes(subject.mark));
    const whom = of.length === names.length ? "every stage" : of.map(code).join(", ");
    add(`${subject.title}, for ${whom}:`, of, subject);
  }
  for (const [name, shape] of shapes) add(`For ${code(name)}:`, [name], { shape });
  return sections.join("\n\n");
}

const code = (text: string) => `\`${text}\``;

function rowOf(option: string, schema: z.core.$ZodType, known: ReadonlySet<string>, text: string): string {
  return `| ${code(option)} | ${defaultCell(schema, known)} | ${text.replaceAll("|", "\\|")} |`;
}

/** Words of a default that are no value. */
const PLAIN = ["all", "never", "none", "nothing"];

/** Returns a value or the name of an option as code, and any other default as text. */
function defaultCell(schema: z.core.$ZodType, known: ReadonlySet<string>): string {
  const text = defaultText(schema);
  const { defaultValue } = describeField(schema);
  if (text === "" || text === REQUIRED) return text;
  if (text === String(defaultValue) || known.has(text)) return code(text);
  return text.includes(" ") || PLAIN.includes(text) ? withCode(text) : code(text);
}

/** Returns the help, and the values unless it names all of them. */
function describeOption(schema: z.core.$ZodType): string {
  const help = infoOf(schema).help.replace(/:$/, ""); // the command line lists inner options below
  const values = describeField(schema).values.split("|").filter(Boolean);
  const words = help.split(/[\s,;:.()]+/);
  const isNamed = values.every((value) => words.includes(value));
  return isNamed ? withCode(help) : `${withCode(help)} (${values.map(code).join(", ")})`;
}

/** Writes names of options, values and files as code, such as `evalData`, `keep_end` and `log.jsonl`. Objects in braces stay as they are. */
function withCode(text: string): string {
  return text.replace(/(?<![\w"./])[a-z]\w*(?:\.[a-z]\w*)*(?![^{}]*\})/g, (word) =>
    /[._]/.test(word) || /^[a-z]+(?:[A-Z][a-z0-9]+)+$/.test(word) ? code(word) : word,
  );
}

function linked(text: string, link: readonly [words: string, target: string] | undefined): string {
  if (!link) return text;
  const [words, target] = link;
  if (!text.includes(words)) throw new Error(`expected a help with "${words}" to link, got "${text}"`);
  return text.replace(words, `[${words}](${target})`);
}

/** Returns the guide with its tables replaced. @throws Error if the guide lacks the line above them */
export function withTables(text: string, tables: string): string {
  const end = text.indexOf(MARK) + MARK.length;
  if (end < MARK.length) throw new Error(`docs/training.md: expected the line ${MARK}, got none`);
  return `${text.slice(0, end)}\n\n${tables}\n`;
}

if (process.argv[1] === fileURLToPath(import.meta.url))
  writeFileSync(guide, withTables(readFileSync(guide, "utf8"), await optionTables()));
