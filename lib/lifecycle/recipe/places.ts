// Countries and territories with the fields that the corpus uses.
import { placeTable } from "./place-table.ts";

/** A country or territory. */
export interface Place {
  code: string;
  name: string;
  /** Name with its article, if English uses one: "the Netherlands". */
  withArticle: string;
  /** Alternative names in use today. */
  names: readonly string[];
  capital: string;
  continent: string;
  languages: readonly string[];
  currency: string;
  isTerritory: boolean;
}

/** Codes of places whose names have an article in English. */
const articles = new Set(
  "AE BS CC CD CF CG CK DO FK FO GM IM IO KM KY MH MP MV NL PH PN SB TC TF US VG VI GB".split(" "),
);

const territories = new Set(
  "AC AI AS AW AX BL BM BQ CC CK CW CX EH FK FO GF GG GI GL GP GS GU IM IO JE KY MF MP MQ MS NC NF NU PF PM PN PR RE SH SJ SX TA TC TF TK VG VI WF YT".split(
    " ",
  ),
);

/** Alternative names in use today. Former names, which countries-list has too, are excluded. */
const otherNames: Readonly<Record<string, readonly string[]>> = {
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

/** Every place that has a capital. */
export const places: readonly Place[] = placeTable
  .trim()
  .split("\n")
  .map((line) => {
    const [code, name, capital, continent, languages, currency] = line.split("|") as [
      string,
      string,
      string,
      string,
      string,
      string,
    ];
    return {
      code,
      name,
      withArticle: articles.has(code) ? `the ${name}` : name,
      names: otherNames[code] ?? [],
      capital,
      continent,
      languages: languages === "" ? [] : languages.split(";"),
      currency,
      isTerritory: territories.has(code),
    };
  });
