"""The same bytes may be imported again where they are read another way: the later import stands for them."""

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("billing", "0004_cost_line_parts")]

    operations = [
        migrations.AddField(
            model_name="import",
            name="superseded_by",
            field=models.ForeignKey(
                blank=True,
                help_text="The import of the same bytes that was read another way since: a source's answer was changed.",
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                to="billing.import",
            ),
        ),
        migrations.RemoveConstraint(model_name="import", name="billing_import_same_bytes_once"),
        migrations.AddConstraint(
            model_name="import",
            constraint=models.UniqueConstraint(
                condition=models.Q(("state", "done"), ("superseded_by", None)),
                fields=("kind", "sha256"),
                name="billing_import_same_bytes_once",
            ),
        ),
    ]
