// Starts `lyceum proxy`, or the real configurable-http-proxy with the same options, and asks both the same.

import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { createServer, request } from "node:http";
import { request as requestByTls } from "node:https";
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";

import { freePort } from "./ports.mjs";
import { program } from "./folders.mjs";
import { Final, until, within } from "./wait.mjs";

const e2e = resolve(fileURLToPath(import.meta.url), "../..");
const running = new Set();

/** The command of each kind of proxy. */
export function proxyCommand(kind) {
  if (kind === "lyceum") return [program, "proxy"];
  const script =
    process.env.LYCEUM_TEST_CHP ?? join(e2e, "node_modules/configurable-http-proxy/bin/configurable-http-proxy");
  if (!existsSync(script)) {
    throw new Final(`no configurable-http-proxy at ${script}: npm ci --prefix e2e, or name one in LYCEUM_TEST_CHP`);
  }
  return [process.execPath, script];
}

/** A proxy that runs: `lyceum proxy`, or configurable-http-proxy. */
export class Proxy {
  output = "";

  /** Starts one on free ports; `options` are those of its command line, `token` that of its API. */
  static async start(kind, options = [], { token, port, apiPort, https = false } = {}) {
    const proxy = new Proxy();
    proxy.kind = kind;
    proxy.port = port ?? (await freePort());
    proxy.apiPort = apiPort ?? (await freePort());
    proxy.token = token;
    proxy.https = https;
    const places = ["--ip", "127.0.0.1", "--port", proxy.port, "--api-ip", "127.0.0.1", "--api-port", proxy.apiPort];
    proxy.spawn([...places, ...options]);
    const answers = async () =>
      (await proxy.api("GET", "/api/routes")).status === 200 && (await proxy.get("/_chp_healthz")).status === 200;
    await proxy.untilItAnswers(answers);
    return proxy;
  }

  /** Starts one on sockets, of which `apiSocket` is that of its API. */
  static async startOnSockets(kind, options, apiSocket) {
    const proxy = new Proxy();
    proxy.kind = kind;
    proxy.spawn(options);
    await proxy.untilItAnswers(async () => (await ask({ socketPath: apiSocket, path: "/api/routes" })).status === 200);
    return proxy;
  }

  spawn(options) {
    const [command, ...words] = [...proxyCommand(this.kind), "--log-level", "debug", ...options];
    const env = { ...process.env, CONFIGPROXY_AUTH_TOKEN: this.token ?? "" };
    this.process = spawn(command, words.map(String), { stdio: ["ignore", "pipe", "pipe"], env });
    running.add(this.process);
    this.exit = new Promise((done) => {
      this.process.on("exit", (code, signal) => {
        this.ended = signal ?? `status ${code}`;
        running.delete(this.process);
        done({ code, signal });
      });
    });
    for (const stream of [this.process.stdout, this.process.stderr]) {
      stream.setEncoding("utf8");
      stream.on("data", (text) => (this.output += text));
    }
  }

  async untilItAnswers(condition) {
    const met = () => {
      if (this.ended) throw new Final(`${this.kind} ended (${this.ended}):\n${this.output}`);
      return condition();
    };
    await until(`${this.kind} answers`, met, 20_000, 20);
  }

  /** Asks the REST API, with the token unless other headers are given. */
  api(method, path, { headers, body } = {}) {
    const own = this.token ? { authorization: `token ${this.token}` } : {};
    return ask({ port: this.apiPort, method, path, headers: headers ?? own }, body);
  }

  /** Adds a route. */
  async route(path, target, data = {}) {
    const answer = await this.api("POST", `/api/routes${path}`, { body: JSON.stringify({ target, ...data }) });
    if (answer.status !== 201) throw new Error(`${this.kind} did not take ${path}: ${answer.status} ${answer.body}`);
  }

  /** Asks for a page, as a browser would. */
  get(path, headers = {}) {
    return ask({ port: this.port, method: "GET", path, headers, https: this.https });
  }

  /** Ends it politely. */
  async stop() {
    if (!this.ended) this.process.kill("SIGTERM");
    return within(`${this.kind} ends`, this.exit, 15_000);
  }

  async clean() {
    if (this.ended) return;
    this.process.kill("SIGKILL");
    await within("the proxy is gone", this.exit, 5_000);
  }
}

/** Sends a request as it is written, and gives `{ status, type, body, headers }`; `status` is `"none"` without an answer. */
export function ask({ https, ...options }, body, limit = 3_000) {
  return new Promise((done, fail) => {
    const sent = (https ? requestByTls : request)({ host: "127.0.0.1", agent: false, ...options }, (answer) => {
      let text = "";
      answer.setEncoding("utf8");
      answer.on("data", (piece) => (text += piece));
      answer.on("error", fail);
      answer.on("end", () => {
        clearTimeout(timer);
        const { statusCode: status, headers } = answer;
        done({ status, type: headers["content-type"] ?? "", body: text, headers });
      });
    });
    const timer = setTimeout(() => {
      sent.destroy();
      done({ status: "none", type: "", body: "", headers: {} });
    }, limit);
    sent.on("error", (error) => {
      clearTimeout(timer);
      if (error.code === "ECONNRESET" && options.mayHang) done({ status: "none", type: "", body: "", headers: {} });
      else fail(error);
    });
    sent.end(body);
  });
}

/** A program behind the proxy: tells what it was asked, and whatever `answer` says. Close it with `close()`. */
export async function startTarget(answer = (request, response) => response.end()) {
  const asked = [];
  const server = createServer((request, response) => {
    asked.push({ method: request.method, url: request.url, headers: request.headers });
    answer(request, response);
  });
  await new Promise((done) => server.listen(0, "127.0.0.1", done));
  const { port } = server.address();
  const close = () => {
    server.closeAllConnections();
    return new Promise((done) => server.close(done));
  };
  return { server, port, url: `http://127.0.0.1:${port}`, asked, close };
}

process.on("exit", () => {
  for (const process of running) process.kill("SIGKILL");
});
