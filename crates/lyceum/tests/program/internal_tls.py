"""Talks to a user's server, to the hub's API and to the gateway, as programs of all sorts would.

Runs with the environment of a user's server; says what it has found as JSON. `GATEWAY` is the address for people, and
`OTHER_CERTIFICATES` a folder with what another user's server was given.
"""

import asyncio
import http.client
import json
import os
import ssl
import urllib.error
import urllib.request
from urllib.parse import urlparse

from jupyterhub.services.auth import HubAuth
from jupyterhub.utils import make_ssl_context
from tornado.httpclient import HTTPRequest
from tornado.websocket import websocket_connect

TOKEN = os.environ["JUPYTERHUB_API_TOKEN"]
API = os.environ["JUPYTERHUB_API_URL"]
SERVER = os.environ["JUPYTERHUB_SERVICE_URL"]
PREFIX = os.environ["JUPYTERHUB_SERVICE_PREFIX"]
GATEWAY = os.environ["GATEWAY"]
OTHER = os.environ["OTHER_CERTIFICATES"]


def own(flags=ssl.VerifyFlags(0)):
    context = make_ssl_context(
        os.environ["JUPYTERHUB_SSL_KEYFILE"],
        os.environ["JUPYTERHUB_SSL_CERTFILE"],
        cafile=os.environ["JUPYTERHUB_SSL_CLIENT_CA"],
    )
    context.verify_flags |= flags
    return context


def blind(folder=None):
    """Believes everybody; shows the certificate in a folder, if there is one."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if folder:
        context.load_cert_chain(f"{folder}/certificate.pem", f"{folder}/key.pem")
    return context


def status(url, context=None, body=None, method=None):
    headers = {"Authorization": f"token {TOKEN}"}
    if body is not None:
        headers["Content-Type"] = "application/json"
    request = urllib.request.Request(url, data=body, headers=headers, method=method)
    try:
        with urllib.request.urlopen(request, context=context, timeout=20) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code
    except (OSError, http.client.HTTPException):
        return "refused"


async def kernel():
    """Starts a kernel and lets it compute, through the gateway."""
    base = f"http://{GATEWAY}{PREFIX}api/kernels"
    headers = {"Authorization": f"token {TOKEN}"}
    request = urllib.request.Request(base, data=b"{}", headers=headers, method="POST")
    started = await asyncio.to_thread(urllib.request.urlopen, request, timeout=60)
    kernel = json.load(started)["id"]
    url = f"ws://{GATEWAY}{PREFIX}api/kernels/{kernel}/channels"
    socket = await websocket_connect(HTTPRequest(url, headers=headers))
    header = {"msg_id": "1", "msg_type": "execute_request", "session": "1", "username": "", "version": "5.3"}
    content = {"code": "6 * 7", "silent": False, "store_history": False, "allow_stdin": False}
    message = {"channel": "shell", "header": header, "parent_header": {}, "metadata": {}, "content": content}
    await socket.write_message(json.dumps(message))
    while True:
        answer = await socket.read_message()
        if answer is None:
            return "closed"
        answer = json.loads(answer)
        if answer["msg_type"] == "execute_result":
            socket.close()
            return answer["content"]["data"]["text/plain"]


API_HTTP = API.replace("https://", "http://", 1)
SERVER_HTTP = SERVER.replace("https://", "http://", 1)
activity = json.dumps(
    {"servers": {os.environ["JUPYTERHUB_SERVER_NAME"]: {"last_activity": "2026-01-01T00:00:00Z"}}}
).encode()

print(
    json.dumps(
        {
            "api": status(f"{API}/user", own()),
            # As Python 3.13 and newer look at certificates.
            "api_strictly": status(f"{API}/user", own(ssl.VERIFY_X509_STRICT)),
            "activity": status(os.environ["JUPYTERHUB_ACTIVITY_URL"], own(), activity),
            "hub_auth": HubAuth().user_for_token(TOKEN, use_cache=False)["name"],
            "api_without_certificate": status(f"{API}/user", blind()),
            # That https is wanted may be said in the clear.
            "api_by_http": status(f"{API_HTTP}/user") in (400, "refused"),
            "server_without_certificate": status(f"{SERVER}api", blind()),
            "server_with_its_own": status(f"{SERVER}api", blind(os.path.dirname(os.environ["JUPYTERHUB_SSL_KEYFILE"]))),
            "server_with_anothers": status(f"{SERVER}api", blind(OTHER)),
            "server_by_http": status(f"{SERVER_HTTP}api"),
            "page": status(f"http://{GATEWAY}{PREFIX}lab"),
            "kernel": asyncio.run(asyncio.wait_for(kernel(), 90)),
        }
    )
)
