// People of a machine without systemd: they log in with the password of the machine, and work under their own accounts, with
// limits, each kept from all others.

import assert from "node:assert/strict";

import { ByHand } from "./lib/by-hand.mjs";
import { foldersOf } from "./lib/host.mjs";
import { scenario } from "./lib/scenario.mjs";
import { environmentOfVersion } from "./lib/serve.mjs";
import { spyOn } from "./lib/spy.mjs";
import { until } from "./lib/wait.mjs";

const names = ["ada", "bob", "eve"];
const passwordOf = (name) => `the password of ${name}`;
const configuration = (environment) => `
[auth]
kind = "pam"
[access]
allow_all = true
[spawner]
kind = "process"
run_as = "user"
command = ["${environment}/bin/jupyterhub-singleuser"]
path = ["${environment}/bin", "/usr/local/bin", "/usr/bin", "/bin"]
stop_timeout = "5s"
[limits]
memory = "400M"
tasks = 150
[limits.groups.lecturers]
named_servers = 1
[profiles.ordinary]
default = true
[profiles.large]
groups = ["lecturers"]
memory = "700M"
`;

scenario("without systemd, too, people work under their own accounts, with limits, and outlive a crash", async ({ step, host: boot }) => {
  const environment = environmentOfVersion("6.1");
  const host = await step("start a machine without systemd", () => boot({ bare: true, folders: foldersOf(environment) }));
  await step("there is no systemd, and no D-Bus", async () => {
    assert.equal((await host.attempt("test", "-e", "/run/systemd")).status, 1);
    assert.deepEqual((await host.processes()).filter(({ command }) => /systemd|dbus/.test(command)), []);
  });
  const hub = await step("install and start", async () => {
    await host.addUsers(names, passwordOf);
    await host.shell(names.map((name) => `echo 'of ${name}' > /home/${name}/secret.txt; chown ${name}: /home/${name}/secret.txt`).join("\n"));
    const installed = await ByHand.install(host, configuration(environment));
    await installed.start();
    return installed;
  });

  const people = names.map((name) => hub.person(name, passwordOf(name)));
  const [ada, bob, eve] = people;
  await step("passwords are those of the machine", async () => {
    assert.equal((await hub.person("ada", "wrong").logIn()).status, 403);
    await Promise.all(people.map((person) => person.mustLogIn()));
  });
  await step("each runs a cell under the own account", async () => {
    const printed = await Promise.all(people.map((person) => person.compute("import os; print(os.getuid(), os.environ['HOME'], open('secret.txt').read().strip())")));
    for (const [index, name] of names.entries()) {
      assert.equal(printed[index], `${(await host.run("id", "-u", name)).trim()} /home/${name} of ${name}`);
    }
  });
  await step("nobody sees anything of others", async () => {
    const sockets = (await host.run("find", "/run/lyceum-servers", "-type", "s", "-printf", "%P\\n")).trim().split("\n");
    assert.equal(sockets.length, names.length, sockets.join(" "));
    assert.equal(await runs(eve, spyOn(sockets)), "nothing");
  });

  await step("a group of the machine opens what is configured for it, from the next login on, and as long as the machine knows it", async () => {
    await eve.stopServer();
    const large = { profile: "large" };
    const change = (option) => host.run("gpasswd", option, "eve", "lecturers");
    const logInAgain = () => {
      eve.cookies = [];
      return eve.mustLogIn();
    };
    await host.run("groupadd", "lecturers");
    await change("--add");
    assert.match(await host.run("getent", "group", "lecturers"), /:eve\n/);
    assert.equal((await eve.api("POST", "/users/eve/server", large)).status, 400);
    assert.equal((await bob.api("PUT", "/users/bob/servers/second")).status, 400);
    await logInAgain();
    assert.match((await eve.go("/hub/spawn")).body, /large/);
    assert.equal((await eve.api("PUT", "/users/eve/servers/second")).status, 201);
    await eve.startServer("", large);
    const limits = "cat /sys/fs/cgroup/memory/lyceum-servers/lyceum-eve/memory.limit_in_bytes 2>/dev/null || cat /sys/fs/cgroup/lyceum-servers/lyceum-eve/memory.max";
    assert.equal((await host.shell(limits)).trim(), String(700 * 1024 * 1024));
    await eve.stopServer();
    await change("--delete");
    const refused = await eve.api("POST", "/users/eve/server", large);
    assert.equal(refused.status, 403);
    assert.match(refused.json.message, /no such profile/i);
    assert.doesNotMatch((await eve.go("/hub/spawn")).body, /value="large" checked/);
    await logInAgain();
    assert.equal((await eve.api("POST", "/users/eve/server", large)).status, 400);
    await eve.startServer();
    await eve.openServer();
  });

  await step("limits are those of control groups", async () => {
    assert.equal(await groupsOf(host, "bob"), await groupsOf(host, "ada"));
    assert.ok((await groupsOf(host, "bob")) > 0);
    const limits = "cat /sys/fs/cgroup/memory/lyceum-servers/lyceum-bob/memory.limit_in_bytes /sys/fs/cgroup/pids/lyceum-servers/lyceum-bob/pids.max";
    const second = "cat /sys/fs/cgroup/lyceum-servers/lyceum-bob/memory.max /sys/fs/cgroup/lyceum-servers/lyceum-bob/pids.max";
    assert.equal(await host.shell(`${limits} 2>/dev/null || ${second}`), `${400 * 1024 * 1024}\n150\n`);
  });
  await step("a kernel that takes more memory than it may is ended; its server goes on, and its page says so", async () => {
    const kernel = await bob.startKernel();
    kernel.run("a = []\nwhile True: a.append(bytearray(b'x' * (16 << 20)))").catch(() => {});
    const told = async () => /memory limit/i.test((await bob.send("GET", "/hub/home")).body);
    await until("the home page tells of the memory limit", told, 60_000, 500);
    kernel.close();
    assert.equal((await bob.inServer("GET", "api/status")).status, 200);
    assert.equal((await ada.inServer("GET", "api/status")).status, 200);
  });
  await step("a kernel that forks without end hurts its own server only", async () => {
    const bomb = `
import os, time
count = 0
try:
    while count < 5000:
        if os.fork() == 0:
            time.sleep(600)
            os._exit(0)
        count += 1
except OSError as error:
    pass
print(count)`;
    const count = Number(await runs(bob, bomb));
    assert.ok(count > 0 && count < 150, String(count));
    assert.equal((await ada.inServer("GET", "api/status")).status, 200);
  });

  await step("servers outlive Lyceum and the broker, and are found again", async () => {
    const kernel = await ada.startKernel();
    await kernel.run("x = 41");
    kernel.close();
    const before = await of(host, "ada");
    await Promise.all([hub.kill("serve"), hub.kill("broker")]);
    assert.deepEqual(await of(host, "ada"), before);
    await hub.start();
    await until("the server answers", async () => (await ada.inServer("GET", "api/status")).status === 200, 30_000, 100);
    assert.deepEqual(await of(host, "ada"), before);
    const again = await ada.connectKernel(kernel.id);
    assert.equal(await again.run("print(x + 1)"), "42");
    again.close();
  });
  await step("the broker alone may end, too", async () => {
    await hub.kill("broker");
    assert.equal((await eve.inServer("GET", "api/status")).status, 200);
    await hub.startBroker();
  });
  await step("a start during which both are killed leaves nothing that nobody knows, and can be made again", async () => {
    await eve.stopServer();
    const start = eve.api("POST", "/users/eve/server").catch(() => {});
    await until("something of the start is there", async () => (await of(host, "eve")).length > 0, 30_000, 5);
    await Promise.all([hub.kill("broker"), hub.kill("serve"), start]);
    await hub.start();
    const over = async () => Object.values((await eve.api("GET", "/users/eve")).json.servers).every(({ pending }) => !pending);
    await until("the start has come to an end", over, 60_000, 100);
    if (Object.keys((await eve.api("GET", "/users/eve")).json.servers).length === 0) {
      assert.deepEqual(await of(host, "eve"), []);
      await eve.startServer();
    }
    await eve.openServer();
  });
  await step("a stop leaves no process", async () => {
    await runs(eve, "import subprocess; subprocess.Popen(['setsid', 'sleep', '3600']); print()");
    await Promise.all(people.map((person) => person.stopServer()));
    for (const name of names) assert.deepEqual(await of(host, name), []);
    assert.equal(await host.run("ls", "/run/lyceum-servers"), "");
    for (const name of names) assert.equal(await groupsOf(host, name), 0);
  });
  await step("after a power cut, the servers that ran are known to be gone, and can be started again", async () => {
    await ada.startServer();
    await host.crash();
    await hub.prepareRun();
    await hub.start();
    const gone = async () => Object.keys((await ada.api("GET", "/users/ada")).json.servers).length === 0;
    await until("the server is known to be gone", gone, 30_000, 100);
    await ada.startServer();
    await ada.openServer();
    await ada.stopServer();
    assert.deepEqual(await of(host, "ada"), []);
  });
}, 5 * 60_000);

/** Runs code in a new kernel of a person whose server runs, and gives what it has printed. */
async function runs(person, code) {
  const kernel = await person.startKernel();
  try {
    return await kernel.run(code);
  } finally {
    kernel.close();
  }
}

/** The processes of an account. */
async function of(host, name) {
  const all = await host.processes();
  return all.filter(({ user }) => user === name).map(({ pid, command }) => `${pid} ${command}`);
}

/** How many control groups there are of an account's server: one in each hierarchy. */
async function groupsOf(host, name) {
  const found = await host.run("find", "/sys/fs/cgroup", "-type", "d", "-name", `lyceum-${name}`);
  return found.split("\n").filter(Boolean).length;
}
