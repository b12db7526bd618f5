//! CPU time of this thread, and how often to measure.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use serde::{Serialize, Serializer};

/// How often to repeat.
#[derive(Debug, Clone, Copy)]
pub struct Repeat {
    /// At least so often.
    pub least: usize,
    /// At most so often.
    pub most: usize,
    /// Between the two, until this much time is used.
    pub budget: Duration,
}

/// What repetitions took.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Timing {
    /// The shortest; as JSON in seconds.
    #[serde(rename = "minimum_seconds", serialize_with = "seconds")]
    pub minimum: Duration,
    /// The one in the middle; as JSON in seconds.
    #[serde(rename = "median_seconds", serialize_with = "seconds")]
    pub median: Duration,
}

fn seconds<S: Serializer>(time: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(time.as_secs_f64())
}

impl Timing {
    /// How many times longer this took than `other`, by the medians.
    #[must_use]
    pub fn ratio_to(&self, other: &Self) -> f64 {
        self.median.as_secs_f64() / other.median.as_secs_f64()
    }
}

/// The CPU time that this thread has used. Unlike the time of day it does not count what others do on the machine.
#[must_use]
pub fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(
        time.tv_sec.try_into().unwrap_or(0),
        time.tv_nsec.try_into().unwrap_or(0),
    )
}

/// Times `work` alone: neither `prepare`, which makes its input, nor dropping its output. Gives the last output too.
pub fn measure<I, T>(
    repeat: Repeat,
    mut prepare: impl FnMut() -> I,
    mut work: impl FnMut(I) -> T,
) -> (Timing, T) {
    // The first run warms caches and is not counted.
    let mut output = work(prepare());
    let mut times = Vec::with_capacity(repeat.most);
    while times.len() < repeat.least
        || (times.len() < repeat.most && times.iter().sum::<Duration>() < repeat.budget)
    {
        let input = prepare();
        let begin = cpu_time();
        let result = work(input);
        times.push(cpu_time().saturating_sub(begin));
        output = result;
    }
    times.sort_unstable();
    let at = |index: usize| times.get(index).copied().unwrap_or_default();
    let timing = Timing {
        minimum: at(0),
        median: at(times.len() / 2),
    };
    (timing, output)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;

    use super::{Repeat, Timing, measure};

    #[test]
    fn ratios_are_of_the_medians_and_json_has_seconds() {
        let ours = Timing {
            minimum: Duration::from_millis(1),
            median: Duration::from_millis(2),
        };
        let other = Timing {
            minimum: Duration::from_millis(1),
            median: Duration::from_millis(5),
        };
        assert!((other.ratio_to(&ours) - 2.5).abs() < 1e-9);
        let json = serde_json::to_value(ours).unwrap();
        assert_eq!(
            json,
            json!({ "minimum_seconds": 0.001, "median_seconds": 0.002 })
        );
    }

    #[test]
    fn work_is_repeated_within_its_bounds() {
        let repeat = Repeat {
            least: 3,
            most: 5,
            budget: Duration::MAX,
        };
        let mut runs = 0;
        let (timing, last) = measure(
            repeat,
            || (),
            |()| {
                runs += 1;
                runs
            },
        );
        // The first warms up.
        assert_eq!(last, 6);
        assert!(timing.minimum <= timing.median);
    }
}
