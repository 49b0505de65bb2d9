"""The ASGI application that daphne serves."""

import os

from channels.routing import ProtocolTypeRouter
from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

# This loads the apps, so consumers are imported after it.
http = get_asgi_application()

application = ProtocolTypeRouter({"http": http})
