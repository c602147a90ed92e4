// A gateway with services below paths: `lyceum serve` as an administrator would configure it, or, to try the tests
// themselves, a hand-written Nginx (LYCEUM_E2E_FRONT=nginx), which knows no login.

import { spawn } from "node:child_process";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { freePort } from "./ports.mjs";
import { environmentOfVersion } from "./serve.mjs";
import { until } from "./wait.mjs";

/** Whether the gateway in front is Lyceum, with its login and its pages. */
export const isLyceum = process.env.LYCEUM_E2E_FRONT !== "nginx";

/**
 * Starts a gateway with `sites`, each with `name`, `prefix`, `url`, `kind` (`generic` by default), `strip` (whether the
 * application gets paths without the prefix), `access` (`"public"`, `"users"` or names of groups), and `maxBody`.
 * `groups` are the hub's, with names of their users.
 */
export async function startSites({ serve }, sites, groups = {}) {
  if (!isLyceum) return Nginx.start(sites);
  const classes = Object.entries(groups).map(([name, users]) => `[groups.${name}]\nusers = ${JSON.stringify(users)}`);
  return serve({
    environment: environmentOfVersion("6.1"),
    // No server of a user plays a part.
    more: { hub: "redirect_to_server = false", rest: [...classes, ...sites.map(section)].join("\n") },
  });
}

/** The configuration of a service. */
function section(site) {
  const { name, prefix, url, kind = "generic", strip, access = "public", maxBody } = site;
  const lines = [`[[services]]`, `name = "${name}"`, `prefix = "${prefix}"`, `url = "${url}"`, `kind = "${kind}"`];
  if (strip !== undefined) lines.push(`strip_prefix = ${strip}`);
  lines.push(Array.isArray(access) ? `access = { groups = ${JSON.stringify(access)} }` : `access = "${access}"`);
  if (maxBody) lines.push(`max_body = "${maxBody}"`);
  return lines.join("\n");
}

/** An Nginx with the directives that its users write for such services. */
class Nginx {
  static async start(sites) {
    const front = new Nginx();
    front.user = "ada";
    front.folder = await mkdtemp(join(tmpdir(), "front-"));
    front.port = await freePort();
    front.url = `http://127.0.0.1:${front.port}`;
    await mkdir(join(front.folder, "temporary"));
    const config = join(front.folder, "nginx.conf");
    await writeFile(config, front.config(sites));
    front.process = spawn("nginx", ["-p", front.folder, "-c", config, "-e", "stderr"], { stdio: "inherit" });
    process.on("exit", () => front.process.kill("SIGKILL"));
    await until("nginx answers", async () => (await fetch(`${front.url}/none`)).status === 404, 10_000);
    return front;
  }

  config(sites) {
    const temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
    return `
daemon off; worker_processes 1; ${process.getuid() === 0 ? "user root; " : ""}pid ${this.folder}/nginx.pid;
events {}
http {
  access_log off;
  ${temporary.map((name) => `${name}_temp_path ${this.folder}/temporary/${name};`).join(" ")}
  map $http_upgrade $connection_upgrade { default upgrade; '' close; }
  server {
    listen 127.0.0.1:${this.port};
    absolute_redirect off;
    location / { return 404; }
${sites.map((site) => this.location(site)).join("")}
  }
}
`;
  }

  location({ prefix, url, kind, strip = kind === "shiny" || kind === "rstudio", maxBody }) {
    const { port } = new URL(url);
    const size = maxBody ? maxBody.replace(/ ?MB/, "m") : "0";
    return `
    location = ${prefix.slice(0, -1)} { return 301 ${prefix}; }
    location ${prefix} {
      proxy_pass ${url}${strip ? "/" : ""};
      proxy_http_version 1.1;
      proxy_set_header Host $http_host;
      proxy_set_header Upgrade $http_upgrade;
      proxy_set_header Connection $connection_upgrade;
      proxy_set_header X-RStudio-Root-Path ${kind === "rstudio" ? prefix.slice(0, -1) : '""'};
      ${strip ? `proxy_redirect http://localhost:${port}/ ${prefix}; proxy_redirect ${url}/ ${prefix};` : ""}
      ${strip ? `proxy_redirect ~^http://[^/]+(${prefix}.*)$ $1; proxy_redirect ~^http://127.0.0.1:${this.port}/(.*)$ ${prefix}$1;` : ""}
      ${strip ? `proxy_redirect ~^/(?!/|${prefix.slice(1)})(.*)$ ${prefix}$1;` : ""}
      ${strip ? `proxy_cookie_path ~^(?!${prefix.slice(0, -1)})/(.*)$ ${prefix}$1;` : ""}
      proxy_read_timeout 20d;
      proxy_buffering off;
      proxy_request_buffering off;
      client_max_body_size ${size};
    }
`;
  }

  async clean() {
    this.process.kill("SIGTERM");
    await until("nginx ends", () => this.process.exitCode !== null || this.process.signalCode !== null, 10_000);
    await rm(this.folder, { recursive: true, force: true });
  }
}
