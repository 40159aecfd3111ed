//! Calls that may panic or hang, without taking the process along.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc;
use std::time::Duration;

use super::store::StoreError;

/// Runs `call` and turns a panic into an error.
pub(super) fn guarded<T>(call: impl FnOnce() -> Result<T, StoreError>) -> Result<T, StoreError> {
    // Nothing of ours is shared with the call but the store, and that is thrown away after an error.
    catch_unwind(AssertUnwindSafe(call)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<&str>().map(ToString::to_string);
        let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
        Err(StoreError::Panicked(text.unwrap_or_else(|| "without a message".into())))
    })
}

/// Runs `call` in a thread of its own and waits for it, but no longer than `limit`. A call that hangs keeps its
/// thread; what it returns later is dropped there.
pub(super) fn in_time<T: Send + 'static>(
    what: &'static str,
    limit: Duration,
    call: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    let (sender, receiver) = mpsc::sync_channel(1);
    let thread = std::thread::Builder::new().name(format!("index-{what}")).spawn(move || {
        // Fails only if nobody waits any more.
        let _ = sender.send(guarded(call));
    });
    thread.map_err(|error| StoreError::Failed(format!("no thread to {what} it: {error}")))?;
    receiver
        .recv_timeout(limit)
        .unwrap_or_else(|_| Err(StoreError::Failed(format!("to {what} it took longer than {} s", limit.as_secs()))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_and_a_hang_become_errors() {
        let limit = Duration::from_secs(60);
        let error = in_time::<()>("open", limit, || panic!("index {} out of bounds", 7)).unwrap_err();
        assert_eq!(error, StoreError::Panicked("index 7 out of bounds".into()));
        let (_keep, wait) = mpsc::channel::<()>();
        let hang = move || {
            let _ = wait.recv();
            Ok(())
        };
        let error = in_time("open", Duration::from_millis(1), hang).unwrap_err();
        assert!(matches!(error, StoreError::Failed(_)), "{error}");
        assert_eq!(in_time("open", limit, || Ok(3)), Ok(3));
    }
}
