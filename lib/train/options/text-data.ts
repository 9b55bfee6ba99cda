// Options for raw text, and for replay: batches of an earlier stage that are mixed in.
import { z } from "zod";
import { positive, real, text, whole } from "../../core/schema-parts.ts";
import { isTexts } from "../examples/text-files.ts";
import { batchShape } from "./optimizer-options.ts";
import { type Given, option, variant } from "./option.ts";

/** Texts in memory: an iterable of strings, or of rows with a text field. An array of strings means paths instead. */
export type TextSource =
  | Iterable<string | Readonly<Record<string, unknown>>>
  | AsyncIterable<string | Readonly<Record<string, unknown>>>;

/** Raw text: files, several corpora with weights, or texts in memory. */
export type TextData = string | string[] | CorpusPart[] | TextSource;

const paths = z.union([z.string(), z.array(z.string()).min(1)], { error: "a path, or an array of paths" });

const documentSeparator = option(
  z.string().optional(),
  "separator of documents in text files: blank-line, line, file, or the text of a separator line",
  { otherwise: "blank-line", aliases: "separator", recorded: false },
);
const textField = option(z.string().optional(), "field of .jsonl rows or column of .parquet files", {
  otherwise: "text",
  aliases: "datasettextfield",
  recorded: false,
});

const corpusShape = {
  /** Files, as in `data` of `pretrain`. */
  data: paths,
  /** Relative weight. The corpus contributes weight / (sum of all weights) of the sequences. Default 1. */
  weight: positive().default(1),
  /**
   * Separator of documents in a text file: `blank-line`, `line`, `file`, or any other text on a separate line. Default: that of the stage.
   */
  documentSeparator: variant(documentSeparator, text().optional()),
  /** The field of .jsonl rows, or the column of .parquet files. Default: that of the stage. */
  textField: variant(textField, text().optional()),
};

/** One of several corpora of raw text. */
export interface CorpusPart extends Given<typeof corpusShape> {}

const EXPECTED_DATA = "a path, an array of paths, or an array of objects with data and weight";
const corpora = z.union(
  [
    z.string(),
    z.array(z.string()).min(1),
    z.array(z.strictObject(corpusShape, { error: "an object with data and weight" })).min(1),
  ],
  { error: EXPECTED_DATA },
);
const textData = z.union([...corpora.options, z.custom<TextSource>(isTexts)], {
  error: `${EXPECTED_DATA}, or an iterable of texts`,
});

/** Raw text to train on, and to evaluate. */
export const textDataShape = {
  /**
   * Text files (documents separated by blank lines), .jsonl files (rows with a `text`), .parquet files (a column
   * `text`), .tokens files (or a folder of them). Or several corpora with weights: `[{ data: "web.parquet", weight: 3
   * }, { data: "code.jsonl" }]`. A program may also pass the texts: an array of `{ text }`, or an iterable of these or
   * of strings. An iterable is read once, into a temporary file.
   */
  data: option(
    textData,
    "raw text: text, .jsonl, .parquet or .tokens files, or folders of them; or a mixture [{data, weight}, …]",
    { aliases: "dataset datasets traindata traindataset trainfile file files corpus", recorded: false },
  ),
  /** Files, or texts, that are never trained on. Default: none. */
  evalData: option(textData.optional(), "files for evaluation, never trained on", {
    aliases: "valdata validationdata testdata evaldataset evalfile",
    recorded: false,
  }),
  /** Share of the documents of `data` that is held out for evaluation, up to 0.5. Applies without `evalData`. Default: 0. */
  evalFraction: option(
    z.number().min(0).max(0.5).optional(),
    "without evalData: fraction of the documents to hold out for evaluation",
    { otherwise: "0", aliases: "valfraction valsplit validationsplit testsize", recorded: false },
  ),
  /** Separator of documents in a text file: `blank-line`, `line`, `file`, or any other text on a separate line. Default: blank-line. */
  documentSeparator,
  /** The field of .jsonl rows, or the column of .parquet files. Default: text. */
  textField,
};

const replayShape = {
  /**
   * The earlier stage. `pretrain` learns the next tokens of raw text. `sft` learns the answers in packed rows of
   * supervised fine-tuning. Default "pretrain".
   */
  stage: option(
    z.enum(["pretrain", "sft"]).default("pretrain"),
    "pretrain: raw text; sft: rows of supervised fine-tuning",
  ),
  /** The data of the earlier stage: files, or for raw text also several corpora with weights. */
  data: variant(textDataShape.data, corpora, { help: "the data of that stage" }),
  /** Factor of the replay's mean loss, which is added to the current stage's loss. Default 0.5. */
  weight: option(real(0).default(0.5), "weight of the replay's mean loss"),
  /** Number of sequences in the batch that replay adds to every step. Default: the value of the current stage. */
  perDeviceTrainBatchSize: variant(batchShape.perDeviceTrainBatchSize, whole(1).optional(), {
    help: "sequences of the batch that each step adds",
    otherwise: "that of the stage",
  }),
  /** Maximum number of tokens in a sequence of replay. Default: the value of the current stage. */
  maxSeqLength: variant(batchShape.maxSeqLength, whole(1).optional(), { otherwise: "that of the stage" }),
  /** As in `pretrain`. Default: blank-line. */
  documentSeparator: variant(textDataShape.documentSeparator, text().optional(), { help: "as in pretrain" }),
  /** As in `pretrain`. Default: text. */
  textField: variant(textDataShape.textField, text().optional(), { help: "as in pretrain" }),
};

/** The schema of `ReplayOptions`. */
export const replaySchema = z.strictObject(replayShape, { error: "an object with data and weight" });

/** Batches of an earlier stage, mixed into the steps of a later one. */
export interface ReplayOptions extends Given<typeof replayShape> {}
