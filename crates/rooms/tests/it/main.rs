//! Tests of rooms on both engines: the pipeline, membership, creation, state.
#![cfg(test)]

mod create;
mod faults;
mod membership;
mod pipeline;
mod positions;
mod profiles;
mod receive;
mod remote;
mod state;
mod upgrade;
mod versions;
