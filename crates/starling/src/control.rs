//! The socket in the data folder, through which commands reach a server that runs: one line of JSON each way.

mod address;
mod client;
mod request;
mod server;

pub(crate) use client::{CallError, call};
pub(crate) use request::{Answer, ListedAccount, ListedReport, ListedToken, Request};
pub(crate) use server::ControlSocket;
