//! What can go wrong, and a schedule of it that follows from a seed.

use std::{fmt, time::Duration};

use strandline::env::{entropy::Entropy, sim::SimEntropy};

use crate::support::s3_double::{Fault, Storm};

/// One trouble. What lasts lasts as long as its step.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Trouble {
    /// kill -9, and a start after this time.
    Kill(Duration),
    /// SIGSTOP, and SIGCONT at the end.
    Pause,
    /// SIGTERM, and a start when it has ended.
    Drain,
    /// No room on the disk of the write-ahead log.
    DiskFull,
    /// kill -9, and starts on a disk that cannot be written.
    DiskReadOnly,
    /// The wall clock is off by this many seconds.
    Clock(i64),
    /// The bucket lies: of a thousand requests so many meet one of these faults.
    Lies { of_thousand: u64, kinds: Vec<Lie>, seed: u64 },
    /// The bucket answers nothing but 503.
    Outage,
    /// The bucket takes its time with everything.
    Slow(Duration),
}

/// How a bucket lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lie {
    ErrorAfter,
    FinAfter,
    RstAfter,
    HalfAfter,
    Conflict,
    Throttled,
    Hang,
    HangAfter,
    Late,
    Twice,
    HalfBody,
    Slow,
}

const LIES: [Lie; 12] = [
    Lie::ErrorAfter,
    Lie::FinAfter,
    Lie::RstAfter,
    Lie::HalfAfter,
    Lie::Conflict,
    Lie::Throttled,
    Lie::Hang,
    Lie::HangAfter,
    Lie::Late,
    Lie::Twice,
    Lie::HalfBody,
    Lie::Slow,
];

impl Lie {
    fn fault(self) -> Fault {
        match self {
            Self::ErrorAfter => Fault::AnswerAfter(500, "InternalError"),
            Self::FinAfter => Fault::FinAfter,
            Self::RstAfter => Fault::RstAfter,
            Self::HalfAfter => Fault::HalfStatusAfter,
            Self::Conflict => Fault::Answer(409, "ConditionalRequestConflict"),
            Self::Throttled => Fault::Answer(503, "SlowDown"),
            Self::Hang => Fault::Hang,
            Self::HangAfter => Fault::HangAfter,
            Self::Late => Fault::Late(Duration::from_millis(700)),
            Self::Twice => Fault::Repeated,
            Self::HalfBody => Fault::HalfBody,
            Self::Slow => Fault::Slow(Duration::from_millis(300)),
        }
    }
}

impl Trouble {
    /// The storm that a lying bucket is.
    pub(crate) fn storm(&self) -> Option<Storm> {
        match self {
            Self::Lies { of_thousand, kinds, seed } => Some(Storm {
                of_thousand: *of_thousand,
                faults: kinds.iter().map(|lie| lie.fault()).collect(),
                seed: *seed,
            }),
            Self::Slow(time) => {
                Some(Storm { of_thousand: 1000, faults: vec![Fault::Slow(*time)], seed: 0 })
            }
            _ => None,
        }
    }
}

/// Which kinds of trouble a run draws from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Kill,
    Pause,
    Drain,
    Disk,
    Clock,
    Lies,
    Outage,
}

pub(crate) const EVERY_KIND: [Kind; 7] =
    [Kind::Kill, Kind::Pause, Kind::Drain, Kind::Disk, Kind::Clock, Kind::Lies, Kind::Outage];

/// Some troubles at once, for a while, and then a while without them.
#[derive(Clone, Debug)]
pub(crate) struct Step {
    pub(crate) troubles: Vec<Trouble>,
    pub(crate) hold: Duration,
    pub(crate) calm: Duration,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} for {:?}, then {:?}", self.troubles, self.hold, self.calm)
    }
}

/// The schedule of a seed: steps until `length` is over.
pub(crate) fn schedule(seed: u64, kinds: &[Kind], length: Duration) -> Vec<Step> {
    let chance = SimEntropy::seeded(seed);
    let ms = Duration::from_millis;
    let (mut steps, mut total) = (Vec::new(), Duration::ZERO);
    while total < length {
        let mut troubles: Vec<Trouble> = Vec::new();
        // None too, so that the cluster can come back to itself.
        for _ in 0..chance.below(4) {
            let count = u64::try_from(kinds.len()).unwrap();
            let kind = kinds[usize::try_from(chance.below(count)).unwrap()];
            let trouble = draw(&chance, kind);
            let same = |other: &Trouble| {
                std::mem::discriminant(other) == std::mem::discriminant(&trouble)
                    || (other.storm().is_some() && trouble.storm().is_some())
            };
            if !troubles.iter().any(same) && !clash(&troubles, &trouble) {
                troubles.push(trouble);
            }
        }
        let step =
            Step { troubles, hold: ms(500 + chance.below(2500)), calm: ms(chance.below(1500)) };
        total += step.hold + step.calm;
        steps.push(step);
    }
    steps
}

/// What ends the process is done once a step.
fn clash(troubles: &[Trouble], new: &Trouble) -> bool {
    let ends = |trouble: &Trouble| {
        matches!(
            trouble,
            Trouble::Kill(_) | Trouble::Drain | Trouble::DiskReadOnly | Trouble::Pause
        )
    };
    ends(new) && troubles.iter().any(ends)
}

fn draw(chance: &SimEntropy, kind: Kind) -> Trouble {
    let ms = Duration::from_millis;
    match kind {
        Kind::Kill => Trouble::Kill(ms(chance.below(400))),
        Kind::Pause => Trouble::Pause,
        Kind::Drain => Trouble::Drain,
        Kind::Disk if chance.below(2) == 0 => Trouble::DiskFull,
        Kind::Disk => Trouble::DiskReadOnly,
        Kind::Clock => {
            const JUMPS: [i64; 6] = [-3600, -60, -1, 1, 60, 3600];
            Trouble::Clock(JUMPS[usize::try_from(chance.below(6)).unwrap()])
        }
        Kind::Lies => {
            let kinds: Vec<Lie> = LIES.into_iter().filter(|_| chance.below(3) == 0).collect();
            let kinds = if kinds.is_empty() { LIES.to_vec() } else { kinds };
            Trouble::Lies { of_thousand: 50 + chance.below(450), kinds, seed: chance.next_u64() }
        }
        Kind::Outage if chance.below(2) == 0 => Trouble::Outage,
        Kind::Outage => Trouble::Slow(ms(100 + chance.below(900))),
    }
}

#[test]
fn a_seed_gives_the_same_schedule_and_another_seed_another() {
    let length = Duration::from_secs(60);
    let shown = |seed| {
        let steps = schedule(seed, &EVERY_KIND, length);
        steps.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(shown(7), shown(7));
    assert_ne!(shown(7), shown(8));
    let kinds = (0..40).flat_map(|seed| schedule(seed, &EVERY_KIND, length));
    let all: Vec<Step> = kinds.collect();
    assert!(all.iter().any(|step| step.troubles.is_empty()));
    let drawn = |what: &str| {
        all.iter().flat_map(|step| &step.troubles).any(|it| format!("{it:?}").starts_with(what))
    };
    for what in
        ["Kill", "Pause", "Drain", "DiskFull", "DiskReadOnly", "Clock", "Lies", "Outage", "Slow"]
    {
        assert!(drawn(what), "{what}");
    }
}
