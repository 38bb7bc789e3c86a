import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("diagnosis", "0001_initial"), ("extensions", "0006_binding_without_second_index")]

    operations = [
        migrations.AlterField(
            "onlineperiod", "extension",
            models.ForeignKey(
                "extensions.extension", django.db.models.deletion.CASCADE, related_name="online_periods",
                db_constraint=False, db_index=False,
            ),
        ),
    ]
