// An application that believes to be at `/` and knows nothing of proxies, and keeps what it was asked.

import { createServer } from "node:http";

import { echo } from "./websocket.mjs";

/** Starts one; gives `{ url, port, seen, close }`. `seen` holds `{ method, url, headers }`, the headers as they came. */
export async function startPlain() {
  const seen = [];
  const server = createServer((request, response) => {
    seen.push({ method: request.method, url: request.url, headers: pairs(request.rawHeaders) });
    const { pathname, searchParams } = new URL(request.url, "http://plain");
    response.setHeader("Connection", "keep-alive");
    if (pathname === "/redirect") {
      response.writeHead(302, { Location: searchParams.get("to") }).end();
    } else if (pathname === "/cookie") {
      response.writeHead(200, { "Set-Cookie": ["plain=1; Path=/; HttpOnly", "deep=1; Path=/deep", "bare=1"] }).end("set");
    } else if (pathname === "/headers") {
      response.writeHead(200, { "Content-Type": "application/json" }).end(JSON.stringify(pairs(request.rawHeaders)));
    } else if (pathname === "/style.css") {
      response.writeHead(200, { "Content-Type": "text/css" }).end("h1 { color: rgb(1, 2, 3) }");
    } else if (pathname === "/") {
      response.writeHead(200, { "Content-Type": "text/html" }).end(PAGE);
    } else {
      response.writeHead(404, { "Content-Type": "text/plain" }).end(`nothing at ${pathname}`);
    }
  });
  server.on("upgrade", (request, socket) => {
    seen.push({ method: "UPGRADE", url: request.url, headers: pairs(request.rawHeaders) });
    echo(request, socket, "plain: ");
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address();
  const close = async () => {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  };
  return { port, url: `http://127.0.0.1:${port}`, seen, close };
}

function pairs(raw) {
  return raw.flatMap((name, index) => (index % 2 ? [] : [[name, raw[index + 1]]]));
}

const PAGE = `<!doctype html>
<title>Plain</title><link rel=icon href="data:,"><link rel=stylesheet href="style.css">
<h1>Plain</h1>
<p id=answer>nothing yet</p>
<script>
  const socket = new WebSocket(new URL("socket", location.href.replace(/^http/, "ws")));
  socket.onopen = () => socket.send("hello");
  socket.onmessage = (event) => (document.getElementById("answer").textContent = event.data);
</script>`;
