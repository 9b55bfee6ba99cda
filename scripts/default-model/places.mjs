#!/usr/bin/env node
/**
 * Writes lib/lifecycle/recipe/place-table.ts: the fields of the npm package countries-list (MIT license: models/default/NOTICE) that the
 * corpus uses. The table is checked in, so that heddle does not depend on the package, and a seed always gives the same corpus.
 *
 *   node scripts/default-model/places.mjs
 */
import { writeFileSync } from "node:fs";
import { continents, countries, languages } from "countries-list";
import { currencies } from "countries-list/currencies";

/** Omitted places. For Hong Kong, the package's capital is "City of Victoria", an obsolete name. */
const leftOut = new Set(["HK"]);

/** Writes the last word in lower case, unless it is an abbreviation: "Albanian Lek" becomes "Albanian lek". @param {string} name */
function currencyName(name) {
  const words = name.split(" ");
  const last = words.pop() ?? "";
  return [...words, /^[A-Z]{2,}$/.test(last) ? last : last.toLowerCase()].join(" ");
}

/** Returns the table, one place per line: code | name | capital | continent | languages | currency. */
export function placeTable() {
  return Object.entries(countries)
    .filter(([code, country]) => country.capital && !leftOut.has(code))
    .map(([code, country]) => {
      const spoken = country.languages.map((language) => languages[language].name.replace(/ \(.*/, ""));
      const currency = currencyName(currencies[country.currency[0]].name);
      return [code, country.name, country.capital, continents[country.continent], spoken.join(";"), currency].join("|");
    })
    .join("\n");
}

if (import.meta.filename === process.argv[1]) {
  const text = `/**
 * Countries and territories: code | name | capital | continent | languages | currency.
 * From the npm package countries-list 3.4.1, Copyright (c) 2014 Annexare Studio, MIT license (models/default/NOTICE).
 * Written by scripts/default-model/places.mjs.
 */
export const placeTable = \`
${placeTable()}
\`;
`;
  writeFileSync(new URL("../../lib/lifecycle/recipe/place-table.ts", import.meta.url), text);
}
