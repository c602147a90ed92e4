// Abuse of the gateway from both sides, by clients and by servers, as black box: each case of abuse/run.py is a test.
// Many of them are bytes that no HTTP library would send, so that they are written in Python with bare sockets.

import { spawn } from "node:child_process";
import { dirname, join } from "node:path";
import { createInterface } from "node:readline";
import { test } from "node:test";
import { fileURLToPath } from "node:url";

import { program } from "./lib/folders.mjs";
import { within } from "./lib/wait.mjs";

const script = join(dirname(fileURLToPath(import.meta.url)), "abuse/run.py");

const GROUPS = {
  floods: "clients that are slow, or many",
  http1: "requests in HTTP/1 that could be read in two ways",
  http2: "floods and odd requests in HTTP/2",
  upstream: "servers that misbehave",
};

/** Of these, none measures how long others wait or what memory is used: they run beside the rest. */
const BESIDE = ["http1"];

const running = new Set();

/** Starts the cases of a group; gives the program, and what it has said so far and will say. */
function start(group) {
  const child = spawn("python3", [script, "--json", "--groups", group, "--program", program], {
    stdio: ["ignore", "pipe", "pipe"],
  });
  running.add(child);
  const started = { child, complaints: "", lines: createInterface({ input: child.stdout })[Symbol.asyncIterator]() };
  child.stderr.setEncoding("utf8").on("data", (text) => (started.complaints += text));
  started.exit = new Promise((resolve) => {
    child.on("error", (error) => resolve(error.message));
    child.on("close", (code) => resolve(code));
  }).finally(() => running.delete(child));
  return started;
}

const begun = new Map(BESIDE.map((group) => [group, start(group)]));

for (const [group, title] of Object.entries(GROUPS)) {
  test(title, { timeout: 10 * 60_000 }, async (context) => {
    const started = begun.get(group) ?? start(group);
    let count = 0;
    try {
      for await (const line of started.lines) {
        const { case: name, failure, note } = JSON.parse(line);
        count += 1;
        await context.test(name, (each) => {
          if (note) each.diagnostic(note);
          if (failure) throw new Error(failure);
        });
      }
      const code = await within("the script ends", started.exit, 30_000);
      if (count === 0 || (code !== 0 && code !== 1)) {
        throw new Error(`it ended with status ${code}:\n${started.complaints}`);
      }
    } finally {
      started.child.kill("SIGKILL");
    }
  });
}

process.on("exit", () => {
  for (const child of running) child.kill("SIGKILL");
});
