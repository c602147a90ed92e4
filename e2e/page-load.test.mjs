// What opening JupyterLab through the gateway costs: bytes, and requests that reach the user's server.
// Both are counts, and the same on every machine; times are for benches/page_load.mjs, which measures all of it.

import assert from "node:assert/strict";
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";

import { startHub } from "../benches/page_load/hubs.mjs";
import { visit } from "../benches/page_load/visit.mjs";
import { newFolder, program } from "./lib/folders.mjs";
import { environmentOfVersion } from "./lib/serve.mjs";

/** What JupyterLab asks for again as time passes, and saves some time after a change: how often tells how fast it was. */
const POLLS = /^GET .*\/(api\/(contents|kernels|kernelspecs|me|sessions|terminals)|lsp\/status)$|^PUT .*\/lab\/api\/workspaces\//;

/** Counts what is asked for again and again once. */
function withoutPolls(requests) {
  return requests.filter((request, index) => !POLLS.test(request) || requests.indexOf(request) === index);
}

test("opening JupyterLab costs few bytes and requests", { timeout: 5 * 60_000 }, async (context) => {
  const hub = await startHub("lyceum", { program, environment: environmentOfVersion("6.1") });
  const folder = await newFolder("page-load");
  try {
    const say = (name, { megabytes, requests, reached, reachedRequests, usable, largest }) =>
      context.diagnostic(
        `${name}: ${megabytes.toFixed(2)} MB, ${requests} requests, ${reached} reach the server, ` +
          `${withoutPolls(reachedRequests).length} of them without polls, ${usable.toFixed(1)} s; ` +
          `the largest: ${largest.slice(0, 3).join(", ")}`,
      );
    const cold = await visit(hub, join(folder, "profile"), "local");
    say("with an empty cache", cold);
    const warm = await visit(hub, join(folder, "profile"), "local");
    say("with a filled cache", warm);
    assert.ok(cold.megabytes <= 1.25, `${cold.megabytes} MB with an empty cache`);
    const reached = withoutPolls(cold.reachedRequests);
    assert.ok(reached.length <= 38, `${reached.length} requests reach the server:\n${reached.join("\n")}`);
    assert.ok(warm.megabytes <= 0.1, `${warm.megabytes} MB with a filled cache`);
  } finally {
    await hub.end();
    await rm(folder, { recursive: true, force: true });
  }
});
