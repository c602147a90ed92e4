// Starts `lyceum serve` with a configuration of its own, as an administrator would write it.

import { existsSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { Demo } from "./demo.mjs";
import { newFolder } from "./folders.mjs";
import { freePort } from "./ports.mjs";
import { Final, until } from "./wait.mjs";

/**
 * The Python environments with the `jupyterhub-singleuser` of several versions of JupyterHub, by version; see
 * `cargo xtask test`, which makes them.
 */
export function environmentOfVersion(version) {
  const names = { "6.1": "LYCEUM_TEST_PYENV", "5.4": "LYCEUM_TEST_PYENV_54", "4.1": "LYCEUM_TEST_PYENV_41" };
  const folder = process.env[names[version]];
  if (!folder || !existsSync(join(folder, "bin/jupyterhub-singleuser"))) {
    throw new Error(`${names[version]} must name a Python environment with jupyterhub==${version}.* and jupyterlab`);
  }
  return folder;
}

/** What `[spawner]` says of an environment that is not one of `[env]`. */
const from = (environment) => `command = ["${environment}/bin/jupyterhub-singleuser"]
path = ["${environment}/bin", "/usr/local/bin", "/usr/bin", "/bin"]`;

/** The Python environment with nbgrader. */
export function environmentWithNbgrader() {
  const folder = process.env.LYCEUM_TEST_PYENV_NBGRADER;
  if (!folder || !existsSync(join(folder, "bin/nbgrader"))) {
    throw new Error("LYCEUM_TEST_PYENV_NBGRADER must name a Python environment with nbgrader; `cargo xtask envs` makes it");
  }
  return folder;
}

/** A `lyceum serve` where everybody may log in, with any password; root is an administrator. */
export class Serve extends Demo {
  /**
   * Starts it with users' servers from a Python environment, or from those that `more.rest` describes. `spawner` is added
   * to that section, `more.hub` to `[hub]`, `more.gateway` to `[gateway]`, and `more.rest` to the end of the configuration.
   */
  static async start(name, { environment, more = {}, spawner = "" }) {
    const folder = await newFolder(name);
    const port = await freePort();
    const serve = new Serve(folder, port, "any password");
    serve.user = "ada";
    // The paths of sockets must be short.
    serve.runtime = await mkdtemp(join(tmpdir(), "lyceum-"));
    serve.config = join(folder, "lyceum.toml");
    await writeFile(
      serve.config,
      `
[hub]
data_dir = "${folder}/data"
runtime_dir = "${serve.runtime}"
api_listen = "127.0.0.1:0"
named_servers = true
${more.hub ?? ""}
[gateway]
listen = ["127.0.0.1:${port}"]
${more.gateway ?? ""}
[auth]
kind = "dummy"
[access]
allow_all = true
admin_users = ["root"]
[spawner]
kind = "process"
${environment ? from(environment) : ""}
${spawner}
${more.rest ?? ""}
`,
    );
    await serve.start();
    return serve;
  }

  arguments() {
    return ["serve", "--config", this.config];
  }

  async clean() {
    await super.clean();
    await rm(this.runtime, { recursive: true, force: true });
  }

  async start() {
    const begun = Date.now();
    this.output = "";
    this.spawn();
    this.url = `http://127.0.0.1:${this.port}`;
    await until(
      "lyceum serve answers",
      async () => {
        if (this.ended) throw new Final(`lyceum serve ended (${this.ended}):\n${this.output}`);
        return (await fetch(`${this.url}/hub/health`).catch(() => ({ ok: false }))).ok;
      },
      30_000,
      10,
    );
    this.startedIn = Date.now() - begun;
  }
}
