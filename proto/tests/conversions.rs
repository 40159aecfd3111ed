//! Specs survive the wire, and every bad field of a wire spec is named.

use orch_core::array::{ArraySpec, Fields, Tasks};
use orch_core::gang::GangSpec;
use orch_core::id::{ContractName, ContractRef, Kind, QueueName};
use orch_core::job::{JobSpec, OnDependencyFailure, Payload};
use orch_core::limit::{AtLimit, LimitSpec, Rate};
use orch_core::policy::{LeasePatch, RetryPatch};
use orch_core::queue::QueueSpec;
use orch_core::record::FailureClass;
use orch_core::resource::{Amount, Need, Needs, Preference, Quantity, Variant};
use orch_core::retry::{MoreMemory, Pattern, RetryRule, Then};
use orch_core::state::Submission;
use orch_core::time::{Span, Timestamp};
use orch_core::unique::Unique;
use orch_proto::convert::{Faults, MAX_SPAN, MAX_TIMESTAMP};
use orch_proto::v1;
use proptest::option;
use proptest::prelude::*;
use prost::Message as _;

fn span() -> impl Strategy<Value = Span> {
    (0..=MAX_SPAN.0).prop_map(Span)
}

fn positive() -> impl Strategy<Value = Span> {
    (1..=MAX_SPAN.0).prop_map(Span)
}

fn rule() -> impl Strategy<Value = RetryRule> {
    let classes = proptest::sample::subsequence(vec![FailureClass::Error, FailureClass::Timeout], 0..=2);
    let about = (classes, proptest::collection::vec(any::<i32>(), 0..3), option::of("[a-z]{1,9}(a|b)*"));
    let more = (10_001..u64::MAX, 1..u64::MAX);
    let more = more.prop_map(|(factor, cap)| MoreMemory { factor: Amount(factor), cap: Amount(cap) });
    let again = (option::of(span()), option::of(1..u32::MAX), option::of(more), any::<bool>());
    (about, option::of(again)).prop_map(|((class, exit_code, message), again)| {
        let message = message.map(|text| Pattern::new(&text).unwrap());
        let (then, (backoff, max_attempts, memory, avoid_worker)) = match again {
            Some(again) => (Then::Retry, again),
            None => (Then::Fail, (None, None, None, false)),
        };
        RetryRule { class, exit_code, message, then, backoff, max_attempts, memory, avoid_worker }
    })
}

fn retry() -> impl Strategy<Value = RetryPatch> {
    let counts = (option::of(1..u32::MAX), option::of(1..u32::MAX));
    let spans = (option::of(span()), option::of(span()), option::of(span()));
    let rules = option::of(proptest::collection::vec(rule(), 0..3));
    (counts, option::of(1.0..=1e6), spans, rules).prop_map(
        |((max_attempts, crash_limit), factor, (backoff, cap, jitter), rules)| RetryPatch {
            max_attempts,
            backoff,
            factor,
            cap,
            jitter,
            crash_limit,
            rules,
        },
    )
}

fn lease() -> impl Strategy<Value = LeasePatch> {
    let both = (2..=MAX_SPAN.0).prop_flat_map(|ttl| (Just(Some(Span(ttl))), option::of((1..ttl).prop_map(Span))));
    prop_oneof![both, (Just(None), option::of(positive()))].prop_map(|(ttl, heartbeat)| LeasePatch { ttl, heartbeat })
}

fn name() -> impl Strategy<Value = String> {
    "[a-zA-Z0-9][a-zA-Z0-9._/-]{0,20}"
}

fn text() -> impl Strategy<Value = String> {
    "[a-z0-9 äß漢#]{1,30}"
}

fn payload() -> impl Strategy<Value = Payload> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<i32>().prop_map(Into::into),
        (-1e300..1e300).prop_map(|x: f64| serde_json::json!(x)),
        text().prop_map(Into::into),
    ];
    let value = leaf.prop_recursive(3, 20, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Into::into),
            proptest::collection::btree_map(text(), inner, 0..4)
                .prop_map(|map| serde_json::Value::Object(map.into_iter().collect())),
        ]
    });
    value.prop_map(|value| Payload::from_value(&value))
}

fn needs() -> impl Strategy<Value = Needs> {
    let quantity = prop_oneof![Just(Quantity::All), (1..=u64::MAX).prop_map(|n| Quantity::Some(Amount(n)))];
    let need = (quantity, prop_oneof![Just(0), any::<u64>()])
        .prop_map(|(quantity, min_memory_mib)| Need { quantity, min_memory_mib });
    let named = proptest::collection::btree_map("[a-z][a-z0-9_/]{0,9}", need, 1..3);
    let variant = (named, option::of(span())).prop_map(|(named, min_time)| Variant {
        needs: named.into_iter().filter_map(|(name, need)| Some((name.parse().ok()?, need))).collect(),
        min_time,
    });
    let some = |variant: &Variant| !variant.needs.is_empty();
    proptest::collection::vec(variant.prop_filter("needs something", some), 0..3).prop_map(Needs)
}

fn unique() -> impl Strategy<Value = Unique> {
    prop_oneof![Just(Unique::Forever), Just(Unique::UntilDone), positive().prop_map(Unique::For)]
}

prop_compose! {
    fn job()(
        queue in name(), kind in option::of(name()), label in option::of(text()), payload in payload(),
        priority in any::<i32>(), retry in retry(), lease in lease(), timeout in option::of(positive()),
        (delay, not_before) in (option::of(span()), option::of((0..=MAX_TIMESTAMP.0).prop_map(Timestamp))),
        depends_on in proptest::collection::vec(text(), 0..4), go_on in any::<bool>(), key in option::of(text()),
        keys in proptest::collection::btree_map(name(), text(), 0..3),
        semaphores in proptest::collection::btree_map("s[a-z]{0,9}", 1..u32::MAX, 0..3),
        (resources, prefer) in (needs(), proptest::collection::vec((text(), text(), any::<u32>()), 0..3)),
        labels in proptest::collection::btree_map(text(), text(), 0..3),
        (queue_timeout, unique, fair_key) in (option::of(positive()), unique(), option::of(text())),
        array in option::of((any::<u32>(), 0..1000i64, 1..9i64, 0..3usize, option::of(1..u32::MAX))),
        gang in option::of((2..1000u32, option::of(1_000..1_000_000u64))),
    ) -> JobSpec {
        let unique = if key.is_some() { unique } else { Unique::Forever };
        let array = array.map(|(first, width, step, fields, max_running)| ArraySpec {
            tasks: Tasks::range(i64::from(first), i64::from(first) + width, step).unwrap(),
            fields: [
                Fields::default(),
                Fields::Index("\u{1}index".to_owned()),
                Fields::Bounds(["\u{1}a".to_owned(), "\u{1}b".to_owned()]),
            ][fields]
                .clone(),
            max_running,
        });
        // What an array adds its numbers to is a map.
        let payload = if array.is_some() { Payload::default() } else { payload };
        JobSpec {
            array,
            gang: gang.map(|(workers, ms)| GangSpec { workers, timeout: ms.map(Span) }),
            queue: QueueName::new(&queue).unwrap(),
            kind: kind.map(|kind| Kind::new(&kind).unwrap()),
            name: label, payload, priority, retry, lease, timeout, delay, not_before, queue_timeout, unique, depends_on,
            on_dependency_failure: if go_on { OnDependencyFailure::Continue } else { OnDependencyFailure::Cancel },
            idempotency_key: key,
            keys: keys.into_iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect(),
            semaphores: semaphores.into_iter().map(|(name, units)| (name.parse().unwrap(), units)).collect(),
            fair_key: fair_key.map(|value| value.parse().unwrap()),
            resources,
            labels,
            prefer: prefer.into_iter().map(|(label, value, weight)| Preference { label, value, weight }).collect(),
        }
    }
}

prop_compose! {
    fn queue()(
        name in name(), contract in option::of((name(), 1..u32::MAX)), kind in option::of(name()),
        retry in retry(), lease in lease(), timeout in option::of(positive()),
        (weight, max_running) in (option::of(1..=10_000u32), option::of(1..u32::MAX)),
        queue_timeout in option::of(positive()),
        fair_weights in proptest::collection::btree_map(text(), 1..=10_000u32, 0..3),
    ) -> QueueSpec {
        QueueSpec {
            name: QueueName::new(&name).unwrap(),
            contract: contract.map(|(name, version)| ContractRef { name: ContractName::new(&name).unwrap(), version }),
            kind: kind.map(|kind| Kind::new(&kind).unwrap()),
            retry, lease, timeout, queue_timeout, weight, max_running,
            fair_weights: fair_weights.into_iter().map(|(value, weight)| (value.parse().unwrap(), weight)).collect(),
        }
    }
}

fn limit() -> impl Strategy<Value = LimitSpec> {
    let target =
        prop_oneof![Just("running".to_owned()), Just("host=*".to_owned()), Just("host=a b=c".to_owned()), name()];
    let rate = (1..u32::MAX, 1..1_000_000u64, 1..u32::MAX);
    let rate = rate.prop_map(|(tokens, per, burst)| Rate { tokens, per: Span(per), burst });
    let at = prop_oneof![Just(AtLimit::Wait), Just(AtLimit::Reject), Just(AtLimit::CancelOldest)];
    (target, option::of(any::<u32>()), option::of(rate), at)
        .prop_map(|(target, max, rate, at_limit)| LimitSpec { limit: target.parse().unwrap(), max, rate, at_limit })
        .prop_filter("a limit that says something", |limit| limit.faults().is_empty())
}

proptest! {
    #[test]
    fn a_job_spec_survives_the_wire(spec in job()) {
        let bytes = v1::JobSpec::from(&spec).encode_to_vec();
        let back = JobSpec::try_from(v1::JobSpec::decode(bytes.as_slice()).unwrap());
        prop_assert_eq!(back.as_ref(), Ok(&spec));
        // Equal specs must also have equal digests: idempotency keys compare those.
        prop_assert_eq!(back.unwrap().digest(), spec.digest());
    }

    #[test]
    fn what_comes_off_the_wire_can_be_read_back_from_the_ledger(spec in job()) {
        let checked = JobSpec::try_from(v1::JobSpec::from(&spec)).unwrap();
        let line = serde_json::to_string(&checked).unwrap();
        prop_assert_eq!(serde_json::from_str::<JobSpec>(&line).unwrap(), spec);
    }

    #[test]
    fn a_queue_spec_survives_the_wire(spec in queue()) {
        let bytes = v1::QueueSpec::from(&spec).encode_to_vec();
        let back = QueueSpec::try_from(v1::QueueSpec::decode(bytes.as_slice()).unwrap());
        prop_assert_eq!(back, Ok(spec));
    }

    #[test]
    fn a_submission_survives_the_wire(queues in proptest::collection::vec(queue(), 0..3), jobs in proptest::collection::vec(job(), 0..5), limits in proptest::collection::vec(limit(), 0..3)) {
        let submission = Submission { queues, limits, jobs, ..Submission::default() };
        let wire = v1::SubmitRequest::try_from(&submission).unwrap();
        let back = Submission::try_from(wire).unwrap();
        prop_assert_eq!((back.queues, back.limits, back.jobs), (submission.queues, submission.limits, submission.jobs));
    }

    #[test]
    fn no_wire_job_spec_panics_and_what_passes_is_stable(
        queue in ".{0,5}", payload_json in "[\\[\\]{}\",:0-9a-z]{0,20}", timeout_ms in option::of(any::<u64>()),
        not_before_unix_ms in option::of(any::<i64>()), factor in option::of(any::<f64>()), name in ".{0,5}",
    ) {
        let retry = Some(v1::RetryPatch { factor, ..v1::RetryPatch::default() });
        let wire = v1::JobSpec { queue, payload_json, timeout_ms, not_before_unix_ms, retry, name, ..v1::JobSpec::default() };
        if let Ok(spec) = JobSpec::try_from(wire) {
            let line = serde_json::to_string(&spec).unwrap();
            prop_assert_eq!(serde_json::from_str::<JobSpec>(&line).unwrap(), spec);
        }
    }
}

#[test]
fn every_bad_field_is_named() {
    let wire = v1::JobSpec {
        queue: "no spaces please".into(),
        kind: "-x".into(),
        name: "a\nb".into(),
        payload_json: "{\"a\":1,\"a\":2}".into(),
        priority: 0,
        retry: Some(v1::RetryPatch { max_attempts: Some(0), factor: Some(f64::NAN), ..v1::RetryPatch::default() }),
        lease: Some(v1::LeasePatch { ttl_ms: Some(10), heartbeat_ms: Some(10) }),
        timeout_ms: Some(0),
        delay_ms: Some(u64::MAX),
        not_before_unix_ms: Some(i64::MAX),
        depends_on: vec!["fine".into(), String::new()],
        continue_on_dependency_failure: false,
        idempotency_key: "x".repeat(257),
        keys: [("a b".to_owned(), "*".to_owned())].into(),
        semaphores: [("running".to_owned(), 0)].into(),
        ..v1::JobSpec::default()
    };
    let faults = JobSpec::try_from(wire).unwrap_err();
    let fields: Vec<&str> = faults.listed().iter().map(|fault| fault.field.as_str()).collect();
    assert_eq!(
        fields,
        [
            "queue",
            "kind",
            "payload_json",
            "retry.max_attempts",
            "retry.factor",
            "lease.heartbeat_ms",
            "name",
            "timeout_ms",
            "delay_ms",
            "not_before_unix_ms",
            "idempotency_key",
            "depends_on[1]",
            "keys.a b",
            "keys.a b",
            "semaphores.running",
        ]
    );
    let text = faults.to_string();
    assert!(text.contains("payload_json: key \"a\" stands twice in one object"), "{text}");
    assert!(text.contains("retry.factor: NaN: must be a number between 1 and 1e6"), "{text}");
}

#[test]
fn a_submission_names_the_place_of_each_fault() {
    let wire = v1::SubmitRequest {
        contracts_json: vec!["{}".into(), "[".into()],
        queues: vec![v1::QueueSpec { queue: "q".into(), contract: "zeta".into(), ..v1::QueueSpec::default() }],
        jobs: vec![v1::JobSpec { queue: "q".into(), ..v1::JobSpec::default() }, v1::JobSpec::default()],
        limits: vec![v1::Limit { limit: "host=*".into(), at_limit: 9, ..v1::Limit::default() }],
        ..v1::SubmitRequest::default()
    };
    let faults: Faults = Submission::try_from(wire).unwrap_err();
    let fields: Vec<&str> = faults.listed().iter().map(|fault| fault.field.as_str()).collect();
    assert_eq!(
        fields,
        ["contracts[0]", "contracts[1]", "queues[0].contract", "jobs[1].queue", "limits[0].at_limit", "limits[0].max"]
    );
    assert!(faults.to_string().contains("write name@version, for example zeta@1"), "{faults}");
}

#[test]
fn the_last_timestamp_can_be_written_and_read() {
    assert_eq!(MAX_TIMESTAMP.to_string().parse(), Ok(MAX_TIMESTAMP));
    assert_eq!(MAX_SPAN.to_string().parse(), Ok(MAX_SPAN));
}
