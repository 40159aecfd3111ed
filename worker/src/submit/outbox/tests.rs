use super::*;
use proptest::prelude::*;

const T0: Duration = Duration::ZERO;

fn lease(n: u64) -> LeaseId {
    LeaseId::new(n)
}

fn outbox() -> Outbox {
    let mut outbox = Outbox::new(Bounds { window: 100, keep: 1000 });
    outbox.open(lease(1));
    outbox
}

fn batch(size: usize) -> Vec<Bytes> {
    vec![Bytes::from(vec![b'1'; size - 5])]
}

fn refusal(number: u64, reason: &str) -> Refusal {
    Refusal { number, reason: reason.into(), message: "why".into(), expected: 0, retry_after: Duration::ZERO }
}

fn drain(outbox: &mut Outbox, now: Duration) -> Vec<String> {
    std::iter::from_fn(|| outbox.next_message(now)).map(|(lease, message)| label(lease, &message)).collect()
}

fn label(lease: LeaseId, message: &Message) -> String {
    match message {
        Message::Batch { number, candidates: _ } => format!("{lease}#{number}"),
        Message::Complete { batches } => format!("{lease} complete {batches}"),
        Message::Fail(failure) => format!("{lease} fail {}", failure.message),
    }
}

fn verdicts(number: u64) -> Answer {
    Answer::Verdicts { number, tally: Tally { accepted: 1, ..Tally::default() } }
}

#[test]
fn the_window_bounds_what_is_sent_and_verdicts_open_it() {
    let mut outbox = outbox();
    for _ in 0..3 {
        assert!(outbox.offer(lease(1), batch(40)));
    }
    assert!(outbox.end(lease(1), End::Complete));
    assert_eq!(drain(&mut outbox, T0), ["1#1", "1#2"]);
    assert_eq!(outbox.answer(lease(1), verdicts(1), T0), Effect::Judged(Tally { accepted: 1, ..Tally::default() }));
    assert_eq!(drain(&mut outbox, T0), ["1#3", "1 complete 3"]);
    assert_eq!(outbox.answer(lease(1), Answer::Ended, T0), Effect::Ended);
    assert!(outbox.is_empty());
    assert_eq!((outbox.in_flight(), outbox.kept()), (0, 0));
}

#[test]
fn a_batch_beyond_the_window_goes_alone() {
    let mut outbox = outbox();
    assert!(outbox.offer(lease(1), batch(20)) && outbox.offer(lease(1), batch(500)));
    assert_eq!(drain(&mut outbox, T0), ["1#1"]);
    outbox.answer(lease(1), verdicts(1), T0);
    assert_eq!(drain(&mut outbox, T0), ["1#2"]);
}

#[test]
fn after_a_break_the_same_batches_go_out_again() {
    let mut outbox = outbox();
    for _ in 0..2 {
        outbox.offer(lease(1), batch(30));
    }
    outbox.end(lease(1), End::Complete);
    assert_eq!(drain(&mut outbox, T0), ["1#1", "1#2", "1 complete 2"]);
    outbox.answer(lease(1), verdicts(1), T0);
    outbox.disconnected();
    assert_eq!(drain(&mut outbox, T0), ["1#2", "1 complete 2"]);
}

#[test]
fn leases_take_turns() {
    let mut outbox = outbox();
    outbox.open(lease(2));
    for _ in 0..3 {
        outbox.offer(lease(1), batch(10));
    }
    outbox.offer(lease(2), batch(10));
    assert_eq!(drain(&mut outbox, T0), ["1#1", "2#1", "1#2", "1#3"]);
}

#[test]
fn a_gap_is_closed_from_the_number_that_the_orchestrator_expects() {
    let mut outbox = outbox();
    for _ in 0..3 {
        outbox.offer(lease(1), batch(30));
    }
    assert_eq!(drain(&mut outbox, T0), ["1#1", "1#2", "1#3"]);
    let gap = |number| Answer::Refused(Refusal { expected: 2, ..refusal(number, "BATCH_GAP") });
    assert_eq!(outbox.answer(lease(1), verdicts(1), T0), Effect::Judged(Tally { accepted: 1, ..Tally::default() }));
    assert_eq!(outbox.answer(lease(1), gap(3), T0), Effect::Nothing);
    assert_eq!(drain(&mut outbox, T0), [""; 0], "the pause lets other refusals arrive first");
    assert_eq!(outbox.next_wake(T0), Some(GAP_PAUSE));
    assert_eq!(drain(&mut outbox, GAP_PAUSE), ["1#2", "1#3"]);
}

#[test]
fn a_gap_before_what_was_acknowledged_fails_the_job() {
    let mut outbox = outbox();
    outbox.offer(lease(1), batch(30));
    outbox.offer(lease(1), batch(30));
    drain(&mut outbox, T0);
    outbox.answer(lease(1), verdicts(1), T0);
    let gap = Answer::Refused(Refusal { expected: 1, ..refusal(2, "BATCH_GAP") });
    let message = "the orchestrator refused batch 2 (BATCH_GAP): why";
    assert_eq!(outbox.answer(lease(1), gap, T0), Effect::Replaced(message.into()));
    assert_eq!(drain(&mut outbox, T0), [format!("1 fail {message}")]);
    assert!(!outbox.offer(lease(1), batch(10)), "a failed job delivers nothing more");
    assert_eq!(outbox.answer(lease(1), Answer::Ended, T0), Effect::Ended);
}

#[test]
fn an_orchestrator_that_only_answers_gaps_is_not_obeyed_for_ever() {
    let mut outbox = outbox();
    outbox.offer(lease(1), batch(30));
    let mut now = T0;
    for round in 0.. {
        now += GAP_PAUSE;
        drain(&mut outbox, now);
        let gap = Answer::Refused(Refusal { expected: 1, ..refusal(1, "BATCH_GAP") });
        match outbox.answer(lease(1), gap, now) {
            Effect::Nothing => assert!(round < MAX_GAPS),
            Effect::Replaced(_) => break,
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_read_only_orchestrator_gets_the_results_later() {
    let mut outbox = outbox();
    outbox.offer(lease(1), batch(30));
    outbox.end(lease(1), End::Complete);
    drain(&mut outbox, T0);
    let later = Duration::from_secs(5);
    let wait = |number| Answer::Refused(Refusal { retry_after: later, ..refusal(number, "READ_ONLY") });
    assert_eq!(outbox.answer(lease(1), wait(1), T0), Effect::Nothing);
    assert_eq!(outbox.answer(lease(1), wait(0), T0), Effect::Nothing);
    assert_eq!(drain(&mut outbox, later / 2), [""; 0]);
    assert_eq!(drain(&mut outbox, later), ["1#1", "1 complete 1"]);
    // Only the end is refused: the batch stays with the orchestrator.
    assert_eq!(outbox.answer(lease(1), wait(0), later), Effect::Nothing);
    assert_eq!(drain(&mut outbox, 2 * later), ["1 complete 1"]);
}

#[test]
fn a_lost_lease_takes_its_results_with_it() {
    let mut outbox = outbox();
    outbox.offer(lease(1), batch(30));
    drain(&mut outbox, T0);
    let message = "the orchestrator refused batch 1 (LEASE_LOST): why".to_owned();
    let lost = Answer::Refused(refusal(1, "LEASE_LOST"));
    assert_eq!(outbox.answer(lease(1), lost.clone(), T0), Effect::Lost(message));
    assert_eq!(outbox.answer(lease(1), lost, T0), Effect::Nothing);
    assert_eq!((outbox.in_flight(), outbox.kept(), outbox.is_empty()), (0, 0, true));
}

#[test]
fn a_refused_failure_is_the_end_of_it() {
    let mut outbox = outbox();
    let failure = Failure { kind: FailureKind::Error, message: "x".into(), exit_code: Some(3) };
    outbox.end(lease(1), End::Fail(failure));
    assert_eq!(drain(&mut outbox, T0), ["1 fail x"]);
    let odd = Answer::Refused(refusal(0, "ODD"));
    assert!(matches!(outbox.answer(lease(1), odd, T0), Effect::Lost(_)));
    assert!(outbox.is_empty());
}

/// What the orchestrator of the property does next.
#[derive(Clone, Debug)]
enum Step {
    Offer {
        lease: u64,
        size: usize,
    },
    Complete {
        lease: u64,
    },
    Send(usize),
    Answer(usize),
    /// The next `n` unanswered messages reach nobody, and the stream breaks.
    Break,
    /// The stream breaks after the orchestrator took in everything, with all answers lost.
    BreakAfterTaking,
    ReadOnly,
    Wait(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (1_u64..4, 6_usize..150).prop_map(|(lease, size)| Step::Offer { lease, size }),
        1 => (1_u64..4).prop_map(|lease| Step::Complete { lease }),
        4 => (1_usize..5).prop_map(Step::Send),
        4 => (1_usize..5).prop_map(Step::Answer),
        1 => Just(Step::Break),
        1 => Just(Step::BreakAfterTaking),
        1 => Just(Step::ReadOnly),
        1 => (1_u64..100).prop_map(Step::Wait),
    ];
    prop::collection::vec(step, 0..200)
}

/// The orchestrator as its contract says: takes each lease's batches in order, answers a resend like the first time,
/// refuses a gap and a `complete` that misses a batch.
#[derive(Default)]
struct Model {
    taken: BTreeMap<LeaseId, Vec<Vec<Bytes>>>,
    completed: BTreeMap<LeaseId, u64>,
    wire: VecDeque<(LeaseId, Message)>,
    read_only: bool,
}

impl Model {
    fn take(&mut self, lease: LeaseId, message: Message) -> Answer {
        let taken = self.taken.entry(lease).or_default();
        let expected = taken.len() as u64 + 1;
        let gap = |number| Answer::Refused(Refusal { expected, ..refusal(number, "BATCH_GAP") });
        if self.read_only {
            let number = if let Message::Batch { number, .. } = &message { *number } else { 0 };
            let retry_after = Duration::from_millis(50);
            return Answer::Refused(Refusal { retry_after, ..refusal(number, "READ_ONLY") });
        }
        match message {
            Message::Batch { number, candidates } if number == expected => {
                assert!(!self.completed.contains_key(&lease), "a batch behind the end");
                taken.push(candidates);
                verdicts(number)
            }
            Message::Batch { number, candidates } if number < expected => {
                assert_eq!(taken[number as usize - 1], candidates, "a resend is the same batch");
                verdicts(number)
            }
            Message::Batch { number, candidates: _ } => gap(number),
            Message::Complete { batches } if batches == expected - 1 => {
                self.completed.insert(lease, batches);
                Answer::Ended
            }
            Message::Complete { batches: _ } => gap(0),
            Message::Fail(failure) => panic!("no job fails here: {failure:?}"),
        }
    }
}

proptest! {
    #[test]
    fn whatever_breaks_every_batch_is_taken_once_in_order(steps in steps()) {
        let bounds = Bounds { window: 200, keep: 600 };
        let mut outbox = Outbox::new(bounds);
        let mut model = Model::default();
        let mut now = T0;
        let mut offered: BTreeMap<LeaseId, Vec<Vec<Bytes>>> = BTreeMap::new();
        let mut ended: BTreeMap<LeaseId, bool> = BTreeMap::new();
        let mut content = 0_u32;
        for id in 1..4 {
            outbox.open(lease(id));
            offered.insert(lease(id), Vec::new());
        }
        // Whatever happened before, an orchestrator that listens again gets everything.
        let rest = (0..2000).flat_map(|_| [Step::Send(10), Step::Answer(10), Step::Wait(10)]);
        let finish = (1..4).map(|lease| Step::Complete { lease }).chain(rest);
        for (i, step) in steps.iter().cloned().chain(finish).enumerate() {
            if i == steps.len() {
                model.read_only = false;
            }
            match step {
                Step::Offer { lease: id, size } => {
                    if outbox.has_room(size) {
                        content += 1;
                        let mut text = format!("{content}").into_bytes();
                        text.resize(size - 5, b' ');
                        let batch = vec![Bytes::from(text)];
                        let open = !ended.contains_key(&lease(id));
                        prop_assert_eq!(outbox.offer(lease(id), batch.clone()), open);
                        if open {
                            offered.get_mut(&lease(id)).unwrap().push(batch);
                        }
                    }
                }
                Step::Complete { lease: id } => {
                    let first = ended.insert(lease(id), true).is_none();
                    prop_assert_eq!(outbox.end(lease(id), End::Complete), first);
                }
                Step::Send(n) => {
                    for _ in 0..n {
                        model.wire.extend(outbox.next_message(now));
                    }
                }
                Step::Answer(n) => {
                    for _ in 0..n {
                        if let Some((lease, message)) = model.wire.pop_front() {
                            let answer = model.take(lease, message);
                            let effect = outbox.answer(lease, answer, now);
                            prop_assert!(!matches!(effect, Effect::Lost(_) | Effect::Replaced(_)), "{:?}", effect);
                        }
                    }
                }
                Step::Break => {
                    model.wire.clear();
                    outbox.disconnected();
                }
                Step::BreakAfterTaking => {
                    while let Some((lease, message)) = model.wire.pop_front() {
                        model.take(lease, message);
                    }
                    outbox.disconnected();
                }
                Step::ReadOnly => model.read_only = !model.read_only,
                Step::Wait(ms) => now += Duration::from_millis(ms),
            }
            prop_assert!(outbox.in_flight() <= bounds.window, "{} in flight", outbox.in_flight());
            prop_assert!(outbox.kept() <= bounds.keep, "{} kept", outbox.kept());
            prop_assert!(outbox.in_flight() <= outbox.kept());
        }
        prop_assert!(outbox.is_empty());
        prop_assert_eq!(outbox.in_flight(), 0);
        for (lease, batches) in &offered {
            prop_assert_eq!(model.completed.get(lease), Some(&(batches.len() as u64)));
            prop_assert_eq!(model.taken.get(lease).cloned().unwrap_or_default(), batches.clone());
        }
    }
}
