"""A Flask app that knows its prefix, as SCRIPT_NAME: run as `python prefixed.py PORT PREFIX`.

Its links, redirects and cookies all begin with the prefix. Says who its visitor is, by what the proxy tells.
"""

import sys

from flask import Flask, jsonify, redirect, request, session, url_for
from werkzeug.serving import WSGIRequestHandler, run_simple

PORT, PREFIX = int(sys.argv[1]), sys.argv[2].rstrip("/")
app = Flask(__name__)
app.secret_key = "of no use outside of the tests"
app.config["APPLICATION_ROOT"] = PREFIX


@app.get("/")
def home():
    visits = session["visits"] = session.get("visits", 0) + 1
    who = request.headers.get("X-Forwarded-User", "nobody")
    next_page = url_for("leave")
    return (
        f"<!doctype html><title>Quetzal</title><link rel=icon href='data:,'><h1>Quetzal</h1>"
        f"<p id=who>You are {who}.</p><p id=visits>{visits} visits</p><a href='{next_page}'>go on</a>"
    )


@app.get("/leave")
def leave():
    return redirect(url_for("arrive"))


@app.get("/arrive")
def arrive():
    return f"<!doctype html><title>Arrived</title><h1>Arrived</h1><a href='{url_for('home')}'>home</a>"


@app.get("/headers")
def headers():
    return jsonify([[name, value] for name, value in request.headers.items()])


class Below:
    """Gives an app its prefix, and 404 to what is elsewhere."""

    def __init__(self, inner):
        self.inner = inner

    def __call__(self, environ, start_response):
        path = environ["PATH_INFO"]
        if not path.startswith(PREFIX + "/"):
            start_response("404 Not Found", [("Content-Type", "text/plain")])
            return [b"outside of the prefix: " + path.encode()]
        environ["SCRIPT_NAME"], environ["PATH_INFO"] = PREFIX, path[len(PREFIX) :]
        return self.inner(environ, start_response)


class Handler(WSGIRequestHandler):
    protocol_version = "HTTP/1.1"


run_simple("127.0.0.1", PORT, Below(app), threaded=True, request_handler=Handler)
