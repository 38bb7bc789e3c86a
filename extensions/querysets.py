"""Querysets of extensions and registrations: what the admin lists need in one query, and the doors that are shut."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import NoReturn

from django.conf import settings
from django.db import models
from django.db.models import Case, Count, Exists, F, Max, Min, OuterRef, Q, Subquery, Value, When
from django.db.models.functions import Coalesce
from django.utils import timezone

from extensions.states import CredentialState
from pbx.system.identity import current_realm


class SignalsBypassed(TypeError):
    """``update()`` and the bulk methods send no signals: the HA1 cache and the registrations would go stale."""


class ExtensionQuerySet(models.QuerySet):
    """Reads extensions. Writing is ``save()`` and ``delete()`` only, because those send the signals."""

    def update(self, **_values) -> NoReturn:
        self._refuse("update()")

    def bulk_create(self, *_args, **_options) -> NoReturn:
        self._refuse("bulk_create()")

    def bulk_update(self, *_args, **_options) -> NoReturn:
        self._refuse("bulk_update()")

    update.alters_data = bulk_create.alters_data = bulk_update.alters_data = True
    # QuerySet.aupdate and the other asynchronous forms call the ones above.

    def _refuse(self, method: str) -> NoReturn:
        raise SignalsBypassed(
            f"{method} is not used on extensions: it sends no signals, so the HA1 cache and the registrations would "
            "go stale. Call save() on each extension, or extensions.importing for many."
        )

    def by_number(self, number: str) -> ExtensionQuerySet:
        """The extension with this number, capital and small letters being the same (uses the unique index)."""
        return self.annotate(_lower_number=models.functions.Lower("number")).filter(_lower_number=number.lower())

    def online(self, now: datetime | None = None) -> ExtensionQuerySet:
        """Those with a registration that has not ended."""
        return self.filter(_is_online(now))

    def offline(self, now: datetime | None = None) -> ExtensionQuerySet:
        return self.filter(~_is_online(now))

    def in_credential_state(self, state: CredentialState) -> ExtensionQuerySet:
        """Those whose ``credential_state`` it is. Not by the column of ``with_presence()``: a database joins what is
        asked like this, and computes that one row by row."""
        stale, complete = _stale_and_complete(current_realm())
        if state == CredentialState.STALE:
            return self.filter(stale)
        return self.filter(~stale, complete if state == CredentialState.READY else ~complete)

    def with_presence(self, *, realm: str | None = None, now: datetime | None = None) -> ExtensionQuerySet:
        """Adds ``devices_online`` (registrations that have not ended), ``last_seen`` (newest refresh or None) and
        ``stored_credential_state`` (a CredentialState value, also read by ``Extension.credential_state``), all in
        the one query of the list. They can be filtered and ordered by."""
        from extensions.models import Binding

        stale, complete = _stale_and_complete(current_realm() if realm is None else realm)
        now = now or timezone.now()
        bindings = Binding.objects.filter(extension=OuterRef("pk")).order_by().values("extension")
        return self.annotate(
            devices_online=Coalesce(
                Subquery(bindings.filter(expires_at__gt=now).annotate(n=Count("pk")).values("n")), Value(0)
            ),
            last_seen=Subquery(bindings.annotate(newest=Max("refreshed_at")).values("newest")),
            stored_credential_state=Case(
                When(stale, then=Value(CredentialState.STALE.value)),
                When(complete, then=Value(CredentialState.READY.value)),
                default=Value(CredentialState.MISSING.value),
                output_field=models.CharField(),
            ),
        )


class ShownExtensions(models.Manager):
    """All but the hidden account of the doctor."""

    def get_queryset(self):
        return super().get_queryset().filter(hidden=False)

    def count_all(self) -> int:
        """As ``count()``. A database counts the rows of a table in a fraction of the time that it takes to look at
        each, and of the hidden there is one at most."""
        everything = self.model.everything
        return everything.count() - everything.filter(hidden=True).count()


def _stale_and_complete(realm: str) -> tuple[Q, Q]:
    """Whether a password that is offered to phones was given for another number or realm, and whether there is one for
    each algorithm. Whoever is stale is nothing else."""
    from extensions.models import DigestCredential

    offered = list(settings.SIP_DIGEST_ALGORITHMS)
    rows = DigestCredential.objects.filter(extension=OuterRef("pk"))
    stale = Q(Exists(rows.filter(algorithm__in=offered).exclude(realm=realm, username=OuterRef("number"))))
    complete = Q()
    for algorithm in offered:
        complete &= Q(Exists(rows.filter(algorithm=algorithm)))
    return stale, complete


def _is_online(now: datetime | None) -> Exists:
    from extensions.models import Binding

    return Exists(Binding.objects.online(now).filter(extension=OuterRef("pk")))


class BindingQuerySet(models.QuerySet):
    def shown(self) -> BindingQuerySet:
        """Without those of the doctor's hidden account, of the one that there is now: there hardly ever is any, and
        then no row has to be compared with its extension."""
        from extensions.models import Extension

        hidden = list(Extension.everything.filter(hidden=True).order_by().values_list("pk", flat=True))
        return self.exclude(extension__in=hidden) if hidden else self.all()

    def shown_keys_by_number(self, now: datetime | None = None) -> models.QuerySet:
        """The keys of all that are shown and have not ended, by the numbers of their extensions, the newest first.

        Asked of the extensions, each with its registrations or none: SQLite, which keeps no statistics of its tables,
        takes any other form as a reason to sort all registrations. (A condition on ``expires_at`` itself would tell
        it that none is left out, and be any other form.)"""
        from extensions.models import Extension

        ends = Coalesce("bindings__expires_at", Value(datetime.min.replace(tzinfo=UTC)))
        extensions = Extension.objects.alias(ends=ends).filter(ends__gt=now or timezone.now())
        return extensions.order_by("number", "-bindings__pk").values_list("bindings__pk", flat=True)

    def online(self, now: datetime | None = None) -> BindingQuerySet:
        """Registrations that have not ended."""
        return self.filter(expires_at__gt=now or timezone.now())

    def ended(self, now: datetime | None = None) -> BindingQuerySet:
        """Registrations that have ended and are kept as "last seen"."""
        return self.filter(expires_at__lte=now or timezone.now())

    def with_password_age(self, now: datetime | None = None) -> BindingQuerySet:
        """Adds ``has_old_password``: registered before the password changed, so it fails at ``expires_at``."""
        from extensions.models import DigestCredential

        # The least of the rows: one that was only added to the others (SHA-256 beside an imported MD5) says nothing
        # about the password, a changed password moves them all.
        changed = (
            DigestCredential.objects.filter(extension=OuterRef("extension")).order_by().values("extension")
            .annotate(changed=Min("changed_at")).values("changed")
        )
        return self.alias(password_changed_at=Subquery(changed)).annotate(
            has_old_password=Case(
                When(expires_at__gt=now or timezone.now(), refreshed_at__lt=F("password_changed_at"), then=True),
                default=False,
                output_field=models.BooleanField(),
            )
        )
