"""A service as people write it, with the classes of JupyterHub's own package: it tells whoever asks who they are."""

import json
import os
from urllib.parse import urlparse

from jupyterhub.services.auth import HubAuth, HubOAuthCallbackHandler, HubOAuthenticated
from tornado.httpserver import HTTPServer
from tornado.ioloop import IOLoop
from tornado.web import Application, HTTPError, RequestHandler, authenticated

PREFIX = os.environ["JUPYTERHUB_SERVICE_PREFIX"]


class Browser(HubOAuthenticated, RequestHandler):
    """Logs browsers in by OAuth2."""

    @authenticated
    def get(self):
        self.write(json.dumps(self.get_current_user()))


class Program(RequestHandler):
    """Asks the hub whose token a program shows."""

    auth = HubAuth()

    def get(self):
        token = self.auth.get_token(self)
        user = self.auth.user_for_token(token) if token else None
        if user is None:
            raise HTTPError(403)
        self.write(json.dumps(user))


class Me(RequestHandler):
    """Tells what the hub says of the service itself, and what it was started with."""

    def get(self):
        me = HubAuth().user_for_token(os.environ["JUPYTERHUB_API_TOKEN"])
        self.write(json.dumps({"me": me, "cwd": os.getcwd(), "greeting": os.environ["GREETING"]}))


def main():
    application = Application(
        [
            (PREFIX, Browser),
            (PREFIX + "oauth_callback", HubOAuthCallbackHandler),
            (PREFIX + "program", Program),
            (PREFIX + "me", Me),
        ],
        cookie_secret=os.urandom(32),
    )
    url = urlparse(os.environ["JUPYTERHUB_SERVICE_URL"])
    HTTPServer(application).listen(url.port, url.hostname)
    # It ends up in the log of the hub, where the token must not be.
    print("serving", PREFIX, "with", os.environ["JUPYTERHUB_API_TOKEN"], flush=True)
    IOLoop.current().start()


if __name__ == "__main__":
    main()
