"""The ASGI application that daphne serves."""

import os

from channels.routing import ProtocolTypeRouter, URLRouter
from django.core.asgi import get_asgi_application
from django.urls import path, re_path

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

# This loads the apps, so consumers are imported after it.
http = get_asgi_application()

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
