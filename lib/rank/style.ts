/** The style sheet, with a light and a dark mode. Text has a contrast ratio of at least 4.5 to its background. */
export const STYLE = `
:root {
  --ground: #f7f5f1; --card: #fffdfa; --ink: #23211e; --quiet: #6d6860; --line: #e2ddd3;
  --accent: #2f6b5e; --accent-ground: #e9f1ee; --shadow: 0 1px 2px rgb(40 30 10 / 5%), 0 8px 24px rgb(40 30 10 / 5%);
  --serif: "Iowan Old Style", "Palatino Linotype", Palatino, Charter, Georgia, serif;
  --sans: system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", sans-serif;
}
@media (prefers-color-scheme: dark) {
  :root {
    --ground: #171819; --card: #1f2122; --ink: #e9e6df; --quiet: #a09b92; --line: #34363a;
    --accent: #8ecbb9; --accent-ground: #22322e; --shadow: 0 1px 2px rgb(0 0 0 / 30%), 0 8px 24px rgb(0 0 0 / 25%);
  }
}
* { box-sizing: border-box; margin: 0; }
html { height: 100%; }
body {
  min-height: 100%; display: flex; flex-direction: column; gap: 1.75rem; max-width: 78rem; margin: 0 auto; padding: 2rem 2rem 0;
  background: var(--ground); color: var(--ink); font: 16px/1.55 var(--sans); -webkit-font-smoothing: antialiased;
}
header { display: grid; grid-template-columns: 1fr auto; align-items: baseline; gap: 0.75rem 1rem; }
h1 { font: 500 1rem/1.4 var(--sans); color: var(--quiet); letter-spacing: 0.01em; }
#count { color: var(--quiet); font-size: 0.875rem; font-variant-numeric: tabular-nums; }
progress { grid-column: 1 / -1; appearance: none; width: 100%; height: 3px; border: 0; border-radius: 3px; background: var(--line); overflow: hidden; }
progress::-webkit-progress-bar { background: var(--line); }
progress::-webkit-progress-value { background: var(--accent); transition: inline-size 0.3s ease; }
progress::-moz-progress-bar { background: var(--accent); }
main { flex: 1; display: flex; flex-direction: column; gap: 1.75rem; padding-top: clamp(0rem, 5vh, 4rem); }
#prompt { max-width: 48rem; }
#prompt .turn { margin-top: 0.75rem; }
#prompt .turn:first-child { margin-top: 0; }
#prompt .role { display: block; color: var(--quiet); font-size: 0.75rem; letter-spacing: 0.06em; text-transform: uppercase; }
#prompt .text { font: 1.5rem/1.4 var(--serif); white-space: pre-wrap; overflow-wrap: anywhere; }
#prompt .turn:not(:last-child) .text { font-size: 1.125rem; color: var(--quiet); }
#answers { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(20rem, 100%), 1fr)); align-items: stretch; gap: 1.25rem; }
.answer {
  display: flex; flex-direction: column; gap: 1rem; min-height: 16rem; padding: 1.5rem 1.75rem; text-align: left; cursor: pointer;
  background: var(--card); color: inherit; border: 1px solid var(--line); border-radius: 14px; box-shadow: var(--shadow); font: inherit;
  transition: border-color 0.15s ease, background-color 0.15s ease, transform 0.15s ease;
}
.answer:hover { border-color: var(--accent); }
.answer.picked { border-color: var(--accent); background: var(--accent-ground); }
.answer.waiting { cursor: default; }
.answer.waiting:hover { border-color: var(--line); }
.answer .place { display: flex; justify-content: space-between; color: var(--quiet); font-size: 0.8125rem; }
.answer .text { flex: 1; font: 1.125rem/1.6 var(--serif); white-space: pre-wrap; overflow-wrap: anywhere; }
.answer .rank { color: var(--accent); font-weight: 600; }
.shimmer { display: block; height: 0.8em; margin: 0.45em 0; border-radius: 4px; background: var(--line); animation: breathe 1.8s ease-in-out infinite; }
@keyframes breathe { 50% { opacity: 0.4; } }
kbd {
  display: inline-block; min-width: 1.6em; padding: 0.1em 0.45em; text-align: center; border: 1px solid var(--line); border-bottom-width: 2px; border-radius: 6px;
  background: var(--card); color: var(--ink); font: 600 0.8125rem/1.4 var(--sans);
}
footer {
  position: sticky; bottom: 0; display: flex; flex-wrap: wrap; align-items: center; gap: 0.5rem 1.25rem; margin: 0 -1rem; padding: 0.75rem 1rem 1.25rem;
  background: var(--ground); color: var(--quiet); font-size: 0.875rem;
}
footer #hint-pick { margin-right: auto; }
footer button { padding: 0.35rem 0; border: 0; background: none; color: inherit; font: inherit; cursor: pointer; border-radius: 8px; }
footer button:hover { color: var(--ink); }
footer button[hidden] { display: none; }
footer button:disabled { opacity: 0.4; cursor: default; }
:focus-visible { outline: 2px solid var(--accent); outline-offset: 3px; }
#notice { flex-basis: 100%; font-size: 1rem; color: var(--quiet); }
#notice:empty { display: none; }
#notice.error { color: #a13d2d; }
@media (prefers-color-scheme: dark) { #notice.error { color: #f0a090; } }
.done { grid-column: 1 / -1; padding-top: 12vh; text-align: center; }
.done .text { font: 1.75rem/1.4 var(--serif); }
.done .quiet { margin-top: 0.5rem; color: var(--quiet); }
@media (max-width: 40rem) {
  body { padding: 1.25rem 1rem 0; }
  #prompt .text { font-size: 1.25rem; }
  footer { gap: 0.125rem 1rem; padding: 0.5rem 1rem 0.75rem; }
  footer #hint-pick { flex-basis: 100%; }
  footer button kbd { display: none; }
}
@media (prefers-reduced-motion: reduce) { * { transition: none !important; animation: none !important; } }
`;
