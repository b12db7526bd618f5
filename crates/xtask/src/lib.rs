//! Checks and measurements of the house, as functions, so that tests can show that each check finds what it is for.

pub mod footprint;
pub mod instructions;
pub mod routes;
pub mod tidy;
