// Open WebSockets while the route table changes 100 times a second: none is dropped, and none waits.
// The measurement with thousands of them is benches/tunnels.py; this is the same with fewer, and more patience.

import { execFile } from "node:child_process";
import { dirname, join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

import { program } from "./lib/folders.mjs";

const script = join(dirname(fileURLToPath(import.meta.url)), "../benches/tunnels.py");

test("open WebSockets do not notice that routes change", { timeout: 3 * 60_000 }, async (context) => {
  const options = ["--program", program, "--idle", "1000", "--busy", "200", "--seconds", "8", "--stall", "500", "--check"];
  const { stdout } = await promisify(execFile)("python3", [script, ...options], { timeout: 170_000 });
  for (const line of stdout.trim().split("\n")) context.diagnostic(line);
});
