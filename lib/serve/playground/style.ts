/**
 * The page's style sheet, with a light and a dark color scheme. Text has a contrast ratio of at least 4.5 to its background. Disabled
 * buttons and the marks for white space have less.
 */
export const STYLE = `
:root {
  --ground: #f7f5f1; --card: #fffdfa; --ink: #23211e; --quiet: #6d6860; --line: #e2ddd3;
  --accent: #2f6b5e; --accent-ground: #e9f1ee; --on-accent: #ffffff; --problem: #a13d2d; --doubt: 22 85% 52%;
  --serif: "Iowan Old Style", "Palatino Linotype", Palatino, Charter, Georgia, serif;
  --sans: system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", sans-serif;
  --mono: ui-monospace, "SF Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace;
}
@media (prefers-color-scheme: dark) {
  :root {
    --ground: #171819; --card: #1f2122; --ink: #e9e6df; --quiet: #a09b92; --line: #34363a;
    --accent: #8ecbb9; --accent-ground: #22322e; --on-accent: #10201b; --problem: #f0a090; --doubt: 18 80% 48%;
  }
}
* { box-sizing: border-box; margin: 0; }
[hidden] { display: none !important; }
html, body { height: 100%; }
body { display: flex; flex-direction: column; background: var(--ground); color: var(--ink); font: 16px/1.55 var(--sans); }
button, input, textarea, select { font: inherit; color: inherit; }
button { padding: 0.3rem 0.7rem; border: 1px solid var(--line); border-radius: 8px; background: var(--card); cursor: pointer; }
button:hover { border-color: var(--accent); }
button:disabled { opacity: 0.45; cursor: default; }
button[aria-pressed="true"], button[aria-expanded="true"] { background: var(--accent-ground); border-color: var(--accent); }
:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; }
header { display: flex; flex-wrap: wrap; align-items: center; gap: 0.5rem; padding: 0.75rem 1.25rem; border-bottom: 1px solid var(--line); font-size: 0.875rem; }
h1 { margin-right: auto; font: 600 1.0625rem/1 var(--serif); letter-spacing: 0.01em; }
#views { display: flex; }
#views button:first-child { border-radius: 8px 0 0 8px; }
#views button:last-child { margin-left: -1px; border-radius: 0 8px 8px 0; }
#body { flex: 1; min-height: 0; display: flex; }
#columns { flex: 1; min-width: 0; display: grid; grid-auto-flow: column; grid-auto-columns: minmax(0, 1fr); }
.column { min-height: 0; display: flex; flex-direction: column; }
.column + .column { border-left: 1px solid var(--line); }
.column > .head { display: flex; flex-wrap: wrap; align-items: baseline; gap: 0.25rem 1rem; padding: 0.6rem 1.25rem; color: var(--quiet); font-size: 0.8125rem; font-variant-numeric: tabular-nums; }
.column select { max-width: 100%; padding: 0.2rem 0.4rem; border: 1px solid var(--line); border-radius: 8px; background: var(--card); color: var(--ink); }
.turns { flex: 1; min-height: 0; overflow-y: auto; padding: 0.5rem 1.25rem 1.5rem; scrollbar-gutter: stable; }
.turns > * { max-width: 44rem; margin-left: auto; margin-right: auto; }
.empty { padding-top: 18vh; text-align: center; color: var(--quiet); }
.empty p:first-child { font: 1.5rem/1.4 var(--serif); color: var(--ink); }
.turn { margin-top: 1.25rem; }
.turn .role { display: flex; align-items: center; gap: 0.5rem; color: var(--quiet); font-size: 0.75rem; }
.turn .role button { padding: 0 0.4rem; font-size: 0.75rem; }
.turn .content { margin-top: 0.2rem; font: 1.0625rem/1.65 var(--serif); white-space: pre-wrap; overflow-wrap: anywhere; }
.turn.user .content { padding: 0.6rem 0.9rem; border-radius: 12px; background: var(--card); border: 1px solid var(--line); font-family: var(--sans); font-size: 1rem; }
.turn .reasoning { margin-top: 0.3rem; color: var(--quiet); font-size: 0.9375rem; }
.turn .reasoning summary { cursor: pointer; font-size: 0.8125rem; }
.turn .reasoning div { padding-left: 0.9rem; border-left: 2px solid var(--line); white-space: pre-wrap; overflow-wrap: anywhere; }
.call { margin-top: 0.6rem; padding: 0.7rem 0.9rem; border: 1px solid var(--line); border-radius: 12px; background: var(--card); }
.call code, .tokens { font-family: var(--mono); font-size: 0.875rem; }
.call code { display: block; white-space: pre-wrap; overflow-wrap: anywhere; }
.call textarea { width: 100%; margin-top: 0.5rem; }
.tokens { margin-top: 0.3rem; line-height: 1.9; white-space: pre-wrap; overflow-wrap: anywhere; }
.token { padding: 0.1em 0; border-radius: 3px; background: hsl(var(--doubt) / var(--alpha, 0)); box-shadow: inset -1px 0 0 var(--ground); }
button.token { display: inline; border: 0; font: inherit; white-space: pre-wrap; text-align: left; }
button.token:hover, button.token[aria-expanded="true"] { outline: 2px solid var(--accent); outline-offset: 0; }
.token.prompt { color: var(--quiet); box-shadow: inset -1px 0 0 var(--line); }
.token .mark { opacity: 0.55; }
.figures { margin-top: 0.35rem; color: var(--quiet); font-size: 0.75rem; font-variant-numeric: tabular-nums; }
#candidates { position: fixed; z-index: 2; width: min(20rem, calc(100vw - 1rem)); max-height: 70vh; overflow: auto; padding: 0.5rem; border: 1px solid var(--line); border-radius: 12px; background: var(--card); box-shadow: 0 8px 30px rgb(0 0 0 / 25%); font-size: 0.875rem; }
#candidates p { padding: 0.15rem 0.4rem 0.4rem; color: var(--quiet); font-size: 0.8125rem; font-variant-numeric: tabular-nums; }
#candidates button { position: relative; display: flex; width: 100%; justify-content: space-between; gap: 1rem; border-color: transparent; background: none; text-align: left; font-variant-numeric: tabular-nums; overflow: hidden; }
#candidates button span { position: relative; }
#candidates button .bar { position: absolute; inset: 0 auto 0 0; background: var(--accent-ground); }
#candidates button:hover { border-color: var(--accent); }
#candidates code { font-family: var(--mono); white-space: pre-wrap; overflow-wrap: anywhere; }
#settings { width: 19rem; overflow-y: auto; padding: 1rem 1.25rem; border-left: 1px solid var(--line); font-size: 0.875rem; }
#settings label { display: block; margin-bottom: 0.75rem; color: var(--quiet); }
#settings input, #settings textarea, .call textarea { display: block; width: 100%; margin-top: 0.2rem; padding: 0.4rem 0.6rem; border: 1px solid var(--line); border-radius: 8px; background: var(--card); color: var(--ink); resize: vertical; }
#tools, .call textarea { font-family: var(--mono); font-size: 0.8125rem; }
.quiet { color: var(--quiet); }
.problem { color: var(--problem); }
.problem:empty { display: none; }
footer { padding: 0.6rem 1.25rem 1rem; border-top: 1px solid var(--line); }
#status { min-height: 1.4em; max-width: 60rem; margin: 0 auto 0.3rem; font-size: 0.8125rem; color: var(--quiet); }
#status.problem { color: var(--problem); }
#composer { display: flex; align-items: flex-end; gap: 0.6rem; max-width: 60rem; margin: 0 auto; }
#message { flex: 1; max-height: 30vh; padding: 0.6rem 0.9rem; border: 1px solid var(--line); border-radius: 12px; background: var(--card); resize: none; }
#composer button { padding: 0.6rem 1.1rem; border-radius: 12px; }
#send { border-color: var(--accent); background: var(--accent); color: var(--on-accent); }
@media (max-width: 48rem) {
  header, .column > .head, .turns, footer { padding-left: 0.9rem; padding-right: 0.9rem; }
  #columns { grid-auto-flow: row; grid-auto-columns: auto; grid-auto-rows: minmax(0, 1fr); }
  .column + .column { border-left: 0; border-top: 1px solid var(--line); }
  #settings { position: fixed; z-index: 1; inset: 6.5rem 0 0 auto; width: min(100vw, 26rem); background: var(--ground); }
}
@media (prefers-reduced-motion: no-preference) { .writing .content::after { content: ""; display: inline-block; width: 0.5em; height: 1em; margin-left: 0.1em; vertical-align: -0.15em; background: var(--accent); animation: blink 1s steps(2) infinite; } }
@keyframes blink { 50% { opacity: 0; } }
`;
