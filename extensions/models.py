"""Extensions, their digest credentials (the HA1 cache) and their bindings (RFC 3261 section 10)."""

from __future__ import annotations

from django.conf import settings
from django.core.validators import MaxValueValidator, MinValueValidator, RegexValidator
from django.db import models, router, transaction
from django.db.models.functions import Lower
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from extensions.hashers import check_extension_password, hash_extension_password
from extensions.passwords import check_usable
from extensions.provisioning_link import ProvisioningLink
from extensions.querysets import BindingQuerySet, ExtensionQuerySet, ShownExtensions
from extensions.sip_account import SipAccount
from extensions.states import CredentialState, credential_state
from pbx.system.identity import current_realm
from pbx.system.server_address import sip_domain
from sipcore.protocol.digest import ALGORITHMS

__all__ = ["Binding", "CredentialState", "DigestCredential", "Extension", "ProvisioningLink", "number_validator"]

number_validator = RegexValidator(
    r"\A[A-Za-z0-9._-]+\Z",
    _("Use letters, digits, dot, underscore and hyphen only, for example 1001 or front-desk."),
)


name_validator = RegexValidator(
    # C0 and C1 control characters and the two Unicode line breaks: a name goes into SIP headers and onto displays.
    r"\A[^\x00-\x1f\x7f-\x9f\u2028\u2029]*\Z",
    _("A name cannot contain control characters such as a tab or a line break."),
)


class Extension(models.Model):
    """An account a phone registers with and other phones dial."""

    class Language(models.TextChoices):
        DEFAULT = "", _("as the system")
        UZBEK = "uz", "O‘zbekcha"
        RUSSIAN = "ru", "Русский"
        ENGLISH = "en", "English"

    number = models.CharField(
        _("number"), max_length=32, validators=[number_validator],
        help_text=_("What people dial and what the phone signs in with. Names such as test1001 are fine."),
    )
    display_name = models.CharField(_("display name"), max_length=80, blank=True, validators=[name_validator])
    # The hash; empty when there is no password, or only an imported HA1. Never shown.
    password = models.CharField(max_length=128, editable=False, blank=True)
    enabled = models.BooleanField(
        _("enabled"), default=True, help_text=_("A disabled extension cannot register and cannot call.")
    )
    max_devices = models.PositiveSmallIntegerField(
        _("device limit"), default=5, validators=[MinValueValidator(1), MaxValueValidator(10)],
        help_text=_("How many phones may be registered at the same time (1 to 10)."),
    )
    ring_seconds = models.PositiveSmallIntegerField(
        _("ring time"), default=30, validators=[MinValueValidator(5), MaxValueValidator(170)],
        help_text=_("How many seconds its phones ring before the caller is told that nobody answers (5 to 170)."),
    )
    media_from_anywhere = models.BooleanField(
        _("media may come from another address"), default=False,
        help_text=_(
            "Switch this on only when the PBX says that the sound of this phone comes from another address than its "
            "signalling. It makes the call easier to disturb for a stranger."
        ),
    )
    language = models.CharField(
        _("language"), max_length=5, blank=True, choices=Language.choices, default=Language.DEFAULT
    )
    created_at = models.DateTimeField(_("created"), auto_now_add=True)
    # Of `manage.py doctor` for the time of its run: usable from this machine alone, and in no list and no count. The
    # default in the database too: a process of the version before may still be writing.
    hidden = models.BooleanField(default=False, db_default=False, editable=False)

    objects = ShownExtensions.from_queryset(ExtensionQuerySet)()
    everything = ExtensionQuerySet.as_manager()

    class Meta:
        verbose_name = _("extension")
        verbose_name_plural = _("extensions")
        ordering = ["number"]
        constraints = [
            models.UniqueConstraint(Lower("number"), name="extension_number_ci", violation_error_message=_(
                "There is already an extension with this number (capital and small letters count as the same)."
            )),
        ]
        indexes = [
            models.Index(fields=["number"], name="extension_number"),
            # The order of the list, without a look at the rows.
            models.Index(fields=["number", "-id"], name="extension_shown", condition=models.Q(hidden=False)),
            models.Index(fields=["created_at"], name="extension_hidden", condition=models.Q(hidden=True)),
        ]

    # Class attributes, not an __init__: nothing is paid for each row that is read.
    _raw_password: str | None = None
    _stored_number: str | None = None
    _stored_enabled: bool | None = None

    def __str__(self):
        return self.number

    def __getstate__(self):
        # The raw password goes into no pickle (a cache, another process).
        return {name: value for name, value in super().__getstate__().items() if name != "_raw_password"}

    def set_password(self, raw: str) -> None:
        """The only writer of a password: hashes now (slow, outside any transaction) and keeps the raw text until
        the ``save()`` is committed; its ``post_save`` signal makes the HA1 rows of it. Raises ValidationError for
        what no phone can sign in with; whether it is easily guessed is for ``validate_password`` to say."""
        check_usable(raw)
        self.password = hash_extension_password(raw)
        self._raw_password = raw

    def check_password(self, raw: str) -> bool:
        """Whether this is the password (milliseconds)."""
        return check_extension_password(raw, self.password)

    def forget_raw_password(self, raw: str) -> None:
        """Forget this raw password, unless another one was set meanwhile."""
        if self._raw_password is raw:
            self._raw_password = None

    def forget_reads(self) -> None:
        """Drop what was read together with the row and a save may have changed."""
        self.__dict__.pop("stored_credential_state", None)
        getattr(self, "_prefetched_objects_cache", {}).clear()

    def save(self, *, force_insert=False, force_update=False, using=None, update_fields=None):
        """Save, with everything that the signals do in the same transaction: Django sends ``post_save`` outside any
        transaction in autocommit, and a crash between the two would leave a password that the cache does not know."""
        if update_fields is not None and self._raw_password is not None:
            update_fields = {*update_fields, "password"}  # the hash and the HA1 are of one password
        using = using or router.db_for_write(type(self), instance=self)
        with transaction.atomic(using=using):
            super().save(
                force_insert=force_insert, force_update=force_update, using=using, update_fields=update_fields
            )

    def refresh_from_db(self, using=None, fields=None, **options):
        super().refresh_from_db(using=using, fields=fields, **options)
        if fields is None or "password" in fields:
            self._raw_password = None  # it belongs to a hash that is not here any more
            self.forget_reads()

    @property
    def credential_state(self) -> CredentialState:
        """Whether a phone can sign in at all, never to be confused with a wrong password. Costs no query on rows
        of ``with_presence()``."""
        stored = self.__dict__.get("stored_credential_state")
        if stored is not None:
            return CredentialState(stored)
        return credential_state(
            self.number, self.credentials.all(), realm=current_realm(), offered=settings.SIP_DIGEST_ALGORITHMS
        )

    @property
    def sip_account(self) -> SipAccount:
        """What a person types into a phone."""
        return SipAccount(username=self.number, server=sip_domain(), port=settings.SIP_PORT, transport="UDP")


class DigestCredential(models.Model):
    """One row of the HA1 cache: H(username:realm:password), RFC 7616 section 3.4.2.

    It keeps the ``username`` and ``realm`` it was made for, so that a renamed number or a changed realm is
    seen as stale instead of failing like a wrong password. The ``ha1`` is worth the password itself: it is
    never shown, logged or exported."""

    extension = models.ForeignKey(Extension, models.CASCADE, related_name="credentials")
    algorithm = models.CharField(max_length=16, choices=[(name, name) for name in ALGORITHMS])
    username = models.CharField(max_length=32)
    realm = models.CharField(max_length=255)
    ha1 = models.CharField(max_length=64)
    changed_at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["extension", "algorithm"], name="credential_per_algorithm"),
        ]
        indexes = [models.Index(fields=["username"], name="credential_username")]

    def __str__(self):
        return f"{self.username} {self.algorithm}"


class Binding(models.Model):
    """Where one phone is now (RFC 3261 section 10.3). A row whose ``expires_at`` has passed is an ended
    registration; it is kept a while as "last seen" and so that an old REGISTER cannot be replayed."""

    # No index of its own: the one of binding_key begins with it, and each REGISTER would have to write it.
    extension = models.ForeignKey(Extension, models.CASCADE, related_name="bindings", db_index=False)
    key = models.CharField(max_length=255)
    contact = models.CharField(_("contact"), max_length=512)
    instance = models.CharField(max_length=128, blank=True)
    reg_id = models.PositiveIntegerField(null=True)
    q = models.DecimalField(max_digits=4, decimal_places=3, null=True)
    path = models.CharField(max_length=1024, blank=True)
    transport = models.CharField(_("transport"), max_length=8)
    remote_host = models.CharField(_("address"), max_length=45)
    remote_port = models.PositiveIntegerField(_("port"))
    local_host = models.CharField(max_length=45)
    local_port = models.PositiveIntegerField()
    connection = models.CharField(max_length=32, blank=True)
    node = models.CharField(max_length=32)
    worker = models.PositiveSmallIntegerField(default=0)
    call_id = models.CharField(max_length=255)
    cseq = models.BigIntegerField()
    user_agent = models.CharField(_("phone"), max_length=128, blank=True)
    nonce = models.CharField(max_length=64)
    nc = models.BigIntegerField()
    registered_at = models.DateTimeField(_("registered"))
    refreshed_at = models.DateTimeField(_("last seen"))
    expires_at = models.DateTimeField(_("expires"))
    unreachable_since = models.DateTimeField(null=True)
    domain = models.CharField(max_length=255, blank=True, default="", db_default="")  # as with Extension.hidden

    objects = BindingQuerySet.as_manager()

    class Meta:
        verbose_name = _("registration")
        verbose_name_plural = _("registrations")
        constraints = [models.UniqueConstraint(fields=["extension", "key"], name="binding_key")]
        indexes = [models.Index(fields=["expires_at"], name="binding_expires")]

    def __str__(self):
        return f"{self.remote_host}:{self.remote_port}"
