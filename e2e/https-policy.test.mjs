// How HTTPS is spoken, as a stranger with `openssl s_client` finds it; and certificates from files and of visitors.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { createHash, X509Certificate } from "node:crypto";
import { mkdir, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { connect as connectH2 } from "node:http2";
import { join } from "node:path";
import { createServer } from "node:tls";
import { promisify } from "node:util";

import { TestAuthority } from "./lib/certificates.mjs";
import { newFolder } from "./lib/folders.mjs";
import { choosePorts, NAME, startTrusting } from "./lib/https.mjs";
import { logIn } from "./lib/hub.mjs";
import { ask, startTarget } from "./lib/proxies.mjs";
import { scenario } from "./lib/scenario.mjs";
import { until, within } from "./lib/wait.mjs";
import { Counter, many, startEcho } from "./lib/websockets.mjs";

const LIMIT = 3 * 60_000;
const run = promisify(execFile);

/** Suites of TLS 1.2 that are good: forward secrecy, and encryption that proves what it carries. */
const GOOD = /^ECDHE-(ECDSA|RSA)-(AES128-GCM-SHA256|AES256-GCM-SHA384|CHACHA20-POLY1305)$/;
/** Every suite that openssl knows, however weak. */
const EVERY = "ALL:COMPLEMENTOFALL:@SECLEVEL=0";

/** Connects with `openssl s_client`; gives all that it says, whether a connection came of it or not. */
async function look(port, options, request = "") {
  const words = ["s_client", "-connect", `127.0.0.1:${port}`, ...options];
  const looking = run("openssl", words, { timeout: 20_000 });
  looking.child.stdin.on("error", () => {});
  looking.child.stdin.end(request);
  try {
    const { stdout, stderr } = await looking;
    return stdout + stderr;
  } catch (error) {
    if (error.code === "ENOENT") throw new Error("openssl is needed: apt install openssl");
    return `${error.stdout}${error.stderr}`;
  }
}

/** The suite of the connection that openssl tells of; `undefined` without one. */
const suiteOf = (said) => /^New, TLSv[0-9.]+, Cipher is (?!\(NONE\))(\S+)/m.exec(said)?.[1];

scenario(
  "TLS is modern, each name has its certificate, and http leads to https",
  async ({ step, secure, pebble }) => {
    const ports = await choosePorts();
    const authority = await pebble(ports);
    await authority.start();
    const own = await TestAuthority.make("files");
    const file = await own.issue("files", { names: ["DNS:files.example.org"], key: "rsa" });
    const answers = await newFolder("answers");
    await mkdir(join(answers, ".well-known/acme-challenge"), { recursive: true });
    await writeFile(join(answers, ".well-known/acme-challenge/of-another"), "an answer");
    const hub = await secure({
      ports,
      gateway: 'hsts = "1d"',
      tls: `
domains = ["${NAME}", "lab.example.org"]
challenge_folder = "${answers}"
[[tls.certificates]]
certificate_file = "${file.cert}"
key_file = "${file.key}"
[tls.acme]
${authority.settings}
`,
    });
    const names = [NAME, "lab.example.org"];
    const seen = (options, request) => look(ports.tls, options, request);

    await step("each name is shown its own certificate", async () => {
      for (const name of names) {
        const trusted = async () => (await hub.metric("lyceum_certificate_trusted", name)) === 1;
        await until(`${name} is trusted`, trusted, 60_000);
      }
      for (const name of [...names, "files.example.org"]) {
        assert.equal((await hub.shown(name)).subjectaltname, `DNS:${name}`);
      }
      assert.equal((await hub.shown("files.example.org")).serialNumber, await serialOf(file.cert));
      assert.equal((await hub.shown("unknown.example.org")).subjectaltname, `DNS:${NAME}`, "the first for others");
      assert.equal((await hub.shown("")).subjectaltname, `DNS:${NAME}`, "and for those who ask for none");
    });

    await step("old versions are not spoken", async () => {
      const settings = { minVersion: "TLSv1", ciphers: "ALL:@SECLEVEL=0" };
      const [cert, key] = [await readFile(file.cert), await readFile(file.key)];
      const old = createServer({ ...settings, cert, key }, (socket) => socket.end());
      old.on("tlsClientError", () => {});
      await new Promise((done) => old.listen(0, "127.0.0.1", done));
      try {
        for (const version of ["-tls1", "-tls1_1"]) {
          const options = [version, "-cipher", EVERY, "-servername", NAME];
          assert.ok(suiteOf(await look(old.address().port, options)), `openssl itself does not speak ${version}`);
          const said = await seen(options);
          assert.equal(suiteOf(said), undefined, version);
          assert.match(said, /alert (protocol version|handshake failure)/, version);
        }
      } finally {
        old.close();
      }
      for (const version of ["-tls1_2", "-tls1_3"]) {
        assert.ok(suiteOf(await seen([version, "-servername", NAME])), version);
      }
    });

    await step("no weak suite is taken", async () => {
      const { stdout } = await run("openssl", ["ciphers", EVERY]);
      const suites = stdout.trim().split(":").filter((name) => !name.startsWith("TLS_"));
      assert.ok(suites.length > 50, stdout);
      for (const [name, kind] of [[NAME, "ECDSA"], ["files.example.org", "RSA"]]) {
        const options = (suite) => ["-tls1_2", "-servername", name, "-cipher", `${suite}:@SECLEVEL=0`];
        const taken = await many(suites.length, 4, async (at) => suiteOf(await seen(options(suites[at]))));
        const found = taken.filter((suite) => suite !== undefined).sort();
        assert.deepEqual(found.filter((suite) => !GOOD.test(suite)), [], `weak suites for ${kind}`);
        assert.equal(found.length, 3, `${kind}: ${found}`);
      }
      const suites13 = ["AES_128_GCM_SHA256", "AES_256_GCM_SHA384", "CHACHA20_POLY1305_SHA256"];
      const weak13 = ["AES_128_CCM_SHA256", "AES_128_CCM_8_SHA256"];
      for (const suite of [...suites13, ...weak13].map((suite) => `TLS_${suite}`)) {
        const said = await seen(["-tls1_3", "-servername", NAME, "-ciphersuites", suite]);
        assert.equal(suiteOf(said), weak13.includes(suite.slice(4)) ? undefined : suite, suite);
      }
      const said = await seen(["-tls1_2", "-servername", NAME]);
      assert.match(said, /Secure Renegotiation IS supported/);
      assert.match(said, /Compression: NONE/);
    });

    await step("HTTP/2 is chosen where it is offered", async () => {
      const chosen = async (offered) => /^ALPN protocol: (\S+)/m.exec(await seen(["-alpn", offered, "-servername", NAME]))?.[1];
      assert.equal(await chosen("h2,http/1.1"), "h2");
      assert.equal(await chosen("http/1.1,h2"), "h2");
      assert.equal(await chosen("http/1.1"), "http/1.1");
    });

    await step("sessions are resumed", async () => {
      const folder = await newFolder("sessions");
      const request = `GET /hub/health HTTP/1.1\r\nHost: ${NAME}\r\nConnection: close\r\n\r\n`;
      for (const version of ["-tls1_2", "-tls1_3"]) {
        const kept = join(folder, version);
        const options = [version, "-servername", NAME, "-ign_eof"];
        assert.match(await seen([...options, "-sess_out", kept], request), /^New, TLS/m);
        assert.match(await seen([...options, "-sess_in", kept], request), /^Reused, TLS/m, version);
      }
    });

    await step("http leads to https, by IPv4 and by IPv6", async () => {
      for (const [address, host] of [["127.0.0.1", NAME], ["::1", NAME], ["::1", "[::1]"], ["127.0.0.1", "127.0.0.1"]]) {
        const headers = { host: `${host}:${ports.http}` };
        const answer = await hub.plain("/hub/login?next=%2Fa", { host: address, headers });
        assert.ok([301, 308].includes(answer.status), `${address}: ${answer.status}`);
        assert.equal(answer.headers.location, `https://${host}:${ports.tls}/hub/login?next=%2Fa`);
        assert.equal(answer.headers["strict-transport-security"], undefined, "not by http (RFC 6797 §7.2)");
        assert.equal((await hub.get("/hub/health", { host: address })).status, 200, `https at ${address}`);
      }
    });

    await step("but not those who check certificates", async () => {
      for (const host of ["127.0.0.1", "::1"]) {
        const found = await hub.plain("/.well-known/acme-challenge/of-another", { host });
        assert.deepEqual([found.status, found.body], [200, "an answer"]);
        // What nobody here knows is asked of those behind, by the way that it came.
        const { headers } = await hub.plain("/.well-known/acme-challenge/unknown", { host });
        assert.doesNotMatch(headers.location ?? "", /^https:/);
      }
    });

    await step("browsers shall come by https only", async () => {
      for (const servername of [...names, "files.example.org"]) {
        for (const path of ["/hub/login", "/nothing/here"]) {
          const { headers } = await hub.get(path, { servername });
          assert.equal(headers["strict-transport-security"], "max-age=86400", `${servername}${path}`);
        }
      }
    });

    await step("who speaks http where https is spoken can read that", async () => {
      const { status, type, body } = await ask({ port: ports.tls, path: "/", headers: { host: NAME } });
      assert.equal(status, 400);
      assert.match(type, /text\/plain/);
      assert.match(body, /https:\/\//);
    });
  },
  LIMIT,
);

scenario(
  "a service can be for visitors with a certificate alone",
  async ({ step, secure, app }) => {
    const behind = await app(startTarget((_request, response) => response.end("the service")));
    const ports = await choosePorts();
    const [students, strangers] = [await TestAuthority.make("students"), await TestAuthority.make("strangers")];
    const read = async ({ cert, key }) => ({ cert: await readFile(cert), key: await readFile(key) });
    const ada = await read(await students.issue("ada", { subject: "/O=Example/CN=Ada" }));
    const eve = await read(await strangers.issue("eve", { subject: "/O=Example/CN=Ada" }));
    const service = (name, more) => `
[[services]]
name = "${name}"
prefix = "/${name}/"
url = "${behind.url}"
kind = "generic"
access = "public"
${more}`;
    const hub = await secure({
      ports,
      tls: `domains = ["${NAME}"]\nsource = "self-signed"\nclient_ca_file = "${students.file}"`,
      rest: service("private", "client_certificate = true") + service("open", ""),
    });
    const forged = { "x-lyceum-client-cert-subject": "CN=root", "x-lyceum-client-cert-sha256": "00" };
    const told = () => {
      const { headers } = behind.asked.at(-1);
      return [headers["x-lyceum-client-cert-subject"], headers["x-lyceum-client-cert-sha256"]];
    };
    const fingerprint = createHash("sha256").update(new X509Certificate(ada.cert).raw).digest("hex");

    await step("without one, nobody comes in", async () => {
      for (const headers of [{}, forged]) {
        assert.equal((await hub.get("/private/", { headers })).status, 403);
      }
      assert.deepEqual(behind.asked, []);
    });
    await step("with one, the service knows who it is", async () => {
      for (const headers of [{}, forged]) {
        const { status, body } = await hub.get("/private/", { ...ada, headers });
        assert.deepEqual([status, body], [200, "the service"]);
        assert.deepEqual(told(), ["CN=Ada,O=Example", fingerprint]);
      }
    });
    await step("by HTTP/2, too", async () => {
      const options = { ...ada, servername: NAME, rejectUnauthorized: false };
      const session = connectH2(`https://127.0.0.1:${ports.tls}`, options);
      const stream = session.request({ ":path": "/private/", ":authority": `${NAME}:${ports.tls}`, ...forged });
      const status = new Promise((done, fail) => {
        stream.on("response", (headers) => done(headers[":status"]));
        stream.on("error", fail);
        session.on("error", fail);
      });
      assert.equal(await within("an answer", status, 10_000), 200);
      assert.deepEqual(told(), ["CN=Ada,O=Example", fingerprint]);
      session.destroy();
    });
    await step("nobody else can say who they are", async () => {
      assert.equal((await hub.get("/open/", { headers: forged })).status, 200);
      assert.deepEqual(told(), [undefined, undefined]);
    });
    await step("one of another authority ends the connection", async () => {
      const before = behind.asked.length;
      await assert.rejects(hub.get("/private/", eve), /alert|ECONNRESET|EPIPE|closed|hang up/);
      assert.equal(behind.asked.length, before);
    });
  },
  LIMIT,
);

scenario(
  "certificates that certbot renews are served without a restart",
  async ({ step, secure, app, visitor, keep }) => {
    const echo = await app(startEcho());
    const authority = await TestAuthority.make("certbot");
    const ports = await choosePorts();
    const certbot = await Certbot.make(authority);
    await certbot.renew();
    const hub = await secure({
      ports,
      tls: `
[[tls.certificates]]
certificate_file = "${certbot.live("fullchain")}"
key_file = "${certbot.live("privkey")}"
`,
      rest: `
[[services]]
name = "echo"
prefix = "/echo/"
url = "${echo.url}"
kind = "generic"
access = "public"
`,
    });
    const shown = async () => (await hub.shown()).serialNumber;
    const status = async () => (await hub.certificates())["file-fullchain"];
    assert.equal(await shown(), certbot.serial);
    const counter = await Counter.open(hub, "/echo/ws");

    await step("a new one is served within 10 s", async () => {
      const before = certbot.serial;
      await certbot.renew();
      assert.notEqual(certbot.serial, before);
      await until("the new one is shown", async () => (await shown()) === certbot.serial, 10_000, 100);
      await counter.count();
    });
    await step("one with a wrong key is not, and administrators are told", async () => {
      const good = certbot.serial;
      await certbot.renew({ wrongKey: true });
      const trouble = async () => (await status()).trouble;
      const { what, hint } = await until("the trouble is told", trouble, 15_000, 200);
      assert.ok(what.length > 0 && hint.length > 0);
      assert.equal(await shown(), good);
      await until("the log tells it", () => /cannot be used, so the one of before/.test(hub.output), 10_000);
      const browser = await keep(startTrusting([await authority.pem()]));
      const boss = await visitor(hub, { browser, user: "root" });
      await boss.goTo("/hub/login?next=/hub/token");
      await logIn(boss);
      await boss.goTo("/hub/token");
      assert.match(await boss.page.locator("aside.announcement").innerText(), /cannot be used, so the one of before/);
    });
    await step("files that are gone are no reason to stop", async () => {
      const good = await shown();
      await certbot.remove();
      const gone = async () => JSON.stringify((await status()).trouble ?? {}).includes("there is no file");
      await until("the trouble is told", gone, 15_000, 200);
      assert.equal(await shown(), good);
    });
    await step("the next good one is served", async () => {
      await certbot.renew();
      await until("the new one is shown", async () => (await shown()) === certbot.serial, 10_000, 100);
      await until("nothing is wrong any more", async () => !(await status()).trouble, 10_000, 100);
      await counter.count();
    });
    await step("no key is in the log", async () => {
      const line = (await readFile(certbot.live("privkey"), "utf8")).split("\n")[1];
      assert.ok(line.length > 30);
      assert.ok(!(await readFile(`${hub.dataFolder}.log`, "utf8")).includes(line));
    });
    counter.close();
  },
  LIMIT,
);

/** Keeps certificates as certbot does: numbered files in `archive`, and links to the newest in `live`. */
class Certbot {
  number = 0;
  /** The serial number of the newest certificate that can be used. */
  serial;

  static async make(authority) {
    const certbot = new Certbot();
    certbot.authority = authority;
    certbot.folder = await newFolder("letsencrypt");
    for (const name of ["live", "archive"]) await mkdir(join(certbot.folder, name, NAME), { recursive: true });
    return certbot;
  }

  /** The link to the newest of one kind. */
  live(kind) {
    return join(this.folder, "live", NAME, `${kind}.pem`);
  }

  /** Puts new files there, and turns the links, one after the other. */
  async renew({ wrongKey = false } = {}) {
    this.number += 1;
    const issue = (file) => this.authority.issue(`${file}-${this.number}`, { names: [`DNS:${NAME}`] });
    const { cert, key } = await issue("certbot");
    const chain = (await readFile(cert, "utf8")) + (await this.authority.pem());
    const keyText = await readFile(wrongKey ? (await issue("other")).key : key, "utf8");
    for (const [kind, text] of [["fullchain", chain], ["privkey", keyText]]) {
      const name = `${kind}${this.number}.pem`;
      await writeFile(join(this.folder, "archive", NAME, name), text, { mode: 0o600 });
    }
    for (const kind of ["privkey", "fullchain"]) {
      await rm(this.live(kind), { force: true });
      await symlink(`../../archive/${NAME}/${kind}${this.number}.pem`, this.live(kind));
    }
    if (!wrongKey) this.serial = await serialOf(cert);
  }

  /** Removes the links. */
  async remove() {
    for (const kind of ["privkey", "fullchain"]) await rm(this.live(kind));
  }
}

async function serialOf(file) {
  return new X509Certificate(await readFile(file)).serialNumber;
}
