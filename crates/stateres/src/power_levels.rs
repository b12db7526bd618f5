//! Power levels, parsed once, and the defaults where there are none.
//! <https://spec.matrix.org/v1.19/client-server-api/#mroompower_levels>

use std::{borrow::Cow, num::IntErrorKind, sync::Arc};

use ruma_common::{OwnedUserId, UserId};
use starling_events::{
    Pdu, RoomVersion, Value,
    id::{parse_user_id, user_id},
    room_version::{CreatorPlace, LevelForm},
};
use thiserror::Error;

/// The power of a user, or the power that something takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PowerLevel {
    /// A level as `m.room.power_levels` gives.
    Finite(i64),
    /// Above every level: that of a room's creators, from room version 12 on.
    Infinite,
}

/// Why a content is not one of `m.room.power_levels`. Each names the property. An integer is here what the room version
/// takes for one: [`LevelForm`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum PowerLevelsError {
    /// The property is not an integer.
    #[error("{0} is not an integer")]
    NotAnInteger(&'static str),
    /// The property is not an object with integers as values.
    #[error("{0} is not an object of integers")]
    NotAnObjectOfIntegers(&'static str),
    /// A key of `users` is not a user id.
    #[error("a key of users is not a user id")]
    InvalidUserId,
}

const USERS_DEFAULT: i64 = 0;
const EVENTS_DEFAULT: i64 = 0;
const STATE_DEFAULT: i64 = 50;
const BAN_DEFAULT: i64 = 50;
const REDACT_DEFAULT: i64 = 50;
const KICK_DEFAULT: i64 = 50;
const INVITE_DEFAULT: i64 = 0;
const NOTIFICATION_DEFAULT: i64 = 50;

/// The level of the creator in a room without power levels, where creators are not privileged.
const CREATOR_DEFAULT: i64 = 100;

/// The creators of a room, sorted. They may be thousands, so they are shared.
pub(crate) type Creators = Arc<[OwnedUserId]>;

/// Levels by user, event type or notification, sorted by that.
pub(crate) type Levels = Vec<(Box<str>, i64)>;

/// The content of an `m.room.power_levels` event, with what it doesn't say left out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PowerLevels {
    pub(crate) ban: Option<i64>,
    pub(crate) events: Levels,
    pub(crate) events_default: Option<i64>,
    pub(crate) invite: Option<i64>,
    pub(crate) kick: Option<i64>,
    pub(crate) notifications: Levels,
    pub(crate) redact: Option<i64>,
    pub(crate) state_default: Option<i64>,
    pub(crate) users: Levels,
    pub(crate) users_default: Option<i64>,
}

/// A property that is a single level.
pub(crate) struct Property {
    pub(crate) name: &'static str,
    pub(crate) stated: Option<i64>,
    default: i64,
}

impl Property {
    /// The level that holds.
    pub(crate) fn effective(&self) -> i64 {
        self.stated.unwrap_or(self.default)
    }
}

impl PowerLevels {
    /// Parses the canonical bytes of a content.
    ///
    /// From room version 10 on, the authorization rules demand that every property be well-formed. Before, they demand
    /// it only of `users`, but compare and apply the others all the same: what isn't a level can't be compared, so
    /// those are refused too when malformed. Only `notifications` where the rules don't look at them are left out
    /// instead.
    pub fn parse(version: RoomVersion, content: &[u8]) -> Result<Self, PowerLevelsError> {
        let mut levels = Self::default();
        for member in Value::new(content).members() {
            let value = member.value;
            let level = |name| parse_level(version, name, value).map(Some);
            match member.raw_key {
                b"ban" => levels.ban = level("ban")?,
                b"events" => levels.events = parse_levels(version, "events", value)?,
                b"events_default" => levels.events_default = level("events_default")?,
                b"invite" => levels.invite = level("invite")?,
                b"kick" => levels.kick = level("kick")?,
                b"notifications" => {
                    levels.notifications = match parse_levels(version, "notifications", value) {
                        Err(_) if !version.rules().notification_levels => Levels::new(),
                        notifications => notifications?,
                    }
                }
                b"redact" => levels.redact = level("redact")?,
                b"state_default" => levels.state_default = level("state_default")?,
                b"users" => levels.users = parse_levels(version, "users", value)?,
                b"users_default" => levels.users_default = level("users_default")?,
                _ => {}
            }
        }
        if levels.users.iter().any(|(user, _)| user_id(user).is_err()) {
            return Err(PowerLevelsError::InvalidUserId);
        }
        Ok(levels)
    }

    /// The properties that are single levels.
    pub(crate) fn properties(&self) -> [Property; 7] {
        [
            ("users_default", self.users_default, USERS_DEFAULT),
            ("events_default", self.events_default, EVENTS_DEFAULT),
            ("state_default", self.state_default, STATE_DEFAULT),
            ("ban", self.ban, BAN_DEFAULT),
            ("redact", self.redact, REDACT_DEFAULT),
            ("kick", self.kick, KICK_DEFAULT),
            ("invite", self.invite, INVITE_DEFAULT),
        ]
        .map(|(name, stated, default)| Property {
            name,
            stated,
            default,
        })
    }
}

fn parse_level(
    version: RoomVersion,
    name: &'static str,
    value: Value<'_>,
) -> Result<i64, PowerLevelsError> {
    let level = match version.rules().levels {
        LevelForm::AnyNumber => number(value).or_else(|| integer_in_string(value)),
        LevelForm::IntegerOrString => value.as_integer().or_else(|| integer_in_string(value)),
        LevelForm::Integer => value.as_integer(),
    };
    level.ok_or(PowerLevelsError::NotAnInteger(name))
}

/// A number that a double can hold, cut off at the decimal point. What is beyond the range of `i64` becomes the end of
/// that range: an order among levels that high serves no room, and nobody can be above the highest.
/// <https://spec.matrix.org/v1.19/rooms/v1/#mroompower_levels-events-accept-values-as-floats>
fn number(value: Value<'_>) -> Option<i64> {
    if let Some(integer) = value.as_integer() {
        return Some(integer);
    }
    let text = std::str::from_utf8(value.as_bytes()).ok()?;
    // No other JSON begins so; and there are words that Rust reads as numbers.
    if !text
        .trim_start_matches('-')
        .starts_with(|first: char| first.is_ascii_digit())
    {
        return None;
    }
    let number: f64 = text.parse().ok()?;
    #[expect(
        clippy::cast_possible_truncation,
        reason = "cuts off the fraction, and stops at the ends of the range"
    )]
    number.is_finite().then_some(number as i64)
}

/// A string that is an integer, with a sign and leading zeroes if it likes, and white space around it. The text sets no
/// limit to it; beyond the range of `i64` it becomes the end of that range, as in [`number`].
/// <https://spec.matrix.org/v1.19/rooms/v1/#mroompower_levels-events-accept-values-as-strings>
fn integer_in_string(value: Value<'_>) -> Option<i64> {
    let text = value.as_str()?;
    let text = text.trim();
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    match text.parse() {
        Ok(integer) => Some(integer),
        Err(error) => match error.kind() {
            IntErrorKind::PosOverflow => Some(i64::MAX),
            IntErrorKind::NegOverflow => Some(i64::MIN),
            _ => None,
        },
    }
}

/// Canonical objects are sorted by key already.
fn parse_levels(
    version: RoomVersion,
    name: &'static str,
    value: Value<'_>,
) -> Result<Levels, PowerLevelsError> {
    let error = PowerLevelsError::NotAnObjectOfIntegers(name);
    if !value.is_object() {
        return Err(error);
    }
    let mut levels = Levels::new();
    for member in value.members() {
        let key = member.key().ok_or(error)?.into_owned().into_boxed_str();
        levels.push((
            key,
            parse_level(version, name, member.value).map_err(|_| error)?,
        ));
    }
    Ok(levels)
}

/// The level of a key in sorted levels.
pub(crate) fn level_of(levels: &Levels, key: &str) -> Option<i64> {
    let index = levels
        .binary_search_by(|(other, _)| other.as_ref().cmp(key))
        .ok()?;
    levels.get(index).map(|(_, level)| *level)
}

/// The power of users in a room, and what their deeds take: the power levels, the creators and the defaults together.
/// It holds until the room's `m.room.power_levels` event changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoomPower {
    /// `None` without an `m.room.power_levels` event.
    levels: Option<Arc<PowerLevels>>,
    creators: Creators,
    privileged_creators: bool,
}

impl RoomPower {
    /// The power in the room of this create event, and this `m.room.power_levels` event if it has one.
    pub fn new(create: &Pdu, power_levels: Option<&Pdu>) -> Result<Self, PowerLevelsError> {
        let parse = |event: &Pdu| PowerLevels::parse(create.version(), event.content());
        let levels = power_levels.map(parse).transpose()?;
        Ok(Self::with(create, creators(create), levels.map(Arc::new)))
    }

    /// As [`RoomPower::new`], of what is parsed already.
    pub(crate) fn with(create: &Pdu, creators: Creators, levels: Option<Arc<PowerLevels>>) -> Self {
        Self {
            levels,
            creators,
            privileged_creators: create.version().rules().privileged_creators,
        }
    }

    /// The users who have infinite power: none before room version 12.
    #[must_use]
    pub fn privileged_creators(&self) -> &[OwnedUserId] {
        if self.privileged_creators {
            &self.creators
        } else {
            &[]
        }
    }

    /// Whether this is a user who has infinite power.
    pub(crate) fn is_privileged_creator(&self, user: &str) -> bool {
        self.privileged_creators && self.is_creator(user)
    }

    fn is_creator(&self, user: &str) -> bool {
        let found = (self.creators).binary_search_by(|creator| creator.as_str().cmp(user));
        found.is_ok()
    }

    /// The parsed `m.room.power_levels` event, if the room has one.
    #[must_use]
    pub fn levels(&self) -> Option<&PowerLevels> {
        self.levels.as_deref()
    }

    /// A user's power.
    #[must_use]
    pub fn user_level(&self, user: &UserId) -> PowerLevel {
        let is_creator = self.is_creator(user.as_str());
        if is_creator && self.privileged_creators {
            return PowerLevel::Infinite;
        }
        PowerLevel::Finite(match &self.levels {
            Some(levels) => level_of(&levels.users, user.as_str())
                .or(levels.users_default)
                .unwrap_or(USERS_DEFAULT),
            None if is_creator => CREATOR_DEFAULT,
            None => USERS_DEFAULT,
        })
    }

    /// The power of who is neither a creator nor named in the power levels.
    #[must_use]
    pub fn default_level(&self) -> PowerLevel {
        self.level(USERS_DEFAULT, |levels| levels.users_default)
    }

    /// The users with at least this power whom the room names, as creators or in its power levels.
    pub fn named_with(&self, least: PowerLevel) -> impl Iterator<Item = &str> {
        let creators = self.creators.iter().map(|creator| creator.as_str());
        let levels = self.levels.as_deref().into_iter();
        let users = levels.flat_map(|levels| levels.users.iter().map(|(user, _)| &**user));
        let named = creators.chain(users);
        named.filter(move |user| {
            <&UserId>::try_from(*user).is_ok_and(|user| self.user_level(user) >= least)
        })
    }

    /// The power that sending an event of this type takes.
    #[must_use]
    pub fn event_level(&self, kind: &str, is_state: bool) -> PowerLevel {
        let default = if is_state {
            STATE_DEFAULT
        } else {
            EVENTS_DEFAULT
        };
        self.level(default, |levels| {
            let general = if is_state {
                levels.state_default
            } else {
                levels.events_default
            };
            level_of(&levels.events, kind).or(general)
        })
    }

    /// The power that banning takes.
    #[must_use]
    pub fn ban_level(&self) -> PowerLevel {
        self.level(BAN_DEFAULT, |levels| levels.ban)
    }

    /// The power that kicking takes.
    #[must_use]
    pub fn kick_level(&self) -> PowerLevel {
        self.level(KICK_DEFAULT, |levels| levels.kick)
    }

    /// The power that inviting takes.
    #[must_use]
    pub fn invite_level(&self) -> PowerLevel {
        self.level(INVITE_DEFAULT, |levels| levels.invite)
    }

    /// The power that redacting events of other servers takes.
    #[must_use]
    pub fn redact_level(&self) -> PowerLevel {
        self.level(REDACT_DEFAULT, |levels| levels.redact)
    }

    /// The power that a notification takes, for example `room`.
    #[must_use]
    pub fn notification_level(&self, key: &str) -> PowerLevel {
        self.level(NOTIFICATION_DEFAULT, |levels| {
            level_of(&levels.notifications, key)
        })
    }

    fn level(&self, default: i64, stated: impl FnOnce(&PowerLevels) -> Option<i64>) -> PowerLevel {
        PowerLevel::Finite(self.levels.as_deref().and_then(stated).unwrap_or(default))
    }
}

/// The user whom a create event names as the room's creator. Where that is a property of the content, it may be missing
/// or no user id.
pub(crate) fn creator(create: &Pdu) -> Option<Cow<'_, str>> {
    match create.version().rules().creator {
        CreatorPlace::Content => Value::new(create.content()).get("creator")?.as_str(),
        CreatorPlace::Sender => Some(Cow::Borrowed(create.sender().as_str())),
    }
}

/// The creators of a room: the creator that its create event names and, where creators are privileged,
/// `additional_creators`.
pub(crate) fn creators(create: &Pdu) -> Creators {
    let mut creators = Vec::with_capacity(1);
    creators.extend(creator(create).and_then(|name| parse_user_id(&name).ok()));
    if create.version().rules().privileged_creators {
        let additional = Value::new(create.content()).get("additional_creators");
        let names = additional
            .into_iter()
            .flat_map(Value::elements)
            .filter_map(Value::as_str);
        creators.extend(names.filter_map(|name| parse_user_id(&name).ok()));
    }
    creators.sort_unstable();
    creators.dedup();
    creators.into()
}
