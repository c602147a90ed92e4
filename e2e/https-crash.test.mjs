// The program is killed at any moment of an order: the old certificate or the new one is there, whole.

import assert from "node:assert/strict";
import { createPrivateKey, X509Certificate } from "node:crypto";
import { readFile, stat } from "node:fs/promises";
import { join } from "node:path";

import { choosePorts, NAME } from "./lib/https.mjs";
import { scenario } from "./lib/scenario.mjs";
import { until } from "./lib/wait.mjs";

/** When it is killed, in ms after an order has begun: one takes about two seconds. */
const MOMENTS = [0, 150, 300, 450, 600, 800, 1000, 1150, 1300, 1450, 1600, 1750, 1900];

scenario(
  "kill -9 at any moment of an order leaves a whole certificate",
  async ({ step, secure, pebble, context }) => {
    const ports = await choosePorts();
    const authority = await pebble(ports);
    await authority.start();
    const hub = await secure({
      ports,
      tls: `domains = ["${NAME}"]\n[tls.acme]\nprofile = "default"\n${authority.settings}`,
    });
    const ca = await authority.root();
    const file = join(hub.dataFolder, "data/certificates", `${NAME}.pem`);
    const trusted = async () => {
      const socket = await hub.connect({ ca, rejectUnauthorized: true });
      const { serialNumber } = socket.getPeerCertificate();
      socket.destroy();
      return serialNumber;
    };
    /** The serial number of what is kept; `undefined` if nothing is. What is there must be whole. */
    const kept = async () => {
      const text = await readFile(file, "utf8").catch(() => undefined);
      if (text === undefined) return undefined;
      const certificate = new X509Certificate(text);
      assert.ok(certificate.checkPrivateKey(createPrivateKey(text)), "key and certificate belong together");
      assert.equal((await stat(file)).mode & 0o777, 0o600);
      return certificate.serialNumber;
    };
    const passes = (ms) => new Promise((done) => setTimeout(done, ms));

    await step("the first order", async () => {
      for (const moment of MOMENTS.filter((_, at) => at % 3 === 1)) {
        await passes(moment);
        await hub.crash();
        await kept();
        await hub.start();
      }
      await until("it is trusted", trusted, 60_000);
      assert.equal(await trusted(), await kept());
    });

    let replaced = 0;
    for (const moment of MOMENTS) {
      await step(`a renewal, killed after ${moment} ms`, async () => {
        const before = await trusted();
        const renewing = hub.cert("renew", NAME).catch((error) => error);
        await passes(moment);
        await hub.crash();
        await renewing;
        const after = await kept();
        await hub.start();
        // Never the one that is signed by itself: that would not be trusted.
        assert.equal(await trusted(), after);
        if (after !== before) replaced += 1;
      });
    }
    context.diagnostic(`${replaced} of ${MOMENTS.length} renewals were through before`);

    await step("the next one works", async () => {
      const before = await trusted();
      assert.match(await hub.cert("renew", NAME), /renewed: valid until/);
      assert.notEqual(await trusted(), before);
      assert.equal((await hub.certificates())[NAME].failures, 0);
    });
    const log = await authority.log();
    const [orders, accounts] = [/Added order /g, /There are now \d+ accounts/g].map((said) => [...log.matchAll(said)].length);
    context.diagnostic(`${orders} orders, ${accounts} accounts`);
    assert.ok(orders <= MOMENTS.length + 6, `${orders} orders: what was begun is taken up`);
    assert.ok(accounts <= 2, `${accounts} accounts`);
  },
  3 * 60_000,
);
