// The REST API of `lyceum proxy` beside that of the real configurable-http-proxy: the same requests, the same answers.

import assert from "node:assert/strict";
import { test } from "node:test";

import { Proxy } from "./lib/proxies.mjs";
import { until } from "./lib/wait.mjs";

const TOKEN = "the-token-of-the-test";
const TARGET = '{"target":"http://127.0.0.1:9"}';

/** Starts both with the same options, and stops them at the end of the test. */
async function both(context, options = [], more = {}) {
  const proxies = [];
  context.after(() => Promise.all(proxies.map((proxy) => proxy.clean())));
  for (const kind of ["lyceum", "configurable-http-proxy"]) proxies.push(await Proxy.start(kind, options, more));
  return proxies;
}

/** What is compared of an answer: times are times, and what a JSON parser says about a mistake is its own. */
function essence({ status, type, body }) {
  const text = body
    .replace(/"last_activity":"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"/g, '"last_activity":"TIME"')
    .replace(/^(Body not valid JSON: ).*/s, "$1…");
  return { status, type, body: text };
}

/** Asks both the same, one request after the other, and collects where the answers differ. */
async function compare([ours, theirs], requests) {
  const differences = [];
  for (const [method, path, options = {}] of requests) {
    const [own, other] = await Promise.all([ours.api(method, path, options), theirs.api(method, path, options)]);
    try {
      assert.deepEqual(essence(own), essence(other));
    } catch {
      differences.push({ request: `${method} ${path} ${JSON.stringify(options)}`, ours: essence(own), theirs: essence(other) });
    }
  }
  assert.deepEqual(differences, []);
}

const post = (path, body = TARGET, more = {}) => ["POST", `/api/routes${path}`, { body, ...more }];
const get = (path) => ["GET", `/api/routes${path}`];
const remove = (path) => ["DELETE", `/api/routes${path}`];

test("routes come, are shown and go as in configurable-http-proxy", async (context) => {
  const proxies = await both(context, [], { token: TOKEN });
  const paths = [
    "",
    "/",
    "//",
    "/user/ada",
    "/user/ada/",
    "/user/ada//",
    "//user/double",
    "/user//inner",
    "/user/a%20b",
    "/user/%C3%BCml%C3%A4ut",
    "/user/a%2Fb",
    "/user/a%252Fb",
    "/user/a@b.cz",
    "/user/a~b",
    "/user/a+b",
    "/user/a%2Bb",
    "/user/%22quoted%22",
    "/user/%5Cback",
    "/user/x?query=1",
    "/user/../up",
    "/user/%2e%2e/up2",
    "/user/./here",
    "/user/..",
    "/a/b/c/d/e/f/g",
    "/UPPER/Case",
    "/api/routes/api/routes",
    "/%7Etilde",
    "/semi;colon=1",
    "/comma,and:colon",
    "/%F0%9F%8D%8B",
  ];
  for (const path of paths) {
    await compare(proxies, [post(path), get(path), get("")]);
  }
  await compare(proxies, [get("/"), get("//"), get("/nothing"), get("/user"), get("/user/ada/lab")]);
  for (const path of [...paths.slice(1), "/nothing", "/user"]) {
    await compare(proxies, [remove(path), remove(path), get(path)]);
  }
  await compare(proxies, [get("")]);
});

test("data of routes come back as they were given", async (context) => {
  const proxies = await both(context);
  const bodies = [
    '{"target":"http://127.0.0.1:9","user":"ada","server_name":"","jupyterhub":true}',
    '{"zebra":1,"target":"http://127.0.0.1:9","apple":{"z":[1,2,{"y":null}],"a":false}}',
    '{ "target" : "http://127.0.0.1:9" , "spaces" : [ 1 , 2 ] }',
    '{"target":"http://127.0.0.1:9","numbers":[0,-1,1.5,1.0,100,0.001,1e3,9007199254740991]}',
    '{"target":"http://127.0.0.1:9","text":"\\u00fc\\n\\"\\\\\\/ \\ud83c\\udf4b"}',
    '{"target":"http://127.0.0.1:9","twice":1,"other":2,"twice":3}',
    '{"last_activity":"yesterday","target":"http://127.0.0.1:9","after":1}',
    '{"target":"http://127.0.0.1:9","host":"mine"}',
    '{"target":"http://127.0.0.1:9/with/path/"}',
    '{"target":"https://127.0.0.1:9"}',
    '{"target":"http+unix://%2Frun%2Fx.sock"}',
    '{"target":"unix+http://%2Frun%2Fx.sock"}',
    '{"target":"http://[::1]:9"}',
    '{"target":"http://127.0.0.1"}',
    '{"target":"http://127.0.0.1:9","":"empty"}',
    '{"target":"http://127.0.0.1:9","deep":[[[[[[[[[[1]]]]]]]]]]}',
  ];
  for (const body of bodies) await compare(proxies, [post("/a", body), get("/a"), get("")]);
});

test("mistakes are answered as in configurable-http-proxy", async (context) => {
  const proxies = await both(context, [], { token: TOKEN });
  const bodies = ["", " ", "{", "nonsense", "null", "[]", "1", '"text"', "true", "{}", '{"target":1}', '{"target":null}', '{"Target":"http://h"}'];
  await compare(proxies, bodies.map((body) => post("/a", body)));
  const methods = ["PUT", "PATCH", "HEAD", "OPTIONS"];
  await compare(proxies, methods.flatMap((method) => [[method, "/api/routes"], [method, "/api/routes/a"], [method, "/api/other"]]));
  const paths = ["/", "/api", "/api/", "/api/other", "/api/routesx", "/api/route", "/routes", "/API/routes", "/api/%72outes", "/api//routes", "/metrics"];
  await compare(proxies, paths.flatMap((path) => [["GET", path], ["POST", path, { body: TARGET }], ["DELETE", path]]));
  const times = ["inactive_since=nonsense", "inactiveSince=nonsense", "inactive_since=", "inactive_since=2024-13-01", "inactive_since=%00"];
  await compare(proxies, times.map((query) => get(`?${query}`)));
});

test("the token is asked for as in configurable-http-proxy", async (context) => {
  const proxies = await both(context, [], { token: TOKEN });
  const texts = [
    `token ${TOKEN}`,
    `token  ${TOKEN}`,
    `token\t${TOKEN}`,
    `token ${TOKEN} more`,
    `token ${TOKEN}x`,
    `token ${TOKEN.slice(1)}`,
    `Token ${TOKEN}`,
    `TOKEN ${TOKEN}`,
    `Bearer ${TOKEN}`,
    `bearer token ${TOKEN}`,
    `token${TOKEN}`,
    `token x token ${TOKEN}`,
    TOKEN,
    "token",
    "",
  ];
  for (const authorization of texts) {
    const headers = { authorization };
    await compare(proxies, [
      ["GET", "/api/routes", { headers }],
      ["GET", "/api/routes/a", { headers }],
      ["POST", "/api/routes/a", { headers, body: TARGET }],
      ["DELETE", "/api/routes/a", { headers }],
      ["PUT", "/api/routes/a", { headers }],
      ["GET", "/api/nothing", { headers }],
    ]);
  }
  await compare(proxies, [["GET", "/api/routes", { headers: {} }], ["POST", "/api/routes/a", { headers: {}, body: TARGET }]]);
});

test("with host routing the first segment is the host", async (context) => {
  const proxies = await both(context, ["--host-routing"]);
  const paths = ["/", "/ada.example.org/user/ada", "/hub.example.org", "/hub.example.org/", "//odd.example.org/x", "/a%20b/c"];
  for (const path of paths) await compare(proxies, [post(path), get(path), get("")]);
  for (const path of paths) await compare(proxies, [remove(path), get("")]);
});

test("a default target is a route like others", async (context) => {
  const proxies = await both(context, ["--default-target", "http://127.0.0.1:9/x"]);
  await compare(proxies, [get(""), get("/"), post("/", '{"target":"http://127.0.0.1:10"}'), get(""), remove("/"), get("")]);
});

test("routes without activity since a time are found", async (context) => {
  const proxies = await both(context);
  await compare(proxies, [post("/old")]);
  const newest = async (proxy) => JSON.parse((await proxy.api("GET", "/api/routes/old")).body).last_activity;
  const created = await Promise.all(proxies.map(newest));
  await until("the clock has moved on", () => Date.now() > Math.max(...created.map((text) => Date.parse(text))) + 2);
  const between = new Date().toISOString();
  await until("the clock has moved on again", () => Date.now() > Date.parse(between) + 2);
  await compare(proxies, [post("/new")]);
  for (const name of ["inactive_since", "inactiveSince"]) {
    for (const time of [between, between.replace("Z", "%2B00:00"), "2020-01-01", "2020", "2099-01-01T00:00:00Z", "2099-12", "2099-01-01T00:00"]) {
      await compare(proxies, [get(`?${name}=${time}`), get(`/?${name}=${time}`)]);
    }
  }
  await compare(proxies, [get(`?inactive_since=2099&inactiveSince=2020`), get(`?inactive_since=2020&inactiveSince=2099`)]);
  const [own] = proxies;
  const found = JSON.parse((await own.api("GET", `/api/routes?inactive_since=${between}`)).body);
  assert.deepEqual(Object.keys(found), ["/old"]);
});

test("where configurable-http-proxy says nothing, or takes what cannot work, there is an answer", async (context) => {
  const [ours, theirs] = await both(context, [], { token: TOKEN });
  const differing = [
    // It never answers these.
    ["DELETE", "/api/routes", {}, 404, "none"],
    ["GET", "/api/routes/%FF", {}, 400, "none"],
    // A request to such a route fails.
    ["POST", "/api/routes/a", { body: '{"target":"nonsense"}' }, 400, 201],
    ["POST", "/api/routes/a", { body: '{"target":"ftp://h"}' }, 400, 201],
    // The token is asked for first.
    ["POST", "/api/routes/a", { body: "{", headers: {} }, 403, 400],
  ];
  for (const [method, path, options, own, other] of differing) {
    const [answer, answered] = await Promise.all([ours.api(method, path, options), theirs.api(method, path, options)]);
    assert.deepEqual([answer.status, answered.status], [own, other], `${method} ${path}`);
  }
});
