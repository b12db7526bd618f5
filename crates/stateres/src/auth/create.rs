//! Rule 1: `m.room.create`.

use starling_events::{
    Pdu, RoomVersion, Value,
    id::{parse_user_id, room_id_domain},
    room_version::{CreatorPlace, RoomIdForm},
};

use super::AuthError;

pub(super) fn check(version: RoomVersion, event: &Pdu) -> Result<(), AuthError> {
    // 1.1
    if !event.prev_events().is_empty() {
        return Err(AuthError::CreateHasPrevEvents);
    }
    // 1.2. Of version 12, an event that states its room id is no event of that format: it was never parsed.
    if version.rules().room_id == RoomIdForm::WithDomain
        && room_id_domain(event.room_id()) != Some(event.sender().server_name().as_str())
    {
        return Err(AuthError::CreateRoomIdDomain);
    }
    let content = Value::new(event.content());
    // 1.3
    if let Some(stated) = content.get("room_version")
        && stated
            .as_str()
            .is_none_or(|name| RoomVersion::parse(&name).is_none())
    {
        return Err(AuthError::UnknownRoomVersion);
    }
    // 1.4 of versions 1 to 10. Any value will do; nobody is the creator then if it isn't a user id.
    if version.rules().creator == CreatorPlace::Content && content.get("creator").is_none() {
        return Err(AuthError::NoCreator);
    }
    // 1.4
    if version.rules().privileged_creators
        && let Some(creators) = content.get("additional_creators")
        && !is_list_of_users(creators)
    {
        return Err(AuthError::InvalidAdditionalCreators);
    }
    Ok(())
}

fn is_list_of_users(value: Value<'_>) -> bool {
    value.is_array()
        && value.elements().all(|user| {
            user.as_str()
                .is_some_and(|user| parse_user_id(&user).is_ok())
        })
}
