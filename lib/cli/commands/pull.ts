import { counted, formatBytes } from "../../core/amounts.ts";
import { needModelName } from "../../hub/model-name.ts";
import { pullModel } from "../../hub/pull.ts";
import { defineCommand } from "../command.ts";
import { interruptible } from "../terminal/interrupt.ts";
import { oneLine } from "../terminal/output.ts";
import { PullBar } from "../terminal/pull-bar.ts";

export const command = defineCommand({
  about:
    "Fetches a model from the Hugging Face Hub into the cache that Python's tools share. Other commands then take its name as --model. An interrupted pull continues where it stopped.",
  positionals: { usage: "OWNER/NAME[@REVISION][:TAG]", least: 1, most: 1 },
  options: {
    include: {
      kind: "string",
      value: "GLOB",
      about: "fetch these files instead of those that heddle needs, such as '*Q8_0.gguf'; may be repeated",
      repeated: true,
    },
  },
  without: { model: "the model as the argument", device: "no device", threads: "no threads", profile: "no profile" },
  async run({ options, positionals, out }) {
    const name = positionals[0]!;
    needModelName(name);
    const bar = new PullBar();
    const work = async (signal: AbortSignal) => {
      try {
        const pulled = await pullModel(name, {
          signal,
          include: options.include,
          onProgress: (progress) => bar.update(progress),
        });
        bar.end();
        if (out.json) out.object(pulled);
        else {
          const { files, bytes, fetched } = pulled;
          const fetchedText =
            fetched === bytes
              ? ""
              : fetched === 0
                ? ", there already"
                : `, ${formatBytes(fetched)} of them fetched now`;
          out.line(`${name}: ${counted(files.length, "file")}, ${formatBytes(bytes)}${fetchedText}`);
          out.line(oneLine(pulled.path));
        }
      } finally {
        bar.end();
      }
    };
    await interruptible("pull", work, () => "the downloaded part is kept; run the command again to continue");
  },
});
