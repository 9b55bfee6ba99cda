// ES module and CommonJS copies in one process: native errors are instances of the HeddleError of their copy.
import { createRequire } from "node:module";
import * as esm from "heddle";
import * as esmGraph from "heddle/graph";

const require = createRequire(import.meta.url);
const copies = [
  { ...esm, ...esmGraph },
  { ...require("heddle"), ...require("heddle/graph") },
];
const errors = [];
for (const { LanguageModel, Tensor, openDevice } of copies) {
  const model = await LanguageModel.load("default");
  await model.dispose();
  const tensor = Tensor.zeros(openDevice({ device: "cpu" }), "f32", [1]);
  tensor.dispose();
  errors.push(await tensor.read().catch((reason) => reason)); // the addon throws this error
}
const [one, other] = copies.map(({ HeddleError }) => HeddleError);
console.log(
  JSON.stringify({
    typedError: errors.every((error) => error instanceof one && error instanceof other && error.code === "DISPOSED"),
    // `instanceof` also accepts errors of the other copy.
    ownErrors: one !== other && errors[0].constructor === one && errors[1].constructor === other,
  }),
);
