"""Addresses of the API, version 1."""

from django.urls import path, re_path

from costgov.api import column_mappings, data_health, docs, gateways, money, overview, policies, quality, spend

urlpatterns = [
    path("schema/", docs.schema, name="api-schema"),
    path("bundles/<str:environment>", gateways.BundleView.as_view(), name="api-bundle"),
    path("decide", gateways.DecideView.as_view(), name="api-decide"),
    path("overview", overview.OverviewApi.as_view(), name="api-overview"),
    path("spend", spend.SpendView.as_view(), name="api-spend"),
    path("prices", money.PricesView.as_view(), name="api-prices"),
    path("imports", money.ImportsView.as_view(), name="api-imports"),
    path("imports/<int:import_id>", money.ImportView.as_view(), name="api-import"),
    path("column-mappings", column_mappings.ColumnMappingsApi.as_view(), name="api-column-mappings"),
    path("data-health", data_health.DataHealthApi.as_view(), name="api-data-health"),
    path("forecast", money.ForecastApi.as_view(), name="api-forecast"),
    path("terms", money.TermsView.as_view(), name="api-terms"),
    path("commitments", money.SizingsView.as_view(), name="api-commitments"),
    path("commitments/<int:sizing_id>", money.SizingView.as_view(), name="api-commitment"),
    path("classes", quality.ClassesView.as_view(), name="api-classes"),
    path("classes/<str:slug>", quality.ClassView.as_view(), name="api-class"),
    path("quality", quality.QualityView.as_view(), name="api-quality"),
    path("evals", quality.EvalsView.as_view(), name="api-evals"),
    path("evals/<int:import_id>", quality.EvalView.as_view(), name="api-eval"),
    path("recommendation", quality.RecommendationApi.as_view(), name="api-recommendation"),
    path("policies", policies.PoliciesView.as_view(), name="api-policies"),
    path("policies/draft", policies.DraftView.as_view(), name="api-draft"),
    path("policies/versions/<int:version>", policies.VersionView.as_view(), name="api-version"),
    path("changes", policies.ChangesView.as_view(), name="api-changes"),
    path("changes/<int:change_id>", policies.ChangeView.as_view(), name="api-change"),
    path("changes/<int:change_id>/approve", policies.ApproveView.as_view(), name="api-change-approve"),
    path("changes/<int:change_id>/reject", policies.RejectView.as_view(), name="api-change-reject"),
    path("changes/<int:change_id>/cancel", policies.CancelView.as_view(), name="api-change-cancel"),
    path("changes/<int:change_id>/activate", policies.ActivateView.as_view(), name="api-change-activate"),
    re_path(r"^.*$", docs.NoSuchAddress.as_view(), name="api-nothing"),
]
