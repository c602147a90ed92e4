// The machines that other tests rely on: several at once, accounts that are kept apart, power cuts, and nothing left over.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { readdir } from "node:fs/promises";
import { fileURLToPath } from "node:url";

import { until } from "./lib/wait.mjs";
import { scenario } from "./lib/scenario.mjs";

const lib = fileURLToPath(new URL("./lib/host.mjs", import.meta.url));

scenario("two hosts know nothing of each other", async ({ host: boot }) => {
  const [one, other] = await Promise.all([boot(), boot()]);
  await Promise.all([one.addUsers(["ada", "bob"], (name) => `a password of ${name}`), other.addUsers(["eve"], "secret words")]);
  assert.equal((await other.attempt("id", "ada")).status, 1);
  assert.equal((await one.attempt("id", "eve")).status, 1);
  assert.ok(!(await one.processes()).some(({ command }) => command.includes(other.name)));

  // Accounts are kept apart as on any machine, and passwords are those of PAM.
  await one.write("/home/ada/notes", "ada's own", "600");
  await one.run("chown", "ada:ada", "/home/ada/notes");
  assert.equal(await one.runAs("ada", "cat", "/home/ada/notes"), "ada's own");
  await assert.rejects(one.runAs("bob", "cat", "/home/ada/notes"), /Permission denied/);
  const check = `import crypt, spwd; hash = spwd.getspnam("bob").sp_pwdp; print(crypt.crypt("a password of bob", hash) == hash)`;
  assert.equal((await one.run("python3", "-W", "ignore", "-c", check)).trim(), "True");

  // Units have cgroups and limits of their own.
  const hungry = ["systemd-run", "--wait", "--quiet", "--collect", "--uid=bob", "--property=MemoryMax=30M"];
  const eat = await one.attempt(...hungry, "python3", "-c", "x = bytearray(300_000_000)");
  assert.notEqual(eat.status, 0);
  assert.equal((await one.attempt(...hungry, "python3", "-c", "x = bytearray(3_000_000)")).status, 0);
});

scenario("a power cut costs what runs, and not what was written", async ({ host: boot }) => {
  const host = await boot();
  await host.write("/root/kept", "kept");
  const boots = async () => (await host.read("/proc/sys/kernel/random/boot_id")).trim();
  const first = await boots();
  const sleeping = host.start("sleep", "1000");
  await until("it sleeps", async () => (await host.processes()).some(({ command }) => command === "sleep 1000"));
  await host.crash();
  assert.ok(!(await host.processes()).some(({ command }) => command === "sleep 1000"));
  assert.equal(await host.read("/root/kept"), "kept");
  const second = await boots();
  assert.notEqual(second, first);
  await host.reboot();
  assert.notEqual(await boots(), second);
  sleeping.kill();
});

scenario("what a killed test leaves is cleaned up by the next one", async ({ host: boot }) => {
  const code = `import { Host } from ${JSON.stringify(lib)}; console.log((await Host.boot()).name); setInterval(() => {}, 1000);`;
  const test = spawn(process.execPath, ["--input-type=module", "--eval", code], { stdio: ["ignore", "pipe", "inherit"] });
  test.stdout.setEncoding("utf8");
  const name = await new Promise((done) => test.stdout.once("data", (text) => done(text.trim())));
  const ended = new Promise((done) => test.once("exit", done));
  assert.ok((await groups()).some((group) => group.includes(name)));
  test.kill("SIGKILL");
  await ended;
  await boot();
  assert.deepEqual((await groups()).filter((group) => group.includes(name)), []);
});

/** The cgroups of hosts on this machine. */
async function groups() {
  const all = [];
  for (const folder of ["/sys/fs/cgroup", ...(await readdir("/sys/fs/cgroup")).map((name) => `/sys/fs/cgroup/${name}`)]) {
    const names = await readdir(folder).catch(() => []);
    all.push(...names.filter((name) => name.startsWith("lyceum-host-")));
  }
  return all;
}
