//! What has come and was not run yet: urgent commands first, and only so much at a time that nobody waits long.

use std::collections::VecDeque;
use std::time::Duration;

use super::command::Pending;

/// The most commands of one batch: it bounds the memory of a batch.
const MAX_BATCH: usize = 4096;

/// So many are always taken: one sync is to serve many callers.
const MIN_BATCH: usize = 8;

/// How long a batch should take at most. Heartbeats that come meanwhile wait for its end.
const BATCH_TIME: Duration = Duration::from_millis(100);

/// Commands that wait for their batch. Its length is bounded by the rooms of the [`super::Handle`].
#[derive(Default)]
pub(super) struct Queue {
    urgent: Vec<Box<dyn Pending>>,
    others: VecDeque<Box<dyn Pending>>,
    /// How long a command took of late, about.
    each: Duration,
}

impl Queue {
    /// Takes in what has come.
    pub(super) fn extend(&mut self, commands: impl Iterator<Item = Box<dyn Pending>>) {
        for command in commands {
            if command.is_urgent() {
                self.urgent.push(command);
            } else {
                self.others.push_back(command);
            }
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.urgent.is_empty() && self.others.is_empty()
    }

    /// The next batch: everything urgent, and as many others, in their order, as should fit into its time.
    pub(super) fn next_batch(&mut self) -> Vec<Box<dyn Pending>> {
        let mut batch = std::mem::take(&mut self.urgent);
        let fit = most(self.each);
        // Nobody waits for them any more: they cost nothing and count for nothing.
        while self.others.front().is_some_and(|command| command.is_abandoned()) {
            self.others.pop_front();
        }
        batch.extend(self.others.drain(..fit.min(self.others.len())));
        batch
    }

    /// Learns from a batch of so many commands how long one takes.
    pub(super) fn took(&mut self, count: usize, time: Duration) {
        if let Some(each) = u32::try_from(count).ok().and_then(|count| time.checked_div(count)) {
            // Half of what was thought before: one slow sync is forgotten soon.
            self.each = (self.each + each) / 2;
        }
    }
}

/// How many commands of this length fit into the time of a batch.
fn most(each: Duration) -> usize {
    let fit = BATCH_TIME.as_nanos().checked_div(each.as_nanos()).unwrap_or(u128::MAX);
    usize::try_from(fit).unwrap_or(usize::MAX).clamp(MIN_BATCH, MAX_BATCH)
}

#[cfg(test)]
mod tests {
    use orch_core::id::WorkerId;
    use orch_core::time::Span;

    use super::super::commands::admin::WaitJobs;
    use super::super::commands::worker::Heartbeat;
    use super::super::handle::{Begun, envelope};
    use super::*;

    fn wait() -> (Box<dyn Pending>, Begun<u64>) {
        envelope(WaitJobs { jobs: Vec::new(), queue: None, wait: Span(0), until: None })
    }

    #[test]
    fn heartbeats_pass_a_queue_of_slow_commands() {
        let mut queue = Queue::default();
        let (commands, answers): (Vec<_>, Vec<_>) = (0..1000).map(|_| wait()).unzip();
        queue.extend(commands.into_iter());
        queue.took(10, Duration::from_secs(1));
        assert_eq!(queue.next_batch().len(), MIN_BATCH);
        let worker = WorkerId::new("w").unwrap();
        let (heartbeat, beaten) = envelope(Heartbeat { worker, leases: Vec::new(), last_receipt: None });
        queue.extend(std::iter::once(heartbeat));
        let batch = queue.next_batch();
        assert!(batch[0].is_urgent());
        assert_eq!(batch.len(), MIN_BATCH + 1);
        drop(beaten);
        // Whoever has gone is not served.
        drop(answers);
        let last = wait();
        queue.extend(std::iter::once(last.0));
        assert_eq!(queue.next_batch().len(), 1);
        assert!(queue.is_empty());
    }

    #[test]
    fn a_batch_is_as_large_as_its_time() {
        assert_eq!(most(Duration::ZERO), MAX_BATCH);
        assert_eq!(most(Duration::from_micros(100)), 1000);
        assert_eq!(most(Duration::from_secs(1)), MIN_BATCH);
    }
}
