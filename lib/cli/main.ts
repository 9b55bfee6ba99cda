#!/usr/bin/env node
// The entry of the command line. It checks the version of Node before the program's modules are read, since an old Node may fail to parse them.
try {
  await import("../core/node-version.ts");
} catch (error) {
  process.stderr.write(`${(error as Error).message}\n`);
  process.exit(1);
}
await import("./program.ts");

export {};
