import { record } from "../../graph/index.ts";
import { rowInputs, sequenceForward } from "../forward.ts";
import type { Model } from "../model.ts";
import type { LinearLayer } from "./adapters.ts";

/**
 * The linear layers that a model's forward function applies, by name and in order: found by tracing it once, so that a
 * family has no second list to keep. The head is not among them.
 */
export function linearLayers(model: Model): Map<string, LinearLayer> {
  const found = new Map<string, LinearLayer>();
  record(() =>
    sequenceForward(model, rowInputs(1), {
      sequenceLength: 1,
      adapters: [],
      asStored: true, // nothing runs
      onLinear: (name, transposed) => {
        const [rows, columns] = model.asStored(`${name}.weight`).shape as [number, number];
        const [inputs, outputs] = transposed ? [rows, columns] : [columns, rows];
        found.set(name, { inputs, outputs, transposed });
      },
    }),
  );
  return found;
}
