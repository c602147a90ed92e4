// Where the tests find the program and leave what they made: all below `target/`.

import { mkdir, mkdtemp, symlink } from "node:fs/promises";
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";

const root = resolve(fileURLToPath(import.meta.url), "../../..");

/** The folder of everything that tests leave: data folders, logs, screenshots. */
export const results = join(root, "target/e2e");

/** The program under test. */
export const program = process.env.LYCEUM_TEST_PROGRAM ?? join(root, "target/debug/lyceum");

/** Environments that one test made and the others use: making one takes a minute. */
const sharedEnvironments = join(results, "shared/envs");

/** Makes a new, empty folder for a test. */
export async function newFolder(name) {
  const folder = join(results, "data");
  await mkdir(folder, { recursive: true });
  return mkdtemp(join(folder, `${name}-`));
}

/**
 * Makes a data folder for `lyceum demo` whose Python environment is the one that other tests use too;
 * the first to use it makes the environment.
 */
export async function newDataFolder(name) {
  const folder = await newFolder(name);
  await mkdir(sharedEnvironments, { recursive: true });
  await symlink(sharedEnvironments, join(folder, "envs"));
  return folder;
}

/** The Python environment's folder in a data folder. */
export function environmentOf(dataFolder) {
  return join(dataFolder, "envs/python/base/current");
}
