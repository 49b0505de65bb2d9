from django.contrib import admin
from django.urls import include, path

from config.metrics import metrics

urlpatterns = [
    path("admin/", admin.site.urls),
    path("", include("accounts.urls")),
    path("", include("fallback.urls")),
    path("api/v1/", include("config.api", namespace="api-v1")),
    path("api/", include("config.api", namespace="api")),
    path("metrics", metrics, name="metrics"),
]
# Under /api/ these answer as the API does.
handler400 = "config.base.problems.bad_request"
handler404 = "config.base.problems.not_found"
handler500 = "config.base.problems.server_error"
