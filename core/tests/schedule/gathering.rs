//! Who is kept free for a gang, told slowly: everything that happened is remembered, and each question answered from that.

use std::collections::BTreeSet;

use orch_core::id::WorkerId;
use orch_core::resource::Requirements;
use orch_core::time::{Span, Tick};

/// A gang that had its time, or has too few workers, lets others go first for so much longer.
const OTHERS_FIRST: Span = Span(1_000);

#[derive(Clone, Copy, PartialEq, Eq)]
enum What {
    /// The first worker was kept for it.
    Began,
    /// Its time was over.
    InVain,
    /// It was granted.
    Complete,
    /// Fewer workers were registered than it needs.
    TooFew,
}

#[derive(Default)]
pub struct SlowGathering {
    happened: Vec<(Tick, Requirements, What)>,
    /// Who is kept for the gang that gathers.
    kept: BTreeSet<WorkerId>,
}

fn timeout(required: &Requirements) -> Span {
    required.gang.as_ref().unwrap().timeout
}

impl SlowGathering {
    fn note(&mut self, now: Tick, required: &Requirements, what: What) {
        self.happened.push((now, required.clone(), what));
    }

    /// The gang that gathers, and until when: the last that began, unless it has come to an end since.
    pub fn gathers(&self) -> Option<(Requirements, Tick)> {
        let began = self.happened.iter().rposition(|(.., what)| *what == What::Began)?;
        let (at, required, _) = &self.happened[began];
        let ends = |(_, of, what): &(Tick, Requirements, What)| {
            of == required && matches!(what, What::InVain | What::Complete)
        };
        (!self.happened[began..].iter().any(ends)).then(|| (required.clone(), at.plus(timeout(required))))
    }

    /// How many workers are kept for the gang that gathers.
    pub fn kept(&self) -> usize {
        self.kept.len()
    }

    /// Whether the worker is kept for another gang than such a one.
    pub fn keeps_for_another(&self, worker: &WorkerId, required: &Requirements) -> bool {
        self.kept.contains(worker) && self.gathers().is_some_and(|(gang, _)| gang != *required)
    }

    /// The time of the gang that gathers may be over: nobody is kept for it any more.
    pub fn look(&mut self, now: Tick) {
        if let Some((required, until)) = self.gathers()
            && until <= now
        {
            self.note(now, &required, What::InVain);
            self.kept.clear();
        }
    }

    pub fn let_go(&mut self, worker: &WorkerId) {
        self.kept.remove(worker);
    }

    pub fn complete(&mut self, required: &Requirements, now: Tick) {
        if self.gathers().is_some_and(|(gang, _)| gang == *required) {
            self.kept.clear();
        }
        self.note(now, required, What::Complete);
    }

    /// After a gang gathered in vain, none begins for as long again.
    fn is_quiet(&self, now: Tick) -> bool {
        let mut in_vain = self.happened.iter().filter(|(.., what)| *what == What::InVain);
        in_vain.any(|(at, gang, _)| now < at.plus(timeout(gang)))
    }

    /// Whether others have their chance before such a gang: since it was granted last, its time is not over yet (another one
    /// gathered in its place), it gathered in vain, or had too few workers.
    fn rests(&self, required: &Requirements, now: Tick) -> bool {
        let of_it = self.happened.iter().filter(|(_, gang, _)| gang == required);
        let since = of_it.rev().take_while(|(.., what)| *what != What::Complete);
        let mut ends = since.map(|(at, gang, what)| match what {
            What::Began => at.plus(timeout(gang)),
            What::InVain => at.plus(timeout(gang)).plus(OTHERS_FIRST),
            What::TooFew => at.plus(OTHERS_FIRST),
            What::Complete => *at,
        });
        ends.any(|end| now < end)
    }

    /// Whether a worker that asks is kept for such a gang, which is at its turn there and lacks members.
    pub fn keep(&mut self, required: &Requirements, worker: &WorkerId, now: Tick, enough: bool) -> bool {
        match self.gathers() {
            // It is kept once only; with what else it has it gets other jobs.
            Some((gang, _)) if gang == *required => return self.kept.insert(worker.clone()),
            Some(_) if !self.kept.is_empty() => return false,
            Some(_) | None => {}
        }
        if self.is_quiet(now) || self.rests(required, now) {
            return false;
        }
        self.note(now, required, if enough { What::Began } else { What::TooFew });
        if enough {
            self.kept = [worker.clone()].into();
        }
        enough
    }
}
