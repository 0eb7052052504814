//! What happened, as one number: two runs of a seed must agree on it.

use std::{fmt, sync::Mutex};

use strandline::env::sim::Turns;

#[derive(Debug)]
pub struct Trace {
    turns: Turns,
    shown: bool,
    inner: Mutex<(u64, u64)>,
}

impl Trace {
    pub fn new(turns: &Turns, shown: bool) -> Self {
        Self { turns: turns.clone(), shown, inner: Mutex::new((0xcbf2_9ce4_8422_2325, 0)) }
    }

    pub fn note(&self, what: fmt::Arguments<'_>) {
        let line = format!("{:?} {what}", self.turns.now());
        if self.shown {
            println!("{line}");
        }
        let mut inner = self.inner.lock().unwrap();
        for byte in line.bytes() {
            inner.0 = (inner.0 ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
        inner.1 += 1;
    }

    pub fn hash(&self) -> u64 {
        self.inner.lock().unwrap().0
    }

    pub fn events(&self) -> u64 {
        self.inner.lock().unwrap().1
    }
}

macro_rules! note {
    ($trace:expr, $($what:tt)*) => { $trace.note(format_args!($($what)*)) };
}
pub(crate) use note;
