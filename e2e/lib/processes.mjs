// What runs on this machine, read from /proc.

import { readFile, readdir, readlink } from "node:fs/promises";

/** All processes: `{ pid, parent, command, state, started }`. */
export async function listProcesses() {
  const names = (await readdir("/proc")).filter((name) => /^\d+$/.test(name));
  const found = await Promise.all(names.map((name) => readProcess(Number(name))));
  return found.filter((process) => process !== undefined);
}

/** One process, or `undefined` if it is gone or only its exit status is left. */
export async function readProcess(pid) {
  try {
    const stat = await readFile(`/proc/${pid}/stat`, "utf8");
    // The name may hold anything: what follows it begins after the last parenthesis.
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    if (fields[0] === "Z" || fields[0] === "X") return undefined;
    const command = (await readFile(`/proc/${pid}/cmdline`, "utf8")).split("\0").join(" ").trim();
    return { pid, parent: Number(fields[1]), command, state: fields[0], started: fields[19] };
  } catch {
    return undefined;
  }
}

/** The processes whose command line or working folder is in a folder. */
export async function listProcessesIn(folder) {
  const found = [];
  for (const process of await listProcesses()) {
    const cwd = await readlink(`/proc/${process.pid}/cwd`).catch(() => "");
    if (process.command.includes(folder) || cwd.startsWith(folder)) found.push(process);
  }
  return found;
}

/** Proportional memory of a process in bytes: shared pages are counted in parts. */
export async function memoryOf(pid) {
  const text = await readFile(`/proc/${pid}/smaps_rollup`, "utf8");
  return Number(/^Pss:\s+(\d+) kB/m.exec(text)[1]) * 1024;
}
