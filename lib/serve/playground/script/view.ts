/** How conversations are shown. */
export const VIEW = `import { answerOf, sendResults, showBranch, tryAgain } from "./conversation.js";
import { button, element } from "./dom.js";
import { showsCandidates, tokensOf } from "./tokens.js";

/** "text" or "tokens". */
let view = "text";

export function setView(name) {
  view = name;
}

function figuresOf(branch) {
  const count = branch.tokens.length;
  const parts = [];
  if (count > 1 && branch.seconds > 0) parts.push(((count - 1) / branch.seconds).toFixed(1) + " tokens/s");
  if (branch.wait !== undefined) parts.push("first token after " + branch.wait.toFixed(2) + " s");
  if (count > 0) {
    parts.push(count + " tokens");
    parts.push("entropy " + (branch.tokens.reduce((sum, { entropy }) => sum + entropy, 0) / count).toFixed(2) + " nats a token");
  }
  if (branch.finish === "length") parts.push("stopped at the token limit");
  if (branch.finish === "stopped") parts.push("stopped");
  return parts.join(" \\u00b7 ");
}

function callOf(call, isOpen) {
  const card = element("div", "call");
  card.append(element("div", "quiet", "calls " + call.name), element("code", "", call.arguments));
  if (!isOpen) return card;
  const result = element("textarea");
  result.rows = 2;
  result.placeholder = "Result of " + call.name;
  result.setAttribute("aria-label", "Result of " + call.name);
  result.value = call.result;
  result.addEventListener("input", () => { call.result = result.value; });
  card.append(result);
  return card;
}

function drawTurn(column, turn, node) {
  const isLast = column.turns.at(-1) === turn;
  const role = element("div", "role", turn.role === "assistant" ? column.model : turn.role);
  if (turn.role !== "assistant") {
    node.className = "turn user";
    node.replaceChildren(role, element("div", "content", turn.content));
    return;
  }
  const branch = answerOf(turn);
  node.className = "turn assistant" + (isLast && column.busy ? " writing" : "");
  if (turn.branches.length > 1) {
    const move = (step, text, label) => {
      const made = button(text, () => showBranch(column, turn, turn.at + step), label);
      made.disabled = column.busy || !turn.branches[turn.at + step];
      return made;
    };
    role.append(move(-1, "\\u2039", "Previous branch"), element("span", "", turn.at + 1 + " of " + turn.branches.length), move(1, "\\u203a", "Next branch"));
  }
  const parts = [role];
  if (view === "tokens") parts.push(tokensOf(column, turn));
  else {
    if (branch.reasoning) {
      const details = element("details", "reasoning");
      details.open = branch.content === "" && branch.calls.length === 0;
      details.append(element("summary", "", "Reasoning"), element("div", "", branch.reasoning));
      parts.push(details);
    }
    parts.push(element("div", "content", branch.content));
    const open = isLast && !column.busy;
    for (const call of branch.calls) parts.push(callOf(call, open));
    if (open && branch.calls.length > 0)
      parts.push(button(branch.calls.length > 1 ? "Send results" : "Send result", () => sendResults(column, turn)));
  }
  if (branch.problem) {
    const problem = element("p", "problem", branch.problem + " ");
    problem.append(button("Try again", () => tryAgain(column, turn)));
    if (isLast) parts.push(problem);
  }
  parts.push(element("div", "figures", figuresOf(branch)));
  node.replaceChildren(...parts);
}

/** Draws a turn that is being written, at most once a frame. */
export function drawWritten(column, turn) {
  if (column.frame) return;
  column.frame = requestAnimationFrame(() => {
    column.frame = 0;
    const node = column.nodes.get(turn);
    if (!node || showsCandidates()) return;
    const box = column.box;
    const follows = box.scrollHeight - box.scrollTop - box.clientHeight < 60;
    drawTurn(column, turn, node);
    if (follows) box.scrollTop = box.scrollHeight;
    drawHead(column);
  });
}

/** Draws a whole column. */
export function drawTurns(column) {
  column.nodes = new Map(column.turns.map((turn) => [turn, element("div", "turn")]));
  for (const [turn, node] of column.nodes) drawTurn(column, turn, node);
  // Scroll to a message that the user sends, even if the column was scrolled up.
  const follows = column.follows || column.box.scrollHeight - column.box.scrollTop - column.box.clientHeight < 60;
  column.follows = false;
  if (column.turns.length > 0) column.box.replaceChildren(...column.nodes.values());
  else {
    const empty = element("div", "empty");
    empty.append(element("p", "", "Say something."), element("p", "", "The tokens view shows how likely each token was. Click one to take another branch."));
    column.box.replaceChildren(empty);
  }
  if (follows) column.box.scrollTop = column.box.scrollHeight;
  drawHead(column);
}

/** Draws a column's list of models, and how much of the context is used. */
export function drawHead(column, models = column.models) {
  column.models = models;
  const { select, used } = column;
  const isSame = select.options.length === models.length && models.every((name, i) => select.options[i].value === name);
  if (!isSame || select.value !== column.model) {
    select.replaceChildren(...models.map((name) => new Option(name, name, false, name === column.model)));
    select.value = column.model;
  }
  const turn = column.turns.findLast((one) => one.role === "assistant");
  const branch = turn && answerOf(turn);
  const tokens = branch && branch.prompt ? branch.prompt.length + branch.prefix.length + branch.tokens.length : 0;
  used.textContent = tokens && column.context ? "context " + tokens + " of " + column.context : "";
}
`;
