from django.urls import path

from accounts.views import activity, signing

urlpatterns = [
    path("sign-in/", signing.SignIn.as_view(), name="sign-in"),
    path("sign-out/", signing.SignOut.as_view(), name="sign-out"),
    path("theme/", signing.theme, name="theme"),
    path("activity/", activity.activity, name="activity"),
    path("activity/rows/", activity.activity_rows, name="activity-rows"),
]
