from django.urls import path

from accounts import views

urlpatterns = [
    path("sign-in/", views.SignIn.as_view(), name="sign-in"),
    path("sign-out/", views.SignOut.as_view(), name="sign-out"),
    path("theme/", views.theme, name="theme"),
    path("activity/", views.activity, name="activity"),
    path("activity/rows/", views.activity_rows, name="activity-rows"),
]
