import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("billing", "0008_tax_rate")]

    operations = [
        migrations.CreateModel(
            name="StorePack",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("day", models.DateField(db_index=True)),
                (
                    "imports",
                    models.PositiveIntegerField(help_text="How many imports have rows in the file, members or not."),
                ),
            ],
        ),
        migrations.CreateModel(
            name="PackedImport",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("day", models.DateField()),
                (
                    "of_import",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="packed", to="billing.import"
                    ),
                ),
                (
                    "pack",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="members", to="billing.storepack"
                    ),
                ),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(fields=("of_import", "day"), name="billing_packed_import_day_once")
                ],
            },
        ),
    ]
