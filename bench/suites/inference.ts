// Compares prefill, decoding, and decoding of eight sequences with node-llama-cpp on the same files, interleaved. Measures the machine's
// ceilings in between. HEDDLE_BENCH_LLAMA names the peer's folder. `npm run bench -- inference [--only 135M | --only 135M:q8_0]`

import type { Device } from "../../lib/graph/index.ts";
import { LanguageModel } from "../../lib/language-model/language-model.ts";
import { ReadBandwidth } from "../bandwidth.ts";
import { type Ceiling, Ceilings } from "../ceilings.ts";
import { median, report } from "../measure.ts";
import { benchModel, type FileType, fileTypes, type ShapeName, shapeNames } from "../models.ts";
import { type LlamaCppPeer, openLlamaCpp, type Work } from "../peers/llama-cpp.ts";

const START = 16;

/** Returns the work to time. The largest model decodes fewer tokens, because its steps are slow enough to time accurately. */
export function works(name: ShapeName): Work[] {
  const tokens = name === "1.1B" ? 16 : 64;
  return [
    { phase: "prefill", tokens: 512, sequences: 1 },
    { phase: "decode", tokens, sequences: 1 },
    { phase: "decode", tokens: tokens / 2, sequences: 8 },
  ];
}

interface Round {
  ours: number;
  theirs: number | undefined;
  /** Bytes per second, measured just before and after the work. */
  bandwidth: number;
  ceiling: Ceiling | undefined;
}

interface Options {
  device: Device;
  rounds: number;
  peers: boolean;
  bandwidth: ReadBandwidth;
  ceilings: Ceilings | undefined;
}

export async function benchInference(
  device: Device,
  { rounds = 7, peers = true, only }: { rounds?: number; peers?: boolean; only?: string | undefined } = {},
): Promise<void> {
  const [wantedName, wantedType] = only ? only.split(":") : [];
  const ceilings = await Ceilings.open(device.threads);
  const bandwidth = await ReadBandwidth.open(device, ceilings);
  for (const name of shapeNames)
    for (const type of fileTypes)
      if ((!wantedName || name === wantedName) && (!wantedType || type === wantedType))
        await benchFile(name, type, { device, rounds, peers, bandwidth, ceilings });
  bandwidth.dispose();
  ceilings?.close();
}

async function benchFile(name: ShapeName, type: FileType, options: Options): Promise<void> {
  const { device, rounds, peers, bandwidth, ceilings } = options;
  const file = await benchModel(name, device, type);
  await using model = await LanguageModel.load(file, { device, contextLength: 1024 });
  const peer = peers ? await openLlamaCpp(file, device.threads) : undefined;
  if (!peer) report({ note: "node-llama-cpp was not found (HEDDLE_BENCH_LLAMA): only heddle is measured" });
  else if (!peer.pinned)
    report({ note: "no C compiler to build the pinning shim: node-llama-cpp's threads are not pinned" });
  for (const work of works(name)) {
    await timeOurs(model, work);
    const flash = peer && (await betterSetting(peer, work));
    const all: Round[] = [];
    for (let round = 0; round < rounds; round++) {
      const ceiling = await ceilings?.measure();
      const before = await bandwidth.measure();
      const ours = await timeOurs(model, work);
      const after = await bandwidth.measure();
      const theirs = await peer?.time(work, flash!);
      all.push({ ours, theirs, bandwidth: (before + after) / 2, ceiling });
    }
    reportWork(`${name} ${type}`, work, all, { model, peer, flash });
  }
  peer?.close();
}

/** Returns whether the peer is faster with flash attention. The first run of each setting warms up. */
async function betterSetting(peer: LlamaCppPeer, work: Work): Promise<boolean> {
  const times = [];
  for (const flash of [false, true]) {
    await peer.time(work, flash);
    times.push(await peer.time(work, flash));
  }
  return times[1]! < times[0]!;
}

function reportWork(
  what: string,
  { phase, tokens, sequences }: Work,
  rounds: readonly Round[],
  { model, peer, flash }: { model: LanguageModel; peer: LlamaCppPeer | undefined; flash: boolean | undefined },
): void {
  const two = (x: number) => Math.round(x * 100) / 100;
  const a = median(rounds.map((r) => r.ours));
  const b = peer && median(rounds.map((r) => r.theirs!));
  const rate = (seconds: number) => ({ tokensPerSecond: Math.round((tokens * sequences) / seconds) });
  const share = (of: (r: Round) => number | undefined) => {
    const known = rounds.map(of).filter((x) => x !== undefined);
    return known.length > 0 ? two(median(known)) : undefined;
  };
  const ceilings =
    phase === "decode"
      ? { shareOfReadBandwidth: share((r) => (tokens * bytesPerStep(model, sequences)) / r.ours / r.bandwidth) }
      : Object.fromEntries(
          (["int8", "bf16"] as const).map((kind) => [
            `shareOf${kind === "int8" ? "Int8" : "Bf16"}Peak`,
            share((r) => r.ceiling?.[kind] && (tokens * operationsPerToken(model)) / r.ours / 1e9 / r.ceiling[kind]),
          ]),
        );
  report({
    name: `${phase === "prefill" ? `prefill ${tokens}` : `decode ${sequences}`} ${what}`,
    heddle: { ...rate(a), ...ceilings },
    ...(b && { nodeLlamaCpp: { ...rate(b), pinned: peer!.pinned, flashAttention: flash }, ratio: two(b / a) }),
    readGigabytesPerSecond: two(median(rounds.map((r) => r.bandwidth)) / 1e9),
    lineNanoseconds: share((r) => r.ceiling?.lineNanoseconds),
    ...(phase === "prefill" && { ceiling: rounds[rounds.length >> 1]!.ceiling }),
  });
}

/** Operations of the linear layers per row. Embeddings are only looked up, and the head processes only the last row. */
function operationsPerToken({ model }: LanguageModel): number {
  const apart = /embed_tokens|lm_head/;
  return model.weightNames
    .filter((name) => !apart.test(name) && model.asStored(name).shape.length === 2)
    .reduce((n, name) => n + 2 * model.asStored(name).elements, 0);
}

/**
 * Bytes that a decode step reads: the weights, and approximately the context's keys and values. An untied embedding table is left out,
 * because a step reads one row per sequence.
 */
function bytesPerStep({ model, cacheDtype }: LanguageModel, sequences: number): number {
  const { numHiddenLayers, numKeyValueHeads, headDim } = model.config as unknown as Record<string, number>;
  const table = model.config.tieWordEmbeddings ? 0 : model.weight("model.embed_tokens.weight").bytes;
  const element = { f32: 4, bf16: 2, f16: 2, q8: 1 + 4 / headDim! }[cacheDtype];
  const cache = 2 * numHiddenLayers! * numKeyValueHeads! * headDim! * element * START;
  return model.weightBytes - table + cache * sequences;
}

/** Times the TypeScript loop as users call it, sampling included. @returns seconds */
export async function timeOurs(model: LanguageModel, { phase, tokens, sequences }: Work): Promise<number> {
  const promptOf = (length: number) => Array.from({ length }, (_, i) => 3 + ((i * 7919) % 250));
  const options = { temperature: 0, ignoreEos: true };
  if (phase === "prefill") {
    const start = performance.now();
    await model.complete(promptOf(tokens), { ...options, maxTokens: 1 });
    return (performance.now() - start) / 1000;
  }
  const prompts = Array.from({ length: sequences }, () => promptOf(START));
  const { timings } = (await model.completeAll(prompts, { ...options, maxTokens: tokens + 1 }))[0]!;
  return (tokens * sequences) / timings.decodeTokensPerSecond;
}
