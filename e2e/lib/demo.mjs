// Starts `lyceum demo` as a person does, reads what it prints, and ends it in kind and unkind ways.

import { spawn } from "node:child_process";
import { createWriteStream } from "node:fs";
import { mkdir } from "node:fs/promises";
import { userInfo } from "node:os";
import { basename, join } from "node:path";

import { newDataFolder, program, results } from "./folders.mjs";
import { freePort } from "./ports.mjs";
import { listProcessesIn } from "./processes.mjs";
import { Final, until, within } from "./wait.mjs";

/** Preparing the Python environment downloads about 100 MB and compiles 10,000 files. */
const FIRST_START_LIMIT = 10 * 60_000;

const running = new Set();

/** A `lyceum demo` in a data folder; may be started, ended and started again. */
export class Demo {
  /** The address, such as `http://127.0.0.1:8000`. */
  url;
  /** Everything it has printed, on both outputs. */
  output = "";
  /** How long it took from the start to the printed address, in ms. */
  startedIn;

  constructor(dataFolder, port, password) {
    this.dataFolder = dataFolder;
    this.port = port;
    this.password = password;
    this.user = userInfo().username;
  }

  /** Starts with a free port, in a data folder of its own unless one is given. */
  static async start(name, options = {}) {
    const dataFolder = options.dataFolder ?? (await newDataFolder(name));
    const password = options.password ?? "correct horse battery";
    const demo = new Demo(dataFolder, options.port ?? (await freePort()), password);
    await demo.start();
    return demo;
  }

  get pid() {
    return this.process.pid;
  }

  /** Starts the program and waits until it has printed its address and listens. */
  async start() {
    const begun = Date.now();
    this.output = "";
    this.spawn();
    const printed = () => {
      if (this.ended) throw new Final(`lyceum demo ended (${this.ended}):\n${this.output}`);
      return /http:\/\/127\.0\.0\.1:\d+/.exec(this.output)?.[0];
    };
    this.url = await until("lyceum demo prints its address", printed, FIRST_START_LIMIT, 5);
    this.startedIn = Date.now() - begun;
    this.user = /user(?: name)?:?\s+([a-z0-9._-]+)/i.exec(this.output)?.[1] ?? this.user;
    await until("lyceum answers", async () => (await fetch(`${this.url}/hub/health`)).ok, 10_000, 10);
  }

  arguments() {
    return ["demo", "--port", String(this.port), "--data-dir", this.dataFolder];
  }

  spawn() {
    this.process = spawn(program, this.arguments(), {
      stdio: ["ignore", "pipe", "pipe"],
      env: { ...process.env, LYCEUM_DEMO_PASSWORD: this.password },
    });
    running.add(this);
    this.ended = undefined;
    this.exit = new Promise((resolve) => {
      this.process.on("error", (error) => {
        this.ended = error.message;
        resolve({ error });
      });
      this.process.on("exit", (code, signal) => {
        this.ended = signal ?? `status ${code}`;
        running.delete(this);
        resolve({ code, signal });
      });
    });
    const log = createWriteStream(`${this.dataFolder}.log`, { flags: "a" });
    for (const stream of [this.process.stdout, this.process.stderr]) {
      stream.setEncoding("utf8");
      stream.on("data", (text) => {
        this.output += text;
        log.write(text);
      });
    }
  }

  /** Ends it as Ctrl-C does, and waits until it has ended. */
  async interrupt(limit = 30_000) {
    this.process.kill("SIGINT");
    return within("lyceum demo ends after Ctrl-C", this.exit, limit);
  }

  /** Ends it as a crash does: at once and without a word. Users' servers go on. */
  async crash() {
    this.process.kill("SIGKILL");
    await within("lyceum is gone", this.exit, 5_000);
  }

  /** Ends it and everything that it started, whatever state it is in. For the end of a test. */
  async clean() {
    if (!this.ended) {
      this.process.kill("SIGINT");
      await within("lyceum demo ends", this.exit, 30_000).catch(() => this.process.kill("SIGKILL"));
    }
    for (const { pid } of await listProcessesIn(this.dataFolder)) {
      try {
        process.kill(pid, "SIGKILL");
      } catch {
        // Gone meanwhile.
      }
    }
  }

  /** The processes of users' servers and kernels. */
  async serverProcesses() {
    const all = await listProcessesIn(this.dataFolder);
    return all.filter(({ pid }) => pid !== this.pid);
  }

  /** The name under which its log and screenshots are kept. */
  get name() {
    return basename(this.dataFolder);
  }
}

// A test runner that is interrupted takes its programs along.
process.on("exit", () => {
  for (const demo of running) demo.process.kill("SIGINT");
});

await mkdir(join(results, "data"), { recursive: true });
