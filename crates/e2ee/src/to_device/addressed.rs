//! What a request sends to whom, and as what it is kept and sent on.

use std::collections::BTreeSet;

use ruma_common::{OwnedServerName, OwnedUserId};
use serde_json::Value as Json;
use starling_events::{CanonicalObject, Value};

use super::Sending;

/// The largest message, in bytes of canonical JSON: as large as an event. The specification has no limit.
pub const MAX_MESSAGE_BYTES: usize = 65_536;

/// The longest id of a device, in bytes. The specification has no limit; other servers have about this one.
pub const MAX_DEVICE_ID_BYTES: usize = 255;

/// So many devices are addressed by one request.
pub const MOST_ADDRESSED: usize = 5_000;

/// In place of a device's id: all devices of the user.
pub(super) const ALL_DEVICES: &str = "*";

/// A message to one device, or to all of a user's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Addressed {
    /// The user.
    pub user: OwnedUserId,
    /// The device's id, or `*`.
    pub device: String,
    /// The content: a JSON object in canonical form.
    pub content: Vec<u8>,
}

/// The messages of one request, at most one for each device. Users that can't be are left out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Messages(Vec<Addressed>);

/// Why messages are not sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MessagesError {
    /// `messages` is missing.
    #[error("`messages` is missing")]
    Missing,
    /// What `messages` holds is no object of objects of objects.
    #[error("{0} must be an object")]
    NotAnObject(&'static str),
    /// A message is larger than [`MAX_MESSAGE_BYTES`].
    #[error("a message has more than {MAX_MESSAGE_BYTES} bytes")]
    MessageTooLarge,
    /// A device's id is longer than [`MAX_DEVICE_ID_BYTES`].
    #[error("a device's id has more than {MAX_DEVICE_ID_BYTES} bytes")]
    DeviceTooLong,
    /// More than [`MOST_ADDRESSED`] devices are addressed.
    #[error("more than {MOST_ADDRESSED} devices are addressed")]
    TooMany,
}

impl Messages {
    /// The messages in the body of a client's request.
    ///
    /// # Errors
    /// Why none of them is sent.
    pub fn of_body(body: &CanonicalObject) -> Result<Self, MessagesError> {
        let messages = body.value().get("messages");
        let messages = messages.ok_or(MessagesError::Missing)?;
        if !messages.is_object() {
            return Err(MessagesError::NotAnObject("`messages`"));
        }
        let mut all = Vec::new();
        for of_user in messages.members() {
            if !of_user.value.is_object() {
                return Err(MessagesError::NotAnObject("what `messages` has for a user"));
            }
            let user = of_user.key().and_then(|user| user_id(&user));
            for of_device in of_user.value.members() {
                check(of_device.value, all.len())?;
                let device = of_device.key();
                if device.as_ref().is_some_and(|device| is_too_long(device)) {
                    return Err(MessagesError::DeviceTooLong);
                }
                if let (Some(user), Some(device)) = (&user, device) {
                    all.push(Addressed {
                        user: user.clone(),
                        device: device.into_owned(),
                        content: of_device.value.as_bytes().to_vec(),
                    });
                }
            }
        }
        Ok(Self(all))
    }

    /// The messages in the content of an EDU; what makes no sense in it is left out. `None` when that is all, or more than
    /// [`MOST_ADDRESSED`] devices are addressed.
    pub(super) fn of_edu(content: &Json) -> Option<Self> {
        let mut all = Vec::new();
        for (user, devices) in content.get("messages")?.as_object()? {
            let Some((user, devices)) = user_id(user).zip(devices.as_object()) else {
                continue;
            };
            let messages = devices
                .iter()
                .filter(|(device, content)| content.is_object() && !is_too_long(device));
            all.extend(messages.map(|(device, content)| Addressed {
                user: user.clone(),
                device: device.clone(),
                content: content.to_string().into_bytes(),
            }));
        }
        (all.len() <= MOST_ADDRESSED).then_some(Self(all))
    }

    /// The servers of all who are addressed.
    pub(super) fn servers(&self) -> BTreeSet<OwnedServerName> {
        let servers = self.0.iter().map(|it| it.user.server_name().to_owned());
        servers.collect()
    }

    /// Leaves out all others.
    pub(super) fn retain(&mut self, wanted: impl FnMut(&Addressed) -> bool) {
        self.0.retain(wanted);
    }

    /// The messages, at most so many at once: the same pieces of the same request.
    pub(super) fn pieces(&self, most: usize) -> impl Iterator<Item = &[Addressed]> {
        self.0.chunks(most)
    }
}

fn check(content: Value<'_>, known: usize) -> Result<(), MessagesError> {
    if !content.is_object() {
        return Err(MessagesError::NotAnObject("a message"));
    }
    if content.as_bytes().len() > MAX_MESSAGE_BYTES {
        return Err(MessagesError::MessageTooLarge);
    }
    if known >= MOST_ADDRESSED {
        return Err(MessagesError::TooMany);
    }
    Ok(())
}

fn is_too_long(device: &str) -> bool {
    device.len() > MAX_DEVICE_ID_BYTES
}

/// A user's id. What no database compares with is none.
fn user_id(text: &str) -> Option<OwnedUserId> {
    let id = Some(text).filter(|text| !text.contains('\0'));
    OwnedUserId::try_from(id?).ok()
}

impl Sending {
    /// A message as its device is told it.
    pub(super) fn event(&self, content: &[u8]) -> Vec<u8> {
        let (sender, kind) = (text(self.sender.as_str()), text(&self.kind));
        let mut out = Vec::with_capacity(content.len() + sender.len() + kind.len() + 32);
        out.extend_from_slice(br#"{"content":"#);
        out.extend_from_slice(content);
        out.extend_from_slice(format!(r#","sender":{sender},"type":{kind}}}"#).as_bytes());
        out
    }
}

/// The contents of the EDUs that carry messages to one server: canonical JSON, each not larger than `most` bytes, unless it
/// is one message alone. <https://spec.matrix.org/v1.19/server-server-api/#send-to-device-messaging>
pub(super) fn edus(
    sending: &Sending,
    messages: &[&Addressed],
    most: usize,
    mut message_id: impl FnMut() -> String,
) -> Vec<Vec<u8>> {
    let mut edus = Vec::new();
    let mut edu = Edu::default();
    for message in messages {
        if !edu.0.is_empty() && edu.0.len() + size(message) > most {
            edus.push(std::mem::take(&mut edu).finish(sending, &message_id()));
        }
        edu.add(message);
    }
    edus.push(edu.finish(sending, &message_id()));
    edus
}

/// How many bytes a message has in an EDU, with the names of its user and device, at most.
fn size(message: &Addressed) -> usize {
    let Addressed {
        user,
        device,
        content,
    } = message;
    // With what stands around them: `},` and `:{`, `,` and `:`.
    content.len() + text(user.as_str()).len() + text(device).len() + 6
}

/// The messages of an EDU that is being written, without the braces around them, and the user who gets the last of them.
#[derive(Default)]
struct Edu<'a>(Vec<u8>, Option<&'a OwnedUserId>);

impl<'a> Edu<'a> {
    fn add(&mut self, message: &'a Addressed) {
        let Self(out, last) = self;
        if *last == Some(&message.user) {
            out.push(b',');
        } else {
            if last.is_some() {
                out.extend_from_slice(b"},");
            }
            out.extend_from_slice(text(message.user.as_str()).as_bytes());
            out.extend_from_slice(b":{");
            *last = Some(&message.user);
        }
        out.extend_from_slice(text(&message.device).as_bytes());
        out.push(b':');
        out.extend_from_slice(&message.content);
    }

    fn finish(self, sending: &Sending, message_id: &str) -> Vec<u8> {
        let (sender, kind) = (text(sending.sender.as_str()), text(&sending.kind));
        let id = text(message_id);
        let mut out = format!(r#"{{"message_id":{id},"messages":{{"#).into_bytes();
        out.extend(self.0);
        out.extend(format!(r#"}}}},"sender":{sender},"type":{kind}}}"#).into_bytes());
        out
    }
}

/// A string literal.
fn text(text: &str) -> String {
    Json::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn sending() -> Sending {
        Sending {
            sender: "@a:localhost".try_into().unwrap(),
            kind: "m.\"new\"".to_owned(),
        }
    }

    fn messages(body: &Json) -> Result<Messages, MessagesError> {
        Messages::of_body(&CanonicalObject::from_serialize(body).unwrap())
    }

    #[test]
    fn edus_are_canonical_and_hold_every_message_once() {
        let body = json!({ "messages": {
            "@b:one.example": { "X": { "n": 1 }, "é\n": { "b": 2, "a": "ü" } },
            "@c:one.example": { "*": {} },
        } });
        let all = messages(&body).unwrap();
        let all: Vec<&Addressed> = all.0.iter().collect();
        for (most, expected) in [(10_000, 1), (76, 2), (0, 3)] {
            let mut ids = 0;
            let edus = edus(&sending(), &all, most, || {
                ids += 1;
                format!("id{ids}")
            });
            assert_eq!((edus.len(), ids), (expected, expected), "{most}");
            let mut found = json!({});
            for edu in edus {
                let canonical = CanonicalObject::parse(&edu).unwrap();
                assert_eq!(canonical.as_bytes(), edu);
                let edu: Json = serde_json::from_slice(&edu).unwrap();
                assert_eq!(edu["sender"], "@a:localhost");
                assert_eq!(edu["type"], "m.\"new\"");
                for (user, devices) in edu["messages"].as_object().unwrap() {
                    for (device, content) in devices.as_object().unwrap() {
                        assert_eq!(found[user][device], Json::Null);
                        found[user][device] = content.clone();
                    }
                }
            }
            assert_eq!(found, body["messages"]);
        }
    }

    #[test]
    fn events_are_json() {
        let event = sending().event(b"{\"a\":1}");
        let event: Json = serde_json::from_slice(&event).unwrap();
        let expected =
            json!({ "content": { "a": 1 }, "sender": "@a:localhost", "type": "m.\"new\"" });
        assert_eq!(event, expected);
    }

    #[test]
    fn users_that_cannot_be_are_left_out() {
        let body = json!({ "messages": { "alice": { "X": {} }, "@a\0:x.example": { "X": {} }, "@a:x.example": {} } });
        assert_eq!(messages(&body), Ok(Messages::default()));
    }

    #[test]
    fn a_request_has_bounds() {
        let content = json!({ "x": "x".repeat(MAX_MESSAGE_BYTES) });
        let body = json!({ "messages": { "@a:x.example": { "X": content } } });
        assert_eq!(messages(&body), Err(MessagesError::MessageTooLarge));
        let devices = |count: usize| {
            let devices = (0..count).map(|it| (it.to_string(), json!({})));
            let devices: serde_json::Map<String, Json> = devices.collect();
            json!({ "messages": { "@a:x.example": devices } })
        };
        assert_eq!(
            messages(&devices(MOST_ADDRESSED + 1)),
            Err(MessagesError::TooMany)
        );
        let most = messages(&devices(MOST_ADDRESSED)).unwrap();
        assert_eq!(most.pieces(1_000).count(), 5);
    }

    #[test]
    fn a_device_has_no_long_id() {
        let body =
            |bytes: usize| json!({ "messages": { "@a:x.example": { "x".repeat(bytes): {} } } });
        let refused = messages(&body(MAX_DEVICE_ID_BYTES + 1));
        assert_eq!(refused, Err(MessagesError::DeviceTooLong));
        assert_eq!(messages(&body(MAX_DEVICE_ID_BYTES)).unwrap().0.len(), 1);
        // Of another server's message only that part is passed over.
        let mut edu = body(MAX_DEVICE_ID_BYTES + 1);
        edu["messages"]["@a:x.example"]["D"] = json!({});
        let taken = Messages::of_edu(&edu).unwrap();
        assert_eq!((taken.0.len(), &*taken.0[0].device), (1, "D"));
    }

    #[test]
    fn names_count_as_much_as_what_is_said() {
        let devices = (0..40).map(|it| (format!("{it}{}", "\n".repeat(200)), json!({})));
        let devices: serde_json::Map<String, Json> = devices.collect();
        let all = messages(&json!({ "messages": { "@a:x.example": devices } })).unwrap();
        let all: Vec<&Addressed> = all.0.iter().collect();
        let edus = edus(&sending(), &all, 2_000, || "id".to_owned());
        assert_eq!(edus.len(), 10);
        let head = sending().event(b"{}").len() + 50;
        assert!(edus.iter().all(|edu| edu.len() <= 2_000 + head));
    }
}
