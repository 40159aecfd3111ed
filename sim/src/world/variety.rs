//! What a run has besides: resources, retry rules, schedules. Drawn from a stream of chance of its own, so that the first stream
//! of a seed goes on meaning what it meant before there were any.

use super::dice::Dice;

/// Sets the second stream of a seed apart from its first.
const APART: u64 = 0x5e6d_e115_0f0e_7a11;

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
}

impl Variety {
    /// Draws it; with `everything`, some of each. Some runs have nothing of it: it would hide what is rare without.
    pub(crate) fn draw(seed: u64, everything: bool) -> Self {
        let mut dice = Dice::new(seed ^ APART);
        let mut has = |permille: u64| dice.chance(permille) || everything;
        let (needs, rules, schedules) = (has(500), has(500), has(400));
        Self { dice, needs, rules, schedules }
    }
}
