// The readable output of `heddle info`. `--json` prints everything for programs.
import { counted, figure, firstOf, formatBytes, formatCount } from "../../core/amounts.ts";
import type { ModelCard } from "../../formats/model-card.ts";
import type { AdapterInfo, MachineInfo, ModelInfo } from "../commands/info.ts";
import { columns } from "../usage.ts";
import { oneLine } from "./output.ts";

/** A label and its value. A row without a value is omitted. */
type Row = readonly [label: string, value: string | undefined];

/** Maximum number of entries of a list to show. */
const MAX_SHOWN = 12;
/** Maximum number of characters of a card's notes to show. */
const MAX_NOTES = 1500;

/** Formats the facts about the machine. */
export function machineScreen({ version, devices, cudaProblem, driver, instructionSets, build }: MachineInfo): string {
  const others = instructionSets.supported.filter((name) => name !== instructionSets.used);
  return section("This machine", [
    ["heddle", `${version}, built by ${build.compiler} (${build.type}${build.cuda ? ", with CUDA kernels" : ""})`],
    ["node", `${build.node} on ${build.platform}`],
    ...devices.map((device): Row => {
      if (!("model" in device)) return ["cpu", counted(device.threads, "thread")];
      const { model, computeCapability, memoryBytes, multiprocessors, driver } = device;
      const facts = [
        `compute capability ${computeCapability}`,
        `${multiprocessors} multiprocessors`,
        `driver ${driver}`,
      ];
      return [device.name, `${oneLine(model)}, ${formatBytes(memoryBytes)}, ${facts.join(", ")}`];
    }),
    ["cuda", cudaProblem === undefined ? undefined : oneLine(cudaProblem)],
    ["driver", driver === null ? undefined : driverText(driver)],
    ["instructions", instructionSets.used + (others.length > 0 ? ` (also: ${others.join(", ")})` : "")],
  ]);
}

function driverText({ found, needed, toolkit }: NonNullable<MachineInfo["driver"]>): string {
  const need = needed === null ? `CUDA ${toolkit}` : `driver ${needed} or newer (CUDA ${toolkit})`;
  return `${found === null ? "no NVIDIA driver" : `NVIDIA ${found}`}; the kernels need ${need}`;
}

/** Formats the facts about a model. */
export function modelScreen(info: ModelInfo): string {
  const { classifier } = info;
  const rows: Row[] = [
    ["path", info.path],
    ["format", `${info.format}, ${info.dtypes.join(", ")}`],
    ["architecture", info.architecture],
    ["size", parametersAndBytes(info)],
    ["context", counted(info.context, "token")],
    ["tokenizer", info.tokenizer ? "included" : "none"],
    ["labels", classifier && firstOf(classifier.labels, MAX_SHOWN)],
  ];
  return [section("Model", rows), cardScreen(info.modelCard)].join("\n\n");
}

/** Formats the facts about an adapter. */
export function adapterScreen(info: AdapterInfo): string {
  const { r, alpha, useRslora, targetModules, taskType, base } = info.adapter;
  const rows: Row[] = [
    ["path", info.path],
    ["base", base ?? "not named"],
    ["rank", `${r}, alpha ${alpha}${useRslora ? ", rank-stabilized" : ""}`],
    ["layers", typeof targetModules === "string" ? targetModules : firstOf(targetModules, MAX_SHOWN)],
    ["task", taskType],
    ["size", `${parametersAndBytes(info)}, ${info.dtypes.join(", ")}`],
  ];
  return [section("Adapter", rows), cardScreen(info.modelCard)].join("\n\n");
}

function cardScreen(card: ModelCard | null): string {
  if (card === null) return "No model card.";
  const { stages = [], data, evaluations, notes } = card;
  const facts = section("Model card", [
    ["name", card.name],
    ["stage", stages.length > 0 ? undefined : card.stage],
    ["stages", stages.length > 0 ? firstOf(stages.map(stageText), MAX_SHOWN, ", then ") : undefined],
    ["trained from", card.parent ?? undefined],
    ["tokens seen", card.tokensSeen > 0 ? formatCount(card.tokensSeen) : undefined],
    ["data until", card.trainingCutoffDate ?? undefined],
    ["license", card.license],
    ["written", [card.createdWith, card.createdAt].filter(Boolean).join(", ") || undefined],
    ["notes", notes && (notes.length > MAX_NOTES ? `${notes.slice(0, MAX_NOTES)}… (--json has all)` : notes)],
  ]);
  const trainedOn = data.map(({ name, license, source, tokens }) => {
    const more = [source, license, tokens === undefined ? undefined : counted(tokens, "token")].filter(Boolean);
    return more.length > 0 ? `${name} (${more.join("; ")})` : name;
  });
  const measured = evaluations.map(({ name, metric, value, data: on }) => {
    return `${name}: ${metric} ${figure(value)}${on === undefined ? "" : ` on ${on}`}`;
  });
  return [facts, lines("Trained on", trainedOn), lines("Measured", measured)].filter(Boolean).join("\n\n");
}

function stageText({ stage, tokens }: { stage: string; tokens: number }): string {
  return tokens > 0 ? `${stage} (${formatCount(tokens)} tokens)` : stage;
}

/** Formats a title with rows under it. */
export function section(title: string, rows: readonly Row[]): string {
  const shown = rows.flatMap(([label, value]) =>
    value === undefined ? [] : [[oneLine(label), oneLine(value)] as const],
  );
  return `${title}\n${columns(shown, 12)}`;
}

function lines(title: string, entries: readonly string[]): string {
  if (entries.length === 0) return "";
  const rest = entries.length - MAX_SHOWN;
  const shown = [...entries.slice(0, MAX_SHOWN), ...(rest > 0 ? [`and ${rest.toLocaleString("en")} more`] : [])];
  return `${title}\n${columns(
    shown.map((entry) => ["-", oneLine(entry)] as const),
    1,
  )}`;
}

function parametersAndBytes({ parameters, bytes }: { parameters: number; bytes: number }): string {
  return `${formatCount(parameters)} parameters, ${formatBytes(bytes)}`;
}
