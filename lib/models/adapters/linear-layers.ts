import { record } from "../../graph/index.ts";
import { rowInputs, sequenceForward } from "../forward.ts";
import type { Model } from "../model.ts";
import type { LinearLayer } from "./adapters.ts";

/**
 * Returns the linear layers of a model by name, in the order in which the forward function applies them. The function
 * is traced once, so that families need no list of layers. The head is not included.
 */
export function linearLayers(model: Model): Map<string, LinearLayer> {
  const found = new Map<string, LinearLayer>();
  record(() =>
    sequenceForward(model, rowInputs(1), {
      sequenceLength: 1,
      adapters: [],
      asStored: true, // row order does not matter, because the trace is never run
      onLinear: (name, transposed) => {
        const [rows, columns] = model.asStored(`${name}.weight`).shape as [number, number];
        const [inputs, outputs] = transposed ? [rows, columns] : [columns, rows];
        found.set(name, { inputs, outputs, transposed });
      },
    }),
  );
  return found;
}
