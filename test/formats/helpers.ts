// Hand-made files, and temp folders that are removed after the tests.
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect } from "vitest";
import { HeddleError, type HeddleErrorCode } from "../../lib/core/errors.ts";

const folders: string[] = [];
afterAll(() => {
  for (const folder of folders) rmSync(folder, { recursive: true, force: true });
});

export function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), "heddle-formats-"));
  folders.push(folder);
  return folder;
}

let counter = 0;
const files: { folder?: string } = {};

/** Writes bytes to a new file and returns its path. */
export function temporaryFile(bytes: Uint8Array | string, name = "file"): string {
  files.folder ??= temporaryFolder();
  const path = join(files.folder, `${counter++}-${name}`);
  writeFileSync(path, bytes);
  return path;
}

/** CPU time of this process in milliseconds, which does not depend on other load. */
export function processorTime(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1000;
}

/** Expects `action` to fail with a HeddleError of `code` and a matching message, within a second of CPU time. */
export async function expectError(
  action: () => unknown,
  code: HeddleErrorCode,
  message: RegExp | string,
): Promise<void> {
  const start = processorTime();
  let caught: unknown;
  try {
    await action();
  } catch (error) {
    caught = error;
  }
  expect(caught, `expected ${code} ${message}`).toBeInstanceOf(HeddleError);
  expect(`${(caught as HeddleError).code} ${(caught as HeddleError).message}`).toMatch(message);
  expect((caught as HeddleError).code).toBe(code);
  expect(processorTime() - start).toBeLessThan(1000);
}

export function u32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return bytes;
}

export function u64(value: bigint | number): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64LE(BigInt(value));
  return bytes;
}

export function f32(...values: number[]): Buffer {
  return Buffer.from(Float32Array.from(values).buffer);
}

/** A GGUF string: length, then bytes. */
export function text(value: string): Buffer {
  return Buffer.concat([u64(Buffer.byteLength(value)), Buffer.from(value)]);
}

/** A safetensors file with any header and data. `length` overrides the stored header length. */
export function safetensors(header: unknown, data: Uint8Array = new Uint8Array(), length?: bigint): Buffer {
  const json = Buffer.from(typeof header === "string" ? header : JSON.stringify(header));
  return Buffer.concat([u64(length ?? json.length), json, data]);
}

/** Compares bytes faster than `toEqual`, which compares typed arrays element by element. */
export function expectSameBytes(got: Uint8Array, expected: Uint8Array, label: string): void {
  expect(got.length, label).toBe(expected.length);
  expect(Buffer.compare(got, expected), `${label}: bytes differ`).toBe(0);
}
