// GET / serves a page to try the models: chat, tokens and their probabilities, branches, and two models side by side.
import type { Exchange } from "../core/context.ts";
import type { Dialect, Route } from "../core/routes.ts";
import { openai } from "../openai/dialect.ts";
import { ICON, PAGE } from "./page.ts";
import { API } from "./script/api.ts";
import { CONVERSATION } from "./script/conversation.ts";
import { DOM } from "./script/dom.ts";
import { MAIN } from "./script/main.ts";
import { TOKENS } from "./script/tokens.ts";
import { VIEW } from "./script/view.ts";
import { STYLE } from "./style.ts";

/** Returns the route of a static file. It needs no API key, because the page asks the user for the key. */
function file(path: string, type: string, text: string): Route {
  const bytes = Buffer.from(text);
  return {
    method: "GET",
    path,
    guarded: false,
    endpoint({ response }: Exchange) {
      response.writeHead(200, {
        "content-type": `${type}; charset=utf-8`,
        "content-length": bytes.length,
        "cache-control": "no-cache",
        // The page loads nothing from other hosts.
        "content-security-policy": "default-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
        "x-content-type-options": "nosniff",
        "referrer-policy": "no-referrer",
      });
      response.end(bytes);
    },
  };
}

/** The page's modules, which import one another. */
const SCRIPTS = { api: API, conversation: CONVERSATION, dom: DOM, main: MAIN, tokens: TOKENS, view: VIEW };

/** The routes of the playground's page, scripts and style. */
export const playground: Dialect = {
  errorBody: openai.errorBody,
  parameterNames: openai.parameterNames,
  routes: [
    file("/", "text/html", PAGE),
    ...Object.entries(SCRIPTS).map(([name, text]) => file(`/playground/${name}.js`, "text/javascript", text)),
    file("/playground/style.css", "text/css", STYLE),
    file("/playground/icon.svg", "image/svg+xml", ICON),
  ],
};
