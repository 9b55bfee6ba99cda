import { editDistance } from "../../core/nearest-name.ts";
import { places } from "./places.ts";
import { Random } from "./random.ts";

const starts =
  "Zor Bel Kar Mel Vor Tal Quin Dra Fel Gor Hal Jas Lum Mor Nev Orl Pel Ras Sil Tor Ul Vel Wes Yar Xan Bram Cor Esk Lor Nar".split(
    " ",
  );
const middles = ["", ..."a an do li ri ba men to ga be lo ste ni ro dra".split(" ")];
const ends = "nia land stan ria via dor tia mark lia gard sia wen thia bar rica".split(" ");

/** Names of regions, former states and fictional countries that made-up names must not resemble. */
const known = new Set(
  "Moravia Moldavia Bohemia Livonia Karelia Dalmatia Silesia Galicia Narnia Genovia Wakanda Gondor Mordor Latveria Sokovia Zamunda Ruritania Freedonia Carpathia Borduria Syldavia Kurdistan Rajasthan Baluchistan Tatarstan Dagestan Queensland Jutland Zealand Lapland Lorraine Cornwall Corsica Sardinia Sicilia Valencia Normandy Tasmania Melanesia Polynesia Pelagia Belmark Westland Karstan Eskdale Halland Gotland Uland Telemark Finnmark Dorne Westeros Corinthia Arcadia Thessalia Calabria Cappadocia Galatia Moesia Illyria Hispania Germania Britannia Hibernia".split(
    " ",
  ),
);

/** Names of real places, their capitals, and `known`, in lower case. */
const real = [...places.flatMap((place) => [place.name, ...place.names, place.capital]), ...known].map((name) =>
  name.replace(/^the /, "").toLowerCase(),
);

function contains(name: string, part: string): boolean {
  return name.toLowerCase().includes(part.toLowerCase());
}

/** Whether a name differs in at least three letters from every real name. */
export function isMadeUp(name: string): boolean {
  return real.every((other) => editDistance(name.toLowerCase(), other, 3) === 3);
}

/** Names of made-up countries, in sets that do not overlap. */
export interface MadeUpNames {
  /** Names in the examples of supervised fine-tuning. */
  sft: readonly string[];
  /** Names in preference pairs and in prompts of reinforcement learning. */
  preference: readonly string[];
  /** Names that no training data has, for the evaluation. */
  heldOut: readonly string[];
  /** Further names that no training data has, for tuning hyperparameters. */
  development: readonly string[];
}

/**
 * Builds names of made-up countries from one set of syllables. The names differ from real names. A held-out name differs
 * from every trained name in at least two letters, and is a substring of none. A text search in the training data
 * therefore does not find a held-out name.
 */
export function madeUpNames(seed: number, count: Record<keyof MadeUpNames, number>): MadeUpNames {
  const random = new Random(seed * 16 + 7);
  const all = starts.flatMap((start) => middles.flatMap((middle) => ends.map((end) => start + middle + end)));
  const unseen = count.heldOut + count.development;
  const heldOut: string[] = [];
  const rest: string[] = [];
  for (const name of random.shuffle([...new Set(all)])) {
    if (rest.length === count.sft + count.preference) break;
    if (name.length < 6 || name.length > 10 || /aa|ii/.test(name) || !isMadeUp(name)) continue;
    if (heldOut.length < unseen) heldOut.push(name);
    else if (heldOut.every((other) => editDistance(name, other, 2) === 2 && !contains(name, other))) rest.push(name);
  }
  return {
    heldOut: heldOut.slice(0, count.heldOut),
    development: heldOut.slice(count.heldOut),
    sft: rest.slice(0, count.sft),
    preference: rest.slice(count.sft),
  };
}
