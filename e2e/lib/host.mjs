// Test hosts: whole Debian systems with a real systemd, each new, booted in about a second; see hosts/host.sh.

import { execFile, execFileSync, spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { existsSync, readFileSync, realpathSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

import { newFolder } from "./folders.mjs";

const execute = promisify(execFile);

const script = resolve(fileURLToPath(import.meta.url), "../../hosts/host.sh");
/** What is longer than this hangs. */
const LIMIT = 120_000;
/** The most that a command in a host may print. */
const LONGEST = 64 * 1024 * 1024;

const running = new Set();

/** A command that has failed in a host. */
export class Failed extends Error {
  constructor(name, what, error) {
    const status = error.killed ? "took too long" : `ended with ${error.signal ?? `status ${error.code}`}`;
    super(`${what} ${status} on ${name}:\n${error.stdout ?? ""}${error.stderr ?? ""}`);
    this.status = error.code;
    this.stdout = error.stdout ?? "";
    this.stderr = error.stderr ?? "";
  }
}

/** A booted host. It shares the network of this machine, and nothing else. */
export class Host {
  constructor(name, folder) {
    this.name = name;
    /** Where its console and its journal are kept when it ends. */
    this.folder = folder;
  }

  /**
   * Boots one. It sees the `folders` of this machine, read-only and at their own paths; `options` are further ones of
   * systemd-nspawn, such as `--tmpfs=/home:size=64M`. A `bare` one has the same programs, but no systemd that runs.
   */
  static async boot({ folders = [], options = [], bare = false } = {}) {
    const name = `host-${randomBytes(4).toString("hex")}`;
    const host = new Host(name, await newFolder(name));
    const binds = folders.map((folder) => `--bind-ro=${folder}`);
    running.add(host);
    // The first one may have to make the base.
    await host.tool(bare ? "bare" : "boot", [name, ...binds, ...options], 15 * 60_000);
    return host;
  }

  /** Calls the script. The host is ours: whoever comes later ends it, should this process be killed. */
  async tool(command, words, limit = LIMIT) {
    const environment = { ...process.env, LYCEUM_HOST_OWNER: String(process.pid) };
    if (command === "off") environment.LYCEUM_HOST_CONSOLE = `${this.folder}.console`;
    try {
      return await execute(script, [command, ...words], {
        env: environment,
        timeout: limit,
        killSignal: "SIGKILL",
        maxBuffer: LONGEST,
      });
    } catch (error) {
      throw new Failed(this.name, `host.sh ${command} ${words.join(" ")}`, error);
    }
  }

  /** Runs a command as root, and gives what it has printed. */
  async run(...command) {
    const { stdout } = await this.tool("run", [this.name, ...command]);
    return stdout;
  }

  /** Runs lines of the shell as root; the first that fails ends them. */
  shell(lines) {
    return this.run("/bin/sh", "-ec", lines);
  }

  /** Runs a command as another user, with that user's groups and home. */
  runAs(user, ...command) {
    return this.run("runuser", "--user", user, "--", "env", `HOME=/home/${user}`, `USER=${user}`, ...command);
  }

  /** Runs a command, and gives `{ status, stdout, stderr }`, whatever the status. */
  async attempt(...command) {
    try {
      const { stdout, stderr } = await this.tool("run", [this.name, ...command]);
      return { status: 0, stdout, stderr };
    } catch (error) {
      if (typeof error.status !== "number") throw error;
      return { status: error.status, stdout: error.stdout, stderr: error.stderr };
    }
  }

  /** Begins a command as root, and gives its process, whose streams are open. */
  start(...command) {
    return spawn(script, ["run", this.name, ...command], { stdio: ["pipe", "pipe", "pipe"] });
  }

  /** Copies a file of this machine. */
  put(file, path, mode = "644") {
    return this.tool("put", [this.name, file, path, mode]);
  }

  /** Writes a file. */
  async write(path, text, mode = "644") {
    const folder = await mkdtemp(join(tmpdir(), "lyceum-put-"));
    try {
      const file = join(folder, "file");
      await writeFile(file, text, { mode: 0o600 });
      await this.put(file, path, mode);
    } finally {
      await rm(folder, { recursive: true });
    }
  }

  /** Reads a file. */
  read(path) {
    return this.run("cat", "--", path);
  }

  /** Reboots in order, and waits until it is up. */
  reboot() {
    return this.tool("reboot", [this.name]);
  }

  /** Cuts the power, and boots from what was on its disk. */
  crash() {
    return this.tool("crash", [this.name]);
  }

  /** Gives the entries of the journal as objects, of `options` such as `--unit=lyceum`. */
  async journal(...options) {
    const lines = await this.run("journalctl", "--output=json", "--no-pager", "--all", ...options);
    return lines.split("\n").filter((line) => line.startsWith("{")).map((line) => JSON.parse(line));
  }

  /** The properties of a unit, as systemd has them. */
  async unit(name, ...properties) {
    const text = await this.run("systemctl", "show", name, ...properties.map((property) => `--property=${property}`));
    const pairs = text.trim().split("\n").map((line) => [line.slice(0, line.indexOf("=")), line.slice(line.indexOf("=") + 1)]);
    return Object.fromEntries(pairs);
  }

  /** Makes accounts with a password and a home each, all the same password unless it is a function of the name. */
  async addUsers(names, password, { groups = [], shell = "/bin/bash" } = {}) {
    const of = (name) => (typeof password === "function" ? password(name) : password);
    const group = groups.map((name) => `getent group ${name} >/dev/null || groupadd ${name}\n`).join("");
    const more = groups.length > 0 ? `--groups ${groups.join(",")}` : "";
    const add = names.map((name) => `useradd --create-home --shell ${shell} ${more} -- ${name}\nchmod 700 /home/${name}\n`);
    const path = "/root/passwords";
    await this.write(path, names.map((name) => `${name}:${of(name)}\n`).join(""), "600");
    await this.shell(`${group}${add.join("")}chpasswd < ${path}\nrm ${path}`);
  }

  /** Everything that runs in it, as root sees it: `{ pid, user, unit, command }`. */
  async processes() {
    const text = await this.run("ps", "-e", "-ww", "-o", "pid=,user:32=,unit:200=,args=");
    return text.trim().split("\n").map((line) => {
      const [pid, user, unit, ...command] = line.trim().split(/\s+/);
      return { pid: Number(pid), user, unit, command: command.join(" ") };
    });
  }

  /** Ends it, keeps its journal and its console, and leaves nothing else. */
  async off() {
    if (!running.has(this)) return;
    const journal = await this.attempt("journalctl", "--no-pager", "--all", "--output=short-precise").catch(() => undefined);
    if (journal) await writeFile(`${this.folder}.journal`, journal.stdout);
    await this.tool("off", [this.name]);
    running.delete(this);
    await rm(this.folder, { recursive: true, force: true });
  }

  // What a scenario does at its end.
  clean() {
    return this.off();
  }
}

/**
 * The folders that a host must see so that programs of a Python environment run in it, beside Debian's own Python.
 * The environment's interpreter is looked for outside of it, and must be of the same version where it is Debian's.
 */
export function foldersOf(environment) {
  if (!existsSync(environment)) throw new Error(`there is no Python environment ${environment}`);
  const interpreter = realpathSync(join(environment, "bin/python"));
  const folders = [environment];
  if (dirname(interpreter) !== "/usr/bin") folders.push(resolve(interpreter, "../.."));
  return folders;
}

/** The version of Python of an environment, such as `3.11`. */
export function pythonOf(environment) {
  return /^version(?:_info)?\s*=\s*(\d+\.\d+)/m.exec(readFileSync(join(environment, "pyvenv.cfg"), "utf8"))?.[1];
}

// A test runner that is interrupted takes its hosts along.
process.on("exit", () => {
  for (const host of running) {
    try {
      execFileSync(script, ["off", host.name], { timeout: 30_000, stdio: "ignore" });
    } catch {
      // The next one that boots a host ends it.
    }
  }
});
