// `lyceum proxy` with TLS on every side: people's, that of the API, and that of targets, as JupyterHub sets it up.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { join } from "node:path";
import { promisify } from "node:util";
import { test } from "node:test";

import { freePort } from "./lib/ports.mjs";
import { newFolder, program } from "./lib/folders.mjs";
import { logIn, waitForLab } from "./lib/hub.mjs";
import { openNotebook, runCell } from "./lib/lab.mjs";
import { Proxy, ask, proxyCommand, startTarget } from "./lib/proxies.mjs";
import { scenario } from "./lib/scenario.mjs";
import { environmentOfVersion } from "./lib/serve.mjs";

// The certificates here are of nobody; only this file's process believes them.
process.env.NODE_TLS_REJECT_UNAUTHORIZED = "0";

const run = promisify(execFile);

/** Makes a certificate for this machine, signed by itself; gives its files. */
async function makeCertificate() {
  const folder = await newFolder("certificate");
  const [key, cert] = [join(folder, "key.pem"), join(folder, "cert.pem")];
  const names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"];
  const kind = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"];
  await run("openssl", [...kind, "-keyout", key, "-out", cert, ...names]).catch((error) => {
    throw new Error(`no certificate could be made: apt install openssl (${error.message})`);
  });
  return { key, cert };
}

for (const kind of ["lyceum", "configurable-http-proxy"]) {
  test(`${kind}: people are sent to https, and served there`, async (context) => {
    const { key, cert } = await makeCertificate();
    const behind = await startTarget((request, response) => response.end(request.headers["x-forwarded-proto"]));
    context.after(() => behind.close());
    const redirectPort = await freePort();
    const options = ["--ssl-key", key, "--ssl-cert", cert, "--redirect-port", redirectPort];
    const proxy = await Proxy.start(kind, options, { https: true });
    context.after(() => proxy.clean());
    await proxy.route("/", behind.url);
    const { status, body } = await proxy.get("/");
    assert.deepEqual({ status, body }, { status: 200, body: "https" });
    const redirect = await ask({ port: redirectPort, path: "/a?b=c", headers: { host: "127.0.0.1:80" } });
    assert.equal(redirect.status, 301);
    assert.equal(redirect.headers.location, `https://127.0.0.1:${proxy.port}/a?b=c`);
  });

  scenario(`${kind}: JupyterHub has TLS on every side`, async ({ step, jupyterhub, visitor }) => {
    const { key, cert } = await makeCertificate();
    const command = kind === "lyceum" ? [program, "proxy"] : proxyCommand(kind);
    const hub = await jupyterhub(
      environmentOfVersion("6.1"),
      `
from jupyterhub.spawner import SimpleLocalProcessSpawner

class Spawner(SimpleLocalProcessSpawner):
    # Users are no accounts of this machine.
    async def move_certs(self, paths):
        return paths

c.JupyterHub.spawner_class = Spawner
c.SimpleLocalProcessSpawner.home_dir_template = folder + "/home/{username}"
c.ConfigurableHTTPProxy.command = ${JSON.stringify(command)}
c.ConfigurableHTTPProxy.api_url = "https://127.0.0.1:" + c.ConfigurableHTTPProxy.api_url.split(":")[-1]
c.JupyterHub.hub_bind_url = "https://127.0.0.1:" + c.JupyterHub.hub_bind_url.split(":")[-1]
c.JupyterHub.internal_ssl = True
c.JupyterHub.internal_certs_location = folder + "/internal-ssl"
c.JupyterHub.ssl_key = ${JSON.stringify(key)}
c.JupyterHub.ssl_cert = ${JSON.stringify(cert)}
`,
      { scheme: "https" },
    );
    await step("start", () => hub.run());
    const ada = await visitor(hub, { ignoreHTTPSErrors: true });
    await step("log in", () => logIn(ada));
    await step("JupyterLab opens", () => waitForLab(ada));
    await step("open a notebook", () => openNotebook(ada));
    assert.equal(await runCell(ada, "print(6 * 7)"), "42");
  });
}
