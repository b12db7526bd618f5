//! Push rules: what there is from the start, changing them, and what they say of events.
#![cfg(test)]

mod defaults;
mod edit;
mod evaluate;
mod shapes;
mod support;
