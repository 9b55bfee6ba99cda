import { expect, test } from "vitest";
import { expandHostlist } from "../../../lib/train/world/hostlist.ts";

test.each([
  ["node1", ["node1"]],
  ["a,b", ["a", "b"]],
  ["node[1-3]", ["node1", "node2", "node3"]],
  ["node[08-10,2]", ["node08", "node09", "node10", "node2"]],
  ["n[1-2],login,gpu[7]-ib", ["n1", "n2", "login", "gpu7-ib"]],
  ["r[1-2]n[1,3]", ["r1n1", "r1n3", "r2n1", "r2n3"]],
])("expands %s", (text, hosts) => expect(expandHostlist(text)).toEqual(hosts));

test.each([
  ["", /an empty name/],
  ["a,,b", /an empty name/],
  ["a[1", /an open bracket/],
  ["a]1", /an unexpected \]/],
  ["a[[1]]", /an unexpected \[/],
  ["a[x]", /got "x"/],
  ["a[]", /got ""/],
  ["a[3-1]", /got "3-1"/],
  ["a[0-999999999]", /more than 65536 hosts/],
  ["a[1-9999][1-9999]", /more than 65536 hosts/],
])("rejects the host list %j", (text, message) => {
  expect(() => expandHostlist(text)).toThrow(expect.objectContaining({ code: "INVALID_ARGUMENT" }));
  expect(() => expandHostlist(text)).toThrow(message);
});
