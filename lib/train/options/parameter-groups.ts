// Parameter groups: matching names to groups, and the groups in the optimizer and in checkpoints.
import { createHash } from "node:crypto";
import { HeddleError, invalidArgument } from "../../core/errors.ts";
import { nearest } from "../../core/nearest-name.ts";
import type { MuonOptions } from "../../optim/muon.ts";
import type { OptimizerGroup } from "../../optim/optimizer.ts";
import type { ParameterGroup } from "./optimizer-options.ts";
import { type ParameterMatch, parsePattern } from "./parameter-match.ts";
import type { TrainingOptions } from "./parse-options.ts";

/** A group as a checkpoint stores it. A resumed run must have the same groups. */
export interface GroupRecord extends Omit<ParameterGroup, "match"> {
  /** The match as written. Every function is recorded as the text "a function". */
  match: string;
  /** Number of parameters. */
  parameters: number;
  /** Hash of the parameters' names. */
  names: string;
}

/** A run's parameters, each in the first group that matches it. */
interface Grouped {
  /** Names of the trained parameters, in order. */
  trained: string[];
  groups: readonly { names: ReadonlySet<string>; group: ParameterGroup }[];
  /** Undefined without groups. */
  record: GroupRecord[] | undefined;
}

/**
 * Assigns each parameter to the first group that matches it.
 * @param names parameters that the run would train if it had no groups
 * @param others further parameters of the model, for messages
 * @throws HeddleError INVALID_ARGUMENT for a group without a parameter, and if no parameter is left to train
 */
export function groupParameters(
  given: readonly ParameterGroup[] = [],
  names: readonly string[],
  others: readonly string[] = [],
): Grouped {
  let free = names;
  const groups = given.map((group, i) => {
    const place = `parameterGroups.${i}.match`;
    const matches = matcher(group.match, place);
    const own = new Set(free.filter(matches));
    if (own.size === 0) throw nothingMatched(group.match, place, { names, others, matches });
    free = free.filter((name) => !own.has(name));
    return { names: own, group };
  });
  const frozen = new Set(groups.filter(({ group }) => group.freeze).flatMap((one) => [...one.names]));
  const trained = names.filter((name) => !frozen.has(name));
  if (trained.length === 0)
    throw new HeddleError(
      "INVALID_ARGUMENT",
      `parameterGroups: expected a parameter that is not frozen, got all ${names.length} frozen`,
    );
  return { trained, groups, record: groups.length > 0 ? groups.map(recordOf) : undefined };
}

/**
 * Returns the groups in the optimizer's form. Muon's matrices are in separate groups, because their rate is a multiple
 * of muonLearningRate.
 */
export function optimizerGroups(
  { groups }: Pick<Grouped, "groups">,
  { learningRate, muonLearningRate }: Pick<TrainingOptions, "learningRate" | "muonLearningRate">,
  muon: Pick<MuonOptions, "names"> | undefined,
): OptimizerGroup[] {
  return groups.flatMap(({ names, group: { freeze, weightDecay, learningRate: own, learningRateRatio = 1 } }) => {
    if (freeze) return [];
    const part = (byMuon: boolean, standard: number): OptimizerGroup => ({
      names: new Set([...names].filter((name) => (muon?.names.has(name) ?? false) === byMuon)),
      rateRatio: own === undefined ? learningRateRatio : own / standard,
      weightDecay,
    });
    return [part(false, learningRate), part(true, muonLearningRate)].filter((one) => one.names.size > 0);
  });
}

/**
 * Checks that a resumed run has its original groups. Other rates would change the result, and parameters that were frozen have no moments.
 * @throws HeddleError INVALID_ARGUMENT
 */
export function needSameGroups(began: readonly GroupRecord[] = [], now: readonly GroupRecord[] = []): void {
  // Compare which parameters the groups have and how they train, not how `match` is written.
  const effects = (records: readonly GroupRecord[]) => JSON.stringify(records.map(({ match: _, ...rest }) => rest));
  if (effects(began) === effects(now)) return;
  throw new HeddleError(
    "INVALID_ARGUMENT",
    `resume: expected the parameterGroups of the resumed run (${describeRecords(began)}), got others (${describeRecords(now)})`,
  );
}

function describeRecords(records: readonly GroupRecord[]): string {
  if (records.length === 0) return "none";
  const one = (record: GroupRecord) => {
    const { match, parameters: count } = record;
    const settings = SETTINGS.filter((name) => record[name] !== undefined).map((name) => `${name} ${record[name]}`);
    return `${match}: ${count} parameter${count === 1 ? "" : "s"}, ${settings.join(", ")}`;
  };
  return records.map(one).join("; ");
}

const SETTINGS = ["freeze", "learningRate", "learningRateRatio", "weightDecay"] as const;

function recordOf({ names, group }: Grouped["groups"][number]): GroupRecord {
  const hash = createHash("sha256").update([...names].join("\n"));
  const settings = Object.fromEntries(
    SETTINGS.filter((name) => group[name] !== undefined).map((name) => [name, group[name]]),
  );
  const match = shown(group.match);
  return { match, parameters: names.size, names: hash.digest("hex").slice(0, 16), ...settings };
}

function shown(match: ParameterGroup["match"]): string {
  if (Array.isArray(match)) return match.map(shown).join(" | ");
  return typeof match === "function" ? "a function" : String(match);
}

function matcher(match: ParameterGroup["match"], place: string): (name: string) => boolean {
  if (Array.isArray(match)) {
    const all = match.map((one) => matcher(one, place));
    return (name) => all.some((matches) => matches(name));
  }
  const one = match as ParameterMatch;
  if (typeof one === "function")
    return (name) => {
      const answer: unknown = one(name);
      if (typeof answer !== "boolean")
        throw invalidArgument(`${place}: ${name}`, "a function that returns true or false", answer);
      return answer;
    };
  const pattern = parsePattern(one);
  if (pattern) return (name) => name.search(pattern) >= 0; // unlike test(), it ignores lastIndex
  return (name) => `.${name}.`.includes(`.${one}.`);
}

/** Returns the error for a group without parameters, with a suggestion. */
function nothingMatched(
  match: ParameterGroup["match"],
  place: string,
  group: { names: readonly string[]; others: readonly string[]; matches: (name: string) => boolean },
): HeddleError {
  const { names, others, matches } = group;
  const refused = (expected: string, got: string) =>
    new HeddleError("INVALID_ARGUMENT", `${place}: expected ${expected}, got ${got}`);
  const text = shown(match);
  if (names.some(matches)) return refused("a parameter that no earlier group has", text);
  const untrained = others.find(matches);
  if (untrained !== undefined)
    return refused(`parameters that this run trains, such as ${names[0]}`, `${text}, which has ${untrained}`);
  const near = [match]
    .flat()
    .flatMap((one) => (typeof one === "string" && !parsePattern(one) ? nearTo(one, names) : []));
  const known = near.length > 0 ? `nearest: ${near.join(", ")}` : `such as ${examples(names).join(", ")}`;
  return refused(`names of parameters that the run trains (${known})`, `${text}, which no parameter has`);
}

/**
 * Suggests what to write instead of `text`. Candidates are all runs of consecutive parts between dots in `names`, with as many parts as
 * `text`.
 * @returns one suggestion, or none
 */
function nearTo(text: string, names: readonly string[]): string[] {
  const count = text.split(".").length;
  const runs = new Set<string>();
  for (const name of names) {
    const parts = name.split(".");
    for (let i = 0; i + count <= parts.length; i++) runs.add(parts.slice(i, i + count).join("."));
  }
  return [nearest(text, runs)].filter((near) => near !== undefined);
}

/** The first name, a middle one and the last. */
function examples(names: readonly string[]): string[] {
  return [...new Set([0, names.length >> 1, names.length - 1].map((i) => names[i]!))];
}
