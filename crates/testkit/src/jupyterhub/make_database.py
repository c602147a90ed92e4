# Makes a jupyterhub.sqlite with the real JupyterHub of this environment: starts the hub, uses its REST API as
# clients do, and copies the file while a server runs. Prints, as JSON, the secrets that only clients know.
#
# usage: make_database.py FOLDER      (JUPYTERHUB_CRYPT_KEY must be set)
#
# Works with JupyterHub 5 and 6. No proxy is started: the hub itself is asked.
import asyncio
import json
import os
import shutil
import socket
import sys
from urllib.parse import urlencode

from jupyterhub import orm
from jupyterhub.app import JupyterHub
from jupyterhub.auth import Authenticator
from jupyterhub.proxy import Proxy
from jupyterhub.spawner import Spawner
from tornado.httpclient import AsyncHTTPClient, HTTPRequest
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application, RequestHandler
from traitlets.config import Config

ADMIN_TOKEN = "configured-admin-token-0123456789"
SERVICE_TOKEN = "configured-service-token-01234"


class NoProxy(Proxy):
    """Keeps routes in memory; nothing is forwarded."""

    should_start = False

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.kept = {}

    async def add_route(self, routespec, target, data):
        self.kept[routespec] = {"routespec": routespec, "target": target, "data": data}

    async def delete_route(self, routespec):
        self.kept.pop(routespec, None)

    async def get_all_routes(self):
        return dict(self.kept)


class Anybody(Authenticator):
    """Lets everybody in, and keeps something for them."""

    async def authenticate(self, handler, data):
        return {
            "name": data["username"],
            "auth_state": {"refresh": f"kept for {data['username']}"},
            "user_info": {"affiliation": "analytical engines"},
        }


class Answers(RequestHandler):
    def get(self):
        self.write("here")


def listen():
    """A program that answers everything, on a port of its own."""
    sockets = bind_sockets(0, "127.0.0.1", family=socket.AF_INET)
    server = HTTPServer(Application([(r".*", Answers)]))
    server.add_sockets(sockets)
    return server, sockets[0].getsockname()[1]


class InProcess(Spawner):
    """A server that is only a listener in this process."""

    async def start(self):
        self.listener, port = listen()
        return "127.0.0.1", port

    async def poll(self):
        return None if getattr(self, "listener", None) else 0

    async def stop(self, now=False):
        self.listener.stop()
        self.listener = None


def configuration(folder, port, service):
    config = Config()
    config.JupyterHub.db_url = "sqlite:///" + os.path.join(folder, "jupyterhub.sqlite")
    config.JupyterHub.cookie_secret_file = os.path.join(folder, "cookie_secret")
    config.JupyterHub.hub_bind_url = f"http://127.0.0.1:{port}"
    config.JupyterHub.bind_url = f"http://127.0.0.1:{port}"
    config.JupyterHub.proxy_class = NoProxy
    config.JupyterHub.authenticator_class = Anybody
    config.JupyterHub.spawner_class = InProcess
    config.JupyterHub.allow_named_servers = True
    config.JupyterHub.log_level = "WARN"
    config.Authenticator.allow_all = True
    config.Authenticator.admin_users = {"root"}
    config.Authenticator.enable_auth_state = True
    config.JupyterHub.api_tokens = {ADMIN_TOKEN: "root"}
    config.JupyterHub.services = [
        {"name": "configured", "api_token": SERVICE_TOKEN, "url": service, "display": False,
         "environment": {"SECRET_THING": "never to be printed"}, "info": {"about": "from the configuration"}},
    ]
    config.JupyterHub.custom_scopes = {"custom:grades:read": {"description": "Read grades"}}
    config.JupyterHub.load_roles = [
        {"name": "graders", "description": "Those who grade", "scopes": ["read:users!group=class", "custom:grades:read"],
         "users": ["bob"], "groups": ["class"], "services": ["configured"]},
        {"name": "operators", "scopes": ["read:hub", "shutdown"], "users": ["carol"]},
        {"name": "user", "scopes": ["self", "shares!user"]},
    ]
    return config


class Client:
    def __init__(self, port):
        self.base = f"http://127.0.0.1:{port}/hub/api"
        self.http = AsyncHTTPClient(force_instance=True)

    async def ask(self, method, path, body=None, token=ADMIN_TOKEN):
        request = HTTPRequest(
            self.base + path,
            method=method,
            headers={"Authorization": f"token {token}"} if token else {},
            body=json.dumps(body) if body is not None else None,
            allow_nonstandard_methods=True,
            request_timeout=30,
        )
        answer = await self.http.fetch(request, raise_error=False)
        if answer.code >= 400:
            raise SystemExit(f"{method} {path}: {answer.code} {answer.body!r}")
        return json.loads(answer.body) if answer.body else None


    async def log_in(self, username):
        """Logs in as a browser does: only that stores what the authenticator keeps."""
        page = self.base.replace("/hub/api", "/hub/login")
        answer = await self.http.fetch(page)
        cookies = [one.split(";")[0] for one in answer.headers.get_list("Set-Cookie")]
        xsrf = next(one.split("=", 1)[1] for one in cookies if one.startswith("_xsrf="))
        answer = await self.http.fetch(
            page,
            method="POST",
            headers={"Cookie": "; ".join(cookies)},
            body=urlencode({"username": username, "password": "x", "_xsrf": xsrf}),
            follow_redirects=False,
            raise_error=False,
        )
        if answer.code != 302:
            raise SystemExit(f"login: {answer.code} {answer.body!r}")


async def fill(client, service):
    secrets = {"configured": {"root": ADMIN_TOKEN, "service": SERVICE_TOKEN}}
    users = ["ada", "bob", "carol", "a@b.cz", "Ümläut"]
    await client.ask("POST", "/users", {"usernames": users})
    await client.ask("PATCH", "/users/carol", {"admin": True})
    # The group is there already, since a role names it.
    await client.ask("POST", "/groups/class/users", {"users": ["ada", "bob"]})
    await client.ask("PUT", "/groups/class/properties", {"room": "B12", "seats": 30})
    await client.ask("POST", "/groups/empty", {})

    await client.log_in("ada")
    login = {"auth": {"username": "ada", "password": ""}, "note": "by login"}
    secrets["login"] = (await client.ask("POST", "/users/ada/tokens", login, token=None))["token"]
    for name, body in {
        "all": {"note": "everything"},
        "narrow": {"note": "only reading", "scopes": ["read:users!user=ada"]},
        "short": {"note": "a day", "expires_in": 86400},
        "soon": {"note": "gone at once", "expires_in": 1},
        "custom": {"note": "grades", "scopes": ["read:users:name!user"]},
    }.items():
        made = await client.ask("POST", "/users/ada/tokens", body)
        secrets[name] = made["token"]
    secrets["ümläut"] = (await client.ask("POST", "/users/%C3%BCml%C3%A4ut/tokens", {"note": "abroad"}))["token"]
    await asyncio.sleep(1.2)  # the second of `soon`

    await client.ask("POST", "/users/ada/server", {"profile": "small"})
    await client.ask("POST", "/users/ada/servers/lab", {"profile": "large", "nested": {"a": [1, 2]}})
    await client.ask("POST", "/users/bob/servers/stopped", {"profile": "tiny"})
    await client.ask("DELETE", "/users/bob/servers/stopped")

    await client.ask("POST", "/shares/ada/lab", {"user": "bob"})
    await client.ask("POST", "/shares/ada/lab", {"group": "empty", "scopes": ["access:servers", "read:servers"]})
    secrets["share_code"] = (await client.ask("POST", "/share-codes/ada/lab", {"expires_in": 864000}))["code"]

    await client.ask("POST", "/services/plain", {"name": "plain", "info": {"made": "by API"}})
    await client.ask("POST", "/services/pages", {
        "name": "pages", "url": service, "admin": True, "display": True, "oauth_no_confirm": True,
        "api_token": "service-token-by-api-012345", "oauth_client_id": "service-pages",
        "oauth_redirect_uri": service + "/callback",
        "oauth_client_allowed_scopes": ["read:users:name!user"],
    })
    secrets["service"] = "service-token-by-api-012345"
    return secrets


async def main(folder):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    # The hub waits for services with pages, as for servers.
    service = f"http://127.0.0.1:{listen()[1]}"
    app = JupyterHub(config=configuration(folder, port, service))
    await app.initialize([])
    await app.start()
    secrets = await fill(Client(port), service)
    # Names that JupyterHub once let in.
    for name in ["..", "a/b", "line\nbreak"]:
        app.db.add(orm.User(name=name))
    app.db.commit()
    shutil.copy(os.path.join(folder, "jupyterhub.sqlite"), os.path.join(folder, "copy.sqlite"))
    print(json.dumps(secrets), flush=True)
    # Without the farewell, which would stop the servers and remove their tokens.
    os._exit(0)


asyncio.run(main(sys.argv[1]))
