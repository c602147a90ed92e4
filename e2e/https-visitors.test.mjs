// Visitors who show a certificate of their own, for services that want one.

import assert from "node:assert/strict";
import { createHash, X509Certificate } from "node:crypto";
import { readFile } from "node:fs/promises";
import { connect as connectH2 } from "node:http2";

import { TestAuthority } from "./lib/certificates.mjs";
import { choosePorts, NAME } from "./lib/https.mjs";
import { startTarget } from "./lib/proxies.mjs";
import { scenario } from "./lib/scenario.mjs";
import { within } from "./lib/wait.mjs";

const LIMIT = 60_000;

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
