// The options for programs that receive a run's metrics.
import { z } from "zod";
import type { Tracker } from "../tracking/tracker.ts";
import { option } from "./option.ts";

/** Programs that a configuration file can name. */
const reports = ["tensorboard", "none"] as const;

/** Options for trackers of a run's metrics. */
export const trackingShape = {
  /**
   * Trackers that receive the run's metrics, such as `tensorBoard("logs")`. Available in a program, or in a
   * configuration that is a module. Default: none.
   */
  trackers: option(
    z
      .custom<readonly Tracker[]>(
        (v) => Array.isArray(v) && v.every((one) => typeof one?.log === "function"),
        "an array of trackers, objects with a function log",
      )
      .optional(),
    "an array of objects that receive the metrics of each step; needs a .js or .ts configuration",
    { otherwise: "none", recorded: false },
  ),
  /**
   * Write TensorBoard event files into loggingDir. It corresponds to transformers' report_to. For other programs, pass
   * `trackers`. Default "none".
   */
  reportTo: option(
    z.union([z.enum(reports), z.array(z.enum(reports))], { error: '"tensorboard" or "none"' }).default("none"),
    "tensorboard writes event files into loggingDir",
    { otherwise: "none", aliases: "report logto logger", recorded: false },
  ),
  /** Folder for TensorBoard's event files. Default: `runs` in outputDir. */
  loggingDir: option(z.string({ error: "a folder" }).min(1, "a folder").optional(), "folder for the event files", {
    otherwise: "runs in outputDir",
    aliases: "logdir tensorboarddir",
    recorded: false,
  }),
};
