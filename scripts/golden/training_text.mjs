// Prints the text that test/tokenizer/training-text.ts generates, for trainers in other languages.
import { fileURLToPath } from "node:url";
import { rolldown } from "rolldown";

const input = fileURLToPath(new URL("../../test/tokenizer/training-text.ts", import.meta.url));
const { output } = await (await rolldown({ input, platform: "node" })).generate({ format: "esm" });
const { trainingText } = await import(`data:text/javascript;base64,${Buffer.from(output[0].code).toString("base64")}`);
process.stdout.write(trainingText());
