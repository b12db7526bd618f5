//! Tests of the program as it is run: command line, sockets, signals.
#![cfg(test)]

mod config;
mod key;
mod pages;
mod postgres;
mod program;
mod report;
mod restored;
mod room;
mod serve;
mod token;
mod user;
