// As much of RFC 6455 as the applications of the tests need: a server that echoes, and a client that asks to upgrade.

import { createHash, randomBytes } from "node:crypto";
import { request } from "node:http";

const GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/** Accepts an upgrade and sends each text back with `before` in front, until the other side closes. */
export function echo(incoming, socket, before = "") {
  const accept = createHash("sha1").update(incoming.headers["sec-websocket-key"] + GUID).digest("base64");
  socket.write(
    `HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${accept}\r\n\r\n`,
  );
  let held = Buffer.alloc(0);
  socket.on("error", () => {});
  socket.on("data", (data) => {
    held = Buffer.concat([held, data]);
    for (;;) {
      const frame = read(held);
      if (!frame) return;
      held = held.subarray(frame.end);
      if (frame.opcode === 8) return socket.end(frameOf(8, frame.payload));
      if (frame.opcode === 9) socket.write(frameOf(10, frame.payload));
      if (frame.opcode === 1) socket.write(frameOf(1, Buffer.from(before + frame.payload.toString())));
    }
  });
}

function read(data) {
  if (data.length < 6) return undefined;
  let [length, at] = [data[1] & 127, 2];
  if (length === 126) [length, at] = [data.readUInt16BE(2), 4];
  if (length === 127) throw new Error("the tests send no frame of this size");
  if (data.length < at + 4 + length) return undefined;
  const mask = data.subarray(at, at + 4);
  const payload = Buffer.from(data.subarray(at + 4, at + 4 + length)).map((byte, index) => byte ^ mask[index % 4]);
  return { opcode: data[0] & 15, payload, end: at + 4 + length };
}

function frameOf(opcode, payload) {
  if (payload.length > 125) throw new Error("the tests send no frame of this size");
  return Buffer.concat([Buffer.from([128 | opcode, payload.length]), payload]);
}

/** Asks for a WebSocket as a browser does; gives the status of the answer, 101 if it was granted. */
export function statusOfUpgrade(url, headers = {}) {
  return new Promise((resolve, reject) => {
    const asking = request(url, {
      timeout: 20_000,
      headers: {
        Connection: "Upgrade",
        Upgrade: "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": randomBytes(16).toString("base64"),
        Origin: new URL(url).origin,
        ...headers,
      },
    });
    asking.on("upgrade", (answer, socket) => {
      socket.destroy();
      resolve(answer.statusCode);
    });
    asking.on("response", (answer) => {
      answer.resume();
      resolve(answer.statusCode);
    });
    asking.on("timeout", () => asking.destroy(new Error(`no answer to an upgrade of ${url}`)));
    asking.on("error", reject);
    asking.end();
  });
}
