#!/usr/bin/env node
/**
 * The one entry. Turns on Node's cache of compiled code before the first TypeScript file is read:
 * a process that finds everything there never loads the type stripper (some 17 MB). That is why
 * this one file is JavaScript. The cache lies beside the code, so that who can change one can
 * change the other and nobody else; where that is not writable, nothing is cached.
 */
import module from "node:module";
import { join } from "node:path";

const NODE_MIN = 26;
if (Number.parseInt(process.versions.node, 10) < NODE_MIN) {
  process.stderr.write(
    `prestage: needs Node ${NODE_MIN} or newer, this is ${process.version}\n` +
      "  In a checkout, `npm run -s prestage -- ARGUMENTS` takes the one from node_modules.\n",
  );
  process.exit(1);
}
module.enableCompileCache(join(import.meta.dirname, "../node_modules/.cache/prestage"));
const { main } = await import("./prestage.ts");
await main();
