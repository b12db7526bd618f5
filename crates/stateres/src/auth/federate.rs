//! Rule 4: `m.federate` of the create event.

use starling_events::{Pdu, Value};

use super::AuthError;

pub(super) fn check(event: &Pdu, create: &Pdu) -> Result<(), AuthError> {
    let federate = Value::new(create.content())
        .get("m.federate")
        .and_then(Value::as_bool);
    if federate == Some(false) && event.sender().server_name() != create.sender().server_name() {
        return Err(AuthError::NotFederated);
    }
    Ok(())
}
