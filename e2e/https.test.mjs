// HTTPS from the first start on, as people see it: a browser that trusts the authority, and none that is told to look away.

import assert from "node:assert/strict";

import { choosePorts, NAME, startTrusting } from "./lib/https.mjs";
import { logIn, waitForLab } from "./lib/hub.mjs";
import { openNotebook, runCell } from "./lib/lab.mjs";
import { scenario } from "./lib/scenario.mjs";
import { environmentOfVersion } from "./lib/serve.mjs";
import { until } from "./lib/wait.mjs";

const LIMIT = 3 * 60_000;

/** What a page says above all else. */
const noticesOf = async (visitor) => (await visitor.page.locator("aside.announcement").allInnerTexts()).join("\n");

scenario(
  "https works by itself once the authority answers",
  async ({ step, secure, pebble, visitor, keep }) => {
    const ports = await choosePorts();
    const authority = await pebble(ports);
    const hub = await secure({
      ports,
      environment: environmentOfVersion("6.1"),
      tls: `domains = ["${NAME}"]\n[tls.acme]\n${authority.settings}`,
      gateway: 'hsts = "1h"',
    });

    const careless = await keep(startTrusting());
    const [boss, ada] = await step("before the authority answers, the server is there", async () => {
      const shown = await hub.shown();
      assert.equal(shown.subjectaltname, `DNS:${NAME}`);
      assert.equal(shown.ca, false);
      assert.deepEqual(shown.issuer, shown.subject, "signed by itself");
      assert.equal(await hub.metric("lyceum_certificate_trusted", NAME), 0);
      assert.equal((await hub.get("/hub/login")).headers["strict-transport-security"], undefined);
      const failed = async () => (await hub.certificates())[NAME].failures > 0;
      await until("the first try has failed", failed);
      const of = (user) => visitor(hub, { browser: careless, ignoreHTTPSErrors: true, user });
      return [await of("root"), await of("ada")];
    });

    await step("an administrator reads what to do, nobody else", async () => {
      await boss.goTo("/hub/login?next=/hub/token");
      assert.doesNotMatch(await boss.page.locator("body").innerText(), /certificate/i, "the login page");
      await logIn(boss);
      await boss.goTo("/hub/token");
      const said = await noticesOf(boss);
      assert.match(said, new RegExp(`There is no certificate for ${NAME} yet`));
      assert.match(said, /could not|cannot|refused/i, "why");
      await ada.goTo("/hub/login?next=/hub/token");
      await logIn(ada);
      await ada.goTo("/hub/token");
      assert.doesNotMatch(await ada.page.locator("body").innerText(), /certificate/i, "an ordinary user");
    });

    await step("the authority answers, and the certificate is renewed", async () => {
      await authority.start();
      assert.match(await hub.cert("renew"), new RegExp(`${NAME}: renewed: valid until`));
      assert.equal(await hub.metric("lyceum_certificate_trusted", NAME), 1);
      assert.equal((await hub.get("/hub/login")).headers["strict-transport-security"], "max-age=3600");
      await boss.page.reload();
      assert.equal(await noticesOf(boss), "");
    });

    await step("a browser that does not know the authority is warned", async () => {
      const stranger = await visitor(hub, { browser: careless });
      await assert.rejects(stranger.goTo("/"), /ERR_CERT_AUTHORITY_INVALID/);
    });

    const trusting = await keep(startTrusting([await authority.root()]));
    const eve = await visitor(hub, { browser: trusting, user: "eve" });
    const states = await step("http:// leads to https://, without a warning", async () => {
      const states = await watchSecurity(eve);
      const answer = await eve.page.goto(`${hub.plainUrl}/`);
      const url = new URL(eve.page.url());
      assert.equal(url.origin, hub.url);
      assert.equal(url.pathname, "/hub/login");
      const details = await answer.securityDetails();
      assert.match(details.issuer, /Pebble/);
      assert.equal(details.protocol, "TLS 1.3");
      assert.equal(answer.headers()["strict-transport-security"], "max-age=3600");
      return states;
    });
    await step("log in", () => logIn(eve));
    await step("JupyterLab opens", () => waitForLab(eve));
    await step("the page came by HTTP/2, and is secure", async () => {
      const protocol = await eve.page.evaluate(() => performance.getEntriesByType("navigation")[0].nextHopProtocol);
      assert.equal(protocol, "h2");
      assert.equal(await eve.page.evaluate(() => window.isSecureContext), true);
      assert.deepEqual([...new Set(states)], ["secure"]);
      const loose = (await eve.context.cookies()).filter((cookie) => !cookie.secure);
      // This one is JupyterHub's own, made in the user's server, and lets nobody in.
      const known = `_xsrf for /user/${eve.user}/`;
      const carried = loose.map(({ name, path }) => `${name} for ${path}`).filter((cookie) => cookie !== known);
      assert.deepEqual(carried, [], "cookies that http would carry");
    });
    await step("open a notebook", () => openNotebook(eve));
    assert.equal(await runCell(eve, "print(6 * 7)"), "42");
    assert.deepEqual([...new Set(states)], ["secure"], "after all");
    assert.deepEqual(eve.complaints, []);
  },
  LIMIT,
);

/** Collects what the browser says of the pages of a visitor, such as `secure`. */
async function watchSecurity(visitor) {
  const states = [];
  const session = await visitor.context.newCDPSession(visitor.page);
  session.on("Security.visibleSecurityStateChanged", ({ visibleSecurityState }) => {
    // An empty page, as before the first, is of no kind.
    if (visibleSecurityState.securityState !== "neutral") states.push(visibleSecurityState.securityState);
  });
  await session.send("Security.enable");
  return states;
}
