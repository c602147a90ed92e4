// A person who uses the hub and a server by the requests of a browser, without one: many of them fit on a machine.

import { request as plain } from "node:http";
import { request as secure } from "node:https";

import { Kernel } from "./kernel.mjs";
import { Final, until, within } from "./wait.mjs";

/** A single-user server needs a few seconds, and more where many start at once. */
const START_LIMIT = 180_000;
/** How long one answer may take. */
const ANSWER_LIMIT = 60_000;
/** A browser follows no more redirects than this. */
const REDIRECTS = 15;

/** One person with cookies of their own. */
export class Person {
  /** All cookies: `{ name, value, path }`; there is one host only. */
  cookies = [];

  /**
   * `url` is the hub's, such as `http://127.0.0.1:8000`; `connection` are options of Node's requests, such as a `lookup`
   * of the name, and `headers` are sent with each.
   */
  constructor(url, name, password, { connection = {}, headers = {} } = {}) {
    this.url = new URL(url);
    this.name = name;
    this.password = password;
    this.connection = connection;
    this.headers = headers;
  }

  /** Sends one request, and gives `{ status, headers, body, path }`; `form` and `json` are bodies. */
  async send(method, path, { form, json, headers = {} } = {}) {
    const all = { ...this.headers, Accept: "text/html,application/json;q=0.9,*/*;q=0.8", ...headers };
    const cookie = this.cookiesFor(path);
    if (cookie) all.Cookie = cookie;
    let body;
    if (form) {
      body = new URLSearchParams(form).toString();
      all["Content-Type"] = "application/x-www-form-urlencoded";
    } else if (json !== undefined) {
      body = JSON.stringify(json);
      all["Content-Type"] = "application/json";
    }
    if (body !== undefined) all["Content-Length"] = Buffer.byteLength(body);
    if (method !== "GET") {
      all.Origin ??= this.url.origin;
      all.Referer ??= `${this.url.origin}${path}`;
    }
    const call = this.url.protocol === "https:" ? secure : plain;
    const sending = new Promise((done, fail) => {
      const options = { ...this.connection, method, headers: all };
      const sent = call(new URL(path, this.url), options, (answer) => {
        const chunks = [];
        answer.on("data", (chunk) => chunks.push(chunk));
        answer.on("error", fail);
        answer.on("end", () => {
          const text = Buffer.concat(chunks).toString("utf8");
          done({ status: answer.statusCode, headers: answer.headers, body: text, path });
        });
      });
      sent.on("error", fail);
      sent.end(body);
    });
    const answer = await within(`${method} ${path}`, sending, ANSWER_LIMIT);
    for (const line of answer.headers["set-cookie"] ?? []) this.keep(line, path);
    return answer;
  }

  /** Goes to a page and where it leads; gives the last answer. */
  async go(path, method = "GET", options = {}) {
    let answer = await this.send(method, path, options);
    for (let count = 0; answer.status >= 300 && answer.status < 400 && answer.headers.location; count += 1) {
      if (count === REDIRECTS) throw new Error(`${path} leads round in circles, by ${answer.path}`);
      const next = new URL(answer.headers.location, new URL(answer.path, this.url));
      if (next.origin !== this.url.origin) throw new Error(`${answer.path} leads away, to ${next}`);
      answer = await this.send("GET", next.pathname + next.search);
    }
    return answer;
  }

  /** Logs in by the form of the login page, and gives the page after it. A wrong password is told by status 403. */
  async logIn() {
    await this.go("/hub/login");
    const form = { _xsrf: this.xsrf("/hub/login"), username: this.name, password: this.password };
    return this.send("POST", "/hub/login", { form });
  }

  /** Logs in, and fails if that does. */
  async mustLogIn() {
    const answer = await this.logIn();
    if (answer.status !== 302) throw new Error(`${this.name} could not log in: ${answer.status}\n${answer.body}`);
  }

  /** Asks the hub's API with the person's own cookies; gives `{ status, json }`. */
  async api(method, path, json) {
    const headers = { "X-XSRFToken": this.xsrf("/hub/"), Referer: `${this.url.origin}/hub/home` };
    const answer = await this.send(method, `/hub/api${path}`, { json, headers });
    return { status: answer.status, json: answer.body ? JSON.parse(answer.body) : undefined };
  }

  /** Starts the server, and waits until it is ready. */
  async startServer(server = "", options) {
    const at = server ? `/users/${this.name}/servers/${server}` : `/users/${this.name}/server`;
    const asked = await this.api("POST", at, options);
    if (asked.status !== 201 && asked.status !== 202) {
      throw new Error(`${this.name} could not start a server: ${asked.status} ${JSON.stringify(asked.json)}`);
    }
    return this.waitForServer(server);
  }

  /** Waits until the server is ready; fails as soon as its start has failed. */
  async waitForServer(server = "") {
    const model = await until(
      `the server ${this.name}/${server} is ready`,
      async () => {
        const { status, json } = await this.api("GET", `/users/${this.name}`);
        if (status !== 200) throw new Error(`${status} ${JSON.stringify(json)}`);
        const found = json.servers?.[server];
        // The hub lists servers that run or are about to.
        if (!found) throw new Final(`the server ${this.name}/${server} did not start`);
        return (found.ready || !found.pending) && found;
      },
      START_LIMIT,
      250,
    );
    if (!model.ready) throw new Error(`the server ${this.name}/${server} did not start`);
    return model;
  }

  /** Stops the server, and waits until it has ended. */
  async stopServer(server = "") {
    const at = server ? `/users/${this.name}/servers/${server}` : `/users/${this.name}/server`;
    const asked = await this.api("DELETE", at);
    if (asked.status !== 202 && asked.status !== 204) throw new Error(`stop: ${asked.status} ${JSON.stringify(asked.json)}`);
    const gone = async () => !(await this.api("GET", `/users/${this.name}`)).json.servers?.[server];
    await until(`the server ${this.name}/${server} has ended`, gone, START_LIMIT, 250);
  }

  /** The server's path. */
  base(server = "") {
    return server ? `/user/${this.name}/${server}/` : `/user/${this.name}/`;
  }

  /** Opens the server's page, which logs in there by way of the hub. */
  async openServer(server = "") {
    const answer = await this.go(`${this.base(server)}lab`);
    if (answer.status !== 200) throw new Error(`${answer.path}: ${answer.status}\n${answer.body.slice(0, 2000)}`);
  }

  /** Sends a request to the server's API, by a path such as `api/kernels`. */
  async inServer(method, path, { server = "", json } = {}) {
    const base = this.base(server);
    const headers = { "X-XSRFToken": this.xsrf(base), Accept: "application/json" };
    return this.send(method, `${base}${path}`, { json, headers });
  }

  /** Starts a kernel in the server, which must have been opened, and connects to it. Close it with `close()`. */
  async startKernel(server = "") {
    const answer = await this.inServer("POST", "api/kernels", { server, json: { name: "python3" } });
    if (answer.status !== 201) throw new Error(`no kernel: ${answer.status} ${answer.body}`);
    return this.connectKernel(JSON.parse(answer.body).id, server);
  }

  /** Connects to a kernel that runs in the server. */
  connectKernel(id, server = "") {
    return Kernel.connect(this, `${this.base(server)}api/kernels/${id}/channels`, id);
  }

  /** Starts the server, opens it, runs code in a new kernel and gives what it has printed. */
  async compute(code, server = "") {
    await this.startServer(server);
    await this.openServer(server);
    const kernel = await this.startKernel(server);
    try {
      return await kernel.run(code);
    } finally {
      kernel.close();
    }
  }

  /** The cookies that a browser would send to a path. */
  cookiesFor(path) {
    const at = path.split("?")[0];
    const meant = this.cookies.filter((cookie) => matches(at, cookie.path));
    // The most specific first, as browsers do.
    meant.sort((one, other) => other.path.length - one.path.length);
    return meant.map((cookie) => `${cookie.name}=${cookie.value}`).join("; ");
  }

  /** The token against forged requests that belongs to a path. */
  xsrf(path) {
    const meant = this.cookies.filter((cookie) => cookie.name === "_xsrf" && matches(path, cookie.path));
    meant.sort((one, other) => other.path.length - one.path.length);
    return meant[0]?.value ?? "";
  }

  keep(line, path) {
    const [pair, ...attributes] = line.split(";").map((part) => part.trim());
    const name = pair.slice(0, pair.indexOf("="));
    const value = pair.slice(pair.indexOf("=") + 1);
    const of = (wanted) => attributes.find((text) => text.toLowerCase().startsWith(`${wanted}=`))?.slice(wanted.length + 1);
    const at = of("path") ?? path.slice(0, path.lastIndexOf("/") + 1);
    const over = of("max-age") === "0" || (of("expires") && Date.parse(of("expires")) < Date.now());
    this.cookies = this.cookies.filter((cookie) => cookie.name !== name || cookie.path !== at);
    if (!over) this.cookies.push({ name, value, path: at });
  }
}

/** Whether a cookie of `cookie` is sent to `path` (RFC 6265 §5.1.4). */
function matches(path, cookie) {
  return path === cookie || (path.startsWith(cookie) && (cookie.endsWith("/") || path[cookie.length] === "/"));
}
