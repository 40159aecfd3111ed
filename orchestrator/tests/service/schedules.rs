//! Schedules over the wire: set, look at, hold back, remove; and what comes when.

use orch_proto::v1;

use crate::support::*;

fn schedule(cron: &str) -> v1::SubmitRequest {
    let json = format!(
        r#"{{"schedule":"often","cron":"{cron}","zone":"Europe/Berlin","job":{{"queue":"q","payload":{{"eps":1e-8,"count":1}}}}}}"#
    );
    v1::SubmitRequest { schedules_json: vec![json], ..submission(Vec::new()) }
}

async fn listed(admin: &mut Admin) -> Option<v1::ScheduleStatus> {
    admin.list_schedules(v1::ListSchedulesRequest {}).await.unwrap().into_inner().schedules.pop()
}

#[tokio::test]
async fn a_schedule_is_set_listed_paused_and_removed_across_restarts() {
    let orch = Orch::start().await;
    let mut admin = orch.admin().await;
    let set = admin.submit(schedule("0 0 1 1 *")).await.unwrap().into_inner();
    assert_eq!((set.schedules, set.schedules_known.len()), (vec!["often".to_owned()], 0));
    let again = admin.submit(schedule("0  0 1 1 *")).await.unwrap().into_inner();
    assert_eq!((again.schedules.len(), again.schedules_known), (0, vec!["often".to_owned()]));
    let before = listed(&mut admin).await.unwrap();
    assert!(before.next_unix_ms > 0 && before.last_unix_ms == 0 && !before.paused);
    let pause = v1::PauseScheduleRequest { schedule: "often".into(), reason: "holidays".into() };
    assert!(admin.pause_schedule(pause).await.unwrap().into_inner().changed);
    let orch = orch.restart().await;
    let mut admin = orch.admin().await;
    let paused = listed(&mut admin).await.unwrap();
    assert_eq!((paused.paused_reason.as_str(), paused.next_unix_ms), ("holidays", before.next_unix_ms));
    let resume = v1::ResumeScheduleRequest { schedule: "often".into() };
    assert!(admin.resume_schedule(resume.clone()).await.unwrap().into_inner().changed);
    assert!(!admin.resume_schedule(resume.clone()).await.unwrap().into_inner().changed);
    let remove = v1::RemoveScheduleRequest { schedule: "often".into() };
    admin.remove_schedule(remove.clone()).await.unwrap();
    assert_eq!(listed(&mut admin).await, None);
    assert_eq!(admin.remove_schedule(remove).await.unwrap_err().code(), tonic::Code::NotFound);
    assert_eq!(admin.resume_schedule(resume).await.unwrap_err().code(), tonic::Code::NotFound);
    orch.stop().await;
}

#[tokio::test]
async fn what_can_never_be_is_refused_by_its_field() {
    let orch = Orch::start().await;
    let mut admin = orch.admin().await;
    for (cron, words) in [("0 0 31 2 *", "no time within four years"), ("61 * * * *", "no cron expression")] {
        let refused = admin.submit(schedule(cron)).await.unwrap_err();
        assert!(refused.message().contains(words), "{}", refused.message());
        assert!(reason(&refused).1.starts_with("schedules"), "{:?}", reason(&refused));
    }
    let mut keyed = schedule("0 0 * * *");
    keyed.schedules_json[0] = keyed.schedules_json[0].replace("\"queue\"", "\"idempotency_key\":\"k\",\"queue\"");
    assert_eq!(reason(&admin.submit(keyed).await.unwrap_err()).1, "schedules[0].job.idempotency_key");
    assert_eq!(listed(&mut admin).await, None);
    orch.stop().await;
}
