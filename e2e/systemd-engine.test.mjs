// The part of the broker that runs servers as units of systemd, against a real systemd: its own tests, in a booted host.

import assert from "node:assert/strict";
import { existsSync } from "node:fs";

import { scenario } from "./lib/scenario.mjs";

scenario("the engine for systemd does what it promises", async ({ step, host: boot }) => {
  const tests = process.env.LYCEUM_TEST_SYSTEMD_ENGINE;
  assert.ok(
    tests && existsSync(tests),
    "LYCEUM_TEST_SYSTEMD_ENGINE must name the program that `cargo test -p lyceum-broker --test systemd_engine --no-run` builds",
  );
  const host = await step("boot a host", () => boot());
  await host.put(tests, "/root/systemd-engine", "755");
  await step("run its tests there", async () => {
    const { status, stdout, stderr } = await host.attempt("/root/systemd-engine", "--test-threads=4");
    assert.equal(status, 0, `${stdout}\n${stderr}`);
    assert.match(stdout, /test result: ok\. [1-9]\d* passed/);
  });
});
