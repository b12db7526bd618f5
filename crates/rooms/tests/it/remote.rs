//! Rooms and other servers: a network that is a table, and servers on it that are a few lines each.

mod by_time;
mod calls;
mod catch_up;
mod check;
mod graph;
mod invite;
mod join;
mod knock;
mod leave;
mod members;
mod missing;
mod net;
mod policy;
mod purge;
mod rejoin;
mod resident;
mod spaces;
mod third_party;
mod upgrade;
