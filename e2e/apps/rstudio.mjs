// An application that behaves towards a proxy as RStudio Server documents: a login of its own, redirects to absolute
// URLs, cookies for its root path, long polls, a WebSocket and big uploads. Nothing of RStudio is in it.
//
// Its public address it takes, in this order, from X-RStudio-Request, from X-Forwarded-Host and -Proto, or from Host;
// its root path from X-RStudio-Root-Path. The `stubborn` one, as old versions are, believes in none of these:
// it redirects to http://localhost:PORT and has cookies for `/`.

import { createHash, randomBytes } from "node:crypto";
import { createServer } from "node:http";
import { pipeline } from "node:stream/promises";

import { echo } from "./websocket.mjs";

/** Starts one; gives `{ url, port, seen, close }`. `seen` holds `{ method, url, headers }`. */
export async function startRStudio({ stubborn = false } = {}) {
  const studio = new RStudio(stubborn);
  await new Promise((resolve) => studio.server.listen(0, "127.0.0.1", resolve));
  const { port } = studio.server.address();
  studio.port = port;
  studio.url = `http://127.0.0.1:${port}`;
  return studio;
}

class RStudio {
  seen = [];
  #sessions = new Set();

  constructor(stubborn) {
    this.stubborn = stubborn;
    this.server = createServer((request, response) => {
      this.#answer(request, response).catch((error) => response.destroy(error));
    });
    // A long poll or a slow upload is nothing that ends.
    this.server.requestTimeout = 0;
    this.server.on("upgrade", (request, socket) => {
      this.#note(request, "UPGRADE");
      if (this.#isKnown(request)) echo(request, socket, "R: ");
      else socket.end("HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n");
    });
  }

  async close() {
    this.server.closeAllConnections();
    await new Promise((resolve) => this.server.close(resolve));
  }

  #note(request, method) {
    this.seen.push({ method, url: request.url, headers: request.headers });
  }

  /** The path of its root as browsers see it, without a slash at the end. */
  #root(request) {
    const told = this.stubborn ? undefined : request.headers["x-rstudio-root-path"];
    return (told ?? "").replace(/\/$/, "");
  }

  /** The absolute URL of a path of its own. */
  #absolute(request, path) {
    if (this.stubborn) return `http://localhost:${this.port}${path}`;
    const { headers } = request;
    if (headers["x-rstudio-request"]) return new URL(headers["x-rstudio-request"]).origin + this.#root(request) + path;
    const host = headers["x-forwarded-host"] ?? headers.host;
    const scheme = headers["x-forwarded-proto"] ?? "http";
    // It understands a single scheme, not the list that two proxies make.
    return `${scheme}://${host}${this.#root(request)}${path}`;
  }

  #cookie(request, name, value, more = "") {
    return `${name}=${value}; Path=${this.#root(request) || "/"}; SameSite=Lax${more}`;
  }

  #isKnown(request) {
    return this.#sessions.has(cookies(request)["user-id"]);
  }

  async #answer(request, response) {
    this.#note(request, request.method);
    const { pathname } = new URL(request.url, "http://rstudio");
    const redirect = (path, headers = {}) => {
      response.writeHead(302, { Location: this.#absolute(request, path), ...headers }).end();
    };
    const html = (text) => response.writeHead(200, { "Content-Type": "text/html" }).end(text);
    if (pathname === "/auth-sign-in") {
      const token = randomBytes(8).toString("hex");
      response.setHeader("Set-Cookie", this.#cookie(request, "csrf-token", token));
      return html(SIGN_IN.replace("TOKEN", token));
    }
    if (pathname === "/auth-do-sign-in") {
      const form = new URLSearchParams((await collect(request)).toString());
      if (!form.get("csrf-token") || form.get("csrf-token") !== cookies(request)["csrf-token"]) {
        return response.writeHead(400).end("the CSRF token of the form is not that of the cookie");
      }
      const session = randomBytes(8).toString("hex");
      this.#sessions.add(session);
      return redirect("/", { "Set-Cookie": this.#cookie(request, "user-id", session, "; HttpOnly") });
    }
    if (!this.#isKnown(request)) {
      request.resume();
      return redirect("/auth-sign-in");
    }
    if (pathname === "/") return html(WORKBENCH);
    if (pathname === "/workbench.js") {
      return response.writeHead(200, { "Content-Type": "text/javascript" }).end(SCRIPT);
    }
    if (pathname === "/events/get_events") {
      const { seconds } = JSON.parse((await collect(request)).toString());
      setTimeout(() => response.writeHead(200, { "Content-Type": "application/json" }).end('{"result":[]}'), seconds * 1000);
      return undefined;
    }
    if (pathname === "/upload") {
      const hash = createHash("sha256");
      let bytes = 0;
      await pipeline(request, async function* (source) {
        for await (const part of source) {
          bytes += part.length;
          hash.update(part);
        }
      });
      const answer = JSON.stringify({ bytes, sha256: hash.digest("hex") });
      return response.writeHead(200, { "Content-Type": "application/json" }).end(answer);
    }
    if (pathname === "/auth-sign-out") {
      return redirect("/auth-sign-in", { "Set-Cookie": this.#cookie(request, "user-id", "", "; Max-Age=0") });
    }
    return response.writeHead(404, { "Content-Type": "text/plain" }).end(`nothing at ${pathname}`);
  }
}

function cookies(request) {
  const pairs = (request.headers.cookie ?? "").split("; ").map((pair) => pair.split("="));
  return Object.fromEntries(pairs);
}

async function collect(request) {
  const parts = [];
  for await (const part of request) parts.push(part);
  return Buffer.concat(parts);
}

const SIGN_IN = `<!doctype html>
<title>Sign in</title><link rel=icon href="data:,"><h1>Sign in to R</h1>
<form method=post action=auth-do-sign-in>
  <input type=hidden name=csrf-token value=TOKEN>
  <label>Username <input name=username></label>
  <button>Sign In</button>
</form>`;

const WORKBENCH = `<!doctype html>
<title>R</title><link rel=icon href="data:,"><h1>R</h1>
<p id=socket>not connected</p>
<form method=post action=upload enctype=multipart/form-data><input type=file name=file><button>Upload</button></form>
<a href=auth-sign-out>Sign out</a>
<script src=workbench.js></script>`;

const SCRIPT = `
const socket = new WebSocket(new URL("socket", location.href.replace(/^http/, "ws")));
socket.onopen = () => socket.send("1 + 1");
socket.onmessage = (event) => (document.getElementById("socket").textContent = event.data);
window.poll = async (seconds) => {
  const answer = await fetch("events/get_events", { method: "POST", body: JSON.stringify({ seconds }) });
  return { status: answer.status, body: await answer.text() };
};
window.upload = async (megabytes) => {
  const data = new Uint8Array(megabytes * 1_000_000);
  for (let at = 0; at + 64 < data.length; at += 4_096) crypto.getRandomValues(data.subarray(at, at + 64));
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", data));
  const sha256 = [...digest].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  const answer = await fetch("upload", { method: "POST", body: new Blob([data]) });
  return { sha256, status: answer.status, answer: await answer.text() };
};`;
