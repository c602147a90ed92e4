// Python environments and those who use them: a switch disturbs nobody, the next start has what is current then, people
// are told of it, and shells have the same tools and variables as kernels.

import assert from "node:assert/strict";
import { existsSync } from "node:fs";

import { Generations } from "./lib/generations.mjs";
import { foldersOf } from "./lib/host.mjs";
import { Hosted, reached } from "./lib/hosted.mjs";
import { logIn, stopFromHome, waitForLab } from "./lib/hub.mjs";
import { scenario } from "./lib/scenario.mjs";
import { environmentOfVersion } from "./lib/serve.mjs";
import { until } from "./lib/wait.mjs";

scenario("people are told at their JupyterLab that a newer environment is ready, once", async ({ step, app, serve, visitor }) => {
  const envs = await app(Generations.make(environmentOfVersion("6.1")));
  await step("two generations, the first is current", async () => {
    await Promise.all([1, 2].map((number) => envs.build("base", number)));
    await envs.switch("base", 1);
  });
  // Compressing files takes longer than all of this.
  const hub = await serve({ spawner: "static_files = false", more: { rest: `[env]\nfolder = "${envs.at}"\n[env.python.base]\ntitle = "For all"\n` } });
  const ada = await visitor(hub);
  const { page } = ada;
  const notice = page.locator("#lyceum-notice");
  const told = async () => {
    const answer = await ada.context.request.fetch(`${hub.url}/hub/notices/servers/ada`, { headers: { "X-Lyceum-Notices": "1" } });
    return (await answer.json()).python?.at ?? null;
  };
  await step("JupyterLab opens, and there is nothing to tell", async () => {
    await logIn(ada);
    await waitForLab(ada);
    assert.equal(await told(), null);
    assert.equal(await notice.count(), 0);
  });
  await step("after the switch, a page tells", async () => {
    await envs.switch("base", 2);
    await until("the hub has seen it", async () => (await told()) === "base/2", 20_000);
    await page.reload();
    await notice.getByText("A newer version of the Python environment is ready.").waitFor();
    assert.equal(await notice.getAttribute("role"), "status");
  });
  await step("hidden once, it stays hidden", async () => {
    await notice.getByRole("button", { name: "Hide" }).click();
    await notice.waitFor({ state: "detached" });
    const asked = page.waitForResponse((response) => response.url().includes("/hub/notices/"));
    await page.reload();
    await (await asked).finished();
    await waitForLab(ada);
    assert.equal(await notice.count(), 0);
  });
  await step("the home page tells, until the server is started again", async () => {
    await ada.goTo("/hub/home");
    await page.getByText("For all, version 1").waitFor();
    await page.getByText("A newer version of the Python environment is ready.").waitFor();
    await stopFromHome(ada);
    await ada.goTo("/hub/spawn");
    await waitForLab(ada);
    await ada.goTo("/hub/home");
    await page.getByText("For all, version 2").waitFor();
    assert.equal(await page.getByText("A newer version").count(), 0);
  });
});

const names = ["ada", "bob", "eve", "joe", "zoe"];
const variables = { NLTK_DATA: "/srv/lyceum/data/nltk_data", JULIA_DEPOT_PATH: ":/srv/lyceum/it's/julia" };
/** What a shell says of them, and of where it finds a tool. */
const QUESTION = 'printf "%s|%s|%s" "$NLTK_DATA" "$JULIA_DEPOT_PATH" "$(command -v jupyter)"';
const answer = (folder) => `${variables.NLTK_DATA}|${variables.JULIA_DEPOT_PATH}|${folder}/bin/jupyter`;

scenario("five people compute while the environment is switched, and shells have what kernels have", async ({ step, app, host: boot }) => {
  const environment = environmentOfVersion("6.1");
  const envs = await app(Generations.make(environment, "/opt/lyceum/envs"));
  assert.ok(existsSync("/usr/bin/zsh"), "install zsh");
  const host = await step("boot a host with two generations", async () => {
    await Promise.all([1, 2].map((number) => envs.build("base", number)));
    await envs.switch("base", 1);
    return boot({ folders: foldersOf(environment).slice(1), options: [`--bind-ro=${envs.folder}:${envs.at}`] });
  });
  const hub = await step("install and start", async () => {
    await host.addUsers(names, (name) => `the password of ${name}`);
    const set = Object.entries(variables).map(([name, value]) => `${name} = "${value}"`);
    const installed = await Hosted.install(
      host,
      (ports) => `${reached(ports)}
[auth]
kind = "pam"
[access]
allow_all = true
admin_users = ["zoe"]
[spawner]
kind = "systemd"
[env]
folder = "${envs.at}"
[env.python.base]
[env.variables]
${set.join("\n")}
`,
    );
    await host.run("systemctl", "enable", "--now", "lyceum-broker.socket");
    await installed.start();
    return installed;
  });
  const people = names.map((name) => hub.person(name, `the password of ${name}`));
  const [ada, bob, , , zoe] = people;

  const kernels = await step("everybody has a kernel of the first generation", () =>
    Promise.all(
      people.map(async (person) => {
        await person.mustLogIn();
        await person.startServer();
        await person.openServer();
        const kernel = await person.startKernel();
        assert.equal(await kernel.run("import sys; print(sys.prefix)"), envs.prefix("base", 1));
        return kernel;
      }),
    ),
  );
  await step("a switch while they compute disturbs nobody", async () => {
    const code = `
import subprocess, time
for index in range(40):
    time.sleep(0.05)
import nbconvert
child = subprocess.run([sys.executable, "-c", "import sys; print(sys.prefix)"], capture_output=True, text=True, check=True)
print(index, sys.prefix, child.stdout.strip(), nbconvert.__file__.startswith(sys.prefix))`;
    const computing = kernels.map((kernel) => kernel.run(code));
    await envs.switch("base", 2);
    const first = envs.prefix("base", 1);
    for (const printed of await Promise.all(computing)) assert.equal(printed, `39 ${first} ${first} True`);
    // A kernel that is started later belongs to its server, too.
    const later = await ada.startKernel();
    assert.equal(await later.run("import sys; print(sys.prefix)"), first);
    later.close();
  });
  await step("the next start has the new one, and after going back the old one", async () => {
    const again = async (person, number) => {
      await person.stopServer();
      assert.equal(await person.compute("import sys; print(sys.prefix)"), envs.prefix("base", number));
      const { json } = await zoe.api("GET", `/users/${person.name}`);
      assert.deepEqual(json.servers[""].state.python, { name: "base", generation: number, prefix: envs.prefix("base", number) });
    };
    await again(ada, 2);
    await envs.switch("base", 1);
    await again(bob, 1);
  });

  await step("shells of every kind have the variables and the tools", async () => {
    await host.put("/usr/bin/zsh", "/usr/bin/zsh", "755");
    await host.put("/etc/zsh/zshenv", "/etc/zsh/zshenv");
    await host.shell("chsh --shell /bin/bash ada; usermod --shell /usr/bin/zsh eve");
    await host.run("lyceum", "env", "shell", "--write");
    assert.match(await host.run("lyceum", "env", "shell", "--write"), /nothing to change/);
    const current = `${envs.at}/python/base/current`;
    for (const words of [
      ["su", "-", "ada", "-c", QUESTION],
      ["su", "-", "eve", "-c", QUESTION],
      ["runuser", "-u", "ada", "--", "sh", "-lc", QUESTION],
      ["runuser", "-u", "ada", "--", "bash", "-lc", QUESTION],
      ["runuser", "-u", "ada", "--", "bash", "-ic", QUESTION],
      ["runuser", "-u", "eve", "--", "zsh", "-lc", QUESTION],
      ["runuser", "-u", "eve", "--", "zsh", "-c", QUESTION],
      // As sshd has bash run a command.
      ["runuser", "-u", "ada", "--", "env", "SSH_CLIENT=192.0.2.1 1 22", "SHLVL=", "bash", "-c", QUESTION],
    ]) {
      assert.equal(await host.run(...words), answer(current), words.join(" "));
    }
    // The system's own Python stays root's.
    const ofRoot = 'command -v python3; command -v jupyter';
    assert.equal(await host.run("bash", "-lc", ofRoot), `/usr/bin/python3\n${current}/bin/jupyter\n`);
  });
  await step("so have kernels, and terminals have their server's generation", async () => {
    const code = `
import subprocess
for shell in [["bash", "-c"], ["bash", "-lc"]]:
    print(subprocess.run(shell + ['''${QUESTION}'''], capture_output=True, text=True, check=True).stdout)`;
    for (const [person, number] of [[ada, 2], [bob, 1]]) {
      const kernel = await person.startKernel();
      const expected = answer(envs.prefix("base", number));
      assert.equal(await kernel.run(code), `${expected}\n${expected}`);
      kernel.close();
    }
  });
  await step("taken out again, nothing is left", async () => {
    await host.run("lyceum", "env", "shell", "--remove");
    assert.equal(await host.run("runuser", "-u", "ada", "--", "bash", "-lc", QUESTION), "||");
    assert.equal((await host.attempt("grep", "-rl", "lyceum", "/etc/profile.d", "/etc/bash.bashrc", "/etc/zsh")).status, 1);
  });
  for (const kernel of kernels) kernel.close();
});
