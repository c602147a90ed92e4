// Certificates in files of others, as certbot leaves them: read when they change, and left if they cannot be used.

import assert from "node:assert/strict";
import { X509Certificate } from "node:crypto";
import { mkdir, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";

import { TestAuthority } from "./lib/certificates.mjs";
import { newFolder } from "./lib/folders.mjs";
import { choosePorts, NAME, startTrusting } from "./lib/https.mjs";
import { logIn } from "./lib/hub.mjs";
import { scenario } from "./lib/scenario.mjs";
import { until } from "./lib/wait.mjs";
import { Counter, startEcho } from "./lib/websockets.mjs";

const LIMIT = 2 * 60_000;

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
    if (!wrongKey) this.serial = new X509Certificate(await readFile(cert)).serialNumber;
  }

  /** Removes the links. */
  async remove() {
    for (const kind of ["privkey", "fullchain"]) await rm(this.live(kind));
  }
}
