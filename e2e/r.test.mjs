// R in JupyterLab: a library that is built from a repository made here, a cell in R, and an upgrade while it runs.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { chmod, mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";

import { program } from "./lib/folders.mjs";
import { logIn, waitForLab } from "./lib/hub.mjs";
import { runCell, waitForIdle } from "./lib/lab.mjs";
import { scenario } from "./lib/scenario.mjs";
import { environmentOfVersion } from "./lib/serve.mjs";

const execute = promisify(execFile);

/** Puts a package into the repository below `folder`, in the place of other versions. */
async function publish(folder, version) {
  const sources = join(folder, "sources/lycdemo");
  await mkdir(join(sources, "R"), { recursive: true });
  await writeFile(
    join(sources, "DESCRIPTION"),
    `Package: lycdemo\nVersion: ${version}\nTitle: A Test\nDescription: For tests.\nLicense: MIT\n` +
      "Author: A. Tester\nMaintainer: A. Tester <a@example.org>\nImports: R6\n",
  );
  await writeFile(join(sources, "NAMESPACE"), "export(answer)\n");
  await writeFile(join(sources, "R/code.R"), `answer <- function() cat(6 * 7, "from", "${version}")\n`);
  const contrib = join(folder, "cran/src/contrib");
  await rm(contrib, { recursive: true, force: true });
  await mkdir(contrib, { recursive: true });
  await execute("tar", ["-czf", join(contrib, `lycdemo_${version}.tar.gz`), "-C", join(folder, "sources"), "lycdemo"]);
  await execute("Rscript", ["--vanilla", "-e", `invisible(tools::write_PACKAGES("${contrib}", type = "source"))`]);
}

scenario("a cell in R, and an upgrade of its library while it runs", async ({ step, serve, visitor }) => {
  // Where the account that builds can read.
  const folder = await mkdtemp(join(tmpdir(), "lyceum-r-"));
  await chmod(folder, 0o755);
  const config = join(folder, "lyceum.toml");
  await writeFile(
    config,
    `[env]\nfolder = "${folder}/envs"\n[env.r.base]\npackages = "packages.toml"\nsite_files = false\nbuild_as = "nobody"\n` +
      `repositories = ["file://${folder}/cran"]\n[auth]\nkind = "dummy"\n[access]\nallow_all = true\n`,
  );
  await writeFile(join(folder, "packages.toml"), 'cran = ["lycdemo"]\napt = ["IRkernel"]\n');
  const r = async (...words) =>
    (await execute(program, ["env", "r", ...words, "--config", config])).stdout;

  await step("build the library", async () => {
    await publish(folder, "1.0");
    const said = await r("build", "--switch");
    assert.match(said, /generation 1\n.*installed +1 +lycdemo 1\.0/s, said);
    const kernel = join(folder, "jupyter/kernels/ir");
    await mkdir(kernel, { recursive: true });
    await writeFile(join(kernel, "kernel.json"), await r("kernel"));
  });
  const hub = await serve({
    environment: environmentOfVersion("6.1"),
    spawner: `environment = { JUPYTER_PATH = "${folder}/jupyter" }`,
  });
  const ada = await visitor(hub);
  const { page } = ada;
  const open = async () => {
    await page.locator('.jp-LauncherCard[data-category="Notebook"][title^="R "]:visible').first().click();
    await page.locator(".jp-NotebookPanel:not(.lm-mod-hidden)").locator(".jp-Cell").first().waitFor();
    await waitForIdle(ada);
  };
  await step("log in, and open a notebook in R", async () => {
    await logIn(ada);
    await waitForLab(ada);
    await open();
  });
  assert.equal(await step("run a cell", () => runCell(ada, "lycdemo::answer()")), "42 from 1.0");
  await step("upgrade the library meanwhile", async () => {
    await publish(folder, "2.0");
    assert.match(await r("upgrade", "--switch"), /what runs keeps generation 1/);
  });
  assert.equal(await runCell(ada, "packageVersion('lycdemo')"), "[1] ‘1.0’", "what runs keeps its library");
  await step("a restarted kernel has the new one", async () => {
    await page.locator(".jp-NotebookPanel:not(.lm-mod-hidden)").getByRole("button", { name: /Restart the kernel/ }).first().click();
    await page.locator(".jp-Dialog .jp-mod-accept").click();
    await waitForIdle(ada);
    assert.equal(await runCell(ada, "cat(as.character(packageVersion('lycdemo')))"), "2.0");
  });
  assert.match(await r("rollback"), /have generation 1/);
  assert.deepEqual(ada.complaints, []);
  await rm(folder, { recursive: true, force: true });
});
