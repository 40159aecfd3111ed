//! Errors survive a gRPC status, and a foreign status still becomes an error with a reason.

use std::time::Duration;

use orch_proto::error::{DETAIL_KEY, Reason, WireError};
use tonic::{Code, Status};

#[test]
fn every_reason_survives_the_status() {
    for reason in Reason::all() {
        let error = WireError::new(reason.clone(), "job 7 is done").at("job").retry_after(Duration::from_millis(250));
        let status = Status::from(error.clone());
        assert_eq!(status.code(), reason.code());
        assert_eq!(WireError::from(&status), error);
    }
}

#[test]
fn reasons_are_told_apart_by_their_text() {
    let texts: std::collections::BTreeSet<String> = Reason::all().iter().map(|r| r.as_str().to_owned()).collect();
    assert_eq!(texts.len(), Reason::all().len());
}

#[test]
fn a_newer_reason_is_kept_as_it_is() {
    let newer = WireError::new(Reason::Other("QUOTA_SPENT".into(), Code::ResourceExhausted), "no more");
    assert_eq!(WireError::from(&Status::from(newer.clone())), newer);
}

#[test]
fn a_status_from_elsewhere_gets_the_reason_of_its_code() {
    let error = WireError::from(&Status::unavailable("connection refused"));
    assert_eq!(error, WireError::new(Reason::Unavailable, "connection refused"));
    let mut broken = Status::not_found("x");
    broken.metadata_mut().insert_bin(DETAIL_KEY, tonic::metadata::MetadataValue::from_bytes(&[0xff, 0xff]));
    assert_eq!(WireError::from(&broken).reason, Reason::NotFound);
}

#[test]
fn a_wait_below_a_millisecond_is_not_never() {
    let error = WireError::new(Reason::Busy, "full").retry_after(Duration::from_micros(3));
    assert_eq!(WireError::from(&Status::from(error)).retry_after, Some(Duration::from_millis(1)));
}
