// Ports for programs that are started in a moment. A port that the system gives to whoever asks may be given to another
// test meanwhile, so they are taken from below those (Linux: ip_local_port_range, from 32768 on).

import { createServer } from "node:net";

/** Blocks of ports, of which a process of tests takes one; where they begin, and how many there are. */
const FIRST = 12_000;
const SIZE = 100;
const BLOCKS = 160;

let block;
let next = 1;

/** A port on which nothing listens at the moment, and that no other test is given. */
export async function freePort() {
  block ??= takeBlock();
  const first = await block;
  for (let tries = 0; tries < SIZE; tries += 1) {
    const port = first + next;
    next = (next % (SIZE - 1)) + 1;
    const server = await listen(port);
    if (server) {
      await new Promise((resolve) => server.close(resolve));
      return port;
    }
  }
  throw new Error(`all ports from ${first} to ${first + SIZE - 1} are in use`);
}

/** Ports on which nothing listens at the moment, each another one. */
export async function freePorts(count) {
  const ports = [];
  while (ports.length < count) ports.push(await freePort());
  return ports;
}

/** Takes a block for as long as this process lives, by listening on its first port; gives that. */
async function takeBlock() {
  for (let tries = 0; tries < BLOCKS; tries += 1) {
    const first = FIRST + ((process.pid + tries) % BLOCKS) * SIZE;
    const server = await listen(first);
    if (server) {
      server.unref();
      return first;
    }
  }
  throw new Error("no block of ports is free");
}

/** Listens on a port of this machine; gives nothing if somebody else does. */
function listen(port) {
  return new Promise((resolve) => {
    const server = createServer();
    server.once("error", () => resolve(undefined));
    server.listen(port, "127.0.0.1", () => resolve(server));
  });
}
