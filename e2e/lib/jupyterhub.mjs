// A real JupyterHub from PyPI, with the proxy that a test gives it.

import { spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { createWriteStream } from "node:fs";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";

import { freePort } from "./ports.mjs";
import { newFolder } from "./folders.mjs";
import { listProcessesIn } from "./processes.mjs";
import { Final, until, within } from "./wait.mjs";

/** A JupyterHub where everybody may log in with any password, and servers are processes of this user. */
export class JupyterHub {
  output = "";

  /** Prepares one, which `run` starts; `settings` are lines of its configuration, in which `folder` is its own. */
  static async start(name, environment, settings = "", options = {}) {
    const hub = new JupyterHub();
    hub.environment = environment;
    hub.folder = await newFolder(name);
    hub.user = options.user ?? "ada";
    hub.password = "any password";
    hub.port = options.port ?? (await freePort());
    hub.hubPort = await freePort();
    hub.proxyApiPort = options.apiPort ?? (await freePort());
    hub.proxyToken = randomBytes(16).toString("hex");
    hub.token = randomBytes(16).toString("hex");
    hub.scheme = options.scheme ?? "http";
    hub.url = `${hub.scheme}://127.0.0.1:${hub.port}`;
    await writeFile(
      join(hub.folder, "jupyterhub_config.py"),
      `
import os
folder = ${JSON.stringify(hub.folder)}
os.makedirs(os.path.join(folder, "home"), exist_ok=True)
c.JupyterHub.bind_url = "${hub.url}"
c.JupyterHub.hub_bind_url = "http://127.0.0.1:${hub.hubPort}"
c.JupyterHub.db_url = "sqlite:///" + folder + "/jupyterhub.sqlite"
c.JupyterHub.authenticator_class = "dummy"
c.Authenticator.allow_all = True
c.JupyterHub.spawner_class = "simple"
c.SimpleLocalProcessSpawner.home_dir_template = folder + "/home/{username}"
c.Spawner.cmd = ["${environment}/bin/jupyterhub-singleuser"]
# Servers of root, as a test may be run.
c.Spawner.args = ["--allow-root"]
c.Spawner.start_timeout = 120
c.Spawner.http_timeout = 120
c.JupyterHub.cleanup_servers = False
c.JupyterHub.services = [{"name": "test", "api_token": "${hub.token}"}]
c.JupyterHub.load_roles = [{"name": "test", "services": ["test"],
    "scopes": ["admin:users", "admin:servers", "list:users", "read:users:activity", "proxy"]}]
c.ConfigurableHTTPProxy.api_url = "http://127.0.0.1:${hub.proxyApiPort}"
c.ConfigurableHTTPProxy.auth_token = "${hub.proxyToken}"
${settings}
`,
    );
    return hub;
  }

  /** Starts it, and waits until it answers through its proxy. */
  async run() {
    this.ended = undefined;
    this.process = spawn(join(this.environment, "bin/jupyterhub"), ["-f", "jupyterhub_config.py"], {
      cwd: this.folder,
      stdio: ["ignore", "pipe", "pipe"],
      env: { ...process.env, PATH: `${this.environment}/bin:${process.env.PATH}` },
    });
    this.exit = new Promise((done) => {
      this.process.on("exit", (code, signal) => {
        this.ended = signal ?? `status ${code}`;
        done({ code, signal });
      });
    });
    const log = createWriteStream(`${this.folder}.log`, { flags: "a" });
    for (const stream of [this.process.stdout, this.process.stderr]) {
      stream.setEncoding("utf8");
      stream.on("data", (text) => {
        this.output += text;
        log.write(text);
      });
    }
    await until(
      "JupyterHub answers",
      async () => {
        if (this.ended) throw new Final(`jupyterhub ended (${this.ended}):\n${this.output}`);
        return (await fetch(`${this.url}/hub/health`)).ok;
      },
      60_000,
      50,
    );
  }

  /** Asks its API as an administrator. */
  async api(path, method = "GET") {
    const answer = await fetch(`http://127.0.0.1:${this.hubPort}/hub/api${path}`, {
      method,
      headers: { authorization: `token ${this.token}` },
      signal: AbortSignal.timeout(10_000),
    });
    const text = await answer.text();
    if (!answer.ok) throw new Error(`${method} ${path}: ${answer.status} ${text}`);
    return text ? JSON.parse(text) : undefined;
  }

  /** Ends it with a signal, and waits until it has ended. */
  async stop(signal = "SIGTERM") {
    this.process.kill(signal);
    return within("jupyterhub ends", this.exit, 30_000);
  }

  /** Stops servers that are idle for `timeout` seconds, with JupyterHub's own program, until `condition` is met. */
  async cullUntil(timeout, condition) {
    const arguments_ = ["-m", "jupyterhub_idle_culler", `--timeout=${timeout}`, "--cull-every=1"];
    const culler = spawn(join(this.environment, "bin/python"), [...arguments_, `--url=http://127.0.0.1:${this.hubPort}/hub/api`], {
      cwd: this.folder,
      stdio: ["ignore", "ignore", "pipe"],
      env: { ...process.env, JUPYTERHUB_API_TOKEN: this.token },
    });
    let said = "";
    culler.stderr.setEncoding("utf8").on("data", (text) => (said += text));
    try {
      const met = async () => {
        if (culler.exitCode !== null) throw new Final(`the culler has ended:\n${said}`);
        return condition();
      };
      await until("idle servers are stopped", met, 60_000, 200);
    } finally {
      culler.kill("SIGKILL");
    }
  }

  /** Ends it and everything that it has started. */
  async clean() {
    if (this.process && !this.ended) {
      this.process.kill("SIGTERM");
      await within("jupyterhub ends", this.exit, 20_000).catch(() => this.process.kill("SIGKILL"));
    }
    for (const { pid } of await listProcessesIn(this.folder)) {
      try {
        process.kill(pid, "SIGKILL");
      } catch {
        // Gone meanwhile.
      }
    }
  }
}
