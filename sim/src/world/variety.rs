//! What a run has besides: resources, retry rules, schedules. Drawn from streams of chance of their own, so that the first
//! stream of a seed goes on meaning what it meant before there were any; what was added later has the third.

use super::calendar::{self, Night};
use super::dice::Dice;

/// Sets the second stream of a seed apart from its first.
const APART: u64 = 0x5e6d_e115_0f0e_7a11;

/// Sets the third stream apart from both. The seeds of the list that are older than it draw nothing from it.
const LATER_APART: u64 = 0xa6e6_1c21_5208_3b72;

/// Which of it a run has, and the stream for the details.
#[derive(Clone, Debug)]
pub(crate) struct Variety {
    pub(crate) dice: Dice,
    /// Jobs need resources and labels.
    pub(crate) needs: bool,
    /// Queues and jobs have retry rules, and attempts fail in all sorts of ways.
    pub(crate) rules: bool,
    /// Jobs come at times of the calendar.
    pub(crate) schedules: bool,
    /// The stream for the details of what was added later.
    pub(crate) later: Dice,
    /// Workers live for a limited time, and jobs ask for some of it.
    pub(crate) limits: bool,
    /// Schedules are for times of all sorts, in several zones.
    pub(crate) calendars: bool,
    /// Around which change of clocks, if it is around one.
    pub(crate) night: Option<Night>,
}

impl Variety {
    /// Draws it; with `everything`, some of each. Some runs have nothing of it: it would hide what is rare without.
    pub(crate) fn draw(seed: u64, everything: bool) -> Self {
        let mut dice = Dice::new(seed ^ APART);
        let mut has = |permille: u64| dice.chance(permille) || everything;
        let (needs, rules, schedules) = (has(500), has(500), has(400));
        let mut later = Dice::new(seed ^ LATER_APART);
        let mut has = |permille: u64| later.chance(permille) || everything;
        let (limits, calendars) = (has(350), has(350));
        let night = if calendars { calendar::night(&mut later) } else { None };
        Self { dice, needs, rules, schedules, later, limits, calendars, night }
    }
}
