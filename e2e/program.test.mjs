// The program at the terminal: Ctrl-C, a port that is taken, a folder that cannot be written.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { join } from "node:path";

import { newDataFolder, newFolder, program } from "./lib/folders.mjs";
import { logIn, waitForLab } from "./lib/hub.mjs";
import { openNotebook, runCell } from "./lib/lab.mjs";
import { scenario } from "./lib/scenario.mjs";
import { until, within } from "./lib/wait.mjs";

scenario("Ctrl-C ends the servers that it started", async ({ step, demo, visitor }) => {
  const hub = await demo();
  const ada = await visitor(hub);
  await step("log in", () => logIn(ada));
  await step("JupyterLab opens", () => waitForLab(ada));
  await step("open a notebook", () => openNotebook(ada));
  assert.equal(await runCell(ada, "print(6*7)"), "42");
  assert.notEqual((await hub.serverProcesses()).length, 0);
  const { code } = await step("Ctrl-C", () => hub.interrupt());
  assert.equal(code, 0, hub.output);
  await until("no process is left", async () => (await hub.serverProcesses()).length === 0, 10_000);
});

scenario("it listens on this machine only", async ({ step, demo }) => {
  const hub = await demo();
  const elsewhere = new URL(hub.url);
  // Another address of this machine's loopback network stands for all other addresses.
  elsewhere.hostname = "127.0.0.2";
  await step("another address is refused", () => assert.rejects(fetch(elsewhere)));
});

scenario("a port that is taken is explained", async ({ step }) => {
  const other = createServer();
  await new Promise((resolve) => other.listen(0, "127.0.0.1", resolve));
  const { port } = other.address();
  const dataFolder = await newDataFolder("port-in-use");
  const { code, output } = await step("start", () => runDemo(["--port", String(port), "--data-dir", dataFolder]));
  await new Promise((resolve) => other.close(resolve));
  assert.equal(code, 1, output);
  assert.match(output, new RegExp(`port ${port}|127\\.0\\.0\\.1:${port}`));
  assert.match(output, /in use/);
  assert.match(output, /node/, "names the process that listens there");
  assert.match(output, /hint:.*--port/);
});

scenario("a folder that cannot be is explained", async ({ step }) => {
  const folder = await newFolder("no-folder");
  const file = join(folder, "file");
  await writeFile(file, "");
  const { code, output } = await step("start", () => runDemo(["--port", "0", "--data-dir", join(file, "data")]));
  assert.equal(code, 1, output);
  assert.match(output, /error: .*file/);
  assert.match(output, /hint: .*file/);
});

/** Runs `lyceum demo` to its end, which must come soon; gives its exit status and all its output. */
async function runDemo(parts) {
  const child = spawn(program, ["demo", ...parts], { stdio: ["ignore", "pipe", "pipe"] });
  let output = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding("utf8");
    stream.on("data", (text) => (output += text));
  }
  const exit = new Promise((resolve, reject) => {
    child.on("error", reject);
    child.on("close", (code) => resolve(code));
  });
  try {
    return { code: await within("lyceum demo ends by itself", exit, 10 * 60_000), output };
  } finally {
    child.kill("SIGKILL");
  }
}
