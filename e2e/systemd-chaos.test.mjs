// Starts and stops of many servers while Lyceum, its broker, D-Bus and systemd are killed or restarted, and the machine is
// rebooted and loses its power: afterwards the hub and the machine agree, nothing is left over, and nobody is locked out.

import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";

import { Chance, newSeed } from "./lib/chance.mjs";
import { Hosted, UNIT, reached } from "./lib/hosted.mjs";
import { scenario } from "./lib/scenario.mjs";
import { until } from "./lib/wait.mjs";

/** How many people start and stop their servers, and how often all of them together. */
const PEOPLE = 10;
const CHANGES = 200;
/** What happens meanwhile, and how often. */
const BLOWS = { lyceum: 6, broker: 8, dbus: 5, manager: 5, reboot: 2, power: 1 };

const BROKER = "lyceum-broker.service";
const PROGRAM = "/usr/local/bin/little-server";
const names = Array.from({ length: PEOPLE }, (_, index) => `student${String(index + 1).padStart(2, "0")}`);
/** Somebody whose server nobody touches: only a boot of the machine may end it. */
const WITNESS = "witness";
const everybody = [...names, WITNESS];

const seed = newSeed();

const configuration = (ports) => `${reached(ports)}
[auth]
kind = "pam"
[access]
allow_all = true
admin_users = ["${WITNESS}"]
[spawner]
kind = "systemd"
command = ["${PROGRAM}"]
socket = "unix"
stop_timeout = "2s"
`;

scenario(`nothing is lost or left over, whatever ends while servers start and stop (seed ${seed})`, async ({ step, host: boot }) => {
  const chance = new Chance(seed);
  const host = await step("boot a host", () => boot());
  const hub = await step("install and start", async () => {
    await host.addUsers(everybody, "a password of PAM");
    await host.put(fileURLToPath(new URL("./lib/little-server.py", import.meta.url)), PROGRAM, "755");
    const installed = await Hosted.install(host, configuration);
    await host.run("systemctl", "enable", "--now", "lyceum-broker.socket");
    await installed.start();
    return installed;
  });
  const people = everybody.map((name) => hub.person(name, "a password of PAM"));
  const witness = people.at(-1);
  await step("log in", () => Promise.all(people.map((person) => person.mustLogIn())));
  await step("one starts a server that nobody touches", () => witness.startServer());

  const story = new Story(host, hub, witness, chance);
  await step(`${CHANGES} starts and stops, and ${story.blows.size} blows between them`, async () => {
    await Promise.all(people.slice(0, PEOPLE).map((person) => story.live(person)));
    await story.blow;
  });
  await step("quiet returns: the hub's servers are the machine's", () => agree(host, witness));
  await step("what Lyceum has written down is the same", async () => {
    const before = await activeServers(witness);
    const pid = await hub.pid();
    await host.run("systemctl", "kill", "--signal=KILL", "--kill-whom=main", UNIT);
    await hub.comesBack(pid);
    assert.deepEqual(await agree(host, witness), before);
  });
  await step("each server that runs answers", async () => {
    for (const name of await activeServers(witness)) {
      const answer = await witness.send("GET", `/user/${name}/api`);
      assert.equal(answer.status, 200, `${name}: ${answer.body}`);
    }
  });
  await step("everybody can stop, and start again, and stop", async () => {
    await Promise.all(people.map(async (person) => {
      await person.stopServer();
      await person.startServer();
      assert.equal((await witness.send("GET", `${person.base()}api`)).status, 200);
    }));
    assert.deepEqual(await agree(host, witness), everybody);
    await Promise.all(people.map((person) => person.stopServer()));
    assert.deepEqual(await agree(host, witness), []);
  });
}, 8 * 60_000);

/** What people and chance do to a host. */
class Story {
  /** How many changes were begun. */
  changes = 0;
  /** The blow that is being dealt: they come one after the other. */
  blow = Promise.resolve();
  /** How many are due and not yet begun: meanwhile nobody goes on, so that each falls among changes. */
  due = 0;

  constructor(host, hub, witness, chance) {
    this.host = host;
    this.hub = hub;
    this.witness = witness;
    this.chance = chance;
    const kinds = Object.entries(BLOWS).flatMap(([kind, count]) => Array.from({ length: count }, () => kind));
    const moments = chance.shuffle(Array.from({ length: CHANGES - PEOPLE }, (_, index) => index + 1));
    /** What happens when how many changes were begun. */
    this.blows = new Map(kinds.map((kind, index) => [moments[index], kind]));
  }

  /** One person starts and stops, and does not always wait for what becomes of it. */
  async live(person) {
    while (this.changes < CHANGES) {
      if (this.due > 0) {
        await this.blow;
        continue;
      }
      this.changes += 1;
      const kind = this.blows.get(this.changes);
      const [start, patient, pause] = [this.chance.in(55), this.chance.in(70), this.chance.below(300)];
      if (kind) {
        this.due += 1;
        this.blow = this.blow.then(() => this.deal(kind, pause));
      }
      await asked(person, start);
      if (patient) await settled(person);
    }
  }

  async deal(kind, pause) {
    this.due -= 1;
    // At any moment of what has just been begun.
    await new Promise((done) => setTimeout(done, pause));
    if (kind === "reboot") return this.bootAgain(() => this.host.reboot());
    if (kind === "power") return this.bootAgain(() => this.host.crash());
    const before = await this.witnessed();
    if (kind === "lyceum") {
      const pid = await this.hub.pid();
      await this.host.attempt("systemctl", "kill", "--signal=KILL", "--kill-whom=main", UNIT);
      await this.hub.comesBack(pid);
    } else if (kind === "broker") {
      const killed = async () => (await this.host.attempt("systemctl", "kill", "--signal=KILL", "--kill-whom=main", BROKER)).status === 0;
      await until("there is a broker to kill", killed, 30_000, 50);
    } else if (kind === "dbus") {
      await this.host.run("systemctl", "restart", "dbus.service");
    } else {
      await this.host.run("systemctl", "daemon-reexec");
    }
    assert.equal(await this.witnessed(), before, `the server of ${WITNESS} is another one after this: ${kind}`);
  }

  async bootAgain(how) {
    await how();
    await until("lyceum is back", async () => (await this.hub.get()).status === 200, 60_000, 100);
    await settled(this.witness);
    await asked(this.witness, true);
    await until(`the server of ${WITNESS} runs again`, async () => (await activeServers(this.witness)).includes(WITNESS), 60_000, 100);
  }

  /** The untouched server: its process tells of itself. */
  async witnessed() {
    const answers = async () => {
      const answer = await this.witness.send("GET", `/user/${WITNESS}/api`);
      return answer.status === 200 && answer.body;
    };
    return until(`the server of ${WITNESS} answers`, answers, 60_000, 100);
  }
}

/** Asks for a start or a stop until the hub has taken it; what runs already, or does not run, is as good. */
function asked(person, start) {
  const path = `/users/${person.name}/server`;
  return until(`${person.name} may ${start ? "start" : "stop"} a server`, async () => {
    const { status, json } = await person.api(start ? "POST" : "DELETE", path);
    if (status < 300 || status === 400 || status === 404) return true;
    throw new Error(`${status} ${JSON.stringify(json)}`);
  }, 90_000, 100);
}

/** Waits until a person's server neither starts nor stops. */
function settled(person) {
  return until(`the server of ${person.name} is neither starting nor stopping`, async () => {
    const { status, json } = await person.api("GET", `/users/${person.name}`);
    return status === 200 && Object.values(json.servers).every((server) => !server.pending);
  }, 90_000, 100);
}

/** Whose servers run, as the hub has it. */
async function activeServers(admin) {
  const { status, json } = await admin.api("GET", "/users?state=active");
  assert.equal(status, 200);
  for (const { name, servers } of json) {
    const states = Object.values(servers).map(({ ready, pending }) => `${ready} ${pending}`);
    assert.deepEqual(states, ["true null"], name);
  }
  return json.map(({ name }) => name).sort();
}

/** Waits until hub and machine agree, and gives whose servers run; fails if they do not come to agree. */
async function agree(host, admin) {
  const look = async () => {
    const active = await activeServers(admin);
    const units = active.map((name) => `lyceum-${name}.service`);
    const all = await host.run("systemctl", "list-units", "--all", "--plain", "--no-legend", "lyceum-*.service");
    const listed = all.trim().split("\n").map((line) => line.split(/\s+/)).filter(([unit]) => unit && unit !== BROKER);
    assert.deepEqual(listed.map(([unit, load, state, sub]) => `${unit} ${load} ${state} ${sub}`), units.map((unit) => `${unit} loaded active running`));
    const processes = (await host.processes()).filter(({ user }) => everybody.includes(user));
    const astray = processes.filter(({ user, unit }) => unit !== `lyceum-${user}.service`);
    assert.deepEqual(astray, []);
    // Whom a killed broker has left, ends by itself.
    assert.ok((await host.processes()).filter(({ unit }) => unit === BROKER).length <= 1, "the broker has one process");
    assert.deepEqual([...new Set(processes.map(({ user }) => user))].sort(), active);
    const folders = async (path) => (await host.run("ls", "-A", path)).split("\n").filter(Boolean);
    // What is hidden is the program's own.
    const shown = (await folders("/run/lyceum-servers")).filter((name) => !name.startsWith("."));
    assert.deepEqual(shown, active.map((name) => `lyceum-${name}`));
    const records = await host.shell(`cd /run/lyceum-broker/servers; grep -L '"exit":[^n]' *.json || true`);
    assert.deepEqual(records.split("\n").filter(Boolean).sort(), active.map((name) => `lyceum-${name}.json`));
    assert.deepEqual(await folders("/run/lyceum-broker/environments"), []);
    assert.deepEqual((await folders("/run/lyceum-broker/servers")).filter((name) => !/^lyceum-[a-z0-9]+\.json$/.test(name)), []);
    const failed = await host.run("systemctl", "--failed", "--plain", "--no-legend", "--no-pager");
    assert.ok(!failed.includes("lyceum"), failed);
    return { active };
  };
  let last;
  const agreed = async () => look().catch((error) => {
    last = error;
  });
  try {
    return (await until("hub and machine agree", agreed, 45_000, 500)).active;
  } catch {
    throw last;
  }
}
