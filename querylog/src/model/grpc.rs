//! The statuses of gRPC.

/// The call ended without a known status.
pub(crate) const UNKNOWN: u16 = 2;

const DEADLINE_EXCEEDED: u16 = 4;
const UNIMPLEMENTED: u16 = 12;
const INTERNAL: u16 = 13;
const UNAVAILABLE: u16 = 14;
const DATA_LOSS: u16 = 15;

/// Returns whether a status is an error of the server, by OpenTelemetry's conventions. Others, such as `NOT_FOUND`, are
/// errors of the caller.
pub(crate) fn is_server_error(status: u16) -> bool {
    matches!(status, UNKNOWN | DEADLINE_EXCEEDED | UNIMPLEMENTED | INTERNAL | UNAVAILABLE | DATA_LOSS)
}
