// Python environments as `lyceum env` leaves them: generations beside each other, and a link to the current one. They are
// made of an environment that is there, by hard links, which takes a moment and no space.

import { execFile } from "node:child_process";
import { chmod, lstat, mkdir, readFile, readdir, rename, rm, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";

import { newFolder } from "./folders.mjs";

/** A folder of environments, `[env] folder`. */
export class Generations {
  /**
   * Makes an empty one. Its programs know themselves by their place, which is `at` where the folder is seen from
   * elsewhere.
   */
  static async make(environment, at) {
    const folder = await newFolder("envs");
    // Everybody's servers run from it.
    await chmod(folder, 0o755);
    return new Generations(environment, folder, at ?? folder);
  }

  constructor(environment, folder, at) {
    this.environment = environment;
    this.folder = folder;
    this.at = at;
  }

  /** What `sys.prefix` is in a generation. */
  prefix(name, number) {
    return `${this.at}/python/${name}/${number}`;
  }

  /** Makes a generation. It is not switched to. */
  async build(name, number) {
    const folder = join(this.folder, "python", name);
    await mkdir(folder, { recursive: true });
    const copy = join(folder, String(number));
    await promisify(execFile)("cp", ["-al", this.environment, copy]);
    const bin = join(copy, "bin");
    for (const file of await readdir(bin)) {
      const path = join(bin, file);
      if (!(await lstat(path)).isFile()) continue;
      const bytes = await readFile(path);
      const [line] = bytes.subarray(0, 300).toString("latin1").split("\n");
      if (!/^#!.*\/bin\/python[\d.]*$/.test(line)) continue;
      // The link is taken away first: what it led to is another environment's.
      await rm(path);
      const own = Buffer.from(`#!${this.prefix(name, number)}/bin/python`);
      await writeFile(path, Buffer.concat([own, bytes.subarray(line.length)]), { mode: 0o755 });
    }
  }

  /** Makes a generation the current one, by one rename. */
  async switch(name, number) {
    const draft = join(this.folder, "python", name, "current.new");
    await symlink(String(number), draft);
    await rename(draft, join(this.folder, "python", name, "current"));
  }

  // What a scenario does at its end.
  close() {
    return rm(this.folder, { recursive: true });
  }
}
