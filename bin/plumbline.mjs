#!/usr/bin/env node
import { existsSync } from "node:fs";

const built = new URL("../dist/cli/main.js", import.meta.url);
if (!existsSync(built)) {
  console.error("plumbline is not built yet: run `npm run setup` in its folder");
  process.exit(1);
}
await (await import(built)).main(process.argv);
