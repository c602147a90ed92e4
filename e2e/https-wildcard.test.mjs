// A certificate for all names below one, which only the DNS can prove: by a program of the administrator's.

import assert from "node:assert/strict";
import { Resolver } from "node:dns/promises";
import { fileURLToPath } from "node:url";

import { choosePorts, NAME, startTrusting } from "./lib/https.mjs";
import { scenario } from "./lib/scenario.mjs";
import { until } from "./lib/wait.mjs";

const LIMIT = 2 * 60_000;
const WILDCARD = `*.${NAME}`;
const hook = fileURLToPath(new URL("lib/dns-hook.mjs", import.meta.url));

scenario(
  "a program changes the DNS for a certificate with a star",
  async ({ step, secure, pebble, visitor, keep }) => {
    const ports = await choosePorts();
    const authority = await pebble(ports);
    await authority.start();
    const command = JSON.stringify([process.execPath, hook, authority.dnsApi]);
    const hub = await secure({
      ports,
      tls: `
domains = ["${NAME}", "${WILDCARD}"]
[tls.acme]
${authority.settings}
[tls.acme.dns]
kind = "command"
command = ${command}
# The name server of these tests is not the one of this machine.
propagation_timeout = "0s"
`,
    });
    await step("both certificates come by themselves", async () => {
      const trusted = (id) => hub.metric("lyceum_certificate_trusted", id);
      const both = async () => (await trusted(NAME)) === 1 && (await trusted(`_.${NAME}`)) === 1;
      await until("both are trusted", both, 60_000);
    });
    await step("each name is shown its own", async () => {
      assert.equal((await hub.shown(NAME)).subjectaltname, `DNS:${NAME}`);
      const star = await hub.shown(`ada.${NAME}`);
      assert.equal(star.subjectaltname, `DNS:${WILDCARD}`);
      assert.match(star.issuer.CN, /Pebble/);
      assert.equal((await hub.shown(`ada.more.${NAME}`)).subjectaltname, `DNS:${NAME}`, "a star is one level");
    });
    await step("the record is gone again", async () => {
      const names = new Resolver({ timeout: 5_000 });
      names.setServers([`127.0.0.1:${authority.dnsPort}`]);
      assert.match(await authority.log(), new RegExp(`Added TXT response for Host "_acme-challenge.${NAME}`));
      await assert.rejects(names.resolveTxt(`_acme-challenge.${NAME}`), { code: /ENODATA|ENOTFOUND/ });
    });
    await step("it is renewed the same way", async () => {
      const before = await hub.shown(`ada.${NAME}`);
      assert.match(await hub.cert("renew", WILDCARD), /renewed: valid until/);
      const after = await hub.shown(`ada.${NAME}`);
      assert.notEqual(after.serialNumber, before.serialNumber);
      assert.equal(after.subjectaltname, `DNS:${WILDCARD}`);
    });
    await step("a browser opens a name below it without a warning", async () => {
      const browser = await keep(startTrusting([await authority.root()]));
      const ada = await visitor(hub, { browser });
      const answer = await ada.page.goto(`https://ada.${NAME}:${ports.tls}/hub/login`);
      assert.equal(answer.status(), 200);
      assert.match((await answer.securityDetails()).issuer, /Pebble/);
    });
    await step("it ends without a complaint", async () => {
      assert.equal((await hub.interrupt()).code, 0);
      assert.doesNotMatch(hub.output, / ERROR /);
    });
  },
  LIMIT,
);
