/** The styles that only this report needs. */
export const style = `
:root {
  --random: #8d9199; --tokenizer: #7d6f57; --pretrain: #3a6ea8; --sft: #2f8a72; --dpo: #b9742a; --reward: #7c5cae; --grpo: #b0486e; --classify: #5a7d2c;
  --t0: #dbe7f5; --t1: #dcefe2; --t2: #f8e7cf; --t3: #ebe0f5; --t4: #f7dfe6; --t5: #e6ead0;
}
@media (prefers-color-scheme: dark) {
  :root {
    --random: #9298a2; --tokenizer: #b5a482; --pretrain: #74a7e0; --sft: #5fc0a6; --dpo: #e0a45c; --reward: #b096e0; --grpo: #e287a8; --classify: #9dc267;
    --t0: #263a52; --t1: #244234; --t2: #4b3a20; --t3: #3a2d4e; --t4: #4c2b38; --t5: #3a4022;
  }
}
tr.first > *, #kinds tbody tr > * { border-top-color: var(--line); }
.random { --c: var(--random); } .tokenizer { --c: var(--tokenizer); } .pretrain { --c: var(--pretrain); } .sft { --c: var(--sft); }
.dpo { --c: var(--dpo); } .reward { --c: var(--reward); } .grpo { --c: var(--grpo); } .classify { --c: var(--classify); }
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
.bar { display: block; height: 100%; background: var(--c); border-radius: 4px; min-width: 1px; }
.truth { font-weight: 600; } .truth::after { content: " ✓"; color: var(--good); }
.said { font-size: .86rem; color: var(--soft); margin: .6rem 0 0; } .said q { color: var(--ink); }
@media (max-width: 640px) {
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
`;
