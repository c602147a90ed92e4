// A kernel, spoken with by its WebSocket as JupyterLab does: code goes in, what it printed comes out.

import { randomBytes, randomUUID } from "node:crypto";
import { request as plain } from "node:http";
import { request as secure } from "node:https";

import { within } from "./wait.mjs";

/** How long a kernel may take to connect, on a busy machine. */
const CONNECT_LIMIT = 180_000;
/** How long code may run, unless it is said otherwise. */
const RUN_LIMIT = 120_000;

/** An open connection to a kernel. */
export class Kernel {
  /** Who waits for what a request brings: by the id of the request. */
  waiting = new Map();
  /** Why it is no longer open. */
  lost = undefined;

  /**
   * Opens the channels of a kernel at `path`, with the cookies of `person`; waits until the kernel answers.
   *
   * Where many kernels start at once, the server closes the connection before one has; pages then open another.
   */
  static async connect(person, path, id) {
    const deadline = Date.now() + CONNECT_LIMIT;
    let before;
    for (;;) {
      const kernel = await Kernel.open(person, path, id).catch((error) => {
        // Why the connection before was lost tells more than that the kernel is unknown by now.
        throw before ? new Error(`${error.message}, after ${before}`) : error;
      });
      try {
        // Until the kernel is connected behind the server, what it prints would be lost.
        await within("a kernel answers", kernel.ask("kernel_info_request", {}).ended, Math.max(deadline - Date.now(), 1));
        return kernel;
      } catch (error) {
        const closed = kernel.lost !== undefined;
        kernel.close();
        if (!closed || Date.now() >= deadline - 1000) throw error;
        before = error.message;
      }
    }
  }

  static async open(person, path, id) {
    const session = randomUUID();
    const call = person.url.protocol === "https:" ? secure : plain;
    const opening = new Promise((done, fail) => {
      const sent = call(new URL(`${path}?session_id=${session}`, person.url), {
        ...person.connection,
        // It keeps its connection for itself.
        agent: false,
        headers: {
          ...person.headers,
          Connection: "Upgrade",
          Upgrade: "websocket",
          Origin: person.url.origin,
          Cookie: person.cookiesFor(path),
          "Sec-WebSocket-Version": "13",
          "Sec-WebSocket-Key": randomBytes(16).toString("base64"),
        },
      });
      sent.on("upgrade", (_, socket, head) => done({ socket, head }));
      sent.on("response", (answer) => {
        answer.resume();
        fail(new Error(`no WebSocket to the kernel: ${answer.statusCode}`));
      });
      sent.on("error", fail);
      sent.end();
    });
    const { socket, head } = await within("a WebSocket to a kernel opens", opening, CONNECT_LIMIT);
    const kernel = new Kernel(socket, session, id);
    kernel.read(head);
    return kernel;
  }

  constructor(socket, session, id) {
    this.socket = socket;
    this.session = session;
    this.id = id;
    this.bytes = Buffer.alloc(0);
    this.parts = [];
    socket.on("data", (bytes) => this.read(bytes));
    socket.on("error", (error) => this.end(error));
    socket.on("close", () => this.end(new Error("the connection to the kernel has closed")));
  }

  /** Runs code, and gives what it has printed; fails with the kernel's error. */
  async run(code, limit = RUN_LIMIT) {
    const asked = this.ask("execute_request", { code, silent: false, store_history: false, allow_stdin: false });
    const { text, error } = await within(`the code ${code.split("\n")[0]} has run`, asked.ended, limit);
    if (error) throw new Error(`${error.ename}: ${error.evalue}\n${error.traceback.join("\n")}`);
    return text.trimEnd();
  }

  /** Sends a request; `ended` waits until the kernel is idle after it. */
  ask(type, content) {
    const id = randomUUID();
    const header = { msg_id: id, msg_type: type, session: this.session, username: "", version: "5.3", date: new Date().toISOString() };
    const ended = new Promise((done, fail) => {
      if (this.lost) fail(this.lost);
      this.waiting.set(id, { text: "", error: undefined, replied: false, idle: false, done, fail });
    });
    // Whoever does not wait for it learns of a failure elsewhere.
    ended.catch(() => {});
    this.write(0x1, Buffer.from(JSON.stringify({ channel: "shell", header, parent_header: {}, metadata: {}, content, buffers: [] })));
    return { id, ended };
  }

  /** Closes the connection; the kernel goes on. */
  close() {
    this.lost ??= new Error("closed");
    this.socket.destroy();
  }

  came(message) {
    const waiting = this.waiting.get(message.parent_header?.msg_id);
    if (!waiting) return;
    const { msg_type: type } = message.header;
    const { content } = message;
    if (type === "stream") waiting.text += content.text;
    if (type === "execute_result" || type === "display_data") waiting.text += content.data["text/plain"] ?? "";
    if (type === "error") waiting.error = content;
    if (type.endsWith("_reply")) waiting.replied = true;
    if (type === "status" && content.execution_state === "idle") waiting.idle = true;
    if (waiting.replied && waiting.idle) {
      this.waiting.delete(message.parent_header.msg_id);
      waiting.done(waiting);
    }
  }

  end(error) {
    this.lost ??= error;
    for (const waiting of this.waiting.values()) waiting.fail(this.lost);
    this.waiting.clear();
  }

  /** Takes frames apart (RFC 6455 §5). */
  read(bytes) {
    this.bytes = Buffer.concat([this.bytes, bytes]);
    for (;;) {
      if (this.bytes.length < 2) return;
      const short = this.bytes[1] & 0x7f;
      const start = short === 126 ? 4 : short === 127 ? 10 : 2;
      if (this.bytes.length < start) return;
      const length = short === 126 ? this.bytes.readUInt16BE(2) : short === 127 ? Number(this.bytes.readBigUInt64BE(2)) : short;
      if (this.bytes.length < start + length) return;
      const [first] = this.bytes;
      const payload = this.bytes.subarray(start, start + length);
      this.bytes = this.bytes.subarray(start + length);
      this.frame(first & 0x0f, (first & 0x80) !== 0, payload);
    }
  }

  frame(kind, last, payload) {
    if (kind === 0x8) {
      this.end(new Error("the server has closed the connection to the kernel"));
      this.socket.end();
    } else if (kind === 0x9) {
      this.write(0xa, payload);
    } else if (kind <= 0x2) {
      this.parts.push(payload);
      if (!last) return;
      const whole = Buffer.concat(this.parts);
      this.parts = [];
      try {
        this.came(JSON.parse(whole.toString("utf8")));
      } catch (error) {
        this.end(error);
      }
    }
  }

  write(kind, payload) {
    const length = payload.length;
    const head = Buffer.alloc(length < 126 ? 2 : length < 65_536 ? 4 : 10);
    head[0] = 0x80 | kind;
    if (length < 126) head[1] = 0x80 | length;
    else if (length < 65_536) {
      head[1] = 0x80 | 126;
      head.writeUInt16BE(length, 2);
    } else {
      head[1] = 0x80 | 127;
      head.writeBigUInt64BE(BigInt(length), 2);
    }
    const mask = randomBytes(4);
    const masked = Buffer.from(payload);
    for (let at = 0; at < length; at += 1) masked[at] ^= mask[at % 4];
    this.socket.write(Buffer.concat([head, mask, masked]));
  }
}
