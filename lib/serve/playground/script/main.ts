/** The page's controls: columns, models, the composer, keys. */
export const MAIN = `import { ask } from "./api.js";
import { checkTools, running, send, watch, watchTrouble } from "./conversation.js";
import { $, element, say } from "./dom.js";
import { candidateKey, hideCandidates, showsCandidates } from "./tokens.js";
import { drawHead, drawTurns, drawWritten, setView } from "./view.js";

let models = [];
const columns = [];

/** Loads the list of models. @param message the status on success; null leaves the status as it is */
async function loadModels(message = "") {
  try {
    const { data } = await (await ask("v1/models")).json();
    models = data.map((one) => one.id);
    if (message !== null) say(message);
  } catch (error) {
    say(error.message, true);
    waitFor(error);
  }
  for (const column of columns) {
    if (!models.includes(column.model)) column.model = models[Math.min(columns.indexOf(column), models.length - 1)] || "";
    drawHead(column, models);
  }
}

let waiting = 0;
/** Recovers from an error: loads the list again if a model is gone, and polls the server if it does not answer. */
function waitFor({ kind }) {
  if (kind === "model") loadModels(null);
  if (kind !== "gone" || waiting) return;
  waiting = setInterval(async () => {
    const isGone = await ask("v1/models").then(() => false, (error) => error.kind === "gone");
    if (isGone || !waiting) return;
    clearInterval(waiting);
    waiting = 0;
    await loadModels($("status").className === "problem" ? "The server answers again." : null);
  }, 2000);
}

function newColumn(model) {
  const node = element("section", "column");
  const head = element("div", "head");
  const select = element("select");
  select.setAttribute("aria-label", "Model");
  const used = element("span");
  const box = element("div", "turns");
  box.tabIndex = -1;
  head.append(select, used);
  node.append(head, box);
  const column = { node, select, used, box, model, turns: [], models, nodes: new Map(), busy: false, follows: false, context: 0, frame: 0 };
  select.addEventListener("change", () => { column.model = select.value; });
  return column;
}

function setColumns(count) {
  while (columns.length > count) columns.pop().node.remove();
  while (columns.length < count) {
    const column = newColumn(models[columns.length] || models[0] || "");
    columns.push(column);
    $("columns").append(column.node);
    drawTurns(column);
  }
  $("compare").setAttribute("aria-pressed", String(count > 1));
}

function controls() {
  const busy = running.size > 0;
  $("send").hidden = busy;
  $("stop").hidden = !busy;
  $("compare").disabled = $("clear").disabled = busy;
}

function grow() {
  const box = $("message");
  box.style.height = "auto";
  box.style.height = box.scrollHeight + 2 + "px";
}

$("composer").addEventListener("submit", (event) => {
  event.preventDefault();
  const text = $("message").value;
  if (text.trim() === "" || running.size > 0) return;
  $("message").value = "";
  grow();
  hideCandidates();
  send(columns, text);
});
$("message").addEventListener("input", grow);
$("message").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
    event.preventDefault();
    $("composer").requestSubmit();
  }
});
$("stop").addEventListener("click", () => { for (const one of running) one.abort(); });
$("clear").addEventListener("click", () => {
  for (const column of columns) {
    column.turns = [];
    drawTurns(column);
  }
  say("");
  $("message").focus();
});
$("compare").addEventListener("click", () => setColumns(columns.length > 1 ? 1 : 2));
$("settings-toggle").addEventListener("click", () => {
  const open = $("settings").hidden;
  $("settings").hidden = !open;
  $("settings-toggle").setAttribute("aria-expanded", String(open));
});
$("settings").addEventListener("submit", (event) => event.preventDefault());
$("tools").addEventListener("change", checkTools);
$("key").addEventListener("change", () => loadModels());
for (const button of document.querySelectorAll("#views button"))
  button.addEventListener("click", () => {
    setView(button.dataset.view);
    for (const one of document.querySelectorAll("#views button")) one.setAttribute("aria-pressed", String(one === button));
    columns.forEach(drawTurns);
  });
document.addEventListener("keydown", (event) => {
  if (candidateKey(event)) event.preventDefault();
  else if (event.key !== "Escape") return;
  else if (showsCandidates()) hideCandidates();
  else for (const one of running) one.abort();
});
watchTrouble(waitFor);
watch((column, turn) => {
  if (turn) drawWritten(column, turn);
  else drawTurns(column);
  controls();
});

setColumns(1);
loadModels().then(() => $("message").focus());
`;
