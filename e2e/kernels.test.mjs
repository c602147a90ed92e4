// Kernels of other environments: a server offers them, they follow a switch, and one that runs keeps what it runs from.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdir, readFile, readdir, rename, rm, symlink, writeFile } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

import { newFolder, program } from "./lib/folders.mjs";
import { Person } from "./lib/person.mjs";
import { scenario } from "./lib/scenario.mjs";
import { environmentOfVersion } from "./lib/serve.mjs";

const run = promisify(execFile);
const sources = resolve(dirname(fileURLToPath(import.meta.url)), "../crates/envs/src/python/tune/singleuser.py");

scenario("a kernel of a second environment runs in JupyterLab's server", async ({ step, serve }) => {
  const envs = await newFolder("kernels");
  const generation = (name, number) => join(envs, "python", name, String(number));
  await step("two environments, the second with two generations", async () => {
    await addGeneration(generation("base", 1));
    await addGeneration(generation("stats", 1));
    await addGeneration(generation("stats", 2));
  });
  const rest = `
[env]
folder = "${envs}"
[env.python.base]
[env.python.stats]
title = "Statistics"
[kernels.stats]
python = "stats"
environment = { COURSE = "2026" }
[kernels.shell]
argv = ["/nonexistent/kernel", "{connection_file}"]
language = "sh"
`;
  const hub = await serve({ environment: generation("base", 1), more: { rest } });
  await step("the command places what can be offered, and says what cannot", async () => {
    const first = await kernels(hub, "write");
    assert.equal(first.code, 1, first.text);
    assert.match(first.text, /stats +Python 3\.\d+ \(Statistics\) +from the environment stats/);
    assert.match(first.text, /shell +not offered: \/nonexistent\/kernel is not there/);
    assert.match((await kernels(hub, "write")).text, /written already/);
  });

  const ada = new Person(hub.url, "ada", "any password");
  await ada.mustLogIn();
  await ada.startServer();
  await ada.openServer();
  await step("the server offers it under a title of its own", async () => {
    const { kernelspecs } = JSON.parse((await ada.inServer("GET", "api/kernelspecs")).body);
    assert.equal(kernelspecs.stats.spec.display_name.replace(/3\.\d+/, "3.x"), "Python 3.x (Statistics)");
    assert.equal(kernelspecs.shell, undefined);
  });

  const where = "import os, sys; x = 6 * 7; print(sys.prefix, os.environ['COURSE'], os.popen('which python').read())";
  const start = async () => {
    const answer = await ada.inServer("POST", "api/kernels", { json: { name: "stats" } });
    assert.equal(answer.status, 201, answer.body);
    return ada.connectKernel(JSON.parse(answer.body).id);
  };
  const old = await start();
  await step("a cell runs in it", async () => {
    assert.equal(await old.run(where), `${generation("stats", 1)} 2026 ${generation("stats", 1)}/bin/python`);
  });
  await step("after a switch new kernels are of the new generation, and the running one stays", async () => {
    const current = join(envs, "python/stats/current");
    await symlink("2", `${current}.new`);
    await rename(`${current}.new`, current);
    const fresh = await start();
    assert.match(await fresh.run(where), new RegExp(`^${generation("stats", 2)} `));
    assert.equal(await old.run("import json.tool; print(x, sys.prefix)"), `42 ${generation("stats", 1)}`);
    fresh.close();
  });
  old.close();
  await ada.stopServer();
  await hub.clean();
  await rm(envs, { recursive: true, force: true });
});

/** Makes a generation from the environment of the tests, with the same files, as one that is built has it. */
async function addGeneration(prefix) {
  const original = environmentOfVersion("6.1");
  await mkdir(dirname(prefix), { recursive: true });
  await run("cp", ["-al", original, prefix]);
  for (const name of await readdir(join(prefix, "bin"))) {
    const path = join(prefix, "bin", name);
    const text = await readFile(path, "latin1");
    if (!text.startsWith(`#!${original}/`)) continue;
    const script = text.replace(original, prefix).replace("from jupyterhub.singleuser import", "from lyceum_singleuser import");
    await rm(path);
    await writeFile(path, script, { encoding: "latin1", mode: 0o755 });
  }
  const [library] = (await readdir(join(prefix, "lib"))).filter((name) => name.startsWith("python3"));
  const module = join(prefix, "lib", library, "site-packages/lyceum_singleuser.py");
  await rm(module, { force: true });
  await writeFile(module, await readFile(sources));
  await symlink(prefix.split("/").at(-1), join(dirname(prefix), "current")).catch(() => {});
}

/** Runs `lyceum env kernels`, and gives its status and what it says. */
async function kernels(hub, verb) {
  const { code, stdout, stderr } = await run(program, ["env", "kernels", verb, "--config", hub.config]).then(
    (done) => ({ code: 0, ...done }),
    (error) => error,
  );
  return { code, text: stdout + stderr };
}
