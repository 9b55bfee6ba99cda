/**
 * The style sheet that all reports share. It follows the reader's light or dark mode, and fits screens from phones to wide monitors.
 */
export const baseStyle = `
:root {
  color-scheme: light dark;
  --paper: #faf9f6; --card: #ffffff; --ink: #23262b; --soft: #646a73; --line: #e3e0d8; --track: #eeece6;
  --good: #2f7d4f; --bad: #b3442e; --note: #b9742a;
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #16181c; --card: #1e2126; --ink: #e5e3de; --soft: #9ba1ab; --line: #31353c; --track: #2a2e35;
    --good: #6fc393; --bad: #e88a74; --note: #e0a45c;
  }
}
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; }
body {
  margin: 0; background: var(--paper); color: var(--ink);
  font: 16px/1.6 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", "Noto Sans", sans-serif;
}
main { max-width: 1060px; margin: 0 auto; padding: 4rem 1.25rem 3rem; }
h1, h2 { font-family: "Iowan Old Style", "Palatino Linotype", Palatino, "Book Antiqua", Georgia, serif; font-weight: 600; line-height: 1.2; text-wrap: balance; }
h1 { font-size: clamp(2rem, 5.5vw, 3.1rem); margin: 0 0 1rem; letter-spacing: -0.015em; }
h2 { font-size: 1.55rem; margin: 0 0 .5rem; }
h3, .cards h2 { font: 600 .95rem/1.4 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", "Noto Sans", sans-serif; margin: 0 0 .75rem; }
p { margin: 0 0 1rem; }
section { margin-top: 4.5rem; }
.kicker { color: var(--soft); font: 500 .85rem ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; margin-bottom: .75rem; }
.lead { color: var(--soft); max-width: 44rem; margin-bottom: 1.5rem; }
header .lead { font-size: 1.08rem; }
.note { border-left: 3px solid var(--note); padding: .3rem .9rem; margin: 1.75rem 0 0; color: var(--soft); }
.card { background: var(--card); border: 1px solid var(--line); border-radius: 12px; padding: 1.1rem 1.2rem; margin: 0; min-width: 0; }
.cards { display: grid; grid-template-columns: 1fr 1fr; gap: 1rem; margin: 2rem 0 0; }
.cards h2 { color: var(--soft); font-weight: 500; }
.journey { list-style: none; display: flex; flex-wrap: wrap; gap: .4rem 1.6rem; margin: 0; padding: 0; align-items: baseline; }
.journey li { display: flex; flex-direction: column; }
.journey b { font-size: 1.3rem; font-weight: 600; color: var(--soft); font-variant-numeric: tabular-nums; white-space: nowrap; }
.journey .last b { color: var(--ink); }
.journey span { font-size: .78rem; color: var(--soft); }
.grid { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 300px), 1fr)); gap: 1rem; }
.scroll { overflow-x: auto; margin-bottom: 1.25rem; }
table { border-collapse: collapse; width: 100%; font-size: .95rem; }
th, td { text-align: left; padding: .5rem .9rem .5rem 0; vertical-align: top; border-top: 1px solid transparent; }
thead th { color: var(--soft); font-weight: 500; font-size: .82rem; }
tbody th { font-weight: 600; max-width: 19rem; }
tbody th small { display: block; color: var(--soft); font-weight: 400; line-height: 1.45; margin-top: .15rem; }
td { font-variant-numeric: tabular-nums; }
.number { text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums; }
td:last-child, th:last-child { padding-right: 0; }
.good { color: var(--good); } .bad { color: var(--bad); } .same { color: var(--soft); }
.stage { font-weight: 600; color: var(--c, var(--ink)); }
figcaption { font-size: .9rem; margin-bottom: .6rem; line-height: 1.4; }
.aside { color: var(--soft); font-size: .82rem; display: block; font-variant-numeric: tabular-nums; }
.plot { width: 100%; border-radius: 6px; }
.plot:focus-visible, a:focus-visible, summary:focus-visible { outline: 2px solid var(--ink); outline-offset: 3px; }
.reading { display: block; min-height: 1.5em; font-size: .8rem; color: var(--soft); font-variant-numeric: tabular-nums; overflow-wrap: anywhere; }
.track { background: var(--track); border-radius: 4px; height: .62rem; overflow: hidden; }
footer { margin-top: 5rem; border-top: 1px solid var(--line); padding-top: 2rem; font-size: .9rem; color: var(--soft); max-width: 48rem; }
footer h2 { color: var(--ink); font-size: 1.2rem; }
footer code, .lead code { font-size: .88em; background: var(--track); padding: .15em .4em; border-radius: 4px; overflow-wrap: anywhere; }
.u-legend { display: none; }
@media (max-width: 640px) {
  .cards { grid-template-columns: 1fr; }
  .journey { gap: .4rem 1.1rem; }
  main { padding-top: 2.25rem; }
  section { margin-top: 3.25rem; }
}
@media print { body { background: #fff; } .card { break-inside: avoid; } }
`;
