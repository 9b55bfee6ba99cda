// Files (native/binding/files.cc); used through lib/formats.

export interface NativeMappedFile {
  readonly size: number;
  bytes(offset: number, length: number): ArrayBuffer;
  check(): void;
  close(): void;
}

export interface FilesBinding {
  MappedFile: new (path: string) => NativeMappedFile;
  /** The quantised types in their order: lib/graph/dtype.ts says the same. */
  blockTypes(): { name: string; elements: number; bytes: number; writable: boolean }[];
  /** from, to: numbers of DTYPES, floating or quantised. `overflows` counts finite values that became infinite. */
  castElements(bytes: Uint8Array, from: number, to: number, addend: number): { bytes: ArrayBuffer; overflows: number };
  /** CRC-32C of a few bytes, on this thread. */
  crc32c(bytes: Uint8Array): number;
}
