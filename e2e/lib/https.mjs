// A `lyceum serve` with HTTPS, and what looks at it: TLS connections, browsers that trust an authority.

import { execFile } from "node:child_process";
import { mkdir, mkdtemp, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect } from "node:tls";
import { promisify } from "node:util";

import { startBrowser } from "./browser.mjs";
import { newFolder, program } from "./folders.mjs";
import { freePorts } from "./ports.mjs";
import { ask } from "./proxies.mjs";
import { Serve } from "./serve.mjs";
import { Final, until, within } from "./wait.mjs";

const run = promisify(execFile);

/** The name of the server in these tests; it leads nowhere but where tests send it. */
export const NAME = "jupyter.example.org";

/** The ports of a server: `{ http, tls }`. */
export async function choosePorts() {
  const [http, tls] = await freePorts(2);
  return { http, tls };
}

/** A `lyceum serve` with HTTPS, on this machine's addresses of both kinds. */
export class Secure extends Serve {
  /**
   * Starts it at `ports`, as `tls` says: the lines of `[tls]` and of the sections below it. `gateway` is added to that
   * section, and `rest` to the end of the configuration.
   */
  static async start(name, { ports, environment = "/nowhere", tls, gateway = "", rest = "" }) {
    const folder = await newFolder(name);
    const secure = new Secure(folder, ports.tls, "any password");
    secure.ports = ports;
    secure.user = "ada";
    secure.runtime = await mkdtemp(join(tmpdir(), "lyceum-"));
    secure.config = join(folder, "lyceum.toml");
    const both = (port) => `["127.0.0.1:${port}", "[::1]:${port}"]`;
    await writeFile(
      secure.config,
      `
[hub]
data_dir = "${folder}/data"
runtime_dir = "${secure.runtime}"
api_listen = "127.0.0.1:0"
[gateway]
listen = ${both(ports.http)}
listen_tls = ${both(ports.tls)}
${gateway}
[auth]
kind = "dummy"
[access]
allow_all = true
admin_users = ["root"]
[metrics]
authenticate = false
[spawner]
kind = "process"
command = ["${environment}/bin/jupyterhub-singleuser"]
path = ["${environment}/bin", "/usr/local/bin", "/usr/bin", "/bin"]
[tls]
${tls}
${rest}
`,
    );
    await secure.start();
    return secure;
  }

  /** Starts it, and waits until it shows a certificate, whichever. */
  async start() {
    const begun = Date.now();
    this.output = "";
    this.spawn();
    this.url = `https://${NAME}:${this.ports.tls}`;
    this.plainUrl = `http://${NAME}:${this.ports.http}`;
    const answers = async () => {
      if (this.ended) throw new Final(`lyceum serve ended (${this.ended}):\n${this.output}`);
      return (await this.get("/hub/health")).status === 200;
    };
    await until("lyceum serve answers by https", answers, 30_000, 20);
    this.startedIn = Date.now() - begun;
  }

  /** Asks by https, whoever vouches for the certificate. `options` are those of a request. */
  get(path, options = {}) {
    const { headers = {}, servername = NAME, ...rest } = options;
    const asked = { https: true, port: this.ports.tls, rejectUnauthorized: false, servername, path, ...rest };
    return ask({ ...asked, headers: { host: `${servername}:${this.ports.tls}`, ...headers } }, undefined, 10_000);
  }

  /** Asks by http. */
  plain(path, options = {}) {
    return ask({ port: this.ports.http, path, headers: { host: `${NAME}:${this.ports.http}` }, ...options });
  }

  /** Says `lyceum cert …`, and gives what it prints; fails as that does. */
  async cert(...words) {
    const [command, ...others] = words;
    const options = ["cert", command, "--config", this.config, ...others];
    try {
      return (await run(program, options, { timeout: 60_000 })).stdout;
    } catch (error) {
      throw new Error(`lyceum cert ${words.join(" ")}: ${error.stdout}${error.stderr}`, { cause: error });
    }
  }

  /** How the certificates are, by their names in commands, whether that is good or bad. */
  async certificates() {
    const options = ["cert", "status", "--json", "--config", this.config];
    const { stdout } = await run(program, options, { timeout: 30_000 }).catch((error) => error);
    const { certificates } = JSON.parse(stdout);
    return Object.fromEntries(certificates.map((one) => [one.id, one]));
  }

  /** A number among its metrics. */
  async metric(name, certificate) {
    const { body } = await this.get("/hub/metrics");
    const line = body.split("\n").find((text) => text.startsWith(`${name}{certificate="${certificate}"}`));
    return line && Number(line.split(" ").at(-1));
  }

  /** Opens a TLS connection; gives the socket after the handshake. `options` are those of `tls.connect`. */
  connect(options = {}) {
    const opening = new Promise((done, fail) => {
      const usual = { host: "127.0.0.1", port: this.ports.tls, servername: NAME, rejectUnauthorized: false };
      const socket = connect({ ALPNProtocols: ["http/1.1"], ...usual, ...options }, () => done(socket));
      socket.once("error", fail);
    });
    return within("a TLS connection", opening, 20_000);
  }

  /** The certificate that visitors are shown who ask for a name. */
  async shown(servername = NAME) {
    const socket = await this.connect({ servername });
    const certificate = socket.getPeerCertificate();
    socket.destroy();
    return certificate;
  }
}

/** Starts a browser for which all names of tests are this machine, and that trusts `roots` (PEM) beside the usual ones. */
export async function startTrusting(roots = []) {
  const home = await newFolder("browser");
  const database = join(home, ".pki/nssdb");
  await mkdir(database, { recursive: true });
  await certutil("-N", "-d", `sql:${database}`, "--empty-password");
  for (const [number, root] of roots.entries()) {
    const file = join(home, `root-${number}.pem`);
    await writeFile(file, root);
    await certutil("-A", "-d", `sql:${database}`, "-t", "C,,", "-n", `root-${number}`, "-i", file);
  }
  return startBrowser({ home, args: ["--host-resolver-rules=MAP *.example.org 127.0.0.1"] });
}

async function certutil(...words) {
  try {
    await run("certutil", words);
  } catch (error) {
    throw new Error(`certutil is needed (apt install libnss3-tools): ${error.stderr ?? error.message}`, { cause: error });
  }
}
