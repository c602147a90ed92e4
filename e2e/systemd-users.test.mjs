// A class on a machine with systemd: everybody logs in with the password of the machine, works under the own account, and
// is kept from everybody else.

import assert from "node:assert/strict";

import { foldersOf } from "./lib/host.mjs";
import { Hosted, UNIT, ofTheMachine, reached } from "./lib/hosted.mjs";
import { scenario } from "./lib/scenario.mjs";
import { environmentOfVersion } from "./lib/serve.mjs";
import { spyOn } from "./lib/spy.mjs";
import { until } from "./lib/wait.mjs";

/** How many people come at once. */
const CLASS = 20;
const names = Array.from({ length: CLASS }, (_, index) => `student${String(index + 1).padStart(2, "0")}`);
const passwordOf = (name) => `the password of ${name}`;

scenario("a class works under its own accounts, each kept from all others", async ({ step, host: boot }) => {
  const environment = environmentOfVersion("6.1");
  const host = await step("boot a host", () => boot({ folders: foldersOf(environment) }));
  await step("make the accounts", async () => {
    await host.addUsers(names, passwordOf);
    await host.shell(names.map((name) => `echo 'of ${name}' > /home/${name}/secret.txt; chown ${name}: /home/${name}/secret.txt; chmod 644 /home/${name}/secret.txt`).join("\n"));
    await host.addUsers(["teacher"], "a teacher's password");
  });
  const more = `
[limits]
memory = "600M"
tasks = 200
cpu = 1.5
[limits.total]
tasks = 8000
`;
  const hub = await step("install and start", async () => {
    const installed = await Hosted.install(host, (ports) => reached(ports) + ofTheMachine(environment) + more);
    await host.run("systemctl", "enable", "--now", "lyceum-broker.socket");
    await installed.start();
    return installed;
  });

  await step("a wrong password, a closed account and root are refused", async () => {
    assert.equal((await hub.person("student01", "wrong").logIn()).status, 403);
    await host.run("chage", "--expiredate", "2020-01-01", "teacher");
    const closed = await hub.person("teacher", "a teacher's password").logIn();
    assert.equal(closed.status, 403);
    assert.match(closed.body, /expired|locked|closed/i);
    await host.run("chage", "--expiredate", "-1", "teacher");
    await host.shell("echo 'root:a password of root' | chpasswd");
    assert.equal((await hub.person("root", "a password of root").logIn()).status, 403);
  });

  const people = names.map((name) => hub.person(name, passwordOf(name)));
  await step(`${CLASS} people log in at once`, () => Promise.all(people.map((person) => person.mustLogIn())));
  await step(`${CLASS} servers start at once, and each runs a cell under its own account`, async () => {
    const uids = Object.fromEntries(await Promise.all(names.map(async (name) => [name, (await host.run("id", "-u", name)).trim()])));
    const printed = await Promise.all(people.map((person) => person.compute("import os; print(os.getuid(), os.environ['HOME'], open('secret.txt').read().strip())")));
    names.forEach((name, index) => assert.equal(printed[index], `${uids[name]} /home/${name} of ${name}`));
  });

  await step("nobody sees anything of others", async () => {
    const sockets = (await host.run("find", "/run/lyceum-servers", "-type", "s", "-printf", "%P\\n")).trim().split("\n");
    assert.equal(sockets.length, CLASS, sockets.join(" "));
    const spy = spyOn(sockets);
    for (const person of [people[0], people[CLASS - 1]]) {
      const kernel = await person.startKernel();
      try {
        assert.equal(await kernel.run(spy), "nothing");
      } finally {
        kernel.close();
      }
    }
  });

  await step("the administrator sees servers as units, with their limits, their logs and what they use", async () => {
    const units = await host.run("systemctl", "list-units", "--no-legend", "--plain", "lyceum-student*.service");
    assert.equal(units.trim().split("\n").length, CLASS);
    const unit = await host.unit("lyceum-student01.service", "User", "Slice", "MemoryMax", "TasksMax", "CPUQuotaPerSecUSec", "NoNewPrivileges", "PrivateTmp", "Environment", "OOMPolicy");
    assert.equal(unit.MemoryMax, String(600 * 1024 * 1024));
    assert.equal(unit.TasksMax, "200");
    assert.match(unit.CPUQuotaPerSecUSec, /^1\.50*s$/);
    assert.equal(unit.Slice, "lyceum-servers.slice");
    assert.deepEqual([unit.NoNewPrivileges, unit.PrivateTmp, unit.OOMPolicy], ["yes", "yes", "continue"]);
    assert.ok(!unit.Environment?.includes("TOKEN"), unit.Environment);
    assert.equal((await host.unit("lyceum-servers.slice", "TasksMax")).TasksMax, "8000");
    const log = await host.run("journalctl", "--no-pager", "--unit=lyceum-student01.service");
    assert.match(log, /jupyter|ServerApp/i);
    assert.match(await host.run("systemd-cgtop", "--batch", "--iterations=1", "--depth=4"), /lyceum-servers\.slice/);
    const { stdout } = await host.attempt("lyceum", "audit", "--json", "--kind", "login", "--limit", "100");
    assert.equal(stdout.trim().split("\n").filter((line) => line.includes('"login"')).length, CLASS);
  });

  const [victim, neighbour] = people;
  const memoryKernel = await victim.startKernel();
  await step("a kernel that takes more memory than it may is ended; its server goes on, and its page says so", async () => {
    await Promise.race([
      memoryKernel.run("a = []\nwhile True: a.append(bytearray(b'x' * (16 << 20)))").catch((error) => error),
      until("the kernel is gone", async () => {
        const home = await victim.send("GET", "/hub/home");
        return /memory limit/i.test(home.body);
      }, 120_000, 1000),
    ]);
    const home = async () => /memory limit/i.test((await victim.send("GET", "/hub/home")).body);
    await until("the home page tells of the memory limit", home, 60_000, 1000);
    memoryKernel.close();
    assert.equal((await victim.inServer("GET", "api/status")).status, 200);
    assert.equal((await neighbour.inServer("GET", "api/status")).status, 200);
  });

  await step("a kernel that forks without end hurts its own server only", async () => {
    const kernel = await neighbour.startKernel();
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
    const count = Number(await kernel.run(bomb));
    kernel.close();
    assert.ok(count > 0 && count < 200, String(count));
    assert.equal((await people[2].inServer("GET", "api/status")).status, 200);
    await neighbour.stopServer();
    const left = (await host.processes()).filter((one) => one.user === neighbour.name);
    assert.deepEqual(left, []);
  });

  await step("a full home lets its user in, to delete files", async () => {
    const person = hub.person("teacher", "a teacher's password");
    await host.shell("mount -t tmpfs -o size=4m,uid=$(id -u teacher),gid=$(id -g teacher),mode=700 full /home/teacher");
    await host.runAs("teacher", "sh", "-c", "dd if=/dev/zero of=/home/teacher/big.bin bs=1M count=50 2>/dev/null; dd if=/dev/zero of=/home/teacher/rest bs=1 count=10000 2>/dev/null; true");
    await person.mustLogIn();
    await person.startServer();
    await person.openServer();
    assert.equal((await person.inServer("DELETE", "api/contents/big.bin")).status, 204);
    const kernel = await person.startKernel();
    assert.equal(await kernel.run("open('x', 'w').write('1'); print('fine')"), "fine");
    kernel.close();
  });

  await step("servers outlive Lyceum, the broker and D-Bus, however these end", async () => {
    const kernel = await people[3].startKernel();
    await kernel.run("x = 41");
    const before = await hub.pid();
    await host.run("systemctl", "kill", "--signal=KILL", "--kill-whom=main", UNIT);
    await hub.comesBack(before);
    await host.shell("systemctl kill --signal=KILL --kill-whom=main lyceum-broker.service || true; systemctl restart dbus");
    const person = people[3];
    await until("the server answers", async () => (await person.inServer("GET", "api/status")).status === 200, 60_000, 500);
    kernel.close();
    assert.equal((await people[4].inServer("GET", "api/status")).status, 200);
    await people[5].stopServer();
    await people[5].startServer();
  });
}, 15 * 60_000);
