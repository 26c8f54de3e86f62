"""Logging in and out, as a person does."""

from playwright.sync_api import Page, expect

from costgov.demo.people import PEOPLE

PASSWORDS = {person.username: person.password for person in PEOPLE}


def log_in(page: Page, name: str) -> None:
    page.goto("/")
    page.get_by_label("Username").fill(name)
    page.get_by_label("Password").fill(PASSWORDS[name])
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_role("navigation", name="Main")).to_be_visible()


def log_out(page: Page) -> None:
    page.context.clear_cookies()
