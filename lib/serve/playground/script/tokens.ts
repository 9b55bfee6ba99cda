/** The view of tokens: their probabilities, and the candidates for each. */
export const TOKENS = `import { answerOf, branchAt } from "./conversation.js";
import { $, button, element } from "./dom.js";

/** The token whose candidates are shown. */
let shown = null;

export const showsCandidates = () => shown !== null;

const percent = (logprob) => {
  const p = Math.exp(logprob) * 100;
  return (p >= 99.95 ? "100" : p >= 9.95 ? p.toFixed(0) : p >= 0.095 ? p.toFixed(1) : "<0.1") + " %";
};

/** Shows a token's text, with marks for white space that would not be seen. */
function tokenText(into, text) {
  for (const part of text.split(/(\\n|\\t)/)) {
    if (part === "\\n") into.append(element("span", "mark", "\\u21b5"), "\\n");
    else if (part === "\\t") into.append(element("span", "mark", "\\u2192"), "\\t");
    else into.append(part);
  }
}

/** The tokens of an answer and its prompt. The less likely a token was, the stronger is its color. */
export function tokensOf(column, turn) {
  const box = element("div", "tokens");
  const branch = answerOf(turn);
  for (const token of branch.prompt || []) {
    const span = element("span", "token prompt");
    span.title = "Prompt, id " + token.id;
    tokenText(span, token.text);
    box.append(span);
  }
  for (const [i, token] of [...branch.prefix, ...branch.tokens].entries()) {
    const label = JSON.stringify(token.text) + ", " + percent(token.logprob);
    const one = button("", () => showCandidates(column, turn, i, one), label);
    one.className = "token";
    one.tabIndex = i === 0 ? 0 : -1;
    one.style.setProperty("--alpha", String(0.75 * (1 - Math.exp(token.logprob))));
    one.title = percent(token.logprob) + ", id " + token.id;
    one.setAttribute("aria-haspopup", "dialog");
    tokenText(one, token.text);
    box.append(one);
  }
  box.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    const all = [...box.querySelectorAll("button.token")];
    const next = all[all.indexOf(document.activeElement) + step];
    if (!next) return;
    for (const one of all) one.tabIndex = one === next ? 0 : -1;
    next.focus();
    event.preventDefault();
  });
  return box;
}

function showCandidates(column, turn, index, opener) {
  const branch = answerOf(turn);
  const token = [...branch.prefix, ...branch.tokens][index];
  const box = $("candidates");
  hideCandidates();
  shown = opener;
  opener.setAttribute("aria-expanded", "true");
  const facts = element("p", "", "entropy " + token.entropy.toFixed(2) + " nats, id " + token.id);
  box.replaceChildren(facts, ...token.top.map((candidate) => {
    const choice = button("", () => {
      hideCandidates();
      if (candidate.id !== token.id) branchAt(column, turn, index, candidate);
    });
    choice.disabled = column.busy;
    const bar = element("span", "bar");
    bar.style.width = 100 * Math.exp(candidate.logprob) + "%";
    const text = element("code", "", JSON.stringify(candidate.text).slice(1, -1).replaceAll(" ", "\\u2423"));
    const name = element("span");
    name.append(text, candidate.id === token.id ? " (chosen)" : "");
    choice.append(bar, name, element("span", "", percent(candidate.logprob)));
    return choice;
  }));
  box.hidden = false;
  const at = opener.getBoundingClientRect();
  const { offsetWidth: width, offsetHeight: height } = box;
  box.style.left = Math.max(8, Math.min(at.left, innerWidth - width - 8)) + "px";
  box.style.top = (at.bottom + height + 8 < innerHeight ? at.bottom + 6 : Math.max(8, at.top - height - 6)) + "px";
  box.querySelector("button:not(:disabled)")?.focus();
}

export function hideCandidates() {
  if (!shown) return;
  $("candidates").hidden = true;
  shown.removeAttribute("aria-expanded");
  const before = shown;
  shown = null;
  if (document.activeElement === document.body || $("candidates").contains(document.activeElement)) before.focus();
}

/** Moves among the candidates. @returns whether the key was used */
export function candidateKey({ key }) {
  const step = { ArrowDown: 1, ArrowUp: -1 }[key];
  if (!shown || !step) return false;
  const all = [...$("candidates").querySelectorAll("button")];
  all[(all.indexOf(document.activeElement) + step + all.length) % all.length]?.focus();
  return true;
}

document.addEventListener("pointerdown", ({ target }) => {
  if (shown && !$("candidates").contains(target)) hideCandidates();
});
`;
