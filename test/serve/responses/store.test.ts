// The store of responses is bounded in number and bytes, and drops what was used least recently.
import { describe, expect, test } from "vitest";
import type { Item } from "../../../lib/serve/openai/responses/items.ts";
import { ResponseStore } from "../../../lib/serve/openai/responses/store.ts";
import { watched } from "../watched-array.ts";

const item = (id: string, text = ""): Item => ({ type: "message", id, text });
const response = (id: string, output = [item(`msg_${id}`)], input: Item[] = []) => ({ body: { id }, input, output });
const held = (store: ResponseStore, ids: readonly string[]) => ids.filter((id) => store.get("me", id) !== undefined);

describe("the store of responses", () => {
  test("drops the least recently used responses beyond the maximum number", () => {
    const store = new ResponseStore({ responses: 3, bytes: 1 << 20 });
    for (const id of ["a", "b", "c"]) store.add("me", response(id));
    store.get("me", "a");
    store.add("me", response("d"));
    expect(held(store, ["a", "b", "c", "d"])).toEqual(["a", "c", "d"]);
    expect(store.item("me", "msg_b")).toBeUndefined();
    expect(store.item("me", "msg_a")).toMatchObject({ id: "msg_a" });
  });

  test("drops the least recently used responses beyond the maximum bytes", () => {
    const store = new ResponseStore({ responses: 100, bytes: 10_000 });
    for (const id of ["a", "b", "c"]) store.add("me", response(id, [item(id, "x".repeat(1500))]));
    expect(held(store, ["a", "b", "c"])).toEqual(["b", "c"]);
    expect(store.size.bytes).toBeLessThanOrEqual(10_000);
  });

  test("does not store a response larger than the maximum bytes, and keeps the others", () => {
    const store = new ResponseStore({ responses: 100, bytes: 10_000 });
    store.add("me", response("a"));
    const before = store.size;
    const { array, reads } = watched(1);
    store.add("me", response("numbers", [{ ...item("numbers"), array: [array] }]));
    store.add("me", response("text", [item("text", "x".repeat(5000))]));
    store.add(
      "me",
      response(
        "items",
        Array.from({ length: 100 }, (_, i) => item(`${i}`)),
      ),
    );
    store.add("me", { ...response("body"), body: { id: "body", tools: ["x".repeat(5000)] } });
    expect(reads()).toBe(0);
    expect(store.size).toEqual(before);
    expect(held(store, ["a", "numbers", "text", "items", "body"])).toEqual(["a"]);
  });

  test.each([
    ["number", { responses: 4, bytes: 1 << 20 }, 2],
    ["bytes", { responses: 100, bytes: 10_000 }, 2],
  ])("drops responses of the owner who has the most: %s", (_, limits, kept) => {
    const store = new ResponseStore(limits);
    const add = (owner: string, id: string) => store.add(owner, response(id, [item(id, "x".repeat(1000))]));
    for (const id of ["a", "b"]) add("me", id);
    for (let i = 0; i < 10; i++) add("you", `${i}`);
    expect(held(store, ["a", "b"])).toEqual(["a", "b"]);
    expect(Array.from({ length: 10 }, (_, i) => store.get("you", `${i}`)).filter(Boolean)).toHaveLength(kept);
    expect(store.get("you", "9")).toBeDefined();
  });

  test("counts an item that several responses share once, and frees it with the last of them", () => {
    const store = new ResponseStore({ responses: 2, bytes: 1 << 20 });
    const shared = item("msg_shared", "x".repeat(1000));
    store.add("me", response("a", [shared]));
    const one = store.size.bytes;
    store.add("me", response("b", [], [shared]));
    expect(store.size.bytes - one).toBeLessThan(500);
    store.add("me", response("c", [], [shared]));
    expect(store.get("me", "a")).toBeUndefined();
    expect(store.item("me", "msg_shared")).toBe(shared);
    for (const id of ["b", "c"]) expect(store.delete("me", id)).toBe(true);
    expect(store.item("me", "msg_shared")).toBeUndefined();
    expect(store.size).toEqual({ responses: 0, bytes: 0 });
  });

  test("finds an item by its id as long as a response has it", () => {
    const store = new ResponseStore();
    store.add("me", response("a", [item("msg", "first")]));
    store.add("me", response("b", [item("other")], [item("msg", "sent again")]));
    expect(store.item("me", "msg")).toMatchObject({ text: "first" });
    store.delete("me", "a");
    expect(store.item("me", "msg")).toMatchObject({ text: "sent again" });
    store.delete("me", "b");
    expect(store.item("me", "msg")).toBeUndefined();
  });

  test("hides the responses and items of one owner from others", () => {
    const store = new ResponseStore();
    store.add("me", response("a"));
    expect(store.get("you", "a")).toBeUndefined();
    expect(store.item("you", "msg_a")).toBeUndefined();
    expect(store.delete("you", "a")).toBe(false);
    expect(store.delete("me", "nothing")).toBe(false);
    expect(store.get("me", "a")).toBeDefined();
  });
});
