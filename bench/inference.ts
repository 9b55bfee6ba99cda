// Prefill and decode against node-llama-cpp on the same files, interleaved. HEDDLE_BENCH_LLAMA names the peer's folder.
import { LanguageModel } from "../lib/generate/language-model.ts";
import type { Device } from "../lib/graph/index.ts";
import { ReadBandwidth } from "./bandwidth.ts";
import { median, report } from "./measure.ts";
import { benchModel, type FileType, fileTypes, type ShapeName, shapeNames } from "./models.ts";
import { type InferenceTiming, type LlamaCppPeer, openLlamaCpp } from "./peers/llama-cpp.ts";

const PROMPT = 512;
const DECODE = 64;

interface Round {
  ours: InferenceTiming;
  theirs: InferenceTiming | undefined;
  /** Bytes per second just before and after. */
  bandwidth: number;
}

export async function benchInference(device: Device, { rounds = 7, peers = true } = {}): Promise<void> {
  const bandwidth = await ReadBandwidth.open(device);
  for (const name of shapeNames)
    for (const type of fileTypes) await benchFile(name, type, { device, rounds, peers, bandwidth });
  bandwidth.dispose();
}

async function benchFile(
  name: ShapeName,
  type: FileType,
  options: { device: Device; rounds: number; peers: boolean; bandwidth: ReadBandwidth },
): Promise<void> {
  const { device, rounds, peers, bandwidth } = options;
  const file = await benchModel(name, device, type);
  await using model = await LanguageModel.load(file, { device });
  const peer = peers ? await openLlamaCpp(file, device.threads) : undefined;
  if (!peer) report({ note: "node-llama-cpp is not there (HEDDLE_BENCH_LLAMA): heddle alone" });
  else if (!peer.pinned)
    report({ note: "no C compiler to build the pinning shim: node-llama-cpp's threads are not pinned" });
  const all: Round[] = [];
  for (let round = -1; round < rounds; round++) {
    const before = await bandwidth.measure();
    const ours = await timeOurs(model);
    const after = await bandwidth.measure();
    const theirs = await peer?.time(PROMPT, DECODE);
    if (round >= 0) all.push({ ours, theirs, bandwidth: (before + after) / 2 });
  }
  peer?.close();
  reportPhase(`prefill ${PROMPT} ${name} ${type}`, "prefill", PROMPT, all, peer, undefined);
  reportPhase(`decode 1 ${name} ${type}`, "decode", DECODE, all, peer, model.model.weightBytes);
}

function reportPhase(
  name: string,
  phase: keyof InferenceTiming,
  tokens: number,
  rounds: readonly Round[],
  peer: LlamaCppPeer | undefined,
  bytesPerToken: number | undefined,
): void {
  const two = (x: number) => Math.round(x * 100) / 100;
  const a = median(rounds.map((r) => r.ours[phase]));
  const b = peer && median(rounds.map((r) => r.theirs![phase]));
  // Weights alone: a decoded token reads each once, and the cache of so short a context is small beside them.
  const share = bytesPerToken && median(rounds.map((r) => (bytesPerToken * tokens) / r.ours[phase] / r.bandwidth));
  report({
    name,
    heddle: { tokensPerSecond: Math.round(tokens / a), ...(share && { shareOfReadBandwidth: two(share) }) },
    ...(b && { nodeLlamaCpp: { tokensPerSecond: Math.round(tokens / b), pinned: peer!.pinned }, ratio: two(b / a) }),
    readGigabytesPerSecond: two(median(rounds.map((r) => r.bandwidth)) / 1e9),
  });
}

/** The TypeScript loop that users have, sampling included. */
async function timeOurs(model: LanguageModel): Promise<InferenceTiming> {
  const session = model.session();
  const prompt = Array.from({ length: PROMPT + 1 }, (_, i) => 3 + ((i * 7919) % 250));
  const start = performance.now();
  let prefilled = 0;
  let count = 0;
  for await (const _ of session.generate(prompt, { maxTokens: DECODE + 1, temperature: 0, ignoreEos: true })) {
    if (count++ === 0) prefilled = performance.now();
  }
  session.dispose();
  return { prefill: (prefilled - start) / 1000, decode: (performance.now() - prefilled) / 1000 };
}
