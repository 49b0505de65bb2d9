"""The ASGI application that daphne serves."""

import gc
import os

from channels.routing import ProtocolTypeRouter, URLRouter
from django.core.asgi import get_asgi_application
from django.urls import path, re_path

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

# This loads the apps, so consumers are imported after it.
http = get_asgi_application()

import config.urls  # noqa: E402, F401  # the first request need not wait for it
from accounts.consumers import Live  # noqa: E402
from accounts.sockets import NoSuchSocket  # noqa: E402

sockets = URLRouter(
    [
        path("ws/live", Live.as_asgi()),
        path("ws/live/", Live.as_asgi()),
        re_path("", NoSuchSocket.as_asgi()),
    ]
)
application = ProtocolTypeRouter({"http": http, "websocket": sockets})

# What is loaded by now stays: looking through it again and again for garbage costs a request
# that makes many objects a tenth of a second.
gc.collect()
gc.freeze()
