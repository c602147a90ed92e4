// Applications of others behind the gateway, each started as its documentation says.

import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";

import { freePort } from "./ports.mjs";
import { Final, until } from "./wait.mjs";

const folder = resolve(dirname(fileURLToPath(import.meta.url)), "../apps");

/** Importing all of an application on a busy machine. */
const START_LIMIT = 120_000;

const running = new Set();

/** A program that listens on a port; `output` is what it has said. */
export class App {
  output = "";

  /** Starts it and waits until it answers at `path`. `command` gets the port. */
  static async start(command, path, variables = {}) {
    const app = new App();
    app.port = await freePort();
    app.url = `http://127.0.0.1:${app.port}`;
    const [program, ...parts] = command(app.port);
    app.process = spawn(program, parts, { stdio: ["ignore", "pipe", "pipe"], env: { ...process.env, ...variables } });
    running.add(app);
    app.process.on("error", (error) => (app.ended = error.message));
    app.process.on("exit", (code, signal) => {
      app.ended = signal ?? `status ${code}`;
      running.delete(app);
    });
    for (const stream of [app.process.stdout, app.process.stderr]) {
      stream.setEncoding("utf8").on("data", (text) => (app.output += text));
    }
    await until(
      `${program} answers`,
      async () => {
        if (app.ended) throw new Final(`${program} ended (${app.ended}):\n${app.output}`);
        return (await fetch(app.url + path)).ok;
      },
      START_LIMIT,
    );
    return app;
  }

  async close() {
    if (this.ended) return;
    this.process.kill("SIGTERM");
    await until("the application has ended", () => this.ended, 10_000).catch(() => this.process.kill("SIGKILL"));
  }
}

process.on("exit", () => {
  for (const app of running) app.process.kill("SIGKILL");
});

/** An app of R's shiny. */
export function startShiny() {
  return App.start((port) => ["Rscript", "--vanilla", join(folder, "shiny.R"), String(port)], "/");
}

/** An app of streamlit that knows that it is below a path, without slashes. */
export function startStreamlit(path) {
  const command = (port) => [
    join(environment(), "bin/streamlit"),
    "run",
    join(folder, "stats.py"),
    "--server.address=127.0.0.1",
    `--server.port=${port}`,
    `--server.baseUrlPath=${path}`,
    "--server.headless=true",
    "--server.fileWatcherType=none",
    "--browser.gatherUsageStats=false",
  ];
  return App.start(command, `/${path}/_stcore/health`);
}

/** An app of Flask that knows its prefix. */
export function startFlask(prefix) {
  const command = (port) => [join(environment(), "bin/python3"), join(folder, "prefixed.py"), String(port), prefix];
  return App.start(command, prefix);
}

/** The Python environment with streamlit and flask; `cargo xtask test` makes it. */
function environment() {
  const found = process.env.LYCEUM_TEST_APPS;
  if (!found || !existsSync(join(found, "bin/streamlit"))) {
    throw new Error("LYCEUM_TEST_APPS must name a Python environment with streamlit and flask");
  }
  return found;
}
