"""Configures JupyterHub for the conformance cases, from `conformance.json` in this folder."""

import json
import os

with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "conformance.json")) as file:
    given = json.load(file)
folder = given["folder"]

c = get_config()  # noqa: F821
c.JupyterHub.bind_url = f"http://127.0.0.1:{given['port']}{given['base']}"
c.JupyterHub.hub_bind_url = f"http://127.0.0.1:{given['hub_port']}"
c.ConfigurableHTTPProxy.api_url = f"http://127.0.0.1:{given['proxy_port']}"
c.ConfigurableHTTPProxy.auth_token = "conformance-proxy"
c.ConfigurableHTTPProxy.command = [given["proxy"]]
c.ConfigurableHTTPProxy.pid_file = f"{folder}/proxy.pid"
c.JupyterHub.db_url = f"sqlite:///{folder}/jupyterhub.sqlite"
c.JupyterHub.cookie_secret_file = f"{folder}/cookie_secret"

c.JupyterHub.authenticator_class = "dummy"
c.Authenticator.allow_all = True
c.Authenticator.admin_users = {given["admin_user"]}

c.JupyterHub.spawner_class = "simple"
c.SimpleLocalProcessSpawner.home_dir_template = f"{folder}/homes/{{username}}"
c.Spawner.cmd = given["single"]
c.Spawner.options_form = given["options_form"]
c.Spawner.http_timeout = 10
c.LocalProcessSpawner.interrupt_timeout = 2
c.LocalProcessSpawner.term_timeout = 2

c.JupyterHub.services = given["services"]
c.JupyterHub.load_roles = given["roles"]
c.JupyterHub.load_groups = given["groups"]
c.JupyterHub.custom_scopes = given["custom_scopes"]
c.JupyterHub.tornado_settings = given["tornado"]
for name, value in given["hub"].items():
    setattr(c.JupyterHub, name, value)
