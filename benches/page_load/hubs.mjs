// The hubs whose page loads are compared: how each is configured, started and ended. Only what was started is ended.

import { spawn } from "node:child_process";
import { createWriteStream } from "node:fs";
import { copyFile, mkdir, readFile, readlink, readdir, rm, writeFile } from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";

import { freePort } from "../../e2e/lib/ports.mjs";
import { listProcesses } from "../../e2e/lib/processes.mjs";
import { until } from "../../e2e/lib/wait.mjs";

const here = dirname(fileURLToPath(import.meta.url));
const root = resolve(here, "../..");
const results = join(root, "target/benches/page_load");
const counter = join(here, "jupyter_server_config.py");

/** Starts a hub of a kind: `chp`, `lyceum`, `demo` or `url`. `options` are those of the command line. */
export async function startHub(kind, options) {
  const Kind = { chp: JupyterHub, lyceum: Lyceum, demo: Demo, url: Running }[kind];
  if (!Kind) throw new Error(`no such variant: ${kind}`);
  const hub = new Kind(kind, options);
  await hub.start();
  return hub;
}

/** A hub with a user who may log in, and a file into which that user's server counts. */
class Hub {
  user = "ada";
  password = "any password";
  /** The environment variables of the user's server. */
  environment = {};

  constructor(kind, options) {
    this.kind = kind;
    this.options = options;
    this.folder = join(results, kind);
    this.count = join(this.folder, "requests.log");
  }

  async start() {
    await this.prepare();
    this.port = await freePort();
    this.url = `http://127.0.0.1:${this.port}`;
    const command = await this.command();
    const log = createWriteStream(join(this.folder, "log"));
    this.process = spawn(command[0], command.slice(1), {
      cwd: this.folder,
      stdio: ["ignore", "pipe", "pipe"],
      env: { ...process.env, ...(await this.variables()) },
    });
    this.process.stdout.pipe(log);
    this.process.stderr.pipe(log);
    this.process.on("error", (error) => (this.ended = error.message));
    this.process.on("exit", (code, signal) => (this.ended = signal ?? `status ${code}`));
    await until(
      `${this.kind} answers`,
      async () => {
        if (this.ended) throw new Error(`it ended (${this.ended}); see ${this.folder}/log`);
        return (await fetch(`${this.url}/hub/health`)).ok;
      },
      this.startLimit ?? 60_000,
    );
  }

  /** Makes its folder anew. */
  async prepare() {
    await rm(this.folder, { recursive: true, force: true });
    await mkdir(join(this.folder, "settings"), { recursive: true });
    await mkdir(join(this.folder, "homes"), { recursive: true });
    await copyFile(counter, join(this.folder, "settings/jupyter_server_config.py"));
    this.environment = { JUPYTER_CONFIG_PATH: join(this.folder, "settings"), PAGE_LOAD_COUNT: this.count };
  }

  async variables() {
    return {};
  }

  /** The requests of browsers that have reached the user's server so far, such as `GET /user/ada/lab`; `undefined` if nobody counts. */
  async reached() {
    const text = await readFile(this.count, "utf8").catch(() => undefined);
    const lines = text?.split("\n").map((line) => line.split(" "));
    return lines?.filter(([, who]) => who === "browser").map(([, , method, path]) => `${method} ${path}`);
  }

  /** The seconds of processor time that the hub and its proxy have used, and those of the user's server. */
  async processorTime() {
    if (!this.process) return undefined;
    let [own, server] = [0, 0];
    for (const pid of await this.tree()) {
      const stat = await readFile(`/proc/${pid}/stat`, "utf8").catch(() => undefined);
      if (!stat) continue;
      const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
      const seconds = (Number(fields[11]) + Number(fields[12])) / 100;
      const command = await readFile(`/proc/${pid}/cmdline`, "utf8").catch(() => "");
      if (/singleuser|ipykernel/.test(command)) server += seconds;
      else own += seconds;
    }
    return { own, server };
  }

  async end() {
    if (!this.process || this.ended) return;
    const all = await this.tree();
    this.process.kill("SIGINT");
    await until(`${this.kind} ends`, () => this.ended, 20_000).catch(() => {});
    for (const pid of all) {
      try {
        process.kill(pid, "SIGKILL");
      } catch {
        // Gone meanwhile.
      }
    }
  }

  /** The hub's process and all that came from it, also what has left for a session of its own. */
  async tree() {
    const found = [this.process.pid];
    const all = await listProcesses();
    for (const pid of found) found.push(...all.filter(({ parent }) => parent === pid).map((one) => one.pid));
    for (const { pid } of all) {
      const cwd = await readlink(`/proc/${pid}/cwd`).catch(() => "");
      if (cwd.startsWith(`${this.folder}/`) && !found.includes(pid)) found.push(pid);
    }
    return found;
  }
}

/** JupyterHub behind configurable-http-proxy. */
class JupyterHub extends Hub {
  startLimit = 120_000;

  async command() {
    const [api, proxy] = [await freePort(), await freePort()];
    const config = join(this.folder, "jupyterhub_config.py");
    const root = process.getuid() === 0 ? ', "--allow-root"' : "";
    await writeFile(
      config,
      `
c.JupyterHub.bind_url = "${this.url}"
c.JupyterHub.hub_bind_url = "http://127.0.0.1:${api}"
c.ConfigurableHTTPProxy.api_url = "http://127.0.0.1:${proxy}"
c.ConfigurableHTTPProxy.command = ["${this.options.proxy}"]
c.JupyterHub.authenticator_class = "dummy"
c.Authenticator.allow_all = True
c.JupyterHub.spawner_class = "simple"
c.SimpleLocalProcessSpawner.home_dir_template = "${this.folder}/homes/{username}"
c.Spawner.cmd = ["${this.options.environment}/bin/jupyterhub-singleuser"${root}]
c.Spawner.environment = ${JSON.stringify(this.environment)}
c.Spawner.http_timeout = 60
c.JupyterHub.db_url = "sqlite:///${this.folder}/jupyterhub.sqlite"
c.JupyterHub.cookie_secret_file = "${this.folder}/cookie_secret"
c.JupyterHub.log_level = "WARN"
`,
    );
    return [this.options.jupyterhub, "-f", config];
  }

  async variables() {
    return { PATH: `${this.options.environment}/bin:${process.env.PATH}` };
  }
}

/** `lyceum serve`, with the same environment for users' servers as JupyterHub has. */
class Lyceum extends Hub {
  async start() {
    await super.start();
    // Compressed once for each environment; what is measured is all the time after that.
    const isDone = async () => (await readFile(join(this.folder, "log"), "utf8")).includes("compressed as far as");
    await until("static files are compressed", isDone, 240_000);
  }

  async command() {
    const config = join(this.folder, "lyceum.toml");
    const bin = `${this.options.environment}/bin`;
    const variables = Object.entries(this.environment).map(([name, value]) => `${name} = "${value}"`);
    await writeFile(
      config,
      `
root = "${this.folder}/homes"
[hub]
data_dir = "${this.folder}/data"
runtime_dir = "${this.folder}/run"
api_listen = "127.0.0.1:0"
[gateway]
listen = ["127.0.0.1:${this.port}"]
[auth]
kind = "dummy"
[access]
allow_all = true
[spawner]
kind = "process"
command = ["${bin}/jupyterhub-singleuser"]
path = ["${bin}", "/usr/local/bin", "/usr/bin", "/bin"]
environment = { ${variables.join(", ")} }
${this.options.config ?? ""}
`,
    );
    return [this.options.program, "serve", "--config", config];
  }
}

/** `lyceum demo`: all that it prepares is its own, so that versions may differ from the others'. */
class Demo extends Hub {
  startLimit = 600_000;

  async prepare() {
    await super.prepare();
    this.environments = join(results, "demo-envs");
    await mkdir(this.environments, { recursive: true });
    const { userInfo } = await import("node:os");
    this.user = userInfo().username;
    this.password = "correct horse battery";
  }

  async command() {
    const data = join(this.folder, "data");
    const { symlink } = await import("node:fs/promises");
    await mkdir(data);
    await symlink(this.environments, join(data, "envs"));
    return [this.options.program, "demo", "--port", String(this.port), "--data-dir", data];
  }

  async variables() {
    return { LYCEUM_DEMO_PASSWORD: this.password };
  }

  async start() {
    await super.start();
    // Its server's variables are not ours to set, but it looks for settings in its environment, too.
    const settings = join(this.environments, "python/base/current/etc/jupyter");
    await mkdir(settings, { recursive: true });
    const text = await readFile(counter, "utf8");
    const named = text.replace(/^NAME = .*$/m, () => `NAME = ${JSON.stringify(this.count)}`);
    await writeFile(join(settings, "jupyter_server_config.py"), named);
  }
}

/** A hub that runs already; nobody counts at its user's server unless `--count` names the file. */
class Running extends Hub {
  async start() {
    this.url = this.options.url.replace(/\/$/, "");
    this.user = this.options.user ?? this.user;
    this.password = this.options.password ?? this.password;
    this.count = this.options.count ?? join(this.folder, "nobody-counts");
  }

  async end() {}
}

/** Names the versions of what serves, for the head of a report. */
export async function versions(environment) {
  const folder = join(environment, "lib");
  const python = (await readdir(folder)).find((name) => name.startsWith("python3"));
  const packages = await readdir(join(folder, python, "site-packages"));
  const wanted = /^(jupyterhub|jupyterlab|jupyter_server|notebook|ipykernel)-([\d.]+)\.dist-info$/;
  const found = packages.map((name) => wanted.exec(basename(name))).filter(Boolean);
  return found.map(([, name, version]) => `${name} ${version}`).join(", ");
}
