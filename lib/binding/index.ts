// Loads the native addon and gives it types, one file per area. Only lib/io, lib/graph, lib/formats and lib/tokenizer import this file.
import { HeddleError } from "../core/errors.ts";
import type { FilesBinding } from "./files.ts";
import type { GraphBinding } from "./graph.ts";
import type { InfoBinding } from "./info.ts";
import { loadAddon } from "./load.ts";
import type { RanksBinding } from "./ranks.ts";
import type { TokenizerBinding } from "./tokenizer.ts";

interface Binding extends InfoBinding, FilesBinding, GraphBinding, RanksBinding, TokenizerBinding {
  /** Makes native code of this environment throw instances of this class from now on. */
  setErrorConstructor(errorClass: typeof HeddleError): void;
}

/** The loaded addon. */
export const binding = loadAddon() as Binding;
binding.setErrorConstructor(HeddleError);
