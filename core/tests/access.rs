//! Tokens against a model, audit records, and the choice of a job for a caller that is held to some queues.

use std::collections::{BTreeMap, BTreeSet};

use orch_core::access::{Audited, NewToken, Queues, Role, SessionId, Verdict};
use orch_core::digest::Digest;
use orch_core::id::{QueueName, TokenName};
use orch_core::job::{JobSpec, Payload};
use orch_core::queue::QueueSpec;
use orch_core::record::{Event, Record};
use orch_core::state::{Decision, LeaseBounds, LeaseRequest, REMEMBERED_AUDIT, State, Submission, TokenRefusal};
use orch_core::time::{Span, Timestamp};
use proptest::prelude::*;

/// A state with its records, through their JSON as the ledger would.
#[derive(Default)]
struct Driven {
    state: State,
    records: Vec<Record>,
}

impl Driven {
    fn record<T>(&mut self, decision: Decision<T>, at: Timestamp) -> T {
        for event in decision.events {
            let text = serde_json::to_string(&event).unwrap();
            let event: Event = serde_json::from_str(&text).unwrap();
            let record = Record { seq: self.state.next_seq(), at, event };
            self.state.apply(&record).unwrap();
            self.records.push(record);
        }
        decision.answer
    }

    fn replayed(&self, more: &[Event]) -> State {
        let mut state = State::default();
        for record in &self.records {
            state.apply(record).unwrap();
        }
        for event in more {
            let record = Record { seq: state.next_seq(), at: Timestamp(0), event: event.clone() };
            state.apply(&record).unwrap();
        }
        state
    }
}

fn new_token(name: u8, role: Role, held: bool, expires: Option<Timestamp>) -> NewToken {
    let queues = if held { BTreeSet::from([QueueName::new("q").unwrap()]) } else { BTreeSet::new() };
    let name = TokenName::new(&format!("t{name}")).unwrap();
    NewToken { name, role, queues, expires, digest: Digest::of(&[u8::from(held)]) }
}

#[derive(Clone, Debug)]
enum Step {
    Create { name: u8, role: usize, held: bool, lasts: Option<u8>, safe: bool },
    Revoke { name: u8, safe: bool },
    Pass(u8),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..4u8, 0..5usize, any::<bool>(), prop::option::of(0..50u8), any::<bool>())
            .prop_map(|(name, role, held, lasts, safe)| Step::Create { name, role, held, lasts, safe }),
        2 => (0..4u8, any::<bool>()).prop_map(|(name, safe)| Step::Revoke { name, safe }),
        1 => (0..40u8).prop_map(Step::Pass),
    ]
}

/// A token of the model: its role, whether it lasts, and when it ends.
type Known = BTreeMap<String, (Role, Option<Timestamp>)>;

proptest! {
    #[test]
    fn tokens_are_as_a_plain_map_says(steps in prop::collection::vec(step(), 0..60)) {
        let mut driven = Driven::default();
        let mut known = Known::new();
        let mut now = Timestamp(1000);
        for step in steps {
            let lasting_admins = |known: &Known, without: &str| {
                known.iter().any(|(name, (role, ends))| name != without && *role == Role::Admin && ends.is_none())
            };
            match step {
                Step::Pass(ms) => now = now.plus(Span(u64::from(ms))),
                Step::Create { name, role, held, lasts, safe } => {
                    let role = Role::ALL[role];
                    let expires = lasts.map(|ms| now.plus(Span(u64::from(ms))));
                    let new = new_token(name, role, held, expires);
                    let text = new.name.to_string();
                    let in_force = known.get(&text).is_some_and(|(_, ends)| ends.is_none_or(|at| at > now));
                    let first = !safe && !lasting_admins(&known, "") && (role != Role::Admin || expires.is_some());
                    let allowed = !in_force
                        && expires.is_none_or(|at| at > now)
                        && (!held || role.can_be_held_to_queues())
                        && !first;
                    let decided = driven.state.create_token(new, "somebody", safe, now);
                    prop_assert_eq!(decided.is_ok(), allowed);
                    if let Ok(decision) = decided {
                        let id = driven.record(decision, now);
                        known.insert(text.clone(), (role, expires));
                        prop_assert_eq!(driven.state.tokens()[&id].made.name.as_str(), text.as_str());
                        prop_assert!(driven.state.ever_had_tokens());
                    }
                }
                Step::Revoke { name, safe } => {
                    let name = TokenName::new(&format!("t{name}")).unwrap();
                    let lasting = known.get(name.as_str()).is_some_and(|(role, ends)| *role == Role::Admin && ends.is_none());
                    let allowed = known.contains_key(name.as_str())
                        && (safe || !lasting || lasting_admins(&known, name.as_str()));
                    let decided = driven.state.revoke_token(&name, "somebody", safe);
                    prop_assert_eq!(decided.is_ok(), allowed);
                    if let Ok(decision) = decided {
                        driven.record(decision, now);
                        known.remove(name.as_str());
                    }
                }
            }
            let names: BTreeSet<String> = driven.state.tokens().values().map(|token| token.made.name.to_string()).collect();
            prop_assert_eq!(names, known.keys().cloned().collect::<BTreeSet<_>>());
            prop_assert_eq!(driven.replayed(&[]).export(), driven.state.export());
        }
    }

    /// Whoever is held to some queues gets the job that would be next if the others were paused.
    #[test]
    fn a_caller_that_is_held_to_queues_gets_what_is_next_of_them(
        jobs in prop::collection::vec((0..4usize, 0..2usize, -1..2i32), 1..30),
        held in prop::collection::vec(prop::collection::btree_set(0..4usize, 1..4), 1..30),
    ) {
        let names: Vec<QueueName> = (0..4).map(|n| QueueName::new(&format!("q{n}")).unwrap()).collect();
        let kinds = vec!["k0".parse().unwrap(), "k1".parse().unwrap()];
        let queues = names.iter().enumerate().map(|(n, name)| {
            let mut queue = QueueSpec::new(name.clone());
            queue.weight = Some([1, 100, 300, 7][n]);
            queue.max_running = (n == 3).then_some(2);
            queue
        });
        let specs = jobs.iter().map(|(queue, kind, priority)| {
            let mut spec = JobSpec::new(names[*queue].clone(), Payload::default());
            spec.kind = Some(format!("k{kind}").parse().unwrap());
            spec.priority = *priority;
            spec
        });
        let submission = Submission { queues: queues.collect(), jobs: specs.collect(), ..Submission::default() };
        let mut driven = Driven::default();
        let now = Timestamp(0);
        let decision = driven.state.submit(&submission, now).unwrap();
        driven.record(decision, now);
        let request = LeaseRequest::new("w".parse().unwrap(), kinds, 1);
        let session = Some(SessionId([3; 16]));
        for held in held {
            let only: BTreeSet<QueueName> = held.iter().map(|n| names[*n].clone()).collect();
            let others = names.iter().filter(|name| !only.contains(*name));
            let paused: Vec<Event> =
                others.map(|queue| Event::QueuePaused { queue: queue.clone(), reason: "held".into() }).collect();
            let model = driven.replayed(&paused);
            let expected = model.lease(&request, &mut |_| Payload::default()).answer.map(|granted| granted.job);
            let bounds = LeaseBounds { queues: Queues::of(&only), session };
            let decision = driven.state.lease_within(&request, &bounds, &mut |_| Payload::default());
            let granted = driven.record(decision, now).map(|granted| granted.job);
            prop_assert_eq!(granted, expected);
            if granted.is_some() {
                prop_assert_eq!(driven.state.leases().values().next_back().and_then(|held| held.session), session);
            }
        }
    }
}

#[test]
fn the_first_token_leaves_somebody_who_can_make_more() {
    let driven = Driven::default();
    let refused = driven.state.create_token(new_token(1, Role::Worker, false, None), "x", false, Timestamp(0));
    assert_eq!(refused.unwrap_err(), TokenRefusal::FirstIsAdmin);
    assert!(driven.state.create_token(new_token(1, Role::Worker, false, None), "x", true, Timestamp(0)).is_ok());
}

#[test]
fn the_audit_remembers_so_many_and_counts_all() {
    let mut driven = Driven::default();
    let entry = |n: usize| Audited {
        actor: format!("token {n}"),
        from: String::new(),
        call: "AdminService/Submit".into(),
        verdict: Verdict::Denied,
        reason: "PERMISSION_DENIED".into(),
        target: String::new(),
        records: None,
        count: 1,
    };
    for n in 0..REMEMBERED_AUDIT + 5 {
        let decision = driven.state.audited(entry(n));
        driven.record(decision, Timestamp(0));
    }
    let (entries, total) = driven.state.audit();
    let entries: Vec<_> = entries.map(|(_, _, entry)| entry.actor.clone()).collect();
    assert_eq!((entries.len(), total), (REMEMBERED_AUDIT, REMEMBERED_AUDIT as u64 + 5));
    assert_eq!(entries[0], format!("token {}", REMEMBERED_AUDIT + 4), "newest first");
    // What is told once is short: no count, no empty fields.
    let text = serde_json::to_string(&driven.records[0].event).unwrap();
    assert_eq!(
        text,
        r#"{"audited":{"actor":"token 0","call":"AdminService/Submit","verdict":"denied","reason":"PERMISSION_DENIED"}}"#
    );
}
