// A GGUF metadata reader for these tests, so that they do not depend on other parts of heddle.
import { readFileSync } from "node:fs";

export function readGgufMetadata(path: string): Record<string, unknown> {
  const bytes = readFileSync(path);
  let at = 16; // after the magic, the version and the number of tensors
  const step = (size: number) => {
    at += size;
    return at - size;
  };
  const count = () => Number(bytes.readBigUInt64LE(step(8)));
  const string = () => {
    const length = count();
    return bytes.toString("utf8", step(length), at);
  };
  const value = (type: number): unknown => {
    switch (type) {
      case 0:
        return bytes.readUInt8(step(1));
      case 1:
        return bytes.readInt8(step(1));
      case 2:
        return bytes.readUInt16LE(step(2));
      case 3:
        return bytes.readInt16LE(step(2));
      case 4:
        return bytes.readUInt32LE(step(4));
      case 5:
        return bytes.readInt32LE(step(4));
      case 6:
        return bytes.readFloatLE(step(4));
      case 7:
        return bytes.readUInt8(step(1)) !== 0;
      case 8:
        return string();
      case 9: {
        const of = bytes.readUInt32LE(step(4));
        return Array.from({ length: count() }, () => value(of));
      }
      case 10:
        return bytes.readBigUInt64LE(step(8));
      case 11:
        return bytes.readBigInt64LE(step(8));
      default:
        return bytes.readDoubleLE(step(8));
    }
  };
  const record: Record<string, unknown> = {};
  for (let left = count(); left > 0; left--) {
    const key = string();
    record[key] = value(bytes.readUInt32LE(step(4)));
  }
  return record;
}
