// A Lyceum on a test host, installed as an administrator would by hand: the program, its units, its account.

import { readdir } from "node:fs/promises";
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";

import { program } from "./folders.mjs";
import { freePorts } from "./ports.mjs";
import { Person } from "./person.mjs";
import { until } from "./wait.mjs";

const packaging = resolve(fileURLToPath(import.meta.url), "../../../packaging");

/** The name of the server in these tests, and how it is reached: it is on this machine, and vouches for itself. */
export const NAME = "jupyter.example.org";
const connection = {
  rejectUnauthorized: false,
  lookup: (_, options, answer) =>
    options.all ? answer(null, [{ address: "127.0.0.1", family: 4 }]) : answer(null, "127.0.0.1", 4),
};

/** The unit that people talk to. */
export const UNIT = "lyceum.service";

/** What belongs where. */
const FOLDERS = {
  systemd: "/usr/lib/systemd/system",
  "sysusers.d": "/usr/lib/sysusers.d",
  "tmpfiles.d": "/usr/lib/tmpfiles.d",
  "pam.d": "/etc/pam.d",
};

/** An installed Lyceum. */
export class Hosted {
  /** The password of everybody, where there is one. */
  password = "correct horse battery";

  constructor(host, ports) {
    this.host = host;
    this.ports = ports;
    this.url = `https://${NAME}:${ports.https}`;
    this.plainUrl = `http://127.0.0.1:${ports.http}`;
  }

  /** Installs it on free ports of 127.0.0.1, with what `configuration` makes of them; does not start it. */
  static async install(host, configuration) {
    const [http, https] = await freePorts(2);
    const hosted = new Hosted(host, { http, https });
    hosted.config = configuration({ http, https });
    await host.put(program, "/usr/bin/lyceum", "755");
    for (const [kind, folder] of Object.entries(FOLDERS)) {
      for (const name of await readdir(join(packaging, kind))) {
        await host.put(join(packaging, kind, name), `${folder}/${name}`);
      }
    }
    await host.run("systemd-sysusers");
    await host.run("systemd-tmpfiles", "--create", "lyceum.conf");
    await hosted.dropIn("lyceum.socket", `[Socket]\nListenStream=\nListenStream=127.0.0.1:${http}\n`);
    await hosted.dropIn("lyceum-https.socket", `[Socket]\nListenStream=\nListenStream=127.0.0.1:${https}\n`);
    await hosted.secret("password", hosted.password);
    await hosted.configure(hosted.config);
    return hosted;
  }

  /** Writes the configuration: root's, and readable for Lyceum. */
  configure(config, name = "lyceum.toml") {
    return this.forLyceum(name, config);
  }

  /** Writes a secret into a file, and gives its path. */
  async secret(name, text) {
    await this.forLyceum(name, `${text}\n`);
    return `/etc/lyceum/${name}`;
  }

  async forLyceum(name, text) {
    await this.host.write(`/etc/lyceum/${name}`, text, "640");
    await this.host.run("chgrp", "lyceum", `/etc/lyceum/${name}`);
  }

  /** Writes a drop-in for a unit. */
  async dropIn(unit, text, name = "test.conf") {
    await this.host.write(`/etc/systemd/system/${unit}.d/${name}`, text);
    await this.host.run("systemctl", "daemon-reload");
  }

  /** Enables and starts it; gives back when systemd says that it is ready. */
  start() {
    return this.host.run("systemctl", "enable", "--now", "lyceum.socket", "lyceum-https.socket", UNIT);
  }

  restart() {
    return this.host.run("systemctl", "restart", UNIT);
  }

  /** Stops it, so that nobody who comes starts it again. */
  stop() {
    return this.host.run("systemctl", "stop", "lyceum.socket", "lyceum-https.socket", UNIT);
  }

  /** Lyceum's own process. */
  async pid() {
    return Number((await this.host.unit(UNIT, "MainPID")).MainPID);
  }

  /** Waits until it runs again as another process than `before`, and is ready. */
  comesBack(before, limit = 30_000) {
    const back = async () => {
      const { ActiveState: state, MainPID: pid } = await this.host.unit(UNIT, "ActiveState", "MainPID");
      return state === "active" && Number(pid) !== before;
    };
    return until("lyceum has been started again", back, limit, 50);
  }

  /** A person who comes to it. */
  person(name, password = this.password) {
    return new Person(this.url, name, password, { connection });
  }

  /** Somebody who has not logged in asks for a page: `{ status, headers, body }`. */
  get(path = "/hub/health") {
    return new Person(this.url, "", "", { connection: { ...connection, agent: false } }).send("GET", path);
  }
}

/** How it is reached. The ports of HTTPS are not the usual ones, so that the name alone does not tell them. */
export function reached({ https }) {
  return `
[hub]
public_url = "https://${NAME}:${https}"
api_listen = "127.0.0.1:0"
# Where twenty start at once on two processors, each takes its time.
start_timeout = "3m"
http_timeout = "3m"
[gateway]
listen = ["systemd:http"]
listen_tls = ["systemd:https"]
canonical_host = "${NAME}:${https}"
[tls]
source = "self-signed"
domains = ["${NAME}"]
`;
}

/** A login and servers that all share a password and an account: what works without the broker. */
export function shared(environment) {
  return `
[auth]
kind = "shared-password"
user_password_file = "/etc/lyceum/password"
[access]
allow_all = true
[spawner]
kind = "process"
command = ["${environment}/bin/jupyterhub-singleuser"]
path = ["${environment}/bin", "/usr/local/bin", "/usr/bin", "/bin"]
`;
}

/** People of the machine, whose servers are units under their own accounts. */
export function ofTheMachine(environment) {
  return `
[auth]
kind = "pam"
[access]
allow_all = true
[spawner]
kind = "systemd"
command = ["${environment}/bin/jupyterhub-singleuser"]
path = ["${environment}/bin", "/usr/local/bin", "/usr/bin", "/bin"]
`;
}
