#!/usr/bin/env node
// The entry point of the command line. It checks the version of Node before it loads the program's modules, because an
// old Node may fail to parse them.
try {
  await import("../core/node-version.ts");
} catch (error) {
  process.stderr.write(`${(error as Error).message}\n`);
  process.exit(1);
}
await import("./program.ts");

export {};
