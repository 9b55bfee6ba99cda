// Identifiers, messages and guides have American spelling.

/** British forms of words, in lower case. */
const BRITISH = new RegExp(
  [
    "^(de)?(initial|normal|serial|token|quant|optim|synchron|general|special|recogn|summar|categor|parallel|final|material)is[ei]",
    "^(minim|maxim|organ|util|standard|author|custom|penal|random|vector|factor|stabil|real|visual|memor)is[ei]",
    "isation$|^(licence|defence|artefact|catalogue|centre)|(labell|modell|cancell)(ed|ing)$",
    "^(colour|behaviour|neighbour|favour|honour|flavour)",
  ].join("|"),
);

/** Returns the British words of a text, also those inside identifiers. */
export function britishWords(text: string): string[] {
  const words = text.match(/[A-Z]+(?![a-z])|[A-Z]?[a-z]+/g) ?? [];
  return words.filter((word) => BRITISH.test(word.toLowerCase()));
}
