// TensorFlow's messages Event and Summary (tensorflow/core/util/event.proto, framework/summary.proto), as far as a run
// needs them. The first argument of a call such as `varint(2, …)` is the number of a message's field.

/** A value of a summary: a number, or a table of texts as in the text plugin. */
export type SummaryValue = { tag: string; number: number } | { tag: string; texts: readonly (readonly string[])[] };

/** An event of a TensorBoard file. */
export type TensorBoardEvent = {
  /** Seconds since 1970. */
  wallTime: number;
  step: number;
} & (
  | { fileVersion: string }
  /** A run begins. Readers drop events that were written before, if they have this step or a later step. */
  | { sessionStart: true }
  | { values: readonly SummaryValue[] }
);

const Wire = { varint: 0, fixed64: 1, bytes: 2, fixed32: 5 } as const;

/** Values of TensorFlow's enums: SessionLog.START, DataType DT_STRING, DataClass DATA_CLASS_TENSOR. */
const [START, DT_STRING, TENSOR] = [1, 7, 2];

/** Encodes an event as protocol buffer. */
export function encodeEvent(event: TensorBoardEvent): Buffer {
  const parts = [double(1, event.wallTime), varint(2, event.step)];
  if ("fileVersion" in event) parts.push(text(3, event.fileVersion));
  else if ("sessionStart" in event) parts.push(message(7, [varint(1, START)]));
  else
    parts.push(
      message(
        5,
        event.values.map((value) => message(1, summaryValue(value))),
      ),
    );
  return Buffer.concat(parts);
}

function summaryValue(value: SummaryValue): Buffer[] {
  if ("number" in value) return [text(1, value.tag), float(2, value.number)];
  const { tag, texts } = value;
  const columns = texts[0]?.length ?? 0;
  const shape = [texts.length, columns].map((size) => message(2, [varint(1, size)]));
  const tensor = [varint(1, DT_STRING), message(2, shape), ...texts.flat().map((cell) => text(8, cell))];
  const metadata = [message(1, [text(1, "text")]), varint(4, TENSOR)];
  return [text(1, tag), message(8, tensor), message(9, metadata)];
}

function varint(field: number, value: number): Buffer {
  return Buffer.concat([key(field, Wire.varint), base128(value)]);
}

function double(field: number, value: number): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeDoubleLE(value);
  return Buffer.concat([key(field, Wire.fixed64), bytes]);
}

function float(field: number, value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeFloatLE(value);
  return Buffer.concat([key(field, Wire.fixed32), bytes]);
}

function text(field: number, value: string): Buffer {
  return lengthDelimited(field, Buffer.from(value));
}

function message(field: number, parts: readonly Buffer[]): Buffer {
  return lengthDelimited(field, Buffer.concat(parts));
}

function lengthDelimited(field: number, bytes: Buffer): Buffer {
  return Buffer.concat([key(field, Wire.bytes), base128(bytes.length), bytes]);
}

function key(field: number, wire: number): Buffer {
  return base128(field * 8 + wire);
}

/**
 * Encodes a number as a varint: seven bits per byte, the lowest first.
 * @param value a whole number of at least 0, up to 2^53
 */
function base128(value: number): Buffer {
  const bytes: number[] = [];
  let rest = value;
  for (; rest >= 128; rest = Math.floor(rest / 128)) bytes.push((rest % 128) + 128);
  bytes.push(rest);
  return Buffer.from(bytes);
}
