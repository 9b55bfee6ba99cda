// Types of the native file functions (native/binding/files.cc). lib/io and lib/formats use them.

/** A file that is mapped read-only: see lib/io/mapped-file.ts. */
export interface NativeMappedFile {
  readonly size: number;
  bytes(offset: number, length: number): ArrayBuffer;
  /** Decodes UTF-8. Unlike `bytes`, it makes no copy of the bytes that the garbage collector would have to free. */
  text(offset: number, length: number): string;
  /** Throws IO if the file has shrunk since it was mapped. */
  check(): void;
  close(): void;
}

/** The addon's functions for files. */
export interface FilesBinding {
  MappedFile: new (path: string) => NativeMappedFile;
  /** The quantized types, in the order of lib/graph/dtype.ts. */
  blockTypes(): { name: string; elements: number; bytes: number; writable: boolean }[];
  /**
   * Converts elements between types, and adds `addend` to each. `from` and `to` are indices into DTYPES. `overflows` counts finite values
   * that became infinite.
   */
  castElements(bytes: Uint8Array, from: number, to: number, addend: number): { bytes: ArrayBuffer; overflows: number };
  /** Returns the CRC-32C of a short array, computed on the calling thread. */
  crc32c(bytes: Uint8Array): number;
}
