// A Lyceum on a test host without systemd: its broker and itself are started by hand, as an administrator would in a
// container.

import { createWriteStream } from "node:fs";
import { resolve } from "node:path";
import { fileURLToPath } from "node:url";

import { program } from "./folders.mjs";
import { Person } from "./person.mjs";
import { freePort } from "./ports.mjs";
import { Final, until } from "./wait.mjs";

const pam = resolve(fileURLToPath(import.meta.url), "../../../packaging/pam.d/lyceum");

/** Where the broker is asked. */
const SOCKET = "/run/lyceum-broker/broker.sock";
/** Begins a process in the host's own cgroups: whoever comes from outside is in others. */
const ENTER = 'for list in /sys/fs/cgroup/*/cgroup.procs; do echo $$ > "$list"; done; exec "$@"';
/** How a program becomes that of Lyceum's account, with no right that an ordinary user has not. */
const AS_LYCEUM = ["setpriv", "--reuid=lyceum", "--regid=lyceum", "--init-groups", "--no-new-privs", "--"];

/** A Lyceum that is started by hand. */
export class ByHand {
  /** What has ended: `broker` or `serve`, and how. */
  ended = {};

  constructor(host, port) {
    this.host = host;
    this.port = port;
    this.url = `http://127.0.0.1:${port}`;
  }

  /** Installs it on a free port of 127.0.0.1; `configuration` is added to what every one needs. Does not start it. */
  static async install(host, configuration) {
    const hand = new ByHand(host, await freePort());
    await host.put(program, "/usr/bin/lyceum", "755");
    await host.put(pam, "/etc/pam.d/lyceum");
    await host.shell(`
useradd --system --user-group --home-dir /var/lib/lyceum --no-create-home --shell /usr/sbin/nologin lyceum
install -d -m 750 -o root -g lyceum /etc/lyceum
install -d -m 700 -o lyceum -g lyceum /var/lib/lyceum
`);
    await hand.prepareRun();
    const config = `
[hub]
data_dir = "/var/lib/lyceum"
runtime_dir = "/run/lyceum"
api_listen = "127.0.0.1:0"
[gateway]
listen = ["127.0.0.1:${hand.port}"]
${configuration}`;
    await host.write("/etc/lyceum/lyceum.toml", config, "640");
    await host.run("chgrp", "lyceum", "/etc/lyceum/lyceum.toml");
    return hand;
  }

  /** Makes the folders that a boot removes. */
  prepareRun() {
    return this.host.shell(`
install -d -m 700 -o lyceum -g lyceum /run/lyceum
install -d -m 755 /run/lyceum-broker
install -d -m 711 /run/lyceum-servers
`);
  }

  /** Starts broker and Lyceum, and waits until both answer. */
  async start() {
    await this.startBroker();
    await this.startServe();
  }

  async startBroker() {
    await this.host.run("rm", "-f", SOCKET);
    this.begin("broker", "lyceum", "broker", "--listen", SOCKET);
    await this.wait("broker", async () => (await this.host.attempt("test", "-S", SOCKET)).status === 0);
  }

  async startServe() {
    this.begin("serve", ...AS_LYCEUM, "lyceum", "serve");
    await this.wait("serve", async () => (await fetch(`${this.url}/hub/health`)).ok);
  }

  /** Kills one of them as a crash does; what it has started goes on. */
  async kill(what) {
    const user = what === "broker" ? "root" : "lyceum";
    const own = (await this.host.processes()).filter((one) => one.user === user && one.command.startsWith(`lyceum ${what}`));
    const mains = own.filter(({ command }) => !command.startsWith("lyceum broker-child"));
    if (mains.length !== 1) throw new Error(`not one ${what} runs, but ${JSON.stringify(own)}`);
    await this.host.run("kill", "-KILL", String(mains[0].pid));
    await until(`the ${what} has ended`, () => this.ended[what] !== undefined, 10_000, 10);
  }

  /** A person who comes to it. */
  person(name, password) {
    return new Person(this.url, name, password);
  }

  begin(what, ...command) {
    this.ended[what] = undefined;
    const started = this.host.start("sh", "-ec", ENTER, "enter", ...command);
    const log = createWriteStream(`${this.host.folder}.${what}.log`, { flags: "a" });
    started.stdout.pipe(log, { end: false });
    started.stderr.pipe(log, { end: false });
    const ended = (how) => {
      this.ended[what] = how;
    };
    started.on("error", (error) => ended(error.message));
    started.on("exit", (code, signal) => ended(signal ?? `status ${code}`));
  }

  wait(what, condition) {
    return until(`the ${what} answers`, () => {
      if (this.ended[what]) throw new Final(`it has ended (${this.ended[what]}); see ${this.host.folder}.${what}.log`);
      return condition();
    }, 30_000, 50);
  }
}
