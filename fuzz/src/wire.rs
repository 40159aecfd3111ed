//! Every message that a caller can send: bytes to the generated type, and from there to a checked value or to faults.

use orch_core::job::JobSpec;
use orch_core::queue::QueueSpec;
use orch_core::state::Submission;
use orch_proto::convert::{
    AskForJobs, AuditFilter, Faults, HeartbeatReport, JobConditions, LegacyPart, LogPiece, MAX_FAULTS, Register,
    Release, ResultsMessage, WantedToken,
};
use orch_proto::v1;
use prost::Message;

/// How many kinds of messages there are.
pub(crate) const MESSAGES: u8 = 37;

/// The first byte picks a message, the rest is its bytes.
pub fn wire(data: &[u8]) {
    let Some((which, bytes)) = data.split_first() else { return };
    match which % MESSAGES {
        0 => checked::<v1::SubmitRequest, Submission>(bytes),
        1 => checked::<v1::JobSpec, JobSpec>(bytes),
        2 => checked::<v1::QueueSpec, QueueSpec>(bytes),
        3 => checked::<v1::RegisterWorkerRequest, Register>(bytes),
        4 => checked::<v1::LeaseJobRequest, AskForJobs>(bytes),
        5 => checked::<v1::HeartbeatRequest, HeartbeatReport>(bytes),
        6 => checked::<v1::SubmitResultsRequest, ResultsMessage>(bytes),
        7 => checked::<v1::ReleaseLeasesRequest, Release>(bytes),
        8 => checked::<v1::PushLogsRequest, LogPiece>(bytes),
        9 => checked::<v1::JobFilter, JobConditions>(bytes),
        10 => checked::<v1::ImportLegacyRequest, LegacyPart>(bytes),
        11 => import(bytes),
        12 => plain::<v1::GetJobRequest>(bytes),
        13 => filtered(bytes, |message: v1::ListJobsRequest| message.filter),
        14 => plain::<v1::WaitJobsRequest>(bytes),
        15 => filtered(bytes, |message: v1::CancelJobsRequest| message.filter),
        16 => filtered(bytes, |message: v1::RetryFailedRequest| message.filter),
        17 => plain::<v1::ReadJobLogRequest>(bytes),
        18 => plain::<v1::ListQueuesRequest>(bytes),
        19 => plain::<v1::PauseQueueRequest>(bytes),
        20 => plain::<v1::ResumeQueueRequest>(bytes),
        21 => plain::<v1::ListWorkersRequest>(bytes),
        22 => plain::<v1::DrainWorkersRequest>(bytes),
        23 => plain::<v1::CleanupWorkersRequest>(bytes),
        24 => plain::<v1::ListContractsRequest>(bytes),
        25 => plain::<v1::StatsRequest>(bytes),
        26 => plain::<v1::ServerInfoRequest>(bytes),
        27 => plain::<v1::ReadLedgerRequest>(bytes),
        28 => plain::<v1::ExportStateRequest>(bytes),
        29 => plain::<v1::DeregisterWorkerRequest>(bytes),
        30 => receipt(bytes),
        31 => plain::<v1::ErrorDetail>(bytes),
        32 => checked::<v1::CreateTokenRequest, WantedToken>(bytes),
        33 => checked::<v1::ListAuditRequest, AuditFilter>(bytes),
        34 => plain::<v1::RevokeTokenRequest>(bytes),
        35 => plain::<v1::WhoAmIRequest>(bytes),
        _ => plain::<v1::ReadDirectorySecretRequest>(bytes),
    }
}

fn decoded<M: Message + Default + std::fmt::Debug>(bytes: &[u8]) -> Option<M> {
    let message = M::decode(bytes).ok()?;
    let written = message.encode_to_vec();
    let again = M::decode(written.as_slice()).unwrap_or_else(|error| panic!("{error}: {message:?}"));
    // Maps have no order on the wire, so lengths are compared.
    assert_eq!(again.encoded_len(), written.len());
    Some(message)
}

fn plain<M: Message + Default + std::fmt::Debug>(bytes: &[u8]) {
    decoded::<M>(bytes);
}

/// Every fault names a field, and there are not more of them than anybody reads.
fn judged<T>(checked: Result<T, Faults>) {
    if let Err(faults) = checked {
        let text = faults.to_string();
        assert!(!text.is_empty() && text.len() < 64 << 10, "{} bytes of faults", text.len());
        assert!(text.lines().count() <= MAX_FAULTS + 2, "{text}");
    }
}

fn checked<M, T>(bytes: &[u8])
where
    M: Message + Default + std::fmt::Debug,
    T: TryFrom<M, Error = Faults>,
{
    if let Some(message) = decoded::<M>(bytes) {
        judged(T::try_from(message));
    }
}

fn filtered<M: Message + Default + std::fmt::Debug>(bytes: &[u8], filter: fn(M) -> Option<v1::JobFilter>) {
    if let Some(filter) = decoded::<M>(bytes).and_then(filter) {
        judged(JobConditions::try_from(filter));
    }
}

fn import(bytes: &[u8]) {
    let Some(v1::ImportJobsRequest { chunk: _, jobs }) = decoded(bytes) else { return };
    for job in jobs {
        judged(JobSpec::try_from(job));
    }
}

fn receipt(bytes: &[u8]) {
    if let Some(message) = decoded::<v1::Receipt>(bytes) {
        let _ = orch_core::receipt::Receipt::try_from(message);
    }
}
