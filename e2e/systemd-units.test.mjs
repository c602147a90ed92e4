// Lyceum as a unit of a real systemd: it starts, shows how it is, is kept from what it does not need, and comes back.

import assert from "node:assert/strict";

import { foldersOf, pythonOf } from "./lib/host.mjs";
import { Hosted, NAME, UNIT, reached, shared } from "./lib/hosted.mjs";
import { Kernel } from "./lib/kernel.mjs";
import { scenario } from "./lib/scenario.mjs";
import { freePorts } from "./lib/ports.mjs";
import { environmentOfVersion } from "./lib/serve.mjs";
import { until, within } from "./lib/wait.mjs";

/** The most that `systemd-analyze security` may say, on its scale from 0 to 10. */
const EXPOSURE = 2.0;

/** A service that Lyceum starts itself: tells under which account it runs, and writes a file. */
const SERVICE = `
[[services]]
name = "clock"
url = "http://127.0.0.1:PORT"
kind = "generic"
access = "public"
command = ["python3", "-c", """
import http.server, os, tempfile
class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        with tempfile.NamedTemporaryFile() as file:
            text = f"{os.getuid()} {os.path.dirname(file.name)}".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)
    def log_message(self, *ignored): pass
http.server.HTTPServer(("127.0.0.1", PORT), Answer).serve_forever()
"""]
`;

scenario("the units do under a real systemd what an administrator expects", async ({ step, host: boot }) => {
  const environment = environmentOfVersion("6.1");
  const host = await step("boot a host", () => boot({ folders: foldersOf(environment) }));
  const python = await host.run("python3", "--version");
  assert.ok(python.includes(` ${pythonOf(environment)}.`), `the environment needs Python ${pythonOf(environment)}: ${python}`);

  const [servicePort] = await freePorts(1);
  const service = SERVICE.replaceAll("PORT", String(servicePort));
  const configuration = (ports) => reached(ports) + shared(environment) + service;
  const hub = await step("install", () => Hosted.install(host, configuration));

  await step("systemd finds nothing wrong with the units", async () => {
    const units = (await host.shell("ls /usr/lib/systemd/system/lyceum*")).trim().split("\n");
    assert.ok(units.length >= 6, units.join(" "));
    const { status, stdout, stderr } = await host.attempt("systemd-analyze", "verify", "--man=no", ...units);
    assert.equal(`${status}${stdout}${stderr}`, "0");
  });
  await step(`the exposure is at most ${EXPOSURE}`, async () => {
    const text = await host.run("systemd-analyze", "security", "--no-pager", UNIT);
    const exposure = Number(/exposure level for \S+: ([\d.]+)/.exec(text)?.[1]);
    assert.ok(exposure <= EXPOSURE, text);
  });

  await step("it is started, and says that it is ready", async () => {
    await hub.start();
    const unit = await host.unit(UNIT, "ActiveState", "SubState", "Result", "NRestarts", "WatchdogUSec");
    assert.deepEqual(unit, { WatchdogUSec: "1min", Result: "success", NRestarts: "0", ActiveState: "active", SubState: "running" });
    assert.equal((await hub.get()).status, 200);
  });
  await step("it has no capability, and cannot get one", async () => {
    const status = await host.read(`/proc/${await hub.pid()}/status`);
    for (const kind of ["CapPrm", "CapEff", "CapBnd", "CapAmb"]) assert.match(status, new RegExp(`^${kind}:\\s+0{16}$`, "m"));
    assert.match(status, /^NoNewPrivs:\s+1$/m);
    assert.match(status, /^Seccomp:\s+2$/m);
  });
  await step("the other socket leads to HTTPS, and the administrator sees the certificate", async () => {
    const answer = await fetch(`${hub.plainUrl}/hub/login`, { redirect: "manual" });
    assert.ok([301, 308].includes(answer.status), answer.status);
    assert.match(answer.headers.get("location"), /^https:/);
    const { stdout } = await host.attempt("lyceum", "cert", "status", "--json");
    assert.ok(JSON.stringify(JSON.parse(stdout)).includes(NAME), stdout);
  });
  await step("a service that it starts works", async () => {
    const answer = async () => {
      const got = await hub.get("/services/clock/");
      return got.status === 200 && got.body;
    };
    const [uid, folder] = (await until("the service answers", answer)).split(" ");
    assert.equal(uid, (await host.run("id", "-u", "lyceum")).trim());
    assert.equal(folder, "/tmp");
  });

  const ada = hub.person("ada");
  await step("a wrong password is refused", async () => {
    assert.equal((await hub.person("ada", "a wrong password").logIn()).status, 403);
  });
  const ids = await step("ada logs in and runs a cell", async () => {
    await ada.mustLogIn();
    return ada.compute("import os; print(os.getuid(), os.getppid(), os.getcwd())");
  });
  assert.equal(ids.split(" ")[0], (await host.run("id", "-u", "lyceum")).trim());
  await until("the status tells of it", async () => /StatusText=1 server runs/.test(await host.run("systemctl", "show", UNIT, "--property=StatusText")), 40_000);

  const kernel = await ada.startKernel();
  await step("what runs in the unit can change nothing of the machine", async () => {
    const attempts = `
import os
for path in ["/etc/x", "/usr/x", "/opt/x", "/home/x", "/root/x", "/dev/shm-x", "/sys/x", "/proc/sys/kernel/hostname", "/etc/lyceum/lyceum.toml"]:
    try:
        open(path, "w")
        print("could write", path)
    except OSError as error:
        pass
try:
    print("could list", os.listdir("/home"))
except OSError as error:
    pass
print("tried")`;
    assert.equal(await kernel.run(attempts), "tried");
  });
  await kernel.run("x = 41; _ = open('/tmp/one', 'w').write('1')");

  const goesOn = async (what) => {
    const again = await Kernel.connect(ada, `/user/ada/api/kernels/${kernel.id}/channels`, kernel.id);
    const code = "_ = open('/tmp/two', 'w').write('2'); print(x + 1, open('/tmp/one').read(), os.getppid())";
    assert.equal(await again.run(`import os; ${code}`), `42 1 ${ids.split(" ")[1]}`, what);
    again.close();
  };
  await step("a restart costs neither servers nor logins, and turns nobody away", async () => {
    let over = false;
    let asked = 0;
    const asking = async () => {
      while (!over) {
        const answer = await within("an answer during the restart", hub.get(), 20_000);
        assert.equal(answer.status, 200);
        asked += 1;
      }
    };
    const others = asking();
    await hub.restart();
    over = true;
    await others;
    assert.ok(asked > 0);
    await goesOn("after a restart");
  });
  await step("kill -9 is mended by systemd", async () => {
    const before = await hub.pid();
    await host.run("kill", "-KILL", String(before));
    await hub.comesBack(before);
    await goesOn("after kill -9");
  });
  await step("a Lyceum that hangs is found by the watchdog, and started again", async () => {
    await hub.dropIn(UNIT, "[Service]\nWatchdogSec=2s\n", "watchdog.conf");
    await hub.restart();
    const before = await hub.pid();
    // It lives on as long as nothing is wrong.
    const stamp = (await host.unit(UNIT, "WatchdogTimestampMonotonic")).WatchdogTimestampMonotonic;
    const shown = async () => (await host.unit(UNIT, "WatchdogTimestampMonotonic")).WatchdogTimestampMonotonic !== stamp;
    await until("a sign of life", shown, 5_000);
    assert.equal(await hub.pid(), before);
    await host.run("kill", "-STOP", String(before));
    await hub.comesBack(before);
    await goesOn("after the watchdog");
    await host.run("rm", `/etc/systemd/system/${UNIT}.d/watchdog.conf`);
    await host.run("systemctl", "daemon-reload");
    await hub.restart();
  });
  kernel.close();

  await step("the journal has one entry for each event, with fields", async () => {
    const entries = await host.journal(`--unit=${UNIT}`);
    const failed = entries.filter((entry) => entry.MESSAGE.startsWith("failed login from 127.0.0.1 for user ada"));
    assert.equal(failed.length, 1, JSON.stringify(entries.map((entry) => entry.MESSAGE)));
    assert.equal(failed[0].PRIORITY, "4");
    assert.equal(failed[0].LYCEUM_USER_NAME, "ada");
    assert.equal(failed[0].LYCEUM_CLIENT_ADDR, "127.0.0.1");
    const ready = await host.journal(`--unit=${UNIT}`, "LYCEUM_SERVER_NAME=ada/", "--priority=info");
    assert.ok(ready.some((entry) => entry.MESSAGE === "the server of ada is ready"), JSON.stringify(ready));
    assert.ok(!JSON.stringify(entries).includes(hub.password));
  });

  await step("it stops in time, and stays down", async () => {
    const begun = Date.now();
    await hub.stop();
    assert.ok(Date.now() - begun < 30_000);
    assert.equal((await host.unit(UNIT, "ActiveState")).ActiveState, "inactive");
    await assert.rejects(hub.get(), /ECONNREFUSED/);
    // Users' servers are not ended by it.
    assert.ok((await host.processes()).some(({ command }) => command.includes("jupyterhub-singleuser")));
    await hub.start();
    await goesOn("after having been stopped");
  });
  await step("a wrong configuration is told, and costs no port: who waits is let in when it is mended", async () => {
    await hub.configure(hub.config.replace("allow_all", "allow_everybody"));
    const { status } = await host.attempt("systemctl", "restart", UNIT);
    assert.notEqual(status, 0);
    assert.equal((await host.unit(UNIT, "ExecMainStatus")).ExecMainStatus, "78");
    assert.match(await host.run("journalctl", "--no-pager", `--unit=${UNIT}`, "-n", "20"), /allow_everybody/);
    const waits = hub.get();
    const triedAgain = async () => Number((await host.unit(UNIT, "NRestarts")).NRestarts) >= 2;
    await until("it has been tried again, and not at once", triedAgain, 20_000, 100);
    await hub.configure(hub.config);
    assert.equal((await waits).status, 200);
    await goesOn("after a wrong configuration");
  });

  await step("after a reboot it is there, and so are logins; servers start anew", async () => {
    await host.reboot();
    const healthy = async () => (await hub.get()).status === 200;
    await until("lyceum answers after the reboot", healthy, 60_000);
    const { status, json } = await ada.api("GET", "/users/ada");
    assert.equal(status, 200);
    assert.deepEqual(json.servers, {});
    assert.equal(await ada.compute("print(6 * 7)"), "42");
  });
  await step("after a power cut, too", async () => {
    await host.crash();
    const back = async () => (await ada.api("GET", "/users/ada")).status === 200;
    await until("lyceum answers after the power cut", back, 60_000);
    assert.equal(await ada.compute("print(6 * 7)"), "42");
  });
});
