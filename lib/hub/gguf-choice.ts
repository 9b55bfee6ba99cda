// Chooses one model among the GGUF files of a repository, which often has one for each quantization.
import { firstOf } from "../core/amounts.ts";
import { HeddleError } from "../core/errors.ts";
import { partName } from "../formats/gguf/gguf-parts.ts";

/** Quantizations to choose if no tag is given, in order of preference. Other tools also prefer Q4_K_M. */
const PREFERRED = ["Q4_K_M", "Q4_K_S", "Q5_K_M", "Q8_0", "Q6_K", "Q4_0", "BF16", "F16", "F32"];
/** Matches the quantization at the end of a name. `imat` may follow it, if the file was quantized with an importance matrix. */
const TAG = /(?:^|[-._])((?:UD-)?(?:I?Q\d\w*?|BF16|F16|F32|FP16|MXFP4\w*?|TQ\d_\d))(?:[-._]imat)?$/i;
/** Maximum number of models that a message lists. */
const MAX_LISTED = 12;

/** A GGUF model: one file, or all parts of a split file. */
interface GgufGroup {
  /** The folder in the repository with a slash at the end, or "" for the root. */
  folder: string;
  /** The name without its ending and part number. */
  stem: string;
  /** The quantization at the end of the name. */
  tag: string | undefined;
  /** The paths, in order. */
  files: string[];
}

/** Whether a GGUF file is not a model: it is an image projector, or an importance matrix for quantization. */
export function isOtherGguf(path: string): boolean {
  return /mmproj|(^|\/)([^/]*[-._])?imatrix\.gguf$/i.test(path);
}

/** Groups the parts of split files. */
export function groupGgufs(paths: readonly string[]): GgufGroup[] {
  const groups = new Map<string, GgufGroup>();
  for (const path of [...paths].sort()) {
    const part = partName(path);
    const folder = path.slice(0, path.lastIndexOf("/") + 1);
    const stem = part?.prefix ?? path.slice(folder.length, -".gguf".length);
    const key = `${folder}${stem}${part ? `-of-${part.count}` : ""}`;
    const group = groups.get(key) ?? { folder, stem, tag: TAG.exec(stem)?.[1], files: [] };
    group.files.push(path);
    groups.set(key, group);
  }
  return [...groups.values()];
}

/**
 * Returns the files of the model with this tag. Without a tag, returns those of the only model, or of the preferred quantization.
 * @throws HeddleError INVALID_ARGUMENT if no model fits, or several models do
 */
export function onlyGguf(
  groups: readonly GgufGroup[],
  { name, tag }: { name: string; tag: string | undefined },
): string[] {
  const fitting = tag === undefined ? groups : taggedWith(tag, groups);
  if (fitting.length === 1) return fitting[0]!.files;
  if (tag === undefined)
    for (const preferred of PREFERRED) {
      const found = fittingTo(preferred, groups);
      if (found.length === 1) return found[0]!.files;
    }
  const among = fitting.length > 0 ? fitting : groups;
  const shortOf = ({ tag, stem }: GgufGroup) => tag ?? stem;
  const isShared = new Set(among.map(shortOf)).size < among.length;
  const names = among.map((group) => (isShared ? group.folder + group.stem : shortOf(group)));
  const expected = tag === undefined ? "one GGUF model, or a tag (NAME:TAG)" : `one GGUF model for :${tag}`;
  throw new HeddleError("INVALID_ARGUMENT", `${name}: expected ${expected}, got ${firstOf(names, MAX_LISTED)}`);
}

/** Returns the models with this tag. If exactly one of them is in the repository's root, returns only that model. */
function taggedWith(tag: string, groups: readonly GgufGroup[]): readonly GgufGroup[] {
  const fitting = fittingTo(tag, groups);
  const inRoot = fitting.filter(({ folder }) => folder === "");
  return inRoot.length === 1 ? inRoot : fitting;
}

/** Returns the models whose quantization, name or folder is `wanted`. Case does not matter. */
function fittingTo(wanted: string, groups: readonly GgufGroup[]): readonly GgufGroup[] {
  const lower = wanted.toLowerCase();
  return groups.filter(({ folder, stem, tag }) =>
    [tag, stem, ...folder.split("/")].some((each) => each?.toLowerCase() === lower),
  );
}
