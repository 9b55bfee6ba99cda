// Reads the wire format of protocol buffers, as far as SentencePiece models use it.
import { HeddleError } from "../../core/errors.ts";
import { invalidFile } from "./tokenizer-file.ts";

/** A field of a message: a number (varint or float) or bytes. */
interface ProtobufField {
  number: number;
  value: number | Uint8Array;
}

/** Yields the fields of a message in order. @throws HeddleError INVALID_FILE for truncated or invalid bytes */
export function* readFields(bytes: Uint8Array, where: string): Generator<ProtobufField> {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let at = 0;
  const need = (count: number) => {
    if (count > bytes.length - at)
      throw new HeddleError("INVALID_FILE", `${where} ends at byte ${bytes.length} of at least ${at + count}`);
  };
  /** Reads a varint. Numbers of 2^53 and more, and negative ones, become NaN. */
  const varint = (): number => {
    let value = 0;
    for (let shift = 0; shift < 10; shift++) {
      need(1);
      const byte = bytes[at++]!;
      value += (byte & 127) * 2 ** (7 * shift);
      if (byte < 128) return Number.isSafeInteger(value) ? value : Number.NaN;
    }
    throw invalidFile(where, "a number of at most ten bytes", "more");
  };
  while (at < bytes.length) {
    const tag = varint();
    const number = Math.floor(tag / 8);
    switch (tag % 8) {
      case 0: // varint
        yield { number, value: varint() };
        break;
      case 1: // 64 bits
        need(8);
        at += 8;
        yield { number, value: view.getFloat64(at - 8, true) };
        break;
      // A length, then as many bytes.
      case 2: {
        const length = varint();
        if (Number.isNaN(length)) throw invalidFile(where, "a length", length);
        need(length);
        at += length;
        yield { number, value: bytes.subarray(at - length, at) };
        break;
      }
      case 5: // 32 bits
        need(4);
        at += 4;
        yield { number, value: view.getFloat32(at - 4, true) };
        break;
      default:
        throw invalidFile(where, "a field of a known kind", tag % 8);
    }
  }
}
