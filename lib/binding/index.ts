// The native addon, loaded and typed, a file an area. Only lib/graph, lib/formats and lib/tokenizer import this folder.
import { HeddleError } from "../core/errors.ts";
import type { FilesBinding } from "./files.ts";
import type { GraphBinding } from "./graph.ts";
import type { InfoBinding } from "./info.ts";
import { loadAddon } from "./load.ts";
import type { TokenizerBinding } from "./tokenizer.ts";

export interface Binding extends InfoBinding, FilesBinding, GraphBinding, TokenizerBinding {
  /** Native code throws instances of this class from then on, in this environment. */
  setErrorConstructor(errorClass: typeof HeddleError): void;
}

/** The loaded addon. */
export const binding = loadAddon() as Binding;
binding.setErrorConstructor(HeddleError);
