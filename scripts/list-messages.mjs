// Lists the error messages and warnings of lib/ and native/, and the help texts of the command line, so that they can be read as a whole.
// `npm run messages` writes the list to test/structure/messages.txt, and a test compares it with the code.
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import ts from "typescript";

const root = fileURLToPath(new URL("..", import.meta.url));
export const messagesFile = `${root}test/structure/messages.txt`;

/** Returns the list as text: the files in order, each with its messages below it, in the order of the source. */
export function allMessages() {
  const sources = filesOf("lib", /\.ts$/).map((file) =>
    ts.createSourceFile(file, readFileSync(root + file, "utf8"), ts.ScriptTarget.Latest, true),
  );
  const makers = makersOf(sources);
  const lists = sources.map((source) => [source.fileName, [...messagesOf(source, makers)]]);
  const native = filesOf("native", /\.(cc|h|cu|cuh)$/).map((file) => [file, readFileSync(root + file, "utf8")]);
  const nativeMakers = nativeMakersOf(native.map(([, text]) => text));
  for (const [file, text] of native) lists.push([file, [...nativeMessagesOf(text, nativeMakers)]]);
  const parts = lists
    .filter(([, lines]) => lines.length > 0)
    .map(([file, lines]) => `${file}\n  ${lines.join("\n  ")}`);
  return `${parts.join("\n\n")}\n`;
}

/** Returns the files below a folder whose names match, sorted. The emulator and the simulator test heddle, and no user sees their messages. */
function filesOf(folder, names) {
  return readdirSync(root + folder, { recursive: true, encoding: "utf8" })
    .map((name) => `${folder}/${name.replaceAll("\\", "/")}`)
    .filter((file) => names.test(file) && !/^native\/(emulator|simulator)\//.test(file))
    .sort();
}

/** Visits a node and all nodes below it, in the order of the source. */
function* nodesOf(source) {
  const nodes = [source];
  for (let node = nodes.pop(); node; node = nodes.pop()) {
    yield node;
    const children = [];
    ts.forEachChild(node, (child) => void children.push(child));
    nodes.push(...children.reverse());
  }
}

/**
 * Returns the names of everything whose arguments become a message: classes of errors, functions that return an error or never return, and
 * functions with a parameter for such a text.
 */
function makersOf(sources) {
  const makers = new Set(["Error", "TypeError", "RangeError", "SyntaxError", "Damage", "onWarning", "emitWarning"]);
  for (const source of sources)
    for (const node of nodesOf(source)) {
      if (ts.isClassDeclaration(node) && node.heritageClauses?.some((clause) => /Error\b/.test(clause.getText(source))))
        makers.add(node.name?.text);
      if (!ts.isFunctionLike(node)) continue;
      const name = node.name ?? (ts.isVariableDeclaration(node.parent) ? node.parent.name : undefined);
      if (!name || !ts.isIdentifier(name)) continue;
      const returned = node.type?.getText(source) ?? "";
      const worded = node.parameters.some((one) => /^(expected|message|problem)$/.test(one.name.getText(source)));
      if (worded || /^(never|\w*Error)$/.test(returned)) makers.add(name.text);
    }
  return makers;
}

function isText(node) {
  if (ts.isStringLiteralLike(node) || ts.isTemplateExpression(node)) return true;
  if (ts.isParenthesizedExpression(node)) return isText(node.expression);
  if (ts.isConditionalExpression(node)) return isText(node.whenTrue) || isText(node.whenFalse);
  return (
    ts.isBinaryExpression(node) &&
    node.operatorToken.kind === ts.SyntaxKind.PlusToken &&
    (isText(node.left) || isText(node.right))
  );
}

const printer = ts.createPrinter({ removeComments: true });

/** Properties of the command line's tables that hold help texts. */
const HELP = /^(about|usage|value|legend|footer|examples)$/;
/** Words of a text that refuses something. Tables and variables hold such texts too. */
const REFUSAL = /\b(expected|cannot|is not supported|does not support|needs an?)\b/;
/** Files whose texts are training data or scripts of pages. */
const OTHER_TEXTS = /^lib\/(lifecycle\/recipe|serve\/playground\/script)\//;
const CODE = /^"[A-Z_]+"$/;
const NAME = /^"[\w.$[\]-]+"$/;

function* messagesOf(source, makers) {
  const print = (node) => printer.printNode(ts.EmitHint.Unspecified, node, source).replace(/\s+/g, " ");
  const line = (start, nodes) => {
    const texts = nodes.filter((node) => isText(node) && node.getText(source) !== '""').map(print);
    // A lone first argument of one word is the name of a parameter.
    const named = texts.length === 1 && isText(nodes[0]) && NAME.test(texts[0]) && start === "";
    return texts.every((text) => CODE.test(text)) || named ? [] : [`${start}${texts.join(" ")}`];
  };
  // Ends of the parts that are listed as a whole, so that a text in them is not listed again.
  let listed = 0;
  const whole = (start, node, nodes) => {
    const lines = line(start, nodes);
    if (lines.length > 0) listed = Math.max(listed, node.end);
    return lines;
  };
  for (const node of nodesOf(source)) {
    if (ts.isCallExpression(node) || ts.isNewExpression(node)) {
      const callee = ts.isPropertyAccessExpression(node.expression) ? node.expression.name : node.expression;
      const name = callee.getText(source);
      if (makers.has(name)) yield* whole("", node, node.arguments ?? []);
      // The help of a training option is an argument of `option`.
      else if (source.fileName.startsWith("lib/train/") && name === "option") yield* line("help: ", node.arguments);
      // A schema's text is the part of a message after "expected".
      else if (/^(custom|refine|min|max)$/.test(name)) yield* line("expected: ", node.arguments);
    } else if (ts.isPropertyAssignment(node)) {
      const name = node.name.getText(source);
      if (name === "error") yield* whole("expected: ", node, [node.initializer]);
      else if (name === "help" || (HELP.test(name) && source.fileName.startsWith("lib/cli")))
        yield* whole(`${name}: `, node, [node.initializer]);
      else if (name === "message") yield* whole("", node, [node.initializer]);
    } else if (
      isText(node) &&
      node.end > listed &&
      REFUSAL.test(node.getText(source)) &&
      !OTHER_TEXTS.test(source.fileName)
    )
      yield* whole("", node, [node]);
  }
}

/** Returns the names of native classes of errors, of the class Cancellation, and of functions that return one of these or never return. */
function nativeMakersOf(texts) {
  const makers = new Set(["Error", "Failure", "Full", "Cancellation"]);
  for (const text of texts)
    for (const [, name] of text.matchAll(/\b(?:Error|Failure|Cancellation|\[\[noreturn\]\][^(;]*?\bvoid)\s+(\w+)\(/g))
      makers.add(name);
  return makers;
}

function* nativeMessagesOf(text, makers) {
  const code = text.replace(/("(?:\\.|[^"\\\n])*")|\/\/[^\n]*|\/\*[\s\S]*?\*\//g, "$1");
  for (const call of code.matchAll(/\b(\w+)\(/g)) {
    if (!makers.has(call[1])) continue;
    const given = argumentsAt(code, call.index + call[0].length);
    if (/"[^"]*[a-z][^"]*"/.test(given)) yield given.replace(/\s+/g, " ");
  }
}

/** Returns the text up to the parenthesis that closes the one before `start`. */
function argumentsAt(code, start) {
  const token = /"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|[()]/g;
  token.lastIndex = start;
  let depth = 1;
  for (let match = token.exec(code); match; match = token.exec(code)) {
    if (match[0] === "(") ++depth;
    else if (match[0] === ")" && --depth === 0) return code.slice(start, match.index).trim();
  }
  return "";
}

if (process.argv[1] === fileURLToPath(import.meta.url)) writeFileSync(messagesFile, allMessages());
