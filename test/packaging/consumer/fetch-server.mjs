// A server as `deno serve` and Bun start it: a module whose default export has a `fetch` function.
import { LanguageModel } from "heddle";
import { createFetchHandler } from "heddle/serve";

const handler = createFetchHandler(await LanguageModel.load("default"));
const port = Number(globalThis.process?.env.PORT ?? 0);
export default { port, hostname: "127.0.0.1", fetch: (request) => handler(request) };
