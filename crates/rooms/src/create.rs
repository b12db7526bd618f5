//! Creating a room: its first events, alias and memberships in one transaction.
//! <https://spec.matrix.org/v1.19/client-server-api/#creation>

use std::sync::Arc;

use ruma_common::{OwnedRoomAliasId, OwnedRoomId, OwnedUserId};
use serde_json::{Map, Value, json};
use starling_db::{Positions, Tx, Write};
use starling_events::room_version::{CreatorPlace, RoomIdForm};
use starling_events::{CanonicalObject, Pdu, RoomVersion};
use starling_store::aliases::{Alias, alias_insert};
use starling_store::append::{AppendError, NewEvent};
use starling_store::memberships::Membership;
use starling_store::profiles::ProfileSeen;
use starling_store::rooms::{RoomSnapshot, room_insert};
use starling_store::{RoomNum, UserNum};

use crate::error::{CreateError, SendError};
use crate::pipeline::{CLOSED, Chain, Draft, Link, Tip};
use crate::rooms::{Actor, Parts, Rooms};

/// How often a room is built anew because its creator's profile has changed meanwhile.
const ATTEMPTS: u32 = 16;

/// The type of the event that ends a room for another.
pub(crate) const TOMBSTONE: &str = "m.room.tombstone";

/// Above what any moderator gets by default: only creators upgrade the room.
pub(crate) const TOMBSTONE_LEVEL: i64 = 150;

/// The level that state takes where nothing else is said.
const STATE_DEFAULT: i64 = 50;

/// A set of settings for a new room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Preset {
    /// By invite only.
    PrivateChat,
    /// By invite only, and who is invited gets the creator's power.
    TrustedPrivateChat,
    /// Open to all.
    PublicChat,
}

/// Somebody to invite to a new room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invite {
    /// The user.
    pub user: OwnedUserId,
}

/// A room as its creator wants it.
#[derive(Debug, Clone)]
pub struct CreateRoom {
    /// Whether it is listed in the directory.
    pub is_public: bool,
    /// Its settings.
    pub preset: Preset,
    /// Its version, or the default.
    pub room_version: Option<String>,
    /// The local part of its alias.
    pub alias_name: Option<String>,
    /// Its name.
    pub name: Option<String>,
    /// Its topic.
    pub topic: Option<String>,
    /// Who is invited.
    pub invites: Vec<Invite>,
    /// Whether the invites are for a direct chat.
    pub is_direct: bool,
    /// More content of the create event.
    pub creation_content: Map<String, Value>,
    /// More state: type, state key, content.
    pub initial_state: Vec<(String, String, CanonicalObject)>,
    /// What replaces keys of the default power levels.
    pub power_levels: Map<String, Value>,
}

/// A room that was built and not yet stored.
#[derive(Debug)]
pub(crate) struct Built {
    pub(crate) room_id: OwnedRoomId,
    version: RoomVersion,
    alias: Option<OwnedRoomAliasId>,
    is_public: bool,
    creator: UserNum,
    events: Vec<NewEvent>,
}

/// Why the transaction that stores a room ended.
enum StoreError {
    AliasTaken,
    Append(AppendError),
}

impl From<starling_db::Error> for StoreError {
    fn from(error: starling_db::Error) -> Self {
        Self::Append(AppendError::Db(error))
    }
}

impl From<AppendError> for StoreError {
    fn from(error: AppendError) -> Self {
        Self::Append(error)
    }
}

impl Rooms {
    /// Creates a room; all of it is durable when this returns. Users of other servers are invited to it afterwards: if
    /// their server refuses that, the room is there all the same.
    ///
    /// # Errors
    /// [`CreateError`]; nothing is stored then.
    pub async fn create(
        &self,
        actor: &Actor,
        wanted: CreateRoom,
    ) -> Result<OwnedRoomId, CreateError> {
        self.check_invited_servers(&wanted)?;
        for _ in 0..ATTEMPTS {
            if let Some(room_id) = self.try_create(actor, &wanted).await? {
                self.invite_others(actor, &room_id, &wanted).await?;
                return Ok(room_id);
            }
        }
        Err(CreateError::Db(starling_db::Error::Unavailable(
            "the creator's profile changed too often".to_owned(),
        )))
    }

    /// Refuses invites to users of other servers, if the room is to be closed to them.
    fn check_invited_servers(&self, wanted: &CreateRoom) -> Result<(), CreateError> {
        let is_closed = wanted.creation_content.get("m.federate") == Some(&Value::Bool(false));
        let mut invited = wanted
            .invites
            .iter()
            .map(|invite| invite.user.server_name());
        if is_closed && invited.any(|server| server != self.server_name()) {
            return Err(CreateError::Invite(SendError::Forbidden(CLOSED.to_owned())));
        }
        Ok(())
    }

    /// Creates a room, unless the profile that its creator joins with has changed meanwhile.
    async fn try_create(
        &self,
        actor: &Actor,
        wanted: &CreateRoom,
    ) -> Result<Option<OwnedRoomId>, CreateError> {
        let version = match &wanted.room_version {
            None => self.default_version(),
            Some(name) => RoomVersion::parse(name)
                .ok_or_else(|| CreateError::UnsupportedVersion(name.clone()))?,
        };
        let alias = wanted
            .alias_name
            .as_deref()
            .map(|name| self.new_alias(name))
            .transpose()?;
        // Before the drafts, so that no change is missed.
        let seen = self.shown(actor.user).await?.seen();
        let drafts = self
            .first_drafts(actor, wanted, version, alias.as_ref())
            .await?;
        let names = drafts.iter().flat_map(crate::pipeline::names_of).collect();
        let room_id = match version.rules().room_id {
            RoomIdForm::CreateEventHash => None,
            RoomIdForm::WithDomain => {
                Some(self.random_room_id().map_err(CreateError::InvalidState)?)
            }
        };
        let place = (alias, wanted.is_public);
        let built = self
            .build_first((actor, seen), drafts, (version, room_id), place)
            .map_err(CreateError::InvalidState)?;
        self.store()
            .names()
            .intern_ahead(self.store().db(), names)
            .await?;
        let (room_id, alias) = (built.room_id.clone(), built.alias.clone());
        match self.store_new(built).await {
            Ok(()) => Ok(Some(room_id)),
            Err(StoreError::AliasTaken) => Err(CreateError::AliasTaken(
                alias.map(String::from).unwrap_or_default(),
            )),
            Err(StoreError::Append(AppendError::Outdated)) => Ok(None),
            Err(StoreError::Append(AppendError::Db(error))) => Err(CreateError::Db(error)),
            Err(StoreError::Append(other)) => Err(CreateError::Db(starling_db::Error::Damaged(
                other.to_string(),
            ))),
        }
    }

    fn new_alias(&self, name: &str) -> Result<OwnedRoomAliasId, CreateError> {
        if name.is_empty()
            || name.contains([':', '\0', '#'])
            || name.chars().any(char::is_whitespace)
        {
            return Err(CreateError::InvalidAlias(
                "an alias must not be empty or contain white space, ':' or '#'",
            ));
        }
        OwnedRoomAliasId::try_from(format!("#{name}:{}", self.server_name()))
            .map_err(|_| CreateError::InvalidAlias("this cannot be an alias"))
    }

    /// The first events, in the order that the specification gives.
    async fn first_drafts(
        &self,
        actor: &Actor,
        wanted: &CreateRoom,
        version: RoomVersion,
        alias: Option<&OwnedRoomAliasId>,
    ) -> Result<Vec<Draft>, CreateError> {
        let state = |kind: &str, content: Value| state_draft(actor, kind, "", &content);
        let joined = self
            .member_content(Membership::Join, &actor.user_id)
            .await
            .map_err(CreateError::InvalidState)?;
        let mut drafts = vec![
            state("m.room.create", create_content(actor, wanted, version))?,
            state_draft(
                actor,
                "m.room.member",
                actor.user_id.as_str(),
                &Value::Object(joined),
            )?,
            state("m.room.power_levels", power_levels(actor, wanted, version))?,
        ];
        if let Some(alias) = alias {
            drafts.push(state("m.room.canonical_alias", json!({ "alias": alias }))?);
        }
        for (kind, content) in preset_state(wanted.preset) {
            let is_overridden = wanted
                .initial_state
                .iter()
                .any(|(other, key, _)| other == kind && key.is_empty());
            if !is_overridden {
                drafts.push(state(kind, content)?);
            }
        }
        let overridden = |kind: &str| match kind {
            "m.room.name" => wanted.name.is_some(),
            "m.room.topic" => wanted.topic.is_some(),
            _ => false,
        };
        for (kind, key, content) in &wanted.initial_state {
            if !(key.is_empty() && overridden(kind)) {
                let sender = actor.user_id.clone();
                let draft = Draft::state(sender, kind.clone(), key.clone(), content.clone());
                drafts.push(self.checked_initial(actor, draft, alias).await?);
            }
        }
        if let Some(name) = &wanted.name {
            drafts.push(state("m.room.name", json!({ "name": name }))?);
        }
        if let Some(topic) = &wanted.topic {
            let text = json!({ "m.text": [{ "mimetype": "text/plain", "body": topic }] });
            drafts.push(state(
                "m.room.topic",
                json!({ "topic": topic, "m.topic": text }),
            )?);
        }
        let here = wanted.invites.iter().map(|invite| &invite.user);
        for user in here.filter(|user| !self.is_invited_elsewhere(user)) {
            drafts.push(self.invite_draft(actor, user, wanted.is_direct).await?);
        }
        Ok(drafts)
    }

    /// Refuses what a client may not write into a room's first state itself.
    async fn checked_initial(
        &self,
        actor: &Actor,
        mut draft: Draft,
        alias: Option<&OwnedRoomAliasId>,
    ) -> Result<Draft, CreateError> {
        if draft.kind == "m.room.member" {
            let checked = self.checked_member_content(actor, None, &draft).await;
            draft.content = checked.map_err(CreateError::InvalidState)?;
        }
        if draft.kind == "m.room.canonical_alias" {
            let named = crate::aliases::aliases_of(draft.content.value());
            let named = named.map_err(CreateError::InvalidState)?;
            let is_own = |name: &String| alias.is_some_and(|alias| alias.as_str() == name);
            if let Some(other) = named.into_iter().find(|name| !is_own(name)) {
                return Err(CreateError::InvalidState(SendError::BadAlias(other)));
            }
        }
        Ok(draft)
    }

    /// The event that invites a user to a new room.
    pub(crate) async fn invite_draft(
        &self,
        actor: &Actor,
        user: &OwnedUserId,
        is_direct: bool,
    ) -> Result<Draft, CreateError> {
        let content = self.member_content(Membership::Invite, user).await;
        let mut content = content.map_err(CreateError::Invite)?;
        if is_direct {
            content.insert("is_direct".to_owned(), Value::Bool(true));
        }
        state_draft(
            actor,
            "m.room.member",
            user.as_str(),
            &Value::Object(content),
        )
    }

    /// Builds, signs and checks the events, each on the last. Without an id, the room has that of its create event.
    pub(crate) fn build_first(
        &self,
        (actor, seen): (&Actor, ProfileSeen),
        drafts: Vec<Draft>,
        (version, room_id): (RoomVersion, Option<OwnedRoomId>),
        (alias, is_public): (Option<OwnedRoomAliasId>, bool),
    ) -> Result<Built, SendError> {
        let mut tip = Tip::new(version, room_id);
        let now_ms = self.time_of_new_room();
        let mut events: Vec<NewEvent> = Vec::with_capacity(drafts.len());
        for draft in drafts {
            // A room that has no events has no state that would have to be looked up.
            for (kind, key) in tip.missing(&draft.auth_keys(version)) {
                tip.learn(&kind, &key, None);
            }
            let shows_profile = draft.kind == "m.room.member"
                && draft.state_key.as_deref() == Some(actor.user_id.as_str());
            let (server, key) = (&self.parts.server_name, &self.parts.signing_key);
            let built = tip.build(draft, now_ms, server, key)?;
            tip.advance(&built.pdu);
            events.push(NewEvent {
                pdu: built.pdu,
                auth: built.auth,
                fork: None,
                transaction: None,
                redacts: None,
                profile: shows_profile.then_some(seen),
                relates_to: None,
                now_ms,
                forgets_left: self.parts.forget_on_leave,
            });
        }
        let room_id = events
            .first()
            .map(|event| Pdu::room_id(&event.pdu).to_owned());
        let room_id = room_id.ok_or(SendError::Invalid("room"))?;
        Ok(Built {
            room_id,
            version,
            alias,
            is_public,
            creator: actor.user,
            events,
        })
    }

    pub(crate) fn random_room_id(&self) -> Result<OwnedRoomId, SendError> {
        OwnedRoomId::try_from(format!(
            "!{}:{}",
            self.parts.chance.token(18),
            self.server_name()
        ))
        .map_err(|_| SendError::Invalid("room id"))
    }

    async fn store_new(&self, built: Built) -> Result<(), StoreError> {
        let parts = Arc::clone(&self.parts);
        let built = Arc::new(built);
        let (rows, clock) = (Arc::clone(&built), self.parts.clock.clone());
        // Rows that another node may hold are written before the positions are locked.
        let work = move |tx: &mut Tx<'_>| {
            let room = rows.insert_row(tx)?;
            if let Some(alias) = &rows.alias {
                let to = Alias {
                    room,
                    creator: rows.creator,
                };
                if !alias_insert(tx, alias, to, clock.now_ms())? {
                    return Err(StoreError::AliasTaken);
                }
            }
            Ok(room)
        };
        let place = move |tx: &mut Tx<'_>, positions: &mut Positions, room: RoomNum| {
            Ok(built.place(&parts, (tx, positions), room)?)
        };
        let write = Write::new("create_room");
        self.store().db().write_placed(write, work, place).await
    }
}

impl Built {
    /// Makes the room's row, in the first step of a transaction.
    pub(crate) fn insert_row(&self, tx: &mut Tx<'_>) -> Result<RoomNum, starling_db::Error> {
        room_insert(tx, &self.room_id, self.version, self.is_public)
    }

    /// Writes the room's events, in the second step.
    pub(crate) fn place(
        &self,
        parts: &Arc<Parts>,
        (tx, positions): (&mut Tx<'_>, &mut Positions),
        room: RoomNum,
    ) -> Result<(), AppendError> {
        let (room_id, version) = (self.room_id.clone(), self.version);
        let empty = RoomSnapshot::new(room, room_id, version);
        let mut chain = Chain::Committed(Arc::new(empty));
        for new in &self.events {
            let link = Arc::new(Link::default());
            link.place(parts, (tx, positions), &chain, new)?;
            chain = Chain::Queued(link);
        }
        Ok(())
    }
}

fn state_draft(
    actor: &Actor,
    kind: &str,
    key: &str,
    content: &Value,
) -> Result<Draft, CreateError> {
    let content = CanonicalObject::from_serialize(content)
        .map_err(|error| CreateError::InvalidState(error.into()))?;
    Ok(Draft::state(actor.user_id.clone(), kind, key, content))
}

fn create_content(actor: &Actor, wanted: &CreateRoom, version: RoomVersion) -> Value {
    let mut content = wanted.creation_content.clone();
    complete_creation(&mut content, actor, version);
    if wanted.preset == Preset::TrustedPrivateChat && version.rules().privileged_creators {
        let mut creators = content
            .get("additional_creators")
            .and_then(Value::as_array)
            .cloned()
            .unwrap_or_default();
        for Invite { user } in &wanted.invites {
            let user = Value::from(user.as_str());
            if !creators.contains(&user) {
                creators.push(user);
            }
        }
        if !creators.is_empty() {
            content.insert("additional_creators".to_owned(), Value::Array(creators));
        }
    }
    Value::Object(content)
}

/// Adds to the content of a create event what only the server says.
pub(crate) fn complete_creation(
    content: &mut Map<String, Value>,
    actor: &Actor,
    version: RoomVersion,
) {
    match version.rules().creator {
        CreatorPlace::Content => {
            content.insert("creator".to_owned(), actor.user_id.as_str().into());
        }
        CreatorPlace::Sender => {
            content.remove("creator");
        }
    }
    content.insert("room_version".to_owned(), version.as_str().into());
}

fn power_levels(actor: &Actor, wanted: &CreateRoom, version: RoomVersion) -> Value {
    let has_infinite_power = version.rules().privileged_creators;
    let mut users = Map::new();
    if !has_infinite_power {
        users.insert(actor.user_id.to_string(), 100.into());
        if wanted.preset == Preset::TrustedPrivateChat {
            users.extend(
                wanted
                    .invites
                    .iter()
                    .map(|invite| (invite.user.to_string(), 100.into())),
            );
        }
    }
    let events = json!({
        "m.room.avatar": 50, "m.room.canonical_alias": 50, "m.room.encryption": 100,
        "m.room.history_visibility": 100, "m.room.name": 50, "m.room.power_levels": 100,
        "m.room.server_acl": 100, "m.room.tombstone": 100,
    });
    let invite = if wanted.preset == Preset::PublicChat {
        50
    } else {
        0
    };
    let mut levels = json!({
        "ban": 50, "events": events, "events_default": 0, "invite": invite, "kick": 50, "redact": 50,
        "state_default": 50, "users": users, "users_default": 0,
    });
    if let Some(levels) = levels.as_object_mut() {
        levels.extend(wanted.power_levels.clone());
        if has_infinite_power {
            raise_tombstone_level(levels, &wanted.power_levels);
        }
    }
    levels
}

/// From version 12 on, upgrading a room takes more power than other state does by default: also where the creator has
/// replaced levels (`stated`), unless they say what it takes.
pub(crate) fn raise_tombstone_level(levels: &mut Map<String, Value>, stated: &Map<String, Value>) {
    let is_stated = stated
        .get("events")
        .is_some_and(|events| events.get(TOMBSTONE).is_some());
    let state_default = levels
        .get("state_default")
        .map_or(Some(STATE_DEFAULT), Value::as_i64);
    if let (false, Some(state_default), Some(Value::Object(events))) =
        (is_stated, state_default, levels.get_mut("events"))
    {
        let level = TOMBSTONE_LEVEL.max(state_default.saturating_add(1));
        events.insert(TOMBSTONE.to_owned(), level.into());
    }
}

fn preset_state(preset: Preset) -> [(&'static str, Value); 3] {
    let (join_rule, guests) = match preset {
        Preset::PrivateChat | Preset::TrustedPrivateChat => ("invite", "can_join"),
        Preset::PublicChat => ("public", "forbidden"),
    };
    [
        ("m.room.join_rules", json!({ "join_rule": join_rule })),
        (
            "m.room.history_visibility",
            json!({ "history_visibility": "shared" }),
        ),
        ("m.room.guest_access", json!({ "guest_access": guests })),
    ]
}
