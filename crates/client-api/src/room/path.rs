//! Identifiers in paths and bodies, as the other APIs read them too.

pub(super) use starling_http::{
    AliasPart, EventIdPart, RoomIdPart, RoomOrAliasPart, TxnIdPart, event_named, room_named,
    user_named,
};
