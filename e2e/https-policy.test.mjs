// How HTTPS is spoken, as a stranger with `openssl s_client` finds it.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { X509Certificate } from "node:crypto";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { createServer } from "node:tls";
import { promisify } from "node:util";

import { TestAuthority } from "./lib/certificates.mjs";
import { newFolder } from "./lib/folders.mjs";
import { choosePorts, NAME } from "./lib/https.mjs";
import { ask } from "./lib/proxies.mjs";
import { scenario } from "./lib/scenario.mjs";
import { until } from "./lib/wait.mjs";
import { many } from "./lib/websockets.mjs";

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

async function serialOf(file) {
  return new X509Certificate(await readFile(file)).serialNumber;
}
