/**
 * Countries and territories with the fields that the corpus tells, from the npm package countries-list (MIT licence).
 */
import { continents, countries, languages } from "countries-list";
import { currencies } from "countries-list/currencies";

/**
 * @typedef {{ code: string, name: string, withArticle: string, names: string[], capital: string, continent: string,
 *   languages: string[], currency: string, isTerritory: boolean }} Place
 */

/** Names that English gives an article. */
const articles = new Set(
  "AE BS CC CD CF CG CK DO FK FO GM IM IO KM KY MH MP MV NL PH PN SB TC TF US VG VI GB".split(" "),
);

const territories = new Set(
  "AC AI AS AW AX BL BM BQ CC CK CW CX EH FK FO GF GG GI GL GP GS GU IM IO JE KY MF MP MQ MS NC NF NU PF PM PN PR RE SH SJ SX TA TC TF TK VG VI WF YT".split(
    " ",
  ),
);

/** Second names in use today; former names that the package lists as well are not told. */
const otherNames = {
  AE: ["the UAE"],
  CD: ["DR Congo"],
  CI: ["Cote d'Ivoire"],
  CV: ["Cape Verde"],
  CZ: ["the Czech Republic"],
  GB: ["the UK", "Britain", "Great Britain"],
  MM: ["Burma"],
  RU: ["the Russian Federation"],
  SZ: ["Swaziland"],
  TL: ["Timor-Leste"],
  TR: ["Turkey"],
  US: ["the USA", "America", "the United States of America"],
  VA: ["the Vatican"],
  LA: ["the Lao PDR"],
  VN: ["Viet Nam"],
  SY: ["the Syrian Arab Republic"],
  KR: ["the Republic of Korea"],
};

/** Hong Kong is left out: the package gives "City of Victoria", a name that has not been in use for long. */
const leftOut = new Set(["HK"]);

/** @type {readonly Place[]} every place that has a capital */
export const places = Object.entries(countries)
  .filter(([code, country]) => country.capital && !leftOut.has(code))
  .map(([code, country]) => ({
    code,
    name: country.name,
    withArticle: articles.has(code) ? `the ${country.name}` : country.name,
    names: /** @type {Record<string, string[]>} */ (otherNames)[code] ?? [],
    capital: country.capital,
    continent: continents[country.continent],
    languages: country.languages.map((language) => languages[language].name.replace(/ \(.*/, "")),
    currency: currencyName(currencies[country.currency[0]].name),
    isTerritory: territories.has(code),
  }));

/** "Albanian Lek" → "Albanian lek": only adjectives made of names keep their capital. @param {string} name */
function currencyName(name) {
  const words = name.split(" ");
  const last = words.pop() ?? "";
  return [...words, /^[A-Z]{2,}$/.test(last) ? last : last.toLowerCase()].join(" ");
}
