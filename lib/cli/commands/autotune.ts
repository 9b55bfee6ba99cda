import { autotune } from "../../bench/index.ts";
import { HeddleError, invalidArgument } from "../../core/errors.ts";
import { deviceInfo } from "../../graph/index.ts";
import { defineCommand } from "../command.ts";
import { interruptible } from "../terminal/interrupt.ts";

export const command = defineCommand({
  about:
    "Measures the available CUDA kernels for the matrix products of a model's layers, and saves the fastest for later runs.",
  options: {
    rows: {
      kind: "integers",
      value: "16,64,…",
      about:
        "row counts to tune for; each is rounded up to a power of two, at least 8, and covers all counts that round up to it",
    },
    training: { kind: "string", value: "f32|bf16", about: "also tune the matrix products of training in this type" },
    rounds: { kind: "integer", value: "N", about: "measured rounds per kernel (default: 7)" },
    out: {
      kind: "string",
      value: "FILE",
      about: "file to save the choices to (default: HEDDLE_TUNING, or the cache folder)",
    },
  },
  async run({ options, out }) {
    const { training } = options;
    if (training !== undefined && training !== "f32" && training !== "bf16")
      throw invalidArgument("--training", "f32 or bf16", training);
    if (options.device === undefined && deviceInfo().cuda.devices.length === 0)
      throw new HeddleError("UNSUPPORTED", "autotune: expected a CUDA device, got none");
    const work = async (signal: AbortSignal) => {
      const report = await autotune({
        device: options.device,
        model: options.model,
        rows: options.rows,
        training,
        rounds: options.rounds,
        path: options.out,
        signal,
        onResult({ product, variants, chosen }) {
          const standard = variants[0]!;
          const best = variants.find(({ name }) => name === chosen)!;
          const gain =
            best === standard ? "unchanged" : `${((standard.seconds / best.seconds - 1) * 100).toFixed(0)} % faster`;
          const text = `${product}: ${chosen}, ${gain} (${variants.map((v) => `${v.name} ${(v.seconds * 1e6).toPrecision(4)} µs`).join(", ")})`;
          if (out.json) out.log(text);
          else out.line(text);
        },
      });
      if (out.json) out.object(report);
      else out.line(`${report.results.length} products of ${report.device}${report.path ? `: ${report.path}` : ""}`);
    };
    await interruptible("autotune", work, () => "partial results are not saved");
  },
});
