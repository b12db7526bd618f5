//! Rooms: the pipeline of an event, membership, aliases, reading state, and finding rooms.
//!
//! [`Rooms::send`] takes a [`Draft`] through the pipeline (`pipeline/`): it is built on the room's head, checked
//! against the state there, queued, and acknowledged when its commit is durable. Everything else that changes a room
//! is a draft too: [`Rooms::change_membership`], [`Rooms::redact`], and [`Rooms::create`], which sends a whole room's
//! first events as one transaction; [`Rooms::upgrade`] does both in one. [`Rooms::work`] does what has to be done in
//! many rooms. What is read ([`Rooms::state`], [`Rooms::members`], …) is read as of what the
//! asking user may see; what other servers are told (`federation/`), as of what any of their users may.
//!
//! [`Remote`] asks other servers. Rooms that this server is not in are joined, knocked at and left through those that are
//! (`elsewhere/`): [`Rooms::join`], [`Rooms::knock`]. For users of other servers this one does the same (`resident/`). Their
//! events are received (`receive/`): [`Rooms::receive_events`].

mod aliases;
mod backfill;
mod backfill_to_time;
mod catch_up;
mod create;
mod departures;
mod directory;
mod elsewhere;
mod error;
mod federation;
mod hierarchy;
mod import;
mod inviting;
mod jobs;
mod membership;
mod mutual_rooms;
mod order;
mod pipeline;
mod policy;
mod profiles;
mod published;
mod purge;
mod read;
mod receive;
mod relations;
pub mod remote;
mod reports;
mod resident;
mod rooms;
mod send;
mod summary;
mod transaction;
mod upgrade;

pub use aliases::{AliasError, AliasTarget};
pub use create::{CreateRoom, Invite, Preset};
pub use directory::{DirectoryPage, DirectoryQuery};
pub use error::{CreateError, ReadError, SendError, UpgradeError};
pub use federation::{
    MAX_BACKFILL, MAX_MISSING, MissingEvents, PduBytes, ServedSpace, ServedState, ServerReadError,
};
pub use hierarchy::{
    HierarchyPage, HierarchyQuery, HierarchyRoom, HierarchyToken, MAX_HIERARCHY_DEPTH,
    MAX_HIERARCHY_PAGE,
};
pub use membership::MembershipAction;
pub use mutual_rooms::MUTUAL_ROOMS_PAGE;
pub use pipeline::Draft;
pub use published::{ChildEvent, PublishedRoom, SummarisedRoom};
pub use read::{MemberFilter, MemberProfile};
pub use receive::{MAX_WAITING, ReceiveError, Received, Verdicts};
pub use remote::{Handshake, OutboundError, Refused, Remote, RemoteError};
pub use resident::{BoundInvite, OwnTemplate, ReceivedInvite, ResidentError};
pub use rooms::{Actor, Parts, Rooms};
pub use starling_events::CanonicalObject;
pub use starling_store::memberships::{Membership, MutualRooms};
pub use starling_store::room_details::{DirectoryToken, RoomDetails};
pub use summary::RoomSummary;
pub use transaction::RequestPath;
