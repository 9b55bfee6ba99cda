/**
 * The page's script. It sends every judgement to the server and stores none. A judgement is saved when the server has
 * answered, so a reload continues at the same prompt. Keys repeat while they are held; the repetitions are ignored.
 */
export const SCRIPT = `"use strict";
const $ = (id) => document.getElementById(id);
let state = null;
let picked = [];
let busy = false;
let shown = "";
let asked = 0;

const element = (name, className, text) => {
  const made = document.createElement(name);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
};

function show() {
  const { total, judged, dismissed, skipped, current, canUndo, problem } = state;
  const parts = [judged + " of " + total];
  if (dismissed > 0) parts.push(dismissed + " dismissed");
  if (skipped > 0) parts.push(skipped + " put off");
  $("count").textContent = parts.join(", ");
  $("bar").max = Math.max(total, 1);
  $("bar").value = judged;
  $("undo").disabled = !canUndo && picked.length === 0;
  const ready = Boolean(current && current.answers);
  const stuck = Boolean(current && problem);
  $("tie").disabled = $("bad").disabled = !ready;
  $("tie").hidden = $("bad").hidden = stuck;
  $("again").hidden = !stuck;
  $("skip").disabled = $("dismiss").disabled = !current;
  $("bad-text").textContent = ready && current.answers.length > 2 ? "all bad" : "both bad";
  const key = JSON.stringify([current, problem]);
  if (key !== shown) {
    shown = key;
    picked = [];
    showPrompt(current);
    showAnswers(current, problem);
    document.body.dataset.prompt = current ? String(current.id) : "done";
  }
  marks();
}

function showPrompt(current) {
  const turns = !current ? [] : typeof current.prompt === "string" ? [{ content: current.prompt }] : current.prompt;
  $("prompt").replaceChildren(...turns.map(({ role, content }) => {
    const turn = element("div", "turn");
    if (role && turns.length > 1) turn.append(element("span", "role", role));
    turn.append(element("div", "text", content));
    return turn;
  }));
}

function showAnswers(current, problem) {
  if (!current) {
    const done = element("div", "done");
    done.append(element("div", "text", "All judged. Thank you."), element("div", "quiet", "You may close this page."));
    $("answers").replaceChildren(done);
    $("hint-pick").replaceChildren();
    return;
  }
  if (!current.answers) {
    $("hint-pick").replaceChildren();
    notice(problem ? "Not enough answers to compare: " + problem + "." : "The model is writing …", Boolean(problem));
    $("answers").replaceChildren(...(problem ? (current.sampled || []).map((answer) => {
      const card = element("div", "answer waiting");
      card.append(element("div", "text", answer.trim()));
      return card;
    }) : [0, 1].map((i) => {
      const card = element("div", "answer waiting");
      card.append(placeOf(i));
      const text = element("div", "text");
      for (const width of [92, 85, 60]) text.append(Object.assign(element("span", "shimmer"), { style: "width:" + width + "%" }));
      card.append(text);
      return card;
    })));
    return;
  }
  notice("");
  $("answers").replaceChildren(...current.answers.map((answer, i) => {
    const card = element("button", "answer");
    card.type = "button";
    card.append(placeOf(i), element("div", "text", answer.trim()));
    card.addEventListener("click", () => pick(i));
    return card;
  }));
  const keys = current.answers.map((_, i) => element("kbd", "", String(i + 1)));
  const more = current.answers.length > 2 ? " best first; the rest is equal on " : " the better one";
  $("hint-pick").replaceChildren(...keys.flatMap((k) => [k, " "]), more, ...(current.answers.length > 2 ? [element("kbd", "", "Enter")] : []));
}

function placeOf(i) {
  const place = element("div", "place");
  place.append(element("kbd", "", String(i + 1)), element("span", "rank"));
  return place;
}

function marks() {
  const order = ["best", "second", "third"];
  document.querySelectorAll("button.answer").forEach((card, i) => {
    const rank = picked.indexOf(i);
    card.classList.toggle("picked", rank >= 0);
    card.querySelector(".rank").textContent = rank >= 0 && state.current.answers.length > 2 ? order[rank] || rank + 1 + "th" : "";
  });
}

function notice(text, error = false) {
  $("notice").textContent = text;
  $("notice").classList.toggle("error", error);
}

async function ask(path, body) {
  if (busy) return;
  busy = true;
  asked += 1;
  document.body.ariaBusy = "true";
  try {
    const response = await fetch(path, { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body) });
    const value = await response.json();
    if (!response.ok) throw new Error(value.error.message);
    state = value;
    picked = [];
    notice("");
  } catch (error) {
    picked = []; // the judgement was not saved, so the user has to pick again
    const voted = body.ranking ? body.id : undefined;
    // If another prompt is current now, the vote was saved and only its response was lost.
    if ((await refresh()) && !(voted !== undefined && (state.current ? state.current.id : "done") !== voted))
      notice("Not kept: " + error.message, true);
  } finally {
    busy = false;
    if (state) show();
    document.body.ariaBusy = "false";
  }
}

function pick(i) {
  const answers = state && state.current && state.current.answers;
  if (busy || !answers || i >= answers.length || picked.includes(i)) return;
  picked.push(i);
  if (picked.length >= answers.length - 1) {
    marks();
    vote();
  } else show();
}

/** The picked answers, best first. The rest form one group of equals. */
function vote() {
  const { id, answers } = state.current;
  const rest = answers.map((_, i) => i).filter((i) => !picked.includes(i));
  ask("/api/vote", { id, ranking: [...picked.map((i) => [i]), ...(rest.length > 0 ? [rest] : [])] });
}

function bad() {
  if (busy || !state || !state.current || !state.current.answers) return;
  const { id, answers } = state.current;
  ask("/api/vote", { id, ranking: [answers.map((_, i) => i)], bad: true });
}

function dismiss() {
  if (!busy && state && state.current) ask("/api/dismiss", { id: state.current.id });
}

function again() {
  if (!busy && state && state.current && state.problem) ask("/api/again", { id: state.current.id });
}

function tie() {
  if (!busy && state && state.current && state.current.answers) vote();
}

function skip() {
  if (!busy && state && state.current) ask("/api/skip", { id: state.current.id });
}

function undo() {
  if (busy || !state) return;
  if (picked.length > 0) {
    picked.pop();
    show();
  } else if (state.canUndo) ask("/api/undo", {});
}

async function refresh() {
  const before = asked;
  try {
    const response = await fetch("/api/state");
    const fresh = await response.json();
    if (!response.ok) throw new Error(fresh.error.message);
    if (asked !== before) return false; // a judgement was sent in the meantime, so this state is outdated
    state = fresh;
    return true;
  } catch {
    notice("The program behind this page has ended. Every vote so far is kept.", true);
    return false;
  }
}

async function watch() {
  const waits = !state || (state.current && !state.current.answers);
  if (waits && !busy && (await refresh())) show();
  setTimeout(watch, waits ? 200 : 400);
}

document.addEventListener("keydown", (event) => {
  if (event.repeat || event.ctrlKey || event.metaKey || event.altKey) return;
  const { key } = event;
  const actions = { t: tie, "=": tie, 0: tie, b: bad, s: skip, ArrowRight: skip, d: dismiss, r: again, u: undo, Backspace: undo, ArrowLeft: undo };
  const onButton = document.activeElement instanceof HTMLButtonElement;
  if (/^[1-9]$/.test(key)) pick(Number(key) - 1);
  else if (key === "Enter" && !onButton && picked.length > 0) vote();
  else if (Object.hasOwn(actions, key.length === 1 ? key.toLowerCase() : key)) actions[key.length === 1 ? key.toLowerCase() : key]();
  else return;
  event.preventDefault();
});
$("tie").addEventListener("click", tie);
for (const [id, act] of [["bad", bad], ["dismiss", dismiss], ["again", again]]) $(id).addEventListener("click", act);
$("skip").addEventListener("click", skip);
$("undo").addEventListener("click", undo);
watch();
`;
