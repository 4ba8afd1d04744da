"""The words of the standard for the codes by which a meter says no (IEC 62056-5-3)."""

from enum import IntEnum
from typing import Self


class _Worded(IntEnum):
    """A code that knows its word; a code the standard lacks becomes ``OTHER`` or is refused by the decoder."""

    @property
    def word(self) -> str:
        """The name in the standard."""
        return self.name.lower().replace("_", "-")

    @classmethod
    def lookup(cls, code: int) -> Self | None:
        """Return the member for ``code``, None when the standard has none."""
        return cls._value2member_map_.get(code)  # type: ignore[return-value]  # typeshed types the map by Enum


class DataAccessResult(_Worded):
    """Data-Access-Result: why a GET or SET was refused."""

    SUCCESS = 0
    HARDWARE_FAULT = 1
    TEMPORARY_FAILURE = 2
    READ_WRITE_DENIED = 3
    OBJECT_UNDEFINED = 4
    OBJECT_CLASS_INCONSISTENT = 9
    OBJECT_UNAVAILABLE = 11
    TYPE_UNMATCHED = 12
    SCOPE_OF_ACCESS_VIOLATED = 13
    DATA_BLOCK_UNAVAILABLE = 14
    LONG_GET_ABORTED = 15
    NO_LONG_GET_IN_PROGRESS = 16
    LONG_SET_ABORTED = 17
    NO_LONG_SET_IN_PROGRESS = 18
    DATA_BLOCK_NUMBER_INVALID = 19
    OTHER_REASON = 250


class ActionResult(_Worded):
    """Action-Result: why a method was refused."""

    SUCCESS = 0
    HARDWARE_FAULT = 1
    TEMPORARY_FAILURE = 2
    READ_WRITE_DENIED = 3
    OBJECT_UNDEFINED = 4
    OBJECT_CLASS_INCONSISTENT = 9
    OBJECT_UNAVAILABLE = 11
    TYPE_UNMATCHED = 12
    SCOPE_OF_ACCESS_VIOLATED = 13
    DATA_BLOCK_UNAVAILABLE = 14
    LONG_ACTION_ABORTED = 15
    NO_LONG_ACTION_IN_PROGRESS = 16
    OTHER_REASON = 250


class AssociationResult(_Worded):
    """Association-result of an AARE."""

    ACCEPTED = 0
    REJECTED_PERMANENT = 1
    REJECTED_TRANSIENT = 2


class ServiceUserDiagnostic(_Worded):
    """Acse-service-user: why the meter rejects an association."""

    NULL = 0
    NO_REASON_GIVEN = 1
    APPLICATION_CONTEXT_NAME_NOT_SUPPORTED = 2
    CALLING_AP_TITLE_NOT_RECOGNIZED = 3
    CALLING_AP_INVOCATION_IDENTIFIER_NOT_RECOGNIZED = 4
    CALLING_AE_QUALIFIER_NOT_RECOGNIZED = 5
    CALLING_AE_INVOCATION_IDENTIFIER_NOT_RECOGNIZED = 6
    CALLED_AP_TITLE_NOT_RECOGNIZED = 7
    CALLED_AP_INVOCATION_IDENTIFIER_NOT_RECOGNIZED = 8
    CALLED_AE_QUALIFIER_NOT_RECOGNIZED = 9
    CALLED_AE_INVOCATION_IDENTIFIER_NOT_RECOGNIZED = 10
    AUTHENTICATION_MECHANISM_NAME_NOT_RECOGNISED = 11
    AUTHENTICATION_MECHANISM_NAME_REQUIRED = 12
    AUTHENTICATION_FAILURE = 13
    AUTHENTICATION_REQUIRED = 14


class ServiceProviderDiagnostic(_Worded):
    """Acse-service-provider: why the association could not be tried."""

    NULL = 0
    NO_REASON_GIVEN = 1
    NO_COMMON_ACSE_VERSION = 2


class StateError(_Worded):
    """State-error of an exception-response."""

    SERVICE_NOT_ALLOWED = 1
    SERVICE_UNKNOWN = 2


class ServiceError(_Worded):
    """Service-error of an exception-response."""

    OPERATION_NOT_POSSIBLE = 1
    SERVICE_NOT_SUPPORTED = 2
    OTHER_REASON = 3
    PDU_TOO_LONG = 4
    DECIPHERING_ERROR = 5
    INVOCATION_COUNTER_ERROR = 6


CONFIRMED_ERROR_CLASSES: dict[int, tuple[str, tuple[str, ...]]] = {
    0: ("application-reference", ("other", "time-elapsed", "application-unreachable", "application-reference-invalid",
                                  "application-context-unsupported", "provider-communication-error",
                                  "deciphering-error")),
    1: ("hardware-resource", ("other", "memory-unavailable", "processor-resource-unavailable",
                              "mass-storage-unavailable", "other-resource-unavailable")),
    2: ("vde-state-error", ("other", "no-dlms-context", "loading-data-set", "status-nochange", "status-inoperable")),
    3: ("service", ("other", "pdu-size", "service-unsupported")),
    4: ("definition", ("other", "object-undefined", "object-class-inconsistent", "object-attribute-inconsistent")),
    5: ("access", ("other", "scope-of-access-violated", "object-access-violated", "hardware-fault",
                   "object-unavailable")),
    6: ("initiate", ("other", "dlms-version-too-low", "incompatible-conformance", "pdu-size-too-short",
                     "refused-by-the-vde-handler")),
    7: ("load-data-set", ("other", "primitive-out-of-sequence", "not-loadable", "dataset-size-too-large",
                          "not-awaited-segment", "interpretation-failure", "storage-failure",
                          "data-set-not-ready")),
    9: ("task", ("other", "no-remote-control", "ti-stopped", "ti-running", "ti-unusable")),
}  # fmt: skip
"""ServiceError of a confirmed-service-error: by class, its word and the words of its codes."""


def confirmed_error_words(error_class: int, error_code: int) -> str:
    """Return ``class: code`` in the standard's words, numbers where it has none."""
    name, words = CONFIRMED_ERROR_CLASSES.get(error_class, (f"class {error_class}", ()))
    return f"{name}: {words[error_code] if error_code < len(words) else f'code {error_code}'}"
