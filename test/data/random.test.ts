import { describe, expect, it } from "vitest";
import { permutation, philox, uniformAt } from "../../lib/data/random.ts";

const hex = (words: readonly number[]) => words.map((word) => word.toString(16).padStart(8, "0")).join(" ");

describe("philox", () => {
  // Known-answer vectors of Random123 for philox4x32-10 (kat_vectors).
  it.each([
    [[0, 0, 0, 0], [0, 0], "6627e8d5 e169c58d bc57ac4c 9b00dbd8"],
    [[0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff], [0xffffffff, 0xffffffff], "408f276d 41c83b0e a20bc7c6 6d5451fd"],
    [[0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344], [0xa4093822, 0x299f31d0], "d16cfe09 94fdcceb 5001e420 24126ea1"],
  ] as const)("gives the known answer for %j", (counter, key, wanted) => {
    expect(hex(philox([...counter], [...key]))).toBe(wanted);
  });
});

describe("uniformAt", () => {
  it("has the mean and range of a uniform distribution, and depends on every argument", () => {
    const draws = Array.from({ length: 20000 }, (_, i) => uniformAt(1, 2, 3, i));
    const mean = draws.reduce((sum, draw) => sum + draw, 0) / draws.length;
    expect(Math.abs(mean - 0.5)).toBeLessThan(4 * Math.sqrt(1 / 12 / draws.length));
    expect(Math.min(...draws)).toBeGreaterThanOrEqual(0);
    expect(Math.max(...draws)).toBeLessThan(1);
    const others = [
      uniformAt(1, 2, 3, 4),
      uniformAt(2 ** 40 + 1, 2, 3, 4),
      uniformAt(1, 1, 3, 4),
      uniformAt(1, 2, 4, 4),
    ];
    expect(new Set([...others, uniformAt(1, 2, 3, 5)]).size).toBe(5);
  });
});

describe("permutation", () => {
  it("contains every index once, for every small length", async () => {
    for (let n = 0; n < 70; n++) {
      const order = await permutation(n, 5, 1, 0);
      expect([...order].sort((a, b) => a - b)).toEqual(Array.from({ length: n }, (_, i) => i));
    }
  });

  it("gives every order of three with about equal frequency", async () => {
    const counts = new Map<string, number>();
    for (let seed = 0; seed < 6000; seed++) {
      const order = (await permutation(3, seed, 1, 0)).join("");
      counts.set(order, (counts.get(order) ?? 0) + 1);
    }
    expect(counts.size).toBe(6);
    // chi-squared with 5 degrees of freedom: 20.5 has probability 0.001
    const chi = [...counts.values()].reduce((sum, count) => sum + (count - 1000) ** 2 / 1000, 0);
    expect(chi).toBeLessThan(20.5);
  });

  it("depends on seed, stream, epoch and part", async () => {
    const orders: [number, number, number, number][] = [
      [1, 1, 0, 0],
      [2, 1, 0, 0],
      [1, 2, 0, 0],
      [1, 1, 1, 0],
      [1, 1, 0, 1],
    ];
    const joined = await Promise.all(orders.map(async (args) => (await permutation(50, ...args)).join()));
    expect(new Set(joined).size).toBe(5);
  });
});
