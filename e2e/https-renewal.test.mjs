// A certificate is renewed while people work: open connections stay, new ones get the new certificate.

import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { connect as connectH2 } from "node:http2";
import { request } from "node:https";

import { choosePorts, NAME } from "./lib/https.mjs";
import { scenario } from "./lib/scenario.mjs";
import { until, within } from "./lib/wait.mjs";
import { Counter, many, startEcho } from "./lib/websockets.mjs";

const LIMIT = 2.5 * 60_000;
const SOCKETS = 1_000;
const BY_HTTP2 = 50;
const RENEWALS = 3;

/** What a service below `/echo/` needs. */
const echoAt = (url) => `
[[services]]
name = "echo"
prefix = "/echo/"
url = "${url}"
kind = "generic"
access = "public"
`;

/** An answer that goes on until it is told to end; `end` gives the hash of all that was sent. */
function endlessAnswer() {
  const sent = createHash("sha256");
  let wanted = true;
  const answer = async (_request, response) => {
    response.writeHead(200, { "content-type": "application/octet-stream" });
    while (wanted) {
      const piece = randomBytes(256 * 1024);
      sent.update(piece);
      if (!response.write(piece)) await new Promise((done) => response.once("drain", done));
      // Slow enough to be under way all the time, and not to take the machine for itself.
      await new Promise((done) => setTimeout(done, 20));
    }
    response.end();
  };
  const end = () => {
    wanted = false;
  };
  return { answer, end, hash: () => sent.digest("hex") };
}

/** Downloads by TLS; gives `{ status, bytes, hash }` at the end. */
function download(hub, path) {
  return new Promise((done, fail) => {
    const options = { host: "127.0.0.1", port: hub.ports.tls, servername: NAME, rejectUnauthorized: false, agent: false };
    const headers = { host: new URL(hub.url).host };
    const asked = request({ ...options, path, headers }, (answer) => {
      const came = createHash("sha256");
      let bytes = 0;
      answer.on("data", (piece) => {
        bytes += piece.length;
        came.update(piece);
      });
      answer.on("error", fail);
      answer.on("end", () => done({ status: answer.statusCode, bytes, hash: came.digest("hex") }));
    });
    asked.on("error", fail);
    asked.end();
  });
}

/** Opens a connection, and waits for what it can be resumed with. */
async function session(hub, version) {
  const socket = await hub.connect({ minVersion: version, maxVersion: version });
  const ticket = new Promise((done) => socket.once("session", done));
  // Tickets of TLS 1.3 come with the first answer.
  socket.write(`GET /hub/health HTTP/1.1\r\nHost: ${NAME}\r\nConnection: close\r\n\r\n`);
  socket.resume();
  const resumed = version === "TLSv1.2" ? socket.getSession() : await within("a ticket", ticket, 10_000);
  socket.destroy();
  return resumed;
}

scenario(
  "a renewal drops no WebSocket",
  async ({ step, secure, pebble, app }) => {
    const endless = endlessAnswer();
    const echo = await app(startEcho(endless.answer));
    const ports = await choosePorts();
    const authority = await pebble(ports);
    await authority.start();
    const hub = await secure({
      ports,
      tls: `domains = ["${NAME}"]\n[tls.acme]\nprofile = "default"\n${authority.settings}`,
      rest: echoAt(echo.url),
    });
    const trusted = async () => (await hub.metric("lyceum_certificate_trusted", NAME)) === 1;
    await step("the first certificate comes", () => until("it is trusted", trusted, 60_000));
    const first = await hub.shown();
    const sessions = { "TLSv1.2": await session(hub, "TLSv1.2"), "TLSv1.3": await session(hub, "TLSv1.3") };

    const counters = await step(`${SOCKETS} WebSockets are opened`, () =>
      many(SOCKETS, 50, () => Counter.open(hub, "/echo/ws")),
    );
    const h2 = connectH2(`https://127.0.0.1:${ports.tls}`, { servername: NAME, rejectUnauthorized: false });
    await step(`${BY_HTTP2} more in one connection of HTTP/2`, async () => {
      await within("HTTP/2 begins", new Promise((done) => h2.once("remoteSettings", done)), 10_000);
      counters.push(...(await many(BY_HTTP2, 10, () => Counter.openIn(h2, hub, "/echo/ws"))));
    });
    const round = () => Promise.all(counters.map((counter) => counter.count()));
    await step("each sends and gets back", round);
    const downloaded = download(hub, "/echo/long");
    // What it fails with is told where it is awaited.
    downloaded.catch(() => {});

    const serials = [first.serialNumber];
    for (let renewal = 1; renewal <= RENEWALS; renewal += 1) {
      await step(`renewal ${renewal}, while all go on`, async () => {
        let over = false;
        const renewing = hub.cert("renew", NAME).finally(() => (over = true));
        let rounds = 0;
        while (!over) {
          await Promise.all([round(), new Promise((done) => setTimeout(done, 100))]);
          rounds += 1;
        }
        assert.match(await renewing, /renewed: valid until/);
        assert.ok(rounds > 0);
        serials.push((await hub.shown()).serialNumber);
      });
    }
    assert.equal(new Set(serials).size, RENEWALS + 1, `new connections get new certificates: ${serials}`);

    await step("none was dropped, and all go on", async () => {
      await round();
      const lost = counters.filter((counter) => counter.lost);
      assert.deepEqual(lost.map((counter) => counter.lost.message), []);
      const [oldest] = counters;
      assert.equal(oldest.stream.getPeerCertificate().serialNumber, first.serialNumber, "it is the same connection");
    });
    await step("sessions of before are resumed", async () => {
      for (const [version, ticket] of Object.entries(sessions)) {
        const socket = await hub.connect({ session: ticket, minVersion: version, maxVersion: version });
        assert.equal(socket.isSessionReused(), true, version);
        socket.destroy();
      }
    });
    await step("the long download is whole", async () => {
      endless.end();
      const { status, bytes, hash } = await within("it ends", downloaded, 30_000);
      assert.equal(status, 200);
      assert.ok(bytes > 1_000_000, `${bytes} bytes`);
      assert.equal(hash, endless.hash());
    });
    for (const counter of counters) counter.close();
    h2.destroy();
  },
  LIMIT,
);

scenario(
  "a certificate of a minute and a half is renewed in time, by itself",
  async ({ step, secure, pebble, app }) => {
    const echo = await app(startEcho());
    const ports = await choosePorts();
    const authority = await pebble({ ...ports, profiles: { brief: { description: "90 s", validityPeriod: 90 } } });
    await authority.start();
    // Proven at the port where visitors come by https, while they do.
    const hub = await secure({
      ports,
      tls: `domains = ["${NAME}"]\n[tls.acme]\nprofile = "brief"\nchallenge = "tls-alpn-01"\n${authority.settings}`,
      rest: echoAt(echo.url),
    });
    const ca = await authority.root();
    // Checks chain, name and dates, as a browser does.
    const checked = async () => {
      const socket = await hub.connect({ ca, rejectUnauthorized: true });
      const { serialNumber } = socket.getPeerCertificate();
      socket.destroy();
      return serialNumber;
    };
    const first = await step("the first one comes", () => until("it is trusted", checked, 30_000));
    const counter = await Counter.open(hub, "/echo/ws", { ca, rejectUnauthorized: true });
    await step("the next one comes before its end", async () => {
      let serial = first;
      const deadline = Date.now() + 100_000;
      while (serial === first) {
        // One that has ended fails here.
        serial = await checked();
        await counter.count();
        assert.ok(Date.now() < deadline, "it was renewed within its life");
        await new Promise((done) => setTimeout(done, 250));
      }
      assert.equal((await hub.certificates())[NAME].failures, 0);
    });
    await counter.count();
    counter.close();
  },
  LIMIT,
);
