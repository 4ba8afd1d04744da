"""Answers that say no to a service as a whole: exception-response and confirmed-service-error."""

from dataclasses import dataclass

from protocols.dlms.codes import ServiceError, StateError, confirmed_error_words
from protocols.dlms.octets import Cursor

EXCEPTION, CONFIRMED_SERVICE_ERROR = 0xD8, 0x0E


@dataclass(frozen=True, slots=True)
class ExceptionResponse:
    """The server cannot serve: its state, the service, and for a repeated invocation counter the expected one."""

    state_error: int
    service_error: int
    invocation_counter: int | None = None

    @property
    def words(self) -> str:
        """Both errors in the standard's words."""
        state, service = StateError.lookup(self.state_error), ServiceError.lookup(self.service_error)
        first = state.word if state else f"state-error {self.state_error}"
        second = service.word if service else f"service-error {self.service_error}"
        return f"{first}, {second}" + (f" {self.invocation_counter}" if self.invocation_counter is not None else "")

    def encode(self) -> bytes:
        """Return the APDU."""
        counter = b"" if self.invocation_counter is None else self.invocation_counter.to_bytes(4, "big")
        return bytes((EXCEPTION, self.state_error, self.service_error)) + counter


@dataclass(frozen=True, slots=True)
class ConfirmedServiceError:
    """The server refuses a confirmed service: 1 initiate, 5 read, 6 write."""

    service: int
    error_class: int
    error_code: int

    @property
    def words(self) -> str:
        """Class and code in the standard's words."""
        return confirmed_error_words(self.error_class, self.error_code)

    def encode(self) -> bytes:
        """Return the APDU."""
        return bytes((CONFIRMED_SERVICE_ERROR, self.service, self.error_class, self.error_code))


def decode_exception(cursor: Cursor) -> ExceptionResponse:
    """Decode what follows the tag."""
    state, service = cursor.u8("a state-error"), cursor.u8("a service-error")
    counted = service == ServiceError.INVOCATION_COUNTER_ERROR and cursor.left > 0
    response = ExceptionResponse(state, service, cursor.u32("an invocation counter") if counted else None)
    cursor.end("the exception-response")
    return response


def decode_confirmed_service_error(cursor: Cursor) -> ConfirmedServiceError:
    """Decode what follows the tag."""
    error = ConfirmedServiceError(cursor.u8("a service"), cursor.u8("an error class"), cursor.u8("an error code"))
    cursor.end("the confirmed-service-error")
    return error
