// WebSockets by hand (RFC 6455), many at once: a service that sends back what it gets, and clients that count.

import { createHash, randomBytes } from "node:crypto";

import { startTarget } from "./proxies.mjs";
import { within } from "./wait.mjs";

/** How long an answer may take while a thousand others are under way. */
const LIMIT = 30_000;

/** A program that sends each message back, of 8 bytes; `answer` answers other requests. Close it with `close()`. */
export async function startEcho(answer) {
  const target = await startTarget(answer);
  const sockets = new Set();
  target.server.on("upgrade", (request, socket) => {
    sockets.add(socket);
    socket.on("error", () => {});
    socket.on("close", () => sockets.delete(socket));
    socket.write(
      "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
        `Sec-WebSocket-Accept: ${proof(request.headers["sec-websocket-key"])}\r\n\r\n`,
    );
    let waiting = Buffer.alloc(0);
    socket.on("data", (bytes) => {
      waiting = Buffer.concat([waiting, bytes]);
      // Two bytes of head, four of mask, eight of message.
      for (; waiting.length >= 14; waiting = waiting.subarray(14)) {
        const message = waiting.subarray(6, 14).map((byte, at) => byte ^ waiting[2 + (at % 4)]);
        socket.write(Buffer.concat([Buffer.from([0x82, 8]), message]));
      }
    });
  });
  const close = async () => {
    for (const socket of sockets) socket.destroy();
    await target.close();
  };
  return { ...target, close, sockets };
}

/** A WebSocket on a stream that is open: sends numbers, and waits for them to come back. */
export class Counter {
  sent = 0;
  /** Why it is no longer open. */
  lost = undefined;

  /** Opens one on a TLS connection of its own. */
  static async open(hub, path, options) {
    const socket = await hub.connect(options);
    const key = randomBytes(16).toString("base64");
    socket.write(
      `GET ${path} HTTP/1.1\r\nHost: ${new URL(hub.url).host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n` +
        `Origin: ${hub.url}\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ${key}\r\n\r\n`,
    );
    const head = await readHead(socket);
    if (!head.startsWith("HTTP/1.1 101 ")) throw new Error(`no WebSocket: ${head}`);
    return new Counter(socket);
  }

  /** Opens one as a stream of a session of HTTP/2 (RFC 8441). */
  static async openIn(session, hub, path) {
    const stream = session.request({
      ":method": "CONNECT",
      ":protocol": "websocket",
      ":scheme": "https",
      ":authority": new URL(hub.url).host,
      ":path": path,
      origin: hub.url,
      "sec-websocket-version": "13",
    });
    const opened = new Promise((done, fail) => {
      stream.once("error", fail);
      stream.once("response", (headers) => done(headers[":status"]));
    });
    const status = await within("a WebSocket by HTTP/2", opened, LIMIT);
    if (status !== 200) throw new Error(`no WebSocket by HTTP/2: ${status}`);
    return new Counter(stream);
  }

  constructor(stream) {
    this.stream = stream;
    let waiting = Buffer.alloc(0);
    stream.on("data", (bytes) => {
      waiting = Buffer.concat([waiting, bytes]);
      // Two bytes of head, eight of message.
      for (; waiting.length >= 10; waiting = waiting.subarray(10)) this.came(Number(waiting.readBigUInt64BE(2)));
    });
    stream.on("error", (error) => this.end(error));
    stream.on("close", () => this.end(new Error("closed")));
  }

  came(number) {
    if (number === this.sent) this.answered?.();
    else this.end(new Error(`${number} came back in place of ${this.sent}`));
  }

  end(error) {
    this.lost ??= error;
    this.failed?.(this.lost);
  }

  /** Sends a number, and waits until it has come back. */
  count() {
    if (this.lost) return Promise.reject(this.lost);
    this.sent += 1;
    const frame = Buffer.concat([Buffer.from([0x82, 0x88]), randomBytes(4), Buffer.alloc(8)]);
    frame.writeBigUInt64BE(BigInt(this.sent), 6);
    for (let at = 0; at < 8; at += 1) frame[6 + at] ^= frame[2 + (at % 4)];
    const answer = new Promise((done, fail) => {
      this.answered = done;
      this.failed = fail;
    });
    this.stream.write(frame);
    return within("a message comes back", answer, LIMIT);
  }

  close() {
    this.stream.destroy();
  }
}

/** Does `work` for each of `count` numbers, `atOnce` at a time. */
export async function many(count, atOnce, work) {
  const results = [];
  let next = 0;
  const worker = async () => {
    while (next < count) {
      const number = next++;
      results[number] = await work(number);
    }
  };
  await Promise.all(Array.from({ length: atOnce }, worker));
  return results;
}

function proof(key) {
  return createHash("sha1").update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest("base64");
}

/** Reads the head of an answer, byte by byte no further. */
function readHead(socket) {
  const reading = new Promise((done, fail) => {
    let head = "";
    const onReadable = () => {
      for (let byte = socket.read(1); byte !== null; byte = socket.read(1)) {
        head += byte.toString("latin1");
        if (head.endsWith("\r\n\r\n")) {
          socket.off("readable", onReadable);
          done(head);
          return;
        }
      }
    };
    socket.on("readable", onReadable);
    socket.once("error", fail);
    socket.once("close", () => fail(new Error(`closed after ${JSON.stringify(head)}`)));
  });
  return within("the head of an answer", reading, LIMIT);
}
