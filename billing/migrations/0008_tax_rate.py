import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
        ("billing", "0007_keep_until"),
    ]

    operations = [
        migrations.CreateModel(
            name="TaxRate",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("issuer", models.CharField(max_length=120)),
                ("percent", models.DecimalField(decimal_places=6, help_text="19 = 19 % of the net", max_digits=9)),
                (
                    "valid_from",
                    models.DateField(help_text="of invoices issued from that day on, until a later rate"),
                ),
                ("note", models.TextField(blank=True, default="")),
                ("stated_at", models.DateTimeField()),
                ("withdrawn_at", models.DateTimeField(blank=True, null=True)),
                (
                    "stated_by",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={
                "ordering": ["issuer", "valid_from", "id"],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("percent__gte", 0), ("percent__lte", 100)),
                        name="billing_tax_rate_percent",
                    )
                ],
            },
        ),
    ]
