// Two small apps below paths: one of Flask that knows its prefix, and one that believes to be at `/`.
// Both are told who their visitor is, and nobody else can tell them.

import assert from "node:assert/strict";
import { connect } from "node:net";

import { startPlain } from "./apps/plain.mjs";
import { startFlask } from "./lib/apps.mjs";
import { logIn } from "./lib/hub.mjs";
import { scenario } from "./lib/scenario.mjs";
import { isLyceum } from "./lib/sites.mjs";

/** Headers by which proxies tell applications who somebody is, in spellings that some servers take for the same. */
const CLAIMS = [
  "X-Forwarded-User",
  "x-forwarded-user",
  "X_Forwarded_User",
  "X-Forwarded_User",
  "X-Forwarded-Email",
  "X-Forwarded-Groups",
  "Remote-User",
  "Remote_User",
  "X-Remote-User",
  "REMOTE-USER",
];

scenario("apps below paths keep their links, and know their visitor", async ({ step, app, sites, visitor }) => {
  const flask = await step("start an app of Flask", () => app(startFlask("/quetzal/")));
  const plain = await step("start a plain app", () => app(startPlain()));
  const front = await sites([
    { name: "quetzal", prefix: "/quetzal/", url: flask.url, strip: false, access: "users" },
    { name: "plain", prefix: "/deep/plain/", url: plain.url, strip: true, access: "users" },
    { name: "open", prefix: "/open/", url: plain.url, strip: true, access: "public" },
  ]);
  const ada = await visitor(front);
  const { page } = ada;
  if (isLyceum) {
    await step("log in on the way", async () => {
      await ada.goTo("/quetzal");
      await page.waitForURL(/\/hub\/login/);
      await logIn(ada);
      await page.waitForURL(/\/quetzal\/$/);
    });
  } else {
    await ada.goTo("/quetzal");
  }

  await step("the app that knows its prefix works", async () => {
    await page.getByRole("heading", { name: "Quetzal" }).waitFor();
    if (isLyceum) await page.getByText("You are ada.").waitFor();
    await page.getByText("1 visits").waitFor();
    await page.getByRole("link", { name: "go on" }).click();
    await page.getByRole("heading", { name: "Arrived" }).waitFor();
    assert.equal(new URL(page.url()).pathname, "/quetzal/arrive");
    await page.getByRole("link", { name: "home" }).click();
    await page.getByText("2 visits").waitFor();
    const session = (await ada.context.cookies()).find(({ name }) => name === "session");
    assert.match(session.path, /^\/quetzal\/?$/);
  });

  await step("the app that believes to be at / works", async () => {
    await ada.goTo("/deep/plain");
    assert.equal(new URL(page.url()).pathname, "/deep/plain/");
    await page.getByText("plain: hello").waitFor();
    const colour = await page.locator("h1").evaluate((heading) => getComputedStyle(heading).color);
    assert.equal(colour, "rgb(1, 2, 3)");
  });
  await step("its redirects stay below the path", async () => {
    const cases = [
      ["/there?a=1#b", "/deep/plain/there?a=1#b"],
      [`${plain.url}/there`, "/deep/plain/there"],
      [`http://localhost:${plain.port}/there`, "/deep/plain/there"],
      [`${front.url}/there`, "/deep/plain/there"],
      ["there", "/deep/plain/there"],
      ["../there", "/deep/there"],
      ["/deep/plain/there", "/deep/plain/there"],
      ["https://elsewhere.example/there", "https://elsewhere.example/there"],
      ["//elsewhere.example/there", "http://elsewhere.example/there"],
      ["http://127.0.0.1:1/there", "http://127.0.0.1:1/there"],
      [`http://127.0.0.1.elsewhere.example:${plain.port}/`, `http://127.0.0.1.elsewhere.example:${plain.port}/`],
    ];
    for (const [to, expected] of cases) {
      const at = `${front.url}/deep/plain/redirect?to=${encodeURIComponent(to)}`;
      const answer = await ada.context.request.get(at, { maxRedirects: 0 });
      const location = answer.headers().location;
      assert.equal(new URL(location, at).href, new URL(expected, front.url).href, `${to} became ${location}`);
    }
  });
  await step("its cookies are for its path only", async () => {
    await ada.context.request.get(`${front.url}/deep/plain/cookie`);
    const all = await ada.context.cookies();
    const paths = ["plain", "deep"].map((name) => all.find((cookie) => cookie.name === name)?.path);
    assert.match(paths[0], /^\/deep\/plain\/?$/);
    assert.match(paths[1], /^\/deep\/plain\/deep$/);
  });
  assert.deepEqual(ada.complaints, []);
  if (!isLyceum) return;

  const headersAt = async (path, claims) => {
    const answer = await ada.context.request.get(`${front.url}${path}headers`, { headers: claims });
    assert.equal(answer.status(), 200);
    return answer.json();
  };
  await step("a visitor cannot claim to be somebody else", async () => {
    const claims = Object.fromEntries(CLAIMS.map((name) => [name, "mallory"]));
    for (const path of ["/deep/plain/", "/quetzal/"]) {
      const seen = await headersAt(path, claims);
      assert.ok(!JSON.stringify(seen).includes("mallory"), JSON.stringify(seen));
      const told = seen.filter(([name]) => name.toLowerCase() === "x-forwarded-user");
      assert.deepEqual(told.map(([, value]) => value), ["ada"]);
    }
  });
  await step("nor where everybody may enter", async () => {
    const claims = Object.fromEntries(CLAIMS.map((name) => [name, "mallory"]));
    const answer = await fetch(`${front.url}/open/headers`, { headers: claims });
    assert.equal(answer.status, 200);
    const text = await answer.text();
    assert.ok(!text.includes("mallory"), text);
  });
  await step("nor by a header twice, or by one that Connection names", async () => {
    const cookie = (await ada.context.cookies(`${front.url}/deep/plain/`)).map(({ name, value }) => `${name}=${value}`);
    const lines = [
      "GET /deep/plain/headers HTTP/1.1",
      `Host: ${new URL(front.url).host}`,
      `Cookie: ${cookie.join("; ")}`,
      "X-Forwarded-User: mallory",
      "Connection: close, X-Forwarded-User",
      "X-Forwarded-User: mallory",
    ];
    const answer = await raw(front.port, `${lines.join("\r\n")}\r\n\r\n`);
    assert.match(answer, /^HTTP\/1\.1 200 /);
    assert.ok(!answer.includes("mallory"), answer);
    assert.ok(answer.includes('["X-Forwarded-User","ada"]') || /"x-forwarded-user","ada"/i.test(answer), answer);
  });
  await step("the app does not get the hub's cookies", async () => {
    const asked = plain.seen.filter(({ url }) => url.startsWith("/headers"));
    const sent = asked.flatMap(({ headers }) => headers.filter(([name]) => name.toLowerCase() === "cookie"));
    const names = sent.flatMap(([, value]) => value.split("; ").map((pair) => pair.split("=")[0]));
    const own = (await ada.context.cookies(`${front.url}/hub/`)).filter(({ path }) => path === "/" || path === "/hub/");
    for (const { name } of own.filter((one) => one.httpOnly)) assert.ok(!names.includes(name), `${name} in ${names}`);
    assert.ok(names.includes("plain"), `the app gets its own: ${names}`);
  });
});

/** Sends bytes, and gives all that comes back until the other side closes. */
function raw(port, text) {
  return new Promise((resolve, reject) => {
    const socket = connect(port, "127.0.0.1", () => socket.write(text));
    let answer = "";
    socket.setTimeout(20_000, () => socket.destroy(new Error("no answer")));
    socket.on("data", (data) => (answer += data));
    socket.on("end", () => resolve(answer));
    socket.on("error", reject);
  });
}
