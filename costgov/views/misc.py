"""Pages about the site itself: health, and every component once."""

from django.contrib.auth.decorators import login_not_required
from django.db import connection
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import path

from costgov import patterns


@login_not_required
def health(request: HttpRequest) -> HttpResponse:
    """200 when the database answers: for the supervisor and for load balancers."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
    return HttpResponse("ok", content_type="text/plain")


def patterns_page(request: HttpRequest) -> HttpResponse:
    return render(request, "patterns.html", patterns.context())


urlpatterns = [
    path("healthz", health, name="health"),
    path("patterns/", patterns_page, name="patterns"),
]
