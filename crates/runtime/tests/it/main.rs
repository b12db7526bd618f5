//! Tests of time and chance as parameters.
#![cfg(test)]

use std::time::Duration;

use starling_runtime::{Chance, Clock, Cpu};

#[tokio::test(start_paused = true)]
async fn a_simulated_clock_follows_the_paused_one() {
    let clock = Clock::simulated(1_000);
    assert_eq!(clock.now_ms(), 1_000);
    tokio::time::sleep(Duration::from_millis(250)).await;
    assert_eq!(clock.now_ms(), 1_250);
}

#[test]
fn a_seed_repeats_and_another_does_not() {
    let tokens = |seed| {
        let chance = Chance::seeded(seed);
        (chance.token(16), chance.number(), chance.within(5..9))
    };
    assert_eq!(tokens(7), tokens(7));
    assert_ne!(tokens(7), tokens(8));
    assert!((5..9).contains(&tokens(7).2));
    assert_eq!(Chance::seeded(1).within(3..3), 3);
}

#[test]
fn a_token_has_the_length_asked_for_and_only_letters_and_digits() {
    for length in [0, 1, 7, 8, 9, 64] {
        let token = Chance::seeded(3).token(length);
        assert_eq!(token.len(), length);
        assert!(
            token.bytes().all(|byte| byte.is_ascii_alphanumeric()),
            "{token}"
        );
    }
}

#[tokio::test]
async fn work_runs_on_threads_and_in_place() {
    assert_eq!(Cpu::threads(1, 0).run(|| 6 * 7).await.unwrap(), 42);
    assert_eq!(Cpu::in_place().run(|| 6 * 7).await.unwrap(), 42);
    assert!(
        Cpu::threads(1, 0)
            .run(|| panic!("on purpose"))
            .await
            .is_err()
    );
}
