// Pebble, an authority for tests that speaks ACME, with the name server that belongs to it.

import { spawn } from "node:child_process";
import { existsSync, openSync } from "node:fs";
import { readFile, writeFile } from "node:fs/promises";
import { delimiter, join } from "node:path";

import { TestAuthority } from "./certificates.mjs";
import { freePorts } from "./ports.mjs";
import { ask } from "./proxies.mjs";
import { Final, until, within } from "./wait.mjs";

const running = new Set();

/** A Pebble that looks for answers on this machine, whatever name it is asked for. */
export class Pebble {
  processes = [];

  /** Chooses ports and writes its settings; `start` starts it. It asks at the ports `http` and `tls`. */
  static async prepare({ http, tls, profiles = {} }) {
    const pebble = new Pebble();
    const authority = await TestAuthority.make("pebble");
    pebble.folder = authority.folder;
    pebble.caFile = authority.file;
    pebble.ca = await authority.pem();
    const own = await authority.issue("server", { names: ["DNS:localhost", "IP:127.0.0.1"] });
    [pebble.port, pebble.managementPort, pebble.dnsPort, pebble.dnsApiPort] = await freePorts(4);
    const settings = {
      listenAddress: `127.0.0.1:${pebble.port}`,
      managementListenAddress: `127.0.0.1:${pebble.managementPort}`,
      certificate: own.cert,
      privateKey: own.key,
      httpPort: http,
      tlsPort: tls,
      ocspResponderURL: "",
      externalAccountBindingRequired: false,
      retryAfter: { authz: 1, order: 1 },
      keyAlgorithm: "ecdsa",
      profiles: {
        default: { description: "ninety days", validityPeriod: 7_776_000 },
        shortlived: { description: "six days", validityPeriod: 518_400 },
        ...profiles,
      },
    };
    await writeFile(join(pebble.folder, "config.json"), JSON.stringify({ pebble: settings }));
    return pebble;
  }

  /** The URL of its directory. */
  get directory() {
    return `https://localhost:${this.port}/dir`;
  }

  /** The lines of `[tls.acme]` that lead to it. */
  get settings() {
    return `directory = "${this.directory}"\nca_file = "${this.caFile}"\nagree_to_terms = true\n`;
  }

  /** The URL at which the DNS is changed. */
  get dnsApi() {
    return `http://127.0.0.1:${this.dnsApiPort}`;
  }

  /** Starts it and its name server, and waits until it answers. */
  async start() {
    const nothing = ["-http01", "", "-https01", "", "-tlsalpn01", "", "-doh", ""];
    const names = ["-defaultIPv4", "127.0.0.1", "-defaultIPv6", "", "-dnsserver", `127.0.0.1:${this.dnsPort}`];
    this.spawn("pebble-challtestsrv", [...nothing, ...names, "-management", `127.0.0.1:${this.dnsApiPort}`]);
    this.spawn("pebble", ["-config", join(this.folder, "config.json"), "-dnsserver", `127.0.0.1:${this.dnsPort}`]);
    const answers = async () => {
      if (this.processes.some(({ ended }) => ended)) throw new Final(`Pebble has ended:\n${await this.log()}`);
      return (await this.get(this.port, "/dir")).status === 200;
    };
    await until("Pebble answers", answers, 30_000, 50);
  }

  spawn(name, words) {
    const log = openSync(join(this.folder, "pebble.log"), "a");
    const env = { ...process.env, PEBBLE_VA_NOSLEEP: "1", PEBBLE_WFE_NONCEREJECT: "5", PEBBLE_AUTHZREUSE: "0" };
    const started = { process: spawn(findProgram(name), words, { stdio: ["ignore", log, log], env }), ended: false };
    running.add(started.process);
    started.exit = new Promise((done) => {
      const end = () => {
        started.ended = true;
        running.delete(started.process);
        done();
      };
      started.process.on("exit", end);
      started.process.on("error", end);
    });
    this.processes.push(started);
  }

  /** Ends both. */
  async stop() {
    for (const { process } of this.processes) process.kill("SIGKILL");
    await within("Pebble is gone", Promise.all(this.processes.map(({ exit }) => exit)), 5_000);
    this.processes = [];
  }

  clean() {
    return this.stop();
  }

  /** The root of what it issues, as PEM: another one after each start. */
  async root() {
    const { status, body } = await this.get(this.managementPort, "/roots/0");
    if (status !== 200) throw new Error(`Pebble has no root: ${status} ${body}`);
    return body;
  }

  get(port, path) {
    // Pebble answers nobody who does not say what they are (RFC 8555 §6.1).
    const headers = { host: `localhost:${port}`, "user-agent": "lyceum-e2e" };
    return ask({ https: true, port, path, headers, ca: this.ca, servername: "localhost" });
  }

  log() {
    return readFile(join(this.folder, "pebble.log"), "utf8").catch(() => "");
  }
}

function findProgram(name) {
  const named = process.env.LYCEUM_TEST_PEBBLE;
  const folders = named ? [named] : (process.env.PATH ?? "").split(delimiter);
  const found = folders.map((folder) => join(folder, name)).find((path) => existsSync(path));
  if (found) return found;
  throw new Final(
    `no ${name}: \`cargo xtask test\` fetches it, or name a folder with Pebble 2.10 or newer in LYCEUM_TEST_PEBBLE`,
  );
}

process.on("exit", () => {
  for (const process of running) process.kill("SIGKILL");
});
