//! Mainline ordering. <https://spec.matrix.org/v1.19/rooms/v2/#definitions>

use rustc_hash::FxHashMap;

use super::power_cache::PowerCache;
use super::power_ordering::by_time_and_id;
use super::{EventNum, ResolveError, RoomEvents, StateEvent};

/// Sorts events by the mainline of a power levels event.
pub(super) fn sort<'r>(
    mut events: Vec<&'r StateEvent>,
    power_levels: Option<EventNum>,
    powers: &PowerCache<'r, impl RoomEvents>,
) -> Result<Vec<&'r StateEvent>, ResolveError> {
    let mut mainline = Mainline::new(power_levels, powers);
    let mut positions = Vec::with_capacity(events.len());
    for event in events.drain(..) {
        positions.push((mainline.position_of(event)?, event));
    }
    // The mainline counts from the newest on, and who cites an older one comes first.
    positions.sort_unstable_by(|(x_position, x), (y_position, y)| {
        y_position
            .cmp(x_position)
            .then_with(|| by_time_and_id(x, y))
    });
    events.extend(positions.into_iter().map(|(_, event)| event));
    Ok(events)
}

/// A position in the mainline; the last is that of an event whose power levels don't lead to it.
type Position = u32;
const INFINITE: Position = Position::MAX;

/// The mainline of a power levels event, followed as far down as is asked for.
struct Mainline<'r, 'p, R> {
    powers: &'p PowerCache<'r, R>,
    /// The event that comes next in the mainline.
    next: Option<EventNum>,
    length: Position,
    /// The positions of power levels events: of those in the mainline their own, of others that of the first of the
    /// mainline that they lead to.
    positions: FxHashMap<EventNum, Position>,
}

impl<'r, 'p, R: RoomEvents> Mainline<'r, 'p, R> {
    fn new(power_levels: Option<EventNum>, powers: &'p PowerCache<'r, R>) -> Self {
        Self {
            powers,
            next: power_levels,
            length: 0,
            positions: FxHashMap::default(),
        }
    }

    /// The mainline position of an event.
    fn position_of(&mut self, event: &StateEvent) -> Result<Position, ResolveError> {
        let mut passed = Vec::new();
        let mut levels = self.levels_of(event)?;
        let position = loop {
            let Some((num, event)) = levels else {
                break INFINITE;
            };
            self.follow_to(event.generation)?;
            if let Some(&position) = self.positions.get(&num) {
                break position;
            }
            passed.push(num);
            levels = self.levels_of(event)?;
        };
        for num in passed {
            self.positions.insert(num, position);
        }
        Ok(position)
    }

    fn levels_of(
        &self,
        event: &StateEvent,
    ) -> Result<Option<(EventNum, &'r StateEvent)>, ResolveError> {
        let levels = self
            .powers
            .auth_event(event, self.powers.keys.power_levels)?;
        // An event cites only what is older. Anything else would be an error of whoever numbered the events.
        Ok(levels.filter(|(_, levels)| levels.generation < event.generation))
    }

    /// Follows the mainline down to events of this generation.
    fn follow_to(&mut self, generation: u32) -> Result<(), ResolveError> {
        while let Some(num) = self.next {
            let event = self.powers.event(num)?;
            if event.generation < generation {
                break;
            }
            self.positions.insert(num, self.length);
            self.length += 1;
            self.next = self.levels_of(event)?.map(|(num, _)| num);
        }
        Ok(())
    }
}
