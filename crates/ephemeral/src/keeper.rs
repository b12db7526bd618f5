//! What happens because time passes: typing ends, users become idle and go. One task waits for whichever is next; while
//! nothing is to be waited for, there is none.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use starling_bus::Bus;
use starling_runtime::Clock;
use tokio::runtime::Handle;
use tokio::sync::Notify;

use crate::presence::Presences;

/// What is kept in memory. It holds no database, so that its task keeps none open.
#[derive(Debug)]
pub(crate) struct Memory {
    pub(crate) bus: Bus,
    pub(crate) clock: Clock,
    /// `None` when presence is turned off.
    pub(crate) presences: Option<Mutex<Presences>>,
    keeper: Mutex<Keeper>,
    /// Tells the task that something is due earlier than what it waits for.
    earlier: Notify,
}

#[derive(Debug)]
struct Keeper {
    is_running: bool,
    /// What it waits for.
    waits_until_ms: i64,
    /// The earliest time that was asked for while it was looking.
    asked_for_ms: i64,
}

/// A time that doesn't come.
const NEVER: i64 = i64::MAX;

impl Memory {
    pub(crate) fn new(bus: Bus, clock: Clock, has_presence: bool) -> Self {
        let keeper = Keeper {
            is_running: false,
            waits_until_ms: NEVER,
            asked_for_ms: NEVER,
        };
        Self {
            bus,
            clock,
            presences: has_presence.then(Mutex::default),
            keeper: Mutex::new(keeper),
            earlier: Notify::new(),
        }
    }

    pub(crate) fn now_ms(&self) -> i64 {
        self.clock.now_ms()
    }

    /// Something is due at a time, or as soon as that has passed.
    pub(crate) fn look_again_at(self: &Arc<Self>, due_ms: i64) {
        let mut keeper = self.keeper.lock();
        keeper.asked_for_ms = keeper.asked_for_ms.min(due_ms);
        if !keeper.is_running {
            // Without a runtime the program is at its end.
            if let Ok(runtime) = Handle::try_current() {
                keeper.is_running = true;
                runtime.spawn(Arc::clone(self).keep());
            }
        } else if due_ms < keeper.waits_until_ms {
            self.earlier.notify_one();
        }
    }

    async fn keep(self: Arc<Self>) {
        loop {
            self.keeper.lock().asked_for_ms = NEVER;
            let now_ms = self.now_ms();
            let typing = self.bus.expire_typing(now_ms);
            let presence = self.presences.as_ref();
            let presence = presence.and_then(|it| it.lock().pass(&self.bus, now_ms));
            let due_ms = {
                let mut keeper = self.keeper.lock();
                let due = [typing, presence].into_iter().flatten().min();
                keeper.waits_until_ms = due.unwrap_or(NEVER).min(keeper.asked_for_ms);
                if keeper.waits_until_ms == NEVER {
                    keeper.is_running = false;
                    return;
                }
                keeper.waits_until_ms
            };
            let wait_ms = due_ms.saturating_sub(now_ms).max(1);
            let wait = Duration::from_millis(wait_ms.unsigned_abs());
            tokio::select! {
                biased;
                () = self.earlier.notified() => {}
                () = tokio::time::sleep(wait) => {}
            }
        }
    }
}
