/** The styles that only reports of runs need, and the colors of up to eight runs. */
export const runStyle = `
:root {
  --run0: #3a6ea8; --run1: #b9742a; --run2: #2f8a72; --run3: #b0486e; --run4: #7c5cae; --run5: #5a7d2c; --run6: #8a6a4a; --run7: #5c6672;
  --held: #b9742a;
}
@media (prefers-color-scheme: dark) {
  :root {
    --run0: #74a7e0; --run1: #e0a45c; --run2: #5fc0a6; --run3: #e287a8; --run4: #b096e0; --run5: #9dc267; --run6: #c9a888; --run7: #a7b0bb;
    --held: #e0a45c;
  }
}
section { margin-top: 3rem; }
h1 { overflow-wrap: anywhere; }
.note + .note { margin-top: .6rem; }
.grid { grid-template-columns: repeat(auto-fit, minmax(min(100%, 440px), 1fr)); }
.legend { list-style: none; display: flex; flex-wrap: wrap; gap: .1rem 1.2rem; margin: .3rem 0 0; padding: 0; font-size: .82rem; }
.legend li { overflow-wrap: anywhere; }
.swatch { display: inline-block; width: 1.3em; border-top: 3px solid var(--c); margin-right: .5em; vertical-align: middle; }
.swatch.dashed { border-top-style: dashed; border-top-width: 2px; }
details { font-size: .82rem; margin-top: .35rem; }
summary { color: var(--soft); cursor: pointer; width: max-content; }
details table { font-size: .82rem; width: auto; } details td, details th { padding-block: .15rem; }
details .scroll { margin: .4rem 0 0; max-height: 16rem; overflow: auto; }
.answers { margin: 0 0 .8rem; font-size: .9rem; }
.answers summary { color: var(--ink); font-weight: 600; width: auto; }
.answers ul { list-style: none; margin: .6rem 0 0; padding: 0; }
.answers li { border-top: 1px solid var(--line); padding: .6rem 0; }
.answers p { margin: 0; overflow-wrap: anywhere; }
.answers .prompt, .answers .scores { color: var(--soft); font-size: .82rem; }
.answers .prompt { white-space: pre-line; max-height: 6rem; overflow: auto; }
.answers .answer { white-space: pre-wrap; margin: .15rem 0; }
.answers .scores b { color: var(--ink); }
.hidden { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap; }
#runs th, #runs td { white-space: nowrap; }
`;
