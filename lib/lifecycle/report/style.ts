/**
 * The report's style sheet. It follows the reader's light or dark mode, and fits screens from phones to wide monitors.
 */
export const style = `
:root {
  color-scheme: light dark;
  --paper: #faf9f6; --card: #ffffff; --ink: #23262b; --soft: #646a73; --line: #e3e0d8; --track: #eeece6;
  --good: #2f7d4f; --bad: #b3442e;
  --random: #8d9199; --tokenizer: #7d6f57; --pretrain: #3a6ea8; --sft: #2f8a72; --dpo: #b9742a; --reward: #7c5cae; --grpo: #b0486e; --classify: #5a7d2c;
  --t0: #dbe7f5; --t1: #dcefe2; --t2: #f8e7cf; --t3: #ebe0f5; --t4: #f7dfe6; --t5: #e6ead0;
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #16181c; --card: #1e2126; --ink: #e5e3de; --soft: #9ba1ab; --line: #31353c; --track: #2a2e35;
    --good: #6fc393; --bad: #e88a74;
    --random: #9298a2; --tokenizer: #b5a482; --pretrain: #74a7e0; --sft: #5fc0a6; --dpo: #e0a45c; --reward: #b096e0; --grpo: #e287a8; --classify: #9dc267;
    --t0: #263a52; --t1: #244234; --t2: #4b3a20; --t3: #3a2d4e; --t4: #4c2b38; --t5: #3a4022;
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
.note { border-left: 3px solid var(--dpo); padding: .3rem .9rem; margin: 1.75rem 0 0; color: var(--soft); }
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
tr.first > *, #kinds tbody tr > * { border-top-color: var(--line); }
tbody th { font-weight: 600; max-width: 19rem; }
tbody th small { display: block; color: var(--soft); font-weight: 400; line-height: 1.45; margin-top: .15rem; }
td { font-variant-numeric: tabular-nums; }
.number { text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums; }
td:last-child, th:last-child { padding-right: 0; }
.good { color: var(--good); } .bad { color: var(--bad); } .same { color: var(--soft); }
.stage { font-weight: 600; color: var(--c, var(--ink)); }
.random { --c: var(--random); } .tokenizer { --c: var(--tokenizer); } .pretrain { --c: var(--pretrain); } .sft { --c: var(--sft); }
.dpo { --c: var(--dpo); } .reward { --c: var(--reward); } .grpo { --c: var(--grpo); } .classify { --c: var(--classify); }
figcaption { font-size: .9rem; margin-bottom: .6rem; line-height: 1.4; }
.aside { color: var(--soft); font-size: .82rem; display: block; font-variant-numeric: tabular-nums; }
.plot { width: 100%; }
.samples { columns: 2 22rem; column-gap: 1rem; }
.samples .card { break-inside: avoid; margin-bottom: 1rem; }
.samples ul { list-style: none; margin: 0; padding: 0; }
.samples li { display: grid; grid-template-columns: 8.2rem 1fr; gap: .1rem .8rem; padding: .45rem 0; border-top: 1px solid var(--line); font-size: .9rem; }
.samples .stage { font-weight: 500; font-size: .82rem; line-height: 1.75; }
.samples q { quotes: none; white-space: pre-line; overflow-wrap: anywhere; }
.samples q i { color: var(--soft); font-style: normal; }
.verdict { grid-column: 2; font-size: .76rem; color: var(--soft); }
.verdict::before { content: ""; display: inline-block; width: .5em; height: .5em; border-radius: 50%; background: currentColor; margin-right: .45em; }
.verdict.right { color: var(--good); } .verdict.wrong, .verdict.invented { color: var(--bad); }
.tokens { display: flex; flex-wrap: wrap; gap: .35rem .15rem; margin: 0 0 .6rem; }
.token { display: inline-flex; flex-direction: column; align-items: center; border-radius: 6px; padding: .15rem .35rem; font: .95rem/1.5 ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; }
.token small { font-size: .66rem; color: var(--soft); }
.t0 { background: var(--t0); } .t1 { background: var(--t1); } .t2 { background: var(--t2); } .t3 { background: var(--t3); } .t4 { background: var(--t4); } .t5 { background: var(--t5); }
#tokens figure + figure { margin-top: 1rem; }
#tokens figcaption { color: var(--soft); margin: 0; }
.bars { list-style: none; margin: 0; padding: 0; }
.bars li { display: grid; grid-template-columns: 6.5rem 1fr 3.4rem; gap: .7rem; align-items: center; font-size: .86rem; padding: .16rem 0; }
.bars li.wide { grid-template-columns: 7.2rem 1fr 3.4rem; }
.bars code { font-size: .84rem; overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
.track { background: var(--track); border-radius: 4px; height: .62rem; overflow: hidden; }
.bar { display: block; height: 100%; background: var(--c); border-radius: 4px; min-width: 1px; }
.truth { font-weight: 600; } .truth::after { content: " ✓"; color: var(--good); }
.said { font-size: .86rem; color: var(--soft); margin: .6rem 0 0; } .said q { color: var(--ink); }
footer { margin-top: 5rem; border-top: 1px solid var(--line); padding-top: 2rem; font-size: .9rem; color: var(--soft); max-width: 48rem; }
footer h2 { color: var(--ink); font-size: 1.2rem; }
footer code, .lead code { font-size: .88em; background: var(--track); padding: .15em .4em; border-radius: 4px; overflow-wrap: anywhere; }
.u-legend { display: none; }
@media (max-width: 640px) {
  .cards { grid-template-columns: 1fr; }
  .journey { gap: .4rem 1.1rem; }
  main { padding-top: 2.25rem; }
  section { margin-top: 3.25rem; }
  .samples li { grid-template-columns: 1fr; }
  .verdict { grid-column: 1; }
  table.gains thead { display: none; }
  table.gains, table.gains tbody { display: block; }
  table.gains tr { display: grid; grid-template-columns: 1fr 3.2rem 3.2rem 5.6rem; column-gap: .5rem; align-items: baseline; }
  table.gains th { grid-column: 1 / -1; max-width: none; padding-bottom: .2rem; }
  table.gains td { border: 0; padding: .2rem 0; font-size: .86rem; }
  table.gains tr.first > td { border: 0; }
  table.gains tr.first { border-top: 1px solid var(--line); }
}
@media print { body { background: #fff; } .card { break-inside: avoid; } }
`;
