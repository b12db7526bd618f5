//! Filters: what a client wants to be told of.
//! <https://spec.matrix.org/v1.19/client-server-api/#filtering>

mod fields;
mod pattern;

use std::collections::HashSet;

use serde_json::{Map, Value};
use starling_events::Pdu;
use starling_store::rooms::stable_hash;

pub use fields::EventFields;
use pattern::TypePatterns;

/// A longer filter (bytes of JSON) is refused.
pub const MAX_FILTER_BYTES: usize = 65_536;

/// A filter with more `event_fields` is refused.
pub const MAX_EVENT_FIELDS: usize = 100;

/// A filter with more entries in any other list is refused.
pub const MAX_LISTED: usize = 500;

/// How many events a client gets that doesn't say how many it wants.
pub const DEFAULT_LIMIT: usize = 10;

/// How many events a client gets at most. Who asks for more gets so many.
pub const MAX_LIMIT: usize = 100;

/// Why a text is no filter.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FilterError {
    /// It is no JSON object.
    #[error("the filter is not a JSON object")]
    NotAnObject,
    /// It is longer than [`MAX_FILTER_BYTES`].
    #[error("the filter is longer than {MAX_FILTER_BYTES} bytes")]
    TooLarge,
    /// A field has another type than it must have, or too many entries.
    #[error("the filter's {field} is not {expected}")]
    Field {
        /// Its path, for example `room.timeline.limit`.
        field: String,
        /// What it must be.
        expected: &'static str,
    },
}

/// A filter for `/sync`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// A hash of its text, which tells it from others; 0 for the one that lets everything through.
    pub fingerprint: i64,
    /// The fields of events to send; `None` for all.
    pub event_fields: Option<EventFields>,
    /// In which format to send events.
    pub event_format: EventFormat,
    /// Which presence to send.
    pub presence: EventFilter,
    /// Which of the account's data to send.
    pub account_data: EventFilter,
    /// What to send of rooms.
    pub room: RoomFilter,
}

/// A format of events.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum EventFormat {
    /// As the client-server API has them.
    #[default]
    Client,
    /// As servers send them to one another.
    Federation,
}

/// Which rooms to send, and what of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RoomFilter {
    /// Which rooms, of any membership.
    pub rooms: Names,
    /// Which typing notifications and receipts.
    pub ephemeral: RoomEventFilter,
    /// Whether rooms that the user has left are in an initial sync.
    pub include_leave: bool,
    /// Which state. A `limit` here has no effect: state is never cut short.
    pub state: RoomEventFilter,
    /// Which events of the timeline.
    pub timeline: RoomEventFilter,
    /// Which of the user's data for a room.
    pub account_data: RoomEventFilter,
}

/// Which events to send.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EventFilter {
    limit: Option<u64>,
    types: Option<TypePatterns>,
    not_types: TypePatterns,
    senders: Names,
}

/// Which events of rooms to send.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RoomEventFilter {
    /// By what any event has.
    pub events: EventFilter,
    /// Of which rooms.
    pub rooms: Names,
    /// Only events that have, or have not, a `url` in their content.
    pub contains_url: Option<bool>,
    /// Whether to send the member events only of those who sent events of the timeline.
    pub lazy_load_members: bool,
    /// Whether to send such member events although they were sent before.
    pub include_redundant_members: bool,
    /// Whether to count threads' unread notifications apart.
    pub unread_thread_notifications: bool,
}

/// Names to include (`None`: all) and names to leave out, which wins.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Names {
    only: Option<HashSet<String>>,
    not: HashSet<String>,
}

impl Names {
    /// Whether this name is wanted.
    #[must_use]
    pub fn allows(&self, name: &str) -> bool {
        let listed = |names: &HashSet<String>| names.contains(name);
        !listed(&self.not) && self.only.as_ref().is_none_or(listed)
    }
}

impl EventFilter {
    /// How many events to send at most, up to [`MAX_LIMIT`]. The specification has no 0; clients that ask for it want no
    /// events.
    #[must_use]
    pub fn limit(&self) -> usize {
        self.limit.map_or(DEFAULT_LIMIT, |limit| {
            usize::try_from(limit).unwrap_or(usize::MAX).min(MAX_LIMIT)
        })
    }

    /// Whether events of this type are wanted, whoever sent them.
    #[must_use]
    pub fn allows_type(&self, kind: &str) -> bool {
        let matches = |patterns: &TypePatterns| patterns.matches(kind);
        !matches(&self.not_types) && self.types.as_ref().is_none_or(matches)
    }

    /// Whether what `sender` has sent is wanted, whatever it is.
    #[must_use]
    pub fn allows_sender(&self, sender: &str) -> bool {
        self.senders.allows(sender)
    }
}

impl RoomEventFilter {
    /// Whether an event of a room that is wanted is wanted.
    #[must_use]
    pub fn matches(&self, event: &Pdu) -> bool {
        self.events.allows_type(event.kind())
            && self.events.allows_sender(event.sender().as_str())
            && self
                .contains_url
                .is_none_or(|wanted| wanted == has_url(event))
    }

    /// Whether every event of a room that is wanted is wanted.
    #[must_use]
    pub fn matches_all(&self) -> bool {
        let EventFilter {
            types,
            not_types,
            senders,
            ..
        } = &self.events;
        types.is_none()
            && *not_types == TypePatterns::default()
            && *senders == Names::default()
            && self.contains_url.is_none()
    }

    /// Reads a filter as `/messages` and its like take it.
    ///
    /// # Errors
    /// When it is no JSON object, too large, or a field has a wrong type.
    pub fn parse(text: &str) -> Result<Self, FilterError> {
        let object = parse_object(text)?;
        Self::read(&Fields {
            object: Some(&object),
            path: String::new(),
        })
    }

    fn read(fields: &Fields<'_>) -> Result<Self, FilterError> {
        Ok(Self {
            events: EventFilter::read(fields)?,
            rooms: fields.names("rooms", "not_rooms")?,
            contains_url: fields.flag("contains_url")?,
            lazy_load_members: fields.flag("lazy_load_members")?.unwrap_or(false),
            include_redundant_members: fields.flag("include_redundant_members")?.unwrap_or(false),
            unread_thread_notifications: fields
                .flag("unread_thread_notifications")?
                .unwrap_or(false),
        })
    }
}

fn has_url(event: &Pdu) -> bool {
    starling_events::Value::new(event.content())
        .get("url")
        .is_some()
}

impl Filter {
    /// What `/initialSync` tells: so many events of each room, and of left rooms if those are wanted.
    pub(crate) fn of_initial_sync(limit: Option<u64>, include_leave: bool) -> Self {
        let mut filter = Self::default();
        filter.room.include_leave = include_leave;
        filter.room.timeline.events.limit = limit;
        filter.room.ephemeral.events.types = Some(TypePatterns::default());
        filter
    }

    /// Reads a filter. Unknown fields are left alone.
    ///
    /// # Errors
    /// When it is no JSON object, too large, or a field has a wrong type.
    pub fn parse(text: &str) -> Result<Self, FilterError> {
        let object = parse_object(text)?;
        let fields = Fields {
            object: Some(&object),
            path: String::new(),
        };
        Ok(Self {
            fingerprint: stable_hash(text.as_bytes()),
            event_fields: fields
                .event_fields()?
                .map(|paths| EventFields::parse(&paths)),
            event_format: fields.event_format()?,
            presence: EventFilter::read(&fields.inner("presence")?)?,
            account_data: EventFilter::read(&fields.inner("account_data")?)?,
            room: RoomFilter::read(&fields.inner("room")?)?,
        })
    }
}

impl RoomFilter {
    fn read(fields: &Fields<'_>) -> Result<Self, FilterError> {
        let part = |name| RoomEventFilter::read(&fields.inner(name)?);
        Ok(Self {
            rooms: fields.names("rooms", "not_rooms")?,
            ephemeral: part("ephemeral")?,
            include_leave: fields.flag("include_leave")?.unwrap_or(false),
            state: part("state")?,
            timeline: part("timeline")?,
            account_data: part("account_data")?,
        })
    }
}

impl EventFilter {
    fn read(fields: &Fields<'_>) -> Result<Self, FilterError> {
        Ok(Self {
            limit: fields.number("limit")?,
            types: fields.strings("types")?.map(TypePatterns::new),
            not_types: fields
                .strings("not_types")?
                .map(TypePatterns::new)
                .unwrap_or_default(),
            senders: fields.names("senders", "not_senders")?,
        })
    }
}

fn parse_object(text: &str) -> Result<Map<String, Value>, FilterError> {
    if text.len() > MAX_FILTER_BYTES {
        return Err(FilterError::TooLarge);
    }
    serde_json::from_str(text).map_err(|_| FilterError::NotAnObject)
}

/// The fields of one object of a filter; a field that is null counts as absent.
struct Fields<'a> {
    object: Option<&'a Map<String, Value>>,
    /// Where the object is in the filter: empty, or ending in a dot.
    path: String,
}

impl<'a> Fields<'a> {
    fn get(&self, name: &str) -> Option<&'a Value> {
        self.object
            .and_then(|object| object.get(name))
            .filter(|value| !value.is_null())
    }

    fn wrong(&self, name: &str, expected: &'static str) -> FilterError {
        FilterError::Field {
            field: format!("{}{name}", self.path),
            expected,
        }
    }

    fn inner(&self, name: &str) -> Result<Self, FilterError> {
        let object = match self.get(name) {
            None => None,
            Some(value) => Some(
                value
                    .as_object()
                    .ok_or_else(|| self.wrong(name, "an object"))?,
            ),
        };
        Ok(Self {
            object,
            path: format!("{}{name}.", self.path),
        })
    }

    fn flag(&self, name: &str) -> Result<Option<bool>, FilterError> {
        let Some(value) = self.get(name) else {
            return Ok(None);
        };
        value
            .as_bool()
            .map(Some)
            .ok_or_else(|| self.wrong(name, "true or false"))
    }

    fn number(&self, name: &str) -> Result<Option<u64>, FilterError> {
        let Some(value) = self.get(name) else {
            return Ok(None);
        };
        value
            .as_u64()
            .map(Some)
            .ok_or_else(|| self.wrong(name, "a positive integer"))
    }

    fn strings(&self, name: &str) -> Result<Option<Vec<String>>, FilterError> {
        self.list(name, MAX_LISTED, "a list of at most 500 strings")
    }

    fn event_fields(&self) -> Result<Option<Vec<String>>, FilterError> {
        self.list(
            "event_fields",
            MAX_EVENT_FIELDS,
            "a list of at most 100 strings",
        )
    }

    fn list(
        &self,
        name: &str,
        most: usize,
        expected: &'static str,
    ) -> Result<Option<Vec<String>>, FilterError> {
        let Some(value) = self.get(name) else {
            return Ok(None);
        };
        let values = value.as_array().filter(|values| values.len() <= most);
        let texts = values.and_then(|values| {
            values
                .iter()
                .map(|value| value.as_str().map(str::to_owned))
                .collect::<Option<Vec<_>>>()
        });
        texts.map(Some).ok_or_else(|| self.wrong(name, expected))
    }

    fn names(&self, only: &str, not: &str) -> Result<Names, FilterError> {
        Ok(Names {
            only: self.strings(only)?.map(|names| names.into_iter().collect()),
            not: self.strings(not)?.unwrap_or_default().into_iter().collect(),
        })
    }

    fn event_format(&self) -> Result<EventFormat, FilterError> {
        let name = "event_format";
        match self.get(name).map(Value::as_str) {
            None | Some(Some("client")) => Ok(EventFormat::Client),
            Some(Some("federation")) => Ok(EventFormat::Federation),
            Some(_) => Err(self.wrong(name, "\"client\" or \"federation\"")),
        }
    }
}
