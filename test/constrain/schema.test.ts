import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { Automaton, compileSchema } from "../../lib/constrain/index.ts";
import { sample } from "./schemas.ts";
import { validate } from "./validator.ts";

/** The automaton's state for a text. */
function read(automaton: Automaton, text: string | Uint8Array): "whole" | "beginning" | "neither" {
  const state = automaton.read(automaton.start, typeof text === "string" ? Buffer.from(text) : text);
  return state === null ? "neither" : state.whole ? "whole" : "beginning";
}

const of = (schema: unknown) => new Automaton(compileSchema(schema));

const drawn = sample.chain(({ schema, document }) => document.map((value) => ({ schema, value })));

describe("compared with a reference validator", () => {
  test("accepts every valid document in compact form", () => {
    fc.assert(
      fc.property(drawn, ({ schema, value }) => {
        fc.pre(validate(value, schema));
        const automaton = of(schema);
        const bytes = Buffer.from(JSON.stringify(value));
        expect(read(automaton, bytes), `${JSON.stringify(schema)} ${bytes}`).toBe("whole");
      }),
      { numRuns: 500 },
    );
  });

  test("accepts only valid documents among mutations", () => {
    const mutated = fc.tuple(
      drawn,
      fc.array(fc.tuple(fc.nat(), fc.nat(5), fc.nat(255)), { minLength: 1, maxLength: 2 }),
    );
    let whole = 0;
    let not = 0;
    fc.assert(
      fc.property(mutated, ([{ schema, value }, changes]) => {
        const automaton = of(schema);
        let bytes = [...Buffer.from(JSON.stringify(value))];
        for (const [where, kind, byte] of changes) {
          const at = where % (bytes.length + 1);
          if (kind === 0) bytes.splice(at, 1);
          else if (kind === 1) bytes.splice(at, 0, byte);
          else if (kind === 2) bytes[Math.min(at, bytes.length - 1)] = byte;
          else if (kind === 3) bytes.splice(at, 0, ...bytes.slice(at, at + (byte % 8)));
          else if (kind === 4)
            bytes.splice(at, 0, ...Buffer.from(["0", "1", "9", "-", " ", ",", "}", "]", '"', "\\"][byte % 10]!));
          else bytes = [...bytes.slice(0, at), ...bytes.slice(at + (byte % 4))];
        }
        const said = read(automaton, Uint8Array.from(bytes));
        if (said !== "whole") {
          not++;
          return;
        }
        whole++;
        const text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(Uint8Array.from(bytes));
        expect(validate(JSON.parse(text), schema), `${JSON.stringify(schema)} ${text}`).toBe(true);
      }),
      { numRuns: 1000 },
    );
    // Both outcomes must occur.
    expect(Math.min(whole, not)).toBeGreaterThan(50);
  });

  test("every state reached by random steps can continue, and finished documents are valid", () => {
    let ended = 0;
    fc.assert(
      fc.property(sample, fc.array(fc.nat(0xffff), { minLength: 400, maxLength: 400 }), ({ schema }, choices) => {
        const automaton = of(schema);
        const bytes: number[] = [];
        let state = automaton.start;
        for (let i = 0; !state.final && bytes.length < 4000; i++) {
          const allowed = Array.from({ length: 256 }, (_, byte) => byte).filter((byte) => automaton.step(state, byte));
          if (state.whole && choices[i % 400]! % 3 === 0) break;
          expect(allowed.length, `${JSON.stringify(schema)} ${Buffer.from(bytes)}`).toBeGreaterThan(0);
          // Steer towards an end after a while.
          const ends = allowed.filter((byte) => byte === 0x22 || byte === 0x5d || byte === 0x7d);
          const byte = i > 60 && ends.length > 0 ? ends[0]! : allowed[choices[i % 400]! % allowed.length]!;
          bytes.push(byte);
          state = automaton.step(state, byte)!;
        }
        if (!state.whole) return;
        ended++;
        const text = Buffer.from(bytes).toString();
        expect(validate(JSON.parse(text), schema), `${JSON.stringify(schema)} ${text}`).toBe(true);
      }),
      { numRuns: 150 },
    );
    expect(ended).toBeGreaterThan(75);
  });
});
