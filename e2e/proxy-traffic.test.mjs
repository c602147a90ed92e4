// What `lyceum proxy` does with requests, beside the real configurable-http-proxy: targets, headers, errors, metrics.

import assert from "node:assert/strict";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { createServer, request } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";

import { freePort } from "./lib/ports.mjs";
import { newFolder } from "./lib/folders.mjs";
import { Proxy, ask, startTarget } from "./lib/proxies.mjs";
import { until } from "./lib/wait.mjs";

const KINDS = ["lyceum", "configurable-http-proxy"];

/** Starts a proxy that is stopped at the end of the test. */
async function start(context, kind, options = [], more = {}) {
  const proxy = await Proxy.start(kind, options, more);
  context.after(() => proxy.clean());
  return proxy;
}

/** Starts a program behind the proxy that is stopped at the end of the test. */
async function target(context, answer) {
  const started = await startTarget(answer);
  context.after(() => started.close());
  return started;
}

/** A folder with a short path, as those of sockets must be. */
async function shortFolder(context) {
  const folder = await mkdtemp(join(tmpdir(), "lyceum-"));
  context.after(() => rm(folder, { recursive: true, force: true }));
  return folder;
}

/** Asks for a WebSocket, and gives the status with the socket or the body. */
function upgrade(port, path) {
  return new Promise((done, fail) => {
    const headers = { connection: "Upgrade", upgrade: "websocket", "sec-websocket-version": "13", "sec-websocket-key": "eA==" };
    const sent = request({ host: "127.0.0.1", port, path, headers, agent: false, timeout: 5_000 });
    sent.on("upgrade", ({ statusCode: status }, socket) => done({ status, socket }));
    sent.on("response", (answer) => {
      let body = "";
      answer.setEncoding("utf8").on("data", (piece) => (body += piece));
      answer.on("end", () => done({ status: answer.statusCode, body }));
    });
    sent.on("timeout", () => sent.destroy(new Error(`no answer to the upgrade of ${path}`)));
    sent.on("error", fail);
    sent.end();
  });
}

for (const kind of KINDS) {
  test(`${kind}: requests go to the longest prefix, with what the target is to know`, async (context) => {
    const proxy = await start(context, kind);
    const [root, ada] = [await target(context), await target(context)];
    await proxy.route("/", root.url);
    await proxy.route("/user/ada", `${ada.url}/base/`);
    for (const path of ["/user/adam/x", "/user/ada?a=b", "/user/ada/a%20b%2Fc?d=%2F", "/hub/home"]) await proxy.get(path);
    assert.deepEqual(root.asked.map(({ url }) => url), ["/user/adam/x", "/hub/home"]);
    assert.deepEqual(ada.asked.map(({ url }) => url), ["/base/user/ada?a=b", "/base/user/ada/a%20b%2Fc?d=%2F"]);
    const { headers } = ada.asked[0];
    const host = `127.0.0.1:${proxy.port}`;
    assert.equal(headers.host, host);
    assert.equal(headers["x-forwarded-host"], host);
    assert.equal(headers["x-forwarded-proto"], "http");
    assert.equal(headers["x-forwarded-port"], String(proxy.port));
    assert.match(headers["x-forwarded-for"], /127\.0\.0\.1$/);
  });

  test(`${kind}: what a proxy in front says is passed on`, async (context) => {
    const proxy = await start(context, kind);
    const behind = await target(context);
    await proxy.route("/", behind.url);
    const claims = { "x-forwarded-for": "10.1.2.3", "x-forwarded-proto": "https", "x-forwarded-port": "443" };
    await proxy.get("/", { host: "hub.example.org", ...claims, "x-forwarded-host": "front.example.org" });
    const { headers } = behind.asked[0];
    assert.match(headers["x-forwarded-for"], /^10\.1\.2\.3, ?/);
    assert.match(headers["x-forwarded-proto"], /^https, ?http$/);
    assert.match(headers["x-forwarded-port"], /^443, ?80$/);
    assert.equal(headers["x-forwarded-host"], "front.example.org");
    assert.equal(headers.host, "hub.example.org");
  });

  test(`${kind}: options change what the target sees`, async (context) => {
    const cases = [
      [["--no-x-forward"], ({ headers }) => assert.equal(headers["x-forwarded-for"], undefined)],
      [["--no-prepend-path"], ({ url }) => assert.equal(url, "/pre/fix/page?q")],
      [["--no-include-prefix"], ({ url }) => assert.equal(url, "/base/page?q")],
      [["--change-origin"], ({ headers }, behind) => assert.equal(headers.host, `127.0.0.1:${behind.port}`)],
      [["--custom-header", "x-one: 1", "--custom-header", "x-two:2"], ({ headers }) => assert.equal(headers["x-one"] + headers["x-two"], "12")],
    ];
    for (const [options, check] of cases) {
      const proxy = await start(context, kind, options);
      const behind = await target(context);
      await proxy.route("/pre/fix", `${behind.url}/base`);
      await proxy.get("/pre/fix/page?q");
      check(behind.asked[0], behind);
      await proxy.clean();
    }
  });

  test(`${kind}: redirects lead where they are told to`, async (context) => {
    const cases = [
      [[], (location, behind) => assert.equal(location, `${behind.url}/next`)],
      [["--auto-rewrite"], (location) => assert.equal(location, "http://hub.example.org:8000/next")],
      [["--protocol-rewrite", "https"], (location, behind) => assert.equal(location, `https://127.0.0.1:${behind.port}/next`)],
    ];
    for (const [options, check] of cases) {
      const proxy = await start(context, kind, options);
      const behind = await target(context, (request, response) => {
        response.writeHead(302, { location: `${behind.url}/next` }).end();
      });
      await proxy.route("/", behind.url);
      const answer = await proxy.get("/", { host: "hub.example.org:8000" });
      check(answer.headers.location, behind);
      await proxy.clean();
    }
  });

  test(`${kind}: with host routing the host decides`, async (context) => {
    const proxy = await start(context, kind, ["--host-routing"]);
    const [hub, ada] = [await target(context), await target(context)];
    await proxy.route("/", hub.url);
    await proxy.route("/ada.example.org/user/ada", ada.url);
    await proxy.get("/user/ada/lab", { host: "ada.example.org:8000" });
    await proxy.get("/user/ada/lab", { host: "bob.example.org" });
    await proxy.get("/", { host: "ada.example.org" });
    assert.deepEqual(ada.asked.map(({ url }) => url), ["/user/ada/lab"]);
    assert.equal(hub.asked.length, 2);
  });

  test(`${kind}: activity is a successful answer, and no other`, async (context) => {
    const proxy = await start(context, kind);
    const behind = await target(context, (request, response) => {
      response.writeHead(Number(request.url.split("/").at(-1))).end("x");
    });
    await proxy.route("/a", behind.url);
    const last = async () => JSON.parse((await proxy.api("GET", "/api/routes/a")).body).last_activity;
    const added = await last();
    await until("the clock has moved on", () => Date.now() > Date.parse(added) + 5);
    for (const code of [302, 404, 500]) await proxy.get(`/a/${code}`);
    assert.equal(await last(), added);
    await proxy.get("/a/200");
    await until("it is noted", async () => (await last()) > added);
  });

  test(`${kind}: errors have a page, whoever asks`, async (context) => {
    const proxy = await start(context, kind);
    await proxy.route("/dead", `http://127.0.0.1:${await freePort()}`);
    for (const accept of ["text/html", "application/json", "*/*"]) {
      for (const [path, code] of [["/nothing", 404], ["/dead/x", 503], ["/dead/api/kernels", 503]]) {
        const answer = await proxy.get(path, { accept });
        assert.equal(answer.status, code, path);
        assert.match(answer.type, /^text\/html/, path);
        assert.match(answer.body, new RegExp(`<h1>${code}: `), path);
      }
    }
  });

  test(`${kind}: an error target makes the pages`, async (context) => {
    const pages = await target(context, (request, response) => {
      response.writeHead(200, { "content-type": "text/x-page; charset=utf-8" }).end(`page ${request.url}`);
    });
    const proxy = await start(context, kind, ["--error-target", `${pages.url}/hub/error`]);
    await proxy.route("/dead", `http://127.0.0.1:${await freePort()}`);
    const cases = [
      ["/nothing?a=b&c=%20d", 404, "/hub/error/404?url=%2Fnothing%3Fa%3Db%26c%3D%2520d"],
      ["/dead/x", 503, "/hub/error/503?url=%2Fdead%2Fx"],
    ];
    for (const accept of ["text/html", "application/json"]) {
      for (const [path, code, url] of cases) {
        const { status, type, body } = await proxy.get(path, { accept });
        assert.deepEqual({ status, type, body }, { status: code, type: "text/x-page; charset=utf-8", body: `page ${url}` });
      }
    }
    await pages.close();
    const { status, body } = await proxy.get("/nothing", { accept: "text/html" });
    assert.deepEqual({ status, body }, { status: 404, body: "Not Found" }, "without the target the status is left");
  });

  test(`${kind}: an error folder has the pages`, async (context) => {
    const folder = await newFolder("error-pages");
    await writeFile(join(folder, "404.html"), "not here");
    await writeFile(join(folder, "error.html"), "some error");
    const proxy = await start(context, kind, ["--error-path", folder]);
    await proxy.route("/dead", `http://127.0.0.1:${await freePort()}`);
    const essence = ({ status, type, body }) => [status, type, body];
    assert.deepEqual(essence(await proxy.get("/nothing")), [404, "text/html", "not here"]);
    assert.deepEqual(essence(await proxy.get("/dead/x")), [503, "text/html", "some error"]);
  });

  test(`${kind}: a WebSocket comes through, and fails with a bare status`, async (context) => {
    const proxy = await start(context, kind);
    const behind = await target(context);
    behind.server.on("upgrade", (request, socket) => {
      behind.asked.push({ url: request.url, headers: request.headers });
      socket.write("HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n");
      socket.pipe(socket);
    });
    await proxy.route("/live", behind.url);
    await proxy.route("/dead", `http://127.0.0.1:${await freePort()}`);
    const live = await upgrade(proxy.port, "/live/x");
    assert.equal(live.status, 101);
    assert.equal(behind.asked[0].headers["x-forwarded-proto"], "ws");
    live.socket.write("hello");
    const [echo] = await once(live.socket, "data");
    assert.equal(String(echo), "hello");
    live.socket.destroy();
    for (const [path, status] of [["/dead/x", 503], ["/nothing", 404]]) {
      const failed = await upgrade(proxy.port, path);
      assert.deepEqual({ status: failed.status, body: failed.body }, { status, body: "" }, path);
    }
  });

  test(`${kind}: a target that says nothing is given up after --proxy-timeout`, async (context) => {
    const proxy = await start(context, kind, ["--proxy-timeout", "200"]);
    const behind = await target(context, () => {});
    await proxy.route("/", behind.url);
    const { status } = await proxy.get("/");
    assert.ok([503, 504].includes(status), String(status));
  });

  test(`${kind}: metrics count requests and changes of routes`, async (context) => {
    const port = await freePort();
    const proxy = await start(context, kind, ["--metrics-ip", "127.0.0.1", "--metrics-port", port]);
    const behind = await target(context);
    await proxy.route("/", behind.url);
    await proxy.get("/");
    await proxy.get("/");
    await proxy.api("DELETE", "/api/routes/nothing");
    const answer = await ask({ port, path: "/metrics" });
    assert.equal(answer.status, 200);
    assert.match(answer.type, /^text\/plain; version=0\.0\.4/);
    for (const line of [
      "# TYPE api_route_get counter",
      "# TYPE find_target_for_req summary",
      "# TYPE last_activity_updating summary",
      "api_route_add 1",
      "api_route_delete 1",
      "requests_ws 0",
      "requests_web 2",
      'requests_proxy{status="200"} 2',
      'requests_api{status="201"} 1',
    ]) {
      assert.ok(answer.body.split("\n").includes(line), `${line} is not in\n${answer.body}`);
    }
    assert.equal((await ask({ port, path: "/" })).status, 404);
  });

  test(`${kind}: all sides may be Unix sockets`, async (context) => {
    const folder = await shortFolder(context);
    const path = (name) => join(folder, name);
    const behind = createServer((request, response) => response.end(`target ${request.url}`));
    await new Promise((done) => behind.listen(path("target"), done));
    context.after(() => behind.close());
    // A proxy on ports, only to have its API; sockets are given to a second one below.
    const proxy = await start(context, kind);
    await proxy.route("/", `http+unix://${encodeURIComponent(path("target"))}/base`);
    await proxy.route("/other", `unix+http://${encodeURIComponent(path("target"))}`);
    assert.equal((await proxy.get("/x")).body, "target /base/x");
    assert.equal((await proxy.get("/other/x")).body, "target /other/x");
    await proxy.clean();

    const sockets = ["--socket", path("public"), "--api-socket", path("api"), "--metrics-socket", path("metrics")];
    const on = await Proxy.startOnSockets(kind, sockets, path("api"));
    context.after(() => on.clean());
    const target = `http+unix://${encodeURIComponent(path("target"))}`;
    const put = { socketPath: path("api"), method: "POST", path: "/api/routes/" };
    assert.equal((await ask(put, JSON.stringify({ target }))).status, 201);
    assert.equal((await ask({ socketPath: path("public"), path: "/y" })).body, "target /y");
    assert.equal((await ask({ socketPath: path("metrics"), path: "/metrics" })).status, 200);
  });

  test(`${kind}: a process file is there while it runs`, async (context) => {
    const file = join(await newFolder("pid"), "proxy.pid");
    const proxy = await start(context, kind, ["--pid-file", file]);
    await until("it is written", () => existsSync(file));
    assert.equal(await readFile(file, "utf8"), String(proxy.process.pid));
    await proxy.stop();
    assert.ok(!existsSync(file));
  });
}

test("lyceum proxy: what it would not do as told is refused, with what helps", async () => {
  const cases = [
    [["--storage-backend", "some-package"], /--storage-backend/],
    [["--ssl-protocol", "SSLv3"], /TLS 1\.2/],
    [["--redirect-port", "8080"], /--ssl-key/],
    [["--error-target", "http://h", "--error-path", "/x"], /cannot be used with/],
    [["--default-target", "nonsense"], /default-target/],
  ];
  for (const [options, text] of cases) {
    await assert.rejects(Proxy.start("lyceum", options), (error) => text.test(error.message), options.join(" "));
  }
});
