//! One line of the ledger.

use orch_core::record::Event;
use orch_core::time::Timestamp;
use orch_ledger::line::{LineFault, MAX_LINE_BYTES, decode, decode_prefix};
use orch_ledger::{ChainChecker, Ledger};

use crate::recovery::{memory_ledger, read_back};

/// Reads bytes as a line; then again with the checksum that they should have, so that more than the checksum is tried.
pub fn line(data: &[u8]) {
    check(data);
    if let Err(LineFault::Crc { computed, .. }) = decode(data) {
        let mut fixed = data.to_vec();
        let at = fixed.len() - 10;
        fixed[at..at + 8].copy_from_slice(format!("{computed:08x}").as_bytes());
        assert!(!matches!(decode(&fixed), Err(LineFault::Crc { .. })), "the checksum is right now");
        check(&fixed);
    }
    if let Ok(event) = serde_json::from_slice::<Event>(data) {
        staged(&event);
    }
}

fn check(data: &[u8]) {
    let _ = ChainChecker::new().check(data);
    let Ok(line) = decode(data) else { return };
    assert_eq!(line.raw(), data);
    assert!(data.len() <= MAX_LINE_BYTES && line.seq.0 > 0 && line.batch > 0);
    assert!(data.starts_with(line.chained()));
    assert_eq!(line.chain.is_some(), line.left == 0);
    assert!(line.event_json.contains(line.event_name()));
    // A line in front of anything is found there; whole, unless its event is none and a line hides in it.
    let mut followed = data.to_vec();
    followed.extend_from_slice(b"x\n");
    let found = decode_prefix(&followed).map(|found| found.raw().len());
    assert!(found.is_some_and(|found| found <= data.len()), "{found:?}");
    if let Ok(event) = line.event() {
        assert_eq!(found, Some(data.len()));
        // Another spelling of an event (blanks, escapes) is read as the same; its name is that of the one form.
        if serde_json::to_string(&event).is_ok_and(|text| text == line.event_json) {
            assert_eq!(event.name(), line.event_name());
        }
        staged(&event);
    }
}

/// An event that the ledger takes is read back as it was, by a start too.
fn staged(event: &Event) {
    let dir = memory_ledger();
    let mut ledger: Ledger = dir.1;
    let Ok(seq) = ledger.stage(Timestamp(0), event) else { return };
    let before = serde_json::to_string(event).unwrap_or_default();
    ledger.commit().unwrap();
    let read = ledger.read(seq).unwrap();
    assert_eq!(serde_json::to_string(&read.event).unwrap_or_default(), before);
    // The ledger's own events may only stand where the ledger puts them; users have no way to them.
    let own = matches!(
        event,
        Event::SegmentOpened { .. } | Event::SegmentSealed {} | Event::Booted { .. } | Event::LedgerRepaired { .. }
    );
    if !own {
        drop(ledger);
        let events = read_back(&dir.0).unwrap();
        assert!(events.contains(&before), "{before}");
    }
}
