// Prints every error message of lib/ and every help text of the command line with its file and line, for review as a whole:
// `node scripts/list-messages.mjs [errors|help]`.
import { readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import ts from "typescript";

const root = fileURLToPath(new URL("..", import.meta.url));
const printer = ts.createPrinter({ removeComments: true });

/** Functions and classes whose arguments become a message. */
const MAKERS =
  /^(HeddleError|Refusal|Error|TypeError|RangeError|invalid\w*|unsupported\w*|refus\w*|fail|wrong|need\w*|onWarning|warn)$/;
const HELP = /^(about|usage|value|legend|footer|examples)$/;

const isText = (node) =>
  ts.isStringLiteralLike(node) ||
  ts.isTemplateExpression(node) ||
  (ts.isBinaryExpression(node) && node.operatorToken.kind === ts.SyntaxKind.PlusToken) ||
  (ts.isConditionalExpression(node) && (isText(node.whenTrue) || isText(node.whenFalse)));

function* textsOf(source) {
  const place = (node) => `${source.fileName}:${source.getLineAndCharacterOfPosition(node.getStart(source)).line + 1}`;
  const print = (node) => printer.printNode(ts.EmitHint.Unspecified, node, source).replace(/\s+/g, " ");
  const nodes = [source];
  for (let node = nodes.pop(); node; node = nodes.pop()) {
    if (ts.isCallExpression(node) || ts.isNewExpression(node)) {
      const callee = ts.isPropertyAccessExpression(node.expression) ? node.expression.name : node.expression;
      const texts = node.arguments?.filter(isText) ?? [];
      if (MAKERS.test(callee.getText(source)) && texts.length > 0)
        yield { kind: "errors", line: `${place(node)} ${texts.map(print).join(" ")}` };
      // The help of a training option is an argument of `option`.
      if (source.fileName.startsWith("lib/train/") && callee.getText(source) === "option" && texts.length > 0)
        yield { kind: "help", line: `${place(node)} ${texts.map(print).join(" ")}` };
      // A schema's text is the part of a message after "expected".
      if (/^(custom|refine|min|max)$/.test(callee.getText(source)) && texts.length > 0)
        yield { kind: "errors", line: `${place(node)} expected ${texts.map(print).join(" ")}` };
    }
    if (ts.isPropertyAssignment(node) && isText(node.initializer)) {
      const name = node.name.getText(source);
      if (name === "error") yield { kind: "errors", line: `${place(node)} expected ${print(node.initializer)}` };
      if (HELP.test(name) && source.fileName.startsWith("lib/cli"))
        yield { kind: "help", line: `${place(node)} ${name}: ${print(node.initializer)}` };
    }
    const children = [];
    ts.forEachChild(node, (child) => void children.push(child));
    nodes.push(...children.reverse());
  }
}

const wanted = process.argv[2];
for (const name of readdirSync(`${root}lib`, { recursive: true, encoding: "utf8" }).sort()) {
  if (!name.endsWith(".ts")) continue;
  const file = `lib/${name.replaceAll("\\", "/")}`;
  const source = ts.createSourceFile(file, readFileSync(root + file, "utf8"), ts.ScriptTarget.Latest, true);
  for (const { kind, line } of textsOf(source)) if (!wanted || kind === wanted) console.log(line);
}
