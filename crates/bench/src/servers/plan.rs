//! How much is measured.

use std::time::Duration;

use clap::ValueEnum;

/// A family of scenarios.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Family {
    /// Registering and logging in.
    Accounts,
    /// Messages from some senders at once.
    Send,
    /// A room that grows: messages early and late, and the disk.
    Growth,
    /// One message to many clients.
    FanOut,
    /// Clients that wait for nothing.
    Idle,
    /// First syncs, syncs with nothing new, and syncs that catch up.
    Sync,
    /// Claiming one-time keys.
    Claims,
    /// One message from device to device, to many.
    ToDevice,
    /// Joining large rooms of another server.
    Join,
    /// Messages from another server.
    Inbound,
}

/// How much is measured, and for how long.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// How often each measurement is made of each server, in turn.
    pub rounds: usize,
    /// How many senders at once: one scenario for each number.
    pub senders: &'static [usize],
    /// How many rooms there are where not all is sent to one.
    pub rooms: usize,
    /// How long a round of sending takes.
    pub send: Duration,
    /// How many clients a message goes to: one scenario for each number.
    pub clients: &'static [usize],
    /// How long messages are sent to them in a round.
    pub fan_out: Duration,
    /// Of how many devices one-time keys are claimed at once, and to how many a message goes: a scenario for each number.
    pub devices: &'static [usize],
    /// So long a server may take to make these devices, else it is measured with what it came to.
    pub device_patience: Duration,
    /// How long keys are claimed in a round, if there are enough.
    pub claims: Duration,
    /// How many clients wait for nothing.
    pub idle_clients: usize,
    /// How long they are watched: whole periods, since clients ask again every 30 seconds.
    pub idle: Duration,
    /// How long a round of registering, or of logging in, takes.
    pub accounts: Duration,
    /// How many events a room is filled with.
    pub events: u64,
    /// How many messages are measured, before and after filling.
    pub window: u64,
    /// In how many rooms are those who sync: one scenario for each number.
    pub synced_rooms: &'static [usize],
    /// How long each of them syncs in a round, at least once.
    pub sync: Duration,
    /// After how many events a client catches up.
    pub missed: u64,
    /// A server whose rooms, or missed events, take longer to make isn't measured with them.
    pub sync_patience: Duration,
    /// How many members rooms of another server have that are joined: one scenario for each number.
    pub joined_members: &'static [usize],
    /// How many rooms another server sends messages of: one scenario for each number.
    pub inbound_rooms: &'static [usize],
    /// How many members these have.
    pub inbound_members: usize,
    /// How many messages it sends in a round.
    pub inbound_events: u64,
    /// After so long a server isn't asked for more accounts, members or events: it is measured with what it has.
    pub patience: Duration,
    /// The same for those who listen, of whom there are many.
    pub listener_patience: Duration,
    /// How long servers are left alone before something is measured that other work could disturb.
    pub settle: Duration,
}

/// Everything: `make bench`.
pub const FULL: Plan = Plan {
    rounds: 3,
    senders: &[1, 10, 100],
    rooms: 100,
    send: Duration::from_secs(4),
    clients: &[10, 100, 1000],
    fan_out: Duration::from_secs(5),
    devices: &[10, 100, 1000],
    device_patience: Duration::from_mins(4),
    claims: Duration::from_secs(3),
    idle_clients: 1000,
    idle: Duration::from_mins(1),
    accounts: Duration::from_secs(3),
    events: 100_000,
    window: 10_000,
    synced_rooms: &[10, 100, 1000],
    sync: Duration::from_secs(2),
    missed: 10_000,
    sync_patience: Duration::from_mins(2),
    joined_members: &[1000, 10_000],
    inbound_rooms: &[1, 10],
    inbound_members: 1000,
    inbound_events: 1000,
    patience: Duration::from_mins(2),
    listener_patience: Duration::from_mins(4),
    settle: Duration::from_secs(3),
};

/// What takes few minutes: `make bench-short`.
pub const SHORT: Plan = Plan {
    rounds: 2,
    senders: &[1, 10, 100],
    rooms: 100,
    send: Duration::from_secs(1),
    clients: &[10, 100],
    fan_out: Duration::from_secs(1),
    devices: &[10, 100],
    device_patience: Duration::from_mins(1),
    claims: Duration::from_secs(1),
    idle_clients: 100,
    idle: Duration::from_secs(30),
    accounts: Duration::from_secs(1),
    events: 10_000,
    window: 1000,
    synced_rooms: &[10, 100],
    sync: Duration::from_millis(500),
    missed: 1000,
    sync_patience: Duration::from_secs(12),
    joined_members: &[1000],
    inbound_rooms: &[1, 10],
    inbound_members: 100,
    inbound_events: 500,
    patience: Duration::from_secs(15),
    listener_patience: Duration::from_secs(15),
    settle: Duration::from_secs(1),
};
