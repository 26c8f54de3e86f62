"""Every page and the API. Each page module lists its own addresses."""

from django.contrib.auth.views import LogoutView
from django.urls import include, path

from costgov.views import (
    account,
    class_forms,
    classes,
    column_mappings,
    commitments,
    contracts,
    cost_centres,
    data_health,
    estate,
    eval_imports,
    eval_runs,
    evals,
    files,
    forecast,
    imports,
    invoices,
    misc,
    overview,
    policies,
    price_files,
    price_scenarios,
    prices,
    savings,
    showback,
    spend,
    spend_lines,
    suite_rules,
    tax_rates,
    trail,
    usage_sources,
    work_items,
)

PAGES = (
    account,
    overview,
    class_forms,
    classes,
    eval_imports,
    eval_runs,
    work_items,
    suite_rules,
    evals,  # after every other address below evals/: its last takes any two names
    policies,
    savings,
    estate,
    forecast,
    column_mappings,
    commitments,
    data_health,
    imports,
    invoices,
    usage_sources,
    prices,
    contracts,
    price_scenarios,
    price_files,
    spend,
    showback,
    cost_centres,
    spend_lines,
    tax_rates,
    trail,
    misc,
    files,
)

handler400 = "costgov.uploads.handler400"
urlpatterns = [
    *(pattern for page in PAGES for pattern in page.urlpatterns),
    path("logout/", LogoutView.as_view(), name="logout"),
    path("api/v1/", include("costgov.api.urls")),
]
